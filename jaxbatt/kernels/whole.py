"""What operators ask of the kernels, and the kernels on amplitudes that one device holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Inexact, Int

from jaxbatt._order import zero_after
from jaxbatt._types import Rows, Scalar
from jaxbatt.kernels.flips import FlipTable, apply_flips, flip_overlaps, site_overlaps
from jaxbatt.kernels.walsh import BLOCK, walsh


class Kernels(Protocol):
    """All that mixes or numbers amplitudes; whatever else is done with them is elementwise, or a sum.

    The order of the amplitudes after ``transform`` is the kernels' own (``diagonal`` knows it): a permutation of the N bits.
    """

    @property
    def pieces(self) -> int:
        """Equal pieces in which the amplitudes are held, each on a device of its own."""
        ...

    def transform(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        """The Walsh transform W over the last axis, unnormalized."""
        ...

    def transform_back(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        """W from the order that ``transform`` leaves to that of the basis."""
        ...

    def diagonal(
        self, n_bits: int, masks: Int[np.ndarray, " m"], values: Float[Array, " m"], *, transformed: bool
    ) -> Float[Array, " d"]:
        """sum_m values[m] (-1)**popcount(b & masks[m]) for distinct masks, in the order of the basis, or of ``transform``."""
        ...

    def flips(
        self, strings: Sequence[tuple[int, int]], coefficients: Float[Array, " k"], v: Inexact[Array, "*batch d"]
    ) -> Inexact[Array, "*batch d"]:
        """sum_k c_k (-1)**popcount(b & sign_k) v[b ^ flip_k] for strings (flip mask, sign mask)."""
        ...

    def overlaps(self, strings: Sequence[tuple[int, int]], v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " k"]:
        """sum_b w[b] (-1)**popcount(b & sign_k) v[b ^ flip_k] for strings (flip mask, sign mask)."""
        ...

    def site_overlaps(self, v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " n"]:
        """<w|X_i v> for every site i."""
        ...

    def sites(self, n_bits: int) -> Int[np.ndarray, " n"]:
        """The site of each bit of the index after ``transform``, the highest first."""
        ...

    def added(self, total: Float[Array, " d"], weight: Scalar, v: Rows, w: Rows) -> Float[Array, " d"]:
        """total + weight * sum_r v_r w_r, amplitude by amplitude."""
        ...

    def late(self, v: Rows, *arrays: Array) -> Rows:
        """The same amplitudes, made after these arrays where that saves memory."""
        ...

    def counts(self, n_bits: int) -> Int[Array, " d"]:
        """popcount(b), the number of spins down, which is the same in both orders."""
        ...

    def initial_rows(self, n_bits: int, *, down: bool, dtype: DTypeLike) -> Float[Array, "1 d"]:
        """All spins down, or all up."""
        ...

    def spread(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        """The same amplitudes, where the kernels want them."""
        ...

    def sent(self, n_bits: int, transformed: int, flips: Collection[int]) -> float:
        """What a device sends, in units of all that it holds, for pairs of transforms and for flip masks."""
        ...


def products(v: Rows, w: Rows) -> Float[Array, " d"]:
    """sum_r v_r w_r, amplitude by amplitude."""
    return v[0] * w[0] + v[1] * w[1] if len(v) == 2 else v[0] * w[0]


def _in_order(v: Rows) -> bool:
    """Whether one thing is done after the other, and less is held; fewer amplitudes gain more from several at a time."""
    return v.shape[-1] > BLOCK and jax.default_backend() == "cpu"


@dataclasses.dataclass(frozen=True)
class Whole:
    """The kernels on one device, in the order of the basis throughout."""

    pieces: ClassVar[int] = 1

    def transform(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        return walsh(v)

    def transform_back(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        return walsh(v)

    def diagonal(
        self, n_bits: int, masks: Int[np.ndarray, " m"], values: Float[Array, " m"], *, transformed: bool
    ) -> Float[Array, " d"]:
        # Behind a barrier, for XLA would keep the whole vector of known values in the program; after the values, for it would
        # make the zeros at the beginning, and hold them.
        zero = zero_after(values).astype(values.dtype) if len(values) else jnp.zeros((), values.dtype)
        zeros = jax.lax.optimization_barrier(jnp.broadcast_to(zero, 2**n_bits))
        return walsh(zeros.at[masks].add(values))

    def flips(
        self, strings: Sequence[tuple[int, int]], coefficients: Float[Array, " k"], v: Inexact[Array, "*batch d"]
    ) -> Inexact[Array, "*batch d"]:
        return apply_flips(FlipTable.of(list(strings)), coefficients, v)

    def overlaps(self, strings: Sequence[tuple[int, int]], v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " k"]:
        return flip_overlaps(FlipTable.of(list(strings)), v, w)

    def site_overlaps(self, v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " n"]:
        return site_overlaps(v, w)

    def sites(self, n_bits: int) -> Int[np.ndarray, " n"]:
        return np.arange(n_bits)

    def added(self, total: Float[Array, " d"], weight: Scalar, v: Rows, w: Rows) -> Float[Array, " d"]:
        if not _in_order(v):
            return total + weight * products(v, w)

        def one(i: Int[Array, ""], total: Array) -> Array:
            start, some = i * BLOCK, [jax.lax.dynamic_slice_in_dim(x, i * BLOCK, BLOCK, -1) for x in (total, v, w)]
            return jax.lax.dynamic_update_slice_in_dim(total, some[0] + weight * products(*some[1:]), start, 0)

        # In place, and at once: XLA would wait for the next term, and hold what these are made of.
        return jax.lax.fori_loop(0, len(total) // BLOCK, one, total)

    def late(self, v: Rows, *arrays: Array) -> Rows:
        return v * (1 + zero_after(*arrays)) if _in_order(v) else v

    def counts(self, n_bits: int) -> Int[Array, " d"]:
        return jax.lax.population_count(jnp.arange(2**n_bits, dtype=jnp.int32))

    def initial_rows(self, n_bits: int, *, down: bool, dtype: DTypeLike) -> Float[Array, "1 d"]:
        return jnp.zeros((1, 2**n_bits), dtype).at[0, -1 if down else 0].set(1)

    def spread(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        return v

    def sent(self, n_bits: int, transformed: int, flips: Collection[int]) -> float:
        return 0


ONE_DEVICE = Whole()
