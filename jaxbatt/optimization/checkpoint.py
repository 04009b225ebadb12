"""Checkpoints: a line of JSON that says which problem it is, then the arrays. A file is either the old one or complete."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from jaxbatt._files import write_file

State = TypeVar("State")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A file that keeps the state of one problem, which is described item by item."""

    path: Path
    problem: dict[str, str]

    def save(self, state: Any) -> None:
        """Replaces the file in one step."""
        # In memory first: equinox hides why a disk fails.
        content = io.BytesIO()
        content.write(json.dumps(self.problem).encode() + b"\n")
        eqx.tree_serialise_leaves(content, state)
        write_file(self.path, content.getbuffer())

    def load(self, like: State) -> State:
        """The saved state, of the structure of ``like``.

        Raises:
            ValueError: the file is no checkpoint, a damaged one, or one of another problem; the first difference is named.
        """
        with self.path.open("rb") as file:
            try:
                saved = json.loads(file.readline())
            except ValueError:
                saved = None
            if not isinstance(saved, dict):
                raise ValueError(f"{self.path} is no checkpoint of jaxbatt; remove it, or name another file.")
            for name, value in self.problem.items():
                if saved.get(name) != value:
                    # What has a structure, or is told apart by a digest, says nothing to a reader.
                    shown = not re.search(r"PyTreeDef|\b(?<!\.)[0-9a-f]{12}\b", f"{saved.get(name)} {value}")
                    how = f"{name} was {saved.get(name)} there and is {value} here" if shown else f"it differs in {name}"
                    raise ValueError(f"{self.path} is the checkpoint of another problem: {how}; remove it, or name another file.")
            try:
                return eqx.tree_deserialise_leaves(file, like)
            except (EOFError, OSError, RuntimeError, TypeError, ValueError):
                raise ValueError(f"{self.path} is a damaged checkpoint; remove it, or name another file.") from None


def checkpoint_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is a checkpoint or may become one: its directory must be there."""
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"`checkpoint` must be the path of a file, but it is {path!r}.")
    place = Path(path)
    if place.is_dir():
        raise ValueError(f"`checkpoint` must be the path of a file, but {str(place)!r} is a directory; name a file in it.")
    if not place.parent.is_dir():
        raise ValueError(f"`checkpoint` must be a file in a directory, but there is no directory {str(place.parent)!r}.")
    return place


def fingerprint(value: Any) -> str:
    """What tells values apart: the structure, with small numbers in full and arrays by a digest."""
    leaves, structure = jax.tree.flatten(value)
    shown = ", ".join(_shown(leaf) for leaf in leaves)
    return f"{structure} of {shown}" if len(shown) + len(str(structure)) < 120 else _digest(f"{structure} {shown}")


def fingerprint_of_function(function: Any, *arguments: Any) -> str:
    """A digest of what a function computes: its operations, and the values of the arrays that it closes over."""
    traced = jax.make_jaxpr(function)(*arguments)
    return _digest(" ".join([str(traced), *map(_shown, _constants(traced))]))


def _constants(value: Any) -> Iterator[Any]:
    """All numbers in an expression of JAX, those of the expressions inside it too; its text leaves out most of them."""
    if isinstance(value, ClosedJaxpr):
        yield from value.consts
        yield from _constants(value.jaxpr)
    elif isinstance(value, Jaxpr):
        yield from (x.val for x in value.outvars if isinstance(x, Literal))
        for equation in value.eqns:
            yield from (x.val for x in equation.invars if isinstance(x, Literal))
            yield from _constants(tuple(equation.params.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _constants(item)
    elif isinstance(value, (np.ndarray, jax.Array)):
        yield value


def _shown(leaf: Any) -> str:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    if array.size == 1:
        return repr(array.item())
    return f"{array.dtype}{array.shape}:{hashlib.sha256(array.tobytes()).hexdigest()[:12]}"


def _digest(text: str) -> str:
    # Addresses in memory differ from process to process.
    return hashlib.sha256(re.sub(r"0x[0-9a-f]+", "", text).encode()).hexdigest()[:12]
