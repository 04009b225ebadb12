"""Derivatives of a stepped evolution with a fixed number of state vectors, whatever its length.

The work is a function of the states at the output times. Their cotangents are carried back in time together with the state
itself, which is undone by unitarity, segment after segment. On a segment [t', t] both are known at t; with the state at the
middle as anchor, the derivative of all that the state went through is that of a Chebyshev series at times of either sign:
the cotangents of the outputs at theirs, that of t at its end, and that of t', with the opposite sign, at its beginning.
Where the segment is short and without outputs, as most pieces of a finely cut field are, an integral over time costs less.
The first segment has the initial state as its anchor, and remains in real arithmetic where that is real. Under a constant field
with few outputs it is all there is: no other is compiled.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._batches import any_of_batch, where_in_batch
from jaxbatt._checks import require_memory
from jaxbatt._order import zero_after, zeros_after
from jaxbatt._types import Amplitudes, Rows, Scalar, Times
from jaxbatt.bounds import Bounds
from jaxbatt.hamiltonian import times_i
from jaxbatt.propagators import States
from jaxbatt.propagators.adjoint import SHORT, gather_back, pull_short, pull_states
from jaxbatt.propagators.chebyshev import longest, series
from jaxbatt.solvers._outputs import (
    Cotangents,
    Derivatives,
    Outputs,
    Sweep,
    add,
    cotangent_states,
    late_numbers,
    outputs_of,
    rate_of,
    squared,
)
from jaxbatt.solvers._system import System, two_rows

OUTPUTS = 8
"""Output times in one segment."""
WHOLE = 25600.0
"""radius * time up to which all of an evolution with no more outputs, under a constant field, is one segment..."""
WHOLE_START = 2**12
"""... of so many amplitudes or more: of fewer the coefficients of such a series would take more memory than the states."""
_HELD, _EACH_OUTPUT, _CHANGES = 18, 3, 12
"""State vectors that the way back holds, as compiled for 19 and 20 spins: always, for each output of a segment, and where the
field is not constant."""
_HELD_WHOLE, _EACH_OF_WHOLE, _SPINS = 8, 2, 8
"""The same where there is one segment: always, for each output, and where something depends on the magnetization."""
_COMPLEX, _PRODUCTS, _FLIPPED, _SIDE_BY_SIDE = 2, 4, 9, 6
"""Besides, where the first segment is not real, where H_0 - H has products of several spins, where some are flipped string by
string, and where several things are done at a time: on a GPU, and over a mesh."""


_Passed: TypeAlias = tuple[Rows, Rows, Scalar, Any, Derivatives]
"""State and cotangent at the beginning of a segment, the rate of the result at its end, the derivative with respect to its
operator, and all others so far."""


class _Point(NamedTuple):
    """On the way back: the state and its cotangent at a time, the number of outputs before, derivatives so far.

    ``entered`` says that the time is the end of the piece, reached from the next one.
    """

    time: Scalar
    piece: Int[Array, ""]
    entered: Bool[Array, ""]
    rows: Rows
    cotangent: Rows
    outputs: Int[Array, ""]
    derivatives: Derivatives


class Opening(NamedTuple):
    """The first segment, as the way forward left it.

    Attributes:
        time: where it ends.
        outputs: number of outputs in it.
        states: (2, M, d) the states there.
        rest: (2, d) the state where it ends, and that at the last of the times; None where it is all of the evolution.
        bounds: what its series has as the range of the spectrum.
        top: the last two vectors of its recurrence.
        pairs: number of pairs of terms.
        valid: whether the results hold. Without, there is no way back, which might not come to an end, and no derivative.
    """

    time: Scalar
    outputs: Int[Array, ""]
    states: States
    rest: tuple[Rows, Rows] | None
    bounds: Bounds
    top: tuple[Rows, Rows]
    pairs: Int[Array, ""]
    valid: Bool[Array, ""]


def sweep_back(
    system: System,
    levels: Amplitudes,
    edges: Float[Array, " k"],
    tol: float,
    times: Times,
    cotangents: Cotangents,
    opening: Opening,
) -> Derivatives:
    """Derivatives of sum(cotangents * record).

    Args:
        system: the battery in the space of its solver.
        levels: (K,) or (K, N) field on each piece.
        edges: (K,) ends of the pieces.
        tol: error allowed to the states on the way back.
        times: (T,) output times.
        cotangents: of the work (T,) and of the magnetization (T, 3).
        opening: the first segment, or all of the evolution.

    Raises:
        ValueError: the state vectors that this holds do not fit the memory.
    """
    width, (_, size), dtype = opening.states.shape[1], opening.top[0].shape, opening.top[0].dtype
    if opening.rest is None:
        states = _HELD_WHOLE + _EACH_OF_WHOLE * width + (0 if cotangents.magnetization is None else _SPINS)
    else:
        states = _HELD + _EACH_OUTPUT * width + (_CHANGES if len(levels) > 1 else 0)
    states += _COMPLEX * (len(opening.top[0]) - 1) + _PRODUCTS * system.measures_products + _FLIPPED * system.flips_products
    states += _SIDE_BY_SIDE if system.pieces > 1 or jax.default_backend() != "cpu" else 0
    held = states * 2 * size * dtype.itemsize // system.pieces
    require_memory(held, f"a gradient with {system.solver} of {size:,} amplitudes", "take fewer spins")
    cotangents = jax.tree.map(lambda x: x.astype(dtype), cotangents)
    matters = cotangents.work != 0
    if cotangents.magnetization is not None:
        matters = matters | jnp.any(cotangents.magnetization != 0, axis=1)
    order = jnp.argsort(~matters, stable=True)
    rate = jnp.asarray(tol, dtype) / 2 / jnp.maximum(times[-1].astype(dtype), jnp.finfo(dtype).tiny ** 0.5)
    sorted_times = jnp.where(jnp.sort(~matters), jnp.inf, times[order])
    sweep = Sweep(system, levels, edges, rate, sorted_times, order, jax.tree.map(lambda x: x[order], cotangents))

    if len(levels) == 1:
        sweep = sweep._replace(fixed=(system.generator(levels[0]), opening.bounds))
    zeros = Derivatives(*(jax.tree.map(functools.partial(_zeros, opening.valid), x) for x in (system, levels, edges, times)))
    mine = jnp.arange(width) < opening.outputs
    first = jax.tree.map(lambda x: x[:width], cotangents).where(mine)
    outputs = Outputs(jnp.arange(width), mine, times[:width], first)
    if opening.rest is None:
        return _first_segment(sweep, None, opening, outputs, zeros)
    at = _down_to(sweep, opening, times[-1], opening.rest[1], matters, zeros)
    # A branch that is always taken: else XLA does beforehand what does not wait for the way back, and holds it all the while.
    arrived = any_of_batch(at.time <= opening.time)
    return jax.lax.cond(arrived, lambda: _first_segment(sweep, at, opening, outputs, at.derivatives), lambda: at.derivatives)


def _zeros(valid: Bool[Array, ""], x: Any) -> Any:
    return jnp.full_like(x, jnp.where(valid, 0, jnp.nan)) if jnp.issubdtype(x.dtype, jnp.inexact) else x


def _down_to(sweep: Sweep, opening: Opening, time: Scalar, rows: Rows, matters: Bool[Array, " t"], zeros: Derivatives) -> _Point:
    """From the last of the times, with the state there, back to the end of the first segment."""
    in_first = jnp.sum(matters & (jnp.arange(len(matters)) < opening.outputs))
    piece = jnp.searchsorted(sweep.edges, time, side="left").clip(max=len(sweep.levels) - 1)
    rows = two_rows(rows)
    start = _Point(time, piece, jnp.zeros((), bool), rows, jnp.zeros_like(rows), matters.sum(), zeros)

    def unfinished(at: _Point) -> Array:
        return opening.valid & ((at.time > opening.time) | (at.outputs > in_first))

    def segment(at: _Point) -> _Point:
        return _segment(sweep, at, opening.time, in_first, opening.states.shape[1])

    return jax.lax.while_loop(unfinished, segment, start)


def _segment(sweep: Sweep, at: _Point, stop: Scalar, in_first: Int[Array, ""], width: int) -> _Point:
    """From ``at`` back to the beginning of its piece, of the longest series, or of one set of outputs."""
    operator, bounds = sweep.driving(at.piece)
    piece_start = jnp.where(at.piece == 0, 0, sweep.edges[at.piece - 1])
    first = jnp.maximum(at.outputs - width, in_first)
    previous = jnp.where(first > in_first, sweep.times[first - 1], 0)
    begin = jnp.maximum(jnp.maximum(piece_start, stop), jnp.maximum(at.time - longest(bounds.radius), previous))
    outputs = outputs_of(sweep, first, at.outputs, begin, width)
    length = (at.time - begin).astype(bounds.radius.dtype)

    def long() -> _Passed:
        return _with_outputs(sweep, at, operator, bounds, begin, outputs)

    def short() -> _Passed:
        pulled, rate, before, carried = pull_short(operator, *bounds, at.rows, at.cotangent, length, sweep.rate)
        return before, carried, rate, pulled, at.derivatives

    if len(sweep.levels) == 1:
        passed = long()
    else:
        # Most pieces of a finely cut field are short and hold no output.
        is_long = (bounds.radius * length > SHORT) | outputs.mine.any()
        nothing = jax.tree.map(jnp.zeros_like, operator)
        passed = where_in_batch(~is_long, short, (at.rows, at.cotangent, jnp.zeros_like(length), nothing, at.derivatives))
        passed = where_in_batch(is_long, long, passed)
    before, carried, rate, pulled, derivatives = passed
    derivatives = _add_generator(sweep, at.piece, pulled, derivatives)
    leaves = (begin <= piece_start) & (at.piece > 0)
    if len(sweep.levels) > 1:
        # State and cotangent evolve alike, so the rate is conserved but for what each output adds.
        rate = rate.astype(derivatives.edges.dtype)
        start = rate + jnp.sum(derivatives.times - at.derivatives.times)
        edges = derivatives.edges.at[at.piece].add(jnp.where(at.entered, rate, 0))
        edges = edges.at[at.piece - 1].add(jnp.where(leaves, -start, 0))
        derivatives = derivatives._replace(edges=edges)
    return _Point(begin, at.piece - leaves, leaves, before, carried, at.outputs - outputs.mine.sum(), derivatives)


def _with_outputs(sweep: Sweep, at: _Point, operator: Any, bounds: Bounds, begin: Scalar, outputs: Outputs) -> _Passed:
    """The way back through any segment."""
    center, radius = bounds
    half = ((at.time - begin) / 2).astype(radius.dtype)
    to_anchor = series(center, radius, -half[None], half, sweep.rate)
    anchor = to_anchor.states(operator, at.rows)[0][:, 0]
    offsets = jnp.where(outputs.mine, outputs.times - begin, 0).astype(half.dtype) - half
    terms = series(center, radius, jnp.concatenate([half[None], -half[None], offsets]), half, sweep.rate)
    width = len(offsets)
    states, top = terms.at([*range(2, width + 2), 1], [1] * (width + 1)).states(operator, anchor)
    states, derivatives = cotangent_states(sweep, operator, states, outputs, at.derivatives)
    distances = series(center, radius, jnp.append(2 * half, offsets + half), 2 * half, sweep.rate)
    carried = gather_back(operator.apply, distances, (at.cotangent, states))
    signed = terms.at(range(width + 2), [1, -1, *[1] * width])
    pulled, _ = pull_states(operator, signed, top, (at.cotangent, carried, states))
    done = zero_after(*jax.tree.leaves(pulled))
    rate = rate_of(operator, at.rows, at.cotangent)
    return states[:, -1] + done, carried + done, rate, pulled, derivatives


def _first_segment(sweep: Sweep, at: _Point | None, opening: Opening, outputs: Outputs, derivatives: Derivatives) -> Derivatives:
    """From ``at``, where there is anything after the segment, back to t = 0."""
    operator, _ = sweep.driving(jnp.zeros((), int))
    center, radius = opening.bounds
    rows = sweep.system.initial_rows()
    length = opening.time.astype(radius.dtype)
    offsets = jnp.where(outputs.mine, outputs.times, 0).astype(length.dtype)
    states, derivatives = cotangent_states(sweep, operator, opening.states, outputs, derivatives)
    if at is None or opening.rest is None:
        terms = series(center, radius, offsets, length, sweep.rate, WHOLE).cut(opening.pairs)
        terms = late_numbers(terms, *jax.tree.leaves(derivatives.system))
        pulled, start = pull_states(operator, terms, opening.top, (states,))
    else:
        terms = series(center, radius, jnp.append(length, offsets), length, sweep.rate).cut(opening.pairs)
        carried = _turned(at.cotangent, at.rows, opening.rest[0])
        pulled, start = pull_states(operator, terms, opening.top, (carried, states))
    if at is not None and len(sweep.levels) > 1:
        ends = jnp.where(at.entered, rate_of(operator, at.rows, at.cotangent), 0)
        derivatives = derivatives._replace(edges=derivatives.edges.at[0].add(ends))
    derivatives = _add_generator(sweep, jnp.zeros((), int), pulled, derivatives)

    # W(t) = <H_0>_t - <H_0>_0, and the initial state may be differentiated, too.
    # After the rest: the way back would hold H_0 from its beginning.
    late, initial = late_numbers((sweep.system, rows), start)
    energy = late.energy()
    weight = -sweep.cotangents.work.sum()
    initial = initial if energy.is_real else two_rows(initial)
    nothing = zeros_after(energy, *jax.tree.leaves(energy))
    product, from_energy = squared(energy, initial, nothing, weight)
    start = start + (2 * weight * product)[: len(rows)]
    from_energy = jax.vjp(lambda system: system.energy(), sweep.system)[1](from_energy)[0]
    from_start = jax.vjp(lambda system: system.initial_rows(), sweep.system)[1](start)[0]
    system = jax.tree.map(add, derivatives.system, from_energy, from_start)
    return derivatives._replace(system=system)


def _add_generator(sweep: Sweep, piece: Int[Array, ""], pulled: Any, derivatives: Derivatives) -> Derivatives:
    """From the numbers of the operator to those of the battery and the field."""
    back = jax.vjp(lambda system, level: system.generator(level), sweep.system, sweep.level(piece))[1]
    from_system, from_level = back(pulled)
    system = jax.tree.map(add, derivatives.system, from_system)
    return derivatives._replace(system=system, levels=derivatives.levels.at[piece].add(from_level))


def _turned(cotangent: Rows, before: Rows, after: Rows) -> Rows:
    """The cotangent of ``before`` as that of ``after``, the same state but for the global phase that every series leaves out."""
    cosine = jnp.sum(before * after)
    sine = jnp.sum(before[0] * after[1] - before[1] * after[0])
    size = jnp.hypot(cosine, sine)
    return (cosine * cotangent + sine * times_i(cotangent)) / size
