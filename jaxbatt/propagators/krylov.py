"""Lanczos propagation of exp(-i H t) with steps as long as the residual allows."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxbatt._linalg import eigh
from jaxbatt._types import Rows, Scalar
from jaxbatt.propagators._segment import Action, Segment, accumulate, checked_tolerance

_CANDIDATES = 2.0 ** (-np.arange(96)[::-1] / 4)
"""Fractions of the limit that are tried as the length of a segment."""


@dataclasses.dataclass(frozen=True)
class Krylov:
    """exp(-i H t) psi = V exp(-i T t) e_1 in the Krylov space of psi, H V = V T + beta v_{m+1} e_m^T (Lanczos).

    A segment ends where the residual bound of its error, beta int_0^t |[exp(-i T s)]_m1| ds, meets the tolerance.

    Args:
        tol: bound of the truncation error of the state (2-norm) at the last time.
        dim: number of basis vectors, that is applications of H in a segment.

    Raises:
        ValueError: tol <= 0, or dim is not an integer of at least 2.

    Source: Park and Light, J. Chem. Phys. 85, 5870 (1986); Hochbruck and Lubich, SIAM J. Numer. Anal. 34, 1911 (1997).
    """

    tol: float = 1e-10
    dim: int = 30

    def __post_init__(self) -> None:
        object.__setattr__(self, "tol", checked_tolerance(self.tol))
        if not isinstance(self.dim, int) or self.dim < 2:
            raise ValueError(f"`dim` must be an integer of at least 2, but it is {self.dim!r}; 30 is usual.")

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
        # Rounding noise in states of high energy would be blown up by every application of H and shorten the segment.
        noise = jnp.where(jnp.abs(rows) < 4 * eps, rows, 0)
        rows = rows - noise
        basis, alpha, beta = _lanczos(operator, rows, self.dim, radius)
        alpha = alpha - alpha[0]
        levels, vectors = eigh(jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1))

        def amplitudes(t: Float[Array, " m"]) -> tuple[Float[Array, "m k"], Float[Array, "m k"]]:
            phase = t[:, None] * levels
            return (jnp.cos(phase) * vectors[0]) @ vectors.T, -(jnp.sin(phase) * vectors[0]) @ vectors.T

        trial = limit * jnp.asarray(_CANDIDATES, rows.dtype)
        real, imaginary = amplitudes(trial)
        residual = beta[-1] * jnp.hypot(real[:, -1], imaginary[:, -1])
        growing = jnp.maximum(residual, jnp.append(0, residual[:-1]))
        error = jnp.cumsum(growing * jnp.diff(trial, prepend=0))
        rounding = eps * (jnp.abs(alpha).max() + 2 * beta.max()) * trial + eps * self.dim + jnp.sqrt(jnp.sum(noise**2))
        allowed = jnp.maximum(rate * trial, 4 * rounding)
        # The error grows with the length: take the candidates up to the first that fails, or at least the shortest.
        last = jnp.maximum(jnp.cumprod(error <= allowed).sum() - 1, 0)
        reach = trial[last]
        real, imaginary = amplitudes(jnp.append(jnp.minimum(offsets, reach), reach))
        states = jnp.zeros((2, len(real), rows.shape[-1]), rows.dtype)
        if len(rows) == 1:
            table = jnp.stack([real, imaginary])
        else:
            table = jnp.stack([jnp.hstack([real, -imaginary]), jnp.hstack([imaginary, real])])
        norm = jnp.sqrt(jnp.sum(rows**2))
        states = accumulate(states, norm * table, basis.reshape(1, -1, rows.shape[-1]), operator.pieces)
        return Segment(states, reach, error[last] + rounding[last], jnp.asarray(self.dim))


def _lanczos(
    operator: Action, rows: Rows, dim: int, radius: Scalar
) -> tuple[Float[Array, "r k d"], Float[Array, " k"], Float[Array, " k"]]:
    """The basis v_1 .. v_dim, as rows first, with the diagonal alpha and the couplings beta to the next vector.

    The three-term recurrence is not orthogonalized again: H V = V T + beta v e^T holds to rounding all the same, and
    that is what the error rests on. A vector that vanishes ends the basis: the subspace is invariant.
    """
    tiny = 64 * jnp.finfo(rows.dtype).eps * jnp.maximum(radius, jnp.finfo(rows.dtype).tiny ** 0.5)

    def step(k: Int[Array, ""], carry: tuple[Array, ...]) -> tuple[Array, ...]:
        basis, alpha, beta, before, v = carry
        basis = jax.lax.dynamic_update_slice_in_dim(basis, v[:, None], k, 1)
        w = operator.apply(v) - jnp.where(k > 0, beta[k - 1], 0) * before
        projection = jnp.sum(v * w)
        w = w - projection * v
        norm = jnp.sqrt(jnp.sum(w**2))
        alive = norm > tiny
        following = jnp.where(alive, w / jnp.where(alive, norm, 1), 0)
        return basis, alpha.at[k].set(projection), beta.at[k].set(jnp.where(alive, norm, 0)), v, following

    basis = jnp.zeros((rows.shape[0], dim, rows.shape[1]), rows.dtype)
    zeros = jnp.zeros(dim, rows.dtype)
    start = (basis, zeros, zeros, jnp.zeros_like(rows), rows / jnp.sqrt(jnp.sum(rows**2)))
    return jax.lax.fori_loop(0, dim, step, start)[:3]
