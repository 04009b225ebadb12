"""Weighted inner products of many long vectors with one another."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

_COLUMNS, _ON_GPU = 2**12, 2**16
"""Amplitudes at a time, which the caches hold for a hundred vectors; on a GPU so many that few kernels are started."""


def gram(v: Float[Array, "s l d"], w: Float[Array, "s k d"], weights: Float[Array, "m d"]) -> Float[Array, "s m l k"]:
    """sum_b weights[m, b] v[s, l, b] w[s, k, b]: a matrix product, by columns in the cache."""

    def product(i: Int[Array, ""], chunk: int) -> Float[Array, "s m l k"]:
        left = _columns(weights, i, chunk)[None, :, None] * _columns(v, i, chunk)[:, None]
        found = left.reshape(len(v), -1, chunk) @ _columns(w, i, chunk).swapaxes(1, 2)
        return found.reshape(len(v), len(weights), v.shape[1], w.shape[1])

    return _added(product, v.shape[-1])


def mirrored_gram(v: Float[Array, "2 l d"], weights: Float[Array, " d"]) -> Float[Array, "l l"]:
    """sum_b weights[b] v[0, l, b] v[1, k, ~b] in the same way."""

    def product(i: Int[Array, ""], chunk: int) -> Float[Array, "l l"]:
        # Both slices from the whole: a part of it would be copied before the loop.
        left = _columns(weights, i, chunk) * _columns(v, i, chunk)[0]
        return left @ _columns(v, v.shape[-1] // chunk - 1 - i, chunk)[1, :, ::-1].T

    return _added(product, v.shape[-1])


def _columns(x: Array, i: Int[Array, ""], chunk: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(x, i * chunk, chunk, axis=x.ndim - 1)


def _added(product: Callable[[Int[Array, ""], int], Array], size: int) -> Array:
    chunk = min(_COLUMNS if jax.default_backend() == "cpu" else _ON_GPU, size)
    zero = jax.eval_shape(lambda: product(jnp.zeros((), int), chunk))
    return jax.lax.fori_loop(0, size // chunk, lambda i, total: total + product(i, chunk), jnp.zeros(zero.shape, zero.dtype))
