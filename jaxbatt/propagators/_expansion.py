"""The one engine of the polynomial propagators: sum_k c_k(t) v_k with v_{k+1} = growth_k H' v_k - back_k v_{k-1}."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxbatt._batches import Start, any_of_batch, part_of, placed
from jaxbatt._order import zero_after
from jaxbatt._types import Rows
from jaxbatt.propagators._segment import Action, States, accumulate

Apply: TypeAlias = Callable[[Rows], Rows]
Seen: TypeAlias = Callable[[Rows], tuple[Any, ...]]
"""To H of real rows, and what else is to be kept of them: more rows, or None."""
Kept: TypeAlias = tuple[Any, ...]
"""Vectors (2, r, h, d) that the real and the imaginary part of a state are sums of, h from each of the r rows that it began with,
and what was kept of them, as many rows, or None."""
Used: TypeAlias = tuple[Int[Array, ""], Int[Array, ""]]
"""How many rows, and how many vectors from each, may differ from zero."""


class Recurrence(NamedTuple):
    """(K,) weights of v_{k+1} = growth_k H' v_k - back_k v_{k-1}."""

    growth: Float[Array, "*k"]
    back: Float[Array, "*k"]


class _Loop(NamedTuple):
    here: Rows
    vectors: tuple[Any, ...]
    """(2, r, h, d) of the terms before, and of what is kept of them."""


def expand(
    operator: Action,
    shifted: Apply,
    rows: Rows,
    coefficients: Float[Array, "2 m h"],
    recurrence: Recurrence,
    pairs: Int[Array, ""],
    block: int | None = None,
) -> tuple[States, tuple[Rows, Rows]]:
    """sum_k c_k(t) v_k for M times, by blocks: each is filled by the recurrence, then added by one matrix product.

    Terms go in pairs (v_2m, v_2m+1), whose coefficients are real and imaginary. Under a real H real and imaginary part of the
    state evolve one after the other, the latter only where it is not zero; else both together.

    Args:
        operator: H.
        shifted: H' on real rows.
        rows: the state, (1, d) or (2, d).
        coefficients: (2, M, K / 2) with K a multiple of 64: Re c_k for even k, Im c_k for odd k; 0 from k = 2 ``pairs`` on.
        recurrence: from each vector to the next.
        pairs: number of pairs to add, at most K / 2.
        block: number of vectors in a block, a divisor of K; by default as many as there are states, or fewer.

    Returns:
        the M states; the last two vectors v_{2 pairs - 1}, v_{2 pairs}, from which the recurrence can be run back.
    """
    count, size = coefficients.shape[1], rows.shape[1]
    n_rows = 1 if operator.is_real else len(rows)
    height = _block_height(count) if block is None else block // 2 // n_rows
    table = _table(coefficients.astype(rows.dtype), n_rows)

    def add(rows: Rows, imaginary: Int[Array, ""] | int, states: States) -> tuple[States, tuple[Rows, Rows]]:
        def block(carry: tuple[Int[Array, ""], _Loop, States]) -> tuple[Int[Array, ""], _Loop, States]:
            first, loop, states = carry
            loop = _filled(lambda v: (shifted(v),), recurrence, first, jnp.minimum(height, pairs - first), loop, imaginary)
            piece = jax.lax.dynamic_slice_in_dim(table, first, height, 3).reshape(2, count, -1)
            piece = jnp.where(imaginary == 1, _times_i(piece), piece)
            return first + height, loop, accumulate(states, piece, loop.vectors[0].reshape(2, -1, size), operator.pieces)

        vectors = jnp.broadcast_to(zero, (2, len(rows), height, size))
        start = (jnp.zeros((), int), _Loop(rows, (vectors,)), states)
        _, end, states = jax.lax.while_loop(lambda carry: carry[0] < pairs, block, start)
        return states, (_taken(end.vectors[0], 2 * pairs - 1, len(rows), imaginary), end.here)

    # After the bounds of the spectrum, too.
    zero = zero_after(rows, coefficients).astype(rows.dtype)
    states = jnp.broadcast_to(zero, (2, count, size))
    if n_rows == 2 or len(rows) == 1:
        return add(rows, 0, states)

    def one(r: Int[Array, ""], carry: tuple[States, tuple[Rows, Rows]]) -> tuple[States, tuple[Rows, Rows]]:
        states, ends = carry
        states, last = add(jax.lax.dynamic_slice_in_dim(rows, r, 1), r, states)
        return states, jax.tree.map(lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, r, 0), ends, last)

    # The last two vectors of a part that is left out are zero, as it is itself.
    return jax.lax.fori_loop(0, _used(rows), one, (states, (rows, rows)))


