"""The arrays of a sweep: what the function returns, over the grid, and how the grid is cut into chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxbatt.sweeps.axes import Grid, is_static
from jaxbatt.sweeps.programs import Programs
from jaxbatt.sweeps.records import units_of

_CHUNKS, _CHUNK_POINTS = 64, (16, 1024)
"""With batch_size="auto": about so many chunks for each combination of static values, of so many points."""


class Variable(NamedTuple):
    """An array over the grid.

    Attributes:
        dtype: of its values.
        dims: names of its dimensions after those of the grid.
        shape: their lengths.
        attrs: its units.
    """

    dtype: np.dtype
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    attrs: dict[str, Any]

    @property
    def blank(self) -> Any:
        """What stands where nothing was computed."""
        return np.zeros((), self.dtype).item() if self.dtype.kind in "biu" else np.nan


class Layout(NamedTuple):
    """All arrays of a sweep.

    Attributes:
        grid: the axes.
        variables: the arrays over the grid.
        coords: values along other dimensions.
    """

    grid: Grid
    variables: dict[str, Variable]
    coords: dict[str, np.ndarray]

    @classmethod
    def of(cls, grid: Grid, variables: dict[str, Variable], coords: Mapping[str, Any]) -> Layout:
        """Checks that the coordinates fit the dimensions."""
        lengths = {name: length for v in variables.values() for name, length in zip(v.dims, v.shape, strict=True)}
        values = {name: np.asarray(column) for name, column in coords.items()}
        for name, column in values.items():
            if column.shape != (lengths.get(name),):
                raise ValueError(
                    f"`coords` must give {lengths.get(name, 'no')} values for {name!r}, but their shape is {column.shape}; the "
                    f"dimensions are {', '.join(lengths) or 'those of the grid only'}."
                )
        return cls(grid, variables, values)

    @property
    def coordinates(self) -> dict[str, tuple[str, np.ndarray, dict[str, Any]]]:
        """Axes and other coordinates, as a dataset takes them."""
        return {name: (name, values, units_of(name)) for name, values in [*self.grid.axes, *self.coords.items()]}


def points_of(batch_size: int | Literal["auto"], grid: Grid) -> int:
    """Points of a chunk."""
    if batch_size == "auto":
        traced = math.prod(len(values) for _, values in grid.axes if not is_static(values))
        return int(np.clip(traced // _CHUNKS, *_CHUNK_POINTS))
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f'`batch_size` must be "auto" or an integer of at least 1, but it is {batch_size!r}.')
    return int(batch_size)


def variables_of(
    grid: Grid, programs: Programs, dims: Mapping[str, Sequence[str]], units: Mapping[str, str]
) -> dict[str, Variable]:
    """What the function returns, the same for all static values: every one is traced here, before any work."""
    first: dict[str, Variable] = {}
    for static in grid.statics():
        found = {
            name: Variable(np.dtype(leaf.dtype), _dims(name, leaf.shape, dims), leaf.shape, _units(name, units))
            for name, leaf in programs.of(static).outputs.items()
        }
        first = first or found
        different = [name for name in first | found if first.get(name) != found.get(name)]
        if different:
            shapes = [str(v[different[0]].shape) if different[0] in v else "absent" for v in (first, found)]
            raise ValueError(
                f"{different[0]!r} is {shapes[0]} at first and {shapes[1]} at {static}; return the same arrays for all of them."
            )
    for name in [*dims, *units]:
        if name not in first and name not in grid.names:
            raise ValueError(f"there is no variable {name!r}; the function returns {', '.join(first)}.")
    clashing = [name for name in [*first, "valid"] if name in grid.names]
    if clashing:
        raise ValueError(f"the function returns {clashing[0]!r}, which is an axis, too; rename one.")
    if "valid" in first and first["valid"] != Variable(np.dtype(bool), (), (), {}):
        raise ValueError("the function returns `valid`, which must be one bool; rename it.")
    return first | {"valid": Variable(np.dtype(bool), (), (), {})}


def _dims(name: str, shape: tuple[int, ...], dims: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if name not in dims:
        return tuple(f"{name}_{k}" for k in range(len(shape)))
    if len(dims[name]) != len(shape) or isinstance(dims[name], str):
        raise ValueError(f"`dims` must name {len(shape)} dimensions of {name!r}, but it is {dims[name]!r}.")
    return tuple(dims[name])


def _units(name: str, units: Mapping[str, str]) -> dict[str, Any]:
    return {"units": units[name]} if name in units else units_of(name)
