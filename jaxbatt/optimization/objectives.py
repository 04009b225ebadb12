"""What is optimized: from the end of a charging curve to a loss for the gradient and a score for the comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._types import Scalar
from jaxbatt.battery import Battery
from jaxbatt.charging import charge
from jaxbatt.optimization.moments import square_battery, variance
from jaxbatt.optimization.space import Point, Space, pulse_energy
from jaxbatt.protocols import Protocol
from jaxbatt.solvers import Solver

_MISSED = 1e30
"""Scale of the scores of points that miss the target: below every point that reaches it."""
_MARGIN = 1e-9
"""How far beyond the target the work must be, so that another evaluation of the same point cannot miss it by rounding."""
_FULL = 1e-6
"""Fraction of the charge that may be missing where the field stops climbing: the distance has no slope at its zero."""
_DISTANCE_WEIGHT = 8.0
"""Loss of the whole distance to the target, in durations."""


class End(NamedTuple):
    """The end of a charging curve, what an objective is a function of.

    Attributes:
        time: charging time T.
        work: stored work W(T).
        power: average power W(T) / T.
        magnetization: (3,) mean of <X_i>, <Y_i>, <Z_i> over the spins.
        protocol: the charging field.
    """

    time: Scalar
    work: Scalar
    power: Scalar
    magnetization: Float[Array, 3]
    protocol: Protocol


Objective: TypeAlias = Literal["power", "work", "time"] | Callable[[End], Scalar]


@dataclasses.dataclass(frozen=True)
class Penalty:
    """Weights of what is subtracted from the objective (added to it for "time").

    Args:
        smoothness: weight of sum_k sum_i (u_i,k+1 - u_i,k)^2, the squared jumps of the field of all spins.
        variance: weight of Var(H_0) after charging; it costs a second evolution.
        energy: weight of the pulse energy int sum_i u_i^2 dt.

    Raises:
        ValueError: a weight is negative or not finite.
    """

    smoothness: float = 0.0
    variance: float = 0.0
    energy: float = 0.0

    def __post_init__(self) -> None:
        for name, weight in dataclasses.asdict(self).items():
            is_number = np.ndim(weight) == 0 and np.asarray(weight).dtype.kind in "fiu"
            if not (is_number and np.isfinite(weight) and weight >= 0):
                raise ValueError(f"the penalty of {name} must be a finite number >= 0, but it is {weight!r}.")

    def of_field(self, protocol: Protocol, time: Scalar, n_spins: int) -> Scalar:
        """The terms that only the field decides."""
        levels = protocol.levels.reshape(len(protocol.levels), -1)
        jumps = n_spins / levels.shape[1] * jnp.sum(jnp.diff(levels, axis=0) ** 2)
        return self.smoothness * jumps + self.energy * pulse_energy(protocol, time, n_spins)


class Judged(NamedTuple):
    """Loss: what the gradient descends. Score: by which points are compared, the larger the better."""

    loss: Scalar
    score: Scalar


def order_of(judged: Judged) -> np.ndarray:
    """From the best of several points to the worst: by score, those that miss a target by loss."""
    return np.lexsort((judged.loss, np.minimum(-np.asarray(judged.score), _MISSED)))


@dataclasses.dataclass(frozen=True, eq=False)
class Goal:
    """The objective with all that it needs; ``full`` is the (members,) work of a full charge."""

    objective: Objective
    target: float
    full: Float[Array, " b"]
    penalty: Penalty
    worst: bool

    def judge(self, ends: End, variances: Float[Array, " b"], extra: Scalar, scale: float) -> Judged:
        """Of the ends (b, ...) of all members of an ensemble, and the terms that only the field decides.

        ``scale`` is the duration that counts as 1 in the loss.
        """
        spread = self.penalty.variance * variances
        if self.objective == "time":
            fraction = self.reduce(ends.work / self.full)
            missing = jnp.sqrt(jnp.maximum(1 - fraction, _FULL)) - np.sqrt(1 - self.target)
            cost = jnp.mean(ends.time) - self.reduce(-spread) + extra
            score = jnp.where(fraction >= self.target * (1 + _MARGIN), -cost, -_MISSED * (1 + missing))
            return Judged(cost / scale + _DISTANCE_WEIGHT * missing, score)
        if callable(self.objective):
            values = jax.vmap(self.objective)(ends)
        else:
            values = ends.work if self.objective == "work" else ends.power
        value = self.reduce(values - spread) - extra
        return Judged(-value, value)

    def reduce(self, values: Float[Array, " b"]) -> Scalar:
        """Over the members of an ensemble."""
        return jnp.min(values) if self.worst else jnp.mean(values)

    def value(self, score: Any) -> Any:
        """The objective in its own units; infinite for a time that misses the target."""
        return jnp.where(jnp.asarray(score) > -_MISSED, -jnp.asarray(score), jnp.inf) if self.objective == "time" else score


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A whole optimization as a function of a point."""

    space: Space
    batteries: tuple[Battery, ...]
    goal: Goal
    solver: Solver

    def judge(self, point: Point) -> Judged:
        """Loss and score of an allowed point; traceable."""
        protocol, time = self.space.protocol(point), self.space.time(point)
        ends, variances = self.ends(point)
        return self.goal.judge(ends, variances, self.goal.penalty.of_field(protocol, time, self.space.n_spins), self.space.scale)

    def steered(self, point: Point, slopes: Point, score: Scalar) -> Point:
        """The slopes to descend; for "time", where the target is reached, the duration follows its cost alone.

        So the field always climbs towards a full charge, while the duration shrinks as long as the target is reached and
        grows where it is not: a step back and forth across the target at the least time.
        """
        if self.goal.objective != "time":
            return slopes

        def cost(point: Point) -> Scalar:
            protocol, time = self.space.protocol(point), self.space.time(point)
            return (time + self.goal.penalty.of_field(protocol, time, self.space.n_spins)) / self.space.scale

        shorter = jax.grad(cost)(point).log_time
        return slopes._replace(log_time=jnp.where(score > -_MISSED, shorter, slopes.log_time))

    def ends(self, point: Point) -> tuple[End, Float[Array, " b"]]:
        """(b, ...) what each member of the ensemble ends at, and its Var(H_0) where there is a penalty on it (else 0)."""
        member = self._member(point)
        return over_members(lambda battery: member(self.space.battery(point, battery)), self.batteries)

    def measured(self, point: Point) -> tuple[End, Float[Array, " b"]]:
        """The same member by member, where a solver that fails can say why."""
        member = self._member(point)
        each = [member(self.space.battery(point, battery)) for battery in self.batteries]
        return jax.tree.map(lambda *x: jnp.stack(x), *each)

    def _member(self, point: Point) -> Callable[[Battery], tuple[End, Scalar]]:
        protocol, time = self.space.protocol(point), self.space.time(point)

        def member(battery: Battery) -> tuple[End, Scalar]:
            curve = charge(battery, protocol, time[None], solver=self.solver)
            end = End(curve.times[-1], curve.work[-1], curve.power[-1], curve.magnetization[-1], protocol)
            if not self.goal.penalty.variance:
                return end, jnp.zeros(())
            squares = square_battery(battery)
            growth = charge(squares, protocol, time[None], solver=self.solver).work[-1]
            return end, variance(battery, squares, end.work, growth)

        return member


def over_members(function: Callable[[Battery], Any], batteries: tuple[Battery, ...]) -> Any:
    """``vmap`` over batteries; numbers that all of them share stay as they are, so that known zeros stay known."""
    if len(batteries) == 1:
        return jax.tree.map(lambda x: x[None], function(batteries[0]))
    leaves = [jax.tree.leaves(battery) for battery in batteries]
    shared = [all(_same(leaf, other) for other in column) for leaf, *column in zip(*leaves, strict=True)]
    first, structure = jax.tree.flatten(batteries[0])
    varied = [jnp.stack(column) for column, is_shared in zip(zip(*leaves, strict=True), shared, strict=True) if not is_shared]

    def member(varied: list[Array]) -> Any:
        rest = iter(varied)
        return function(jax.tree.unflatten(structure, [leaf if s else next(rest) for leaf, s in zip(first, shared, strict=True)]))

    if not varied:
        return jax.tree.map(lambda x: jnp.stack([x] * len(batteries)), function(batteries[0]))
    return jax.vmap(member)(varied)


def _same(first: Any, second: Any) -> bool:
    return bool(np.array_equal(first, second))
