"""``jaxbatt charge``: one battery under a constant field."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import typer
from rich.table import Table

import jaxbatt as jb
from jaxbatt._checks import check_positive
from jaxbatt._types import InitialState, Times
from jaxbatt.charging import default_solver, rough_phase
from jaxbatt.cli.terminal import check_directories, check_png, output, print_peak, warn
from jaxbatt.solvers import Solver
from jaxbatt.study import solver_named
from jaxbatt.study.tables import MOST


class Method(enum.StrEnum):
    """Solvers by name."""

    auto = "auto"
    chebyshev = "chebyshev"
    krylov = "krylov"
    taylor = "taylor"
    spectral = "spectral"
    collective = "collective"
    mean_field = "mean-field"


class Start(enum.StrEnum):
    """Initial states by name."""

    ground = "ground"
    down = "down"
    up = "up"


_STARTS: dict[Start, InitialState | None] = {Start.ground: None, Start.down: "down", Start.up: "up"}

_LONG = 2e4
"""Hamiltonian applications that are announced: seconds to a minute at 20 spins."""

_OPTIONS = {
    'pass initial_state="down" to start there all the same, or a state': "pass --initial-state down to start there all the same",
    "power_law(n, g, 0)": "--p 0",
    "StateVector()": "--solver chebyshev",
}
"""Remedies as the library names them, and what they are here."""


@contextlib.contextmanager
def _in_options() -> Iterator[None]:
    """Names the options of the command in what the library refuses."""
    try:
        yield
    except ValueError as error:
        message = str(error)
        for remedy, option in _OPTIONS.items():
            message = message.replace(remedy, option)
        raise ValueError(message) from error


@_in_options()
def charge(
    n: Annotated[int, typer.Option(help="Number of spins N.")] = 4,
    g: Annotated[float, typer.Option(help="Coupling g of neighbors, in B.")] = 1.0,
    p: Annotated[float | None, typer.Option(help="Decay of the couplings g / |i-j|^p; 0 is all-to-all. [default: 1]")] = None,
    nn: Annotated[bool, typer.Option("--nn", help="Couple nearest neighbors only.")] = False,
    alpha: Annotated[float, typer.Option(help="Anisotropy: 0 Ising, 1 XXX.")] = 0.0,
    field: Annotated[float, typer.Option(help="Field B of the battery; the gap of a spin is 2B.")] = 1.0,
    omega: Annotated[float, typer.Option(help="Charging field omega, in B; its Rabi frequency is 2 omega.")] = 4.0,
    times: Annotated[str | None, typer.Option(help="Charging times, comma-separated, in 1/B.")] = None,
    horizon: Annotated[float | None, typer.Option(help="Longest charging time, in 1/B. [default: pi / omega]")] = None,
    points: Annotated[
        int | None,
        typer.Option(help="Number of times up to the horizon. [default: 8 in the shortest period of W(t), from 201 to 2001]"),
    ] = None,
    initial_state: Annotated[
        Start, typer.Option(help="ground is all down, and refused where that need not be the ground state.")
    ] = Start.ground,
    keep_field: Annotated[bool, typer.Option("--keep-field", help="Leave B on while charging.")] = False,
    interactions_off: Annotated[bool, typer.Option("--interactions-off", help="Switch g_ij off while charging, Eq. 18.")] = False,
    solver: Annotated[Method, typer.Option(help="How to evolve the state.")] = Method.auto,
    tol: Annotated[float | None, typer.Option(help="Tolerance of the solver.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the curve as CSV.")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw W(t) and P(t).")] = None,
) -> None:
    """Charge one battery: W(t) = <H_0>_t - <H_0>_0, P = W / t, and their maxima.

    H_0 = B sum_i Z_i - sum_{i<j} g_ij [Z_i Z_j + alpha (X_i X_j + Y_i Y_j)]. While charging, B is off and omega sum_i X_i is on.
    """
    if nn and p is not None:
        raise typer.BadParameter("--nn and --p exclude each other: nearest neighbors have no power law")
    check_png(png)
    check_directories(csv, png)
    battery = jb.SpinBattery(
        field,
        jb.nearest_neighbor(n, g) if nn else jb.power_law(n, g, 1.0 if p is None else p),
        alpha,
        initial_state=_STARTS[initial_state],
        field_while_charging=keep_field,
        interactions_while_charging=not interactions_off,
    )
    drive, method = jb.ConstantField(omega), _solver(solver, tol)
    curve = _charged(battery, drive, method, times, horizon, points)
    console = output()
    console.print(_curve(curve))
    if csv is not None:
        jb.paper.write_csv(curve_table(curve), csv)
    peak = None
    try:
        peak = print_peak(console, "Largest power", lambda: jb.max_power(battery, drive, solver=method))
    finally:
        if png is not None:
            jb.paper.write_png(jb.plots.charging(curve, peak), png)
    if (end := float(curve.times[-1])) > 0:
        title = f"Largest work up to t = {end:.6g}"
        print_peak(console, title, lambda: jb.max_work(battery, drive, horizon=end, solver=method))


def _solver(method: Method, tol: float | None) -> Solver | None:
    if method == "auto" and tol is not None:
        raise typer.BadParameter("--tol needs a --solver whose tolerance it is")
    return solver_named(method.value, tol)


def _charged(
    battery: jb.SpinBattery,
    drive: jb.ConstantField,
    method: Solver | None,
    times: str | None,
    horizon: float | None,
    points: int | None,
) -> jb.ChargingCurve:
    """The curve at the times that are listed, or evenly spaced; a warning where these may be too few."""
    if times is not None:
        listed = _listed(times, horizon, points)
        _warn_of_length(battery, drive, method, float(listed[-1]))
        return jb.charge(battery, drive, listed, solver=method)
    if points is not None and not 1 <= points <= MOST:
        raise typer.BadParameter(f"--points must be from 1 to {MOST}, but it is {points}")
    if horizon is None:
        horizon = float(np.pi / abs(drive.omega)) if drive.omega else 1.0
    check_positive("horizon", horizon, "give the longest charging time")
    _warn_of_length(battery, drive, method, horizon)
    periods = horizon * _highest_frequency(battery, drive, method, horizon) / (2 * np.pi)
    count = int(np.clip(np.nan_to_num(8 * periods), 200, 2000)) + 1 if points is None else points
    curve = jb.charge(battery, drive, jnp.linspace(0.0, horizon, count), solver=method)
    if count < 2 * periods:
        warn(f"W(t) may have {periods:.4g} periods, too many for {count} times; give more --points or a shorter --horizon.")
    return curve


def _warn_of_length(battery: jb.SpinBattery, drive: jb.ConstantField, method: Solver | None, end: float) -> None:
    """Says what a state vector takes that may be charged for far longer than was meant."""
    phase = rough_phase(battery, drive, end)
    if phase > _LONG and isinstance(method or default_solver(battery, drive, end), jb.StateVector):
        warn(f"up to t = {end:g} this takes about {phase:.1e} Hamiltonian applications; give shorter times if that is long.")


def _listed(times: str, horizon: float | None, points: int | None) -> Times:
    for name, value in (("--horizon", horizon), ("--points", points)):
        if value is not None:
            raise typer.BadParameter(f"--times and {name} exclude each other")
    try:
        return jnp.array([float(part) for part in times.split(",")])
    except ValueError as error:
        raise typer.BadParameter(f"--times must be numbers between commas, such as 0,0.1,0.2, but it is {times!r}") from error


def _highest_frequency(battery: jb.SpinBattery, drive: jb.ConstantField, method: Solver | None, horizon: float) -> float:
    """The largest angular frequency in W(t), as a search for maxima takes it."""
    solver = method or default_solver(battery, drive, horizon)
    bandwidth = eqx.filter_jit(lambda problem: solver.evolve(problem).limits().bandwidth)
    return float(bandwidth(solver.prepare(battery, drive, horizon)))


def curve_table(curve: jb.ChargingCurve) -> dict[str, np.ndarray]:
    """A charging curve by columns."""
    columns = {"time": curve.times, "work": curve.work, "power": curve.power}
    columns |= {f"magnetization_{axis}": curve.magnetization[:, i] for i, axis in enumerate("xyz")}
    columns["work_error"] = jnp.full_like(curve.times, curve.info.error)
    return {name: np.asarray(column) for name, column in columns.items()}


def _curve(curve: jb.ChargingCurve, rows: int = 12) -> Table:
    table = Table(
        "t (1/B)", "W (B)", "P (B^2)", "mean <Z>", caption=f"{curve.info.method}, error of W <= {float(curve.info.error):.1e} B"
    )
    for k in np.unique(np.linspace(0, len(curve.times) - 1, rows).round().astype(int)):
        values = (curve.times[k], curve.work[k], curve.power[k], curve.magnetization[k, 2])
        table.add_row(*(f"{round(float(value), 6) + 0.0:.6f}" for value in values))
    return table
