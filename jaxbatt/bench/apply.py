"""``apply``: one H application by each kernel, beside a copy of memory: does the cost rule choose right?"""

from __future__ import annotations

import itertools

from jaxbatt.bench.fresh import fresh
from jaxbatt.bench.settings import Report, Settings

SPINS = tuple(range(10, 25, 2))
GPU_SPINS = tuple(range(10, 31, 2))


def measure(settings: Settings, report: Report) -> None:
    """Nearest neighbors and long range p = 1, alpha = 0 and 0.5, omega = 4 B; a process for each, its copy of memory included.

    Each row has ``bytes``, by the formula of ``programs/applying.py``; ``bytes / min`` over the bandwidth of the copy is
    ``fraction``, how much of the bound by memory the application reaches. ``over_best`` is the time over that of the fastest
    choice of kernels for the same H, state and precision, and ``rule`` says which one the cost rule makes.
    """
    usual = GPU_SPINS if settings.platform == "gpu" else SPINS
    copied = {"copied": 16} if settings.quick else {}
    chains = [("LR", 0.5)] if settings.quick else list(itertools.product(("NN", "LR"), (0.0, 0.5)))
    for n, (chain, alpha) in itertools.product(settings.sizes(usual), chains):
        case = {"n": n, "chain": chain, "alpha": alpha}
        rows = fresh(settings, "applying.py", "applications", case | copied)
        bandwidth = next((row["bytes"] / row["min"] for row in rows if row.get("what") == "copy" and "min" in row), None)
        for row in rows:
            if "min" in row:
                row |= {"bytes_per_second": row["bytes"] / row["min"], "copy_bytes_per_second": bandwidth}
                row["fraction"] = row["bytes_per_second"] / bandwidth if bandwidth else None
                same = [other["min"] for other in rows if "min" in other and all(other.get(k) == row.get(k) for k in _SAME)]
                row["over_best"] = row["min"] / min(same)
            report(case | row)


_SAME = ("what", "state", "dtype")
