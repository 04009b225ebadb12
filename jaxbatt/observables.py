"""Expectation values of states given as real rows (Re psi, Im psi)."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxbatt._batches import part_of, placed
from jaxbatt._order import none_after
from jaxbatt._types import Axis, Rows, Scalar
from jaxbatt.bounds import Bounds
from jaxbatt.hamiltonian import Model, Operator, y_sign
from jaxbatt.kernels import ONE_DEVICE, Kernels, gram, mirrored_gram
from jaxbatt.paulis import PauliSum, one_body
from jaxbatt.propagators import Used

_TOGETHER = 8
"""Vectors that are looked at together."""
_COPIED = 2**10
"""Amplitudes up to which it pays to copy the vectors of one row of a state, rather than to multiply with zeros of the other."""


class Gain(eqx.Module):
    """H_0 - H at one value of the field, measured in place of H_0: while H is constant both change alike.

    Attributes:
        weights: (3, N) coefficients of X, Y, Z at each site.
        present: which of X, Y, Z occur.
        many: the strings on several spins, where there are any.
    """

    weights: Float[Array, "3 n"]
    present: tuple[bool, ...] = eqx.field(static=True)
    many: Operator | None
    kernels: Kernels = eqx.field(static=True)

    @classmethod
    def of(cls, model: Model, axis: Axis, level: Float[Array, "*n"], dtype: DTypeLike, kernels: Kernels = ONE_DEVICE) -> Gain:
        difference = model.difference - one_body(model.n_spins, axis, level)
        single = difference.select([string.weight == 1 for string in difference.strings])
        many = difference.select([string.weight > 1 for string in difference.strings])
        letters, sites = _places(single)
        weights = jnp.zeros((3, model.n_spins), dtype).at[letters, sites].add(single.coefficients.astype(dtype))
        present = tuple(k in letters for k in range(3))
        return cls(weights, present, Operator.of(many, kernels).astype(dtype) if many.strings else None, kernels)

    @property
    def diagonals(self) -> tuple[Float[Array, " d"] | None, ...]:
        """sum_i w_i s_i(b) for those of X, Y, Z that occur, for X and Y in the order that a transform leaves."""
        turned = self.kernels.sites(self.weights.shape[1])
        weights = self.weights[0, turned], self.weights[1, turned], self.weights[2]
        return tuple(
            self.kernels.spread(_site_sums(w)) if there else None for w, there in zip(weights, self.present, strict=True)
        )

    def measure(self, rows: Rows) -> tuple[Scalar, Float[Array, 3]]:
        """<H_0 - H> and the mean of <X_i>, <Y_i>, <Z_i> over the spins, for a state (2, d)."""
        means = _site_means(rows, self.kernels)
        gain = jnp.zeros((), rows.dtype) if self.many is None else expectation(self.many, rows)
        return gain + jnp.sum(self.weights * means), means.mean(axis=1)

    @property
    def forms(self) -> Gain | None:
        """Itself where H_0 - H is real."""
        return self if not self.present[1] and (self.many is None or self.many.is_real) else None

    def gains(self, vectors: Float[Array, "2 r h d"], coefficients: Float[Array, "2 m r h"], used: Used) -> Float[Array, " m"]:
        """<H_0 - H>, which is real, see :func:`gains_of`."""
        along_x, _, along_z = self.diagonals
        size = vectors.shape[-1]

        def image(some: Float[Array, "2 k d"]) -> Float[Array, "2 k d"]:
            out = jnp.zeros_like(some) if along_z is None else along_z * some
            if along_x is not None:
                out = out + self.kernels.transform_back(along_x * self.kernels.transform(some)) / size
            return out if self.many is None else out + self._many(some)

        return gains_of(image, vectors, coefficients, used)

    def along(
        self,
        vectors: tuple[Float[Array, "2 1 l d"], Float[Array, "2 1 l d"] | None, Float[Array, "2 1 l d"] | None],
        coefficients: Float[Array, "2 m 1 l"],
        used: Used,
    ) -> tuple[Float[Array, " m"], Float[Array, "m 3"]]:
        """:meth:`measure` of M states with real parts c_0 v_0 and imaginary parts c_1 v_1, where H_0 - H is real.

        By the quadratic forms of each observable in its own basis: with more times than vectors no state is needed.

        Args:
            vectors: v, W v, and W s v (:meth:`Operator.turned`), the latter None where they are not known yet: then they are
                made in place of v.
            coefficients: c.
            used: as for :meth:`gains`.
        """
        along_x, _, along_z = self.diagonals
        v, by_x, by_y = (None if x is None else x[:, 0] for x in vectors)
        assert v is not None
        turn, pairs, turned = self.kernels.transform, used[1], by_x is None
        size, counts = v.shape[-1], self.kernels.counts(v.shape[-1].bit_length() - 1)
        n_spins = size.bit_length() - 1
        total = (n_spins - 2 * counts).astype(v.dtype) / n_spins
        signs, factors = y_sign(self.kernels, v), coefficients[:, :, 0]
        spin_z, gain = _quadratic(v, factors, total, along_z)
        if self.many is not None:
            gain = gain + gains_of(self._many, vectors[0], coefficients, used)
        if by_x is None:
            v = by_x = _turned(turn, v, pairs, gain)
        spin_x, more = _quadratic(by_x, factors, total / size, None if along_x is None else along_x / size)
        if by_y is None:

            def turn_y(row: Float[Array, " d"]) -> Float[Array, " d"]:
                return turn(signs * (self.kernels.transform_back(row) / size if turned else row))

            by_y = _turned(turn_y, v, pairs, gain + spin_x)
        # (-i)**popcount, which turns Y into X, is s on even and -i s on odd states, which c and its complement ~c tell apart.
        between = mirrored_gram(by_y, -2 * total / size)
        spin_y = jnp.sum((factors[0] @ between) * factors[1], axis=1)
        return gain + more, jnp.stack([spin_x, spin_y, spin_z], axis=1)

    def _many(self, some: Float[Array, "2 k d"]) -> Float[Array, "2 k d"]:
        assert self.many is not None
        return self.many.apply(some.reshape(-1, some.shape[-1])).reshape(some.shape)

    def bounds(self) -> Bounds:
        """Encloses the spectrum of H_0 - H."""
        center, radius = self.many.bounds() if self.many is not None else (0.0, 0.0)
        lengths = jnp.sqrt(jnp.sum(self.weights**2, axis=0))
        return Bounds(jnp.asarray(center, self.weights.dtype), radius + lengths.sum())


def gains_of(
    image: Callable[[Float[Array, "2 k d"]], Float[Array, "2 k d"]],
    vectors: Float[Array, "2 r h d"],
    coefficients: Float[Array, "2 m r h"],
    used: Used,
) -> Float[Array, " m"]:
    """<A> for a real A, to whose ``image`` A v of some vectors, in M states with real parts c_0 v_0 and imaginary parts c_1 v_1.

    Each is a small quadratic form of <v_j|A v_k>, and no state is needed. Vectors of other than the first ``used[0]`` rows, and
    of each row beyond the first ``used[1]``, are zero.
    """
    (n_rows, each, size), count = vectors.shape[1:], coefficients.shape[1]
    height, wide = math.gcd(each, _TOGETHER), 1 if size <= _COPIED else n_rows
    blocks, lefts = (used[1] + height - 1) // height, (used[0] + wide - 1) // wide
    factors = coefficients.reshape(2, count, n_rows * each)

    def add(pair: Int[Array, ""], values: Float[Array, " m"]) -> Float[Array, " m"]:
        right, start = pair // lefts, pair % lefts * wide
        met = part_of(vectors, (0, start, 0, 0), (2, wide, each, size)).reshape(2, wide * each, size)
        left = part_of(factors, (0, 0, start * each), (2, count, wide * each))

        def block(i: Int[Array, ""], forms: Float[Array, "2 l h"]) -> Float[Array, "2 l h"]:
            some = image(part_of(vectors, (0, right, i * height, 0), (2, 1, height, size))[:, 0])
            return placed(forms, jnp.einsum("sjd,skd->sjk", met, some), (0, 0, i * height))

        def share(i: Int[Array, ""], values: Float[Array, " m"]) -> Float[Array, " m"]:
            form = part_of(forms, (0, 0, i * height), (2, wide * each, height))
            return values + jnp.sum(
                (left @ form) * part_of(factors, (0, 0, right * each + i * height), (2, count, height)), axis=(0, 2)
            )

        forms = jax.lax.fori_loop(0, blocks, block, jnp.zeros((2, wide * each, each), vectors.dtype))
        return jax.lax.fori_loop(0, blocks, share, values)

    return jax.lax.fori_loop(0, used[0] * lefts, add, jnp.zeros(count, vectors.dtype))


def magnetization(rows: Rows, kernels: Kernels = ONE_DEVICE) -> Float[Array, 3]:
    """The mean of <X_i>, <Y_i>, <Z_i> over the spins, for a state (2, d)."""
    return _site_means(rows, kernels).mean(axis=1)


def _quadratic(
    vectors: Float[Array, "2 l d"], coefficients: Float[Array, "2 m l"], first: Float[Array, " d"], second: Array | None
) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
    """Means of two diagonals, of which the second may be 0 (None), in M states."""
    weights = first[None] if second is None else jnp.stack([first, second])
    forms = gram(vectors, vectors, weights)
    values = [_values(forms[:, k], coefficients) for k in range(len(weights))]
    return values[0], values[1] if second is not None else jnp.zeros_like(values[0])


def _turned(
    function: Callable[[Array], Array], vectors: Float[Array, "2 l d"], used: Int[Array, ""], after: Float[Array, " m"]
) -> Float[Array, "2 l d"]:
    """The function of each vector, in its place; those beyond the first ``used`` are zero, and so are their images.

    Begins when the values ``after`` are there, for which the vectors are needed as they are.
    """

    def turn(i: Int[Array, ""], vectors: Array) -> Array:
        return vectors.at[i % 2, i // 2].set(function(vectors[i % 2, i // 2]))

    return jax.lax.fori_loop(0, 2 * used + none_after(after), turn, vectors)


def _values(forms: Float[Array, "2 l l"], coefficients: Float[Array, "2 m l"]) -> Float[Array, " m"]:
    return jnp.sum((coefficients @ forms) * coefficients, axis=(0, 2))


def _site_means(rows: Rows, kernels: Kernels) -> Float[Array, "3 n"]:
    """<X_i>, <Y_i>, <Z_i> at each site, for a state (2, d)."""
    size = rows.shape[-1]
    order = np.argsort(kernels.sites(size.bit_length() - 1))

    def along_x(rows: Rows, *done: Array) -> Float[Array, " n"]:
        # Row by row, by the kernels that apply H to a row: there are none of their own to compile.
        real = kernels.transform(kernels.late(rows[:1], *done))[0]
        imaginary = kernels.transform(kernels.late(rows[1:], real))[0]
        return _means(real**2 + imaginary**2)[order] / size

    x = along_x(rows)
    return jnp.stack([x, along_x(_y_to_x(rows, kernels), x), _means(rows[0] ** 2 + rows[1] ** 2)])


def _means(density: Float[Array, " d"]) -> Float[Array, " n"]:
    """sum_b density[b] s_i(b) for each bit i, the highest first, s_i = +1 for 0 and -1 for 1."""
    upper, lower = _halves(density.shape[0].bit_length() - 1)
    density = density.reshape(len(upper), len(lower))
    return jnp.concatenate([density.sum(axis=1) @ upper.astype(density.dtype), density.sum(axis=0) @ lower.astype(density.dtype)])


def _site_sums(weights: Float[Array, " n"]) -> Float[Array, " d"]:
    """sum_i w_i s_i(b), whose weights are those of the bits, the highest first."""
    upper, lower = _halves(len(weights))
    first, second = jnp.split(weights, [upper.shape[1]])
    return ((upper.astype(weights.dtype) @ first)[:, None] + lower.astype(weights.dtype) @ second).reshape(-1)


def _halves(n_bits: int) -> tuple[Float[np.ndarray, "a m"], Float[np.ndarray, "b l"]]:
    """s_i of the upper and of the lower half of the bits."""
    sizes = n_bits // 2, n_bits - n_bits // 2
    upper, lower = (1.0 - 2.0 * (np.arange(2**m)[:, None] >> np.arange(m)[::-1] & 1) for m in sizes)
    return upper, lower


def _y_to_x(rows: Rows, kernels: Kernels) -> Rows:
    """(-i)**popcount(b) psi_b, the rotation by which each Y becomes X."""
    swapped = kernels.counts(rows.shape[-1].bit_length() - 1) % 2 == 1
    real, imaginary = rows
    first, second = jnp.where(swapped, imaginary, real), jnp.where(swapped, -real, imaginary)
    return y_sign(kernels, rows) * jnp.stack([first, second])


def expectation(operator: Operator, rows: Rows) -> Scalar:
    """<psi|H|psi> for a state of one or two real rows."""
    return jnp.sum(rows * operator.apply(rows))


def _places(part: PauliSum) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Letter (0, 1, 2 for X, Y, Z) and site of every single-spin string."""
    letters = np.array([(1 if s.n_y else 0) if s.flip else 2 for s in part.strings], int)
    sites = np.array([part.n_spins - (s.flip | s.sign).bit_length() for s in part.strings], int)
    return letters, sites
