"""Study files of ``jaxbatt optimize``.

[battery]
n_spins = 8
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
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxbatt as jb
from jaxbatt.battery import Battery
from jaxbatt.protocols import Protocol
from jaxbatt.solvers import Solver
from jaxbatt.study.models import BatteryChoice, solver_named, solver_of
from jaxbatt.study.tables import NUMBER, SWITCH, WORD, Table, array_of, count_of, read_toml, seed_of, within


@dataclasses.dataclass(frozen=True)
class OptimalStudy:
    """What a study file of ``jaxbatt optimize`` asks for.

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

    def optimize(self, checkpoint: Path) -> jb.Optimum:
        """The optimum.

        Raises:
            ValueError: what ``jaxbatt.optimize`` refuses, after the place in the file.
        """
        try:
            return jb.optimize(self.batteries, self.protocol, solver=self.solver, checkpoint=checkpoint, **self.options)
        except ValueError as error:
            raise ValueError(f"{self._place(str(error))}{error}") from error

    def _place(self, message: str) -> str:
        """Where the value stands that a message is about: the first name between backticks, as far as it is in the file."""
        key = message.partition("`")[2].partition("`")[0]
        places = {"battery": "[battery] ", "protocol": "[protocol] ", "duration": "[protocol] duration: ", "solver": "[solver] "}
        if key in places:
            return places[key]
        return f"[optimize] {key}: " if key in self.options else ""


def read_optimal(path: str | os.PathLike[str]) -> OptimalStudy:
    """Reads a study file of ``jaxbatt optimize``.

    Raises:
        ValueError: a file that cannot be read or is no valid TOML; an unknown table or key; a value of a wrong type: each with
            what is allowed. And whatever the constructors refuse.
    """
    return parse_optimal(read_toml(path))


def parse_optimal(content: dict[str, Any]) -> OptimalStudy:
    """The study of a parsed file; see :func:`read_optimal`."""
    top = Table("", content)
    top.only("battery", "ensemble", "protocol", "solver", "optimize", "output")
    battery = _battery(BatteryChoice.of(top.table("battery", required=True)))
    batteries, over = _ensemble(top.table("ensemble"), battery)
    protocol, duration = _protocol(top.table("protocol", required=True), battery.n_spins)
    solver = solver_named(*solver_of(top.table("solver")))
    options = _options(top.table("optimize", required=True))
    output = top.table("output")
    points = count_of(output, "points", 201, 2)
    output.end()
    if options["objective"] != "power" and duration is None:
        raise ValueError(f'[protocol] duration is needed for objective = "{options["objective"]}".')
    held = {"duration": duration} if isinstance(protocol, jb.ConstantField) else {}
    return OptimalStudy(batteries, protocol, solver, options | held | {"ensemble": over}, points)


def _battery(choice: BatteryChoice) -> jb.SpinBattery:
    values = choice.values
    with within("[battery]"):
        return choice.build(choice.couplings(values), jnp.asarray(values["field"]), jnp.asarray(values["anisotropy"]))


def _ensemble(table: Table, battery: jb.SpinBattery) -> tuple[tuple[Battery, ...], str]:
    """Batteries whose couplings are multiplied by 1 + disorder * (normal numbers), each pair by its own."""
    members = count_of(table, "members", 1, 0)
    disorder = table.take("disorder", NUMBER, 0.0)
    seed = seed_of(table)
    over = table.take("over", WORD, "mean", choices=("mean", "worst"))
    table.end()
    if members < 1 or disorder < 0:
        raise ValueError(f"[ensemble] needs members >= 1 and disorder >= 0, but they are {members} and {disorder}.")
    if (members > 1) != (disorder > 0):
        raise ValueError(
            f"[ensemble] members > 1 and disorder > 0 belong together, but they are {members} and {disorder}; give both, or none."
        )
    for key in ("seed", "over"):
        if members == 1 and table.holds(key):
            raise ValueError(f"[ensemble] {key} has no effect on one battery; give members and disorder, or remove it.")
    if members == 1:
        return (battery,), over
    upper = np.triu(1 + disorder * np.random.default_rng(seed).standard_normal((members, *battery.couplings.shape)), 1)
    factors = np.abs(upper + upper.swapaxes(1, 2))
    return tuple(eqx.tree_at(lambda b: b.couplings, battery, battery.couplings * factor) for factor in factors), over


def _protocol(table: Table, n_spins: int) -> tuple[Protocol, float | None]:
    kind = table.take("kind", WORD, "piecewise", choices=("constant", "piecewise", "fourier"))
    axis = table.take("axis", WORD, "x", choices=("x", "y", "z"))
    shape: tuple[int, ...] = (n_spins,) if table.take("per_spin", SWITCH, False) else ()
    duration = table.take("duration", NUMBER)
    counts = {"constant": {}, "piecewise": {"pieces": 32}, "fourier": {"order": 4, "samples": 64}}[kind]
    numbers = {key: count_of(table, key, default) for key, default in counts.items()}
    table.end()
    if duration is not None and not duration > 0:
        raise ValueError(f"[protocol] `duration` must be positive, but it is {duration}; give the total charging time.")
    time = 1.0 if duration is None else duration
    with within("[protocol]"):
        match kind:
            case "constant":
                return jb.ConstantField(jnp.zeros(shape), axis), duration
            case "piecewise":
                return jb.PiecewiseField(jnp.zeros((numbers["pieces"], *shape)), time, axis), duration
        cosines, sines = jnp.zeros((numbers["order"] + 1, *shape)), jnp.zeros((numbers["order"], *shape))
        return jb.FourierField(cosines, sines, time, numbers["samples"], axis), duration


def _options(table: Table) -> dict[str, Any]:
    bounds = table.take("bounds", "a pair [lowest, highest] of numbers or arrays of numbers")
    steps, rate = count_of(table, "steps", 300), table.take("rate", NUMBER, 0.1)
    penalty = table.table("penalty")
    weights = {name: penalty.take(name, NUMBER, 0.0) for name in ("smoothness", "variance", "energy")}
    penalty.end()
    options = {
        "objective": table.take("objective", WORD, "power", choices=("power", "work", "time")),
        "energy": table.take("energy", NUMBER),
        "free_duration": table.take("free_duration", SWITCH, True),
        "target": table.take("target", NUMBER, 0.99),
        "couplings": table.take("couplings", WORD, "given", choices=("given", "nonnegative", "signed")),
        "starts": count_of(table, "starts", 8),
        "patience": count_of(table, "patience", 100),
        "key": jax.random.key(seed_of(table)),
    }
    table.end()
    if options["objective"] != "time" and table.holds("target"):
        raise ValueError(
            f'[optimize] target has no effect on objective = "{options["objective"]}"; take objective = "time", or remove it.'
        )
    if bounds is not None and (not isinstance(bounds, list) or len(bounds) != 2):
        raise ValueError(f"[optimize] bounds must be a pair [lowest, highest], but it is {bounds!r}.")
    if not rate > 0:
        raise ValueError(f"[optimize] rate must be positive, but it is {rate}.")
    sides = None if bounds is None else tuple(array_of(table, "bounds", side) for side in bounds)
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    with within("[optimize.penalty]"):
        weighing = jb.Penalty(**weights)
    return options | {"bounds": sides, "steps": steps, "penalty": weighing, "optimizer": optimizer}
