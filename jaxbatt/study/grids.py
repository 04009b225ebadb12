"""The table [axes] of a study: what is swept, and over which values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import jaxbatt as jb
from jaxbatt._checks import require_memory
from jaxbatt.study.models import LATTICES, METHODS, check_spins
from jaxbatt.study.tables import MOST, NUMBER, WHOLE, is_finite, is_kind, is_seed, shown

REAL = ("g", "p", "field", "anisotropy", "omega", "strength", "field_strength", "horizon")
NAMES = {"couplings": LATTICES, "solver": METHODS}
AXES = ("n_spins", *NAMES, *REAL, "seed")
"""What can be an axis: each is a key of another table, too."""

_RULES: dict[str, Callable[..., np.ndarray]] = {"linspace": np.linspace, "logspace": np.logspace}
_ALLOWED = "a list of values, {linspace = [first, last, number]}, {logspace = [first, last, number]} (powers of 10)"


def axes_of(content: Any) -> dict[str, np.ndarray]:
    """The axes, in the order of the file."""
    if not isinstance(content, dict) or not content:
        raise ValueError(
            f"[axes] must be a table of at least one axis, but it is {shown(content)}; allowed are {', '.join(AXES)}."
        )
    for name in content:
        if name not in AXES:
            raise ValueError(f"[axes] {name} is unknown; allowed are {', '.join(AXES)}.")
    axes = {name: _axis(name, value) for name, value in content.items()}
    for name, values in axes.items():
        _check_values(name, values)
    points = math.prod(map(len, axes.values()))
    require_memory(8 * points, f"[axes] give {points} points; one variable on all of them", "take fewer values")
    return axes


def _axis(name: str, value: Any) -> np.ndarray:
    if name == "seed":
        return _seeds(value)
    if isinstance(value, dict) and name in REAL and len(value) == 1 and next(iter(value)) in _RULES:
        (rule, numbers), *_ = value.items()
        return _spaced(f"{name}.{rule}", rule, numbers)
    if name in NAMES:
        what, good = f"a list of {', '.join(NAMES[name])}", lambda v: v in NAMES[name]
    elif name == "n_spins":
        what, good = "a list of integers", lambda v: is_kind(v, WHOLE)
    else:
        what, good = _ALLOWED, lambda v: is_kind(v, NUMBER)
    if not isinstance(value, list) or not value or not all(good(v) for v in value):
        raise ValueError(f"[axes] {name} must be {what}, but it is {shown(value)}.")
    for number in value:
        if not is_finite(number):
            raise ValueError(f"[axes] {name} must be finite in double precision, but it holds {shown(number)}.")
    if name == "n_spins":
        for number in value:
            check_spins("[axes]", number)
    return np.array(value, float) if name in REAL else np.array(value)


def _spaced(key: str, rule: str, numbers: Any) -> np.ndarray:
    """Values by a rule."""
    three = isinstance(numbers, list) and len(numbers) == 3 and all(is_kind(number, NUMBER) for number in numbers)
    if not three or not is_kind(numbers[2], WHOLE) or numbers[2] < 1:
        raise ValueError(f"[axes] {key} must be [first, last, number of values], but it is {shown(numbers)}.")
    if numbers[2] > MOST:
        raise ValueError(f"[axes] {key} must hold at most {MOST} values, but it is {shown(numbers)}.")
    values = np.array(np.nan)
    if is_finite(numbers):
        with np.errstate(all="ignore"):
            values = _RULES[rule](*numbers)
    if not np.all(np.isfinite(values)):
        raise ValueError(f"[axes] {key} must give values that are finite in double precision, but it is {shown(numbers)}.")
    return values


def _check_values(name: str, values: np.ndarray) -> None:
    unique, counts = np.unique(values, return_counts=True)
    if len(unique) < len(values):
        raise ValueError(f"[axes] {name} holds the value {unique[counts > 1][0].item()!r} twice; remove one.")
    if name == "horizon" and values.min() <= 0:
        raise ValueError(f"[axes] horizon must be positive, but it holds {values.min()}.")


def _seeds(value: Any) -> np.ndarray:
    if isinstance(value, dict) and list(value) == ["seeds"] and is_kind(value["seeds"], WHOLE) and 0 < value["seeds"] <= MOST:
        return jb.seeds(value["seeds"])
    if isinstance(value, list) and value and all(map(is_seed, value)):
        return np.array(value, np.uint32)
    raise ValueError(
        f"[axes] seed must be {{seeds = number}} or a list of integers from 0 on, the number at most {MOST} and the integers "
        f"below 2**32, but it is {shown(value)}."
    )
