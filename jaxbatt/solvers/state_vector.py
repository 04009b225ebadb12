"""The main engine: the full state vector under any Pauli-sum Hamiltonian."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxbatt._checks import checked_mesh, concrete, known, require_memory, total_memory
from jaxbatt._types import Axis, Rows, Scalar, ScalarLike, State
from jaxbatt.battery import Battery
from jaxbatt.bounds import Bounds, local_bounds
from jaxbatt.hamiltonian import Model, Operator, model_of
from jaxbatt.kernels import ONE_DEVICE, Kernels, Sharded
from jaxbatt.observables import Gain, magnetization
from jaxbatt.paulis import PauliSum, one_body
from jaxbatt.propagators import Chebyshev, Propagator
from jaxbatt.protocols import ConstantField, Protocol
from jaxbatt.solvers._stepping import SPANNED_PHASE, SteppedEvolution
from jaxbatt.solvers._system import Generator, Stretch, System

_VECTORS = 34
"""Real vectors of 2**N numbers that are held at the least: the recurrence, one block of it, two states, the diagonals."""


class Enclosures(NamedTuple):
    """Local bounds of H, which drives the state at all times, and of H_0."""

    charging: Bounds
    energy: Bounds


class Problem(eqx.Module):
    """A battery as Pauli sums, with its protocol and its initial state.

    Attributes:
        enclosures: where the field is constant and all numbers are known, so that they need not be compiled.
        short: whether one series spans all times that will be asked for, where that is known.
    """

    model: Model
    protocol: Protocol
    state: State | None
    start: str = eqx.field(static=True)
    enclosures: Enclosures | None = None
    short: bool | None = eqx.field(static=True, default=None)


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


@dataclasses.dataclass(frozen=True)
class StateVector:
    """Evolves all 2**N amplitudes: exact to the tolerance of the propagator, for any battery and protocol.

    Args:
        propagator: ``Chebyshev`` (default), ``Krylov`` or ``Taylor``.
        dtype: complex128 (default) or complex64; the error estimate follows it.
        mesh: a ``jax.sharding.Mesh`` with one axis of D = 1, 2, 4, 8, ... devices, of this process or of many
            (``jax.distributed.initialize``); each holds 2**N / D amplitudes. By default one device holds all.

    Raises:
        ValueError: the state does not fit the memory of a device (when used); dtype is not complex; mesh is no mesh, has
            more than one axis, or a number of devices that is no power of two or (when used) larger than 2**(N / 2).

    Example:
        >>> solver = StateVector(mesh=jax.make_mesh((jax.device_count(),), ("devices",)))
        >>> charge(battery, ConstantField(4.0), jnp.linspace(0, 0.5, 200), solver=solver).work
    """

    propagator: Propagator = Chebyshev()
    dtype: Any = None
    mesh: Mesh | None = None

    def __post_init__(self) -> None:
        if self.mesh is not None:
            object.__setattr__(self, "mesh", checked_mesh(self.mesh))
            if self.mesh.size & (self.mesh.size - 1):
                raise ValueError(
                    f"`mesh` must have 1, 2, 4, 8, ... devices, numbered by bits of the basis index, but has {self.mesh.size}; "
                    f"take {2 ** (self.mesh.size.bit_length() - 1)} of them."
                )
        if self.dtype is None:
            return
        if np.dtype(self.dtype) not in (np.complex64, np.complex128):
            raise ValueError(f"`dtype` must be complex64 or complex128, but it is {self.dtype!r}.")
        object.__setattr__(self, "dtype", np.dtype(self.dtype).name)

    def prepare(self, battery: Battery, protocol: Protocol, horizon: ScalarLike = np.inf) -> Problem:
        n = battery.n_spins
        if self.mesh is not None and self.mesh.size**2 > 2**n:
            raise ValueError(
                f"`mesh` has {self.mesh.size} devices, too many for {n} spins; take at most {2 ** (n // 2)} of them, "
                "or StateVector() on one device."
            )
        remedy = "take fewer spins, or dtype=complex64" if self.mesh is None else "take fewer spins, or more devices"
        require_memory(self._sharing() * _VECTORS * self._row_bytes(n), f"StateVector with {n} spins", remedy)
        problem = problem_of(battery, protocol)
        enclosures, time = _enclosures(problem), concrete(horizon)
        short = None if enclosures is None or time is None or np.isinf(time) else _is_short(enclosures, time)
        return dataclasses.replace(problem, enclosures=enclosures, short=short)

    def evolve(self, problem: Problem) -> SteppedEvolution:
        system = PauliSystem(problem, str(self._real_dtype()), ONE_DEVICE if self.mesh is None else Sharded(self.mesh))
        bytes_each = self._sharing() * 2 * self._row_bytes(problem.model.n_spins)
        held = max(1, total_memory() // 8 // bytes_each - 1)
        return SteppedEvolution(
            edges=problem.protocol.edges,
            levels=problem.protocol.levels,
            system=system,
            propagator=self.propagator,
            held=held,
            short=problem.short,
        )

    def _real_dtype(self) -> np.dtype:
        return np.dtype(jnp.finfo(self.dtype or jnp.result_type(complex)).dtype)

    def _row_bytes(self, n_spins: int) -> int:
        """Of one real row on one device."""
        return 2**n_spins * self._real_dtype().itemsize // (1 if self.mesh is None else self.mesh.size)

    def _sharing(self) -> int:
        """Devices with one memory: those of a CPU have that of the machine."""
        if self.mesh is None or self.mesh.devices.flat[0].platform != "cpu":
            return 1
        return len(self.mesh.local_devices)


def _enclosures(problem: Problem) -> Enclosures | None:
    numbers = known((problem.model, problem.protocol)) if isinstance(problem.protocol, ConstantField) else None
    if numbers is None:
        return None
    model, protocol = numbers
    with np.errstate(all="ignore"):
        sums = charging_hamiltonian(model, protocol.axis, protocol.levels[0]), model.energy
        return jax.tree.map(np.asarray, Enclosures(*(local_bounds(each) for each in sums)))


def _is_short(enclosures: Enclosures, time: np.ndarray) -> bool:
    """Whether the field drives the state for no longer than one series spans."""
    with np.errstate(all="ignore"):
        return bool(enclosures.charging.radius * time <= SPANNED_PHASE)


class PauliSystem(System):
    """The 2**N amplitudes of a Pauli-sum battery."""

    solver: ClassVar[str] = "StateVector"
    problem: Problem
    dtype: str = eqx.field(static=True)
    kernels: Kernels = eqx.field(static=True, default=ONE_DEVICE)

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

    def generator(self, level: Float[Array, "*n"]) -> Operator:
        drift, axis = self.problem.model.drift, self.problem.protocol.axis
        return Operator.charging(drift, axis, level, self.kernels).astype(self.dtype)

    def energy(self) -> Operator:
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
