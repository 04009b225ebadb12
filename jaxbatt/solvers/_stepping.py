"""Steps a pure state through the pieces of a protocol with any propagator, recording on the way."""

from __future__ import annotations

import abc
from typing import NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._types import Amplitudes, Rows, Scalar, Times
from jaxbatt.hamiltonian import Bounds
from jaxbatt.propagators import Propagator
from jaxbatt.solvers._base import Carry, Evolution, Limits, Record


class Generator(Protocol):
    """A Hamiltonian as far as stepping needs it."""

    def apply(self, rows: Rows) -> Rows:
        """H on real rows."""
        ...

    def bounds(self) -> Bounds:
        """Encloses the spectrum of H."""
        ...


class Measured(Protocol):
    """H_0 - H as far as stepping needs it."""

    def measure(self, rows: Rows) -> tuple[Scalar, Float[Array, 3]]:
        """<H_0 - H>, which differs from <H_0> by a constant of the motion, and the mean magnetization."""
        ...

    def bounds(self) -> Bounds:
        """Encloses the spectrum of H_0 - H."""
        ...


class Stretch(NamedTuple):
    """While the field is constant: what drives the state, and what is measured."""

    operator: Generator
    gain: Measured


class System(eqx.Module):
    """A battery in the space that its solver works in."""

    @abc.abstractmethod
    def initial_rows(self) -> Rows:
        """The initial state: (1, d) where state and Hamiltonian are real, else (2, d)."""

    @abc.abstractmethod
    def stretch(self, level: Float[Array, "*n"]) -> Stretch:
        """The Hamiltonian at one value of the field."""

    @abc.abstractmethod
    def energy_bounds(self) -> tuple[Bounds, Scalar]:
        """Encloses the spectrum of H_0, and its initial expectation value."""


class StateCarry(NamedTuple):
    """A state in the middle of a piece: W(t) = base + <H_0 - H>_t there."""

    rows: Rows
    piece: Int[Array, ""]
    base: Scalar
    deviation: Scalar
    """Bound of the error of the state so far."""


