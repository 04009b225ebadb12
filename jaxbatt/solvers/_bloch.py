"""What the mean field needs to know of vectors, couplings and windows."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._checks import concrete
from jaxbatt._types import Couplings, Scalar
from jaxbatt.solvers._base import WINDOW_DEGREE, WINDOW_PHASE


def first_row(couplings: Couplings) -> np.ndarray | None:
    """g_0j if g_ij depends on i - j only and is symmetric; None if not, or where JAX traces it."""
    matrix = concrete(couplings)
    if matrix is None:
        return None
    n = len(matrix)
    by_offset = np.concatenate([matrix[0, :0:-1], matrix[0]])
    same = all(np.array_equal(matrix[i], by_offset[n - 1 - i : 2 * n - 1 - i]) for i in range(n))
    return matrix[0] if same else None


def circulant_spectrum(row: Float[Array, " n"]) -> Float[Array, " m"]:
    """Spectrum of the symmetric circulant matrix that starts with the Toeplitz matrix; its size is even and has small factors."""
    n = len(row)
    size = min(m << max(1, (-(-2 * n // m) - 1).bit_length()) for m in (1, 3, 5, 9, 15))
    middle = jnp.zeros(size - 2 * n + 1, row.dtype)
    return jnp.fft.rfft(jnp.concatenate([row, middle, row[:0:-1]])).real


def bandwidth(field: Scalar, coupling: Scalar) -> Scalar:
    """The angular frequency for which a search's window interpolates W to 1e-12.

    The window reaches ``WINDOW_PHASE`` / frequency to either side, its polynomial has the degree ``WINDOW_DEGREE``.
    For complex times |dS/dt| <= 2 (field + coupling r) r with r the length of the longest Bloch vector, so that all are
    shorter than r up to the distance y(r) from the real axis. Then |W| <= 2 r^2 (in units of the largest |H_0|) on the
    ellipse of semi-axis y about the window, and its polynomial is off by 8 r^2 rho^-degree / (rho - 1), rho > 1.24 (Trefethen,
    Approximation Theory and Approximation Practice, theorem 8.2). The best r gives the longest window.
    """
    logarithm = jnp.linspace(0.1, 64.0, 256)
    r = jnp.exp(logarithm)
    field = jnp.maximum(jnp.maximum(field, 1e-6 * coupling), jnp.finfo(r.dtype).tiny ** 0.5)
    distance = jnp.log1p(field * (r - 1) / (field + coupling * r)) / (2 * field)
    log_rho = (np.log(8 / 0.24 * 1e12) + 2 * logarithm) / WINDOW_DEGREE
    return WINDOW_PHASE / jnp.max(distance / jnp.sinh(log_rho))


def along(axis: str, values: Float[Array, "*n"], n_spins: int) -> Float[Array, "3 n"]:
    return jnp.zeros((3, n_spins), values.dtype).at["xyz".index(axis)].set(values)


def lengths(vectors: Float[Array, "3 n"]) -> Float[Array, " n"]:
    return jnp.sqrt(jnp.sum(vectors**2, axis=0))


def largest(error: Float[Array, "3 n"]) -> Scalar:
    return jnp.max(jnp.abs(error))
