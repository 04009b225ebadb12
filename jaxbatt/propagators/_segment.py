"""The contract of a propagator, and the sum of coefficients times vectors that all of them end in."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxbatt._checks import check_instance, positive_number
from jaxbatt._types import Rows, Scalar

States: TypeAlias = Float[Array, "2 m d"]


class Action(Protocol):
    """A Hermitian operator H as far as a propagator needs it."""

    @property
    def pieces(self) -> int:
        """Equal pieces in which the amplitudes are held, each on a device of its own."""
        ...

    @property
    def is_real(self) -> bool:
        """Whether H is a real matrix, which acts on real and imaginary part alike."""
        ...

    def apply(self, rows: Rows) -> Rows:
        """H on real rows, (1, d) or (2, d); of a real H on any number of them, each for itself."""
        ...


class Segment(NamedTuple):
    """States at several times of one stretch of evolution under a constant Hamiltonian.

    Attributes:
        states: (2, M + 1, d) real and imaginary parts at the M offsets (those beyond ``reach`` mean nothing) and, last,
            at ``reach`` itself. A global phase is left out.
        reach: how far the segment got, at most the limit asked for.
        error: estimate that bounds the error of every state in the 2-norm: the proven truncation, and rounding.
        applications: number of applications of H.
        top: of a Chebyshev series, the last two vectors of its recurrence and the number of pairs of terms, from which its
            derivative is found.
    """

    states: States
    reach: Scalar
    error: Scalar
    applications: Int[Array, ""]
    top: tuple[Rows, Rows, Int[Array, ""]] | None = None


@runtime_checkable
class Propagator(Protocol):
    """A way to evolve a state: a frozen value of plain numbers."""

    @property
    def tol(self) -> float:
        """Bound of the truncation error of the state at the last time asked for."""
        ...

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
        """Evolves from offset 0 towards ``limit`` with an error of at most ``rate`` per unit of time.

        Args:
            operator: H.
            center: middle of an interval that encloses the spectrum of H.
            radius: half of its length.
            rows: the state at offset 0.
            offsets: (M,) where states are wanted, in [0, limit].
            limit: how far to go at most.
            rate: error allowed per unit of time.
        """
        ...


def check_is_propagator(propagator: Any) -> None:
    """Refuses what is no propagator, such as its name, its tolerance alone, or its class in place of a value."""
    check_instance("propagator", propagator, Propagator, "a propagator, as Chebyshev() or Krylov(tol=1e-8)")


def reachable_tolerance(dtype: DTypeLike) -> float:
    """The tolerance where none is given: far enough above the rounding of some hundred applications of H."""
    return 1e-10 if jnp.finfo(dtype).eps < 1e-10 else 1e-4


def checked_tolerance(tol: Any) -> float:
    """The tolerance as a plain number; refuses one that is not positive."""
    return positive_number("tol", tol, "the default of 1e-10 bounds the error of the state")


def accumulate(states: States, coefficients: Float[Array, "2 m k"], vectors: Float[Array, "r k d"], pieces: int) -> States:
    """Returns states + coefficients @ vectors for each of the two rows, in place and by columns that fit the cache.

    ``vectors`` are two sets, one for each row, or one set for both. Where the columns lie in pieces on as many devices, each
    adds up its own.
    """
    size = states.shape[-1]
    if pieces > 1:
        old, new = (x.reshape(*x.shape[:2], pieces, size // pieces) for x in (states, vectors))
        return jax.vmap(lambda s, v: accumulate(s, coefficients, v, 1), 2, 2)(old, new).reshape(states.shape)
    chunk = max(2**12, size // 256)
    if size % chunk:
        return states + coefficients @ vectors

    def add(i: Int[Array, ""], states: States) -> States:
        start = (0, 0, i * chunk)
        columns = jax.lax.dynamic_slice(vectors, start, (*vectors.shape[:2], chunk))
        old = jax.lax.dynamic_slice(states, start, (*states.shape[:2], chunk))
        return jax.lax.dynamic_update_slice(states, old + coefficients @ columns, start)

    return jax.lax.fori_loop(0, size // chunk, add, states)
