"""Study files of ``jaxbatt sweep`` and ``jaxbatt plan``.

[battery]
p = 1.0                        # what is no axis: couplings, g, p, kac, field, anisotropy, ...

[protocol]
omega = 4.0

[axes]                         # the dimensions of the result, in this order
n_spins = [4, 6, 8]
anisotropy = {linspace = [-1.0, 1.0, 21]}
seed = {seeds = 100}

[disorder]
strength = 0.1

[measure]
quantities = ["max_power"]     # or "max_work", "curve", "charger"
gradients = ["omega"]
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from jaxbatt.study.draws import check_draws
from jaxbatt.study.grids import AXES, NAMES, axes_of
from jaxbatt.study.models import BatteryChoice, solver_of
from jaxbatt.study.points import GRADIENTS, QUANTITIES, Point
from jaxbatt.study.tables import NUMBER, SWITCH, WHOLE, WORD, Table, array_of, at_least_one, read_toml

_TIMED = ("max_work", "curve")
"""Quantities that need a horizon."""


@dataclasses.dataclass(frozen=True, eq=False)
class SweepStudy:
    """What a study file of ``jaxbatt sweep`` asks for.

    Attributes:
        point: the function of one point of the grid.
        axes: the values of each axis.
        batch_size: points of a chunk.
        formats: files to write besides the store: "csv", "netcdf".
        plot: what to draw: y, x, and hue or the second axis of a heat map; None where the file does not say.
    """

    point: Point
    axes: dict[str, np.ndarray]
    batch_size: Any
    formats: tuple[str, ...]
    plot: dict[str, str | None]


def read_sweep(path: str | os.PathLike[str]) -> SweepStudy:
    """Reads a study file of ``jaxbatt sweep``.

    Raises:
        ValueError: no valid TOML; an unknown table or key; a value of a wrong type; an axis that is given twice or does nothing:
            each with what is allowed. A seed for which all spins down need not be the ground state. And whatever the constructors
            refuse at the ends of the axes.
        OSError: the file cannot be read.
    """
    return parse_sweep(read_toml(path))


def parse_sweep(content: dict[str, Any]) -> SweepStudy:
    """The study of a parsed file; see :func:`read_sweep`."""
    top = Table("", content)
    axes = axes_of(top.raw("axes", "a table of axes"))
    battery = BatteryChoice.of(top.table("battery"), axes)
    fixed, protocol = _protocol(top.table("protocol"), axes)
    disorder, distribution = _disorder(top.table("disorder"), axes)
    method, tol = solver_of(top.table("solver"), "solver" in axes)
    measure, horizon, points = _measure(top.table("measure"), axes)
    values = battery.values | fixed | disorder | horizon | {"solver": method}
    fixed = {name: value for name, value in values.items() if name not in axes}
    point = Point(battery, fixed, tol, distribution, *protocol, *measure, points)
    run, output, plot = top.table("run"), top.table("output"), top.table("plot")
    size = at_least_one(run, "batch_size", 1) if run.holds("batch_size") else "auto"
    formats = tuple(name for name in ("csv", "netcdf") if output.take(name, SWITCH, name == "csv"))
    drawing = {key: plot.take(key, WORD) for key in ("y", "x", "hue", "heat")}
    for table in (run, output, plot, top):
        table.end()
    _check_effect(point, axes)
    check_draws(point, axes)
    _check_ends(point, axes)
    return SweepStudy(point, axes, size, formats, drawing)


def _protocol(table: Table, axes: dict[str, np.ndarray]) -> tuple[dict[str, Any], tuple[str, Any, Any]]:
    """omega, and direction, relative levels and duration of the field."""
    omega = table.take("omega", NUMBER, 1.0, is_open="omega" in axes)
    direction = table.take("axis", WORD, "x", choices=("x", "y", "z"))
    levels = table.take("levels", "an array of numbers")
    duration = table.take("duration", NUMBER)
    table.end()
    if (levels is None) != (duration is None):
        raise ValueError("[protocol] levels (in units of omega) and duration belong together; give both, or none.")
    return {"omega": omega}, (direction, None if levels is None else array_of(table, "levels", levels), duration)


def _disorder(table: Table, axes: dict[str, np.ndarray]) -> tuple[dict[str, Any], str]:
    values = {key: table.take(key, NUMBER, 0.0, is_open=key in axes) for key in ("strength", "field_strength")}
    values["seed"] = table.take("seed", WHOLE, 0, is_open="seed" in axes)
    distribution = table.take("distribution", WORD, "normal", choices=("normal", "uniform"))
    table.end()
    return values, distribution


def _measure(table: Table, axes: dict[str, np.ndarray]) -> tuple[tuple[Any, Any], dict[str, Any], int]:
    """(Quantities, gradients), the horizon, and the number of times of a curve."""
    quantities = table.names("quantities", QUANTITIES, ["max_power"])
    gradients = table.names("gradients", GRADIENTS, [])
    horizon = table.take("horizon", NUMBER, is_open="horizon" in axes)
    points = table.take("points", WHOLE, 101)
    table.end()
    timed = [name for name in quantities if name in _TIMED]
    if timed and horizon is None and "horizon" not in axes:
        raise ValueError(f"[measure] horizon is missing; {timed[0]} needs a longest charging time.")
    if horizon is not None and not timed:
        raise ValueError(f"[measure] horizon has no effect on {', '.join(quantities)}; remove it.")
    if "curve" in quantities and "horizon" in axes:
        raise ValueError("[axes] horizon has no effect on a curve, whose times are a dimension of their own; remove it.")
    if points < 2:
        raise ValueError(f"[measure] points must be at least 2, but it is {points}.")
    return (quantities, gradients), {"horizon": horizon}, points


def _check_effect(point: Point, axes: dict[str, np.ndarray]) -> None:
    """Refuses axes that change nothing."""
    idle = {}
    if not point.is_disordered(axes):
        idle["seed"] = "there is no disorder; give [disorder] strength or field_strength"
    if not any(name in _TIMED for name in point.quantities):
        idle["horizon"] = f"it has no effect on {', '.join(point.quantities)}"
    for name in axes:
        if name in idle:
            raise ValueError(f"[axes] {name} does nothing: {idle[name]}, or remove the axis.")


def _check_ends(point: Point, axes: dict[str, np.ndarray]) -> None:
    """Builds the battery and the field at both ends of every axis, so that what they refuse is refused before any work."""
    first = {name: values[0].item() for name, values in axes.items()}
    for name, values in axes.items():
        ends = values if name in NAMES or name == "n_spins" else (values.min(), values.max())
        for end in ends:
            chosen = point.fixed | first | {name: end.item()}
            point.problem(chosen)
    assert set(point.fixed) | set(axes) >= set(AXES)
