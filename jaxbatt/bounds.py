"""Proven enclosures of spectra."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._types import Scalar
from jaxbatt.paulis import PauliSum, letters_of


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
    fields: dict[int, list[int | None]] = {}
    pairs: dict[tuple[int, int], list[int | None]] = {}
    others: list[int] = []
    for k, string in enumerate(pauli_sum.strings):
        letters = letters_of(string, n)
        sites = [i for i, letter in enumerate(letters) if letter != "I"]
        kinds = {letters[i] for i in sites}
        if len(kinds) == 1 and len(sites) <= 2:
            places = (
                fields.setdefault(sites[0], [None] * 3) if len(sites) == 1 else pairs.setdefault((sites[0], sites[1]), [None] * 3)
            )
            places["XYZ".index(kinds.pop())] = k
        else:
            others.append(k)
    padded = jnp.append(pauli_sum.coefficients, 0)

    def along(places: list[list[int | None]], axis: int) -> Float[Array, " m"]:
        return padded[np.array([len(pauli_sum.strings) if place[axis] is None else place[axis] for place in places], int)]

    x, y, z = (along(list(pairs.values()), axis) for axis in range(3))
    bell = [x - y + z, y + z - x, x + y - z, -x - y - z]
    low, high = (functools.reduce(choose, bell).sum() for choose in (jnp.minimum, jnp.maximum))
    lengths = jnp.sqrt(sum(along(list(fields.values()), axis) ** 2 for axis in range(3)))
    more = lengths.sum() + jnp.abs(padded[np.array(others, int)]).sum()
    return Bounds((high + low) / 2, (high - low) / 2 + more)