class SteppedEvolution(Evolution):
    """Evolves the rows of a :class:`System`, segment after segment; none straddles an edge of the protocol."""

    system: System
    levels: Amplitudes
    edges: Float[Array, " k"]
    propagator: Propagator = eqx.field(static=True)
    window: int = eqx.field(static=True)
    """Most states that are held at once."""
    trusted: Bool[Array, ""] | bool = True
    """False where the system does not describe the battery."""

    def start(self) -> Carry:
        rows = self.system.initial_rows()
        zero = jnp.zeros((), rows.dtype)
        gain = self._stretch(jnp.zeros((), int)).gain.measure(_two_rows(rows))[0]
        state = StateCarry(rows, jnp.zeros((), int), -gain, zero)
        return Carry(jnp.zeros(()), state, zero, jnp.zeros((), int), jnp.isfinite(gain) & self.trusted)

    def sample(self, carry: Carry, times: Times) -> tuple[Carry, Record]:
        count, window = len(times), min(self.window, len(times))
        padded = jnp.concatenate([times, jnp.broadcast_to(times[-1], (window,))])
        dtype = carry.state.rows.dtype
        tol = jnp.asarray(self.propagator.tol, dtype)
        # Half of the tolerance is for truncation; the other is left to rounding.
        rate = tol / 2 / jnp.maximum(times[-1] - carry.time, jnp.finfo(dtype).tiny ** 0.5)
        fixed = self._stretch(jnp.zeros((), int)) if len(self.levels) == 1 else None
        before = carry.state.deviation
        # Within one piece <H> is conserved and only <H_0 - H> is measured; from piece to piece errors of <H_0> add to it.
        spread = 2 * self.system.energy_bounds()[0].radius if fixed is None else jnp.zeros((), dtype)

        def step(loop: tuple[Int[Array, ""], Carry, Record]) -> tuple[Int[Array, ""], Carry, Record]:
            done, carry, record = loop
            wanted = jax.lax.dynamic_slice_in_dim(padded, done, window)
            carry, new, passed = self._advance(carry, wanted, rate, fixed, spread)
            record = jax.tree.map(lambda old, x: jax.lax.dynamic_update_slice_in_dim(old, x, done, 0), record, new)
            return done + passed, carry, record

        def unfinished(loop: tuple[Int[Array, ""], Carry, Record]) -> Array:
            return (loop[0] < count) & loop[1].valid

        empty = Record(jnp.full(count + window, jnp.nan, dtype), jnp.full((count + window, 3), jnp.nan, dtype))
        loop = (jnp.zeros((), int), carry, empty)
        if carry.state.rows.shape[0] == 1:
            loop = step(loop)
        done, carry, record = jax.lax.while_loop(unfinished, step, loop)
        met = (carry.state.deviation - before <= tol) & (done >= count) & (times[-1] <= self.edges[-1])
        return carry._replace(valid=carry.valid & met), Record(record.work[:count], record.magnetization[:count])

    def limits(self) -> Limits:
        energy, initial = self.system.energy_bounds()
        radii = jax.lax.map(lambda level: self.system.stretch(level).operator.bounds().radius, self.levels)
        work = energy.center + energy.radius - initial
        if len(self.levels) == 1:
            gain = self.system.stretch(self.levels[0]).gain.bounds()
            work = jnp.minimum(work, gain.center + gain.radius + self.start().state.base)
        return Limits(2 * radii.max(), work)

    def _stretch(self, piece: Int[Array, ""]) -> Stretch:
        return self.system.stretch(self.levels[0] if len(self.levels) == 1 else self.levels[piece])

    def _advance(
        self, carry: Carry, wanted: Times, rate: Scalar, fixed: Stretch | None, spread: Scalar
    ) -> tuple[Carry, Record, Int[Array, ""]]:
        """One segment: as many of the wanted times as it reaches."""
        rows, piece, base, deviation = carry.state
        stretch = fixed if fixed is not None else self._stretch(piece)
        is_last = piece == len(self.levels) - 1
        end = jnp.where(is_last, wanted[-1], jnp.minimum(self.edges[piece], wanted[-1]))
        limit = (end - carry.time).astype(rows.dtype)
        offsets = (wanted - carry.time).astype(rows.dtype)
        center, radius = stretch.operator.bounds()
        segment = self.propagator.advance(stretch.operator.apply, center, radius, rows, jnp.minimum(offsets, limit), limit, rate)
        gains, magnetization = _measure_all(stretch.gain, segment.states)

        finished = segment.reach >= limit
        time = jnp.where(finished, end, carry.time + segment.reach)
        rows = segment.states[:, -1]
        at_edge = finished & ~is_last & (end >= self.edges[piece])
        piece = piece + at_edge
        if fixed is None:
            new_gain = self._stretch(piece).gain.measure(rows)[0]
            next_base = jnp.where(at_edge, base + gains[-1] - new_gain, base)
        else:
            next_base = base
        deviation = deviation + segment.error
        error = jnp.maximum(carry.error, deviation * (2 * stretch.gain.bounds().radius + spread))
        passed = jnp.sum(offsets <= segment.reach)
        valid = carry.valid & jnp.isfinite(time) & jnp.all(jnp.isfinite(gains)) & ((passed > 0) | (segment.reach > 0))
        state = StateCarry(rows, piece, next_base, deviation)
        applications = carry.applications + segment.applications
        return Carry(time, state, error, applications, valid), Record(base + gains[:-1], magnetization[:-1]), passed


def _two_rows(rows: Rows) -> Rows:
    return rows if rows.shape[0] == 2 else jnp.concatenate([rows, jnp.zeros_like(rows)])


def _measure_all(gain: Measured, states: Float[Array, "2 m d"]) -> tuple[Float[Array, " m"], Float[Array, "m 3"]]:
    count, size = states.shape[1:]
    batches = -(-count * size // 2**16)
    together = -(-count // min(batches, count))
    # Rounded up to whole batches, by measuring the last state again: a remainder would be compiled a second time.
    index = jnp.minimum(jnp.arange(-(-count // together) * together), count - 1)
    measured = jax.lax.map(lambda j: gain.measure(states[:, j]), index, batch_size=together)
    return jax.tree.map(lambda x: x[:count], measured)
