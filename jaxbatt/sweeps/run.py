"""``sweep``: a function on a grid, chunk by chunk, into a labelled dataset."""

from __future__ import annotations

import concurrent.futures as futures
import contextlib
import hashlib
import importlib.metadata
import os
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxbatt._checks import check_flags
from jaxbatt._progress import progress_bar
from jaxbatt._version import __version__
from jaxbatt.sweeps.axes import Grid
from jaxbatt.sweeps.layout import Layout, points_of, variables_of
from jaxbatt.sweeps.programs import Programs
from jaxbatt.sweeps.store import Memory, Sink, Store
from jaxbatt.sweeps.workers import Workers, own_mesh, size_of

_NAMED = 20
"""Points without a result that are named in the attributes."""


def sweep(
    fn: Callable[..., Any],
    axes: Mapping[str, ArrayLike],
    *,
    batch_size: int | Literal["auto"] = "auto",
    store: str | os.PathLike[str] | None = None,
    executor: futures.Executor | None = None,
    mesh: Mesh | None = None,
    progress: bool = True,
    dims: Mapping[str, Sequence[str]] | None = None,
    coords: Mapping[str, ArrayLike] | None = None,
    units: Mapping[str, str] | None = None,
    attrs: Mapping[str, str | float] | None = None,
) -> xarray.Dataset:
    """Evaluates a function on the product of all axes: compiled, in chunks, with names and units.

    Args:
        fn: takes one value of each axis by name and returns a number, a NamedTuple, a dict or any pytree of arrays (such as
            the ``Peak`` of ``max_power``); JAX must be able to trace it.
        axes: the values of each axis, in the order of the dimensions. Real numbers and :func:`seeds` are traced: the function
            is compiled once for all of them. Integers (numbers of spins), booleans and strings are static: it is compiled for
            each of their values.
        batch_size: points in a chunk. A chunk is computed by one worker, written at once, and lost as a whole where the
            process is killed. The result does not depend on it (gradients of ``MeanField``: but for the last digit). Where the
            device runs out of memory, fewer points are computed at a time from then on, and last digits may differ.
        store: path of a Zarr store. Every finished chunk is on disk at once; a sweep that was killed and is called again
            computes only what is missing, and its dataset is the same to the last bit.
        executor: where chunks are computed, any ``concurrent.futures.Executor`` that does not fork this process; by default
            its threads.
        mesh: a ``jax.sharding.Mesh`` with one axis of devices of this process, over which the points of every chunk are spread
            evenly; the results are the same to rounding, not to the last bit. On a CPU a device computes up to 16 points at a
            time, else up to 4096: a ``batch_size`` below that leaves devices without work.
        progress: show a bar on a terminal.
        dims: names of the dimensions of variables that are no scalars, by variable: {"work": ("time",)}; by default
            "work_0", "work_1", ...
        coords: values along those dimensions: {"time": times}.
        units: units of variables, axes and coordinates; those of jaxbatt's own records are known.
        attrs: attributes of the dataset, numbers or strings: what the function holds fixed, {"omega": 4.0, "seed": 7}. They do
            not tell studies apart, for the function does.

    Returns:
        A dataset with a variable over the grid for each array that ``fn`` returns: a field of a field is called
        ``outer_inner``, a bare number ``value``. The variable ``valid`` is False for points without a result: one that is NaN,
        or a maximum that is not certain. The attributes say what it was computed with.

    Raises:
        ValueError: axes that do not fit the function; a function that refuses its values; attributes that a file cannot hold;
            a store of another study, or of a function that calls Python (``jax.pure_callback``, ``io_callback``); a mesh that is
            none, has several axes or devices of another process, or comes with an executor.
        OSError: the store cannot be written; chunks before are kept.

    Warns:
        RuntimeWarning: points are not valid; some are named.

    Example:
        >>> def fn(n, alpha, omega):
        ...     return max_power(SpinBattery(1.0, power_law(n, 1.0, 1.0), alpha), ConstantField(omega))
        >>> data = sweep(fn, {"n": [4, 6, 8], "alpha": jnp.linspace(-1, 1, 21), "omega": jnp.array([1.0, 4.0])})
        >>> data.power.sel(n=8, omega=4.0).max("alpha")
    """
    check_flags(progress=progress)
    grid = Grid.of(fn, axes)
    mesh = own_mesh(mesh, executor)
    programs = Programs(fn, grid.traced(), mesh)
    variables = variables_of(grid, programs, dims or {}, units or {})
    layout = Layout.of(grid, variables, coords or {}, units or {})
    fixed = {name: value.item() if isinstance(value, np.generic) else value for name, value in (attrs or {}).items()}
    known = _checked(fixed, _provenance(grid, programs))
    devices = 1 if mesh is None else mesh.size
    sink = _sink(store, layout, grid.block_shape(points_of(batch_size, grid, devices)), programs, devices, fixed)
    workers = Workers(executor, programs, fn, grid)
    blocks = grid.blocks(sink.block)
    missing = [number for number, done in enumerate(sink.finished()) if not done]
    points = {number: size_of(blocks[number]) for number in missing}
    with progress_bar("points", quiet=not progress) as report:
        done = grid.size - sum(points.values())
        report("sweep", done, grid.size)
        with contextlib.closing(workers.results(missing, blocks)) as results:
            for number, values in results:
                sink.write(number, blocks[number], values)
                done += points[number]
                report("sweep", done, grid.size)
    data = sink.dataset()
    notes = known | _invalid(grid, data)
    sink.annotate(notes)
    return data.assign_attrs(notes)


