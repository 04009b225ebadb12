"""Who computes the chunks of a sweep: threads of this process, or any executor."""

from __future__ import annotations

import concurrent.futures as futures
import math
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh

from jaxbatt._checks import checked_mesh
from jaxbatt.sweeps.axes import Grid, Index
from jaxbatt.sweeps.programs import Job, Programs, compute, is_wide, packed

_Result: TypeAlias = tuple[int, dict[str, np.ndarray]]
"""Number and values of a block."""

_AHEAD = 1024
"""Chunks that wait in an executor."""


class Workers:
    """Computes blocks in the order in which they finish: in threads of this process, or by an executor."""

    def __init__(self, executor: futures.Executor | None, programs: Programs, fn: Callable[..., Any], grid: Grid) -> None:
        if executor is not None and not hasattr(executor, "submit"):
            raise ValueError(
                f"`executor` must be an executor of `concurrent.futures` or the like, but is of type {type(executor).__name__}."
            )
        if isinstance(executor, futures.ProcessPoolExecutor) and _is_forking(executor):
            raise ValueError(
                "the executor forks this process, and JAX does not survive that; pass "
                'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")).'
            )
        self._executor, self._programs, self._grid = executor, programs, grid
        self._function = b"" if executor is None else packed(fn, grid.traced())

    def results(self, numbers: Sequence[int], blocks: Sequence[Index]) -> Generator[_Result, None, None]:
        """Number and values of each block; close it to give up the rest."""
        if self._executor is not None:
            yield from self._drawn(self._executor, numbers, blocks)
            return
        pool = futures.ThreadPoolExecutor(threads())
        try:
            yield from self._drawn(pool, numbers, blocks)
        finally:
            # After Ctrl-C or a failure nobody waits for the chunks that are still running.
            pool.shutdown(wait=False, cancel_futures=True)

    def _drawn(self, executor: futures.Executor, numbers: Sequence[int], blocks: Sequence[Index]) -> Iterator[_Result]:
        waiting: dict[futures.Future[dict[str, np.ndarray]], int] = {}
        left = iter(numbers)
        try:
            while True:
                while len(waiting) < _AHEAD and (number := next(left, None)) is not None:
                    waiting[self._submit(executor, blocks[number])] = number
                if not waiting:
                    return
                done = futures.wait(waiting, return_when=futures.FIRST_COMPLETED).done
                # What is finished is kept before a failure of another chunk ends the sweep.
                for future in sorted(done, key=_is_failed):
                    yield waiting.pop(future), future.result()
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, executor: futures.Executor, block: Index) -> futures.Future[dict[str, np.ndarray]]:
        static, points = self._grid.points(block)
        if self._executor is None:
            return executor.submit(self._programs.of(static).run, points, size_of(block))
        return executor.submit(compute, Job(self._function, is_wide(), static, points, size_of(block)))


def _is_failed(future: futures.Future[Any]) -> bool:
    return future.cancelled() or future.exception() is not None


def _is_forking(executor: futures.ProcessPoolExecutor) -> bool:
    context: Any = executor._mp_context
    return context.get_start_method() == "fork"


def size_of(block: Index) -> int:
    """Points of a block."""
    return math.prod(cut.stop - cut.start for cut in block)


def threads() -> int:
    """One for each core of a CPU; other devices compute one chunk at a time."""
    return (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1


def own_mesh(mesh: Mesh | None, executor: futures.Executor | None = None) -> Mesh | None:
    """A mesh whose devices this process can fill and read."""
    if mesh is None:
        return None
    mesh = checked_mesh(mesh)
    if executor is not None:
        raise ValueError(
            f"`mesh` spreads every chunk over {mesh.size} devices of this process, and `executor` sends it to another; "
            "leave out one of them."
        )
    if len(mesh.local_devices) < mesh.size:
        raise ValueError(
            f"`mesh` has {mesh.size} devices, but only {len(mesh.local_devices)} belong to this process; take those of "
            "jax.local_devices(), and `executor` for many processes."
        )
    return mesh
