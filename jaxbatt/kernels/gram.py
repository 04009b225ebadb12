"""Weighted inner products of many long vectors with one another."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_COLUMNS = 2**12
"""Amplitudes at a time, which the caches hold for a hundred vectors."""


def gram(
    v: Float[Array, "s l d"], w: Float[Array, "s k d"], weights: Float[Array, "m d"], *, mirrored: bool = False
) -> Float[Array, "s m l k"]:
    """sum_b weights[m, b] v[s, l, b] w[s, k, b], or w[s, k, ~b] where ``mirrored``: a matrix product, by columns in the cache."""
    size = v.shape[-1]
    chunk = min(_COLUMNS, size)
    last = size // chunk - 1

    def columns(x: Array, i: Array) -> Array:
        return jax.lax.dynamic_slice_in_dim(x, i * chunk, chunk, axis=x.ndim - 1)

    def add(i: Array, total: Array) -> Array:
        right = columns(w, last - i)[..., ::-1] if mirrored else columns(w, i)
        left = columns(weights, i)[None, :, None] * columns(v, i)[:, None]
        product = left.reshape(len(v), -1, chunk) @ right.swapaxes(1, 2)
        return total + product.reshape(total.shape)

    start = jnp.zeros((len(v), len(weights), v.shape[1], w.shape[1]), v.dtype)
    return jax.lax.fori_loop(0, last + 1, add, start)
