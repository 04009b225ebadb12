"""Study files: TOML to batteries, protocols, solvers and the options of ``optimize``.

[battery]
n = 8
couplings = "power_law"        # or "nearest_neighbor", or a matrix
p = 1.0

[protocol]
kind = "piecewise"             # or "constant", "fourier"
pieces = 32

[optimize]
objective = "power"
bounds = [-4.0, 4.0]
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxbatt as jb
from jaxbatt._types import Couplings
from jaxbatt.battery import Battery
from jaxbatt.protocols import Protocol
from jaxbatt.solvers import Solver

_STEPPED = {"chebyshev": jb.Chebyshev, "krylov": jb.Krylov, "taylor": jb.Taylor}
METHODS = ("auto", *_STEPPED, "spectral", "collective", "mean-field")
"""Names of solvers."""

_NUMBER = "a number"
_WHOLE = "an integer"
_WORD = "a string"
_SWITCH = "true or false"
_NUMBERS = "a number or an array of numbers"


@dataclasses.dataclass(frozen=True)
class Study:
    """What a study file asks for.

    Attributes:
        batteries: the battery, or all members of an ensemble.
        protocol: the charging field, for its kind and shape.
        solver: None for the default.
        options: keyword arguments of ``optimize``.
        points: how many times of the curves are kept.
    """

    batteries: tuple[Battery, ...]
    protocol: Protocol
    solver: Solver | None
    options: dict[str, Any]
    points: int


def read_study(path: str | os.PathLike[str]) -> Study:
    """Reads a study file.

    Raises:
        ValueError: no valid TOML; an unknown table or key; a value of a wrong type: each with what is allowed. And whatever the
            constructors refuse.
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        try:
            content = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is no valid TOML: {error}.") from error
    return parse_study(content)


def parse_study(content: dict[str, Any]) -> Study:
    """The study of a parsed file; see :func:`read_study`."""
    top = Table("", content)
    battery = _battery(top.table("battery", required=True))
    batteries, over = _ensemble(top.table("ensemble"), battery)
    protocol, duration = _protocol(top.table("protocol", required=True), battery.n_spins)
    solver = _solver(top.table("solver"))
    options = _options(top.table("optimize", required=True))
    output = top.table("output")
    points = output.take("points", _WHOLE, 201)
    if points < 2:
        raise ValueError(f"[output] points must be at least 2, but it is {points}.")
    output.end()
    top.end()
    if options["objective"] != "power" and duration is None:
        raise ValueError(f'[protocol] duration is needed for objective = "{options["objective"]}".')
    held = {"duration": duration} if isinstance(protocol, jb.ConstantField) else {}
    return Study(batteries, protocol, solver, options | held | {"ensemble": over}, points)


def solver_named(name: str, tol: float | None = None) -> Solver | None:
    """A solver by its name, None for "auto"."""
    options: dict[str, Any] = {} if tol is None else {"tol": tol}
    if name in _STEPPED:
        return jb.StateVector(_STEPPED[name](**options))
    match name:
        case "spectral":
            return jb.Spectral(**options)
        case "mean-field":
            return jb.MeanField(**options)
        case "collective":
            return jb.Collective(jb.Krylov(**options))
    return None


class Table:
    """A table of a study file, from which keys are taken one by one; what is left at the end is unknown."""

    def __init__(self, name: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"[{name}] must be a table, but it is {content!r}.")
        self.name, self._rest, self._known = name, dict(content), list[str]()

    def take(self, key: str, kind: str, default: Any = None, *, required: bool = False, choices: Sequence[str] = ()) -> Any:
        """The value of a key, checked; ``default`` where it is not there."""
        self._known.append(key)
        if key not in self._rest:
            if required:
                raise ValueError(f"{self._place(key)} is missing; it must be {kind}.")
            return default
        value = self._rest.pop(key)
        if not _is(value, kind):
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


def _is(value: Any, kind: str) -> bool:
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
            return _is(value, _NUMBER) or (isinstance(value, list) and bool(value) and all(_is(part, _NUMBERS) for part in value))
    return isinstance(value, str) or _is(value, _NUMBERS)


def _array(table: Table, key: str, value: Any) -> np.ndarray:
    """Nested arrays of numbers as one; rows of different lengths are refused."""
    try:
        return np.asarray(value, float)
    except ValueError:
        raise ValueError(f"[{table.name}] {key} must have rows of equal length, but it is {value!r}.") from None


def _battery(table: Table) -> jb.SpinBattery:
    n = table.take("n", _WHOLE, required=True)
    kind = table.take(
        "couplings", "power_law, nearest_neighbor or a matrix", "power_law", choices=("power_law", "nearest_neighbor")
    )
    g, p = table.take("g", _NUMBER, 1.0), table.take("p", _NUMBER)
    field = _array(table, "field", table.take("field", _NUMBERS, 1.0))
    anisotropy = _array(table, "anisotropy", table.take("anisotropy", _NUMBERS, 0.0))
    start = table.take("initial_state", _WORD, "ground", choices=("ground", "down", "up"))
    kept = table.take("field_while_charging", _SWITCH, False)
    interacting = table.take("interactions_while_charging", _SWITCH, True)
    table.end()
    if kind != "power_law" and p is not None:
        raise ValueError("[battery] p is the exponent of power_law and has no meaning for other couplings; remove it.")
    return jb.SpinBattery(
        jnp.asarray(field),
        _couplings(table, n, kind, g, 1.0 if p is None else p),
        jnp.asarray(anisotropy),
        initial_state=None if start == "ground" else start,
        field_while_charging=kept,
        interactions_while_charging=interacting,
    )


