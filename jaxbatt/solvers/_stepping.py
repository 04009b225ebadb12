"""Steps a pure state through the pieces of a protocol with any propagator, recording on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._batches import where_in_batch
from jaxbatt._order import none_after
from jaxbatt._types import Amplitudes, Rows, Scalar, Times
from jaxbatt.propagators import Chebyshev, Kept, Propagator, Seen, Segment, Used
from jaxbatt.propagators.chebyshev import phase_of, series
from jaxbatt.solvers._adjoint import OUTPUTS, WHOLE, WHOLE_START, Opening, sweep_back
from jaxbatt.solvers._base import WINDOW_PHASE, Carry, Evolution, Limits, Record, Window
from jaxbatt.solvers._differentiation import guarded
from jaxbatt.solvers._initial import beginning, initial_rate
from jaxbatt.solvers._outputs import Cotangents
from jaxbatt.solvers._system import Stretch, System, measure_all, two_rows

SPANNED = 80
"""Terms of the one series that a whole curve may come from, all of whose vectors are held."""
_SPANNED_START = 2**18
"""Basis states from which a curve that is not known to be short is worth both programs, its own and the one by states."""

Measure: TypeAlias = Callable[[Kept, Float[Array, "2 m r h"], Used], tuple[Times, Float[Array, "m 3"]]]


class StateCarry(NamedTuple):
    """A state in the middle of a piece, and the work stored so far."""

    rows: Rows
    piece: Int[Array, ""]
    work: Scalar
    deviation: Scalar
    """Bound of the error of the state so far."""
    late: Scalar
    """By how much the time of the carry is rounded up: without it the roundings of many segments would add up."""


class SteppedEvolution(Evolution):
    """Evolves the rows of a :class:`System`, segment after segment; none straddles an edge of the protocol."""

    system: System
    levels: Amplitudes
    edges: Float[Array, " k"]
    propagator: Propagator = eqx.field(static=True)
    held: int = eqx.field(static=True)
    """Most states that are held at once."""
    trusted: Bool[Array, ""] | bool = True
    """False where the system does not describe the battery."""
    short: bool | None = eqx.field(static=True, default=None)
    """Whether a constant field drives the state for no longer than one series spans, where that is known."""
    kept: int = eqx.field(static=True, default=0)
    """Bases in which all vectors of that series may be held: 0, 1, or 3."""

    def start(self) -> Carry:
        rows = self.system.initial_rows()
        zero = jnp.zeros((), rows.dtype)
        state = StateCarry(rows, jnp.zeros((), int), zero, zero, jnp.zeros(()))
        return Carry(jnp.zeros(()), state, zero, jnp.zeros((), int), jnp.asarray(self.trusted))

    def curve(self, times: Times) -> tuple[Carry, Record]:
        return _differentiable_curve(guarded((self, times), self.system.solver))

    def sample(self, carry: Carry, times: Times) -> tuple[Carry, Record]:
        first = self._run(carry, times, self._fixed())
        run = dataclasses.replace(first, before=_complex(carry))
        spanned = None if self.short is False else self._whole(first)
        if spanned is None:
            return run.end(run.completed(run.begin()))
        if self.short:
            return run.end(spanned())
        # Where it is not known both ways are compiled.
        assert run.fixed is not None
        is_long = run.fixed.bounds.radius * (times[-1] - carry.time) > spanned_phase(self.propagator)
        return run.end(run.completed(where_in_batch(~is_long, lambda: run.padded(spanned()), run.begin())))

    def _whole(self, run: _Run) -> Callable[[], _Loop] | None:
        """The whole curve from one series, where it is real, and there are many times; None where it cannot be."""
        count, stretch, rows = len(run.times), run.fixed, run.before.state.rows
        possible = isinstance(self.propagator, Chebyshev) and len(rows) == 1 and 2 * count >= SPANNED
        worth = self.short or rows.shape[1] >= _SPANNED_START
        if stretch is None or not (possible and worth) or self.kept == 0 or stretch.operator.pieces > 1:
            return None
        operator, forms, most = stretch.operator, stretch.gain.forms, spanned_phase(self.propagator)
        if forms is None:
            return None

        def seen(rows: Rows) -> tuple[Rows, Rows | None, Rows | None]:
            return operator.turned(rows) if self.kept > 1 else (operator.apply(rows), None, None)

        return lambda: _Loop(jnp.full((), count), *self._spanned(run, stretch, most, SPANNED, seen, forms.along))

    def opened(self, times: Times) -> tuple[Carry, Record, Opening]:
        """:meth:`sample` from the start, by a Chebyshev series first, with what its derivative needs."""
        run = self._run(self.start(), times, self._fixed())
        is_large = self.system.one_series and run.before.state.rows.shape[1] >= WHOLE_START
        is_all = run.fixed is not None and len(times) <= self.held and is_large
        series = Chebyshev(self.propagator.tol, reach=WHOLE) if is_all else Chebyshev(self.propagator.tol)
        by_series = dataclasses.replace(run, evolution=dataclasses.replace(self, propagator=series))
        start, segment = by_series.step(run.begin())
        assert segment.top is not None
        bounds = (run.fixed or self._stretch(jnp.zeros((), int))).bounds
        carry, record = run.end(start if is_all else run.completed(start))
        rest = None if is_all else (start.carry.state.rows, carry.state.rows)
        *top, pairs = segment.top
        ends = top[0], top[1]
        return carry, record, Opening(start.carry.time, start.done, segment.states, rest, bounds, ends, pairs, carry.valid)

    def _fixed(self) -> Stretch | None:
        return self._stretch(jnp.zeros((), int)) if len(self.levels) == 1 else None

    def _run(self, carry: Carry, times: Times, fixed: Stretch | None) -> _Run:
        dtype = carry.state.rows.dtype
        # Half of the tolerance is for truncation; the other is left to rounding.
        tol = jnp.asarray(self.propagator.tol, dtype)
        rate = tol / 2 / jnp.maximum(times[-1] - carry.time, jnp.finfo(dtype).tiny ** 0.5)
        # Within one piece <H> is conserved and the work changes as <H_0 - H>; from piece to piece errors of <H_0> add to it.
        spread = 2 * self.system.energy_bounds()[0].radius if fixed is None else jnp.zeros((), dtype)
        return _Run(self, carry, times, min(self.held, len(times)), rate, fixed, spread)

    def windows(self) -> tuple[Carry, Window]:
        """By one Chebyshev series, without a state at the inner times, where H_0 - H is real and there is memory."""
        fixed = self._fixed()

        def window(carry: Carry, times: Times) -> tuple[Carry, Times]:
            run = self._run(carry, times, fixed)
            found = self._window(run, fixed if fixed is not None else self._stretch(carry.state.piece))
            carry, record = run.end(run.completed(run.begin())) if found is None else found
            return carry, record.work

        return _complex(self.start()), window

    def _window(self, run: _Run, stretch: Stretch) -> tuple[Carry, Record] | None:
        forms = stretch.gain.forms
        if forms is None or not isinstance(self.propagator, Chebyshev) or self.held <= len(run.times):
            return None

        def seen(rows: Rows) -> tuple[Rows]:
            return (stretch.operator.apply(rows),)

        def measure(vectors: Kept, coefficients: Array, used: Used) -> tuple[Array, Array]:
            return forms.gains(vectors[0], coefficients, used), jnp.zeros((coefficients.shape[1], 3))

        # A hundredth more than the phase of a window, for rounding.
        return self._spanned(run, stretch, 1.01 * WINDOW_PHASE, None, seen, measure)

    def _spanned(
        self, run: _Run, stretch: Stretch, most: float, held: int | None, seen: Seen, measure: Measure
    ) -> tuple[Carry, Record]:
        """By one series, with radius * time up to ``most``, from what its vectors have to do with one another."""
        carry, times, (center, radius) = run.before, run.times, stretch.bounds
        offsets = (jnp.append(carry.time, times) - carry.time).astype(radius.dtype)
        terms = series(center, radius, offsets, offsets[-1], run.rate, most, held)
        vectors, coefficients, used = terms.spanned(seen, carry.state.rows, apart=stretch.operator.is_real)
        last, flat = coefficients[:, -1].reshape(2, -1), vectors[0].reshape(2, -1, carry.state.rows.shape[1])
        state = jnp.einsum("sj,sjd->sd", last, flat)[:, None]
        # The state first: others may be made in place of the vectors.
        gains, magnetization = measure(vectors, coefficients, (used[0], used[1] + none_after(state)))
        work = carry.state.work + gains[1:] - gains[0]
        segment = Segment(state, offsets[-1], terms.error, 2 * terms.needed)
        valid = carry.valid & jnp.all(jnp.isfinite(gains)) & (terms.error <= self.propagator.tol)
        arrived = self._arrived(carry._replace(time=times[-1], valid=valid), stretch, segment, work[-1], run.spread)
        return arrived, Record(work, magnetization[1:])

    def limits(self) -> Limits:
        energy, initial = self.system.energy_bounds()
        work, fixed = energy.center + energy.radius - initial, self._fixed()
        if fixed is None:
            radius = jax.lax.map(lambda level: self.system.stretch(level).bounds.radius, self.levels).max()
        else:
            radius, most = fixed.bounds.radius, fixed.gain.bounds()
            start = fixed.gain.measure(two_rows(self.system.initial_rows()))[0]
            work = jnp.minimum(work, most.center + most.radius - start)
        return Limits(2 * radius, work, *beginning(self.system, self._stretch(jnp.zeros((), int)), work))

    def initial_rate(self) -> Scalar:
        return initial_rate(guarded((self.system, self.levels[0]), self.system.solver)).astype(self.edges.dtype)

    def _stretch(self, piece: Int[Array, ""]) -> Stretch:
        return self.system.stretch(self.levels[0] if len(self.levels) == 1 else self.levels[piece])

    def advance(
        self, carry: Carry, wanted: Times, rate: Scalar, fixed: Stretch | None, spread: Scalar
    ) -> tuple[Carry, Record, Int[Array, ""], Segment]:
        """One segment: as many of the wanted times as it reaches. It ends with the last of them, or before."""
        rows, piece, work, _, late = carry.state
        stretch = fixed if fixed is not None else self._stretch(piece)
        is_last = piece == len(self.levels) - 1
        end = jnp.where(is_last, wanted[-1], jnp.minimum(self.edges[piece], wanted[-1]))
        limit = (end - carry.time + late).astype(rows.dtype)
        offsets = (wanted - carry.time + late).astype(rows.dtype)
        center, radius = stretch.bounds
        inner = jnp.minimum(offsets[:-1], limit)
        segment = self.propagator.advance(stretch.operator, center, radius, rows, inner, limit, rate)
        gains, magnetization = measure_all(stretch.gain, rows, segment.states)
        work = work + gains[1:] - gains[0]
        finished = segment.reach >= limit
        # What is left of a sum after a larger number is taken away again is exact.
        rounded = carry.time + segment.reach
        late = jnp.where(finished, 0, (rounded - carry.time) - segment.reach + late)
        time = jnp.where(finished, end, rounded)
        passed = jnp.sum(offsets <= segment.reach)
        valid = carry.valid & jnp.all(jnp.isfinite(gains)) & ((passed > 0) | (segment.reach > 0))
        carry = carry._replace(time=time, state=carry.state._replace(late=late), valid=valid)
        arrived = self._arrived(carry, stretch, segment, work[-1], spread)
        return arrived, Record(work, magnetization[1:]), passed, segment

    def _arrived(self, carry: Carry, stretch: Stretch, segment: Segment, work: Scalar, spread: Scalar) -> Carry:
        """The carry, whose time is that of the end of the segment already, with the state there."""
        _, piece, _, deviation, late = carry.state
        if len(self.levels) > 1:
            piece = piece + ((piece < len(self.levels) - 1) & (carry.time >= self.edges[piece]))
        deviation = deviation + segment.error
        error = jnp.maximum(carry.error, deviation * (2 * stretch.gain.bounds().radius + spread))
        valid = carry.valid & jnp.isfinite(carry.time)
        state = StateCarry(segment.states[:, -1], piece, work, deviation, late)
        return Carry(carry.time, state, error, carry.applications + segment.applications, valid)


def spanned_phase(propagator: Propagator) -> float:
    """radius * time up to which a whole curve may come from one series."""
    return phase_of(SPANNED, propagator.tol / 2)


def _complex(carry: Carry) -> Carry:
    """The same with two rows, which a state that was real comes to need."""
    return carry._replace(state=carry.state._replace(rows=two_rows(carry.state.rows)))


class _Loop(NamedTuple):
    done: Int[Array, ""]
    carry: Carry
    record: Record


@dataclasses.dataclass(frozen=True)
class _Run:
    """One call of :meth:`SteppedEvolution.sample`: what all of its segments share."""

    evolution: SteppedEvolution
    before: Carry
    times: Times
    window: int
    rate: Scalar
    fixed: Stretch | None
    spread: Scalar

    def begin(self) -> _Loop:
        count, dtype = len(self.times) + self.window, self.before.state.rows.dtype
        empty = Record(jnp.full(count, jnp.nan, dtype), jnp.full((count, 3), jnp.nan, dtype))
        return _Loop(jnp.zeros((), int), self.before, empty)

    def padded(self, loop: _Loop) -> _Loop:
        """With the record as long as in :meth:`begin`."""
        empty = self.begin().record
        record = jax.tree.map(lambda old, x: jax.lax.dynamic_update_slice_in_dim(old, x, 0, 0), empty, loop.record)
        return loop._replace(record=record)

    def step(self, loop: _Loop) -> tuple[_Loop, Segment]:
        padded = jnp.concatenate([self.times, jnp.broadcast_to(self.times[-1], (self.window,))])
        wanted = jax.lax.dynamic_slice_in_dim(padded, loop.done, self.window)
        carry, new, passed, segment = self.evolution.advance(loop.carry, wanted, self.rate, self.fixed, self.spread)
        record = jax.tree.map(lambda old, x: jax.lax.dynamic_update_slice_in_dim(old, x, loop.done, 0), loop.record, new)
        return _Loop(loop.done + passed, carry, record), segment

    def completed(self, loop: _Loop) -> _Loop:
        """With all segments that are left, unless the tolerance is lost before: the error only grows."""

        def unfinished(loop: _Loop) -> Array:
            return (loop.done < len(self.times)) & loop.carry.valid & self.meets(loop.carry)

        return jax.lax.while_loop(unfinished, lambda loop: self.step(loop)[0], loop)

    def meets(self, carry: Carry) -> Bool[Array, ""]:
        """Whether the error since the beginning is within the tolerance."""
        deviation = carry.state.deviation - self.before.state.deviation
        return deviation <= jnp.asarray(self.evolution.propagator.tol, deviation.dtype)

    def end(self, loop: _Loop) -> tuple[Carry, Record]:
        count, carry = len(self.times), loop.carry
        met = self.meets(carry) & (loop.done >= count) & (self.times[-1] <= self.evolution.edges[-1])
        return carry._replace(valid=carry.valid & met), Record(loop.record.work[:count], loop.record.magnetization[:count])


@eqx.filter_custom_vjp
def _differentiable_curve(inputs: tuple[SteppedEvolution, Times]) -> tuple[Carry, Record]:
    evolution, times = inputs
    return evolution.sample(evolution.start(), times)


@_differentiable_curve.def_fwd
def _curve_forward(perturbed: Any, inputs: tuple[SteppedEvolution, Times]) -> tuple[tuple[Carry, Record], Opening]:
    evolution, times = inputs
    few = dataclasses.replace(evolution, held=min(evolution.held, OUTPUTS))
    carry, record, opening = few.opened(times)
    return (carry, record), opening


@_differentiable_curve.def_bwd
def _curve_backward(
    opening: Opening, cotangents: tuple[Carry, Record], perturbed: Any, inputs: tuple[SteppedEvolution, Times]
) -> Any:
    """Only the record is differentiated; the carry holds the state, which no result shows."""
    evolution, times = inputs
    work, magnetization = cotangents[1]
    asked, tol = Cotangents(jnp.zeros(len(times)) if work is None else work, magnetization), evolution.propagator.tol
    found = sweep_back(evolution.system, evolution.levels, evolution.edges, tol, times, asked, opening)
    nothing = jax.tree.map(lambda x: jnp.zeros_like(x) if eqx.is_inexact_array(x) else None, evolution)
    where = (found.system, found.levels, found.edges)
    return eqx.tree_at(lambda e: (e.system, e.levels, e.edges), nothing, where), found.times
