"""Where the search begins: the best constant field, the sign-switching field, the protocol as given, and random fields.

A random field says little about the valley it lies in before it has climbed: most of those that look best at once lie in the same
valley, which need not be the deepest. So more of them climb a little, and those that got furthest become starts.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxbatt._types import Amplitudes, Scalar, Times
from jaxbatt.battery import Battery
from jaxbatt.charging import charge
from jaxbatt.optimization.ascent import begin, block_of, default_optimizer
from jaxbatt.optimization.constant import Constant
from jaxbatt.optimization.objectives import Judged, Task, order_of, over_members
from jaxbatt.optimization.setup import pairs_of
from jaxbatt.optimization.space import Point, Space
from jaxbatt.protocols import PiecewiseField, Protocol

_SIGN_TIMES = (1 / 4, 64.0, 15)
"""Durations that the sign-switching field is tried with, relative to the scale: from, to, and how many."""
_TRIALS = 8
"""Short climbs of which the best is a start."""
_DRAWS = 8
"""Random points of which the best begins a short climb."""
_SHORT = 20
"""A short climb has so many times fewer steps: all short ones together cost at most 40 % of the long ones."""
_UNEVEN = 1.5
_SWITCHES = 3
"""Switches of a random field that switches, fewer where the levels on both sides are the same by chance."""


def first_points(task: Task, protocol: Protocol, constant: Constant, starts: int, steps: int, chunk: int, key: Array) -> Point:
    """(starts, ...) the constant field, the sign-switching field, the protocol as given unless it is zero, then random ones.

    ``steps`` are those that they are going to climb, ``chunk`` of them at once.
    """
    space = task.space
    first = constant_point(task, constant)
    points, pairs = [first], first.couplings
    if _can_switch(protocol):
        points.append(sign_point(task, pairs, chunk))
    if _has_values(protocol):
        end = float(protocol.edges[-1])
        points.append(space.point(protocol.levels, end if np.isfinite(end) else constant.time, pairs))
    known = jax.tree.map(lambda *x: jnp.stack(x), *points)
    if len(points) == starts:
        return known
    guesses = _durations(task, jax.tree.map(lambda x: x[:2], known))
    times = jnp.repeat(guesses[jnp.arange(len(points), starts) % len(guesses)], _TRIALS)
    drawn = tried_points(key, task, times, pairs, steps // _SHORT, chunk)
    return jax.tree.map(lambda *x: jnp.concatenate(x), known, drawn)


def _durations(task: Task, known: Point) -> Times:
    """What the durations of random fields are drawn around: those of the constant and of the switching field.

    Both, for a good field that switches may take longer. But a least time is not above one that is known already, and a field
    that misses the target says nothing about it: there the better of the two.
    """
    times = jax.vmap(task.space.time)(known)
    if task.goal.objective != "time":
        return times
    return times[order_of(jax.jit(jax.vmap(task.judge))(known))[:1]]


def fewest_starts(protocol: Protocol) -> int:
    """How many starts are always made: the constant field, the sign-switching field, and the protocol as given."""
    return 1 + _can_switch(protocol) + _has_values(protocol)


def _can_switch(protocol: Protocol) -> bool:
    return len(protocol.levels) > 1 and protocol.axis != "z"


def _has_values(protocol: Protocol) -> bool:
    return bool(np.any(np.asarray(protocol.levels) != 0))


def constant_point(task: Task, constant: Constant) -> Point:
    """The constant field as a point, with the given couplings."""
    pairs = None
    if task.space.strength is not None:
        given = pairs_of(task.batteries[0])
        pairs = jnp.asarray(given / np.sqrt(np.mean(given**2)))
    return task.space.point(constant.level, constant.time, pairs)


def sign_point(task: Task, couplings: Array | None, chunk: int) -> Point:
    """The sign-switching field: highest level where dW/dt per u is positive, lowest where it is negative; u_max sign<Y> for x.

    Each piece is chosen by the state at its beginning, by the extreme of greater size where the rate is 0; the best of several
    durations, of those that all miss a target the one of least loss: the nearest to it may be many times too long.

    A field u along x changes the energy of the paper's battery at the rate 2 B u sum <Y_i>, one along y at -2 B u sum <X_i>; one
    along z leaves it alone. All spins switch together, on the mean over spins and members of an ensemble.
    """
    space, axis = task.space, task.space.template.axis
    pieces = len(space.low)
    component, direction = (1, 1) if axis == "x" else (0, -1)
    largest = np.where(np.abs(space.high) >= np.abs(space.low), space.high, space.low)

    def slope(levels: Amplitudes, time: Scalar, now: Scalar) -> Scalar:
        def member(battery: Battery) -> Scalar:
            curve = charge(battery, PiecewiseField(levels, time, axis), now[None], solver=task.solver)
            return direction * curve.magnetization[-1, component]

        return jnp.mean(over_members(member, task.batteries))

    def feedback(time: Scalar) -> Amplitudes:
        def piece(k: Array, levels: Amplitudes) -> Amplitudes:
            rate = slope(levels, time, time * k / pieces)
            level = jnp.where(rate > 0, jnp.asarray(space.high)[k], jnp.asarray(space.low)[k])
            return levels.at[k].set(jnp.where(jnp.abs(rate) < 1e-9, jnp.asarray(largest)[k], level))

        return jax.lax.fori_loop(0, pieces, piece, jnp.zeros(space.low.shape))

    times = jnp.asarray(space.scale * (np.ones(1) if space.widest == 1 else np.geomspace(*_SIGN_TIMES)))

    def candidate(time: Scalar) -> tuple[Point, Judged]:
        point = space.point(feedback(time), time, couplings)
        return point, task.judge(point)

    points, judged = jax.jit(lambda t: jax.lax.map(candidate, t, batch_size=_together(len(times), chunk)))(times)
    return jax.tree.map(lambda x: x[order_of(judged)[0]], points)


def tried_points(key: Array, task: Task, times: Times, couplings: Array | None, steps: int, chunk: int) -> Point:
    """The best of every ``_TRIALS`` random points at about the given times, after a short climb of so many steps."""
    keys = jax.random.split(key, len(times))
    together = _together(len(times), chunk)

    def draw(given: tuple[Array, Scalar]) -> Point:
        return drawn_point(given[0], given[1], task, couplings)

    points = jax.jit(lambda x: jax.lax.map(draw, x, batch_size=together))((keys, times))
    if steps:
        optimizer = default_optimizer(steps)
        points = block_of(task, optimizer, together)(begin(points, optimizer, steps), steps).points
    losses = jax.jit(lambda x: jax.lax.map(lambda point: task.judge(point).loss, x, batch_size=together))(points)
    groups = np.where(np.isnan(losses), np.inf, losses).reshape(-1, _TRIALS)
    best = groups.argmin(axis=1) + _TRIALS * np.arange(len(groups))
    return jax.tree.map(lambda x: x[best], points)


def drawn_point(key: Array, time: Scalar, task: Task, couplings: Array | None) -> Point:
    """The best of several random points, none of which has climbed."""

    def candidate(key: Array) -> tuple[Point, Scalar]:
        point = random_point(key, task.space, time, couplings)
        return point, task.judge(point).loss

    points, losses = jax.lax.map(candidate, jax.random.split(key, _DRAWS))
    best = jnp.argmin(jnp.where(jnp.isnan(losses), jnp.inf, losses))
    return jax.tree.map(lambda x: x[best], points)


def _together(count: int, most: int) -> int:
    """The largest divisor of a count that is not above the most."""
    return max(d for d in range(1, count + 1) if count % d == 0 and d <= most)


def random_point(key: Array, space: Space, time: Scalar, couplings: Array | None) -> Point:
    """A field of a few random switches, of a few slow waves, or of noise, alike on all spins or not, at about the given time.

    It switches between the lowest level, the highest and, as least-time fields do, no field (where the bounds exclude 0, the
    middle).
    """
    kinds, switches, waves, times, pairs = jax.random.split(key, 5)
    kind, alike = jnp.divmod(jax.random.randint(kinds, (), 0, 6), 2)
    shape = space.low.shape
    s = (jnp.arange(shape[0]) + 0.5).reshape(-1, *[1] * (len(shape) - 1)) / shape[0]

    none = np.where((space.low <= 0) & (space.high >= 0), -space.middle / np.where(space.half > 0, space.half, 1), 0)

    def telegraph(key: Array) -> Amplitudes:
        sides, places = jax.random.split(key)
        parts = jnp.cumsum(jnp.exp(_UNEVEN * jax.random.normal(places, (_SWITCHES + 1, 1, *shape[1:]))), axis=0)
        passed = jnp.sum(s > parts[:-1] / parts[-1], axis=0)
        side = jax.random.randint(sides, (_SWITCHES + 1, *shape[1:]), -1, 2)
        side = jnp.take_along_axis(side, passed, axis=0)
        return jnp.where(side == 0, none, side)

    def slow(key: Array) -> Amplitudes:
        size, phase = jax.random.normal(key, (2, 4, 1, *shape[1:]))
        order = jnp.arange(4).reshape(-1, *[1] * len(shape))
        return jnp.clip(jnp.sum(1.5 * size / (1 + order) * jnp.cos(jnp.pi * order * s + 2 * jnp.pi * phase), axis=0), -1, 1)

    # A constant field has nothing to switch, and does not move where it is zero.
    several = shape[0] > 1
    noise = jax.random.uniform(waves, shape, minval=-1)
    pattern = jax.lax.select_n(kind, telegraph(switches), slow(waves), noise) if several else noise
    if len(shape) == 2:
        pattern = jnp.where(alike == 1, pattern[:, :1], pattern)
    spread = np.log(2.0) * jax.random.uniform(times, (), minval=-1, maxval=1)
    if couplings is not None:
        couplings = jax.random.normal(pairs, couplings.shape)
        couplings = couplings if space.signed else jnp.abs(couplings)
    return space.point(space.middle + space.half * pattern, time * jnp.exp(spread), couplings)
