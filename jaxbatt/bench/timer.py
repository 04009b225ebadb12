"""One honest timer: warm up, wait for the result, repeat; minimum and median. As a script it measures in a process of its own.

    python timer.py FILE FUNCTION JSON

calls FUNCTION(**arguments) of FILE. It returns either a function of nothing, which is timed (making it was the build), or rows;
where a row has a ``program``, a jitted function and its arguments, that is compiled and timed. Every row is printed as a line of
JSON after a mark, and so is the peak memory at the end. Only the standard library is imported here: what a system under test
takes, it takes alone.
"""

from __future__ import annotations

import importlib
import json
import math
import resource
import runpy
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

REPEATS = 7
SHORT, LONG = 2.0, 60.0
"""Seconds up to which a measurement is repeated in any case, for a machine may be slow for a while, and after which it is not
any more; how often it was is part of the result."""
MARK = "jaxbatt.bench "
_START = time.perf_counter()


def repeat(run: Callable[[], Any], repeats: int = REPEATS, budget: float = math.inf, least: float = 0.0) -> dict[str, Any]:
    """Seconds of ``run``, which must wait for its own result.

    Args:
        run: what is timed.
        repeats: how often, after a first run; fewer where they take more than 60 s in all.
        budget: seconds since the start of this process in which the next run must be able to end.
        least: seconds in all up to which it is repeated more often.

    Returns:
        ``first``: the first run, with everything that is compiled or cached in it; ``min`` and ``median`` of the ``repeats``
        that follow (of the first where no time was left), and the ``result`` of the first.
    """
    start = time.perf_counter()
    result = run()
    first = time.perf_counter() - start
    seconds: list[float] = []
    total = slowest = 0.0
    while (len(seconds) < repeats or total < least) and total < LONG:
        if time.perf_counter() - _START + (slowest or first) >= budget:
            break
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
        total, slowest = total + seconds[-1], max(slowest, seconds[-1])
    known = seconds or [first]
    summary = {"min": min(known), "median": statistics.median(known), "repeats": len(seconds)}
    return {"first": first, **summary, "result": result}


def peak_bytes() -> int:
    """The most memory that this process has held.

    Linux counts what the parent held before this program was loaded into the ``ru_maxrss`` of a child, so it is asked for the
    high-water mark of the program itself where there is one.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def repeat_compiled(function: Any, arguments: tuple[Any, ...], *options: Any) -> dict[str, Any]:
    """The same for a jitted function, with the seconds to trace and compile it apart.

    Returns:
        Besides those of :func:`repeat`, ``compile`` in seconds, the temporary memory ``temp_bytes`` of the compiled program, and
        as ``result`` the sum of each array that it returns.
    """
    jax = importlib.import_module("jax")  # by name: only the systems that use JAX may load it
    start = time.perf_counter()
    compiled = function.lower(*arguments).compile()
    seconds = time.perf_counter() - start
    summary = repeat(lambda: jax.block_until_ready(compiled(*arguments)), *options)
    summary["result"] = [float(leaf.sum()) for leaf in jax.tree.leaves(summary["result"])]
    return {"compile": seconds, "temp_bytes": compiled.memory_analysis().temp_size_in_bytes, **summary}


def limit_memory(size: int | None = None) -> None:
    """Lets this process have that many bytes, or what is free now: what asks for more fails and takes no other process along."""
    if size is None:
        try:
            with open("/proc/meminfo", encoding="ascii") as meminfo:
                size = next(1024 * int(line.split()[1]) for line in meminfo if line.startswith("MemAvailable:"))
        except (OSError, StopIteration):
            return
    resource.setrlimit(resource.RLIMIT_DATA, (size, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def main() -> None:
    file, name, text = sys.argv[1:]
    order = json.loads(text)
    if order["limited"]:
        limit_memory()
    options = order["repeats"], order["budget"], order["least"]
    try:
        function = runpy.run_path(file)[name]
        start = time.perf_counter()
        made = function(**order["arguments"])
        if callable(made):
            built = time.perf_counter() - start
            _print({"row": {"build": built, **repeat(made, *options)}})
        else:
            for row in made:
                _print({"row": _timed(row, options)})
    except Exception as error:  # whatever goes wrong in a system under test is its result
        _print({"failed": _said(error)})
    _print({"peak": _peak(order["limited"])})


def _timed(row: dict[str, Any], options: tuple[int, float, float]) -> dict[str, Any]:
    """The row, with its program replaced by how long that takes; one that fails does not take the others with it."""
    if "program" not in row:
        return row
    function, arguments = row.pop("program")
    try:
        return row | repeat_compiled(function, arguments, *options)
    except Exception as error:
        return row | {"failed": _said(error)}


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def _peak(cpu: bool) -> dict[str, int]:
    """Of this process, and of the device where that has memory of its own."""
    peak = {"peak_bytes": peak_bytes()}
    stats = None if cpu or "jax" not in sys.modules else sys.modules["jax"].devices()[0].memory_stats()
    return peak | ({"device_peak_bytes": stats["peak_bytes_in_use"]} if stats else {})


def _print(message: dict[str, Any]) -> None:
    print(MARK + json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
