"""The standard task by jaxbatt."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

import jaxbatt as jb


def charge(
    *, n: int, alpha: float, field: float, coupling: float, omega: float, end: float, points: int, tol: float
) -> Callable[[], list[float]]:
    """Each run makes its operators, too: there is nothing to build beforehand."""
    times = jnp.linspace(0, end, points)

    def run() -> list[float]:
        battery = jb.SpinBattery(field, jb.power_law(n, coupling, 1.0), alpha)
        solver = jb.StateVector(jb.Chebyshev(tol))
        return np.asarray(jb.charge(battery, jb.ConstantField(omega), times, solver=solver).work).tolist()

    return run
