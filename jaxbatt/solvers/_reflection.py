"""Small chains that equal their mirror image, by matrices in the states that do so, too.

Where the couplings are known, H is a sum of few known matrices with numbers that JAX may trace: the points of a sweep share the
matrices, and one product serves them all. In the basis here sum_i X_i and the isotropic part XX + YY + ZZ of the couplings, which
commute, are diagonal. ZZ conserves the parity of the number of spins at X = -1, Z reverses it; even states come first.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxbatt import protocols
from jaxbatt._checks import known
from jaxbatt._types import Rows, Scalar
from jaxbatt.battery import Battery, SpinBattery
from jaxbatt.bounds import Bounds
from jaxbatt.observables import gains_of
from jaxbatt.propagators import Kept, Used
from jaxbatt.solvers._pauli import PauliSystem
from jaxbatt.solvers._sectors import Sector, sectors_of
from jaxbatt.solvers._system import Stretch

MOST_SPINS = 10
"""Spins up to which a product with the matrices costs less than the transforms (benchmarks/NOTES.md)."""

Numbers: TypeAlias = jax.Array | np.ndarray


class Chain(eqx.Module):
    """The couplings in the B states of a basis, E of which are even.

    Attributes:
        levels: (B,) of -sum_{i<j} g_ij (XX + YY + ZZ).
        ising: -sum_{i<j} g_ij ZZ, (E, E) and (B - E, B - E).
        ends: the lowest and the highest level of these two.
        total_x: (B,) sum_i X_i.
        total_z: (B - E, E) sum_i Z_i, from even to odd states.
        up: (B,) all spins up.
    """

    levels: Float[Numbers, " b"]
    ising: tuple[Float[Numbers, "e e"], Float[Numbers, "o o"]]
    ends: Float[Numbers, 2]
    total_x: Float[Numbers, " b"]
    total_z: Float[Numbers, "o e"]
    up: Float[Numbers, " b"]


def chain_of(couplings: Float[np.ndarray, "n n"]) -> Chain:
    """The chain of known couplings that equal their mirror image."""
    return _chain(len(couplings), couplings.astype(float).tobytes())


@functools.lru_cache(maxsize=8)
def _chain(n_spins: int, couplings: bytes) -> Chain:
    first, second = np.triu_indices(n_spins, 1)
    strength = -np.frombuffer(couplings).reshape(n_spins, n_spins)[first, second]
    (sector,) = sectors_of(n_spins, False, True)
    bits = sector.representatives[:, None] >> np.arange(n_spins)[::-1] & 1
    flipped = bits.sum(axis=1)
    order = np.lexsort((flipped, flipped % 2))
    even, signs, masks = np.sum(flipped % 2 == 0), 1 - 2 * bits, 1 << np.arange(n_spins)[::-1]
    aligned = (signs[:, first] * signs[:, second]).T
    # In the basis of X, ZZ flips both spins and YY = -(XX) ZZ, so that ZZ + YY flips only those that are not aligned.
    ising = _flips(sector, masks[first] | masks[second], np.broadcast_to(strength[:, None], aligned.shape))
    isotropic = _flips(sector, masks[first] | masks[second], strength[:, None] * (1 - aligned)) + np.diag(strength @ aligned)
    total_z = _flips(sector, masks, np.ones((n_spins, len(bits))))
    ising, isotropic, total_z = (matrix[np.ix_(order, order)] for matrix in (ising, isotropic, total_z))
    levels, turn = np.zeros(len(order)), np.zeros_like(ising)
    for count in range(n_spins + 1):
        block = np.flatnonzero(flipped[order] == count)
        levels[block], turn[np.ix_(block, block)] = np.linalg.eigh(isotropic[np.ix_(block, block)])
    ising, total_z = turn.T @ ising @ turn, turn.T @ total_z @ turn
    parts = ising[:even, :even], ising[even:, even:]
    ranges = np.concatenate([np.linalg.eigvalsh(part) for part in parts])
    up = turn.T @ np.sqrt(np.bincount(sector.index) / 2**n_spins)[order]
    total_x = (n_spins - 2.0 * flipped)[order]
    return Chain(levels, parts, np.array([ranges.min(), ranges.max()]), total_x, total_z[even:, :even], up)


def _flips(sector: Sector, masks: Int[np.ndarray, " m"], weights: Float[np.ndarray, "m b"]) -> Float[np.ndarray, "b b"]:
    """What flips the bits of each mask, times the weights of the states that it flips."""
    states, matrix = sector.representatives, np.zeros((len(sector.representatives),) * 2)
    for mask, weight in zip(masks, weights, strict=True):
        turned = states ^ mask
        matrix[sector.index[turned], np.arange(len(states))] += weight * sector.amplitude[turned] / sector.amplitude[states]
    return matrix


class Reflection(eqx.Module):
    """A battery that equals its mirror image: numbers that JAX may trace, and couplings that are known."""

    field: Scalar
    anisotropy: Scalar
    chain: Chain
    start: str = eqx.field(static=True)
    field_while_charging: bool = eqx.field(static=True)
    interactions_while_charging: bool = eqx.field(static=True)

    @classmethod
    def of(cls, battery: Battery, protocol: protocols.Protocol) -> Reflection | None:
        """None where the battery is not one, or too large, or the protocol does not leave it one."""
        if not isinstance(battery, SpinBattery) or battery.n_spins > MOST_SPINS or battery.start == "array":
            return None
        couplings, levels = known(battery.couplings), known(protocol)
        shape = np.shape((protocol if levels is None else levels).levels)
        if couplings is None or protocol.axis != "x" or battery.field.ndim or battery.anisotropy.ndim or len(shape) > 1:
            return None
        if not np.array_equal(couplings, couplings[::-1, ::-1]):
            return None
        return cls(
            field=battery.field,
            anisotropy=battery.anisotropy,
            chain=chain_of(np.asarray(couplings)),
            start=battery.start,
            field_while_charging=battery.field_while_charging,
            interactions_while_charging=battery.interactions_while_charging,
        )


class ReflectionOperator(eqx.Module):
    """x sum_i X_i + z sum_i Z_i - sum_{i<j} g_ij [isotropic (XX + YY + ZZ) + ising ZZ]; what is None is not there.

    With alpha for ``isotropic`` and 1 - alpha for ``ising``: H is linear in its numbers, as the way back has it.
    """

    pieces: ClassVar[int] = 1
    is_real: ClassVar[bool] = True
    x: Scalar | None
    z: Scalar | None
    isotropic: Scalar | None
    ising: Scalar | None
    chain: Chain

    def apply(self, rows: Rows) -> Rows:
        even = self._even
        out = self._diagonal() * rows
        if self.ising is not None:
            parts = zip((rows[:, :even], rows[:, even:]), self.chain.ising, strict=True)
            out = out + self.ising * jnp.concatenate([part @ matrix for part, matrix in parts], axis=1)
        return out if self.z is None else out + self.z * self._along_z(rows)

    def turned(self, rows: Rows) -> tuple[Rows, None, None]:
        return self.apply(rows), None, None

    def paired(self, v: Rows, w: Rows, total: ReflectionOperator, weight: Scalar) -> tuple[Rows, Rows, ReflectionOperator]:
        """H v, H w, and total + weight * the derivative of <w|H v> with respect to the numbers; the couplings are constants."""

        def image(x: Scalar | None, z: Scalar | None, isotropic: Scalar | None, ising: Scalar | None) -> Rows:
            return ReflectionOperator(x, z, isotropic, ising, self.chain).apply(v)

        hv, pull = jax.vjp(image, self.x, self.z, self.isotropic, self.ising)
        before = total.x, total.z, total.isotropic, total.ising
        x, z, isotropic, ising = jax.tree.map(lambda old, x: old + weight * x, before, pull(w))
        return hv, self.apply(w), ReflectionOperator(x, z, isotropic, ising, total.chain)

    def bounds(self) -> Bounds:
        """The exact levels of the fields; with interactions those of the diagonal, of ZZ, and of the field along z, added up."""
        across = 0.0 if self.z is None else self._n_spins * jnp.abs(self.z)
        diagonal = self._diagonal()
        if self.ising is None:
            return Bounds(jnp.zeros_like(self._n_spins), jnp.hypot(diagonal[0], across))
        low, high = jnp.sort(self.ising * self.chain.ends) + jnp.stack([diagonal.min(), diagonal.max()])
        return Bounds((high + low) / 2, (high - low) / 2 + across)

    def measure(self, rows: Rows) -> tuple[Scalar, Float[Array, 3]]:
        """The expectation value and the mean of <X_i>, <Y_i>, <Z_i>, of a state (2, B)."""
        return jnp.sum(rows * self.apply(rows)), self.mean_spin(rows)

    def mean_spin(self, rows: Rows) -> Float[Array, 3]:
        """The mean of <X_i>, <Y_i>, <Z_i>, of a state (2, B)."""
        x = jnp.sum(rows**2 * self.chain.total_x)
        z = jnp.sum(rows * self._along_z(rows))
        # 2 Y = i [X, Z] for the sums over all spins, and the sum of X is diagonal.
        real, imaginary = rows
        turned = self.chain.total_x * self._along_z(imaginary[None])[0] - self._along_z(self.chain.total_x * imaginary[None])[0]
        return jnp.stack([x, -jnp.sum(real * turned), z]) / self._n_spins

    @property
    def forms(self) -> ReflectionOperator:
        return self

    def gains(self, vectors: Float[Array, "2 r h b"], coefficients: Float[Array, "2 m r h"], used: Used) -> Float[Array, " m"]:
        """See :class:`jaxbatt.solvers._system.Forms`."""

        def image(some: Float[Array, "2 k b"]) -> Float[Array, "2 k b"]:
            # <v|Z|w> + <w|Z|v> is all that matters: the way from odd to even states, twice.
            rows, even = some.reshape(-1, some.shape[-1]), self._even
            images = dataclasses.replace(self, z=None).apply(rows)
            if self.z is not None:
                images = images.at[:, :even].add(2 * self.z * (rows[:, even:] @ self.chain.total_z))
            return images.reshape(some.shape)

        return gains_of(image, vectors, coefficients, used)

    def along(
        self, vectors: Kept, coefficients: Float[Array, "2 m 1 h"], used: Used
    ) -> tuple[Float[Array, " m"], Float[Array, "m 3"]]:
        """See :class:`jaxbatt.solvers._system.Forms`: from the states, which are small."""
        states = coefficients[:, :, 0] @ vectors[0][:, 0]
        return jax.vmap(self.measure, in_axes=1)(states)

    @property
    def _even(self) -> int:
        return self.chain.total_z.shape[1]

    @property
    def _n_spins(self) -> Scalar:
        return self.chain.total_x[0]

    def _diagonal(self) -> Float[Array, " b"]:
        out = jnp.zeros_like(self.chain.levels)
        if self.x is not None:
            out = out + self.x * self.chain.total_x
        return out if self.isotropic is None else out + self.isotropic * self.chain.levels

    def _along_z(self, rows: Rows) -> Rows:
        even, matrix = self._even, self.chain.total_z
        return jnp.concatenate([rows[:, even:] @ matrix, rows[:, :even] @ matrix.T], axis=1)


class ReflectionSystem(PauliSystem):
    """The amplitudes of the states that equal their mirror image."""

    reflection: Reflection = eqx.field(kw_only=True)

    def initial_rows(self) -> Rows:
        chain = self._chain
        # All spins down has the amplitudes of all up, with the opposite sign on odd states.
        sign = np.where(np.arange(len(chain.up)) < chain.total_z.shape[1], 1, -1) if self.reflection.start == "down" else 1
        return jnp.asarray(sign, self.dtype) * chain.up[None]

    def stretch(self, level: Scalar) -> Stretch:
        operator = self.generator(level)
        return Stretch(operator, self._gain(level), self.enclosed(operator, level))

    def generator(self, level: Scalar) -> ReflectionOperator:
        r = self.reflection
        return self._operator(level, r.field if r.field_while_charging else None, r.interactions_while_charging)

    def energy(self) -> ReflectionOperator:
        return self._operator(None, self.reflection.field, True)

    def magnetization(self, rows: Rows) -> Float[Array, 3]:
        return self.energy().mean_spin(rows)

    def _gain(self, level: Scalar) -> ReflectionOperator:
        """H_0 - H."""
        r = self.reflection
        return self._operator(-level, None if r.field_while_charging else r.field, not r.interactions_while_charging)

    @property
    def _chain(self) -> Chain:
        return jax.tree.map(lambda x: jnp.asarray(x, self.dtype), self.reflection.chain)

    def _operator(self, x: Scalar | None, z: Scalar | None, interacts: bool) -> ReflectionOperator:
        alpha = self.reflection.anisotropy
        numbers = (x, z, alpha, 1 - alpha) if interacts else (x, z, None, None)
        x, z, isotropic, ising = jax.tree.map(lambda number: jnp.asarray(number, self.dtype), numbers)
        return ReflectionOperator(x, z, isotropic, ising, self._chain)