def _couplings(table: Table, n: int, kind: Any, g: float, p: float) -> Couplings:
    if isinstance(kind, str):
        return jb.power_law(n, g, p) if kind == "power_law" else jb.nearest_neighbor(n, g)
    matrix = g * _array(table, "couplings", kind)
    if matrix.shape != (n, n):
        raise ValueError(f"[battery] couplings must be a matrix ({n}, {n}), but its shape is {matrix.shape}.")
    return jnp.asarray(matrix)


def _ensemble(table: Table, battery: jb.SpinBattery) -> tuple[tuple[Battery, ...], str]:
    """Batteries whose couplings are multiplied by 1 + disorder * (normal numbers), each pair by its own."""
    members = table.take("members", _WHOLE, 1)
    disorder = table.take("disorder", _NUMBER, 0.0)
    seed = table.take("seed", _WHOLE, 0)
    over = table.take("over", _WORD, "mean", choices=("mean", "worst"))
    table.end()
    if members < 1 or disorder < 0:
        raise ValueError(f"[ensemble] needs members >= 1 and disorder >= 0, but they are {members} and {disorder}.")
    if members == 1:
        return (battery,), over
    upper = np.triu(1 + disorder * np.random.default_rng(seed).standard_normal((members, *battery.couplings.shape)), 1)
    factors = np.abs(upper + upper.swapaxes(1, 2))
    return tuple(eqx.tree_at(lambda b: b.couplings, battery, battery.couplings * factor) for factor in factors), over


def _protocol(table: Table, n_spins: int) -> tuple[Protocol, float | None]:
    kind = table.take("kind", _WORD, "piecewise", choices=("constant", "piecewise", "fourier"))
    axis = table.take("axis", _WORD, "x", choices=("x", "y", "z"))
    shape: tuple[int, ...] = (n_spins,) if table.take("per_spin", _SWITCH, False) else ()
    duration = table.take("duration", _NUMBER)
    time = 1.0 if duration is None else duration
    protocol: Protocol
    if kind == "constant":
        protocol = jb.ConstantField(jnp.zeros(shape), axis)
    elif kind == "piecewise":
        pieces = _at_least_one(table, "pieces", 32)
        protocol = jb.PiecewiseField(jnp.zeros((pieces, *shape)), time, axis)
    else:
        order, samples = _at_least_one(table, "order", 4), _at_least_one(table, "samples", 64)
        protocol = jb.FourierField(jnp.zeros((order + 1, *shape)), jnp.zeros((order, *shape)), time, samples, axis)
    table.end()
    return protocol, duration


def _at_least_one(table: Table, key: str, default: int) -> int:
    value = table.take(key, _WHOLE, default)
    if value < 1:
        raise ValueError(f"[{table.name}] {key} must be at least 1, but it is {value}.")
    return value


def _solver(table: Table) -> Solver | None:
    kind = table.take("kind", _WORD, "auto", choices=METHODS)
    tol = table.take("tol", _NUMBER)
    table.end()
    if kind == "auto" and tol is not None:
        raise ValueError("[solver] tol needs a kind of solver whose tolerance it is.")
    return solver_named(kind, tol)


def _options(table: Table) -> dict[str, Any]:
    bounds = table.take("bounds", "a pair [lowest, highest] of numbers or arrays of numbers")
    steps, rate = _at_least_one(table, "steps", 300), table.take("rate", _NUMBER, 0.1)
    penalty = table.table("penalty")
    weights = {name: penalty.take(name, _NUMBER, 0.0) for name in ("smoothness", "variance", "energy")}
    penalty.end()
    options = {
        "objective": table.take("objective", _WORD, "power", choices=("power", "work", "time")),
        "energy": table.take("energy", _NUMBER),
        "free_duration": table.take("free_duration", _SWITCH, True),
        "target": table.take("target", _NUMBER, 0.99),
        "couplings": table.take("couplings", _WORD, "given", choices=("given", "nonnegative", "signed")),
        "starts": table.take("starts", _WHOLE, 8),
        "patience": table.take("patience", _WHOLE, 100),
        "key": jax.random.key(table.take("seed", _WHOLE, 0)),
    }
    table.end()
    if bounds is not None and (not isinstance(bounds, list) or len(bounds) != 2):
        raise ValueError(f"[optimize] bounds must be a pair [lowest, highest], but it is {bounds!r}.")
    if not rate > 0:
        raise ValueError(f"[optimize] rate must be positive, but it is {rate}.")
    sides = None if bounds is None else tuple(_array(table, "bounds", side) for side in bounds)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    return options | {"bounds": sides, "steps": steps, "penalty": jb.Penalty(**weights), "optimizer": optimizer}
