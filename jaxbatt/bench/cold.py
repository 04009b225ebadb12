"""``cold``: importing, and the first curve in a fresh process, with and without JAX's persistent compilation cache."""

from __future__ import annotations

import statistics
import tempfile
import time

from jaxbatt.bench.fresh import fresh
from jaxbatt.bench.settings import TASK, Report, Row, Settings

SPINS = (10,)


def measure(settings: Settings, report: Report) -> None:
    """A new process for each repeat; ``process`` is its whole time, from start to end.

    The command line keeps compiled programs by default; as a library, jaxbatt does what JAX_COMPILATION_CACHE_DIR says. "empty
    cache" writes what it compiles, "filled cache" finds it.
    """
    report({"what": "import", **_repeated(settings, settings.repeats, "imports", {}, {})})
    for n in settings.sizes(SPINS):
        case = {"what": "curve", "n": n}
        task = {"n": n, **TASK}
        report({**case, "cache": "none", **_repeated(settings, settings.repeats, "curves", task, {})})
        with tempfile.TemporaryDirectory() as directory:
            cached = {
                "JAX_ENABLE_COMPILATION_CACHE": "true",
                "JAX_COMPILATION_CACHE_DIR": directory,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
            }
            report({**case, "cache": "empty", **_repeated(settings, 1, "curves", task, cached)})
            report({**case, "cache": "filled", **_repeated(settings, settings.repeats, "curves", task, cached)})


def _repeated(settings: Settings, repeats: int, function: str, arguments: Row, environment: dict[str, str]) -> Row:
    """Minimum and median of everything that the process measures, and of its own duration."""
    found: list[Row] = []
    for _ in range(repeats):
        start = time.perf_counter()
        row = fresh(settings, "starting.py", function, arguments, environment)[-1]
        if "failed" in row:
            return row
        found.append(row | {"process": time.perf_counter() - start})
    seconds = [name for name in found[0] if not name.endswith("bytes")]
    low = {name: min(row[name] for row in found) for name in seconds}
    middle = {name: statistics.median(row[name] for row in found) for name in seconds}
    return {"min": low, "median": middle, "repeats": len(found), "peak_bytes": max(row["peak_bytes"] for row in found)}
