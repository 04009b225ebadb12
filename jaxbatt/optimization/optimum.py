"""What an optimization gives."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbatt._types import Scalar
from jaxbatt.battery import Battery
from jaxbatt.protocols import ConstantField, Protocol


class Baseline(eqx.Module):
    """The best constant field within the bounds, at its best time; levels for each spin are alike, as fractions of their range.

    Attributes:
        protocol: the constant field.
        value: what the objective is there.
        time: charging time T.
        work: stored work W(T).
        power: average power W(T) / T.
    """

    protocol: ConstantField
    value: Scalar
    time: Scalar
    work: Scalar
    power: Scalar

    def __repr__(self) -> str:
        return eqx.tree_pformat(self, short_arrays=False)


class Optimum(eqx.Module):
    """The best point of an optimization.

    Attributes:
        protocol: the charging field; exactly within its bounds.
        battery: the battery, with the designed couplings where they were free; of an ensemble the tuple of all.
        value: the objective, less its penalties: a power (B^2), a work (B), a time (1/B; infinite where no start reached the
            target), or what the objective function returns.
        time: charging time T.
        work: stored work W(T); of an ensemble the mean or the least, as the objective.
        power: average power W(T) / T.
        history: (steps, starts) value of each start at each step.
        start: which start won. 0 is the best constant field, 1 the sign-switching field (where the protocol can switch), then
            the protocol itself, unless it is zero; the others are random.
        reason: why the search stopped.
        constant: the best constant field, for comparison.
    """

    protocol: Protocol
    battery: Battery | tuple[Battery, ...]
    value: Scalar
    time: Scalar
    work: Scalar
    power: Scalar
    history: Float[Array, "steps starts"]
    constant: Baseline
    objective: str = eqx.field(static=True)
    start: int = eqx.field(static=True)
    reason: str = eqx.field(static=True)

    @property
    def gain(self) -> Scalar:
        """How many times better than the constant field: a ratio of values, and for "time" how many times shorter."""
        better, worse = (self.value, self.constant.value) if self.objective != "time" else (self.constant.value, self.value)
        return jnp.asarray(better / worse)

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name}={float(getattr(self, name)):.8g}" for name in ("value", "time", "work", "power", "gain"))
        return f"Optimum(objective={self.objective!r}, {numbers}, start={self.start}, reason={self.reason!r})"
