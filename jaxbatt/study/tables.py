"""Tables of a TOML file, from which keys are taken one by one, each with the kind of value that it must have."""

from __future__ import annotations

import contextlib
import os
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

NUMBER = "a number"
WHOLE = "an integer"
WORD = "a string"
SWITCH = "true or false"
NUMBERS = "a number or an array of numbers"
ARRAY = "an array of numbers"

MOST = 10_000_000
"""Where counts end, so that a slip of the pen fills no memory."""


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a file; a ValueError where it cannot be read or is no TOML."""
    try:
        return tomllib.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    except RecursionError:
        raise ValueError(f"{path} is no valid TOML: its brackets are nested too deeply.") from None
    except ValueError as error:  # of the grammar, of bytes that are no UTF-8, of integers of thousands of digits
        raise ValueError(f"{path} is no valid TOML: {error}.") from error


@contextlib.contextmanager
def within(place: str) -> Iterator[None]:
    """Tells the place in the file with what a constructor refuses."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place} {error}") from error


def shown(value: Any) -> str:
    """A value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


class Table:
    """A table of a study file, from which keys are taken one by one; what is left at the end is unknown."""

    def __init__(self, name: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"[{name}] must be a table, but it is {shown(content)}.")
        self.name, self._rest, self._known = name, dict(content), list[str]()
        self._given = tuple(content)

    def take(
        self,
        key: str,
        kind: str,
        default: Any = None,
        *,
        required: bool = False,
        choices: Sequence[str] = (),
        is_open: bool = False,
    ) -> Any:
        """The value of a key, checked; ``default`` where it is not there. An open one is an axis and must not be there."""
        self._known.append(key)
        if is_open:
            if key in self._rest:
                raise ValueError(f"{self._place(key)} is an axis, too; remove one of the two.")
            return default
        if key not in self._rest:
            if required:
                raise ValueError(f"{self._place(key)} is missing; it must be {kind}.")
            return default
        value = self._rest.pop(key)
        if not is_kind(value, kind):
            raise ValueError(f"{self._place(key)} must be {kind}, but it is {shown(value)}.")
        if not is_finite(value):
            raise ValueError(f"{self._place(key)} must be finite in double precision, but it is {shown(value)}.")
        if choices and isinstance(value, str) and value not in choices:
            raise ValueError(f"{self._place(key)} must be one of {', '.join(choices)}, but it is {shown(value)}.")
        return value

    def table(self, key: str, *, required: bool = False) -> Table:
        """A table inside; an empty one where it is not there."""
        self._known.append(key)
        if required and key not in self._rest:
            raise ValueError(f"[{self._path(key)}] is missing.")
        return Table(self._path(key), self._rest.pop(key, {}))

    def raw(self, key: str, what: str) -> Any:
        """A value as it is."""
        self._known.append(key)
        if key not in self._rest:
            raise ValueError(f"{self._place(key)} is missing; it must be {what}.")
        return self._rest.pop(key)

    def names(self, key: str, allowed: Sequence[str], default: Sequence[str]) -> tuple[str, ...]:
        """A list of names, each one of the allowed."""
        self._known.append(key)
        value = self._rest.pop(key, list(default))
        if not isinstance(value, list) or not all(name in allowed for name in value):
            raise ValueError(f"{self._place(key)} must be a list of some of {', '.join(allowed)}, but it is {shown(value)}.")
        twice = [name for name in value if value.count(name) > 1]
        if twice:
            raise ValueError(f"{self._place(key)} names {twice[0]!r} twice; remove one.")
        return tuple(value)

    def holds(self, key: str) -> bool:
        """Whether a key is there, or was before it was taken."""
        return key in self._given

    def only(self, *allowed: str) -> None:
        """Refuses all other keys."""
        for key in self._rest:
            if key not in allowed:
                raise ValueError(f"{self._place(key)} is unknown; allowed are {', '.join(allowed)}.")

    def end(self) -> None:
        """Refuses keys that were not asked for."""
        self.only(*self._known)

    def _path(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _place(self, key: str) -> str:
        return f"[{self.name}] {key}" if self.name else f"[{key}]"


def is_kind(value: Any, kind: str) -> bool:
    """Whether a value is of a kind, such as ``NUMBER``; of kinds that are described in other words, a name or numbers."""
    match kind:
        case "a number":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "an integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "a string":
            return isinstance(value, str)
        case "true or false":
            return isinstance(value, bool)
        case "a number or an array of numbers":
            return is_kind(value, NUMBER) or is_kind(value, ARRAY)
        case "an array of numbers":
            return isinstance(value, list) and bool(value) and all(is_kind(part, NUMBERS) for part in value)
    return isinstance(value, str) or is_kind(value, NUMBERS)


def is_finite(value: Any) -> bool:
    """Whether all numbers are finite in double precision; what is no number is."""
    if isinstance(value, list):
        return all(map(is_finite, value))
    return not isinstance(value, (int, float)) or abs(value) <= sys.float_info.max


def array_of(table: Table, key: str, value: Any) -> np.ndarray:
    """Nested arrays of numbers as one; rows of different lengths are refused."""
    try:
        return np.asarray(value, float)
    except ValueError:
        raise ValueError(f"[{table.name}] {key} must have rows of equal length, but it is {shown(value)}.") from None


def count_of(table: Table, key: str, default: int, least: int = 1) -> int:
    """An integer that counts something."""
    value = table.take(key, WHOLE, default)
    if value < least:
        raise ValueError(f"[{table.name}] {key} must be at least {least}, but it is {value}.")
    if value > MOST:
        raise ValueError(f"[{table.name}] {key} must be at most {MOST}, but it is {value}.")
    return value


def seed_of(table: Table, is_open: bool = False) -> int:
    """The seed of random numbers."""
    value = table.take("seed", WHOLE, 0, is_open=is_open)
    if not is_seed(value):
        raise ValueError(f"[{table.name}] seed must be from 0 to {2**32 - 1}, but it is {value}.")
    return value


def is_seed(value: Any) -> bool:
    """Whether a value is an unsigned integer of 32 bits."""
    return is_kind(value, WHOLE) and 0 <= value < 2**32
