"""``jaxbatt sweep`` and ``jaxbatt plan``: the grid of a study file."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from xarray import Dataset

import jaxbatt as jb
from jaxbatt._files import writable_directory
from jaxbatt.cli.terminal import output, warn
from jaxbatt.study import SweepStudy, read_sweep

_StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="TOML file with [axes], [battery], [protocol], [measure], ...")]


def sweep(
    study: _StudyFile,
    out: Annotated[Path, typer.Option(help="Directory for the files.")] = Path("sweep"),
    store: Annotated[Path | None, typer.Option(help="Zarr store. [default: OUT/sweep.zarr]", show_default=False)] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the result as OUT/sweep.png, as [plot] says.")] = False,
) -> None:
    """Measure batteries on a grid of parameters: greatest power, greatest work, whole curves, and gradients.

    Writes every finished chunk to a Zarr store at once; a run that was killed goes on there when it is called again. At the end
    it writes OUT/sweep.csv (and sweep.nc with [output] netcdf = true).

    A study file: [axes] n_spins = [4, 6, 8], anisotropy = {linspace = [-1.0, 1.0, 21]}; [protocol] omega = 4.0;
    [measure] quantities = ["max_power"], gradients = ["omega"]. Others: [battery], [disorder], [solver], [run], [output], [plot].
    """
    wanted = read_sweep(study)
    drawing = drawing_of(wanted) if plot else {}
    writable_directory(out)
    place = out / "sweep.zarr" if store is None else store
    point = wanted.point
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        data = jb.sweep(
            point,
            wanted.axes,
            batch_size=wanted.batch_size,
            store=place,
            dims=point.dims,
            coords=point.coords,
            units=point.units,
            attrs=point.attrs,
        )
    for warning in caught:
        warn(str(warning.message))
    files = [place, *_write(data, out, wanted.formats)]
    if plot:
        files.append(out / "sweep.png")
        jb.paper.write_png(_drawn(data, **drawing), files[-1])
    console = output()
    console.print(_ranges(data))
    console.print("Wrote " + ", ".join(str(file) for file in files), highlight=False, soft_wrap=True)


def plan(study: _StudyFile) -> None:
    """Say what a sweep takes before it is run: points, memory, Hamiltonian applications and time.

    Everything is compiled, and a few points, evenly spread over the grid, are computed to measure the time.
    """
    wanted = read_sweep(study)
    found = jb.plan(wanted.point, wanted.axes, batch_size=wanted.batch_size)
    table = Table("axes compiled for", "points", "at a time", "arrays", "H applications", "time")
    for part in found.parts:
        name = ", ".join(f"{key} = {value}" for key, value in part.static.items()) or "-"
        numbers = (f"{part.points}", f"{part.together}", _size(part.memory), _count(part.applications), _time(part.seconds))
        table.add_row(name, *numbers)
    console = output()
    console.print(table)
    console.print(
        f"{found.points} points in {found.chunks} chunks: about {_time(found.seconds)} without compiling; {_size(found.results)} "
        f"of results, {_size(found.memory)} of arrays at the peak besides {_size(found.process)} of this process.",
        highlight=False,
        soft_wrap=True,
    )


def _write(data: Dataset, out: Path, formats: tuple[str, ...]) -> list[Path]:
    """A CSV file for each set of dimensions, and a NetCDF file."""
    files = []
    if "csv" in formats:
        groups: dict[tuple[Any, ...], list[str]] = {}
        for name, variable in data.data_vars.items():
            groups.setdefault(variable.dims, []).append(str(name))
        grid = data["valid"].dims
        for dims, names in groups.items():
            extra = "_".join(str(dim) for dim in dims if dim not in grid)
            files.append(out / (f"sweep_{extra}.csv" if extra else "sweep.csv"))
            frame = data[names].to_dataframe().reset_index()
            jb.paper.write_csv({str(name): frame[name].to_numpy() for name in frame}, files[-1])
    if "netcdf" in formats:
        files.append(out / "sweep.nc")
        data.to_netcdf(files[-1])
    return files


def _ranges(data: Dataset) -> Table:
    """Least and greatest value of every variable of numbers, of the valid points."""
    table = Table(
        "variable", "unit", "least", "greatest", caption=f"{int(data['valid'].sum())} of {data['valid'].size} points valid"
    )
    for name, variable in data.data_vars.items():
        if variable.dtype.kind == "f":
            found = variable.where(data["valid"])
            ends = (float(found.min()), float(found.max()))
            table.add_row(str(name), str(variable.attrs.get("units", "")), *(f"{end:.8g}" for end in ends))
    return table


def drawing_of(wanted: SweepStudy) -> dict[str, Any]:
    """What [plot] says, or: the first quantity against the longest axis, one line for each value of another."""
    lengths = {name: len(values) for name, values in wanted.axes.items() if name != "seed" and len(values) > 1}
    chosen = dict(wanted.plot)
    if not lengths:
        raise ValueError("--plot needs an axis of more than one value, besides seed.")
    numbers = wanted.point.numbers
    if not numbers:
        raise ValueError("--plot draws numbers over the axes; add max_power or max_work to [measure] quantities.")
    y = chosen["y"] or numbers[0]
    if y not in numbers:
        raise ValueError(f"[plot] y must be one of {', '.join(numbers)}, but it is {y!r}.")
    _check_drawing(chosen, wanted, list(lengths))
    free = [name for name in lengths if name not in (chosen["hue"], chosen["heat"])]
    real = [name for name in free if wanted.axes[name].dtype.kind != "U"]
    x = chosen["x"] or max(real or free, key=lambda name: lengths[name])
    others = [name for name in free if name != x]
    if chosen["heat"] is None and chosen["hue"] is None and others:
        chosen["hue"] = others.pop(0)
    if others:
        raise ValueError(f"--plot draws two axes, but {others[0]} is a third; draw a part of the store with jaxbatt.plots.")
    return {"y": y, "x": x, "hue": chosen["hue"], "heat": chosen["heat"]}


def _check_drawing(chosen: dict[str, str | None], wanted: SweepStudy, drawn: list[str]) -> None:
    """Refuses axes in [plot] that cannot be drawn, or not together; ``drawn`` are those that can."""
    given = {key: name for key in ("x", "hue", "heat") if (name := chosen[key]) is not None}
    for key, name in given.items():
        if name not in wanted.axes:
            raise ValueError(f"[plot] {key} must be one of the axes {', '.join(wanted.axes)}, but it is {name!r}.")
        if name not in drawn:
            why = "of which the mean is drawn" if name == "seed" else "which has one value only"
            raise ValueError(f"[plot] {key} must be one of {', '.join(drawn)}, but it is {name!r}, {why}.")
    if "hue" in given and "heat" in given:
        raise ValueError("[plot] hue and heat exclude each other: lines, or a heat map; remove one.")
    for key in ("hue", "heat"):
        if key in given and (given[key] == given.get("x") or len(drawn) == 1):
            raise ValueError(f"[plot] {key} must be another axis than x, but it is {given[key]!r}; remove it.")


def _drawn(data: Dataset, y: str, x: str, hue: str | None, heat: str | None) -> Any:
    if "seed" in data.dims:
        data = jb.summarize(data, over="seed")
    data = data.squeeze(drop=True)
    ax = jb.plots.heat_map(data, y, x, heat) if heat is not None else jb.plots.lines(data, y, x, hue=hue)
    return jb.plots.figure_of(ax)


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**29 else f"{count / 2**20:.2f} MiB"


def _count(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.4g}"


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    hours, rest = divmod(seconds, 3600)
    return f"{int(hours)} h {rest / 60:.0f} min" if hours else f"{seconds:.3g} s"
