"""Pictures, from nothing but a result file: datasets for ``jaxbatt.plots.lines``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from xarray import Dataset

from jaxbatt import plots
from jaxbatt.bench.charge import REFERENCE, SYSTEMS
from jaxbatt.bench.settings import Row

_LABELS = {name: system.label for name, system in SYSTEMS.items()}


def picture(result: dict[str, Any]) -> Figure | None:
    """The picture of a result file; none for suites without one, or where nothing was measured."""
    draw = _PICTURES.get(result["suite"])
    return draw(result["rows"]) if draw is not None and any("min" in row for row in result["rows"]) else None


def _charge(rows: list[Row]) -> Figure:
    """Seconds against N by system: to the first curve, and of further runs."""
    rows = [row for row in rows if row["system"] != REFERENCE]
    top, bottom = plots.axes(2, 1, height=5.0, sharex=True)[:, 0]
    _drawn(top, ((row["system"], row["n"], row["build"] + row["first"]) for row in rows if "min" in row), "First curve", "s")
    _drawn(bottom, ((row["system"], row["n"], row["min"]) for row in rows if "min" in row), "Further curves", "s", legend=False)
    top.set(yscale="log", xlabel="")
    bottom.set_yscale("log")
    return plots.figure_of(top)


def _apply(rows: list[Row]) -> Figure:
    """How much of the bound by memory is reached, and what the cost rule loses, against N; a real state in float64."""
    real = [row for row in rows if row.get("rule") and "min" in row and (row["state"], row["dtype"]) == ("real", "float64")]
    top, bottom = plots.axes(2, 1, height=4.5, sharex=True)[:, 0]
    names = [rf"{row['chain']}, $\alpha={row['alpha']:g}$" for row in real]
    _drawn(top, ((name, row["n"], row["fraction"]) for name, row in zip(names, real, strict=True)), "Bytes per second / copy")
    slower = ((name, row["n"], row["over_best"]) for name, row in zip(names, real, strict=True))
    _drawn(bottom, slower, "Time by the rule / best", legend=False)
    top.axhline(1.0, color=plots.style.GRAY, linestyle=":", linewidth=0.8)
    top.set(xlabel="", ylim=(0, None))
    bottom.set_ylim(0.9, None)
    return plots.figure_of(top)


def _gradient(rows: list[Row]) -> Figure:
    """Value and gradient with respect to omega over the value, in time and memory, against N; alpha = 0.5, a constant field."""
    constant = [row for row in rows if row.get("what") == "omega" and "min" in row and row["pieces"] == 1 and row["alpha"] == 0.5]
    top, bottom = plots.axes(2, 1, height=4.5, sharex=True)[:, 0]
    _drawn(top, ((row["system"], row["n"], row["ratio"]) for row in constant), "Gradient / value")
    vectors = ((row["system"], row["n"], row["state_vectors"]) for row in constant)
    _drawn(bottom, vectors, "Memory", "state vectors", legend=False)
    top.set(xlabel="", ylim=(0, None))
    bottom.set_yscale("log")
    return plots.figure_of(top)


_PICTURES: dict[str, Callable[[list[Row]], Figure]] = {"charge": _charge, "apply": _apply, "gradient": _gradient}


def _drawn(ax: Axes, points: Iterable[tuple[str, int, float]], name: str, units: str = "", *, legend: bool = True) -> None:
    """One line for each system; sizes at which it was not measured are gaps."""
    known = {(_LABELS.get(system, system), n): value for system, n, value in points}
    systems, sizes = list(dict.fromkeys(system for system, _ in known)), sorted({n for _, n in known})
    values = np.array([[known.get((system, n), np.nan) for n in sizes] for system in systems])
    data = Dataset({name: (("system", "n_spins"), values)}, {"system": systems, "n_spins": sizes})
    data[name].attrs["units"] = rf"\mathrm{{{units}}}".replace(" ", "~") if units else ""
    plots.lines(data, name, "n_spins", hue="system", ax=ax)
    box = ax.get_legend()
    if box is not None:
        box.remove()
        if legend:  # above, where no line is
            with matplotlib.rc_context(plots.STYLE):
                handles = [handle for handle in box.legend_handles if handle is not None]
                ax.legend(handles, systems, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
