"""Moments of H_0 that a charging curve does not hold: in the initial state, and the variance after charging."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxbatt._types import Scalar, State
from jaxbatt.battery import Battery, PauliBattery, SpinBattery
from jaxbatt.hamiltonian import model_of
from jaxbatt.paulis import PauliString, PauliSum


def full_charge(battery: Battery) -> Scalar:
    """Work of the state with all spins up: <up|H_0|up> - <H_0>_0."""
    if isinstance(battery, SpinBattery) and battery.start == "down":
        # Both ends have the same interaction energy.
        return 2 * jnp.sum(jnp.broadcast_to(battery.field, (battery.n_spins,)))
    energy = model_of(battery).energy
    return initial_value(energy, "up", None) - initial_value(energy, battery.start, battery.state)


def initial_value(operator: PauliSum, start: str, state: State | None) -> Scalar:
    """The expectation value of a Pauli sum in an initial state."""
    if state is not None:
        return jnp.vdot(state, operator @ state).real
    # Up is Z = +1: only products of Z have a value, and in the state down each of them the sign of its weight.
    signs = [0.0 if s.flip else (-1.0) ** (s.weight if start == "down" else 0) for s in operator.strings]
    return jnp.sum(operator.coefficients * np.array(signs))


def squared(operator: PauliSum) -> PauliSum:
    """The square of a Pauli sum: sum_i c_i^2 + 2 sum of c_i c_j P_i P_j over the pairs that commute; the others cancel."""
    terms: dict[PauliString, list[tuple[int, int, float]]] = defaultdict(list)
    strings = operator.strings
    for i in range(len(strings)):
        terms[PauliString((0, 0))].append((i, i, 1.0))
    for i, j in itertools.combinations(range(len(strings)), 2):
        a, b = strings[i], strings[j]
        crossings = (a.sign & b.flip).bit_count()
        if (crossings + (b.sign & a.flip).bit_count()) % 2 == 0:
            product = PauliString((a.flip ^ b.flip, a.sign ^ b.sign))
            # P = i**n_y X**flip Z**sign, and moving Z**sign of the first past X**flip of the second costs the crossings.
            phase = (a.n_y + b.n_y - product.n_y + 2 * crossings) % 4
            terms[product].append((i, j, 2.0 * (1 - phase)))
    rows = [(k, i, j, factor) for k, pairs in enumerate(terms.values()) for i, j, factor in pairs]
    target, first, second, factors = (np.array(column) for column in zip(*rows, strict=True))
    values = factors * operator.coefficients[first] * operator.coefficients[second]
    return PauliSum(operator.n_spins, tuple(terms), jnp.zeros(len(terms)).at[target].add(values))


def square_battery(battery: Battery) -> PauliBattery:
    """The battery whose work is the growth of <H_0^2>."""
    model = model_of(battery)
    start: Any = battery.start if battery.state is None else battery.state
    return PauliBattery(squared(model.energy), model.drift, battery.n_spins, start)


def variance(battery: Battery, squares: PauliBattery, work: Scalar, growth: Scalar) -> Scalar:
    """Var(H_0) after charging, from the work W and the growth of <H_0^2>."""
    first = initial_value(model_of(battery).energy, battery.start, battery.state)
    second = initial_value(squares.energy, battery.start, battery.state)
    return second + growth - (first + work) ** 2
