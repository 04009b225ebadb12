"""The standard task, and the points of a sweep, by QuTiP."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import qutip


def charge(
    *, n: int, alpha: float, field: float, coupling: float, omega: float, end: float, points: int, solver: str
) -> Callable[[], list[float]]:
    """<H> is conserved while charging, so the fields alone give the work: no second matrix of interactions is built."""
    x, y, z = _sites(n)
    interactions = sum(
        -coupling / (j - i) * (z[i] * z[j] + alpha * (x[i] * x[j] + y[i] * y[j])) for i, j in itertools.combinations(range(n), 2)
    )
    charger, gain = interactions + omega * sum(x), field * sum(z) - omega * sum(x)
    state, times = _down(n), np.linspace(0, end, points)

    def run() -> list[float]:
        if solver == "krylovsolve":
            result = qutip.krylovsolve(charger, state, times, krylov_dim=20, e_ops=[gain])
        else:
            result = qutip.sesolve(charger, state, times, e_ops=[gain], options=_SESOLVE)
        gains = np.real(result.expect[0])
        return (gains - gains[0]).tolist()

    return run


def sweep(*, n: int, field: float, coupling: float, samples: list[list[float]]) -> Callable[[], list[float]]:
    """Max. power at each (alpha, omega), in a loop: the best of 101 times up to 1.7 / omega at tolerance 1e-8."""
    x, y, z = _sites(n)
    pairs = list(itertools.combinations(range(n), 2))
    along = sum(-coupling / (j - i) * z[i] * z[j] for i, j in pairs)
    across = sum(-coupling / (j - i) * (x[i] * x[j] + y[i] * y[j]) for i, j in pairs)
    fields, drive, state = field * sum(z), sum(x), _down(n)

    def run() -> list[float]:
        powers = []
        for alpha, omega in samples:
            charger, times = along + alpha * across + omega * drive, np.linspace(0, 1.7 / omega, 101)
            result = qutip.sesolve(
                charger, state, times, e_ops=[fields - omega * drive], options={"atol": 1e-8, "rtol": 1e-8, "progress_bar": ""}
            )
            gains = np.real(result.expect[0])
            powers.append(float(np.max((gains[1:] - gains[0]) / times[1:])))
        return powers

    return run


_SESOLVE = {"method": "adams", "atol": 1e-11, "rtol": 1e-9, "progress_bar": ""}
"""The fastest of its methods at this accuracy, N = 10 and 12."""


def _sites(n: int) -> tuple[list[Any], list[Any], list[Any]]:
    """X_i, Y_i, Z_i as sparse matrices."""

    def site(operator: Any, i: int) -> Any:
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(n)]).to("csr")

    x, y, z = ([site(operator, i) for i in range(n)] for operator in (qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()))
    return x, y, z


def _down(n: int) -> Any:
    return qutip.tensor([qutip.basis(2, 1)] * n)
