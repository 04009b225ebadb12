"""Decisions that a whole batch takes together. The bits of a result must not depend on what else is in its batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

T = TypeVar("T")


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
