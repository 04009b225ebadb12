"""The one engine of the polynomial propagators: sum_k c_k(t) v_k with v_{k+1} = growth_k H' v_k - back v_{k-1}."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxbatt._types import Rows
from jaxbatt.propagators._segment import Apply, States, accumulate


class _Loop(NamedTuple):
    odd: Rows
    even: Rows
    vectors: Float[Array, "2 r h d"]
    states: States


def expand(
    shifted: Apply,
    rows: Rows,
    coefficients: Float[Array, "m k"],
    growth: Float[Array, " k"],
    back: float,
    pairs: Int[Array, ""],
) -> tuple[States, tuple[Rows, Rows]]:
    """sum_k c_k(t) v_k for M times, by blocks: each is filled by the recurrence, then added by one matrix product.

    Terms go in pairs (v_2m, v_2m+1), whose coefficients are real and imaginary. For a state (x, y) the pair adds
    c x_even - c' y_odd to the real part and c y_even + c' x_odd to the imaginary part; for a real state only x_even, x_odd.

    Args:
        shifted: H' on real rows.
        rows: the state, (1, d) or (2, d).
        coefficients: (M, K) with K a multiple of 64: Re c_k for even k, Im c_k for odd k.
        growth: (K,) factors of the recurrence.
        back: weight of the vector before the last.
        pairs: number of pairs to add, at most K / 2.

    Returns:
        the M states; the last two vectors v_{2 pairs - 1}, v_{2 pairs}, from which the recurrence can be run back.
    """
    n_rows, size = rows.shape
    height = _block_height(len(coefficients))
    even_c, odd_c = coefficients[:, 0::2], coefficients[:, 1::2]
    table = (
        jnp.stack([even_c, odd_c])[:, None]
        if n_rows == 1
        else jnp.stack([jnp.stack([even_c, -odd_c]), jnp.stack([even_c, odd_c])])
    )
    table = jnp.where(jnp.arange(even_c.shape[1]) < pairs, table, 0).astype(rows.dtype)

    def next_pair(first: Int[Array, ""], i: Int[Array, ""], loop: _Loop) -> _Loop:
        k = 2 * (first + i)
        odd = growth[k] * shifted(loop.even) - back * loop.odd
        even = growth[k + 1] * shifted(odd) - back * loop.even
        new = (
            jnp.stack([loop.even, odd])
            if n_rows == 1
            else jnp.stack([jnp.stack([loop.even[0], odd[1]]), jnp.stack([loop.even[1], odd[0]])])
        )
        vectors = jax.lax.dynamic_update_slice_in_dim(loop.vectors, new[:, :, None], i, 2)
        return _Loop(odd, even, vectors, loop.states)

    def block(carry: tuple[Int[Array, ""], _Loop]) -> tuple[Int[Array, ""], _Loop]:
        first, loop = carry
        loop = jax.lax.fori_loop(0, jnp.minimum(height, pairs - first), lambda i, loop: next_pair(first, i, loop), loop)
        piece = jax.lax.dynamic_slice_in_dim(table, first, height, 3)
        piece = piece.swapaxes(1, 2).reshape(2, len(coefficients), -1)
        states = accumulate(loop.states, piece, loop.vectors.reshape(2, -1, size))
        return first + height, loop._replace(states=states)

    zeros = jnp.zeros((2, n_rows, height, size), rows.dtype)
    start = _Loop(jnp.zeros_like(rows), rows, zeros, jnp.zeros((2, len(coefficients), size), rows.dtype))
    end = jax.lax.while_loop(lambda carry: carry[0] < pairs, block, (jnp.zeros((), int), start))[1]
    return end.states, (end.odd, end.even)


def _block_height(n_states: int) -> int:
    """Pairs in a block: about half as many vectors as states, so that both take the same order of memory and time."""
    return next(h for h in (1, 2, 4, 8, 16, 32) if h >= min(n_states // 2, 32))
