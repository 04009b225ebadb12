"""Datasets of sweeps: lines, heat maps, and exponents of growth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator
from xarray import DataArray, Dataset

from jaxbatt.plots.labels import label, symbol, value
from jaxbatt.plots.style import COLORS, GRAY, MARKERS, STYLE, axes, figure_of

_MARKED = 30
"""Points up to which each is marked."""


def lines(dataset: Dataset, y: str, x: str, *, hue: str | None = None, ax: Axes | None = None) -> Axes:
    """Draws a variable against an axis, one line for each value of another, with a band of one standard error where
    ``<y>_stderr`` is in the dataset. Points that are not valid are gaps.

    Args:
        dataset: of ``sweep`` or ``summarize``.
        y: the variable.
        x: the dimension along which it is drawn.
        hue: the dimension of the lines; more than six numbers get a color bar in place of a legend.
        ax: where to draw; a new figure of one column by default.

    Returns:
        The axes.

    Raises:
        ValueError: no such variable or dimension; a dimension that is neither x nor hue.
    """
    if x in dataset.coords and dataset[x].dims == (x,) and dataset[x].dtype.kind in "fiu":
        dataset = dataset.sortby(x)
    values, errors = _chosen(dataset, y, [x] if hue is None else [hue, x]), None
    if f"{y}_stderr" in dataset:
        errors = _chosen(dataset, f"{y}_stderr", [x] if hue is None else [hue, x])
    ax = axes()[0, 0] if ax is None else ax
    with matplotlib.rc_context(STYLE):
        for k, (look, row) in enumerate(_rows(dataset, values, hue, ax)):
            places = row[x].to_numpy()
            ax.plot(places, row, **look if values.sizes[x] <= _MARKED else look | {"marker": ""})
            if errors is not None:
                spread = (errors if hue is None else errors.isel({hue: k})).to_numpy()
                ax.fill_between(places, row - spread, row + spread, color=look["color"], alpha=0.25, linewidth=0)
        _axis_of(ax, dataset, x, "x")
        ax.set_ylabel(label(dataset, y))
    return ax


def heat_map(dataset: Dataset, z: str, x: str, y: str, ax: Axes | None = None) -> Axes:
    """Draws a variable over two axes as colors, with a color bar; cells that are not valid are gray.

    Args:
        dataset: of ``sweep`` or ``summarize``.
        z: the variable.
        x: the dimension to the right.
        y: the dimension upwards.
        ax: where to draw; a new figure of one column by default.

    Returns:
        The axes.

    Raises:
        ValueError: no such variable or dimension; a dimension that is neither x nor y.
    """
    values = _chosen(dataset, z, [y, x])
    values = values.sortby([name for name in (x, y) if values[name].dtype.kind in "fiu"])
    ax = axes()[0, 0] if ax is None else ax
    with matplotlib.rc_context(STYLE):
        ax.set_facecolor(GRAY)
        cells = np.ma.masked_invalid(values.to_numpy().astype(float))
        mesh = ax.pcolormesh(_edges(values[x]), _edges(values[y]), cells, cmap="viridis", rasterized=True)
        figure_of(ax).colorbar(mesh, ax=ax, label=label(dataset, z))
        for name, direction in ((x, "x"), (y, "y")):
            if values[name].dtype.kind not in "fiu":
                ticks = [str(text).replace("_", " ") for text in values[name].to_numpy()]
                ax.set(**{f"{direction}ticks": range(len(ticks)), f"{direction}ticklabels": ticks})
            _axis_of(ax, dataset, name, direction)
    return ax


def exponent(scaling: Dataset, ax: Axes | None = None, *, hue: str | None = None) -> Axes:
    """Draws local exponents, each with a bar over the window that it covers, and the exponent of the fit as a dashed line.

    Args:
        scaling: what ``scaling`` returned.
        ax: where to draw; a new figure of one column by default.
        hue: the dimension besides x, one color for each of its values.

    Returns:
        The axes.

    Raises:
        ValueError: a dimension that is neither x nor hue; a dataset that ``scaling`` did not return.
    """
    if "local_exponent" not in scaling:
        raise ValueError(f"`scaling` must be what jb.scaling returned, but it holds {', '.join(map(str, scaling)) or 'nothing'}.")
    x, y = scaling.attrs["x"], scaling.attrs["y"]
    values = _chosen(scaling, "local_exponent", [x] if hue is None else [hue, x])
    ax = axes()[0, 0] if ax is None else ax
    with matplotlib.rc_context(STYLE):
        for k, (look, row) in enumerate(_rows(scaling, values, hue, ax)):
            fit = scaling if hue is None else scaling.isel({hue: k})
            centers = row[x].to_numpy()
            reach = np.abs(np.stack([row["first"], row["last"]]) - centers)
            ax.errorbar(centers, row, xerr=reach, elinewidth=0.6, **{**look, "linestyle": "none"})
            dashed = ax.axhline(float(fit["exponent"]), color=look["color"], linestyle="--", linewidth=0.8)
            if hue is None:
                dashed.set_label(_fit_label(fit))
        _axis_of(ax, scaling, x, "x", whole=scaling["first"].dtype.kind in "iu")
        ax.set_ylabel(rf"Local exponent $d\ln {symbol(y)}\,/\,d\ln {symbol(x)}$")
        if hue is None:
            ax.legend()
    return ax


def _fit_label(scaling: Dataset) -> str:
    number, error = float(scaling["exponent"]), float(scaling["exponent_stderr"])
    shown = f"{number:.3f}" + ("" if np.isnan(error) else rf" \pm {error:.3f}")
    return f"one fit: ${shown}$"


def _chosen(dataset: Dataset, name: str, dims: Sequence[str]) -> DataArray:
    """A variable over exactly these dimensions, NaN where it is not valid."""
    if not isinstance(dataset, Dataset):
        raise ValueError(f"`dataset` must be an xarray.Dataset of `sweep` or `summarize`, but it is a {type(dataset).__name__}.")
    if name not in dataset.data_vars:
        raise ValueError(f"there is no variable {name!r}; the dataset has {', '.join(map(str, dataset.data_vars))}.")
    if len(set(dims)) < len(dims):
        raise ValueError(f"{dims[0]!r} is given twice; name another dimension.")
    values = dataset[name]
    for dim in dims:
        if dim not in values.dims or dim not in dataset.coords:
            there = ", ".join(str(d) for d in values.dims if d in dataset.coords) or "none"
            raise ValueError(f"{dim!r} is no dimension of {name!r} with values; those are: {there}.")
    left = [str(dim) for dim in values.dims if dim not in dims]
    if left:
        first = dataset[left[0]].to_numpy().tolist()[0]
        raise ValueError(
            f"{name!r} has more dimensions than are drawn: {', '.join(left)}; choose a value, "
            f"`dataset.sel({left[0]}={first!r})`, or summarize over it."
        )
    if values.dtype.kind == "f" and "valid" in dataset and set(dataset["valid"].dims) <= set(values.dims):
        values = values.where(dataset["valid"])
    return values.transpose(*dims)


def _rows(dataset: Dataset, values: DataArray, hue: str | None, ax: Axes) -> list[tuple[dict[str, Any], DataArray]]:
    """Each line with its look, and a legend or a color bar that says which is which."""
    if hue is None:
        return [({"color": COLORS[0], "marker": "o"}, values)]
    kinds = values[hue].to_numpy()
    rows = [values.isel({hue: k}) for k in range(len(kinds))]
    if len(kinds) > len(COLORS) and kinds.dtype.kind in "fiu":
        scale = LogNorm if _is_geometric(values[hue]) else Normalize
        shade = ScalarMappable(scale(kinds.min(), kinds.max()), "viridis")
        figure_of(ax).colorbar(shade, ax=ax, label=label(dataset, hue))
        return [({"color": shade.to_rgba(kind), "marker": "o"}, row) for kind, row in zip(kinds, rows, strict=True)]
    looks: list[dict[str, Any]] = [
        {"color": COLORS[k % len(COLORS)], "marker": MARKERS[k % len(MARKERS)]} for k in range(len(kinds))
    ]
    handles = [
        ax.plot([], [], **look, label=value(dataset, hue, kind))[0] for look, kind in zip(looks, kinds.tolist(), strict=True)
    ]
    ax.legend(handles=handles)
    return list(zip(looks, rows, strict=True))


def _axis_of(ax: Axes, dataset: Dataset, name: str, direction: str, whole: bool | None = None) -> None:
    """The label of an axis, ticks at whole numbers where all values are, and a logarithmic scale for a geometric sequence."""
    ax.set(**{f"{direction}label": label(dataset, name)})
    if _is_geometric(dataset[name]):
        ax.set(**{f"{direction}scale": "log"})
    if whole if whole is not None else dataset[name].dtype.kind in "iu":
        getattr(ax, f"{direction}axis").set_major_locator(MaxNLocator(integer=True))


def _edges(places: DataArray) -> np.ndarray:
    """The borders of cells around sorted numbers, half way between them (their logarithms, in a geometric sequence); strings are
    counted.
    """
    if _is_geometric(places):
        return np.exp(_edges(places.copy(data=np.log(places.to_numpy()))))
    numbers = places.to_numpy().astype(float) if places.dtype.kind in "fiu" else np.arange(float(places.size))
    if len(numbers) == 1:
        return numbers[0] + np.array([-0.5, 0.5])
    middle = (numbers[1:] + numbers[:-1]) / 2
    return np.concatenate([[1.5 * numbers[0] - 0.5 * numbers[1]], middle, [1.5 * numbers[-1] - 0.5 * numbers[-2]]])


def _is_geometric(places: DataArray) -> bool:
    """Whether positive numbers, at least three and not integers, grow by one factor, as those of ``logspace``."""
    if places.dtype.kind != "f" or places.size < 3 or not bool((places > 0).all()):
        return False
    factors = np.diff(np.log(np.sort(places.to_numpy())))
    return bool(np.allclose(factors, factors[0], rtol=1e-4, atol=0))
