"""What changes nothing in a study of a sweep, and is refused: axes, gradients and keys that do nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jaxbatt.study.points import MAXIMA, TIMED, Point
from jaxbatt.study.tables import Table


def check_effect(point: Point, axes: Mapping[str, np.ndarray], disorder: Table, measure: Table) -> None:
    """Refuses what does nothing; the two tables are those of the file, from which everything has been taken."""
    idle = _idle(point, axes)
    quantities = ", ".join(point.quantities)
    for name in axes:
        if name in idle:
            raise ValueError(f"[axes] {name} does nothing: {idle[name]}, or remove the axis.")
    if point.gradients and not any(name in MAXIMA for name in point.quantities):
        raise ValueError(f"[measure] gradients have no effect on {quantities}; add max_power or max_work, or remove them.")
    for name in point.gradients:
        if name in idle:
            raise ValueError(f"[measure] gradients: that of {name} vanishes: {idle[name]}, or remove it.")
    if measure.holds("points") and "curve" not in point.quantities:
        raise ValueError(f"[measure] points has no effect on {quantities}; remove it.")
    for key in ("seed", "distribution"):
        if disorder.holds(key) and "seed" in idle:
            raise ValueError(f"[disorder] {key} has no effect: {idle['seed']}, or remove it.")


def _idle(point: Point, axes: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Names of what does nothing in any point of the grid, with the remedy."""
    found: dict[str, str] = {}
    quantities = ", ".join(point.quantities)
    if not any(name in TIMED for name in point.quantities):
        found["horizon"] = f"it has no effect on {quantities}; measure max_work"
    if point.quantities == ("charger",):
        found["solver"] = "the scale of a charger needs none; measure max_power"
        if not point.battery.kept:
            found |= dict.fromkeys(("field", "field_strength"), "B is off while charging; set [battery] field_while_charging")
        if not point.battery.interacting:
            off = "the interactions are off while charging; set [battery] interactions_while_charging"
            found |= dict.fromkeys(("couplings", "g", "p", "anisotropy", "strength"), off)
    found = _idle_couplings(point, axes) | _idle_field(point) | found
    if not any(_is_used(point, axes, name) and name not in found for name in ("strength", "field_strength")):
        found["seed"] = "there is no disorder; give [disorder] strength or field_strength"
    return found


def _idle_field(point: Point) -> dict[str, str]:
    """What does nothing because no field moves the spins, which all start down or up."""
    levels, anisotropy = point.levels, np.atleast_1d(point.fixed.get("anisotropy", 0.0))
    if levels is not None and not np.any(levels):
        return {"omega": "the levels of the field are zero; give others"}
    keeps = point.direction == "z" and (len(anisotropy) == 1 or anisotropy[0] == anisotropy[1])
    if not keeps or "charger" in point.quantities:
        return {}
    names = ("omega", "field", "couplings", "g", "p", "anisotropy", "strength", "field_strength")
    return dict.fromkeys(names, 'a field along z leaves all spins as they are; take [protocol] axis = "x"')


def _idle_couplings(point: Point, axes: Mapping[str, np.ndarray]) -> dict[str, str]:
    """What does nothing for want of couplings, or of a second distance between spins."""
    most, kinds = np.max(_span(point, axes, "n_spins")), _span(point, axes, "couplings")
    is_matrix = kinds.dtype.kind != "U"
    has_kinds = bool(np.any(kinds)) if is_matrix else most > 1
    if not has_kinds:
        return dict.fromkeys(("couplings", "g", "p", "anisotropy", "strength"), "there are no couplings; give some")
    if not _is_used(point, axes, "g"):
        return dict.fromkeys(("couplings", "p", "anisotropy", "strength"), "the couplings are zero; give [battery] g")
    if most < 3:
        return dict.fromkeys(("couplings", "p"), "two spins are one distance apart; take more")
    if is_matrix or "power_law" not in kinds:
        return {"p": "it is the exponent of power_law; take these couplings"}
    return {}


def _is_used(point: Point, axes: Mapping[str, np.ndarray], name: str) -> bool:
    """Whether a factor is not zero everywhere, or its effect near zero is asked for."""
    return bool(np.any(_span(point, axes, name))) or name in point.gradients


def _span(point: Point, axes: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return axes[name] if name in axes else np.asarray(point.fixed[name])
