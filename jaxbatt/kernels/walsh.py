"""The Walsh-Hadamard transform, which makes every sum of X strings diagonal."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

_GROUP = 4
"""Bits in one dense factor; 16 x 16 was the fastest of 4 to 10 bits and of butterflies at N = 16 and 20 (benchmarks/NOTES.md)."""


def walsh(v: Inexact[Array, "*batch d"]) -> Inexact[Array, "*batch d"]:
    """Returns sum_c (-1)**popcount(b & c) v[c] over the last axis (2**N), unnormalized, in O(N 2**N).

    Applied to coefficients placed at the sign masks of Z strings it gives their diagonal; applied twice it
    multiplies by 2**N. The bits are transformed four at a time by a dense Hadamard matrix.
    """
    batch, size = v.shape[:-1], v.shape[-1]
    n_bits, done = size.bit_length() - 1, 0
    while done < n_bits:
        group = min(_GROUP, n_bits - done)
        factor = jnp.asarray(_hadamard(group), v.dtype)
        if done == 0:
            v = v.reshape(*batch, -1, 2**group) @ factor
        else:
            v = jnp.einsum("ab,...bl->...al", factor, v.reshape(*batch, -1, 2**group, 2**done))
        done += group
    return v.reshape(*batch, size)


@functools.cache
def _hadamard(n_bits: int) -> Float[np.ndarray, "a a"]:
    index = np.arange(2**n_bits)
    return 1.0 - 2.0 * (np.bitwise_count(index[:, None] & index[None, :]) & 1)