def spanned(
    seen: Seen,
    rows: Rows,
    coefficients: Float[Array, "2 m h"],
    recurrence: Recurrence,
    pairs: Int[Array, ""],
    *,
    apart: bool,
) -> tuple[Kept, Float[Array, "2 m r h"], Used]:
    """The vectors that the M states of :func:`expand` are sums of, and their coefficients.

    Args:
        seen: H' of real rows, and what else is to be kept of them, or None.
        apart: whether H is real: then the rows evolve one after the other, the second only where it is not zero.

    Returns:
        the vectors, and what is kept of them; their coefficients; which of them may differ from zero.
    """
    table, others = _table(coefficients, len(rows)), jax.eval_shape(seen, rows)[1:]
    shape = (2, len(rows), table.shape[3], rows.shape[1])
    empty = jax.tree.map(lambda _: jnp.zeros(shape, rows.dtype), (rows, *others))

    def one(r: Int[Array, ""] | int, some: Rows, vectors: Kept) -> Kept:
        return _filled(seen, recurrence, 0, pairs, _Loop(some, vectors), r).vectors

    table = table.astype(rows.dtype)
    if len(rows) == 1 or not apart:
        return one(0, rows, empty), table, (jnp.asarray(len(rows)), pairs)
    used = _used(rows)
    vectors = jax.lax.fori_loop(0, used, lambda r, v: one(r, jax.lax.dynamic_slice_in_dim(rows, r, 1), v), empty)
    return vectors, table, (used, pairs)


def _used(rows: Rows) -> Int[Array, ""]:
    """How many of (Re psi, Im psi) are not zero in any state of a batch: the second may be."""
    return 1 + any_of_batch(jnp.any(rows[1] != 0)).astype(int)


def _table(pairs: Float[Array, "2 m h"], n_rows: int) -> Float[Array, "2 m r h"]:
    """What each vector of a pair is multiplied by, for real and imaginary part.

    For a state (x, y) the pair adds c x_even - c' y_odd to the real part and c y_even + c' x_odd to the imaginary part; for one
    row, what it adds of x.
    """
    return pairs[:, :, None] if n_rows == 1 else jnp.stack([pairs, _times_i(pairs)], axis=2)


def _times_i(pairs: Float[Array, "2 m h"]) -> Float[Array, "2 m h"]:
    """The same of y in place of x."""
    return jnp.stack([-pairs[1], pairs[0]])


def _filled(
    seen: Seen,
    recurrence: Recurrence,
    first: Int[Array, ""] | int,
    count: Int[Array, ""],
    loop: _Loop,
    imaginary: Int[Array, ""] | int,
) -> _Loop:
    """So many pairs of vectors, from pair ``first`` on; of one row, which the ``imaginary`` part may be, or of both."""

    def following(i: Int[Array, ""], loop: _Loop) -> _Loop:
        here, vectors = loop
        k = 2 * first + i
        driven, *others = seen(here)
        vectors = jax.tree.map(lambda x, rows: _put(x, rows, i, imaginary), vectors, (here, *others))
        # The one before lies in its place; before the first of all there are zeros.
        new = recurrence.growth[k] * driven - recurrence.back[k] * _taken(vectors[0], i - 1, len(here), imaginary)
        return _Loop(new, vectors)

    return jax.lax.fori_loop(0, 2 * count, following, loop)


def _put(vectors: Float[Array, "2 r h d"], rows: Rows, k: Int[Array, ""], imaginary: Int[Array, ""] | int) -> Array:
    """The vectors with the k-th of them."""
    for r in range(len(rows)):
        vectors = placed(vectors, rows[None, r, None, None], _place_of(vectors, k, r if len(rows) == 2 else imaginary))
    return vectors


def _taken(vectors: Float[Array, "2 r h d"], k: Int[Array, ""], n_rows: int, imaginary: Int[Array, ""] | int) -> Rows:
    """The k-th of the vectors, counted in a circle."""
    places = (_place_of(vectors, k, r if n_rows == 2 else imaginary) for r in range(n_rows))
    return jnp.concatenate([part_of(vectors, place, (1, 1, 1, vectors.shape[3])).reshape(1, -1) for place in places])


def _place_of(vectors: Float[Array, "2 r h d"], k: Int[Array, ""], part: Int[Array, ""] | int) -> Start:
    # An odd term has a factor i: what comes from the real part goes to the imaginary part, and the other way round.
    k = k % (2 * vectors.shape[2])
    return k % 2 ^ part, part if vectors.shape[1] == 2 else 0, k // 2, 0


def _block_height(n_states: int) -> int:
    """Pairs in a block: about half as many vectors as states, so that both take the same order of memory and time."""
    return max(h for h in (1, 2, 4, 8, 16, 32) if h <= max(n_states // 2, 1))
