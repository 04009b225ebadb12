"""When XLA does things. What needs no input it does at the beginning, side by side, and holds until it is used."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxbatt._batches import largest_of_batch

T = TypeVar("T")


def zero_after(*arrays: Array) -> Float[Array, ""]:
    """Zero, which XLA does not know before it has made these arrays: what it is added to comes after them.

    NaN where one of them begins with it. A barrier would not do: XLA drops it before it decides on the order.
    """
    first = sum(x[(0,) * x.ndim] for x in arrays if x.size)
    return jnp.where(first == first, jnp.zeros_like(first), first)


def zeros_after(like: T, *arrays: Array) -> T:
    """Zeros like a pytree, made after these arrays."""
    zero = zero_after(*arrays)
    return jax.tree.map(lambda x: jnp.broadcast_to(zero.astype(x.dtype), x.shape), like)


def none_after(*arrays: Array) -> Int[Array, ""]:
    """The number 0, which XLA does not know before it has made these arrays, whatever is in them, and the same for a whole batch:

    a loop of so many more turns comes after them.
    """
    # XLA does not know that a number times zero is never greater than one: it may be infinite.
    zero = sum((x[(0,) * x.ndim] * 0 for x in arrays), jnp.zeros(()))
    return largest_of_batch((zero > 1).astype(int))
