"""Measurements in processes of their own, one after the other: their memory, imports and compiled programs are their own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxbatt.bench import timer
from jaxbatt.bench.settings import Row, Settings

_HERE = Path(timer.__file__).parent


def fresh(
    settings: Settings,
    file: str,
    function: str,
    arguments: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> list[Row]:
    """The rows that ``function`` of jaxbatt/bench/programs/``file`` gives, each with the peak memory of its process.

    Args:
        settings: repeats, the budget of the process in seconds, and the platform of JAX.
        file: name in the folder ``programs``.
        function: what to call there.
        arguments: its arguments, numbers and strings.
        environment: variables besides those of this process.

    Returns:
        The rows; the last one has the key ``failed`` with the reason where the process did not end well.
    """
    # A GPU's driver maps more than there is.
    limited = settings.platform == "cpu"
    times = {"repeats": settings.repeats, "budget": settings.budget, "least": 0.0 if settings.quick else timer.SHORT}
    order = json.dumps({"arguments": arguments, "limited": limited, **times})
    command = [sys.executable, timer.__file__, str(_HERE / "programs" / file), function, order]
    variables = _environment(settings.platform) | dict(environment or {})
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=settings.budget, env=variables)
    except subprocess.TimeoutExpired as stopped:
        printed = (stopped.stdout or b"").decode(errors="replace")
        return _read(printed, f"stopped after {settings.budget:g} s", stopped=True)
    reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return _read(done.stdout, f"exit code {done.returncode}: {reason}" if done.returncode > 0 else _signal(done.returncode))


def installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _environment(platform: str | None) -> dict[str, str]:
    """Of this process, with jaxbatt where this one found it, no programs compiled before, and no memory taken in advance."""
    paths = [str(_HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    variables |= {
        "PYTHONPATH": os.pathsep.join(paths),
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    return variables if platform is None else variables | {"JAX_PLATFORMS": {"gpu": "cuda,cpu"}.get(platform, platform)}


def _read(printed: str, reason: str, *, stopped: bool = False) -> list[Row]:
    messages = [json.loads(line[len(timer.MARK) :]) for line in printed.splitlines() if line.startswith(timer.MARK)]
    rows: list[Row] = [message["row"] for message in messages if "row" in message]
    peak = next((message["peak"] for message in messages if "peak" in message), None)
    failed = next((message["failed"] for message in messages if "failed" in message), None)
    if failed is not None or peak is None:
        rows.append({"failed": failed or reason, "stopped": stopped})
    return [row | (peak or {}) for row in rows]


def _signal(code: int) -> str:
    return f"ended by signal {-code}" + (", as for lack of memory" if code == -9 else "")
