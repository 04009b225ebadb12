"""The compiled programs of a sweep: one for each combination of static values, for a fixed number of points at a time.

A program always computes the same number of points, its lanes, whatever the size of a chunk, and no lane depends on what is in
the others (but the last digit of gradients of MeanField). The bits of a point therefore do not depend on how the grid was cut
into chunks, on what was done before a kill, or on which worker did it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cloudpickle
import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Int

from jaxbatt._checks import available_memory, require_memory, total_memory
from jaxbatt.results import solvers_in
from jaxbatt.sweeps.axes import Traced
from jaxbatt.sweeps.records import columns, validity

_CPU_LANES, _CPU_BYTES = 16, 3 * 2**21
"""On a CPU: points at a time, fewer where their temporary arrays would not fit this much (not far beyond the caches)."""
_CPU_TURNS, _RESULTS = 32, 2**23
"""On a CPU: batches in one call, fewer where their results would not fit this much. A call's temporary memory comes afresh from
the system, page by page, which takes up to half as long as the work itself."""
LANES, _SHARE = 4096, 4
"""On other devices: points at a time, fewer where they would take more than this share of the memory."""
_LIKELY = 3
"""Temporary memory of a point in units of its largest array, roughly: a first guess of how many fit, for compiling takes long."""


class Program:
    """A function of the traced values for one combination of static values."""

    def __init__(
        self, fn: Callable[..., Any], static: dict[str, Any], grid: Traced, alone: threading.Lock, mesh: Mesh | None
    ) -> None:
        self._static, self._grid, self._alone, self._mesh = static, grid, alone, mesh
        self._wide = is_wide()
        self._single = jax.jit(functools.partial(fn, **static))
        values = {name: jax.ShapeDtypeStruct((), column.dtype) for name, column in grid.sample.items()}
        try:
            self._traced = self._single.trace(**values)
        except ValueError as error:
            if static:
                error.add_note(f"This happened at {_shown(static)}.")
            raise
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            raise ValueError(
                "the function cannot be traced by JAX; write it in jax.numpy, without float(), NumPy or `if` on the values of "
                "its axes, and give what is no real number by an axis of integers or strings."
            ) from error
        self._built: Built | None = None
        self._lock = threading.Lock()

    @property
    def record(self) -> Any:
        """The structure of what the function returns."""
        return self._traced.out_info

    @property
    def outputs(self) -> dict[str, Any]:
        """Shape and dtype of each column for one point."""
        return columns(self.record)

    @property
    def solvers(self) -> set[str]:
        """The solvers that compute a part of the result, as they print."""
        return {name for e in _equations(self._traced.jaxpr.jaxpr) for name in solvers_in(str(e.source_info.name_stack))}

    @property
    def callbacks(self) -> list[str]:
        """Names of the Python functions that compute a part of the result, of which the digest knows nothing."""
        equations = _equations(self._traced.jaxpr.jaxpr)
        names = ("pure_callback", "io_callback")
        found = [e.params["callback"].callback_func for e in equations if e.primitive.name in names]
        # Those of equinox's error_if, which diffrax calls, only raise.
        return [str(getattr(f, "__name__", f)) for f in found if getattr(f, "__module__", "") != "equinox._errors"]

    @functools.cached_property
    def digest(self) -> str:
        """What tells two functions apart: a hash of what is computed, with all constants; names and devices do not matter."""
        text = _anonymous(self._traced.lower(lowering_platforms=("cpu",)).as_text())
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def compile(self) -> Built:
        """What runs it, compiled if that was not done yet, for as many points at a time as suit the device."""
        with self._lock:
            if self._built is None:
                lanes, limit = (_CPU_LANES, _CPU_BYTES) if jax.default_backend() == "cpu" else (LANES, total_memory() // _SHARE)
                points = -(-self._grid.size // self._devices)
                # A power of two, so that all lanes are computed by the same vector instructions.
                largest = max((_size(v.aval) for e in _equations(self._traced.jaxpr.jaxpr) for v in e.outvars), default=1)
                likely = max(1, limit // max(1, _LIKELY * largest))
                built = self._compile(min(lanes, 1 << (points - 1).bit_length(), 1 << (likely.bit_length() - 1)))
                if built.bytes > limit and built.each > 1:
                    built = self._compile(max(1, 2 ** int(np.log2(built.each * limit / built.bytes))))
                require_memory(built.bytes, f"one point at {_shown(self._static)}", "take fewer spins")
                self._built = built
            return self._built

    def run(self, points: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        """The columns (P, ...) of some points; with fewer lanes from now on where the device runs out of memory."""
        while True:
            built = self.compile()
            try:
                with self._alone if self.is_heavy(built) else contextlib.nullcontext():
                    return built.run(points, count)
            except jax.errors.JaxRuntimeError as error:
                if built.each == 1 or "RESOURCE_EXHAUSTED" not in str(error):
                    raise
                with self._lock:
                    if self._built is built:
                        self._built = self._compile(built.each // 2)

    def is_heavy(self, built: Built) -> bool:
        """Whether it runs one at a time: it would not fit the memory once for each core, or takes several devices at once.

        Two programs that wait for one another on the same devices, each on another one, would wait for ever.
        """
        return built.devices > 1 or 2 * built.bytes * (os.cpu_count() or 1) > available_memory()

    @property
    def _devices(self) -> int:
        return 1 if self._mesh is None else self._mesh.size

    def _compile(self, each: int) -> Built:
        """With so many lanes on each device."""
        lanes = each * self._devices
        fitting = _RESULTS // max(1, lanes * sum(_size(x) for x in self.outputs.values()))
        turns = max(1, min(_CPU_TURNS, fitting)) if jax.default_backend() == "cpu" else 1
        inputs = {name: jax.ShapeDtypeStruct((turns, lanes), column.dtype) for name, column in self._grid.sample.items()}

        def batch(values: dict[str, Array]) -> dict[str, Any]:
            # The number of the lane gives vmap an axis where no value is traced.
            return jax.vmap(lambda lane, values: columns(self._single(**values)))(jnp.arange(each), values)

        def batches(count: Int[Array, ""], values: dict[str, Array]) -> dict[str, Any]:
            def turn(i: Int[Array, ""], found: dict[str, Any]) -> dict[str, Any]:
                new = batch({name: value[i] for name, value in values.items()})
                return jax.tree.map(lambda old, x: jax.lax.dynamic_update_index_in_dim(old, x, i, 0), found, new)

            empty = {name: jnp.zeros((turns, each, *x.shape), x.dtype) for name, x in self.outputs.items()}
            return jax.lax.fori_loop(0, count, turn, empty)

        if self._mesh is not None:
            # Each device runs the program of its own lanes, so that no loop waits for those of another.
            split = PartitionSpec(None, self._mesh.axis_names)
            specs = (PartitionSpec(), split)
            batches = jax.shard_map(batches, mesh=self._mesh, in_specs=specs, out_specs=split, check_vma=False)
        # A thread does not inherit the precision that was chosen around the sweep.
        with jax.enable_x64(self._wide):
            call = jax.jit(batches).lower(jax.ShapeDtypeStruct((), np.int32), inputs).compile()
        analysis: Any = call.memory_analysis()
        size = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
        devices = max(len(sharding.device_set) for sharding in jax.tree.leaves(call.output_shardings))
        return Built(call, lanes, each, turns, size, devices)


class Built(NamedTuple):
    """A compiled program.

    Attributes:
        call: takes the number of batches, and the traced values of all their lanes.
        lanes: points at a time, a batch.
        each: points at a time on each device.
        turns: most batches in a call, one after the other.
        bytes: memory that a call takes on each device.
        devices: that it takes at once.
    """

    call: Callable[[np.int32, dict[str, np.ndarray]], dict[str, Any]]
    lanes: int
    each: int
    turns: int
    bytes: int
    devices: int

    def run(self, points: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        """The columns of some points; the last lanes are filled up with the last point."""
        parts, most = [], self.turns * self.lanes
        for start in range(0, count, most):
            places = np.minimum(np.arange(start, start + most), count - 1).reshape(self.turns, self.lanes)
            batches = np.int32(-(-min(count - start, most) // self.lanes))
            found = jax.device_get(self.call(batches, {name: column[places] for name, column in points.items()}))
            parts.append({name: x.reshape(most, *x.shape[2:])[: count - start] for name, x in found.items()})
        values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return values | {"valid": validity(values)}


class Programs:
    """All programs of a function, made when they are needed."""

    def __init__(self, fn: Callable[..., Any], grid: Traced, mesh: Mesh | None = None) -> None:
        self._fn, self._grid, self._mesh = fn, grid, mesh
        self._made: dict[tuple[Any, ...], Program] = {}
        self._lock, self._alone = threading.Lock(), threading.Lock()

    def of(self, static: dict[str, Any]) -> Program:
        """The program of a combination of static values, traced but not compiled yet."""
        key = tuple(static.values())
        with self._lock:
            if key not in self._made:
                self._made[key] = Program(self._fn, static, self._grid, self._alone, self._mesh)
            return self._made[key]


class Job(NamedTuple):
    """Some points of one program, for any worker.

    Attributes:
        function: the function and the traced axes, pickled.
        wide: whether JAX computes in 64 bits.
        static: the static values.
        points: (P,) the traced values.
        size: P.
    """

    function: bytes
    wide: bool
    static: dict[str, Any]
    points: dict[str, np.ndarray]
    size: int


def is_wide() -> bool:
    """Whether JAX computes in 64 bits, here and now."""
    return jnp.result_type(float) == np.float64


def packed(fn: Callable[..., Any], grid: Traced) -> bytes:
    """The function and the traced axes for the workers of an executor."""
    try:
        return cloudpickle.dumps((fn, grid))
    except (TypeError, ValueError, AttributeError, pickle.PicklingError) as error:
        raise ValueError(f"the function cannot be sent to an executor, for pickling it fails: {error}.") from error


def compute(job: Job) -> dict[str, np.ndarray]:
    """The columns of a job; a worker keeps what it has compiled."""
    with jax.enable_x64(job.wide):
        return _unpacked(job.function, job.wide).of(job.static).run(job.points, job.size)


@functools.lru_cache(maxsize=4)
def _unpacked(function: bytes, wide: bool) -> Programs:
    return Programs(*cloudpickle.loads(function))


def _equations(jaxpr: Any) -> Iterator[Any]:
    """All operations of an expression of JAX, those inside of others included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from _equations(inner)


def _size(array: Any) -> int:
    """Bytes."""
    return getattr(array, "size", 1) * getattr(getattr(array, "dtype", None), "itemsize", 1)


def _anonymous(text: str) -> str:
    """A program in StableHLO with numbers in place of the names of its functions."""
    numbers: dict[str, str] = {}
    return re.sub(r"(?<!custom_call )@[\w.]+", lambda found: numbers.setdefault(found[0], f"@{len(numbers)}"), text)


def _shown(static: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in static.items()) or "any value"