def _sink(
    store: str | os.PathLike[str] | None,
    layout: Layout,
    block: tuple[int, ...],
    programs: Programs,
    devices: int,
    fixed: Mapping[str, str | float],
) -> Sink:
    if store is None:
        return Memory(layout, block)
    for static in layout.grid.statics():
        for name in programs.of(static).callbacks:
            raise ValueError(
                f"`store` cannot see what {name!r}, a Python function in a callback, computes, and would go on with the results "
                "of another one; write it in JAX, or leave out `store`."
            )
    described = {f"variable {name}": str(variable) for name, variable in layout.variables.items()}
    described |= {f"coordinate {name}": _described(values) for name, values in layout.coords.items()}
    # The last bits depend on it.
    spread = {"devices": str(devices)} if devices > 1 else {}
    return Store(store, layout, block, _study(layout.grid, programs) | described | _versions() | spread, fixed)


def _versions() -> dict[str, str]:
    """What the bits of a result may depend on besides the study."""
    packages = {"jaxbatt": __version__} | {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    device = jax.devices()[0]
    return packages | {"platform": device.platform, "device": device.device_kind, "dtype": jnp.zeros(()).dtype.name}


def _described(values: np.ndarray) -> str:
    digest = hashlib.sha256(values.tobytes()).hexdigest()[:12]
    return f"{len(values)} values from {values[0].item()} to {values[-1].item()} ({digest})"


def _study(grid: Grid, programs: Programs) -> dict[str, str]:
    """What decides the result, by name."""
    axes = {"axes": ", ".join(grid.names)} | {f"axis {name}": _described(values) for name, values in grid.axes}
    functions = {f"function at {static}" if static else "function": programs.of(static).digest for static in grid.statics()}
    return axes | functions


def _provenance(grid: Grid, programs: Programs) -> dict[str, Any]:
    """Attributes that say what a dataset was computed with."""
    solvers = sorted({solver for static in grid.statics() for solver in programs.of(static).solvers})
    study = hashlib.sha256(str(_study(grid, programs)).encode()).hexdigest()[:16]
    return _versions() | {"python": platform.python_version(), "solvers": ", ".join(solvers), "study": study}


def _checked(attrs: Mapping[str, str | float], provenance: dict[str, Any]) -> dict[str, Any]:
    """All attributes that are known before any work, each a string or a number of the kinds that NetCDF and Zarr have."""
    for name, value in attrs.items():
        if name in provenance or name.startswith(("jaxbatt", "invalid")):
            raise ValueError(f"`attrs` names {name!r}, which the sweep itself gives; name it differently.")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)
        if not isinstance(value, str) and (not is_number or (isinstance(value, int) and abs(value) >= 2**31)):
            raise ValueError(
                f"`attrs` must be strings, finite numbers and integers below 2^31, but {name!r} is {value!r}; make it a string."
            )
    return {**attrs, **provenance}


def _invalid(grid: Grid, data: xarray.Dataset) -> dict[str, Any]:
    """Attributes that name points without a result; a warning, too."""
    bad = np.flatnonzero(~data["valid"].to_numpy().reshape(-1))
    named = [grid.place(int(flat)) for flat in bad[:_NAMED]]
    if named:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        warnings.warn(
            f"{len(bad)} of {grid.size} points have no valid result: {'; '.join(named[:3])}{more}.", RuntimeWarning, stacklevel=3
        )
    return {"invalid": len(bad), "invalid_points": "; ".join(named)}
