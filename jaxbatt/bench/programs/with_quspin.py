"""The standard task by QuSpin, in the sector that the reflection of the chain leaves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from quspin.basis import spin_basis_1d
from quspin.operators import hamiltonian
from quspin.tools.evolution import ExpmMultiplyParallel


def charge(
    *, n: int, alpha: float, field: float, coupling: float, omega: float, end: float, points: int
) -> Callable[[], list[float]]:
    """<H> is conserved while charging, so the fields alone give the work: no second matrix of interactions is built."""
    basis = spin_basis_1d(n, pauli=1, pblock=1)
    pairs = [[-coupling / (j - i), i, j] for i, j in itertools.combinations(range(n), 2)]
    mixed = [[alpha * g, i, j] for g, i, j in pairs]
    options: dict[str, Any] = {"basis": basis, "dtype": np.float64, "check_herm": False, "check_symm": False, "check_pcon": False}
    charger = hamiltonian([["zz", pairs], ["xx", mixed], ["yy", mixed], ["x", _everywhere(n, omega)]], [], **options)
    gain = hamiltonian([["z", _everywhere(n, field)], ["x", _everywhere(n, -omega)]], [], **options)
    propagator = ExpmMultiplyParallel(charger.tocsr(), a=-1j * end / (points - 1))
    down = basis.index("0" * n)

    def run() -> list[float]:
        state = np.zeros(basis.Ns, complex)
        state[down] = 1
        gains = [gain.expt_value(state).real]
        for _ in range(points - 1):
            propagator.dot(state, overwrite_v=True)
            gains.append(gain.expt_value(state).real)
        return (np.array(gains) - gains[0]).tolist()

    return run


def _everywhere(n: int, strength: float) -> list[list[float]]:
    return [[strength, i] for i in range(n)]
