"""``plan``: what a sweep will take, before it is run."""

from __future__ import annotations

import concurrent.futures as futures
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from jaxbatt._checks import check_flags, peak_memory
from jaxbatt._progress import progress_bar
from jaxbatt.sweeps.axes import Grid
from jaxbatt.sweeps.layout import points_of, variables_of
from jaxbatt.sweeps.programs import Program, Programs
from jaxbatt.sweeps.workers import own_mesh, size_of, threads

_PROBE = 1.0
"""Seconds for which each thread computes at most, or one batch, to tell how long the whole takes."""


class Part(NamedTuple):
    """What the points of one combination of static values take.

    Attributes:
        static: the static values.
        points: number of points.
        together: points that one thread computes at a time, on all devices of a mesh.
        memory: bytes of the arrays of all threads while they compute; of a mesh of devices that each have their own memory, of
            one of them.
        applications: applications of the Hamiltonian in all, NaN where they are not measured or not told.
        seconds: time with all threads, without compiling; NaN where it is not measured.
    """

    static: dict[str, Any]
    points: int
    together: int
    memory: int
    applications: float
    seconds: float


class Plan(NamedTuple):
    """What a sweep takes.

    Attributes:
        parts: one for each combination of static values.
        chunks: number of chunks.
        results: bytes of the dataset.
        process: bytes that this process holds, with Python, JAX and the compiler, at its peak; 0 where unknown.
    """

    parts: tuple[Part, ...]
    chunks: int
    results: int
    process: int

    @property
    def points(self) -> int:
        """Number of points."""
        return sum(part.points for part in self.parts)

    @property
    def memory(self) -> int:
        """Bytes that the arrays take at the peak."""
        return self.results + max(part.memory for part in self.parts)

    @property
    def applications(self) -> float:
        """Applications of the Hamiltonian, NaN where they are not known."""
        return math.fsum(part.applications for part in self.parts)

    @property
    def seconds(self) -> float:
        """Time with all threads, without compiling; NaN where it was not measured."""
        return math.fsum(part.seconds for part in self.parts)


def plan(
    fn: Callable[..., Any],
    axes: Mapping[str, ArrayLike],
    *,
    batch_size: int | Literal["auto"] = "auto",
    mesh: Mesh | None = None,
    probe: bool = True,
    progress: bool = True,
) -> Plan:
    """Says what ``sweep(fn, axes)`` takes: points, memory, Hamiltonian applications and time.

    Everything is compiled. The memory is the compiler's own figure; applications and time come from some batches of neighboring
    points, evenly spread over the grid, that are computed by all threads at once.

    Args:
        fn, axes, batch_size, mesh: as in :func:`sweep`.
        probe: compute those points; without it the plan has no applications and no time.
        progress: show a bar on a terminal.

    Returns:
        A :class:`Plan`.

    Raises:
        ValueError: as :func:`sweep`; one point does not fit the memory.

    Example:
        >>> plan(lambda n: max_power(SpinBattery(1.0, power_law(n, 1.0, 1.0)), ConstantField(4.0)), {"n": [26]}, probe=False)
    """
    check_flags(probe=probe, progress=progress)
    grid = Grid.of(fn, axes)
    mesh = own_mesh(mesh)
    programs = Programs(fn, grid.traced(), mesh)
    variables = variables_of(grid, programs, {}, {})
    each = sum(v.dtype.itemsize * math.prod(v.shape) for v in variables.values())
    sizes = [
        size_of(block) for block in grid.blocks(grid.block_shape(points_of(batch_size, grid, 1 if mesh is None else mesh.size)))
    ]
    statics, parts = list(grid.statics()), []
    with progress_bar(quiet=not progress) as report:
        for done, static in enumerate(statics):
            report(", ".join(f"{name} = {value}" for name, value in static.items()) or "compiling", done, len(statics))
            parts.append(_part(grid, static, programs.of(static), sizes, probe))
    return Plan(tuple(parts), len(sizes), each * grid.size, peak_memory())


def _part(grid: Grid, static: dict[str, Any], program: Program, sizes: list[int], probe: bool) -> Part:
    built = program.compile()
    points = grid.traced().size
    # Every combination of static values has the same chunks; a chunk is computed in whole batches of all lanes.
    batches = sum(-(-size // built.lanes) for size in sizes) * points // grid.size
    # The devices of a CPU share its memory.
    sharing = built.devices if jax.default_backend() == "cpu" else 1
    workers = 1 if program.is_heavy(built) else min(threads(), -(-points // built.lanes))
    applications = seconds = math.nan
    if probe:
        lanes, start = min(built.lanes, points), time.perf_counter()
        program.run(grid.spread(1, 1), 1)
        count = min(points // lanes, workers * int(np.clip(_PROBE / (time.perf_counter() - start), 1, built.turns)))
        each, batch = _probe(program, grid.spread(count, lanes), workers, lanes)
        applications, seconds = each * points, batch * batches
    return Part(static, points, built.lanes, built.bytes * workers * sharing, applications, seconds)


def _probe(program: Program, points: dict[str, np.ndarray], workers: int, lanes: int) -> tuple[float, float]:
    """Applications for each point, and seconds for each batch where all workers compute at once."""
    count = len(next(iter(points.values()), [0]))
    batches = np.array_split(np.arange(count).reshape(-1, lanes), workers)
    start = time.perf_counter()
    with futures.ThreadPoolExecutor(workers) as pool:
        cuts = [batch.ravel() for batch in batches if batch.size]
        found = list(pool.map(lambda cut: program.run({name: column[cut] for name, column in points.items()}, len(cut)), cuts))
    seconds = (time.perf_counter() - start) * lanes / count
    told = [values[name] for values in found for name in values if name.rsplit("_", 1)[-1] == "applications"]
    return float(np.sum(np.concatenate(told)) / count) if told else math.nan, seconds
