"""Proven enclosures of spectra."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._types import Scalar
from jaxbatt.paulis import PauliSum, letters_of

_BELL = np.array([[1, -1, 1], [-1, 1, 1], [1, 1, -1], [-1, -1, -1]])
"""Signs of XX, YY, ZZ in the four Bell states."""


class Bounds(NamedTuple):
    """Numbers that enclose a spectrum: center - radius <= E <= center + radius, proven, not estimated."""

    center: Scalar
    radius: Scalar

    def within(self, other: Bounds) -> Bounds:
        """What both enclose."""
        low = jnp.maximum(self.center - self.radius, other.center - other.radius)
        high = jnp.minimum(self.center + self.radius, other.center + other.radius)
        return Bounds((low + high) / 2, (high - low) / 2)


def local_bounds(pauli_sum: PauliSum) -> Bounds:
    """The exact ranges of the field at each site and of a XX + b YY + c ZZ on each pair, and |c_k| of all others, added up.

    A field has the levels +-(x^2 + y^2 + z^2)^(1/2); a pair those of the Bell states, in which XX, YY, ZZ are diagonal.
    """
    n = pauli_sum.n_spins
    fields: list[tuple[int, int]] = []
    pairs: list[tuple[int, int]] = []
    others: list[int] = []
    for k, string in enumerate(pauli_sum.strings):
        letters = letters_of(string, n)
        sites = [i for i, letter in enumerate(letters) if letter != "I"]
        kinds = {letters[i] for i in sites}
        if len(kinds) == 1 and len(sites) <= 2:
            row = sites[0] if len(sites) == 1 else sites[0] * n + sites[1]
            (fields if len(sites) == 1 else pairs).append((k, 3 * row + "XYZ".index(kinds.pop())))
        else:
            others.append(k)

    def table(entries: list[tuple[int, int]], rows: int) -> Float[Array, "r 3"]:
        which, places = np.array(entries, int).reshape(-1, 2).T
        values = pauli_sum.coefficients[which]
        return jnp.zeros(3 * rows, values.dtype).at[places].add(values).reshape(rows, 3)

    levels = table(pairs, n * n) @ _BELL.T
    low, high = levels.min(axis=1).sum(), levels.max(axis=1).sum()
    more = jnp.sqrt(jnp.sum(table(fields, n) ** 2, axis=1)).sum() + jnp.abs(pauli_sum.coefficients[np.array(others, int)]).sum()
    return Bounds((high + low) / 2, (high - low) / 2 + more)
