"""``optimize``: from a battery and a protocol to the best protocol, or battery, that was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from jaxbatt._checks import check_integer
from jaxbatt._types import Scalar, ScalarLike
from jaxbatt._version import __version__
from jaxbatt.battery import Battery
from jaxbatt.optimization.ascent import Climb, Report, begin, block_of, default_optimizer, run
from jaxbatt.optimization.checkpoint import Checkpoint, checkpoint_path, fingerprint, fingerprint_of_function
from jaxbatt.optimization.checks import blank_end, check_numbers, check_objective, check_tools
from jaxbatt.optimization.constant import Constant, best_constant
from jaxbatt.optimization.objectives import End, Goal, Objective, Penalty, Task
from jaxbatt.optimization.optimum import Baseline, Optimum
from jaxbatt.optimization.setup import (
    cheapest_solver,
    check_choices,
    check_room,
    check_solver,
    chunk_of,
    first_duration,
    full_charges,
    members_of,
    space_of,
)
from jaxbatt.optimization.space import CouplingChoice, Point, Space, level_bounds
from jaxbatt.optimization.starts import constant_point, fewest_starts, first_points
from jaxbatt.protocols import ConstantField, Protocol
from jaxbatt.solvers import Solver


def optimize(
    battery: Battery | Sequence[Battery],
    protocol: Protocol,
    *,
    objective: Objective = "power",
    bounds: tuple[Any, Any] | None = None,
    energy: ScalarLike | None = None,
    free_duration: bool = True,
    duration: ScalarLike | None = None,
    target: float = 0.99,
    couplings: CouplingChoice = "given",
    penalty: Penalty | None = None,
    ensemble: Literal["mean", "worst"] = "mean",
    optimizer: optax.GradientTransformation | optax.GradientTransformationExtraArgs | None = None,
    starts: int = 8,
    steps: int = 300,
    patience: int = 100,
    key: Array | None = None,
    solver: Solver | None = None,
    callback: Callable[[Report], Any] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Optimum:
    """Finds the field u(t), lowest <= u <= highest, that charges best; with it the duration, or the couplings.

    Many starts follow the gradient at once, back into the bounds after each step. The best constant field and the
    sign-switching field are among them, so the result is never worse than either.

    Args:
        battery: a battery, or several of one structure: an ensemble that the same protocol must charge.
        protocol: a ``ConstantField``, ``PiecewiseField`` or ``FourierField`` for the shape of the field, uniform or for each
            spin. Its values are one of the starts unless all are zero.
        objective: "power" W(T) / T; "work" W(T) at the fixed duration; "time", the least T with W(T) >= ``target`` times the
            work of all spins up; or a function of an :class:`End` that is made as large as can be.
        bounds: (lowest, highest) field, numbers or arrays that fit the levels: (N,) or (K, N). Equal bounds hold a value.
        energy: most pulse energy int sum_i u_i^2 dt, summed over all spins; the bounds must contain 0.
        free_duration: whether the duration is free, within a factor of 64 of the first guess; "work" always holds it.
        duration: the duration, or the first guess of a free one; by default that of the protocol, and for "power" the time
            that is best under the strongest constant field.
        target: fraction of the full charge, for "time".
        couplings: "given", or free at the given sum of g_ij^2: "nonnegative" or "signed".
        penalty: weights of smoothness, variance of the stored energy, and pulse energy.
        ensemble: "mean" or "worst" over the batteries.
        optimizer: any optax optimizer; it sees the field in units in which the bounds are -1 and 1, and log T. By default
            Adam with a rate that falls to zero. Slopes that push out of bounds are left out, and for "time" log T follows a
            rule of its own, so there a line search does not see the slope of the value that it is given.
        starts: number of starts. The constant field, the switching field (of a FourierField the series nearest to it) and the
            values of the protocol are always among them, even where that makes more; the others are random, each the best of
            several after a short climb by the default optimizer.
        steps: most steps.
        patience: stop where no start gained more than 1e-6 of its value in so many steps.
        key: seed of the random starts, ``jax.random.key(0)`` by default.
        solver: as in ``charge``; by default the cheapest that applies.
        callback: called with a :class:`Report` after each block of 10 steps; the search stops where it returns True.
        checkpoint: file that is written after each block, and resumed from where it is there: the result is the same to the
            last bit.

    Returns:
        An :class:`Optimum`.

    Raises:
        ValueError: no bounds (any power is reached with a strong enough field), or others that do not fit; a protocol, solver
            or checkpoint that does not apply.

    Example:
        >>> battery = SpinBattery(1.0, power_law(6, 3.0, 0.0))
        >>> best = optimize(battery, PiecewiseField(jnp.zeros(24), 1.0), bounds=(-4.0, 4.0))
        >>> round(float(best.gain), 1)
        1.4
    """
    check_tools(optimizer=optimizer, penalty=penalty, callback=callback, solver=solver, key=key, free_duration=free_duration)
    path = None if checkpoint is None else checkpoint_path(checkpoint)
    check_numbers(energy=energy, duration=duration, target=target)
    batteries = members_of(battery)
    check_choices(batteries, protocol, objective, bounds, target, couplings, ensemble)
    for name, count in (("starts", starts), ("steps", steps), ("patience", patience)):
        check_integer(name, count)
    levels = level_bounds(bounds, protocol, batteries[0].n_spins)
    check_room(levels, energy)
    solver = solver if solver is not None else cheapest_solver(batteries, protocol, couplings)
    free = free_duration and objective != "work"
    scale = first_duration(batteries[0], protocol, levels, duration, free and objective == "power", solver)
    space = space_of(batteries[0], protocol, levels, scale, free, energy, couplings)
    check_objective(objective, space)
    goal = Goal(objective, float(target), full_charges(batteries, objective), penalty or Penalty(), ensemble == "worst")
    task = Task(space, batteries, goal, solver)
    check_solver(task)
    optimizer = optimizer if optimizer is not None else default_optimizer(steps)
    key = key if key is not None else jax.random.key(0)
    starts = max(starts, fewest_starts(protocol))
    chunk = chunk_of(starts, batteries, protocol, solver)

    store = None if path is None else Checkpoint(path, _fingerprints(task, optimizer, starts, steps, key))
    if store is not None and store.path.exists():
        constant, climb = store.load(jax.eval_shape(lambda: _blank(space, optimizer, starts, steps)))
    else:
        constant = best_constant(task)
        climb = begin(first_points(task, protocol, constant, starts, steps, chunk, key), optimizer, steps)
    save = None if store is None else lambda climb: store.save((constant, climb))
    climb, reason = run(climb, block_of(task, optimizer, chunk), goal, patience, callback, save)
    return _optimum(task, climb, constant, reason)


def _blank(space: Space, optimizer: optax.GradientTransformation, starts: int, steps: int) -> tuple[Constant, Climb]:
    """What a checkpoint holds, for its structure."""
    zero = jnp.zeros(())
    pairs = None if space.strength is None else jnp.ones(space.n_spins * (space.n_spins - 1) // 2)
    point = space.point(jnp.asarray(space.low), space.scale, pairs)
    points = jax.tree.map(lambda x: jnp.broadcast_to(x, (starts, *x.shape)), point)
    return Constant(jnp.zeros(space.low.shape[1:]), zero, zero), begin(points, optimizer, steps)


def _fingerprints(task: Task, optimizer: optax.GradientTransformation, starts: int, steps: int, key: Array) -> dict[str, str]:
    """Everything that decides the result, by name."""
    space, goal = task.space, task.goal
    one = jax.tree.map(lambda x: x[0], _blank(space, optimizer, 1, 1)[1].points)
    objective = str(goal.objective)
    if callable(goal.objective):
        objective = fingerprint_of_function(goal.objective, blank_end(space))
    state = optimizer.init(one)
    return {
        "version": f"jaxbatt {__version__}, jax {jax.__version__}",
        "precision": jnp.zeros(()).dtype.name,
        "battery": fingerprint(task.batteries),
        "protocol": fingerprint(space.template),
        "objective": objective,
        "target": str(goal.target),
        "penalty": str(goal.penalty),
        "ensemble": "worst" if goal.worst else "mean",
        "bounds": fingerprint((space.low, space.high)),
        "duration": f"{space.scale!r} within a factor of {space.widest}",
        "energy": str(space.energy),
        "couplings": "given" if space.strength is None else "signed" if space.signed else "nonnegative",
        "solver": str(task.solver),
        "starts": str(starts),
        "steps": str(steps),
        "key": fingerprint(jax.random.key_data(key)),
        # Last, for its hash may differ because of the others.
        "optimizer": fingerprint_of_function(
            lambda s, p: optax.with_extra_args_support(optimizer).update(
                p, s, p, value=jnp.zeros(()), grad=p, value_fn=lambda q: jnp.sum(q.field)
            ),
            state,
            one,
        ),
    }


def _optimum(task: Task, climb: Climb, constant: Constant, reason: str) -> Optimum:
    """The best point of all starts, evaluated once more where errors can be raised, beside the constant field."""
    start = int(np.argmax(np.where(np.isnan(climb.top), -np.inf, climb.top)))
    best = _found(task, jax.tree.map(lambda x: x[start], climb.best))
    if not np.isfinite(best.score):
        raise ValueError(
            f"`objective` must be finite somewhere, but at every start it is not: at the constant field of work "
            f"{float(task.goal.reduce(best.ends.work)):.6g} and time {float(constant.time):.6g} it is {float(best.score)}."
        )
    if not np.any(np.isfinite(climb.scores)):
        raise ValueError(f"the gradient is not finite at any start with {task.solver}; take another solver.")
    first = _found(task, constant_point(task, constant))
    if first.score >= best.score:
        start, best = 0, first
    designed = tuple(task.space.battery(best.point, battery) for battery in task.batteries)
    baseline = ConstantField(constant.level, task.space.template.axis)
    value, time, work, power = first.numbers(task)
    return Optimum(
        task.space.protocol(best.point),
        designed if len(designed) > 1 else designed[0],
        *best.numbers(task),
        history=task.goal.value(climb.scores[: int(climb.step)]),
        constant=Baseline(baseline, value, time, work, power),
        objective=task.goal.objective if isinstance(task.goal.objective, str) else "function",
        start=start,
        reason=reason,
    )


class _Found(NamedTuple):
    """A point with the ends (b, ...) of all members there, and its score."""

    point: Point
    ends: End
    score: Scalar

    def numbers(self, task: Task) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """Value, time, work and power."""
        goal = task.goal
        return (
            jnp.asarray(goal.value(self.score)),
            task.space.time(self.point),
            goal.reduce(self.ends.work),
            goal.reduce(self.ends.power),
        )


def _found(task: Task, point: Point) -> _Found:
    ends, variances = task.measured(point)
    extra = task.goal.penalty.of_field(task.space.protocol(point), task.space.time(point), task.space.n_spins)
    return _Found(point, ends, task.goal.judge(ends, variances, extra, task.space.scale).score)
