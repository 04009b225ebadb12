"""Tables of a TOML file, from which keys are taken one by one, each with the kind of value that it must have."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

NUMBER = "a number"
WHOLE = "an integer"
WORD = "a string"
SWITCH = "true or false"
NUMBERS = "a number or an array of numbers"


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a file; a ValueError where it is no TOML."""
    with Path(path).open("rb") as file:
        try:
            return tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is no valid TOML: {error}.") from error


class Table:
    """A table of a study file, from which keys are taken one by one; what is left at the end is unknown."""

    def __init__(self, name: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"[{name}] must be a table, but it is {content!r}.")
        self.name, self._rest, self._known = name, dict(content), list[str]()

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
            raise ValueError(f"{self._place(key)} must be {kind}, but it is {value!r}.")
        if choices and isinstance(value, str) and value not in choices:
            raise ValueError(f"{self._place(key)} must be one of {', '.join(choices)}, but it is {value!r}.")
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
        if not isinstance(value, list) or not all(name in allowed for name in value) or len(set(value)) < len(value):
            raise ValueError(f"{self._place(key)} must be a list of some of {', '.join(allowed)}, but it is {value!r}.")
        return tuple(value)

    def holds(self, key: str) -> bool:
        """Whether a key is there."""
        return key in self._rest

    def end(self) -> None:
        """Refuses keys that were not asked for."""
        if self._rest:
            unknown = next(iter(self._rest))
            allowed = ", ".join(self._known)
            raise ValueError(f"{self._place(unknown)} is unknown; allowed are {allowed}.")

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
            return is_kind(value, NUMBER) or (
                isinstance(value, list) and bool(value) and all(is_kind(part, NUMBERS) for part in value)
            )
    return isinstance(value, str) or is_kind(value, NUMBERS)


def array_of(table: Table, key: str, value: Any) -> np.ndarray:
    """Nested arrays of numbers as one; rows of different lengths are refused."""
    try:
        return np.asarray(value, float)
    except ValueError:
        raise ValueError(f"[{table.name}] {key} must have rows of equal length, but it is {value!r}.") from None


def at_least_one(table: Table, key: str, default: int) -> int:
    """A positive integer."""
    value = table.take(key, WHOLE, default)
    if value < 1:
        raise ValueError(f"[{table.name}] {key} must be at least 1, but it is {value}.")
    return value
