"""Proven enclosures of spectra."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

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
    """The exact ranges of a XX + b YY + c ZZ on each pair, of the field at each site, and |c_k| of all others, added up.

    A field has the levels +-(x^2 + y^2 + z^2)^(1/2), a pair those of the Bell states. It is the tighter the more a sum of
    operators at a time is known exactly: so also with the fields along one axis shared out among the pairs (:func:`_range`).
    """
    table = _Table.of(pauli_sum)
    padded = jnp.append(pauli_sum.coefficients, 0)
    fields, pairs, others = padded[table.fields], padded[table.pairs], jnp.abs(padded[table.others]).sum()
    strength = jnp.abs(pairs).sum(axis=0)
    met = jnp.asarray(table.meets, strength.dtype) @ strength
    # Nor do couplings count whose reciprocal would overflow.
    alone = met < jnp.finfo(met.dtype).tiny
    shares = [jnp.where(alone, 0, 1 / jnp.where(alone, 1, met))[site] * strength for site in table.sites]

    def summed(axis: int, shared: Float[Array, " n"]) -> Bounds:
        """With a part of the fields along an axis at the pairs, at each in proportion to its strength."""
        first, second = (share * shared[site] for share, site in zip(shares, table.sites, strict=True))
        low, high = _range(jnp.roll(pairs, -axis, axis=0), first, second)
        left = fields.at[axis].add(-shared)
        more = jnp.sqrt((left**2).sum(axis=0)).sum() + others
        return Bounds((high.sum() + low.sum()) / 2, (high.sum() - low.sum()) / 2 + more)

    bounds = summed(0, jnp.zeros_like(fields[0]))
    for axis in table.axes:
        bounds = bounds.within(summed(axis, jnp.where(alone, 0, fields[axis])))
    return bounds


def _range(
    pair: Float[Array, "3 m"], first: Float[Array, " m"], second: Float[Array, " m"]
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """Lowest and highest level of a XX + b YY + c ZZ + h X_1 + h' X_2, or of what the axes in turn make of it.

    XX is conserved: where it is 1, YY = -ZZ turns X_1 = X_2 around, and where it is -1, YY = ZZ does so with X_1 = -X_2.
    """
    a, b, c = pair
    even, odd = jnp.hypot(first + second, b - c), jnp.hypot(first - second, b + c)
    return jnp.minimum(a - even, -a - odd), jnp.maximum(a + even, odd - a)


class _Table(NamedTuple):
    """Where the coefficients of a sum go, those that are not there after the last one.

    Attributes:
        fields: (3, N) of X, Y, Z at each site.
        pairs: (3, M) of XX, YY, ZZ on each pair.
        sites: the first and the second sites (M,) of the pairs.
        meets: (N, M) whether a site belongs to a pair.
        others: those of all other strings.
        axes: along which there are fields.
    """

    fields: Int[np.ndarray, "3 n"]
    pairs: Int[np.ndarray, "3 m"]
    sites: tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]
    meets: Bool[np.ndarray, "n m"]
    others: Int[np.ndarray, " o"]
    axes: tuple[int, ...]

    @classmethod
    def of(cls, pauli_sum: PauliSum) -> _Table:
        n, none = pauli_sum.n_spins, len(pauli_sum.strings)
        fields = np.full((3, n), none)
        pairs: dict[tuple[int, int], list[int]] = {}
        others: list[int] = []
        for k, string in enumerate(pauli_sum.strings):
            letters = letters_of(string, n)
            sites = [i for i, letter in enumerate(letters) if letter != "I"]
            kinds = {letters[i] for i in sites}
            if len(kinds) != 1 or len(sites) > 2:
                others.append(k)
            elif len(sites) == 1:
                fields["XYZ".index(kinds.pop()), sites[0]] = k
            else:
                pairs.setdefault((sites[0], sites[1]), [none] * 3)["XYZ".index(kinds.pop())] = k
        ends = np.array(list(pairs), int).reshape(-1, 2)
        meets = (ends == np.arange(n)[:, None, None]).any(axis=2)
        axes = tuple(int(axis) for axis in np.flatnonzero((fields < none).any(axis=1)))
        places = np.array(list(pairs.values()), int).reshape(-1, 3).T
        return cls(fields, places, (ends[:, 0], ends[:, 1]), meets, np.array(others, int), axes)
