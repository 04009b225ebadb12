"""A battery in the space that a stepping solver works in: the Dicke ladder, or all basis states."""

from __future__ import annotations

import abc
from typing import ClassVar, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxbatt._types import Rows, Scalar
from jaxbatt.bounds import Bounds
from jaxbatt.propagators import Kept, Used
from jaxbatt.propagators.adjoint import Differentiable


class Generator(Differentiable, Protocol):
    """A Hermitian operator as far as stepping and its derivative need it."""

    def turned(self, rows: Rows) -> tuple[Rows, Rows | None, Rows | None]:
        """H on real rows, and the rows in the X and Y basis where these are computed on the way."""
        ...

    def bounds(self) -> Bounds:
        """Encloses the spectrum of H."""
        ...


class Forms(Protocol):
    """H_0 - H in M states that are known as sums of vectors only."""

    def gains(self, vectors: Float[Array, "2 r h d"], coefficients: Float[Array, "2 m r h"], used: Used) -> Float[Array, " m"]:
        """<H_0 - H>; ``coefficients`` are those of the real and of the imaginary part.

        Vectors of other than the first ``used[0]`` rows, and of each row beyond the first ``used[1]``, are zero.
        """
        ...

    def along(
        self, vectors: Kept, coefficients: Float[Array, "2 m 1 h"], used: Used
    ) -> tuple[Float[Array, " m"], Float[Array, "m 3"]]:
        """:meth:`Measured.measure`, given also what :meth:`Generator.turned` tells of the vectors."""
        ...


class Measured(Protocol):
    """H_0 - H as far as stepping needs it."""

    @property
    def forms(self) -> Forms | None:
        """By quadratic forms of vectors, where H_0 - H is real; None where it is not."""
        ...

    def measure(self, rows: Rows) -> tuple[Scalar, Float[Array, 3]]:
        """<H_0 - H>, which differs from <H_0> by a constant of the motion, and the mean magnetization."""
        ...

    def bounds(self) -> Bounds:
        """Encloses the spectrum of H_0 - H."""
        ...


class Stretch(NamedTuple):
    """While the field is constant: what drives the state, what is measured, and what encloses the spectrum of the former."""

    operator: Generator
    gain: Measured
    bounds: Bounds


class System(eqx.Module):
    """A battery in the space that its solver, whose name it knows, works in."""

    solver: eqx.AbstractClassVar[str]
    one_series: ClassVar[bool] = False
    """Whether the spectrum is narrow enough that the derivative of an evolution may always be found from one series."""

    @property
    def pieces(self) -> int:
        """Equal pieces in which the amplitudes are held, each on a device of its own."""
        return 1

    @property
    def measures_products(self) -> bool:
        """Whether H_0 - H has products of several spins, which takes more memory to measure."""
        return False

    @property
    def flips_products(self) -> bool:
        """Whether products of several spins are flipped string by string, which takes more memory."""
        return False

    @abc.abstractmethod
    def initial_rows(self) -> Rows:
        """The initial state: (1, d) where state and Hamiltonian are real, else (2, d)."""

    @abc.abstractmethod
    def stretch(self, level: Float[Array, "*n"]) -> Stretch:
        """The Hamiltonian at one value of the field."""

    @abc.abstractmethod
    def generator(self, level: Float[Array, "*n"]) -> Generator:
        """The same Hamiltonian, placed so that its derivative costs little."""

    @abc.abstractmethod
    def enclosed(self, operator: Generator, level: Float[Array, "*n"]) -> Bounds:
        """Encloses the spectrum of that Hamiltonian, however it is placed."""

    @abc.abstractmethod
    def energy(self) -> Generator:
        """H_0."""

    @abc.abstractmethod
    def magnetization(self, rows: Rows) -> Float[Array, 3]:
        """The mean of <X_i>, <Y_i>, <Z_i> in a state (2, d)."""

    def energy_bounds(self) -> tuple[Bounds, Scalar]:
        """Encloses the spectrum of H_0, and its initial expectation value."""
        energy, rows = self.energy(), two_rows(self.initial_rows())
        return energy.bounds(), jnp.sum(rows * energy.apply(rows))


def two_rows(rows: Rows) -> Rows:
    """The state as (Re psi, Im psi)."""
    return rows if rows.shape[0] == 2 else jnp.concatenate([rows, jnp.zeros_like(rows)])


def measure_all(gain: Measured, rows: Rows, states: Float[Array, "2 m d"]) -> tuple[Float[Array, " n"], Float[Array, "n 3"]]:
    """<H_0 - H> and the mean magnetization of the state ``rows``, and of the M states."""
    count, size, first = states.shape[1] + 1, states.shape[2], two_rows(rows)
    batches = -(-count * size // 2**16)
    together = -(-count // min(batches, count))
    # Rounded up to whole batches, by measuring the last state again: a remainder would be compiled a second time.
    index = jnp.minimum(jnp.arange(-(-count // together) * together), count - 1)

    def one(j: Int[Array, ""]) -> tuple[Scalar, Float[Array, 3]]:
        return gain.measure(jnp.where(j == 0, first, states[:, jnp.maximum(j - 1, 0)]))

    # States that are measured singly not as a batch of one, which would need kernels of its own.
    measured = jax.lax.map(one, index, batch_size=together if together > 1 else None)
    return jax.tree.map(lambda x: x[:count], measured)
