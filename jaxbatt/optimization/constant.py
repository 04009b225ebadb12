"""The best constant field within the bounds: what a protocol is compared with, and its first start."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._types import Scalar
from jaxbatt.charging import charge
from jaxbatt.optimization.moments import square_battery, variance
from jaxbatt.optimization.objectives import End, Task
from jaxbatt.optimization.space import pulse_energy
from jaxbatt.protocols import ConstantField

_GRID = 257
_ZOOMS = 3
"""The grid of times is refined so often around its best: to 1e-6 of the time, where a smooth maximum is flat to 1e-12."""
_REACH = (1 / 16, 4.0)
"""The first grid of times, relative to the scale."""


class Constant(NamedTuple):
    """The best constant field: its level (*N,), and what comes of it."""

    level: Float[Array, "*n"]
    time: Scalar
    work: Scalar
    score: Scalar


def best_constant(task: Task) -> Constant:
    """The best constant field within the bounds: both extremes and three levels between, each at its best time."""
    space = task.space
    low, high = space.low.max(axis=0), space.high.min(axis=0)
    found: list[Constant] = []
    for fraction in (1.0, 0.0, 0.5, 0.25, 0.75):
        level = low + fraction * (high - low)
        per_time = float(np.sum(np.broadcast_to(level, (space.n_spins,)) ** 2))
        # All energy that is left to a level bounds its time; where the time is fixed, the level.
        longest = np.inf if space.energy is None or per_time == 0 else space.energy * (1 - 1e-12) / per_time
        if space.widest == 1:
            level = level * np.sqrt(min(1.0, longest / space.scale))
            times = np.full(1, space.scale)
        else:
            times = np.minimum(space.scale * np.geomspace(*_REACH, _GRID), longest)
        found.append(_best_time(task, level, times))
    return max(found, key=lambda constant: float(constant.score))


def _best_time(task: Task, level: np.ndarray, times: np.ndarray) -> Constant:
    """The best of the times, refined around it where there are several."""
    best = None
    for _ in range(_ZOOMS if len(times) > 1 else 1):
        ends, scores = _scores(task, ConstantField(level, task.space.template.axis), times)
        scores = np.where(np.isnan(scores), -np.inf, scores)
        k = int(np.argmax(scores))
        if best is None or scores[k] > float(best.score):
            work = task.goal.reduce(ends.work[k])
            best = Constant(jnp.asarray(level), jnp.asarray(times[k]), work, jnp.asarray(scores[k]))
        times = np.linspace(times[max(k - 1, 0)], times[min(k + 1, len(times) - 1)], len(times))
    assert best is not None
    return best


def _scores(task: Task, field: ConstantField, times: np.ndarray) -> tuple[End, np.ndarray]:
    """The ends (t, b, ...) of all members at all times, and their scores (t,)."""
    penalty = task.goal.penalty
    ends, variances = [], []
    for battery in task.batteries:
        curve = charge(battery, field, jnp.asarray(times), solver=task.solver)
        fields = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(times), *x.shape)), field)
        ends.append(End(curve.times, curve.work, curve.power, curve.magnetization, fields))
        spread = jnp.zeros(len(times))
        if penalty.variance:
            squares = square_battery(battery)
            spread = variance(battery, squares, curve.work, charge(squares, field, curve.times, solver=task.solver).work)
        variances.append(spread)
    members = jax.tree.map(lambda *x: jnp.stack(x, 1), *ends)
    extra = jax.vmap(lambda t: penalty.energy * pulse_energy(field, t, task.space.n_spins))(jnp.asarray(times))
    return members, np.asarray(jax.vmap(task.goal.judge)(members, jnp.stack(variances, 1), extra).score)
