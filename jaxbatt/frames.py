"""A field along y as one along x, by a quarter turn about z: H stays real where it is, and every solver meets x and z alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxbatt._checks import concrete, real_array
from jaxbatt._types import Magnetization, State
from jaxbatt.battery import Battery, SpinBattery
from jaxbatt.paulis import PauliString, PauliStrings, PauliSum
from jaxbatt.protocols import Protocol


def turned(battery: Battery, protocol: Protocol) -> tuple[Battery, Protocol]:
    """A charging along y after the turn R = prod_i diag(1, -i), which takes Y to X, X to -Y and leaves Z; others as they are.

    Work, power and all bounds are those of before; the magnetization is turned back by :func:`turned_back`.
    """
    if protocol.axis != "y":
        return battery, protocol
    protocol = dataclasses.replace(protocol, axis="x")
    if battery.state is not None:
        battery = eqx.tree_at(lambda b: b.initial_state, battery, _turned_state(battery.state))
    if not isinstance(battery, SpinBattery):
        sums = _turned_sum(battery.energy), _turned_sum(battery.drift)
        return eqx.tree_at(lambda b: (b.energy, b.drift), battery, sums), protocol
    if battery.anisotropy.ndim == 0:
        return battery, protocol
    factors = _still_known(battery.anisotropy, lambda triple: triple[np.array([1, 0, 2])])
    return eqx.tree_at(lambda b: b.anisotropy, battery, factors), protocol


def turned_back(magnetization: Magnetization) -> Magnetization:
    """<X>, <Y>, <Z> from those of the turned state."""
    x, y, z = (magnetization[..., k] for k in range(3))
    return jnp.stack([-y, x, z], axis=-1)


def _turned_sum(pauli_sum: PauliSum) -> PauliSum:
    strings, signs = _turned_strings(pauli_sum.strings)
    return PauliSum(pauli_sum.n_spins, strings, _still_known(pauli_sum.coefficients, lambda values: values * signs))


def _still_known(array: Array, change: Callable[[Any], Any]) -> Array:
    """The changed array, known where it was, even while JAX traces something else."""
    values = concrete(array)
    return change(array) if values is None else real_array(change(values))


@functools.lru_cache(maxsize=256)
def _turned_strings(strings: tuple[PauliString, ...]) -> tuple[PauliStrings, Float[np.ndarray, " m"]]:
    """X and Y exchanged, and the sign of each string, -1 for every X that it had."""
    signs = [(-1.0) ** (string.flip & ~string.sign).bit_count() for string in strings]
    return PauliStrings(PauliString((s.flip, s.sign ^ s.flip)) for s in strings), np.array(signs)


@jax.jit
def _turned_state(state: State) -> Complex[Array, " d"]:
    # Compiled, so that no array of phases is made, and a state over many devices stays there.
    turns = jax.lax.population_count(jnp.arange(state.size)) & 3
    return state * jnp.array([1, -1j, -1, 1j], jnp.promote_types(state.dtype, jnp.complex64))[turns]
