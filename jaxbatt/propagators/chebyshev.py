"""Chebyshev expansion of exp(-i H t) over the whole of a segment."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxbatt._types import Rows, Scalar
from jaxbatt.propagators._expansion import expand
from jaxbatt.propagators._segment import Apply, Segment, States, check_tolerance

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
        reach = jnp.minimum(limit, longest(radius))
        terms = series(center, radius, jnp.append(jnp.minimum(offsets, reach), reach), reach, rate)
        states, top = terms.states(apply, rows)
        return Segment(states, reach, terms.error, 2 * terms.pairs, top)


def longest(radius: Scalar) -> Scalar:
    """The longest time that one series can span."""
    return _REACH / _widened(radius)


class Series(NamedTuple):
    """exp(-i (H - center) t) = sum_k c_k(t) T_k((H - center) / radius) for M times of either sign.

    Attributes:
        center: middle of an interval that encloses the spectrum.
        radius: half of its length.
        coefficients: (M, K) Re c_k for even k, Im c_k for odd k.
        pairs: number of pairs of terms that are needed.
        error: bound of the truncation error, and rounding.
    """

    center: Scalar
    radius: Scalar
    coefficients: Float[Array, "m k"]
    pairs: Int[Array, ""]
    error: Scalar

    def scaled(self, apply: Apply, v: Rows) -> Rows:
        """H' v = (H - center) v / radius."""
        return (apply(v) - self.center * v) / self.radius

    def states(self, apply: Apply, rows: Rows) -> tuple[States, tuple[Rows, Rows]]:
        """The state at the M times, (2, M, d), and the last two vectors of the recurrence."""
        growth = jnp.full(_TERMS, 2, rows.dtype).at[0].set(1)
        return expand(lambda v: self.scaled(apply, v), rows, self.coefficients, growth, 1, self.pairs)


def series(center: Scalar, radius: Scalar, offsets: Float[Array, " m"], reach: Scalar, rate: Scalar) -> Series:
    """The series for times up to ``reach`` in size, with an error of at most ``rate`` per unit of time."""
    eps = jnp.finfo(radius.dtype).eps
    radius = _widened(radius)
    tails = _tail_bounds(radius * reach)
    n_terms = jnp.argmax(tails <= jnp.maximum(rate * reach, eps / 16)) + 1
    pairs = largest_of_batch((n_terms + 1) // 2)
    return Series(center, radius, _coefficients(radius * offsets), pairs, tails[n_terms - 1] + 2 * eps * pairs)


@jax.custom_batching.custom_vmap
def largest_of_batch(count: Int[Array, ""]) -> Int[Array, ""]:
    """The same number, and the largest one of a batch: a loop whose length differs within a batch would copy all it carries."""
    return count


@largest_of_batch.def_vmap
def _(size: int, batched: list[bool], count: Int[Array, " b"]) -> tuple[Int[Array, ""], bool]:
    return count.max(), False


def _widened(radius: Scalar) -> Scalar:
    return radius * (1 + 16 * jnp.finfo(radius.dtype).eps) + jnp.finfo(radius.dtype).tiny


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
