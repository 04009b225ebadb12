"""Random numbers of a study, looked at before any work: a compiled sweep cannot refuse them."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np

from jaxbatt.study.points import Point


def check_draws(point: Point, axes: dict[str, np.ndarray]) -> None:
    """Refuses every seed that draws a negative coupling or field for a battery that shall start in its ground state.

    The numbers drawn do not depend on how strong the disorder is, so its greatest strength and the least field decide.

    Raises:
        ValueError: such a seed, the first one; and what the battery without disorder is refused for.
    """
    if point.battery.start != "ground" or not point.is_disordered(axes):
        return
    values = point.fixed | {name: column[0].item() for name, column in axes.items()}
    values |= {name: axes[name].max().item() for name in ("g", "strength", "field_strength") if name in axes}
    values |= {"field": axes["field"].min().item()} if "field" in axes else {}
    if min(values["strength"], values["field_strength"]) < 0:
        return  # refused at the ends of the axes
    point.problem(values | {"strength": 0.0, "field_strength": 0.0})
    place = "[axes]" if "seed" in axes else "[disorder]"
    seeds = axes.get("seed", np.array([values["seed"]]))
    for n, kind in itertools.product(_all(point, axes, "n_spins"), _all(point, axes, "couplings")):
        for what, numbers in zip(
            ("coupling", "field"), _least(point, values | {"n_spins": n, "couplings": kind}, seeds), strict=True
        ):
            bad = seeds[numbers < 0]
            if len(bad):
                raise ValueError(
                    f"{place} seed {bad[0]} draws a negative {what} at n_spins = {n}, so all spins down need not be the ground "
                    'state; give [battery] initial_state = "down" to start there all the same, or a smaller strength.'
                )


def _all(point: Point, axes: dict[str, np.ndarray], name: str) -> list[Any]:
    return axes[name].tolist() if name in axes else [point.fixed[name]]


def _least(point: Point, values: dict[str, Any], seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S,) the least coupling and the least field for each seed."""

    def drawn(seed: Any) -> tuple[Any, Any]:
        battery, *_ = point.problem(values | {"seed": seed})
        return battery.couplings.min(), battery.field.min()

    couplings, fields = jax.lax.map(drawn, seeds, batch_size=1024)
    return np.asarray(couplings), np.asarray(fields)
