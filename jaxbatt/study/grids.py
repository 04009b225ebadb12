"""The table [axes] of a study: what is swept, and over which values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import jaxbatt as jb
from jaxbatt.study.models import LATTICES, METHODS
from jaxbatt.study.tables import NUMBER, WHOLE, is_kind

REAL = ("g", "p", "field", "anisotropy", "omega", "strength", "field_strength", "horizon")
NAMES = {"couplings": LATTICES, "solver": METHODS}
AXES = ("n_spins", *NAMES, *REAL, "seed")
"""What can be an axis: each is a key of another table, too."""

_RULES: dict[str, Callable[..., np.ndarray]] = {"linspace": np.linspace, "logspace": np.logspace}
_ALLOWED = "a list of values, {linspace = [first, last, number]}, {logspace = [first, last, number]} (powers of 10)"


def axes_of(content: Any) -> dict[str, np.ndarray]:
    """The axes, in the order of the file."""
    if not isinstance(content, dict) or not content:
        raise ValueError(f"[axes] must be a table of at least one axis, but it is {content!r}; allowed are {', '.join(AXES)}.")
    for name in content:
        if name not in AXES:
            raise ValueError(f"[axes] {name} is unknown; allowed are {', '.join(AXES)}.")
    return {name: _axis(name, value) for name, value in content.items()}


def _axis(name: str, value: Any) -> np.ndarray:
    if name == "seed":
        return _seeds(value)
    if isinstance(value, dict) and name in REAL and len(value) == 1 and next(iter(value)) in _RULES:
        (rule, numbers), *_ = value.items()
        three = isinstance(numbers, list) and len(numbers) == 3 and all(is_kind(number, NUMBER) for number in numbers)
        if not three or not is_kind(numbers[2], WHOLE) or numbers[2] < 1:
            raise ValueError(f"[axes] {name}.{rule} must be [first, last, number of values], but it is {numbers!r}.")
        return _RULES[rule](*numbers)
    if name in NAMES:
        what, good = f"a list of {', '.join(NAMES[name])}", lambda v: v in NAMES[name]
    elif name == "n_spins":
        what, good = "a list of integers", lambda v: is_kind(v, WHOLE)
    else:
        what, good = _ALLOWED, lambda v: is_kind(v, NUMBER)
    if not isinstance(value, list) or not value or not all(good(v) for v in value):
        raise ValueError(f"[axes] {name} must be {what}, but it is {value!r}.")
    return np.array(value, float) if name in REAL else np.array(value)


def _seeds(value: Any) -> np.ndarray:
    if isinstance(value, dict) and list(value) == ["seeds"] and is_kind(value["seeds"], WHOLE) and value["seeds"] > 0:
        return jb.seeds(value["seeds"])
    if isinstance(value, list) and value and all(is_kind(v, WHOLE) and 0 <= v < 2**32 for v in value):
        return np.array(value, np.uint32)
    raise ValueError(f"[axes] seed must be {{seeds = number}} or a list of integers from 0 on, but it is {value!r}.")
