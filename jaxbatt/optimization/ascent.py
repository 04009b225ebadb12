"""The loop: many starts climb together in blocks of steps; between blocks the host looks, saves and may stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxbatt._progress import progress_bar
from jaxbatt.optimization.objectives import Goal, Task
from jaxbatt.optimization.space import Point

BLOCK = 10
"""Steps between two looks of the host."""
RTOL = 1e-6
"""Relative gain that counts as none."""
_RATE = 0.1
"""First learning rate of the default optimizer, in half widths of the box."""


class Climb(NamedTuple):
    """Where all starts stand; the leading axis of points and optimizer states counts them.

    Attributes:
        step: steps taken.
        points: where the next step begins.
        optimizer: states of the optimizer.
        best: best point of each start so far.
        top: (starts,) its score.
        scores: (steps, starts) score at every step, NaN for those to come and where there is no finite gradient.
    """

    step: Int[Array, ""]
    points: Point
    optimizer: Any
    best: Point
    top: Float[Array, " starts"]
    scores: Float[Array, "steps starts"]


@dataclasses.dataclass(frozen=True)
class Report:
    """What a callback is told after each block of steps.

    Attributes:
        step: steps taken.
        best: best value so far.
        values: (starts,) best value of each start so far.
    """

    step: int
    best: float
    values: np.ndarray


def is_over(scores: Float[np.ndarray, "steps starts"], patience: int) -> bool:
    """Whether no start gained more than ``RTOL`` of its best score in the last ``patience`` steps."""
    if len(scores) <= patience:
        return False
    best = np.fmax.accumulate(scores, axis=0)
    return not np.any(best[-1] - best[-1 - patience] > RTOL * np.abs(best[-1]))


def default_optimizer(steps: int) -> optax.GradientTransformation:
    """Adam with a rate that falls to zero in so many steps."""
    return optax.adam(optax.cosine_decay_schedule(_RATE, steps))


def begin(points: Point, optimizer: optax.GradientTransformation, steps: int) -> Climb:
    """The climb before its first step."""
    starts = points.log_time.shape[0]
    climb = Climb(
        step=jnp.zeros((), int),
        points=points,
        optimizer=jax.vmap(optimizer.init)(points),
        best=points,
        top=jnp.full(starts, -jnp.inf),
        scores=jnp.full((steps, starts), jnp.nan),
    )
    # Weakly typed numbers would be compiled for once more in the second block.
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), climb)


def block_of(task: Task, optimizer: optax.GradientTransformation, chunk: int) -> Callable[[Climb, Any], Climb]:
    """The compiled function that takes a climb to a given step; ``chunk`` starts run at once."""
    extended = optax.with_extra_args_support(optimizer)

    def loss(point: Point) -> tuple[Any, Any]:
        judged = task.judge(task.space.project(point))
        return judged.loss, judged.score

    def one(point: Point, state: Any) -> tuple[Point, Any, Any, Any]:
        (value, score), slopes = jax.value_and_grad(loss, has_aux=True)(point)
        # Without a finite gradient a point gives no direction; what it is worth counts all the same.
        usable = jnp.isfinite(value) & jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(slopes)]))
        slopes = task.steered(point, slopes, score)
        slopes = task.space.held(point, jax.tree.map(lambda x: jnp.where(usable, x, 0), slopes))
        updates, state = extended.update(slopes, state, point, value=value, grad=slopes, value_fn=lambda p: loss(p)[0])
        return task.space.project(optax.apply_updates(point, updates)), state, score, usable

    def step(_: Int[Array, ""], climb: Climb) -> Climb:
        points, states, scores, usable = jax.lax.map(lambda x: one(*x), (climb.points, climb.optimizer), batch_size=chunk)
        better = scores > climb.top

        def choose(new: Array, old: Array) -> Array:
            return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return Climb(
            climb.step + 1,
            points,
            states,
            jax.tree.map(choose, climb.points, climb.best),
            jnp.where(better, scores, climb.top),
            climb.scores.at[climb.step].set(jnp.where(usable, scores, jnp.nan)),
        )

    return jax.jit(lambda climb, last: jax.lax.fori_loop(climb.step, last, step, climb))


def run(
    climb: Climb,
    block: Callable[[Climb, Any], Climb],
    goal: Goal,
    patience: int,
    callback: Callable[[Report], Any] | None,
    save: Callable[[Climb], None] | None,
) -> tuple[Climb, str]:
    """Takes all steps, or fewer; returns where the climb ended and why."""
    steps = len(climb.scores)
    with progress_bar() as show:
        show("compiling", int(climb.step), steps)
        reason = _stop(climb, patience, None)
        while reason is None:
            climb = block(climb, min(int(climb.step) + BLOCK, steps))
            if save is not None:
                save(climb)
            report = _report(climb, goal)
            show(f"best {report.best:.8g}", report.step, steps)
            reason = _stop(climb, patience, callback(report) if callback is not None else None)
    return climb, reason


def _report(climb: Climb, goal: Goal) -> Report:
    values = np.asarray(goal.value(climb.top))
    return Report(int(climb.step), float(values[int(np.argmax(climb.top))]), values)


def _stop(climb: Climb, patience: int, asked: Any) -> str | None:
    step, steps = int(climb.step), len(climb.scores)
    scores = np.asarray(climb.scores[:step])
    if step and not np.any(np.isfinite(scores)):
        return "no start could be computed"
    if is_over(scores, patience):
        return f"no start gained more than {RTOL:g} of its value in {patience} steps"
    if asked:
        return "the callback asked for it"
    return f"all {steps} steps taken" if step >= steps else None
