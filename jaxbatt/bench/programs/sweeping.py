"""A sweep of max. power over alpha and omega by jaxbatt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import jaxbatt as jb
from jaxbatt.bench.timer import peak_bytes, repeat

_FINER = 8
"""Times as many values of alpha."""


def power(n: int, field: float, coupling: float) -> Callable[..., dict[str, jax.Array]]:
    """What is swept."""

    def fn(alpha: Any, omega: Any) -> dict[str, jax.Array]:
        peak = jb.max_power(jb.SpinBattery(field, jb.power_law(n, coupling, 1.0), alpha), jb.ConstantField(omega))
        return {"power": peak.power, "error": peak.info.error}

    return fn


def grid(points: int, finer: int = 1) -> dict[str, np.ndarray]:
    return {"alpha": np.linspace(-1, 1, finer * points), "omega": np.linspace(1, 8, points)}


def stored(*, n: int, field: float, coupling: float, points: int, path: str) -> Iterator[dict[str, Any]]:
    """The sweep into a store, for a process that may be killed."""
    jb.sweep(power(n, field, coupling), grid(points), store=path, progress=False)
    yield {"points": points**2}


def sweep(
    *, n: int, field: float, coupling: float, points: int, samples: list[list[int]], repeats: int
) -> Iterator[dict[str, Any]]:
    """The whole grid of points**2, and the power at some of it; what is traced and compiled is taken off by a sweep of 16.

    Where that is most of the time, the points per second are those of a grid with more values of alpha.
    """
    fn, axes = power(n, field, coupling), grid(points)
    plan = jb.plan(fn, axes)
    few = {name: values[:4] for name, values in axes.items()}
    data = jb.sweep(fn, axes, progress=False)
    first_peak = peak_bytes()
    whole = repeat(lambda: jb.sweep(fn, axes, progress=False), repeats)
    del whole["result"]
    overhead = repeat(lambda: jb.sweep(fn, few, progress=False), repeats)["min"]
    finer = _FINER if whole["min"] < 1.5 * overhead else 1
    timed = repeat(lambda: jb.sweep(fn, grid(points, finer), progress=False), repeats) if finer > 1 else whole

    def rate(seconds: float) -> float | None:
        """Points per second beyond the overhead; unknown where that is nearly all of the time."""
        return (finer * points**2 - 16) / (seconds - overhead) if seconds > 1.2 * overhead else None

    yield {
        **whole,
        "overhead": overhead,
        "points": points**2,
        "finer": finer,
        "points_per_second": rate(timed["min"]),
        "points_per_second_median": rate(timed["median"]),
        "planned_points_per_second": plan.points / plan.seconds,
        "planned_bytes": plan.memory + plan.process,
        "first_sweep_peak_bytes": first_peak,
        "valid": int(data.valid.sum()),
        "largest_error": float(data.error.max()),
        "result": [float(data.power[i, j]) for i, j in samples],
    }
