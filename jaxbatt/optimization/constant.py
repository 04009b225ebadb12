"""The best constant field within the bounds: what a protocol is compared with, and its first start."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._types import PerSpin, Scalar, ScalarLike, Times
from jaxbatt.battery import Battery
from jaxbatt.charging import charge
from jaxbatt.optimization.moments import square_battery, variance
from jaxbatt.optimization.objectives import End, Task, over_members
from jaxbatt.optimization.space import pulse_energy
from jaxbatt.protocols import ConstantField

_GRID = 257
_ZOOMS = 3
"""The grid of times is refined so often around its best: to 1e-6 of the time, where a smooth maximum is flat to 1e-12."""
_REACH = 4.0
"""The first grid of times ends at so many scales."""
_LEVELS = (33, 513)
"""Fewest and most levels of the first grid; at a fixed time W oscillates with the level, as sin^2(u T) for a free spin."""
_PER_PERIOD = 8
"""Levels in a period of sin^2(u T)."""
_LEVEL_GRID = 9
_LEVEL_ZOOMS = 4
"""Refinements around the best level, by 4 each: to 1e-4 of the distance of the bounds."""


class Constant(NamedTuple):
    """The best constant field: its level (*N,), its time, and its score."""

    level: Float[Array, "*n"]
    time: Scalar
    score: Scalar


def best_constant(task: Task) -> Constant:
    """The best constant field within the bounds: a grid of levels, refined around its best, each level at its best time.

    Levels for each spin are looked for on the line from the lowest to the highest, all spins alike.
    """
    search = _search_of(task)
    low, high = _extremes(task)
    if np.all(low == high):
        return search(1.0)
    fewest, most = _LEVELS
    wanted = _PER_PERIOD * np.max(high - low) * task.space.scale / np.pi
    fractions = np.linspace(1.0, 0.0, int(np.clip(wanted, fewest, most)))
    best = None
    for _ in range(1 + _LEVEL_ZOOMS):
        found = [search(fraction) for fraction in fractions]
        k = int(np.argmax([float(constant.score) for constant in found]))
        if best is None or found[k].score > best.score:
            best = found[k]
        fractions = np.linspace(fractions[max(k - 1, 0)], fractions[min(k + 1, len(fractions) - 1)], _LEVEL_GRID)
    assert best is not None
    return best


def _extremes(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """(*N,) the lowest and the highest level that are allowed at all times."""
    return task.space.low.max(axis=0), task.space.high.min(axis=0)


def _search_of(task: Task) -> Callable[[ScalarLike], Constant]:
    """The compiled function from a fraction of the way between the bounds to the best constant field there.

    All energy that is left to a level bounds its time; a level for which the shortest time is too long is weakened.
    """
    space = task.space
    low, high = _extremes(task)
    shortest, longest = space.scale / space.widest, space.scale * min(_REACH, space.widest)
    grid = np.full(1, space.scale) if space.widest == 1 else np.geomspace(shortest, longest, _GRID)

    def search(fraction: Scalar) -> Constant:
        level, times = low + fraction * (high - low), jnp.asarray(grid)
        if space.energy is not None:
            per_time = jnp.sum(jnp.broadcast_to(level, (space.n_spins,)) ** 2)
            allowed = space.energy * (1 - 1e-12) / jnp.where(per_time > 0, per_time, space.energy / longest)
            level = level * jnp.sqrt(jnp.minimum(1.0, allowed / shortest))
            times = jnp.minimum(times, jnp.maximum(allowed, shortest))
        return _best_time(task, level, times)

    return jax.jit(search)


def _best_time(task: Task, level: PerSpin, times: Times) -> Constant:
    """The best of the times, refined around it where there are several; traceable."""

    def refine(_: int | Array, state: tuple[Constant, Times]) -> tuple[Constant, Times]:
        best, times = state
        scores = _scores(task, ConstantField(level, task.space.template.axis), times)
        scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
        k = jnp.argmax(scores)
        found = Constant(level, times[k], scores[k])
        best = jax.tree.map(lambda new, old: jnp.where(found.score > best.score, new, old), found, best)
        around = jnp.linspace(times[jnp.maximum(k - 1, 0)], times[jnp.minimum(k + 1, len(times) - 1)], len(times))
        return best, around

    nothing = Constant(level, times[0], jnp.asarray(-jnp.inf))
    return jax.lax.fori_loop(0, _ZOOMS if len(times) > 1 else 1, refine, (nothing, times))[0]


def _scores(task: Task, field: ConstantField, times: Times) -> Times:
    """The scores (t,) at all times."""
    penalty = task.goal.penalty

    def member(battery: Battery) -> tuple[End, Times]:
        curve = charge(battery, field, times, solver=task.solver)
        fields = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(times), *x.shape)), field)
        spread = jnp.zeros(len(times))
        if penalty.variance:
            squares = square_battery(battery)
            spread = variance(battery, squares, curve.work, charge(squares, field, times, solver=task.solver).work)
        return End(times, curve.work, curve.power, curve.magnetization, fields), spread

    ends, variances = over_members(member, task.batteries)
    extra = jax.vmap(lambda t: penalty.energy * pulse_energy(field, t, task.space.n_spins))(times)
    return jax.vmap(task.goal.judge, in_axes=(1, 1, 0, None))(ends, variances, extra, task.space.scale).score
