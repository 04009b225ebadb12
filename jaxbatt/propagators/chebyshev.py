"""Chebyshev expansion of exp(-i H t) over the whole of a segment."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbatt._types import Rows, Scalar
from jaxbatt.propagators._expansion import expand
from jaxbatt.propagators._segment import Apply, Segment, check_tolerance

_TERMS = 512
"""Terms of the longest segment. Its tail costs some 40 terms, so longer segments would gain little."""
_REACH = 400.0
"""Largest radius * time of a segment; 512 terms then leave less than 1e-18."""


@dataclasses.dataclass(frozen=True)
class Chebyshev:
    """exp(-i H t) psi = sum_k c_k(t) T_k(H') psi with H' = (H - center) / radius, c_k = (2 - delta_k0) (-i)**k J_k(radius t).

    The vectors T_k(H') psi do not depend on t: one recurrence serves all times of a segment. It is truncated where a
    proven bound of the tail (Kapteyn's inequality) meets the tolerance, never at the first small term.

    Args:
        tol: bound of the truncation error of the state (2-norm) at the last time.

    Raises:
        ValueError: tol <= 0.

    Source: Tal-Ezer and Kosloff, J. Chem. Phys. 81, 3967 (1984); Kapteyn's inequality: DLMF 10.14.8.
    """

    tol: float = 1e-10

    def __post_init__(self) -> None:
        check_tolerance(self.tol)

    def advance(
        self, apply: Apply, center: Scalar, radius: Scalar, rows: Rows, offsets: Float[Array, " m"], limit: Scalar, rate: Scalar
    ) -> Segment:
        """See :class:`jaxbatt.propagators.Propagator`."""
        eps = jnp.finfo(rows.dtype).eps
        radius = radius * (1 + 16 * eps) + jnp.finfo(rows.dtype).tiny
        reach = jnp.minimum(limit, _REACH / radius)
        tails = _tail_bounds(radius * reach)
        enough = tails <= jnp.maximum(rate * reach, eps / 16)
        n_terms = jnp.argmax(enough) + 1
        coefficients = _coefficients(radius * jnp.append(jnp.minimum(offsets, reach), reach))
        pairs = (n_terms + 1) // 2
        growth = jnp.full(_TERMS, 2, rows.dtype).at[0].set(1)
        states = expand(lambda v: (apply(v) - center * v) / radius, rows, coefficients, growth, 1, pairs)
        return Segment(states, reach, tails[n_terms - 1] + 2 * eps * pairs, 2 * pairs)


def _tail_bounds(z: Scalar) -> Float[Array, " k"]:
    """Bounds of sum_{j > k} 2 |J_j(z)|, k = 0, 1, ...: geometric sums of |J_j(z)| <= exp(sqrt(j^2 - z^2) - j arccosh(j / z))."""
    order = jnp.arange(1, _TERMS + 1, dtype=z.dtype)
    z = jnp.maximum(z, jnp.finfo(z.dtype).eps)
    ratio = order / z
    beyond = ratio > 1
    ratio = jnp.where(beyond, ratio, 2.0)
    log_first = z * jnp.sqrt(ratio**2 - 1) - order * jnp.arccosh(ratio)
    decay = 1 / (ratio + jnp.sqrt(ratio**2 - 1))
    return jnp.where(beyond, 2 * jnp.exp(log_first) / (1 - decay), jnp.inf)


def _coefficients(z: Float[Array, " m"]) -> Float[Array, "m k"]:
    """i**k c_k for every z: (2 - delta_k0) J_k(z), by the cosine transform of exp(-i z cos(theta)).

    The odd terms are the imaginary part: c_k = (-i)**k J_k, so Re c_2m = (-1)**m J_2m and Im c_2m+1 = -(-1)**m J_2m+1.
    """
    angle = jnp.pi / _TERMS * jnp.arange(2 * _TERMS, dtype=z.dtype)
    phase = z[:, None] * jnp.cos(angle)
    series = jnp.fft.fft(jax.lax.complex(jnp.cos(phase), -jnp.sin(phase)), axis=-1)[:, :_TERMS] / _TERMS
    series = series.at[:, 0].divide(2)
    return jnp.where(jnp.arange(_TERMS) % 2 == 0, series.real, series.imag)
