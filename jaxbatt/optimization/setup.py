"""From the arguments of ``optimize`` to a space and a goal; what cannot be optimized is refused here, before any long work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._checks import check_positive, concrete, total_memory
from jaxbatt._types import ScalarLike
from jaxbatt.battery import Battery, PauliBattery, SpinBattery
from jaxbatt.charging import max_power
from jaxbatt.optimization.moments import full_charge
from jaxbatt.optimization.objectives import Objective, Task
from jaxbatt.optimization.space import CouplingChoice, Space
from jaxbatt.protocols import ConstantField, FourierField, PiecewiseField, Protocol
from jaxbatt.solvers import Collective, Solver, Spectral, StateVector, check_kinds, is_uniform

_WIDEST = 64.0
"""A free duration is looked for within this factor of its first guess, to either side: a constant field charges strongly coupled
spins hardly and is best at once, while one that follows their precession needs many of its periods."""
_SPECTRAL = 6
"""Most spins for which the gradient through a diagonalization of each piece is cheaper than through steps, measured."""
_VECTORS = 40
"""Real vectors of 2**N numbers for the gradient of one start."""
_MATRICES = 12
"""Real matrices (2**N, 2**N) for each piece of the protocol of one start, where it is diagonalized."""


def members_of(battery: Battery | Sequence[Battery]) -> tuple[Battery, ...]:
    """The batteries of an ensemble, or the one."""
    try:
        members = (battery,) if isinstance(battery, (SpinBattery, PauliBattery)) else tuple(battery)
    except TypeError:
        members = ()
    if not members or not all(isinstance(member, (SpinBattery, PauliBattery)) for member in members):
        raise ValueError(f"`battery` must be a battery or several, but it is {battery!r}.")
    kinds = {(jax.tree.structure(member), tuple(np.shape(leaf) for leaf in jax.tree.leaves(member))) for member in members}
    if len(kinds) > 1:
        raise ValueError(
            "the batteries of an ensemble must differ in their numbers only, but these differ in structure "
            "(number of spins, initial state, what stays on while charging, Pauli strings)."
        )
    return members


def check_choices(
    batteries: tuple[Battery, ...],
    protocol: Protocol,
    objective: Objective,
    bounds: Any,
    target: float,
    couplings: CouplingChoice,
    ensemble: str,
) -> None:
    """Refuses what has no meaning, and what has no optimum."""
    if any(concrete(leaf) is None for leaf in jax.tree.leaves((batteries, protocol))):
        raise ValueError("`optimize` runs on the host and cannot be traced; call it outside of jit, vmap and grad.")
    if not isinstance(protocol, (ConstantField, PiecewiseField, FourierField)):
        raise ValueError(
            f"`protocol` must be a ConstantField, PiecewiseField or FourierField, but it is of type {type(protocol).__name__}."
        )
    for battery in batteries:
        check_kinds(battery, protocol)
    for name, value, allowed in (
        ("objective", objective if not callable(objective) else "power", ("power", "work", "time")),
        ("couplings", couplings, ("given", "nonnegative", "signed")),
        ("ensemble", ensemble, ("mean", "worst")),
    ):
        if value not in allowed:
            raise ValueError(f"`{name}` must be one of {', '.join(map(repr, allowed))}, but it is {value!r}.")
    if bounds is None:
        raise ValueError(
            "`bounds` are needed: without a bound on the field the power has no maximum, for it grows with the field; "
            "pass bounds=(lowest, highest)."
        )
    if not 0 < target < 1:
        raise ValueError(f"`target` must be between 0 and 1, a fraction of the full charge, but it is {target}.")
    if couplings != "given":
        if len(batteries) > 1:
            raise ValueError(f"`couplings` can be designed for one battery only, but there are {len(batteries)}.")
        if not isinstance(batteries[0], SpinBattery) or not np.any(np.asarray(batteries[0].couplings)):
            raise ValueError(
                "`couplings` can be designed for a SpinBattery with couplings only; theirs is the norm that is kept."
            )


def check_room(levels: tuple[np.ndarray, np.ndarray], energy: ScalarLike | None) -> None:
    """Refuses bounds that leave no room for a constant field, or for weakening it where the energy is bounded."""
    low, high = levels
    if not np.any(low) and not np.any(high):
        raise ValueError("`bounds` must allow a field, but both are 0 everywhere; nothing would be charged.")
    if energy is not None:
        check_positive("energy", energy, "give the most pulse energy")
        if np.any((low > 0) | (high < 0)):
            raise ValueError("`energy` bounds the pulse by weakening the field, so the bounds must contain 0, but they do not.")
    if np.any(low.max(axis=0) > high.min(axis=0)):
        raise ValueError(
            "`bounds` must leave room for a constant field, for comparison, but no value is within them at all times."
        )


def check_solver(task: Task) -> None:
    """Refuses a solver that does not apply to all that the search may come to."""
    low, high = task.space.low, task.space.high
    levels = low + (high - low) * np.random.default_rng(0).uniform(size=low.shape)
    pairs = None if task.space.strength is None else jnp.arange(1.0, task.space.n_spins * (task.space.n_spins - 1) // 2 + 1)
    point = task.space.point(levels, task.space.scale, pairs)
    for battery in task.batteries:
        task.solver.prepare(task.space.battery(point, battery), task.space.protocol(point))


def space_of(
    battery: Battery,
    protocol: Protocol,
    levels: tuple[np.ndarray, np.ndarray],
    scale: float,
    free: bool,
    energy: ScalarLike | None,
    couplings: CouplingChoice,
) -> Space:
    """The space between the given levels."""
    low, high = levels
    return Space(
        template=protocol,
        low=low,
        high=high,
        scale=scale,
        widest=_WIDEST if free else 1.0,
        energy=None if energy is None else float(energy),
        n_spins=battery.n_spins,
        strength=None if couplings == "given" else float(np.linalg.norm(pairs_of(battery))),
        signed=couplings == "signed",
    )


def first_duration(
    battery: Battery,
    protocol: Protocol,
    levels: tuple[np.ndarray, np.ndarray],
    duration: ScalarLike | None,
    by_power: bool,
    solver: Solver,
) -> float:
    """The duration, or the first guess of a free one: as given, else best for the power, else the protocol's own."""
    if duration is not None:
        check_positive("duration", duration, "give the charging time")
        return float(duration)
    low, high = (side[0] for side in levels)
    strongest = np.where(np.abs(high) >= np.abs(low), high, low)
    if by_power and np.any(strongest != 0):
        field = ConstantField(strongest, protocol.axis)
        try:
            time = float(max_power(battery, field, solver=solver).time)
        except ValueError:
            # No certificate, as of strongly coupled spins that charge slowly: the first peak will do for a scale.
            time = float(max_power(battery, field, solver=solver, first_peak=True).time)
        if time > 0:
            return time
    end = float(protocol.edges[-1])
    if not np.isfinite(end):
        raise ValueError("`duration` is needed: the charging time of a ConstantField, or a first guess of it.")
    return end


