"""What a function of a sweep returns, as named columns."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

UNITS = {"power": "B^2"} | dict.fromkeys(("time", "times", "horizon", "duration"), "1/B")
UNITS |= dict.fromkeys(("work", "error", "bandwidth", "deviation", "omega", "field", "g"), "B")
"""Units of the fields of jaxbatt's own records, and of the usual axes."""


def columns(record: Any) -> dict[str, Any]:
    """The arrays in a record by name: a field of a field is ``outer_inner``; ``info`` is left out.

    Raises:
        ValueError: two arrays of one name.
    """
    found: dict[str, Any] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(record)[0]:
        parts = (_part(key).removesuffix("info").rstrip("_") for key in path)
        name = "_".join(part for part in parts if part) or "value"
        if name in found:
            raise ValueError(f"the function returns two arrays of the name {name!r}; rename one.")
        found[name] = leaf
    if not found:
        raise ValueError("the function returns no array; return a number, a NamedTuple, a dict or a pytree of arrays.")
    return found


def units_of(name: str) -> dict[str, Any]:
    """The unit of a column or an axis as attributes, after the last part of its name."""
    unit = UNITS.get(name.rsplit("_", 1)[-1])
    return {} if unit is None else {"units": unit}


def validity(values: dict[str, np.ndarray]) -> np.ndarray:
    """(P,) whether a point was computed: no NaN, and no flag ``valid`` or ``certified`` of a record is False."""
    good = []
    for name, column in values.items():
        flat = column.reshape(len(column), -1)
        if column.dtype.kind in "fc":
            good.append(~np.isnan(flat).any(axis=1))
        elif column.dtype.kind == "b" and name.rsplit("_", 1)[-1] in ("valid", "certified"):
            good.append(flat.all(axis=1))
    length = len(next(iter(values.values())))
    return np.logical_and.reduce(good) if good else np.ones(length, bool)


def _part(key: Any) -> str:
    match key:
        case jax.tree_util.GetAttrKey(name=name):
            return name
        case jax.tree_util.DictKey(key=name):
            return str(name)
        case jax.tree_util.SequenceKey(idx=index):
            return str(index)
    return str(key.key)
