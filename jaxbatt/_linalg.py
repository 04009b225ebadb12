"""Linear algebra that JAX leaves a trap in."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact


@jax.custom_batching.custom_vmap
def eigh(matrix: Inexact[Array, "s s"]) -> tuple[Float[Array, " s"], Inexact[Array, "s s"]]:
    """Levels in ascending order and eigenvectors of a Hermitian matrix; on a CPU those of a batch are found one by one.

    On a CPU a batched call of LAPACK waits for tasks that it hands to the threads in which it runs itself: as many calls at
    once as there are threads, as in a sweep, wait for ever.
    """
    levels, vectors = jnp.linalg.eigh(matrix)
    return levels, vectors


@eigh.def_vmap
def _(size: int, batched: list[bool], matrices: Inexact[Array, "b s s"]) -> tuple[tuple[Array, Array], tuple[bool, bool]]:
    if jax.default_backend() == "cpu":
        return jax.lax.map(eigh, matrices), (True, True)
    levels, vectors = jnp.linalg.eigh(matrices)
    return (levels, vectors), (True, True)
