"""``sweep``: points of a parameter grid per second, beside a loop of QuTiP's sesolve."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np

from jaxbatt.bench.fresh import fresh, installed
from jaxbatt.bench.settings import TASK, Report, Settings

SPINS = (4, 8, 10)
SYSTEMS = ("jaxbatt", "qutip")
POINTS, SAMPLES = 100, 200
"""Values on each axis, and points of the loop."""


def measure(settings: Settings, report: Report) -> None:
    """Max. power, long range p = 1, g = B, alpha in [-1, 1], omega in [1, 8] B.

    jaxbatt: the grid of 100 x 100 by ``jb.sweep``; tracing, compiling and what else does not grow with the number of points are
    taken off by the time of a sweep of 16; where that is most of it, the rate is of ``finer`` times as many values of alpha.
    QuTiP: operators are built once, outside the loop, over 200 points of the same grid; W at 101 times up to 1.7 / omega at
    tolerance 1e-8, the best of them. ``difference`` is the largest relative one of the powers; it contains how far the best time
    on QuTiP's grid is from the maximum. The plan's figures stand beside those measured, its memory beside the peak after the
    first sweep. At last a sweep into a store is killed at half time and begun again.
    """
    points, count = (5, 3) if settings.quick else (POINTS, SAMPLES)
    places = np.random.default_rng(0).integers(0, points, (count, 2))
    grid = {"alpha": np.linspace(-1, 1, points), "omega": np.linspace(1, 8, points)}
    samples = np.stack([grid["alpha"][places[:, 0]], grid["omega"][places[:, 1]]], axis=1)
    common = {key: TASK[key] for key in ("field", "coupling")}
    for n in settings.sizes(SPINS):
        powers = None
        for name in settings.wanted(SYSTEMS):
            case = {"system": name, "n": n}
            if not installed(name):
                report(case | {"skipped": "not installed"})
                continue
            if name == "jaxbatt":
                arguments = {"n": n, **common, "points": points, "samples": places.tolist(), "repeats": settings.repeats}
                row = fresh(settings, "sweeping.py", "sweep", arguments)[-1]
                row["killed"] = _killed(settings, n, points, common)
            else:
                row = fresh(settings, "with_qutip.py", "sweep", {"n": n, **common, "samples": samples.tolist()})[-1]
                if "min" in row:
                    row |= {"points": count, "points_per_second": count / row["min"]}
                    row["points_per_second_median"] = count / row["median"]
            found = row.pop("result", None)
            if found is not None and powers is not None:
                row["difference"] = float(np.abs(np.divide(found, powers) - 1).max())
            powers = found if name == "jaxbatt" else powers
            report(case | row)


def _killed(settings: Settings, n: int, points: int, common: dict[str, float]) -> dict[str, float]:
    """Seconds of a process that sweeps into a store, of one that is killed at half of that time, and of one that goes on."""
    with tempfile.TemporaryDirectory() as folder:

        def seconds(name: str, budget: float) -> float:
            arguments = {"n": n, **common, "points": points, "path": str(Path(folder) / name)}
            start = time.perf_counter()
            fresh(dataclasses.replace(settings, budget=budget), "sweeping.py", "stored", arguments)
            return time.perf_counter() - start

        whole = seconds("whole.zarr", settings.budget)
        killed = seconds("killed.zarr", whole / 2)
        then = seconds("killed.zarr", settings.budget)
    return {"whole": whole, "after": killed, "then": then, "lost": killed + then - whole}
