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
    first = sum(jnp.real(x[(0,) * x.ndim]) for x in arrays if x.size)
    return jnp.where(first == first, jnp.zeros_like(first), first)


def zeros_after(like: T, *arrays: Array) -> T:
    """Zeros like a pytree, made after these arrays."""
    zero = zero_after(*arrays)
    return jax.tree.map(lambda x: jnp.broadcast_to(zero.astype(x.dtype), x.shape), like)


def none_after(array: Array) -> Int[Array, ""]:
    """The number 0, the same for a whole batch, which XLA does not know before it has made the array, whatever is in it.

    A loop of so many more turns comes after the array: it may work in place on what that is made of.
    """
    # XLA does not know that a number times zero is never greater than one: it may be infinite.
    return largest_of_batch((array[(0,) * array.ndim] * 0 > 1).astype(int))
