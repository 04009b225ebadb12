"""What a solver is: a host-side ``prepare`` that refuses what it cannot do, and a traceable ``evolve``."""

from __future__ import annotations

import abc
import operator
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxbatt import protocols
from jaxbatt._checks import check_instance
from jaxbatt._types import Magnetization, Scalar, ScalarLike, Times
from jaxbatt.battery import Battery, PauliBattery, SpinBattery

_PHASE = 0.1
"""Half length of a stencil times the bandwidth of W(t): seven points then give W' to about 1e-9 of bandwidth times W."""
_POINTS = -np.cos(np.pi * np.arange(7) / 6)
_POWERS = np.linalg.inv(np.vander(_POINTS, increasing=True))
"""From values at the points to the coefficients of their polynomial."""

WINDOW_DEGREE = 72
WINDOW_PHASE = 32.0
"""A search for maxima interpolates W(t) by this degree on windows of half length WINDOW_PHASE / bandwidth."""


class Record(NamedTuple):
    """What is kept of the state at each time: (T,) work and (T, 3) mean magnetization."""

    work: Times
    magnetization: Magnetization


class Carry(NamedTuple):
    """Where an evolution stands.

    Attributes:
        time: the time reached.
        state: what the solver evolves.
        error: estimate that bounds the error of the work so far.
        applications: Hamiltonian applications so far.
        valid: whether the tolerance was met so far.
    """

    time: Scalar
    state: Any
    error: Scalar
    applications: Int[Array, ""]
    valid: Bool[Array, ""]


class Limits(NamedTuple):
    """Proven limits that a search for maxima rests on.

    Attributes:
        bandwidth: largest angular frequency in W(t), or one for which its windows interpolate a W(t) that has no largest.
        work: no time gives more work than this.
        onset: W''(0), or 0 where it is not known; from it a search guesses how far it has to look, nothing more.
        motion: ||(H - <H>) psi|| at t = 0, how fast the state moves; 0 if it rests.
    """

    bandwidth: Scalar
    work: Scalar
    onset: Scalar | float = 0.0
    motion: Scalar | float = np.inf


Window: TypeAlias = Callable[[Carry, Times], tuple[Carry, Times]]


class Evolution(eqx.Module):
    """A battery under its protocol from t = 0 on, sampled forwards in time."""

    edges: eqx.AbstractVar[Float[Array, " k"]]

    @abc.abstractmethod
    def start(self) -> Carry:
        """The state at t = 0."""

    @abc.abstractmethod
    def sample(self, carry: Carry, times: Times) -> tuple[Carry, Record]:
        """Evolves to the last of ``times`` (increasing, none before ``carry.time``) and records at each of them."""

    def curve(self, times: Times) -> tuple[Carry, Record]:
        """:meth:`sample` from the start; the record is differentiable with respect to every number of the problem."""
        return self.sample(self.start(), times)

    def windows(self) -> tuple[Carry, Window]:
        """Where a search starts, and what gives the work in one window of it, which lies in one piece of the protocol."""

        def window(carry: Carry, times: Times) -> tuple[Carry, Times]:
            carry, record = self.sample(carry, times)
            return carry, record.work

        return self.start(), window

    def rates(self, at: Scalar) -> tuple[Scalar, Scalar]:
        """W' and W'' at a time, from points about it that all lie in one piece of the protocol; both are differentiable."""
        edges = jax.lax.stop_gradient(self.edges)
        piece = jnp.searchsorted(edges, at, side="left").clip(max=len(edges) - 1)
        start = jnp.where(piece == 0, 0, edges[piece - 1])
        bandwidth = jax.lax.stop_gradient(self).limits().bandwidth
        moves = bandwidth > jnp.finfo(bandwidth.dtype).tiny ** 0.5
        length = jnp.minimum(_PHASE / jnp.where(moves, bandwidth, 1), (edges[piece] - start) / 2)
        center = jnp.clip(at, start + length, edges[piece] - length)
        work = self.curve(jnp.clip(center + length * _POINTS, start, edges[piece]))[1].work
        coefficients, x, k = jnp.asarray(_POWERS) @ work, (at - center) / length, np.arange(1, len(_POINTS))
        first = coefficients[1:] * k
        return first @ x ** (k - 1) / length, (first[1:] * k[:-1]) @ x ** (k[:-1] - 1) / length**2

    def initial_rate(self) -> Scalar:
        """W'(0), differentiable."""
        return self.rates(jnp.zeros(()))[0]

    @abc.abstractmethod
    def limits(self) -> Limits:
        """See :class:`Limits`."""


@runtime_checkable
class Solver(Protocol):
    """A frozen value of plain numbers that turns a battery and a protocol into an :class:`Evolution`.

    Attributes:
        remedy: what can be done where the tolerance was not met.
    """

    remedy: ClassVar[str]

    def prepare(self, battery: Battery, protocol: protocols.Protocol, horizon: ScalarLike = np.inf) -> Any:
        """Checks that the solver applies (ValueError with the reason if not) and gathers what ``evolve`` needs, a pytree.

        Nothing is asked for after the ``horizon``, which may decide how something is computed, never what.
        """
        ...

    def evolve(self, problem: Any) -> Evolution:
        """The evolution of a prepared problem; runs under ``jit``, ``vmap``."""
        ...


def check_kinds(battery: Any, protocol: Any, solver: Any = None) -> None:
    """Refuses what is no battery, no protocol or no solver (None stands for the default one), and what is a stack of many."""
    if not isinstance(battery, (SpinBattery, PauliBattery)):
        raise ValueError(f"`battery` must be a SpinBattery or a PauliBattery, but it is of type {type(battery).__name__}.")
    if not isinstance(protocol, protocols.Protocol):
        raise ValueError(f"`protocol` must be a field, as ConstantField(4.0), but it is of type {type(protocol).__name__}.")
    numbers = ("couplings", 2) if isinstance(battery, SpinBattery) else ("energy.coefficients", 1)
    _check_is_one("battery", battery, *numbers)
    if isinstance(protocol, (protocols.PiecewiseField, protocols.FourierField)):
        _check_is_one("protocol", protocol, "duration", 0)
    if solver is not None:
        check_is_solver(solver)


def _check_is_one(name: str, value: Any, field: str, dimensions: int) -> None:
    shape = operator.attrgetter(field)(value).shape
    if len(shape) > dimensions:
        raise ValueError(f"`{name}` holds many, for `{field}` has the shape {shape}; use jax.vmap, which takes one at a time.")


def check_is_solver(solver: Any) -> None:
    """Refuses what is no solver, such as its name, or its class in place of a value."""
    check_instance("solver", solver, Solver, "a solver, as StateVector() or Spectral()")
