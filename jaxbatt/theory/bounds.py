"""Rigorous bounds on work and power under a constant field, and statements about the maximum of the power."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxbatt._checks import check_positive
from jaxbatt._types import ScalarLike
from jaxbatt.theory._conditions import check_not_negative, check_spins
from jaxbatt.theory.exact import BEST_POWER

Parameters = TypeVar("Parameters")


def max_work_bound(n: ScalarLike, field: ScalarLike, omega: ScalarLike) -> Array:
    """Bound on the work at any time: W <= N (B + sqrt(B^2 + omega^2)).

    Args:
        n: number of spins N.
        field: B.
        omega: charging field, in units of B.

    Returns:
        The bound, in units of B.

    Holds for every g_ij and anisotropy, from all spins down, under a constant uniform field along x with H_B off while charging:
    then W = sum_i [B (1 + <Z_i>) - omega <X_i>] (``work_from_magnetization``), and no Bloch vector is longer than 1. A field
    that changes in time is not bound by it.

    Source: consequence of energy conservation in the model of Le et al., PRA 97, 022106 (2018).
    """
    check_spins(n)
    return (jnp.hypot(field, omega) + field) * n


def work_bound(n: ScalarLike, field: ScalarLike, omega: ScalarLike, t: ArrayLike) -> Array:
    """Bound on the work at time t: W(t) <= N [2 B sin^2(omega t) + omega sin(2 omega t)] until that is largest, constant after.

    Args:
        n: number of spins N.
        field: B.
        omega: charging field, in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        The bound at each time, shaped as ``t``. The formula rises up to 2 |omega| t = pi - arctan(|omega| / B), in any case
        past |omega| t = pi/4 for B >= 0, and reaches ``max_work_bound`` there.

    Holds as ``max_work_bound`` does, if also jx = jy (any alpha). The mean spin (x, y, z) has dz/dt = 2 omega y, so that
    z <= -cos(2 omega t), and W / N = B (1 + z) - omega x <= B (1 + z) + |omega| sqrt(1 - z^2), which rises with z up to its
    maximum at z = B / sqrt(B^2 + omega^2).

    Source: consequence of energy conservation in the model of Le et al., PRA 97, 022106 (2018).
    """
    check_spins(n)
    rate = jnp.abs(omega)
    angle = jnp.minimum(2 * rate * jnp.abs(jnp.asarray(t)), jnp.pi - jnp.arctan2(rate, field))
    return (jnp.sin(angle / 2) ** 2 * (2 * field) + jnp.sin(angle) * rate) * n


def max_power_bound(n: ScalarLike, field: ScalarLike, omega: ScalarLike) -> Array:
    """Bound on the average power: P_max <= N (1.449222707553417 |omega| B + 2 omega^2).

    Args:
        n: number of spins N.
        field: B >= 0.
        omega: charging field, in units of B.

    Returns:
        The bound, in units of B^2. It is extensive: at fixed omega no interaction makes the power grow faster than N.

    Raises:
        ValueError: N < 1, or B < 0.

    Holds as ``work_bound`` does.

    Source: consequence of energy conservation in the model of Le et al., PRA 97, 022106 (2018).
    """
    check_spins(n)
    check_not_negative("field", field, "the battery is charged from spins down, its ground state for B >= 0")
    rate = jnp.abs(omega)
    return (rate * (BEST_POWER * field) + 2 * rate**2) * n


def certificate_time(capacity: ScalarLike, best_power: ScalarLike) -> Array:
    """Time after which no charging can beat a power already found: t = C / P_best.

    Args:
        capacity: C, any upper bound on the work, such as E_max(H_0) - E_0 or ``max_work_bound``, in units of B.
        best_power: P_best > 0, in units of B^2.

    Returns:
        The time, in units of 1/B: W(t) <= C implies P(t) = W(t)/t < P_best for all later t.

    Raises:
        ValueError: C or P_best not positive.

    Example: ``certificate_time(max_work_bound(8, 1.0, 4.0), best.power)`` is how far ``best`` has to be searched for.

    Source: definition of the average power in Le et al., PRA 97, 022106 (2018).
    """
    check_positive("capacity", capacity, "pass an upper bound on the work, such as E_max(H_0) - E_0")
    check_positive("best_power", best_power, "pass the largest power found so far")
    return jnp.asarray(capacity) / best_power


def max_power_gradient(work_gradient: Parameters, best_time: ScalarLike) -> Parameters:
    """Gradient of the largest power by the envelope theorem: d P_max / d theta = (dW / d theta)(T*) / T*.

    Args:
        work_gradient: dW / d theta at fixed time T*, any pytree of arrays.
        best_time: T* > 0, where P(T) = W(T)/T is largest.

    Returns:
        d P_max / d theta, the same pytree. The derivative of T* does not enter.

    Raises:
        ValueError: T* not positive.

    Holds where the maximum is unique and interior.

    Source: envelope theorem, for P of Le et al., PRA 97, 022106 (2018).
    """
    check_positive("best_time", best_time, "pass the charging time of the largest power")
    return jax.tree.map(lambda leaf: leaf / best_time, work_gradient)
