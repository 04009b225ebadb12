"""Pauli strings by bit manipulation of the basis index: out[b] = sum_m d_m(b) v[b ^ m].

Strings with the same flip mask m share one gather; d_m(b) = sum_k c_k (-1)**popcount(b & sign_k).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int

from jaxbatt._batches import any_of_batch

_FUSED = 32
"""Masks in one fused pass: enough to read the amplitudes from the cache, few enough to compile in a blink."""
_LARGE = 2**16
"""Amplitudes from which index arrays that XLA would keep outside of loops cost more than to make them anew."""


class FlipTable(NamedTuple):
    """Strings grouped by flip mask, padded to rectangles; M distinct masks with at most S strings each."""

    flips: Int[np.ndarray, " m"]
    signs: Int[np.ndarray, "m s"]
    terms: Int[np.ndarray, "m s"]
    """Position of the string among the coefficients; the position after the last one stands for none."""
    n_strings: int

    @classmethod
    def of(cls, masks: list[tuple[int, int]]) -> FlipTable:
        """Groups (flip mask, sign mask) pairs by their flip mask."""
        groups: dict[int, list[int]] = {}
        for k, (flip, _) in enumerate(masks):
            groups.setdefault(flip, []).append(k)
        width = max((len(group) for group in groups.values()), default=0)
        signs = np.zeros((len(groups), width), np.int32)
        terms = np.full((len(groups), width), len(masks), np.int32)
        for row, group in enumerate(groups.values()):
            signs[row, : len(group)] = [masks[k][1] for k in group]
            terms[row, : len(group)] = group
        return cls(np.array(list(groups), np.int32), signs, terms, len(masks))


def apply_flips(table: FlipTable, coefficients: Float[Array, " k"], v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
    """Returns sum_k c_k (-1)**popcount(b & sign_k) v[b ^ flip_k], one fused pass for each 32 distinct flip masks.

    Args:
        table: the strings, grouped (static).
        coefficients: (K,) real.
        v: (..., 2**N) amplitudes, real or complex; the result has the same dtype.
    """
    padded = jnp.concatenate([coefficients, jnp.zeros(1, coefficients.dtype)])
    weights = padded[table.terms].astype(jnp.finfo(v.dtype).dtype)
    basis = _basis(v)

    def one_pass(out: Array, flips: Array | np.ndarray, signs: Array | np.ndarray, weights: Array) -> Array:
        for m in range(flips.shape[0]):
            factor = jnp.zeros((), weights.dtype)
            for s in range(signs.shape[1]):
                factor = factor + _signed(basis, signs[m, s], weights[m, s])
            out = out + factor * v.at[..., basis ^ flips[m]].get(mode="promise_in_bounds", unique_indices=True)
        return out

    out, masks = jnp.zeros_like(v), len(table.flips)
    whole = masks - masks % _FUSED if masks > _FUSED else 0
    if whole:
        chunks = jax.tree.map(lambda x: x[:whole].reshape(-1, _FUSED, *x.shape[1:]), (table.flips, table.signs, weights))
        out = jax.lax.scan(lambda out, chunk: (one_pass(out, *chunk), None), out, jax.tree.map(jnp.asarray, chunks))[0]
    return one_pass(out, table.flips[whole:], table.signs[whole:], weights[whole:])


def flip_overlaps(table: FlipTable, v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " k"]:
    """Returns sum_b w[b] (-1)**popcount(b & sign_k) v[b ^ flip_k] for every string k, mask after mask.

    No more than one flipped vector is held at a time; it is made before it is summed, for a sum over gathers is not vectorized.
    """
    basis = _basis(v)

    def one_mask(_: None, mask: tuple[Array, Array]) -> tuple[None, Array]:
        flip, signs = mask
        met = jax.lax.optimization_barrier(v.at[:, basis ^ flip].get(mode="promise_in_bounds", unique_indices=True))
        product = (w * met).sum(axis=0)
        return None, jnp.stack([_signed(basis, sign, product).sum() for sign in signs])

    found = jax.lax.scan(one_mask, None, (jnp.asarray(table.flips), jnp.asarray(table.signs)))[1]
    return jnp.zeros(table.n_strings, v.dtype).at[table.terms].set(found, mode="drop")


def _basis(v: Inexact[Array, "*batch d"]) -> Int[Array, " d"]:
    """The numbers of the amplitudes; for large vectors in a way that hides from XLA that they do not change in a loop.

    It would keep an array of indices and one of signs outside of the loop for each mask: at N = 20 those of a chain with
    Dzyaloshinskii-Moriya terms are 25 state vectors, and slower to read than to make.
    """
    basis = jnp.arange(v.shape[-1], dtype=jnp.int32)
    if v.shape[-1] < _LARGE:
        return basis
    first = v[(0,) * v.ndim]
    return basis + jnp.minimum(any_of_batch(first != first).astype(basis.dtype), 0)


def _signed(basis: Array, sign: Array | np.integer, weight: Array) -> Array:
    if isinstance(sign, np.integer) and sign == 0:
        return weight
    odd = jax.lax.population_count(basis & sign) & 1
    return jnp.where(odd == 1, -weight, weight)


def site_overlaps(v: Float[Array, "r d"], w: Float[Array, "r d"]) -> Float[Array, " n"]:
    """Returns <w|X_i v> for every site i, four sites at a time: sum_b w[b] v[b ^ m] from the 16 x 16 overlaps of their bits.

    A sum for each site would read the amplitudes with a stride and without vector units.
    """
    n_bits, done = v.shape[-1].bit_length() - 1, 0
    overlaps = []
    while done < n_bits:
        group = min(4, n_bits - done)
        shape = (-1, 2**group, 2**done)
        blocks = jnp.einsum("xal,xbl->xab", w.reshape(shape), v.reshape(shape)).sum(axis=0)
        index = np.arange(2**group)
        overlaps += [blocks[index, index ^ (1 << bit)].sum() for bit in range(group)]
        done += group
    return jnp.stack(overlaps[::-1])
