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

from jaxbatt.kernels.flips import FlipTable, apply_flips, flip_overlaps, site_overlaps
from jaxbatt.kernels.walsh import walsh


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
        # Behind a barrier, for XLA would keep the whole vector of known values in the program.
        zeros = jax.lax.optimization_barrier(jnp.zeros(2**n_bits, values.dtype))
        return walsh(zeros.at[masks].add(values))

    def flips(
        self, strings: Sequence[tuple[int, int]], coefficients: Float[Array, " k"], v: Inexact[Array, "*batch d"]
    ) -> Inexact[Array, "*batch d"]:
        return apply_flips(FlipTable.of(list(strings)), coefficients, v)

    def overlaps(self, strings: Sequence[tuple[int, int]], v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " k"]:
        return flip_overlaps(FlipTable.of(list(strings)), v, w)

    def site_overlaps(self, v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " n"]:
        return site_overlaps(v, w)

    def counts(self, n_bits: int) -> Int[Array, " d"]:
        return jax.lax.population_count(jnp.arange(2**n_bits, dtype=jnp.int32))

    def initial_rows(self, n_bits: int, *, down: bool, dtype: DTypeLike) -> Float[Array, "1 d"]:
        return jnp.zeros((1, 2**n_bits), dtype).at[0, -1 if down else 0].set(1)

    def spread(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        return v

    def sent(self, n_bits: int, transformed: int, flips: Collection[int]) -> float:
        return 0


ONE_DEVICE = Whole()
