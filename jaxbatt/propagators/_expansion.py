"""The one engine of the polynomial propagators: sum_k c_k(t) v_k with v_{k+1} = growth_k H' v_k - back v_{k-1}."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxbatt._types import Rows
from jaxbatt.propagators._segment import States, accumulate

Apply: TypeAlias = Callable[[Rows], Rows]


class _Loop(NamedTuple):
    before: Rows
    here: Rows
    vectors: Float[Array, "2 r h d"]


def expand(
    shifted: Apply,
    rows: Rows,
    coefficients: Float[Array, "m k"],
    growth: Float[Array, " k"],
    back: float,
    pairs: Int[Array, ""],
    pieces: int,
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
        pieces: in which the amplitudes are held (:class:`Action`).

    Returns:
        the M states; the last two vectors v_{2 pairs - 1}, v_{2 pairs}, from which the recurrence can be run back.
    """
    size, count = rows.shape[1], len(coefficients)
    height = _block_height(count)
    table = _table(coefficients, len(rows))
    table = jnp.where(jnp.arange(table.shape[-1]) < pairs, table, 0).astype(rows.dtype)

    def block(carry: tuple[Int[Array, ""], _Loop, States]) -> tuple[Int[Array, ""], _Loop, States]:
        first, loop, states = carry
        loop = _filled(shifted, growth, back, first, jnp.minimum(height, pairs - first), loop)
        piece = jax.lax.dynamic_slice_in_dim(table, first, height, 3)
        piece = piece.swapaxes(1, 2).reshape(2, count, -1)
        return first + height, loop, accumulate(states, piece, loop.vectors.reshape(2, -1, size), pieces)

    states = jnp.zeros((2, count, size), rows.dtype)
    start = (jnp.zeros((), int), _begin(rows, height), states)
    _, end, states = jax.lax.while_loop(lambda carry: carry[0] < pairs, block, start)
    return states, (end.before, end.here)


def spanned(
    shifted: Apply, rows: Rows, coefficients: Float[Array, "m k"], growth: Float[Array, " k"], back: float, pairs: Int[Array, ""]
) -> tuple[Float[Array, "2 l d"], Float[Array, "2 m l"]]:
    """The vectors that the M states of :func:`expand` are sums of, and their coefficients, for real and imaginary part."""
    table = _table(coefficients, len(rows))
    end = _filled(shifted, growth, back, 0, pairs, _begin(rows, table.shape[-1]))
    return end.vectors.reshape(2, -1, rows.shape[1]), table.swapaxes(1, 2).reshape(2, len(coefficients), -1).astype(rows.dtype)


def _table(coefficients: Float[Array, "m k"], n_rows: int) -> Float[Array, "2 r m h"]:
    """What each vector of a pair is multiplied by, for real and imaginary part."""
    even, odd = coefficients[:, 0::2], coefficients[:, 1::2]
    if n_rows == 1:
        return jnp.stack([even, odd])[:, None]
    return jnp.stack([jnp.stack([even, -odd]), jnp.stack([even, odd])])


def _begin(rows: Rows, height: int) -> _Loop:
    return _Loop(jnp.zeros_like(rows), rows, jnp.zeros((2, len(rows), height, rows.shape[1]), rows.dtype))


def _filled(
    shifted: Apply, growth: Float[Array, " k"], back: float, first: Int[Array, ""] | int, count: Int[Array, ""], loop: _Loop
) -> _Loop:
    """So many pairs of vectors, from pair ``first`` on."""

    def following(i: Int[Array, ""], loop: _Loop) -> _Loop:
        before, here, vectors = loop
        k, odd = 2 * first + i, i % 2
        # (Re, Im) of an odd term, which has a factor i, goes to (Im, Re); a real state has but one of them.
        kept = here if len(here) == 1 else jnp.where(odd == 1, here[::-1], here)
        where = (odd, 0, i // 2, 0) if len(here) == 1 else (0, odd, i // 2, 0)
        vectors = jax.lax.dynamic_update_slice(vectors, kept[:, None, None], where)
        return _Loop(here, growth[k] * shifted(here) - back * before, vectors)

    return jax.lax.fori_loop(0, 2 * count, following, loop)


def _block_height(n_states: int) -> int:
    """Pairs in a block: about half as many vectors as states, so that both take the same order of memory and time."""
    return next(h for h in (1, 2, 4, 8, 16, 32) if h >= min(n_states // 2, 32))
