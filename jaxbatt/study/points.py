"""One point of a sweep: from the values of its axes to what is measured there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxbatt as jb
from jaxbatt.protocols import Protocol
from jaxbatt.solvers import Solver
from jaxbatt.study.models import BatteryChoice, solver_named

QUANTITIES = ("max_power", "max_work", "curve", "charger")
MAXIMA = ("max_power", "max_work")
"""Quantities that have gradients."""
TIMED = ("max_work", "curve")
"""Quantities that need a horizon."""
GRADIENTS = ("g", "p", "field", "anisotropy", "omega", "strength", "field_strength")

_CURVE = ("work", "power", "magnetization")


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    """The function of a sweep: all values by name to a record.

    Attributes:
        battery: the battery, with the axes open.
        fixed: the values that are no axes.
        tol: tolerance of the solver.
        distribution: of the disorder.
        direction: axis of the charging field.
        levels: (K,) its values in units of omega, None for a constant field.
        duration: its duration.
        quantities: what is measured.
        gradients: with respect to what maxima are differentiated.
        points: number of times of a curve.
    """

    battery: BatteryChoice
    fixed: dict[str, Any]
    tol: float | None
    distribution: Any
    direction: Any
    levels: np.ndarray | None
    duration: float | None
    quantities: tuple[str, ...]
    gradients: tuple[str, ...]
    points: int

    def __call__(self, **axes: Any) -> dict[str, Any]:
        values = self.fixed | axes
        record: dict[str, Any] = {}
        for quantity in self.quantities:
            record |= self._measured(quantity, values)
        return record

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Dimensions of what is no number."""
        if "curve" not in self.quantities:
            return {}
        return {"work": ("time",), "power": ("time",), "magnetization": ("time", "direction")}

    @property
    def coords(self) -> dict[str, Any]:
        """Values along those dimensions."""
        if "curve" not in self.quantities:
            return {}
        return {"time": np.linspace(0.0, self.fixed["horizon"], self.points), "direction": np.array(["x", "y", "z"])}

    @property
    def units(self) -> dict[str, str]:
        """Units of the gradients."""
        inverse = {"p": "", "anisotropy": "", "strength": "", "field_strength": ""}
        whole, less = {"max_power": "B^2", "max_work": "B"}, {"max_power": "B", "max_work": "1"}
        return {
            _gradient(quantity, name): (whole if name in inverse else less)[quantity]
            for quantity in self.quantities
            if quantity in whole
            for name in self.gradients
        }

    @property
    def attrs(self) -> dict[str, str | float]:
        """All that is no axis, defaults included, as attributes of a dataset."""
        battery, values = self.battery, dict(self.fixed)
        if "solver" in values:
            values["solver"] = str(solver_named(values["solver"], self.tol) or "auto")
        values |= {"kac": battery.kac, "initial_state": battery.start}
        values |= {"field_while_charging": battery.kept, "interactions_while_charging": battery.interacting}
        values |= {"distribution": self.distribution, "axis": self.direction, "levels": self.levels, "duration": self.duration}
        values |= {"quantities": self.quantities, "gradients": self.gradients, "points": self.points}
        return {name: _attribute(value) for name, value in values.items() if value is not None}

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of what can be drawn over the grid: maxima, where they are, and their gradients."""
        other = {"max_power": "max_power_work", "max_work": "max_work_power"}
        maxima = [quantity for quantity in self.quantities if quantity in other]
        places = [name for quantity in maxima for name in (quantity, f"{quantity}_time", other[quantity])]
        slopes = [_gradient(quantity, name) for quantity in maxima for name in self.gradients]
        return (*places, *slopes, *(("bandwidth", "deviation") if "charger" in self.quantities else ()))

    def is_disordered(self, axes: Collection[str]) -> bool:
        """Whether anything is drawn."""
        return any(name in axes or self.fixed[name] for name in ("strength", "field_strength"))

    def problem(self, values: Mapping[str, Any]) -> tuple[jb.SpinBattery, Protocol, Solver | None]:
        """Battery, field and solver, with all values given."""
        key = jax.random.key(values["seed"])
        couplings, field = self.battery.couplings(values), jnp.asarray(values["field"])
        if not _is_zero(values["strength"]):
            couplings = jb.disordered(jax.random.fold_in(key, 0), couplings, values["strength"], distribution=self.distribution)
        if not _is_zero(values["field_strength"]):
            spread = values["field_strength"]
            field = jb.random_field(
                jax.random.fold_in(key, 1), values["n_spins"], spread, mean=field, distribution=self.distribution
            )
        battery = self.battery.build(couplings, field, values["anisotropy"])
        omega, direction = jnp.asarray(values["omega"], float), self.direction
        protocol: Protocol = jb.ConstantField(omega, direction)
        if self.levels is not None and self.duration is not None:
            protocol = jb.PiecewiseField(omega * self.levels, self.duration, direction)
        return battery, protocol, solver_named(values["solver"], self.tol)

    def _measured(self, quantity: str, values: Mapping[str, Any]) -> dict[str, Any]:
        if quantity == "curve":
            battery, protocol, solver = self.problem(values)
            curve = jb.charge(battery, protocol, jnp.asarray(self.coords["time"]), solver=solver)
            return {name: getattr(curve, name) for name in _CURVE} | {"curve": curve.info}
        if quantity == "charger":
            battery, protocol, _ = self.problem(values)
            return jb.charger_scale(battery, protocol)._asdict()
        return self._maximum(quantity, values)

    def _maximum(self, quantity: str, values: Mapping[str, Any]) -> dict[str, Any]:
        def value(free: dict[str, Any]) -> tuple[Any, jb.Peak]:
            battery, protocol, solver = self.problem({**values, **free})
            if quantity == "max_power":
                peak = jb.max_power(battery, protocol, solver=solver)
                return peak.power, peak
            peak = jb.max_work(battery, protocol, horizon=values["horizon"], solver=solver)
            return peak.work, peak

        free = {name: jnp.asarray(values[name], float) for name in self.gradients}
        slopes, peak = jax.grad(value, has_aux=True)(free) if free else ({}, value({})[1])
        other = {"max_power_work": peak.work} if quantity == "max_power" else {"max_work_power": peak.power}
        top = {quantity: peak.power if quantity == "max_power" else peak.work, f"{quantity}_time": peak.time} | other
        record = top | {f"{quantity}_certified": peak.certified, quantity + "_info": peak.info}
        return record | {_gradient(quantity, name): slope for name, slope in slopes.items()}


def _gradient(quantity: str, name: str) -> str:
    return f"{quantity}_d_{name}"


def _attribute(value: Any) -> str | float:
    """A string or a number as it is, JSON for anything else: truth values, lists, and integers beyond 32 bits."""
    plain = np.asarray(value).tolist()
    is_short = isinstance(plain, int) and not isinstance(plain, bool) and abs(plain) < 2**31
    return plain if is_short or isinstance(plain, (str, float)) else json.dumps(plain)


def _is_zero(strength: Any) -> bool:
    return not isinstance(strength, jax.core.Tracer) and not np.any(strength)
