"""The standard task by dynamiqs: sparse diagonals, and Dormand-Prince of order 8, which is the fastest of its methods here."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import dynamiqs as dq
import numpy as np

Diagonals = dict[int, np.ndarray]


def charge(
    *, n: int, alpha: float, field: float, coupling: float, omega: float, end: float, points: int
) -> Callable[[], list[float]]:
    """<H> is conserved while charging, so the fields alone give the work: no second matrix of interactions is built."""
    dq.set_precision("double")
    spins = [1 - 2.0 * ((np.arange(2**n) >> (n - 1 - i)) & 1) for i in range(n)]
    bits = [1 << (n - 1 - i) for i in range(n)]
    charger: Diagonals = {}
    for i, j in itertools.combinations(range(n), 2):
        g, equal = coupling / (j - i), spins[i] * spins[j]
        _add(charger, 0, -g * equal)
        _add(charger, bits[i] | bits[j], -g * alpha * (1 - equal))
    gain: Diagonals = {0: field * sum(spins, np.zeros(2**n))}
    for bit in bits:
        _add(charger, bit, np.full(2**n, omega))
        _add(gain, bit, np.full(2**n, -omega))
    h, observable = _operator(charger, n), _operator(gain, n)
    state, times = dq.basis((2,) * n, (1,) * n), np.linspace(0, end, points)

    def run() -> list[float]:
        method = dq.method.Dopri8(rtol=1e-11, atol=1e-11)
        result = dq.sesolve(h, state, times, exp_ops=[observable], method=method, save_states=False, progress_meter=False)
        gains = np.asarray(result.expects[0]).real
        return (gains - gains[0]).tolist()

    return run


def _add(diagonals: Diagonals, flip: int, values: np.ndarray) -> None:
    """Adds the matrix with ``values[b]`` in row b and column b ^ flip; diagonals are indexed by row here."""
    rows = np.arange(len(values))
    offsets = (rows ^ flip) - rows
    for offset in np.unique(offsets[values != 0]):
        diagonal = diagonals.setdefault(int(offset), np.zeros(len(values)))
        diagonal += np.where(offsets == offset, values, 0.0)


def _operator(diagonals: Diagonals, n: int) -> dq.QArray:
    return dq.sparsedia_from_dict(
        {offset: values[: len(values) - offset] if offset >= 0 else values[-offset:] for offset, values in diagonals.items()},
        dims=(2,) * n,
    )