def full_charges(batteries: tuple[Battery, ...], objective: Objective) -> Float[Array, " b"]:
    """Work of a full charge of each battery, where the objective needs it."""
    if objective != "time":
        return jnp.ones(len(batteries))
    full = jnp.stack([full_charge(battery) for battery in batteries])
    if not np.all(np.asarray(full) > 0):
        raise ValueError(
            f"`battery` must hold more energy with all spins up than at first, but the difference is {float(full.min())}."
        )
    return full


def cheapest_solver(batteries: tuple[Battery, ...], protocol: Protocol, couplings: CouplingChoice) -> Solver:
    """The default solver: every piece of every start is evolved anew in each step."""
    n = batteries[0].n_spins
    uniform = ConstantField(1.0, protocol.axis)
    alike = protocol.levels.ndim == 1 and couplings == "given"
    if alike and all(isinstance(b, SpinBattery) and b.start != "array" and is_uniform(b, uniform) for b in batteries):
        return Collective() if n > _SPECTRAL else Spectral()
    return Spectral() if n <= _SPECTRAL else StateVector()


def chunk_of(starts: int, batteries: tuple[Battery, ...], protocol: Protocol, solver: Solver) -> int:
    """How many starts run at once: the largest divisor of all whose gradients fit a quarter of the whole memory.

    Not of what is free: a run that is resumed must do the same arithmetic.
    """
    n = batteries[0].n_spins
    if isinstance(solver, Spectral):
        each = 8 * _MATRICES * len(protocol.levels) * 4**n
    else:
        each = 8 * _VECTORS * (2**n if isinstance(solver, StateVector) else n + 1)
    fitting = total_memory() // 4 // (each * len(batteries))
    return max(d for d in range(1, starts + 1) if starts % d == 0 and d <= max(1, fitting))


def pairs_of(battery: Battery) -> np.ndarray:
    """g_ij for i < j."""
    couplings = battery.couplings if isinstance(battery, SpinBattery) else np.zeros((battery.n_spins,) * 2)
    return np.asarray(couplings)[np.triu_indices(battery.n_spins, 1)]
