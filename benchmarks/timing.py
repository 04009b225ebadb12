"""One honest timer: compile apart, warm up, block, repeat; minimum and median."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

_REPEATS = 9
_PACKAGES = ("jax", "jaxlib", "numpy", "qutip", "quspin")


def timed(function: Callable[..., Any], *arguments: Any) -> dict[str, float]:
    """Seconds to compile and to run ``function`` under jit; every run is waited for."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - start
    jax.block_until_ready(compiled(*arguments))
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - start)
    return {"compile": compile_seconds, "min": min(seconds), "median": statistics.median(seconds)}


def save(path: Path | None, rows: list[dict[str, Any]]) -> None:
    """Writes the rows with what they were measured on."""
    if path is None:
        return
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES if importlib.util.find_spec(name)}
    machine = {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "versions": versions, "rows": rows}, indent=1) + "\n", encoding="utf-8")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
