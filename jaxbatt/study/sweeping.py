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

import jaxbatt as jb
from jaxbatt.study.draws import check_draws
from jaxbatt.study.effects import check_effect
from jaxbatt.study.grids import AXES, NAMES, axes_of
from jaxbatt.study.models import BatteryChoice, solver_of
from jaxbatt.study.points import GRADIENTS, QUANTITIES, TIMED, Point
from jaxbatt.study.tables import ARRAY, NUMBER, SWITCH, WORD, Table, array_of, count_of, read_toml, seed_of, within


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
        ValueError: a file that cannot be read or is no valid TOML; an unknown table or key; a value of a wrong type; an axis
            that is given twice or does nothing: each with what is allowed. A seed for which all spins down need not be the
            ground state. And whatever the constructors refuse at the ends of the axes.
    """
    return parse_sweep(read_toml(path))


def parse_sweep(content: dict[str, Any]) -> SweepStudy:
    """The study of a parsed file; see :func:`read_sweep`."""
    top = Table("", content)
    top.only("axes", "battery", "protocol", "disorder", "solver", "measure", "run", "output", "plot")
    axes = axes_of(top.raw("axes", "a table of axes"))
    random, measured = top.table("disorder"), top.table("measure")
    battery = BatteryChoice.of(top.table("battery"), axes)
    fixed, protocol = _protocol(top.table("protocol"), axes)
    disorder, distribution = _disorder(random, axes)
    method, tol = solver_of(top.table("solver"), "solver" in axes)
    measure, horizon, points = _measure(measured, axes)
    values = battery.values | fixed | disorder | horizon | {"solver": method}
    fixed = {name: value for name, value in values.items() if name not in axes}
    point = Point(battery, fixed, tol, distribution, *protocol, *measure, points)
    run, output, plot = top.table("run"), top.table("output"), top.table("plot")
    # Asked for even where it is not there: a mistake names what is allowed.
    size: Any = count_of(run, "batch_size", 1)
    size = size if run.holds("batch_size") else "auto"
    formats = tuple(name for name in ("csv", "netcdf") if output.take(name, SWITCH, name == "csv"))
    drawing = {key: plot.take(key, WORD) for key in ("y", "x", "hue", "heat")}
    for table in (run, output, plot):
        table.end()
    check_effect(point, axes, random, measured)
    check_draws(point, axes)
    _check_ends(point, axes)
    return SweepStudy(point, axes, size, formats, drawing)


def _protocol(table: Table, axes: dict[str, np.ndarray]) -> tuple[dict[str, Any], tuple[str, Any, Any]]:
    """omega, and direction, relative levels and duration of the field."""
    omega = table.take("omega", NUMBER, 1.0, is_open="omega" in axes)
    direction = table.take("axis", WORD, "x", choices=("x", "y", "z"))
    levels = table.take("levels", ARRAY)
    duration = table.take("duration", NUMBER)
    table.end()
    if (levels is None) != (duration is None):
        raise ValueError("[protocol] levels (in units of omega) and duration belong together; give both, or none.")
    if levels is None:
        return {"omega": omega}, (direction, None, None)
    values = array_of(table, "levels", levels)
    if values.ndim != 1:
        raise ValueError(f"[protocol] levels must be a list of numbers, but its shape is {values.shape}.")
    return {"omega": omega}, (direction, values, duration)


def _disorder(table: Table, axes: dict[str, np.ndarray]) -> tuple[dict[str, Any], str]:
    values = {key: table.take(key, NUMBER, 0.0, is_open=key in axes) for key in ("strength", "field_strength")}
    values["seed"] = seed_of(table, "seed" in axes)
    for key in ("strength", "field_strength"):
        if values[key] < 0:
            raise ValueError(f"[disorder] {key} must not be negative, but it is {values[key]}.")
    distribution = table.take("distribution", WORD, "normal", choices=("normal", "uniform"))
    table.end()
    return values, distribution


def _measure(table: Table, axes: dict[str, np.ndarray]) -> tuple[tuple[Any, Any], dict[str, Any], int]:
    """(Quantities, gradients), the horizon, and the number of times of a curve."""
    quantities = table.names("quantities", QUANTITIES, ["max_power"])
    if not quantities:
        raise ValueError(f"[measure] quantities must name some of {', '.join(QUANTITIES)}, but it is [].")
    gradients = table.names("gradients", GRADIENTS, [])
    horizon = table.take("horizon", NUMBER, is_open="horizon" in axes)
    points = count_of(table, "points", 101, 2)
    table.end()
    timed = [name for name in quantities if name in TIMED]
    if timed and horizon is None and "horizon" not in axes:
        raise ValueError(f"[measure] horizon is missing; {timed[0]} needs a longest charging time.")
    if horizon is not None and horizon <= 0:
        raise ValueError(f"[measure] horizon must be positive, but it is {horizon}.")
    if horizon is not None and not timed:
        raise ValueError(f"[measure] horizon has no effect on {', '.join(quantities)}; remove it.")
    if "curve" in quantities and "horizon" in axes:
        raise ValueError("[axes] horizon has no effect on a curve, whose times are a dimension of their own; remove it.")
    return (quantities, gradients), {"horizon": horizon}, points


def _check_ends(point: Point, axes: dict[str, np.ndarray]) -> None:
    """Builds the battery and the field at both ends of every axis, so that what they refuse is refused before any work."""
    first = point.fixed | {name: values[0].item() for name, values in axes.items()}
    assert set(first) >= set(AXES)
    try:
        _build(point, first)
    except ValueError as error:
        raise ValueError(f"{_place(str(error), first, axes)} {error}") from error
    for name, values in axes.items():
        for end in values if name in NAMES or name == "n_spins" else (values.min(), values.max()):
            with within(f"[axes] {name} = {end.item()!r}:"):
                _build(point, first | {name: end.item()})


def _build(point: Point, values: dict[str, Any]) -> None:
    battery, protocol, solver = point.problem(values)
    if isinstance(solver, (jb.Collective, jb.Spectral)) and point.quantities != ("charger",):
        solver.prepare(battery, protocol)


def _place(message: str, values: dict[str, Any], axes: dict[str, np.ndarray]) -> str:
    """Where the value stands that a message is about: the first name between backticks, or else the solver."""
    key = message.partition("`")[2].partition("`")[0] or "solver"
    candidates = {"couplings": ("g",), "strength": ("strength", "field_strength")}.get(key, (key,))
    for name in candidates:
        if name in axes and (name in ("anisotropy", "solver") or values[name] < 0):
            return f"[axes] {name} = {values[name]!r}:"
    return {"solver": "[solver] kind:", "duration": "[protocol]"}.get(key, "[battery]")
