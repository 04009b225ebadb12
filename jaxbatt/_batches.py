"""Decisions that a whole batch takes together. The bits of a result must not depend on what else is in its batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

T = TypeVar("T")
Start: TypeAlias = Sequence[Int[Array, ""] | int]


@jax.custom_batching.custom_vmap
def largest_of_batch(count: Int[Array, ""]) -> Int[Array, ""]:
    """The same number, and the largest one of a batch: a loop whose length differs within a batch would copy all it carries."""
    return count


@largest_of_batch.def_vmap
def _(size: int, batched: list[bool], count: Int[Array, " b"]) -> tuple[Int[Array, ""], bool]:
    # Once more, for a batch of batches.
    return largest_of_batch(count.max()), False


def any_of_batch(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """The same flag, and whether it holds anywhere in a batch: a branch that some of a batch take would be computed for all."""
    return largest_of_batch(flag.astype(int)) > 0


def where_in_batch(flag: Bool[Array, ""], then: Callable[[], T], otherwise: T) -> T:
    """``then()`` where the flag holds, computed only if it holds anywhere in a batch."""

    def chosen() -> T:
        return jax.tree.map(lambda new, old: jnp.where(flag, new, old), then(), otherwise)

    return jax.lax.cond(any_of_batch(flag), chosen, lambda: otherwise)


def part_of(array: Array, start: Start, shape: tuple[int, ...]) -> Array:
    """Part of an array from a place that a whole batch shares: of a slice JAX would make a gather."""
    return _part(shape)(array, _place(start))


def placed(array: Array, part: Array, start: Start) -> Array:
    """The array with a part of it replaced, from a place that a whole batch shares: JAX would make a scatter of it."""
    return _placed(array, part, _place(start))


def _place(start: Start) -> Int[Array, " a"]:
    return jnp.stack([jnp.asarray(i, int) for i in start])


@functools.cache
def _part(shape: tuple[int, ...]) -> Callable[[Array, Array], Array]:
    @jax.custom_batching.custom_vmap
    def cut(array: Array, start: Int[Array, " a"]) -> Array:
        return jax.lax.dynamic_slice(array, tuple(start), shape)

    @cut.def_vmap
    def _(size: int, batched: list[bool], array: Array, start: Array) -> tuple[Array, bool]:
        if batched[1]:
            each = [0 if b else None for b in batched]
            return jax.vmap(lambda a, s: jax.lax.dynamic_slice(a, tuple(s), shape), each)(array, start), True
        return _part((size, *shape))(array, jnp.append(0, start)), True

    return cut


@jax.custom_batching.custom_vmap
def _placed(array: Array, part: Array, start: Int[Array, " a"]) -> Array:
    return jax.lax.dynamic_update_slice(array, part, tuple(start))


@_placed.def_vmap
def _(size: int, batched: list[bool], array: Array, part: Array, start: Array) -> tuple[Array, bool]:
    if batched[2]:
        each = [0 if b else None for b in batched]
        return jax.vmap(lambda a, p, s: jax.lax.dynamic_update_slice(a, p, tuple(s)), each)(array, part, start), True
    array, part = (x if b else jnp.broadcast_to(x, (size, *x.shape)) for x, b in zip((array, part), batched, strict=False))
    return _placed(array, part, jnp.append(0, start)), True
