"""The grid of a sweep: named axes, which of them are compiled for, and the blocks that the rest is cut into."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxbatt._checks import check_integer

Index: TypeAlias = tuple[slice, ...]
"""A block of the grid: one slice for each axis."""

_STATIC = {"b": "booleans", "i": "integers", "U": "strings"}
_TRACED = {"f": "real numbers", "u": "unsigned integers"}


def seeds(count: int, first: int = 0) -> np.ndarray:
    """The seeds ``first``, ``first + 1``, ... as an axis of a sweep: (count,) unsigned integers, which are not compiled for.

    Args:
        count: how many, at least 1.
        first: the first one, at least 0.

    Raises:
        ValueError: no integer, one that is too small, or a seed beyond 32 bits.

    Example:
        >>> sweep(lambda seed: jax.random.normal(jax.random.key(seed)), {"seed": seeds(100)})
    """
    check_integer("count", count)
    check_integer("first", first, least=0)
    if first + count > 2**32:
        raise ValueError(f"seeds must be below 2^32, but the last one is {first + count - 1}; begin lower.")
    return np.arange(first, first + count, dtype=np.uint32)


class Traced(NamedTuple):
    """What a program is compiled for.

    Attributes:
        sample: the first value of each traced axis.
        size: number of points for each combination of static values.
    """

    sample: dict[str, np.ndarray]
    size: int


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """The product of all axes, in their order; (name, values) of each.

    Integers, booleans and strings are static: the function is compiled for each of their values. Real numbers and unsigned
    integers (see :func:`seeds`) are traced: the function is compiled once for all.
    """

    axes: tuple[tuple[str, np.ndarray], ...]

    @classmethod
    def of(cls, fn: Callable[..., Any], axes: Mapping[str, ArrayLike]) -> Grid:
        """Checks the axes and that ``fn`` takes their values by name."""
        if not isinstance(axes, Mapping):
            raise ValueError(f"`axes` must be a dictionary of names and values, but it is of type {type(axes).__name__}.")
        if not axes:
            raise ValueError('`axes` is empty; give at least one, such as {"alpha": jnp.linspace(-1, 1, 21)}.')
        grid = cls(tuple((name, _checked(name, values)) for name, values in axes.items()))
        _check_parameters(fn, list(axes))
        return grid

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(name for name, _ in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values on each axis."""
        return tuple(len(values) for _, values in self.axes)

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    def statics(self) -> Iterator[dict[str, Any]]:
        """All combinations of the values that are compiled for; one empty combination where there are none."""
        static = [(name, values.tolist()) for name, values in self.axes if is_static(values)]
        for combination in itertools.product(*(values for _, values in static)):
            yield dict(zip((name for name, _ in static), combination, strict=True))

    def traced(self) -> Traced:
        """The traced axes: their first values, and the number of points for each combination of static values."""
        axes = {name: values for name, values in self.axes if not is_static(values)}
        return Traced({name: values[:1] for name, values in axes.items()}, math.prod(map(len, axes.values())))

    def block_shape(self, points: int) -> tuple[int, ...]:
        """Of a block of at most so many points that takes whole axes from the last one on; 1 along static ones."""
        shape, left = [], max(points, 1)
        for _, values in reversed(self.axes):
            width = 1 if is_static(values) else min(len(values), left)
            left //= width
            shape.append(width)
        return tuple(reversed(shape))

    def blocks(self, shape: tuple[int, ...]) -> list[Index]:
        """All blocks of the grid, the last axis running fastest."""
        cuts = [
            [slice(i, min(i + step, length)) for i in range(0, length, step)]
            for length, step in zip(self.shape, shape, strict=True)
        ]
        return list(itertools.product(*cuts))

    def points(self, block: Index) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The static values of a block, and the traced ones of all its points (P,)."""
        parts = [values[cut] for (_, values), cut in zip(self.axes, block, strict=True)]
        mesh = np.meshgrid(*(np.arange(len(part)) for part in parts), indexing="ij")
        static, traced = {}, {}
        for (name, _), part, places in zip(self.axes, parts, mesh, strict=True):
            if is_static(part):
                static[name] = part.tolist()[0]
            else:
                traced[name] = part[places.ravel()]
        return static, traced

    def spread(self, count: int, together: int) -> dict[str, np.ndarray]:
        """The traced values of so many batches of neighboring points, evenly spread over the grid."""
        traced = [(name, values) for name, values in self.axes if not is_static(values)]
        lengths = [len(values) for _, values in traced]
        first = np.linspace(0, math.prod(lengths) - together, count).round().astype(int)
        places = np.unravel_index(np.ravel(first[:, None] + np.arange(together)), lengths) if lengths else ()
        return {name: values[place] for (name, values), place in zip(traced, places, strict=True)}

    def place(self, flat: int) -> str:
        """The values of a point by name, from its number."""
        index = np.unravel_index(flat, self.shape)
        return ", ".join(f"{name} = {values[i].item()}" for (name, values), i in zip(self.axes, index, strict=True))


def is_static(values: np.ndarray) -> bool:
    """Whether the values of an axis are compiled for."""
    return values.dtype.kind in _STATIC


def _checked(name: str, values: ArrayLike) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"axis {name!r} must be a vector of values of one kind, but it is {values!r}.") from error
    if array.dtype.kind == "U" and isinstance(values, (list, tuple)) and not all(isinstance(value, str) for value in values):
        raise ValueError(f"axis {name!r} must hold values of one kind, but strings stand beside numbers in {values!r}.")
    if array.ndim != 1 or not len(array):
        raise ValueError(f"axis {name!r} must be a vector of at least one value, but its shape is {array.shape}.")
    if array.dtype.kind not in _STATIC | _TRACED:
        kinds = ", ".join((_STATIC | _TRACED).values())
        raise ValueError(f"axis {name!r} must hold {kinds}, but its dtype is {array.dtype}.")
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise ValueError(f"axis {name!r} must be finite, but it holds {array[~np.isfinite(array)][0]}.")
    if array.dtype.kind == "f":
        array = array.astype(jnp.result_type(float))
    unique, counts = np.unique(array, return_counts=True)
    if len(unique) < len(array):
        raise ValueError(f"axis {name!r} holds the value {unique[counts > 1][0].item()!r} twice; remove one.")
    return array


def _check_parameters(fn: Callable[..., Any], names: list[str]) -> None:
    parameters = inspect.signature(fn).parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
        unknown = [name for name in names if name not in known]
        if unknown:
            named = f"its parameters are {', '.join(known)}" if known else "it has none that can be given by name"
            raise ValueError(f"axis {unknown[0]!r} is no parameter of the function; {named}.")
    needed = [p.name for p in parameters if p.default is p.empty and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    missing = [name for name in needed if name not in names]
    if missing:
        raise ValueError(
            f"the function needs {missing[0]!r}, but there is no such axis; add it, or give the parameter a default."
        )
