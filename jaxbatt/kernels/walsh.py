"""The Walsh-Hadamard transform, which makes every sum of X strings diagonal."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int

_LOW = 4
"""The lowest bits, which one dense Hadamard matrix transforms: side by side in memory, they leave no vectors to butterflies."""
_STEP = 3
"""Most bits in one pass of butterflies: of four, XLA compiles no vectors. Both were measured at N = 8 to 24 on two CPU cores
(benchmarks/NOTES.md)."""
_CACHED = 18
BLOCK = 2**_CACHED
"""On a CPU: amplitudes of the blocks that larger vectors are transformed in, one after the other and each in its place."""
_TILE = 16
"""Bits of the tiles, out of all blocks, in which the bits above are transformed likewise."""
_FACTOR = 5
"""On a GPU: most bits of one dense Hadamard matrix. Its 64 operations on each number take matrix units less time than the memory
takes to bring it; compiled for an H100 each is one pass over memory (benchmarks/NOTES.md). No GPU was there to measure more."""


def walsh(v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
    """Returns sum_c (-1)**popcount(b & c) v[c] over the last axis (2**N), unnormalized, in O(N 2**N).

    Applied to coefficients placed at the sign masks of Z strings it gives their diagonal; applied twice it
    multiplies by 2**N. On a CPU butterflies transform the bits above the fourth, up to three in each pass, which takes the
    highest bits and puts them lowest of these, so that the next one is the same program and finds its own there; after all of
    them every bit is back in its place, and a dense matrix transforms the lowest four. On a GPU all passes are of that kind, by
    dense matrices of four or five bits.

    The matrix is symmetric and its own inverse but for 2**N, which JAX is told by calling it a solution: a derivative is the same
    program, where JAX's own way back through the loops copies the whole vector in each of their turns.
    """
    return _symmetric(_transformed, v.shape[-1], v)


def _symmetric(transform: Callable[[Array], Array], squared: float, v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
    """``transform(v)``; JAX is told of its transpose, which is the same, by the solution of transform(x) / squared = v."""

    def solve(_: Callable[[Array], Array], known: Array) -> Array:
        # Without a barrier XLA transforms constants while it compiles, for seconds; on a GPU it would take a part of an array
        # apart within the first product, and fails to compile that for some sizes.
        return transform(jax.lax.optimization_barrier(known))

    return jax.lax.custom_linear_solve(lambda x: transform(x) / squared, v, solve, symmetric=True)


@jax.jit
def _transformed(v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
    n_bits = v.shape[-1].bit_length() - 1
    if jax.default_backend() != "cpu":
        return _by_factors(v)
    if n_bits <= _CACHED:
        # Fewer bits without a matrix: of products with a smaller one the last digits depend on their number.
        low = _LOW if n_bits >= _LOW else 0
        for count in _steps(n_bits - low):
            mixed = _mixed(v.reshape(-1, 2**count, 2 ** (n_bits - count)), count)
            v = jnp.stack([part.reshape(-1, 2 ** (n_bits - low - count), 2**low) for part in mixed], axis=2).reshape(v.shape)
        if low:
            v = (v.reshape(*v.shape[:-1], -1, 2**low) @ jnp.asarray(_hadamard(low), v.dtype)).reshape(v.shape)
        return v
    above = n_bits - _CACHED
    run = max(_TILE - above, _LOW)

    def tile(part: Array) -> Array:
        return _butterflies(part.reshape(-1), run, run + above).reshape(part.shape)

    blocks = _in_place(_transformed, v.reshape(-1, BLOCK), (1, BLOCK))
    return _in_place(tile, blocks, (2**above, 2**run)).reshape(v.shape)


def _by_factors(v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
    """All bits by dense matrices, as equal as they can be: each takes the highest bits that are left and puts them lowest."""
    n_bits, shape = v.shape[-1].bit_length() - 1, v.shape
    count = factors(n_bits)
    for bits in ((n_bits + i) // count for i in range(count)):
        matrix = jnp.asarray(_hadamard(bits), v.dtype)
        v = jnp.einsum("...im,ij->...mj", v.reshape(*shape[:-1], 2**bits, -1), matrix).reshape(shape)
    return v


def factors(n_bits: int) -> int:
    """Dense matrices, each of them a pass over memory, that transform so many bits on a GPU."""
    return math.ceil(n_bits / _FACTOR)


def _in_place(transform: Callable[[Array], Array], v: Inexact[Array, "a b"], shape: tuple[int, int]) -> Inexact[Array, "a b"]:
    """Transforms v by parts of this shape, one after the other, with no more memory than that of v and of one part."""
    across = v.shape[1].bit_length() - shape[1].bit_length()

    def one(i: Int[Array, ""], v: Array) -> Array:
        place = (i >> across) * shape[0], (i & (2**across - 1)) * shape[1]
        part = transform(jax.lax.dynamic_slice(v, place, shape, allow_negative_indices=False))
        return jax.lax.dynamic_update_slice(v, part, place, allow_negative_indices=False)

    return jax.lax.fori_loop(0, v.size // math.prod(shape), one, v)


def butterflies(v: Inexact[Array, "*batch d"], first: int, stop: int) -> Inexact[Array, "*batch d"]:
    """The transform of the bits first, ..., stop - 1, each of them in its place."""
    return _symmetric(lambda x: _butterflies(x, first, stop), 2 ** (stop - first), v)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _butterflies(v: Inexact[Array, "*batch d"], first: int, stop: int) -> Inexact[Array, "*batch d"]:
    for count in _steps(stop - first):
        v = jnp.stack(_mixed(v.reshape(-1, 2**count, 2**first), count), axis=1).reshape(v.shape)
        first += count
    return v


def _steps(bits: int) -> list[int]:
    """Bits in each pass over so many of them."""
    count = math.ceil(bits / _STEP)
    return [(bits + i) // count for i in range(count)]


def _mixed(blocks: Inexact[Array, "m b r"], bits: int) -> Sequence[Inexact[Array, "m r"]]:
    """The transform of the second axis, which these bits number.

    The highest bit by sum and difference, the others by sums of those with signs, all of them in one reduction: XLA compiles its
    results as one loop, which reads every number once, where it would compile a loop for each of them.
    """
    left, right = jnp.split(blocks, 2, axis=1)
    halves = left + right, left - right
    if bits == 1:
        return [half[:, 0] for half in halves]
    signs = [jax.lax.broadcast_in_dim(sign, left.shape, (1,)) for sign in _hadamard(bits - 1)[1:].astype(blocks.dtype)]
    terms = [term for half in halves for term in (half, *(half * sign for sign in signs))]
    nothing = [jnp.zeros((), blocks.dtype)] * len(terms)
    return jax.lax.reduce(terms, nothing, lambda x, y: [a + b for a, b in zip(x, y, strict=True)], (1,))


@functools.cache
def _hadamard(n_bits: int) -> Float[np.ndarray, "a a"]:
    index = np.arange(2**n_bits)
    return 1.0 - 2.0 * (np.bitwise_count(index[:, None] & index[None, :]) & 1)
