"""The command line: reproduce the paper, charge one battery, say what is installed."""

from __future__ import annotations

import contextlib
import enum
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import jaxbatt as jb
from jaxbatt._checks import available_memory, check_positive, total_memory
from jaxbatt._types import InitialState

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="jaxbatt: many-body quantum batteries, charged exactly. Units: hbar = 1, energies in B, times in 1/B, powers in B^2.",
)

# typer exports only this one of the errors of its option parser; they all share its base.
_UsageError: Any = typer.BadParameter.__mro__[1]


class Target(enum.StrEnum):
    """What can be reproduced."""

    fig2 = "fig2"
    fig3 = "fig3"
    fig4 = "fig4"
    fig5 = "fig5"
    fig6 = "fig6"
    claims = "claims"
    all = "all"


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code: 2 for bad input, 1 for a failing disk, 130 for Ctrl-C."""
    try:
        code = app(arguments, standalone_mode=False, prog_name="jaxbatt")
    except _UsageError as error:
        return _fail(error.format_message(), 2)
    except ValueError as error:
        return _fail(str(error), 2)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        return _fail(f"{error.strerror or error}{place}; files written before are complete.", 1)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    if code == 130:
        return _fail("interrupted; files written before are complete.", 130)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"jaxbatt: {' '.join(message.split())}", file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def _start(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def reproduce(
    targets: Annotated[
        list[Target] | None, typer.Argument(help="What to reproduce; everything by default.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory for the files.")] = Path("paper"),
) -> None:
    """Reproduce Le et al., PRA 97, 022106 (2018): figN.png, figN.csv, claims.csv.

    Battery H_0 = B sum_i Z_i - sum_{i<j} g_ij [Z_i Z_j + alpha (X_i X_j + Y_i Y_j)], charged by omega sum_i X_i from all
    spins down. The claims come with the paper's statement, the measured numbers, the verdict and the criterion it follows from.
    """
    # OpenBLAS is loaded at the first diagonalization. Its threads cost up to a hundred times what they gain on matrices of 256
    # rows where another process has a core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chosen = [target.value for target in targets or [Target.all]]
    wanted = [name for name in jb.paper.TARGETS if name in chosen or "all" in chosen]
    with _progress() as report:
        outcome = jb.paper.reproduce(wanted, out, report=report)
    console = _console()
    if outcome.claims:
        console.print(_claims(outcome.tables["claims"]))
    if "fig4" in outcome.tables:
        console.print("Fig. 4: " + jb.paper.fig4_stops(outcome.tables["fig4"]), highlight=False)
    console.print("Wrote " + ", ".join(str(file) for file in outcome.files), highlight=False, soft_wrap=True)


@app.command()
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
    points: Annotated[int, typer.Option(help="Number of times up to the horizon.")] = 201,
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
    _check_directories(csv, png)
    battery = jb.SpinBattery(
        field,
        jb.nearest_neighbor(n, g) if nn else jb.power_law(n, g, 1.0 if p is None else p),
        alpha,
        initial_state=_STARTS[initial_state],
        field_while_charging=keep_field,
        interactions_while_charging=not interactions_off,
    )
    drive, method = jb.ConstantField(omega), _solver(solver, tol)
    curve = jb.charge(battery, drive, _times(times, horizon, points, omega), solver=method)
    console = _console()
    console.print(_curve(curve))
    if csv is not None:
        jb.paper.write_csv(_columns(curve), csv)
    peak = jb.max_power(battery, drive, solver=method)
    _print_peak(console, "Largest power", peak)
    if png is not None:
        jb.paper.write_png(jb.plots.charging(curve, peak), png)
    end = float(curve.times[-1])
    if end > 0:
        _print_peak(console, f"Largest work up to t = {end:.6g}", jb.max_work(battery, drive, horizon=end, solver=method))


@app.command()
def info() -> None:
    """Say which devices, precision and versions are in use, and how much memory there is."""
    table = Table(show_header=False, box=None)
    table.add_row("jaxbatt", jb.__version__)
    table.add_row("Python", platform.python_version())
    for package in ("jax", "jaxlib", "equinox", "diffrax", "numpy"):
        table.add_row(package, importlib.metadata.version(package))
    for device in jax.devices():
        table.add_row("device", f"{device.device_kind} ({device.platform}:{device.id})")
    table.add_row("precision", f"{jnp.zeros(()).dtype}, {jnp.zeros((), complex).dtype}")
    table.add_row("memory", f"{available_memory() / 2**30:.1f} GiB free of {total_memory() / 2**30:.1f} GiB")
    _console().print(table)


def _console() -> Console:
    """Standard output; 120 columns where it is no terminal and so has no width."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on the terminal; silent where standard error is none."""
    columns = (TextColumn("{task.description:32}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda step, done, total: progress.update(task, description=step, completed=done, total=total)


def _check_directories(*paths: Path | None) -> None:
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise typer.BadParameter(f"there is no directory {str(path.parent)!r} to write {path.name} to")


def _solver(method: Method, tol: float | None) -> Any:
    if method is Method.auto:
        if tol is not None:
            raise typer.BadParameter("--tol needs a --solver whose tolerance it is")
        return None
    options: dict[str, Any] = {} if tol is None else {"tol": tol}
    match method:
        case Method.spectral:
            return jb.Spectral(**options)
        case Method.mean_field:
            return jb.MeanField(**options)
        case Method.collective:
            return jb.Collective(jb.Krylov(**options))
    return jb.StateVector({"chebyshev": jb.Chebyshev, "krylov": jb.Krylov, "taylor": jb.Taylor}[method.value](**options))


def _times(times: str | None, horizon: float | None, points: int, omega: float) -> Any:
    if times is not None:
        if horizon is not None:
            raise typer.BadParameter("--times and --horizon exclude each other")
        try:
            return jnp.array([float(part) for part in times.split(",")])
        except ValueError as error:
            raise typer.BadParameter(f"--times must be numbers between commas, such as 0,0.1,0.2, but it is {times!r}") from error
    if points < 1:
        raise typer.BadParameter(f"--points must be at least 1, but it is {points}")
    if horizon is not None:
        check_positive("horizon", horizon, "give the longest charging time")
    else:
        horizon = np.pi / abs(omega) if omega else 1.0
    return jnp.linspace(0.0, horizon, points)


def _columns(curve: jb.ChargingCurve) -> dict[str, np.ndarray]:
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


def _print_peak(console: Console, title: str, peak: jb.Peak) -> None:
    numbers = f"P = {float(peak.power):.10g} B^2 at T = {float(peak.time):.10g} / B, W = {float(peak.work):.10g} B"
    console.print(
        f"{title}: {numbers} (error of W <= {float(peak.info.error):.1e} B; {peak.info.method})", highlight=False, soft_wrap=True
    )


def _claims(claims: Any) -> Table:
    table = Table("claim", "paper", "measured", "verdict", title="Claims of Le et al., PRA 97, 022106 (2018)", show_lines=True)
    for row in zip(*(claims[name] for name in ("claim", "paper", "measured", "verdict")), strict=True):
        table.add_row(*(str(cell) for cell in row))
    return table
