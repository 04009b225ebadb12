"""``apply``: one H application by each kernel, beside a copy of memory: does the cost rule choose right?"""

from __future__ import annotations

import itertools

from jaxbatt.bench.fresh import fresh
from jaxbatt.bench.settings import Report, Row, Settings

SPINS = tuple(range(10, 25, 2))
GPU_SPINS = tuple(range(10, 31, 2))


def measure(settings: Settings, report: Report) -> None:
    """Nearest neighbors and long range p = 1, alpha = 0 and 0.5, omega = 4 B; a process for each, its copy of memory included.

    Seconds are of one application (or copy) out of ``times`` in a loop. Each row has ``bytes``, by the formula of
    ``programs/applying.py``. ``fraction`` is ``bytes / min`` over the bandwidth of a copy: of the state itself, which a cache may
    hold, or of a large vector, whichever is faster. ``over_best`` is the time over that of the fastest choice of kernels for the
    same H, state and precision, and ``rule`` says which one the cost rule makes.
    """
    usual = GPU_SPINS if settings.platform == "gpu" else SPINS
    copied = {"copied": 16} if settings.quick else {}
    chains = [("LR", 0.5)] if settings.quick else list(itertools.product(("NN", "LR"), (0.0, 0.5)))
    for n, (chain, alpha) in itertools.product(settings.sizes(usual), chains):
        case = {"n": n, "chain": chain, "alpha": alpha}
        rows = fresh(settings, "applying.py", "applications", case | copied)
        for row in rows:
            if "min" in row:
                row |= {name: row[name] / row["times"] for name in ("first", "min", "median")}
        timed = [row | {"bytes_per_second": row["bytes"] / row["min"]} for row in rows if "min" in row]
        for row in rows:
            if row.get("what") == "apply" and "min" in row:
                row |= _judged(row, timed)
            report(case | row)


def _judged(row: Row, timed: list[Row]) -> Row:
    """The row beside the copies and the other choices of kernels."""
    own = [other for other in timed if (other["state"], other.get("dtype")) == (row["state"], row["dtype"])]
    copies = [
        other["bytes_per_second"] for other in timed if other["what"] == "copy" and (other in own or other["state"] == "large")
    ]
    fastest = min(other["min"] for other in own if other["what"] == "apply")
    rate = row["bytes"] / row["min"]
    fraction = rate / max(copies) if copies else None
    return {
        "bytes_per_second": rate,
        "copy_bytes_per_second": max(copies, default=None),
        "fraction": fraction,
        "over_best": row["min"] / fastest,
    }
