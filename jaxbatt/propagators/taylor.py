"""Taylor series of exp(-i H t) in short segments."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from jaxbatt._types import Rows, Scalar
from jaxbatt.propagators._expansion import Recurrence, expand
from jaxbatt.propagators._segment import Action, Segment, checked_tolerance

_TERMS = 64
_REACH = 4.0
"""Largest radius * time of a segment: rounding grows as exp(4), and 64 terms leave nothing of note."""


@dataclasses.dataclass(frozen=True)
class Taylor:
    """exp(-i H t) psi = sum_k (-i t)**k / k! H**k psi, segment after segment of radius * time <= 4.

    Args:
        tol: bound of the truncation error of the state (2-norm) at the last time.

    Raises:
        ValueError: tol <= 0.

    Source: Al-Mohy and Higham, SIAM J. Sci. Comput. 33, 488 (2011), for the schedule from the norm.
    """

    tol: float = 1e-10

    def __post_init__(self) -> None:
        object.__setattr__(self, "tol", checked_tolerance(self.tol))

    def advance(
        self,
        operator: Action,
        center: Scalar,
        radius: Scalar,
        rows: Rows,
        offsets: Float[Array, " m"],
        limit: Scalar,
        rate: Scalar,
    ) -> Segment:
        """See :class:`jaxbatt.propagators.Propagator`."""
        eps = jnp.finfo(rows.dtype).eps
        radius = jnp.maximum(radius, eps)
        reach = jnp.minimum(limit, _REACH / radius)
        z = radius * reach
        order = jnp.arange(1, _TERMS + 1, dtype=rows.dtype)
        first = jnp.exp(order * jnp.log(jnp.maximum(z, eps**2)) - gammaln(order + 1))
        tails = jnp.where(order + 1 > z, first / (1 - jnp.minimum(z / (order + 1), 0.99)), jnp.inf)
        n_terms = jnp.argmax(tails <= jnp.maximum(rate * reach, eps / 16)) + 1
        pairs = (n_terms + 1) // 2
        # Scaled by z, the vectors are the terms at `reach`; other times are fractions of them.
        fraction = jnp.append(jnp.minimum(offsets, reach), reach) / jnp.where(reach > 0, reach, 1)
        k = np.arange(_TERMS).reshape(-1, 1, 2).T
        signs = np.array([1, -1, -1, 1])[k % 4].astype(rows.dtype)
        coefficients = jnp.where(k < 2 * pairs, signs * fraction[:, None] ** k, 0)
        recurrence = Recurrence(z / order, jnp.zeros(_TERMS, rows.dtype))

        def shifted(v: Rows) -> Rows:
            return (operator.apply(v) - center * v) / radius

        states, _ = expand(operator, shifted, rows, coefficients, recurrence, pairs)
        return Segment(states, reach, tails[n_terms - 1] + eps * (2 * pairs + jnp.exp(z)), 2 * pairs)
