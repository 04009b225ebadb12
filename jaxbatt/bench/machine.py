"""Result files: what was measured, on what, and with which versions."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jaxbatt as jb
from jaxbatt._files import write_file
from jaxbatt.bench.fresh import fresh, installed
from jaxbatt.bench.settings import Row, Settings

_PACKAGES = {
    "jax": "jax",
    "jaxlib": "jaxlib",
    "numpy": "numpy",
    "scipy": "scipy",
    "qutip": "qutip",
    "quspin": "quspin",
    "dynamiqs": "dynamiqs",
    "tensorcircuit": "tensorcircuit-ng",
}
"""What is imported, and what it is called where it is installed from."""


def save(path: Path, rows: list[Row], run: Mapping[str, Any] | None = None, **about: Any) -> None:
    """Writes the rows with what they were measured on; an older file stays until the new one is complete.

    Args:
        path: the file.
        rows: what was measured.
        run: what else is known of the machine: when, how busy before, the devices of JAX.
        about: what else belongs into the file, such as the suite and its settings.
    """
    versions = {name: importlib.metadata.version(package) for name, package in _PACKAGES.items() if installed(name)}
    machine, versions = describe() | dict(run or {}), {"jaxbatt": jb.__version__} | versions
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**about, "machine": machine, "versions": versions, "rows": rows}
    write_file(path, (json.dumps(content, indent=1) + "\n").encode())


def load(path: Path) -> dict[str, Any]:
    """A result file.

    Raises:
        ValueError: no such file, or another format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}.") from error
    if not isinstance(content, dict) or not {"suite", "machine", "versions", "settings", "rows"} <= content.keys():
        raise ValueError(f"{path} is no result of `jaxbatt bench`; give a file that it wrote.")
    return content


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system, Python."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def platforms() -> dict[str, str]:
    """The kinds of devices by platform, and the default platform, asked of JAX in another process: this one takes no GPU."""
    found = fresh(Settings(), "starting.py", "platforms", {})[-1]
    if "failed" in found:
        raise ValueError(f"JAX finds no device: {found['failed']}.")
    return {name: str(kind) for name, kind in found.items() if not name.endswith("bytes")}


def file_name(suite: str, used: str, devices: dict[str, str]) -> str:
    """The suite and the machine, such as charge_amd_epyc_2cores.json; with the GPU where it was used."""
    machine = describe()
    parts = [suite, _slug(machine["processor"]), f"{machine['cores']}cores"]
    if used == "gpu" or (suite == "devices" and "gpu" in devices):
        parts.append(_slug(devices.get("gpu", "gpu")))
    return "_".join(parts) + ".json"


def _slug(name: str) -> str:
    short = re.sub(r"\((r|tm)\)|@.*|\bcpu\b|\bprocessor\b|\d+-core\b", " ", name.lower())
    return "_".join(re.findall(r"[a-z0-9]+", short))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
