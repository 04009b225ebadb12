"""The arrays of a sweep: what the function returns, over the grid, and how the grid is cut into chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxbatt.sweeps.axes import Grid
from jaxbatt.sweeps.programs import LANES, Programs
from jaxbatt.sweeps.records import units_of

_CHUNKS, _CHUNK_POINTS = 64, (16, 1024)
"""With batch_size="auto" on a CPU: about so many chunks for each combination of static values, of so many points."""


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
        units: of axes and coordinates, where they are not the usual ones.
    """

    grid: Grid
    variables: dict[str, Variable]
    coords: dict[str, np.ndarray]
    units: Mapping[str, str]

    @classmethod
    def of(cls, grid: Grid, variables: dict[str, Variable], coords: Mapping[str, Any], units: Mapping[str, str]) -> Layout:
        """Checks that dimensions, coordinates and units fit each other."""
        lengths = _lengths(grid, variables)
        values = {name: np.asarray(column) for name, column in coords.items()}
        for name, column in values.items():
            if column.shape != (lengths.get(name),):
                raise ValueError(
                    f"`coords` must give {lengths.get(name, 'no')} values for {name!r}, but their shape is {column.shape}; the "
                    f"dimensions are {', '.join(lengths) or 'those of the grid only'}."
                )
        known = [*variables, *grid.names, *values]
        for name in units:
            if name not in known:
                raise ValueError(f"`units` names {name!r}, but there is no such array; there are {', '.join(known)}.")
        return cls(grid, variables, values, units)

    @property
    def coordinates(self) -> dict[str, tuple[str, np.ndarray, dict[str, Any]]]:
        """Axes and other coordinates, as a dataset takes them."""
        arrays = [*self.grid.axes, *self.coords.items()]
        return {name: (name, values, _units(name, self.units)) for name, values in arrays}


def points_of(batch_size: int | Literal["auto"], grid: Grid, devices: int = 1) -> int:
    """Points of a chunk, which so many devices compute together."""
    if batch_size == "auto":
        # A CPU computes a chunk on each core; another device computes one chunk at a time, which should fill it.
        each = int(np.clip(grid.traced().size // _CHUNKS, *_CHUNK_POINTS)) if jax.default_backend() == "cpu" else LANES
        return each * devices
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
            name: Variable(_dtype(name, leaf.dtype), _dims(name, leaf.shape, dims), leaf.shape, _units(name, units))
            for name, leaf in programs.of(static).outputs.items()
        }
        first = first or found
        different = [name for name in first | found if first.get(name) != found.get(name)]
        if different:
            shapes = [str(v[different[0]].shape) if different[0] in v else "absent" for v in (first, found)]
            raise ValueError(
                f"{different[0]!r} is {shapes[0]} at first and {shapes[1]} at {static}; return the same arrays for all of them."
            )
    for name in dims:
        if name not in first:
            raise ValueError(f"`dims` names {name!r}, but the function returns {', '.join(first)}.")
    clashing = [name for name in [*first, "valid"] if name in grid.names]
    if clashing:
        raise ValueError(f"the function returns {clashing[0]!r}, which is an axis, too; rename one.")
    if "valid" in first and first["valid"] != Variable(np.dtype(bool), (), (), {}):
        raise ValueError("the function returns `valid`, which must be one bool; rename it.")
    return first | {"valid": Variable(np.dtype(bool), (), (), {})}


def _dtype(name: str, dtype: Any) -> np.dtype:
    """Of a variable that a dataset and a store can hold."""
    if "/" in name:
        raise ValueError(f"the function returns {name!r}; a name must not contain a slash.")
    if jnp.issubdtype(dtype, jax.dtypes.extended) or np.dtype(dtype).kind not in set("biufc"):
        raise ValueError(f"the function returns {name!r} with dtype {dtype}, which a dataset cannot hold; convert it.")
    return np.dtype(dtype)


def _lengths(grid: Grid, variables: dict[str, Variable]) -> dict[str, int]:
    """The length of each dimension besides those of the grid."""
    lengths: dict[str, int] = {}
    for name, v in variables.items():
        for dim, length in zip(v.dims, v.shape, strict=True):
            if dim in variables or dim in grid.names or v.dims.count(dim) > 1:
                raise ValueError(
                    f"the dimension {dim!r} of {name!r} is the name of a variable, an axis or another dimension, too; name it "
                    "differently in `dims`."
                )
            if lengths.setdefault(dim, length) != length:
                raise ValueError(
                    f"the dimension {dim!r} has {length} values in {name!r} and {lengths[dim]} in another variable; name it "
                    "differently in `dims`."
                )
    return lengths


def _dims(name: str, shape: tuple[int, ...], dims: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if name not in dims:
        return tuple(f"{name}_{k}" for k in range(len(shape)))
    if len(dims[name]) != len(shape) or isinstance(dims[name], str):
        raise ValueError(f"`dims` must name {len(shape)} dimensions of {name!r}, but it is {dims[name]!r}.")
    return tuple(dims[name])


def _units(name: str, units: Mapping[str, str]) -> dict[str, Any]:
    return {"units": units[name]} if name in units else units_of(name)
