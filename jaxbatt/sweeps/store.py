"""Where the chunks of a sweep go: into memory, or into a Zarr store in which every finished chunk is on disk at once.

A chunk of the grid is a chunk of each array in the store. Zarr replaces files in one step, and a chunk counts as finished only
after all its arrays are written; so a process may be killed at any moment, and two writers can only write the same bits twice.
What has been lost or damaged since then is computed again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray
import zarr
from zarr.codecs import ZstdCodec

from jaxbatt.sweeps.axes import Index
from jaxbatt.sweeps.layout import Layout

_STUDY, _FIXED, _CHUNK, _PROGRESS = "jaxbatt_study", "jaxbatt_fixed", "jaxbatt_chunk", "jaxbatt_progress"


class Sink(Protocol):
    """What takes the chunks of a sweep, by their numbers."""

    block: tuple[int, ...]

    def finished(self) -> np.ndarray:
        """(chunks,) which are there."""
        ...

    def write(self, number: int, index: Index, values: dict[str, np.ndarray]) -> None:
        """Keeps a chunk; values (P, ...)."""
        ...

    def dataset(self) -> xarray.Dataset:
        """Everything so far, without attributes."""
        ...

    def annotate(self, attrs: dict[str, Any]) -> None:
        """Keeps attributes of the whole."""
        ...


class Memory:
    """Arrays in memory."""

    def __init__(self, layout: Layout, block: tuple[int, ...]) -> None:
        self.block = block
        self._layout, shape = layout, layout.grid.shape
        self._arrays = {name: np.full(shape + v.shape, v.blank, v.dtype) for name, v in layout.variables.items()}

    def finished(self) -> np.ndarray:
        return np.zeros(len(self._layout.grid.blocks(self.block)), bool)

    def write(self, number: int, index: Index, values: dict[str, np.ndarray]) -> None:
        for name, array in self._arrays.items():
            array[index] = values[name].reshape(array[index].shape)

    def dataset(self) -> xarray.Dataset:
        return _dataset(self._layout, self._arrays)

    def annotate(self, attrs: dict[str, Any]) -> None:
        """Nothing: there is only the dataset."""


class Store:
    """A Zarr store: made where there is none, continued where it is one of the same study.

    ``study`` decides that. ``fixed``, what the user says that the function holds fixed, explains a difference.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        layout: Layout,
        block: tuple[int, ...],
        study: dict[str, str],
        fixed: Mapping[str, str | float],
    ) -> None:
        self.path = Path(path)
        if not self.path.exists():
            about = {_STUDY: json.dumps(study), _FIXED: json.dumps(dict(fixed)), _CHUNK: list(block)}
            try:
                _create(self.path, layout, block, about)
            except OSError as error:
                # The draft, which Zarr names or not, is gone by then.
                raise OSError(error.errno, error.strerror, str(path)) from error
        self._group: Any = _opened(self.path, study, fixed)
        chunk: Any = self._group.attrs[_CHUNK]
        self.block: tuple[int, ...] = tuple(chunk)
        self._layout = layout
        self._arrays: dict[str, Any] = {name: self._array(name) for name in layout.variables}
        self._done: Any = self._array(f"{_PROGRESS}/finished")

    def finished(self) -> np.ndarray:
        # Whole arrays are read much faster than chunk by chunk.
        arrays, blocks = self._arrays.values(), self._layout.grid.blocks(self.block)
        doubtful = [array for array in arrays if not _reads(array, ...)]
        legible = _reads(self._done, ...)
        marks = self._done[:] if legible else [_reads(self._done, k) and self._done[k] for k in range(len(blocks))]

        def is_there(index: Index) -> bool:
            return all(self._has(array, index) for array in arrays) and all(_reads(array, index) for array in doubtful)

        return np.array([bool(mark) and is_there(index) for mark, index in zip(marks, blocks, strict=True)])

    def write(self, number: int, index: Index, values: dict[str, np.ndarray]) -> None:
        try:
            for name, v in self._layout.variables.items():
                lengths = tuple(cut.stop - cut.start for cut in index) + v.shape
                self._arrays[name][index] = values[name].reshape(lengths)
            self._done[number] = 1
        except OSError as error:
            error.add_note(self._kept())
            raise

    def dataset(self) -> xarray.Dataset:
        return _dataset(self._layout, {name: array[...] for name, array in self._arrays.items()})

    def annotate(self, attrs: dict[str, Any]) -> None:
        # A store that can only be read may be finished.
        if attrs.items() <= self._group.attrs.asdict().items():
            return
        try:
            self._group.attrs.update(attrs)
        except OSError as error:
            error.add_note(self._kept())
            raise

    def _array(self, name: str) -> Any:
        """An array in which a chunk of blanks is a file, too."""
        try:
            return self._group[name].with_config({"write_empty_chunks": True})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path} is damaged: its array {name!r} is lost; remove it, or name another one.") from error

    def _has(self, array: Any, index: Index) -> bool:
        """Whether an array has the file of a chunk, which Zarr would read as blank without."""
        corner = [cut.start // length for cut, length in zip(index, self.block, strict=True)]
        key = array.metadata.encode_chunk_key((*corner, *[0] * (array.ndim - len(corner))))
        return array.size == 0 or (self.path / array.path / key).is_file()

    def _kept(self) -> str:
        return f"{self.path} keeps the {int(self.finished().sum())} chunks before; run again to go on."


def _reads(array: Any, index: Any) -> bool:
    """Whether the chunks of an array that are there can be decoded."""
    try:
        array[index]
    except (RuntimeError, ValueError):
        return False
    return True


def _dataset(layout: Layout, arrays: Mapping[str, np.ndarray]) -> xarray.Dataset:
    names = layout.grid.names
    found = {name: (names + v.dims, arrays[name], v.attrs) for name, v in layout.variables.items()}
    return xarray.Dataset(found, coords=layout.coordinates)


def _create(path: Path, layout: Layout, block: tuple[int, ...], attrs: dict[str, Any]) -> None:
    """A new store with all arrays and no chunk; it appears in one step, and where another writer was first, his stays."""
    if not path.parent.is_dir():
        raise ValueError(f"`store` must be in a directory, but there is no directory {str(path.parent)!r}.")
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        group = zarr.open_group(draft / "new", mode="w-", zarr_format=3)
        group.attrs.update(attrs)
        for name, (_, values, units) in layout.coordinates.items():
            # Zarr has no standard for strings of fixed length.
            dtype = "string" if values.dtype.kind == "U" else values.dtype
            column = group.create_array(name, shape=values.shape, dtype=dtype, dimension_names=[name], attributes=units)
            column[...] = values
        grid = layout.grid
        for name, v in layout.variables.items():
            group.create_array(
                name,
                shape=grid.shape + v.shape,
                chunks=block + v.shape,
                dtype=v.dtype,
                fill_value=v.blank,
                dimension_names=list(grid.names + v.dims),
                attributes=v.attrs,
                compressors=ZstdCodec(checksum=True),
            )
        chunks = len(grid.blocks(block))
        group.create_array(f"{_PROGRESS}/finished", shape=(chunks,), chunks=(1,), dtype="u1", fill_value=0)
        try:
            os.rename(draft / "new", path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _opened(path: Path, study: dict[str, str], fixed: Mapping[str, str | float]) -> zarr.Group:
    try:
        group = zarr.open_group(path, mode="r+")
        saved, held = (json.loads(str(group.attrs[name])) for name in (_STUDY, _FIXED))
    except (zarr.errors.GroupNotFoundError, FileExistsError, NotADirectoryError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is no store of a sweep; name another path.") from error
    differences = _differences(saved, study)
    if differences:
        # A function is told by a hash: what it holds fixed says more.
        named = _differences(held, fixed) if differences[0].startswith("function") else []
        raise ValueError(f"{path} is the store of another study: {(named + differences)[0]}; remove it, or name another one.")
    return group


def _differences(there: Any, here: Mapping[str, str | float]) -> list[str]:
    return [
        f"{name} was {there.get(name, 'absent')} there and is {here.get(name, 'absent')} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name)
    ]
