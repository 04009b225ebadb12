"""The kernels on amplitudes that many devices hold: the top bits of the basis index number the device.

With D = 2**k devices the bits of an index are (top k, next k, the others). An exchange (all-to-all) swaps the first two
groups, so that the bits of the device become local; the transform stops there, for what follows it is a diagonal in any
order. W D W then takes two exchanges, in each of which a device sends (D - 1) / D of what it holds. A flip mask moves whole
devices, b ^ m = (top ^ m_top, local ^ m_local): one permutation for each distinct m_top other than 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Inexact, Int

from jaxbatt._types import Rows, Scalar
from jaxbatt.kernels.flips import FlipTable, apply_flips, flip_overlaps, site_overlaps
from jaxbatt.kernels.walsh import butterflies, walsh
from jaxbatt.kernels.whole import products


@dataclasses.dataclass(frozen=True)
class Sharded:
    """The kernels over a mesh with one axis of D = 2**k devices, for N >= 2 k bits; see :class:`Kernels`."""

    mesh: Mesh

    @property
    def pieces(self) -> int:
        return self.mesh.size

    @property
    def _top(self) -> int:
        """k, the number of bits that number the device."""
        return self.mesh.size.bit_length() - 1

    @property
    def _axis(self) -> str:
        return self.mesh.axis_names[0]

    def transform(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        return self._on_each(self._transform, self._split(v.ndim), (v,))

    def transform_back(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        return self._on_each(self._transform_back, self._split(v.ndim), (v,))

    def diagonal(
        self, n_bits: int, masks: Int[np.ndarray, " m"], values: Float[Array, " m"], *, transformed: bool
    ) -> Float[Array, " d"]:
        if not len(masks):
            # XLA compiles no function of empty arrays for many devices.
            return jnp.zeros_like(self.counts(n_bits), values.dtype)
        # The transform takes the order of the basis to its own, and back: coefficients are placed where it wants them.
        turn = self._transform if transformed else self._transform_back
        tops, places = self._halves(masks if transformed else self._swapped(masks, n_bits), n_bits)

        def place(values: Array) -> Array:
            mine = jnp.where(tops == jax.lax.axis_index(self._axis), values, 0)
            return turn(jnp.zeros(2 ** (n_bits - self._top), values.dtype).at[places].add(mine))

        return self._on_each(place, self._split(1), whole=(values,))

    def flips(
        self, strings: Sequence[tuple[int, int]], coefficients: Float[Array, " k"], v: Inexact[Array, "*batch d"]
    ) -> Inexact[Array, "*batch d"]:
        tables, sign_tops = self._tables(strings, v.shape[-1].bit_length() - 1)

        def flip(v: Array, coefficients: Array) -> Array:
            signed, out = coefficients * self._signs(sign_tops), jnp.zeros_like(v)
            for top, mine, table in tables:
                out = out + apply_flips(table, signed[mine], self._permuted(v, top))
            return out

        return self._on_each(flip, self._split(v.ndim), (v,), (coefficients,))

    def overlaps(self, strings: Sequence[tuple[int, int]], v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " k"]:
        tables, sign_tops = self._tables(strings, v.shape[-1].bit_length() - 1)

        def meet(v: Array, w: Array) -> Array:
            found = jnp.zeros(len(strings), v.dtype)
            for top, mine, table in tables:
                found = found.at[mine].set(flip_overlaps(table, self._permuted(v, top), w))
            return jax.lax.psum(found * self._signs(sign_tops), self._axis)

        return self._on_each(meet, PartitionSpec(), (v, w))

    def site_overlaps(self, v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " n"]:
        def overlaps(v: Array, w: Array) -> Array:
            first = site_overlaps(self._exchange(v), self._exchange(w))[: self._top]
            return jax.lax.psum(jnp.concatenate([first, site_overlaps(v, w)]), self._axis)

        return self._on_each(overlaps, PartitionSpec(), (v, w))

    def added(self, total: Float[Array, " d"], weight: Scalar, v: Rows, w: Rows) -> Float[Array, " d"]:
        return total + weight * products(v, w)

    def late(self, v: Rows, *arrays: Array) -> Rows:
        # Each of these numbers would have to be sent.
        return v

    def sites(self, n_bits: int) -> Int[np.ndarray, " n"]:
        own, next_, others = np.split(np.arange(n_bits), [self._top, 2 * self._top])
        return np.concatenate([next_, own, others])

    def counts(self, n_bits: int) -> Int[Array, " d"]:
        def count() -> Array:
            local = jnp.arange(2 ** (n_bits - self._top), dtype=jnp.int32)
            return jax.lax.population_count(local) + jax.lax.population_count(jax.lax.axis_index(self._axis))

        return self._on_each(count, self._split(1))

    def initial_rows(self, n_bits: int, *, down: bool, dtype: DTypeLike) -> Float[Array, "1 d"]:
        return (self.counts(n_bits) == (n_bits if down else 0)).astype(dtype)[None]

    def spread(self, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
        return jax.lax.with_sharding_constraint(v, NamedSharding(self.mesh, self._split(v.ndim)))

    def sent(self, n_bits: int, transformed: int, flips: Collection[int]) -> float:
        tops = set(self._halves(list(flips), n_bits)[0].tolist()) - {0}
        return 2 * transformed * (1 - 1 / self.mesh.size) + len(tops)

    def _on_each(
        self,
        function: Callable[..., Array],
        out: PartitionSpec,
        split: tuple[Array, ...] = (),
        whole: tuple[Array, ...] = (),
    ) -> Array:
        """Runs a function on every device, with its piece of the amplitudes ``split`` and with all of ``whole``."""
        specs = tuple(self._split(x.ndim) for x in split) + (PartitionSpec(),) * len(whole)
        return jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=out)(*split, *whole)

    def _split(self, ndim: int) -> PartitionSpec:
        """The last of the axes over the devices."""
        return PartitionSpec(*(None,) * (ndim - 1), self._axis)

    def _transform(self, v: Array) -> Array:
        """On the piece of a device: the local bits, the exchange, and the top bits, which have become local."""
        n_local = v.shape[-1].bit_length() - 1
        return butterflies(self._exchange(walsh(v)), n_local - self._top, n_local)

    def _transform_back(self, v: Array) -> Array:
        n_local = v.shape[-1].bit_length() - 1
        return walsh(self._exchange(butterflies(v, n_local - self._top, n_local)))

    def _exchange(self, v: Array) -> Array:
        """Swaps the bits of the device with the highest local ones."""
        blocks = v.reshape(*v.shape[:-1], self.mesh.size, -1)
        axis = blocks.ndim - 2
        return jax.lax.all_to_all(blocks, self._axis, axis, axis, tiled=True).reshape(v.shape)

    def _permuted(self, v: Array, top: int) -> Array:
        """The piece of the device whose number differs from the own one by the bits ``top``."""
        if top == 0:
            return v
        return jax.lax.ppermute(v, self._axis, [(device, device ^ top) for device in range(self.mesh.size)])

    def _tables(
        self, strings: Sequence[tuple[int, int]], n_bits: int
    ) -> tuple[list[tuple[int, Int[np.ndarray, " m"], FlipTable]], Int[np.ndarray, " k"]]:
        """For each way to permute the devices: its bits, which strings need it, their local masks. The top bits of all signs."""
        flip_tops, flip_places = self._halves([flip for flip, _ in strings], n_bits)
        sign_tops, sign_places = self._halves([sign for _, sign in strings], n_bits)
        tables = []
        for top in np.unique(flip_tops).tolist():
            mine = np.flatnonzero(flip_tops == top)
            tables.append((top, mine, FlipTable.of([(int(flip_places[i]), int(sign_places[i])) for i in mine])))
        return tables, sign_tops

    def _signs(self, sign_tops: Int[np.ndarray, " k"]) -> Int[Array, " k"]:
        """What the bits of this device make of the sign of each string."""
        return 1 - 2 * (jax.lax.population_count(jax.lax.axis_index(self._axis) & sign_tops) & 1)

    def _halves(self, masks: Any, n_bits: int) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
        """The bits of the device, and the local bits, of masks that may exceed 32 bits as a whole."""
        whole, n_local = np.asarray(masks, np.int64), n_bits - self._top
        return (whole >> n_local).astype(np.int32), (whole & (2**n_local - 1)).astype(np.int32)

    def _swapped(self, masks: Int[np.ndarray, " m"], n_bits: int) -> Int[np.ndarray, " m"]:
        """The masks in the order that a transform leaves."""
        top, rest = self._top, n_bits - 2 * self._top
        groups = masks >> rest
        return ((groups & (2**top - 1)) << top | groups >> top) << rest | masks & (2**rest - 1)
