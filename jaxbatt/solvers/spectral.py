"""Exact diagonalization in symmetry sectors: any time at the price of one."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from jaxbatt import protocols
from jaxbatt._checks import concrete, positive_number, require_memory
from jaxbatt._types import Rows, Scalar, ScalarLike, Times
from jaxbatt.battery import Battery
from jaxbatt.observables import Gain
from jaxbatt.paulis import PauliString
from jaxbatt.solvers._base import Carry, Evolution, Limits, Record
from jaxbatt.solvers._initial import motion
from jaxbatt.solvers._pauli import PauliSystem, Problem, charging_hamiltonian, initial_rows, problem_of
from jaxbatt.solvers._sectors import Sector, dense, sectors_of
from jaxbatt.solvers._spectral_frame import Frame, states_at

_MAX_DIMENSION = 4096
"""Largest sector: a minute of diagonalization on two CPU cores."""
_TOGETHER = 2**20
"""Amplitudes of the states that are held and measured at once."""


class SpectralProblem(eqx.Module):
    """A state-vector problem with the symmetries that were found in it."""

    problem: Problem
    parity: bool = eqx.field(static=True)
    reflection: bool = eqx.field(static=True)


@dataclasses.dataclass(frozen=True)
class Spectral:
    """Diagonalizes H on each piece of the protocol: psi(t) = sum_a |a> exp(-i E_a t) <a|psi>, at any time.

    Two symmetries are used where they hold: the product of all X, or Y (for a field along it and no field kept on), and the
    reflection of the chain (couplings, fields and initial state; not seen while JAX traces them). N = 12 is comfortable.

    Args:
        tol: largest phase error E t that is accepted, in radians; rounding of the levels makes it grow with time.

    Raises:
        ValueError: a sector beyond 4096 states (when used), or tol <= 0.
        NotImplementedError: second derivatives with respect to couplings, fields or anisotropy; first ones are exact.

    Source: Le et al., PRA 97, 022106 (2018), section IV, for times of 1e6 / B that no stepping reaches.
    """

    remedy: ClassVar[str] = "shorten the times, or change `tol`"
    tol: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "tol", positive_number("tol", self.tol, "1e-3 accepts phase errors of a thousandth"))

    def prepare(self, battery: Battery, protocol: protocols.Protocol, horizon: ScalarLike = np.inf) -> SpectralProblem:
        n = battery.n_spins
        if 2**n > 4 * _MAX_DIMENSION:
            raise ValueError(
                f"Spectral diagonalizes sectors of at most {_MAX_DIMENSION} states, but {n} spins have 2**{n}; use StateVector()."
            )
        problem = problem_of(battery, protocol)
        found = SpectralProblem(problem, _has_parity(problem), _has_reflection(problem))
        largest = max(len(sector.representatives) for sector in sectors_of(n, found.parity, found.reflection))
        if largest > _MAX_DIMENSION:
            raise ValueError(
                f"Spectral diagonalizes sectors of at most {_MAX_DIMENSION} states, but these {n} spins have one of {largest}; "
                "use StateVector()."
            )
        require_memory(
            4 * 16 * len(protocol.levels) * largest**2, f"Spectral with sectors of {largest} states", "use StateVector()"
        )
        return found

    def evolve(self, problem: SpectralProblem) -> SpectralEvolution:
        return SpectralEvolution.of(problem, self.tol)


class SpectralEvolution(Evolution):
    """H in its eigenbasis for each piece, with the state at its beginning; K pieces, sectors of S states."""

    edges: Float[Array, " k"]
    system: PauliSystem
    frames: tuple[Frame, ...]
    """One for each sector, with (K, ...) arrays."""
    amplitudes: tuple[Complex[Array, "k s"], ...]
    bases: Float[Array, " k"]
    parity: bool = eqx.field(static=True)
    reflection: bool = eqx.field(static=True)
    tol: float = eqx.field(static=True)

    @property
    def levels(self) -> tuple[Float[Array, "k s"], ...]:
        """Energies on each piece, sector by sector; no derivative."""
        return tuple(frame.levels for frame in self.frames)

    @classmethod
    def of(cls, found: SpectralProblem, tol: float) -> SpectralEvolution:
        problem = found.problem
        model, protocol = problem.model, problem.protocol
        sectors = sectors_of(model.n_spins, found.parity, found.reflection)

        def diagonalize(level: Float[Array, "*n"]) -> tuple[Frame, ...]:
            hamiltonian = charging_hamiltonian(model, protocol.axis, level)
            return tuple(Frame.of(dense(hamiltonian, sector)) for sector in sectors)

        frames = jax.lax.map(diagonalize, protocol.levels)
        rows = initial_rows(problem.start, problem.state, model.n_spins, jnp.zeros(()).dtype)
        psi = jax.lax.complex(rows[0], rows[1] if len(rows) == 2 else jnp.zeros_like(rows[0]))
        durations = jnp.diff(protocol.edges, prepend=0)

        def piece(states: tuple[Array, ...], inputs: tuple[tuple[Frame, ...], Scalar]) -> tuple[tuple[Array, ...], Any]:
            frames, duration = inputs
            amplitudes = tuple(frame.amplitudes(state) for frame, state in zip(frames, states, strict=True))
            # The last piece may be endless; its end is not needed.
            elapsed = jnp.where(jnp.isfinite(duration), duration, 0)
            ends = tuple(frame.state(frame.evolve(a, elapsed)) for frame, a in zip(frames, amplitudes, strict=True))
            return ends, (amplitudes, states)

        start = tuple(_restrict(sector, psi) for sector in sectors)
        _, (amplitudes, starts) = jax.lax.scan(piece, start, (frames, durations))
        evolution = cls(
            edges=protocol.edges,
            system=PauliSystem(problem, str(rows.dtype)),
            frames=frames,
            amplitudes=amplitudes,
            bases=jnp.zeros(len(protocol.edges)),
            parity=found.parity,
            reflection=found.reflection,
            tol=tol,
        )
        return dataclasses.replace(evolution, bases=evolution._work_at_starts(starts))

    def start(self) -> Carry:
        finite = functools.reduce(jnp.logical_and, (jnp.all(jnp.isfinite(e)) for e in self.levels))
        valid = finite & self._resolved()
        return Carry(jnp.zeros(()), (), jnp.where(valid, 0.0, jnp.inf), jnp.zeros((), int), valid)

    def _resolved(self) -> Bool[Array, ""]:
        """Whether the levels are rounded by less than what charges the battery, H_0 - H: else the state does not even move."""
        radius = jax.lax.stop_gradient(self._gain(jnp.zeros((), int)).bounds().radius)
        return (self._rounding() <= self.tol * radius) | (radius == 0)

    def sample(self, carry: Carry, times: Times) -> tuple[Carry, Record]:
        together = max(1, _TOGETHER // 2**self.system.problem.model.n_spins)
        if len(times) <= together:
            work, magnetization = self._measure(times)
        else:
            groups = jnp.append(times, jnp.full(-len(times) % together, times[-1])).reshape(-1, together)
            measured = jax.lax.map(self._measure, groups)
            work, magnetization = (x.reshape(-1, *x.shape[2:])[: len(times)] for x in measured)
        phase_error = self._phase_error(times[-1])
        spread = 2 * self.system.energy_bounds()[0].radius
        met = (phase_error <= self.tol) & (times[-1] <= self.edges[-1])
        # And the rounding of <H_0 - H>, by which the work is measured: it grows with the field.
        measured = jax.lax.map(lambda piece: self._gain(piece).bounds().radius, jnp.arange(len(self.edges))).max()
        rounding = 16 * len(self.edges) * jnp.finfo(measured.dtype).eps * measured
        error = jax.lax.stop_gradient(2 * phase_error * spread + rounding)
        return Carry(times[-1], (), error, carry.applications, carry.valid & met), Record(work, magnetization)

    def limits(self) -> Limits:
        energy, initial = self.system.energy_bounds()
        top = jnp.stack([e.max() for e in self.levels]).max()
        bottom = jnp.stack([e.min() for e in self.levels]).min()
        work = energy.center + energy.radius - initial
        if len(self.edges) == 1:
            gain = self._gain(jnp.zeros((), int)).bounds()
            work = jnp.minimum(work, gain.center + gain.radius + self.bases[0])
        # Not so small that windows would become longer than the phases of the levels are known.
        bandwidth = jnp.maximum((top - bottom) * (1 + 1e-9), 1e-9 * jnp.maximum(jnp.abs(top), jnp.abs(bottom)))
        return Limits(bandwidth, work, motion=self._motion(work))

    def _motion(self, work: Scalar) -> Scalar:
        levels = jnp.concatenate([energies[0] for energies in self.levels])
        weights = jnp.concatenate([jnp.abs(amplitudes[0]) ** 2 for amplitudes in self.amplitudes])
        moves = jnp.sqrt(jnp.sum(weights * (levels - jnp.sum(weights * levels)) ** 2))
        return motion(moves, jnp.abs(levels).max(), work)

    def _phase_error(self, time: Scalar) -> Scalar:
        """Levels are good to a few eps ||H||, and so is their phase per unit of time."""
        return self._rounding() * time + 64 * len(self.edges) * jnp.finfo(time.dtype).eps

    def _rounding(self) -> Scalar:
        """How far levels may be from the exact ones."""
        size = jnp.stack([jnp.abs(e).max() for e in self.levels]).max()
        return 4 * jnp.finfo(size.dtype).eps * size

    def _gain(self, piece: Int[Array, ""]) -> Gain:
        problem = self.system.problem
        levels = problem.protocol.levels
        level = levels[0] if len(levels) == 1 else levels[piece]
        return Gain.of(problem.model, problem.protocol.axis, level, self.system.dtype)

    def _measure(self, times: Float[Array, " m"]) -> tuple[Float[Array, " m"], Float[Array, "m 3"]]:
        """Work and magnetization at a few times."""
        pieces = jnp.searchsorted(self.edges, times).clip(max=len(self.edges) - 1)
        begins = jnp.concatenate([jnp.zeros(1), self.edges[:-1]])
        states = tuple(states_at(*parts, begins, pieces, times) for parts in zip(self.frames, self.amplitudes, strict=True))

        def measure(piece: Int[Array, ""], states: tuple[Array, ...]) -> tuple[Scalar, Float[Array, 3]]:
            return self._gain(piece).measure(self._rows(states))

        gains, magnetization = jax.vmap(measure)(pieces, states)
        return self.bases[pieces] + gains, magnetization

    def _rows(self, states: tuple[Complex[Array, " s"], ...]) -> Rows:
        """The state in the whole space."""
        sectors = sectors_of(self.system.problem.model.n_spins, self.parity, self.reflection)
        rows = jnp.zeros((2, 2**self.system.problem.model.n_spins))
        for sector, state in zip(sectors, states, strict=True):
            rows = rows + sector.amplitude * _as_rows(state)[:, sector.index]
        return rows

    def _work_at_starts(self, starts: tuple[Complex[Array, "k s"], ...]) -> Float[Array, " k"]:
        """base_p with W(t) = base_p + <H_0 - H_p>_t: the work is continuous where the field jumps."""

        def jump(inputs: tuple[Int[Array, ""], tuple[Array, ...]]) -> Scalar:
            piece, states = inputs
            rows = self._rows(states)
            before = self._gain(jnp.maximum(piece - 1, 0)).measure(rows)[0]
            return jnp.where(piece == 0, 0, before) - self._gain(piece).measure(rows)[0]

        return jnp.cumsum(jax.lax.map(jump, (jnp.arange(len(self.edges)), starts)))


def _as_rows(state: Complex[Array, " s"]) -> Rows:
    return jnp.stack([state.real, state.imag])


def _restrict(sector: Sector, psi: Complex[Array, " d"]) -> Complex[Array, " s"]:
    return jnp.zeros(len(sector.representatives), psi.dtype).at[sector.index].add(sector.amplitude * psi)


def _has_parity(problem: Problem) -> bool:
    """Whether the product of all X commutes with the drift and the field."""
    return problem.protocol.axis == "x" and all(s.sign.bit_count() % 2 == 0 for s in problem.model.drift.strings)


def _has_reflection(problem: Problem) -> bool:
    """Whether drift, field and initial state are known to be the same after reversing the order of the sites."""
    n = problem.model.n_spins
    drift = problem.model.drift
    values = concrete(drift.coefficients)
    uniform = problem.protocol.levels.ndim == 1
    levels = problem.protocol.levels if uniform else concrete(problem.protocol.levels)
    state = None if problem.state is None else concrete(problem.state)
    if values is None or levels is None or (problem.state is not None and state is None):
        return False

    def mirrored(mask: int) -> int:
        return int(format(mask, f"0{n}b")[::-1], 2)

    table = dict(zip(drift.strings, values.tolist(), strict=True))
    same_drift = all(table.get(PauliString((mirrored(s.flip), mirrored(s.sign)))) == value for s, value in table.items())
    same_field = uniform or np.array_equal(levels, levels[:, ::-1])
    order = [mirrored(b) for b in range(2**n)] if state is not None else []
    return same_drift and same_field and (state is None or np.array_equal(state, state[order]))
