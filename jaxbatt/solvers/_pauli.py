"""A battery as Pauli sums, and its 2**N amplitudes: what the solvers that know it as such share."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxbatt._checks import known
from jaxbatt._types import Axis, Rows, Scalar, State
from jaxbatt.battery import Battery
from jaxbatt.bounds import Bounds, local_bounds
from jaxbatt.hamiltonian import Model, Operator, model_of
from jaxbatt.kernels import ONE_DEVICE, Kernels
from jaxbatt.observables import Gain, magnetization
from jaxbatt.paulis import PauliSum, one_body
from jaxbatt.protocols import Protocol
from jaxbatt.solvers._system import Generator, Stretch, System


class Enclosures(NamedTuple):
    """Local bounds of H, which drives the state at all times, and of H_0."""

    charging: Bounds
    energy: Bounds


class Problem(eqx.Module):
    """A battery as Pauli sums, with its protocol and its initial state.

    Attributes:
        enclosures: where the field is constant and all numbers are known, so that they need not be compiled.
        short: whether one series spans all times that will be asked for, where that is known.
        kept: bases in which all of its vectors may be held.
        held: most states that are held at once.
    """

    model: Model
    protocol: Protocol
    state: State | None
    start: str = eqx.field(static=True)
    enclosures: Enclosures | None = None
    short: bool | None = eqx.field(static=True, default=None)
    kept: int = eqx.field(static=True, default=0)
    held: int = eqx.field(static=True, default=1)


def problem_of(battery: Battery, protocol: Protocol) -> Problem:
    """Checks that the protocol fits the battery and turns both into Pauli sums."""
    check_levels(protocol, battery.n_spins)
    return Problem(model_of(battery), protocol, battery.state, battery.start)


def check_levels(protocol: Protocol, n_spins: int) -> None:
    """Refuses a field with values for another number of spins."""
    numbers = known(protocol)
    shape = np.shape((protocol if numbers is None else numbers).levels)[1:]
    if shape not in ((), (n_spins,)):
        raise ValueError(
            f"the field has values for {shape[0]} spins, but the battery has {n_spins}; give a scalar or {n_spins} values."
        )


class PauliSystem(System):
    """The 2**N amplitudes of a Pauli-sum battery."""

    solver: ClassVar[str] = "StateVector"
    one_series: ClassVar[bool] = True
    problem: Problem
    dtype: str = eqx.field(static=True)
    kernels: Kernels = eqx.field(static=True, default=ONE_DEVICE)

    @property
    def pieces(self) -> int:
        return self.kernels.pieces

    @property
    def measures_products(self) -> bool:
        return self.problem.model.measures_products

    @property
    def flips_products(self) -> bool:
        return self.problem.model.flips_products

    def initial_rows(self) -> Rows:
        rows = initial_rows(self.problem.start, self.problem.state, self.problem.model.n_spins, self.dtype, self.kernels)
        is_real = self.problem.model.drift.is_real and self.problem.protocol.axis != "y"
        if len(rows) == 2 or is_real:
            return rows
        return jnp.concatenate([rows, jnp.zeros_like(rows)])

    def stretch(self, level: Float[Array, "*n"]) -> Stretch:
        model, axis = self.problem.model, self.problem.protocol.axis
        operator = Operator.of(charging_hamiltonian(model, axis, level), self.kernels).astype(self.dtype)
        gain = Gain.of(model, axis, level, self.dtype, self.kernels)
        return Stretch(operator, gain, self.enclosed(operator, level))

    def enclosed(self, operator: Generator, level: Float[Array, "*n"]) -> Bounds:
        found, model = self.problem.enclosures, self.problem.model
        local = found.charging if found else local_bounds(charging_hamiltonian(model, self.problem.protocol.axis, level))
        return self._within(operator.bounds(), local)

    def energy_bounds(self) -> tuple[Bounds, Scalar]:
        (bounds, initial), found = super().energy_bounds(), self.problem.enclosures
        return self._within(bounds, found.energy if found else local_bounds(self.problem.model.energy)), initial

    def _within(self, bounds: Bounds, local: Bounds) -> Bounds:
        return bounds.within(Bounds(jnp.asarray(local.center, self.dtype), jnp.asarray(local.radius, self.dtype)))

    def generator(self, level: Float[Array, "*n"]) -> Generator:
        drift, axis = self.problem.model.drift, self.problem.protocol.axis
        return Operator.charging(drift, axis, level, self.kernels).astype(self.dtype)

    def energy(self) -> Generator:
        return Operator.products(self.problem.model.energy, self.kernels).astype(self.dtype)

    def magnetization(self, rows: Rows) -> Float[Array, 3]:
        return magnetization(rows, self.kernels)


def charging_hamiltonian(model: Model, axis: Axis, level: Float[Array, "*n"]) -> PauliSum:
    """drift + field, for one value of the field."""
    return model.drift + one_body(model.n_spins, axis, level)


def initial_rows(start: str, state: Array | None, n_spins: int, dtype: DTypeLike, kernels: Kernels = ONE_DEVICE) -> Rows:
    """The initial state as one real row, or as two where it is complex."""
    if state is None:
        return kernels.initial_rows(n_spins, down=start == "down", dtype=dtype)
    parts = [state.real, state.imag] if jnp.iscomplexobj(state) else [state]
    return kernels.spread(jnp.stack(parts).astype(dtype))
