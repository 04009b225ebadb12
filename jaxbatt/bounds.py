"""Proven enclosures of spectra."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._checks import library
from jaxbatt._types import Scalar
from jaxbatt.paulis import PauliString, PauliSum, letters_of


class Bounds(NamedTuple):
    """Numbers that enclose a spectrum: center - radius <= E <= center + radius, proven, not estimated."""

    center: Scalar
    radius: Scalar

    def within(self, other: Bounds) -> Bounds:
        """What both enclose, and the rounding of their ends: where the spectrum is one number, they may miss each other by it."""
        low = jnp.maximum(self.center - self.radius, other.center - other.radius)
        high = jnp.minimum(self.center + self.radius, other.center + other.radius)
        rounding = 16 * jnp.finfo(low.dtype).eps * jnp.maximum(jnp.abs(low), jnp.abs(high))
        return Bounds((low + high) / 2, jnp.maximum((high - low) / 2, 0) + rounding)


def local_bounds(pauli_sum: PauliSum) -> Bounds:
    """The exact ranges of a XX + b YY + c ZZ on each pair, of the field at each site, and |c_k| of all others, added up.

    A field has the levels +-(x^2 + y^2 + z^2)^(1/2), a pair those of the Bell states. It is the tighter the more a sum of
    operators at a time is known exactly: so also with the fields along one axis shared out among the pairs (:func:`_ranges`).
    """
    xp, table = library(pauli_sum.coefficients), _Table.of(pauli_sum.n_spins, pauli_sum.strings)
    padded = xp.append(pauli_sum.coefficients, 0)
    fields, pairs = padded[table.fields], padded[table.pairs]
    strength = xp.abs(pairs).sum(axis=0)
    met = table.meets.astype(strength.dtype) @ strength
    # Nor do couplings count whose reciprocal would overflow.
    alone = met < xp.finfo(met.dtype).tiny
    # For each way to share: what the sites give away, and what each pair gets of its two sites, in proportion to its strength.
    shared = xp.where(alone, 0, table.sharing[:, :, None] * fields)
    taken = shared.sum(axis=1)
    ends = (taken * xp.where(alone, 0, 1 / xp.where(alone, 1, met)))[:, table.sites] * strength
    low, high = _ranges(padded[table.turned], ends)
    x, y, z = xp.moveaxis(fields - shared, 1, 0)
    rest = xp.sqrt(x**2 + y**2 + z**2).sum(axis=1) + xp.abs(padded[table.others]).sum()
    least, most = (low - rest).max(), (high + rest).min()
    return Bounds((most + least) / 2, (most - least) / 2)


def _ranges(pairs: Float[Array, "s 3 m"], ends: Float[Array, "s 2 m"]) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
    """Sums of the lowest and of the highest levels of a XX + b YY + c ZZ + h X_1 + h' X_2 on the M pairs.

    XX is conserved: where it is 1, YY = -ZZ turns X_1 = X_2 around, and where it is -1, YY = ZZ does so with X_1 = -X_2.
    """
    xp = library(pairs, ends)
    a, b, c = xp.moveaxis(pairs, 1, 0)[..., None, :]
    first, second = xp.moveaxis(ends, 1, 0)[..., None, :]
    xx = np.array([[1], [-1]])
    size = xp.hypot(first + xx * second, b - xx * c)
    sign = np.array([-1, 1])[:, None, None]
    reach = xp.maximum(size[:, 0] + sign * a[:, 0], size[:, 1] - sign * a[:, 0]).sum(axis=2)
    return -reach[0], reach[1]


class _Table(NamedTuple):
    """Where the coefficients of a sum go, those that are not there after the last one.

    Attributes:
        fields: (3, N) of X, Y, Z at each site.
        pairs: (3, M) of XX, YY, ZZ on each pair.
        others: those of all other strings.
        sites: the first and the second sites of the pairs.
        meets: whether a site belongs to a pair.
        sharing: the ways to share fields out: none, and those along X, Y, Z that there are, 1 for the one that is shared.
        turned: ``pairs`` for each of these ways, from the axis that is shared on.
    """

    fields: Int[np.ndarray, "3 n"]
    pairs: Int[np.ndarray, "3 m"]
    others: Int[np.ndarray, " o"]
    sites: Int[np.ndarray, "2 m"]
    meets: Bool[np.ndarray, "n m"]
    sharing: Int[np.ndarray, "s 3"]
    turned: Int[np.ndarray, "s 3 m"]

    @classmethod
    @functools.lru_cache(maxsize=64)
    def of(cls, n: int, strings: tuple[PauliString, ...]) -> _Table:
        none = len(strings)
        fields = np.full((3, n), none)
        pairs: dict[tuple[int, int], list[int]] = {}
        others: list[int] = []
        for k, string in enumerate(strings):
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
        axes = np.flatnonzero((fields < none).any(axis=1))
        sharing = np.concatenate([np.zeros((1, 3), int), np.eye(3, dtype=int)[axes]])
        places = np.array(list(pairs.values()), int).reshape(-1, 3).T
        turned = np.stack([np.roll(places, -axis, axis=0) for axis in (0, *axes)])
        return cls(fields, places, np.array(others, int), ends.T, meets, sharing, turned)
