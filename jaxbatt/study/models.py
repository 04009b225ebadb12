"""Batteries and solvers of study files."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import jax.numpy as jnp

import jaxbatt as jb
from jaxbatt._checks import check_room_for_couplings, check_spin_count
from jaxbatt._types import Couplings
from jaxbatt.propagators import reachable_tolerance
from jaxbatt.solvers import Solver
from jaxbatt.study.tables import NUMBER, NUMBERS, SWITCH, WHOLE, WORD, Table, array_of, within

_STEPPED = {"chebyshev": jb.Chebyshev, "krylov": jb.Krylov, "taylor": jb.Taylor}
METHODS = ("auto", *_STEPPED, "spectral", "collective", "mean-field")
"""Names of solvers."""
LATTICES = ("power_law", "nearest_neighbor")
"""Names of couplings."""


def solver_named(name: str, tol: float | None = None) -> Solver | None:
    """A solver by its name, None for "auto"."""
    options: dict[str, Any] = {} if tol is None else {"tol": tol}
    # As where no method is named: in single precision a larger error than the default of the propagators.
    of_state = reachable_tolerance(jnp.result_type(float)) if tol is None else tol
    if name in _STEPPED:
        return jb.StateVector(_STEPPED[name](of_state))
    match name:
        case "spectral":
            return jb.Spectral(**options)
        case "mean-field":
            return jb.MeanField(**options)
        case "collective":
            return jb.Collective(jb.Krylov(of_state))
    return None


def check_spins(place: str, n: int) -> None:
    """Refuses a number of spins below one, and one whose matrix of couplings does not fit the memory."""
    with within(f"{place} n_spins:"):
        check_spin_count(n)
        check_room_for_couplings(n)


@dataclasses.dataclass(frozen=True, eq=False)
class BatteryChoice:
    """A battery of a study, in which some values may still be open.

    Attributes:
        values: n_spins, couplings (a name or a matrix), g, p, field, anisotropy, but those that are open.
        kac: whether the power law is divided by its Kac sum.
        start: "ground", "down" or "up".
        kept: whether the field stays on while charging.
        interacting: whether the interactions stay on while charging.
    """

    values: dict[str, Any]
    kac: bool
    start: Any
    kept: bool
    interacting: bool

    @classmethod
    def of(cls, table: Table, open_keys: Collection[str] = ()) -> BatteryChoice:
        """Takes all keys of [battery] but the open ones, which must not be there."""
        kinds: dict[str, tuple[str, Any, dict[str, Any]]] = {
            "n_spins": (WHOLE, None, {"required": True}),
            "couplings": ("power_law, nearest_neighbor or a matrix", "power_law", {"choices": LATTICES}),
            "g": (NUMBER, 1.0, {}),
            "p": (NUMBER, None, {}),
            "field": (NUMBERS, 1.0, {}),
            "anisotropy": (NUMBERS, 0.0, {}),
        }
        values = {
            key: table.take(key, kind, default, is_open=key in open_keys, **options)
            for key, (kind, default, options) in kinds.items()
        }
        choice = cls(
            {key: value for key, value in values.items() if key not in open_keys},
            table.take("kac", SWITCH, False),
            table.take("initial_state", WORD, "ground", choices=("ground", "down", "up")),
            table.take("field_while_charging", SWITCH, False),
            table.take("interactions_while_charging", SWITCH, True),
        )
        table.end()
        return choice._checked(table, open_keys)

    def build(self, couplings: Couplings, field: Any, anisotropy: Any) -> jb.SpinBattery:
        """The battery with these numbers."""
        return jb.SpinBattery(
            field,
            couplings,
            anisotropy,
            initial_state=None if self.start == "ground" else self.start,
            field_while_charging=self.kept,
            interactions_while_charging=self.interacting,
        )

    def couplings(self, values: Mapping[str, Any]) -> Couplings:
        """The couplings, with all values given."""
        kind, n, g = values["couplings"], values["n_spins"], values["g"]
        if not isinstance(kind, str):
            return jnp.asarray(kind) * g
        return jb.power_law(n, g, values["p"], kac=self.kac) if kind == "power_law" else jb.nearest_neighbor(n, g)

    def _checked(self, table: Table, open_keys: Collection[str]) -> BatteryChoice:
        values, kind = dict(self.values), self.values.get("couplings")
        if "n_spins" in values:
            check_spins("[battery]", values["n_spins"])
        for key in ("field", "anisotropy"):
            if key in values:
                values[key] = array_of(table, key, values[key])
        is_law = kind == "power_law" or "couplings" in open_keys
        given = [key for key, there in (("p", values.get("p") is not None or "p" in open_keys), ("kac", self.kac)) if there]
        if given and not is_law:
            what = {"p": "is the exponent of power_law", "kac": "is the normalization of power_law"}[given[0]]
            raise ValueError(f"[battery] {given[0]} {what} and has no meaning for other couplings; remove it.")
        if kind is not None and not isinstance(kind, str):
            values["couplings"] = array_of(table, "couplings", kind)
            shape, n = values["couplings"].shape, values.get("n_spins")
            if "n_spins" in open_keys or shape != (n, n):
                raise ValueError(f"[battery] couplings must be a matrix ({n or 'N'}, {n or 'N'}), but its shape is {shape}.")
        if "p" in values and values["p"] is None:
            values["p"] = 1.0
        return dataclasses.replace(self, values=values)


def solver_of(table: Table, is_open: bool = False) -> tuple[str, float | None]:
    """Name and tolerance of the solver in [solver]."""
    kind = table.take("kind", WORD, "auto", choices=METHODS, is_open=is_open)
    tol = table.take("tol", NUMBER)
    table.end()
    if tol is not None and (is_open or kind == "auto"):
        raise ValueError("[solver] tol needs a kind of solver whose tolerance it is.")
    with within("[solver]"):
        solver_named(kind, tol)
    return kind, tol
