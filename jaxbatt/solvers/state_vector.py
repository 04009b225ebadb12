"""The main engine: the full state vector under any Pauli-sum Hamiltonian."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxbatt._checks import available_memory, checked_mesh, concrete, known, require_memory, total_memory
from jaxbatt._types import ScalarLike
from jaxbatt.battery import Battery
from jaxbatt.bounds import local_bounds
from jaxbatt.kernels import ONE_DEVICE, Sharded
from jaxbatt.propagators import Chebyshev, Propagator, check_is_propagator, reachable_tolerance
from jaxbatt.protocols import ConstantField, Protocol
from jaxbatt.solvers._pauli import Enclosures, PauliSystem, Problem, charging_hamiltonian, problem_of
from jaxbatt.solvers._reflection import Reflection, ReflectionSystem
from jaxbatt.solvers._stepping import SPANNED, SteppedEvolution, spanned_phase


class _Held(NamedTuple):
    """Real vectors of 2**N numbers that are held at the least: the recurrence, one block of it, two states, the diagonals."""

    curve: int
    search: int
    """In a search for maxima, which looks at many times."""


_ON_CPU, _ON_MESH, _ON_GPU = _Held(17, 42), _Held(24, 56), _Held(24, 28)
"""As compiled for many spins, on a GPU for an H100; over a mesh as much on each device, where more is done side by side."""
_OF_PRODUCTS, _OF_MIXED = _Held(10, 4), _Held(10, 36)
"""More where H_0 - H has products of several spins, and where some products are flipped string by string."""
_OF_SERIES = 17
"""Vectors more where those of a whole series are held."""
_BESIDE = 1.5
"""What takes a state that is held, in states: a block of the recurrence has half as many vectors."""
_CLOSER = 1.5
"""Largest usual ratio of the bounds of a spectrum that NumPy finds to those by the diagonals, which take all 2**N numbers."""


class Prepared(NamedTuple):
    """A problem, and what it is in the states that equal their mirror image, where it has them and they are few."""

    problem: Problem
    reflection: Reflection | None


@dataclasses.dataclass(frozen=True)
class StateVector:
    """Evolves all 2**N amplitudes: exact to the tolerance of the propagator, for any battery and protocol.

    Up to 10 spins, with known couplings that equal their mirror image, one field B, one alpha and one field along x or y for all
    spins, only the amplitudes of the states that equal theirs are evolved, by matrices that all points of a batch share.

    A curve of 40 times or more from a real state, under a constant field and for not too long, comes from the 80 vectors of one
    series; where all numbers are known these take up to half of the memory, else an eighth. Where that does not hold them, it
    takes several series, and as much memory for the states of each.

    Args:
        propagator: ``Chebyshev``, ``Krylov`` or ``Taylor``; by default ``Chebyshev(1e-10)``, in single precision
            ``Chebyshev(1e-4)``, for no smaller error can be promised there.
        dtype: complex128 (default) or complex64; the error estimate follows it.
        mesh: a ``jax.sharding.Mesh`` with one axis of D = 1, 2, 4, 8, ... devices, of this process or of many
            (``jax.distributed.initialize``); each holds 2**N / D amplitudes. By default one device holds all.

    Raises:
        ValueError: the state does not fit the memory of a device (when used); the propagator is none; dtype is not complex;
            mesh is no mesh, has more than one axis, or a number of devices that is no power of two or (when used) larger than
            2**(N / 2).

    Example:
        >>> solver = StateVector(mesh=jax.make_mesh((jax.device_count(),), ("devices",)))
        >>> charge(battery, ConstantField(4.0), jnp.linspace(0, 0.5, 200), solver=solver).work
    """

    remedy: ClassVar[str] = "shorten the times, or change `tol`"
    propagator: Propagator = None  # type: ignore[assignment]  # made when the dtype is known
    dtype: Any = None
    mesh: Mesh | None = None

    def __post_init__(self) -> None:
        if self.dtype is not None:
            if not _is_complex(self.dtype):
                raise ValueError(f"`dtype` must be complex64 or complex128, but it is {self.dtype!r}.")
            object.__setattr__(self, "dtype", np.dtype(self.dtype).name)
        if self.propagator is None:
            object.__setattr__(self, "propagator", Chebyshev(reachable_tolerance(self._real_dtype())))
        check_is_propagator(self.propagator)
        if self.mesh is not None:
            object.__setattr__(self, "mesh", checked_mesh(self.mesh))
            if self.mesh.size & (self.mesh.size - 1):
                raise ValueError(
                    f"`mesh` must have 1, 2, 4, 8, ... devices, numbered by bits of the basis index, but has {self.mesh.size}; "
                    f"take {2 ** (self.mesh.size.bit_length() - 1)} of them."
                )

    def prepare(self, battery: Battery, protocol: Protocol, horizon: ScalarLike = np.inf) -> Prepared:
        n = battery.n_spins
        if self.mesh is not None and self.mesh.size**2 > 2**n:
            raise ValueError(
                f"`mesh` has {self.mesh.size} devices, too many for {n} spins; take at most {2 ** (n // 2)} of them, "
                "or StateVector() on one device."
            )
        time, on_cpu = concrete(horizon), jax.default_backend() == "cpu"
        needed = [_ON_MESH if self.mesh is not None else _ON_CPU if on_cpu else _ON_GPU]
        # Of thousands of spins the Hamiltonian alone takes minutes to build.
        self._require_room(n, time, needed)
        problem = problem_of(battery, protocol)
        needed += [_OF_PRODUCTS] if problem.model.measures_products else []
        needed += [_OF_MIXED] if problem.model.flips_products else []
        least = self._require_room(n, time, needed)
        enclosures = _enclosures(problem)
        # What is traced may share the memory with a batch, and a sweep that goes on later must find the same program.
        short, room, held = None, total_memory() // 8, self._held(n, total_memory() // 8)
        if enclosures is not None and time is not None and np.isfinite(time) and not isinstance(problem.state, jax.core.Tracer):
            # All numbers are known: one curve, and nothing beside it.
            short = _is_short(enclosures, time, spanned_phase(self.propagator))
            # Several processes must run the same program, whatever is free in each.
            if self.mesh is None or not self.mesh.is_multi_process:
                room = min(total_memory() // 2, available_memory() - least)
                held = max(held, _round(self._held(n, int(room / _BESIDE))))
                room = min(room, available_memory() - least - _OF_SERIES * self._row_bytes(n))
        problem = dataclasses.replace(problem, enclosures=enclosures, short=short, kept=self._kept(n, room), held=held)
        reflection = Reflection.of(battery, protocol) if self.mesh is None else None
        return Prepared(problem, reflection)

    def evolve(self, prepared: Prepared) -> SteppedEvolution:
        problem, reflection = prepared
        system = PauliSystem(problem, str(self._real_dtype()), ONE_DEVICE if self.mesh is None else Sharded(self.mesh))
        if reflection is not None:
            system = ReflectionSystem(problem, system.dtype, reflection=reflection)
        return SteppedEvolution(
            edges=problem.protocol.edges,
            levels=problem.protocol.levels,
            system=system,
            propagator=self.propagator,
            held=problem.held,
            short=problem.short,
            kept=problem.kept,
        )

    def _require_room(self, n_spins: int, time: np.ndarray | None, needed: Sequence[_Held]) -> int:
        """The bytes that the vectors take, where there are as many."""
        # Only a search has no last time.
        vectors = sum(held.curve if time is None or np.isfinite(time) else held.search for held in needed)
        least = self._sharing() * vectors * self._row_bytes(n_spins)
        remedy = "take fewer spins, or dtype=complex64" if self.mesh is None else "take fewer spins, or more devices"
        require_memory(least, f"StateVector with {n_spins} spins", remedy)
        return least

    def _kept(self, n_spins: int, room: int) -> int:
        """Bases in which so many bytes hold all vectors of a series."""
        return next((bases for bases in (3, 1) if bases * SPANNED * self._row_bytes(n_spins) <= room), 0)

    def _held(self, n_spins: int, room: int) -> int:
        """States that so many bytes hold, besides one at the end of a segment."""
        return max(1, room // (self._sharing() * 2 * self._row_bytes(n_spins)) - 1)

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


def _is_complex(dtype: Any) -> bool:
    try:
        return np.dtype(dtype) in (np.complex64, np.complex128)
    except TypeError:
        return False


def _round(count: int) -> int:
    """The largest of 1, 2, 3, 4, 6, 8, 12, ... up to it, so that a little more or less free memory makes no other program."""
    power = 1 << (count.bit_length() - 1)
    return max(step for step in (1, power, 3 * power // 2) if step <= count)


def _enclosures(problem: Problem) -> Enclosures | None:
    numbers = known((problem.model, problem.protocol)) if isinstance(problem.protocol, ConstantField) else None
    if numbers is None:
        return None
    model, protocol = numbers
    with np.errstate(all="ignore"):
        sums = charging_hamiltonian(model, protocol.axis, protocol.levels[0]), model.energy
        return jax.tree.map(np.asarray, Enclosures(*(local_bounds(each) for each in sums)))


def _is_short(enclosures: Enclosures, time: np.ndarray, most: float) -> bool | None:
    """Whether radius * time is at most ``most``, which one series spans; None where only closer bounds can tell."""
    with np.errstate(all="ignore"):
        phase = enclosures.charging.radius * time / most
    return True if phase <= 1 else None if phase <= _CLOSER else False
