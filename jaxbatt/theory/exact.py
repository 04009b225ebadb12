"""Charging curves that are exact at any size: independent spins, interactions off while charging, two Ising spins."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxbatt._checks import check_couplings, check_finite
from jaxbatt._types import Couplings, Scalar, ScalarLike
from jaxbatt.theory._conditions import check_not_negative, check_spins

BEST_ANGLE = 1.165561185207211  # the root of tan x = 2x in (0, pi/2), where sin(x)^2 / x is largest
BEST_POWER = 2 * math.sin(BEST_ANGLE) ** 2 / BEST_ANGLE  # 1.449222707553417, in units of N omega B


def total_coupling(couplings: Couplings) -> Scalar:
    """Total coupling of the battery: G = sum_{i<j} g_ij.

    Args:
        couplings: (N, N) symmetric g_ij with zero diagonal, in units of B.

    Returns:
        G; the energy of all spins down is -N B - G.

    Raises:
        ValueError: couplings that are not such a matrix.

    Source: Le et al., PRA 97, 022106 (2018), text of Eq. 18.
    """
    check_couplings(couplings)
    return jnp.sum(jnp.asarray(couplings)) / 2


def independent_work(n: ScalarLike, field: ScalarLike, omega: ScalarLike, t: ArrayLike) -> Array:
    """Work of N independent spins: W(t) = 2 N B sin^2(omega t).

    Args:
        n: number of spins N.
        field: B.
        omega: charging field, in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        W at each time, shaped as ``t``.

    Holds exactly for g_ij = 0, and for alpha = 1 (XXX) with any g_ij: all spins down is rotated as a whole.

    Source: Le et al., PRA 97, 022106 (2018), single cell and XXX chain, section III.
    """
    check_spins(n)
    return jnp.sin(omega * jnp.asarray(t)) ** 2 * (2 * n * field)


def independent_max_power(n: ScalarLike, field: ScalarLike, omega: ScalarLike) -> Array:
    """Largest average power of N independent spins: P_max = max_T 2 N B sin^2(omega T) / T = 1.449222707553417 N B |omega|.

    Args:
        n: number of spins N.
        field: B >= 0.
        omega: charging field, in units of B.

    Returns:
        P_max, in units of B^2.

    Raises:
        ValueError: N < 1, or B < 0.

    The number is 2 sin^2(x) / x at tan x = 2x. Holds where ``independent_work`` does.

    Source: Le et al., PRA 97, 022106 (2018), section III ("1.4 omega B").
    """
    check_spins(n)
    check_not_negative("field", field, "the battery is charged from spins down, its ground state for B >= 0")
    return jnp.abs(omega) * (BEST_POWER * n * field)


def independent_max_power_time(omega: ScalarLike) -> Array:
    """Charging time of the largest average power of independent spins: T = 1.165561185207211 / |omega|.

    Args:
        omega: charging field, not zero, in units of B.

    Returns:
        T, in units of 1/B; |omega| T is the root of tan x = 2x.

    Holds where ``independent_work`` does.

    Source: Le et al., PRA 97, 022106 (2018), section III ("1.2 / omega").
    """
    return BEST_ANGLE / jnp.abs(omega)


def interactions_off_work(
    n: ScalarLike, field: ScalarLike, total_coupling: ScalarLike, anisotropy: ScalarLike, omega: ScalarLike, t: ArrayLike
) -> Array:
    """Work with the interactions off while charging: W(t) = 2 B N sin^2(omega t) + (1 - alpha) G sin^2(2 omega t).

    Args:
        n: number of spins N.
        field: B.
        total_coupling: G = sum_{i<j} g_ij, in units of B; see ``total_coupling``.
        anisotropy: alpha.
        omega: charging field, in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        W at each time, shaped as ``t``.

    Exact for every parameter if H_g acts before and after but not during charging. As an approximation to the chain whose
    interactions stay on, its error is O(g^2), for G << N omega and G t < 1.

    Source: Le et al., PRA 97, 022106 (2018), Eq. 18.
    """
    check_spins(n)
    angle = omega * jnp.asarray(t)
    return jnp.sin(angle) ** 2 * (2 * n * field) + jnp.sin(2 * angle) ** 2 * ((1 - anisotropy) * total_coupling)


class InteractionsOffMaximum(NamedTuple):
    """The maximum of Eq. 18 over the charging time: the work, and the first angle omega T that gives it."""

    work: Array
    angle: Array


def interactions_off_max_work(
    n: ScalarLike, field: ScalarLike, total_coupling: ScalarLike, anisotropy: ScalarLike
) -> InteractionsOffMaximum:
    """Largest work with the interactions off while charging, and where it is reached.

    With A = (1 - alpha) G: W_max = 2 B N at omega T = pi/2 if 2 A <= B N, else
    W_max = (B N + 2 A)^2 / (4 A) at cos(2 omega T) = -B N / (2 A).

    Args:
        n: number of spins N.
        field: B >= 0.
        total_coupling: G = sum_{i<j} g_ij, in units of B.
        anisotropy: alpha.

    Returns:
        ``work``, in units of B, and ``angle`` in (0, pi/2]: all maxima lie at omega T = m pi +- angle, m an integer.

    Raises:
        ValueError: N < 1, B < 0, or G or alpha is not finite.

    Holds where ``interactions_off_work`` does; omega drops out of the work.

    Source: Le et al., PRA 97, 022106 (2018), Eq. 19.
    """
    check_spins(n)
    check_not_negative("field", field, "the battery is charged from spins down, its ground state for B >= 0")
    check_finite("total_coupling", total_coupling)
    check_finite("anisotropy", anisotropy)
    bare = jnp.asarray(n * field)
    gain = jnp.asarray((1 - anisotropy) * total_coupling)
    splits = 2 * gain > bare
    safe = jnp.where(splits, gain, 1.0)  # the branch not taken must not divide by zero, nor its gradient
    cosine = jnp.where(splits, -bare / (2 * safe), 0.0)
    work = jnp.where(splits, (bare + 2 * safe) ** 2 / (4 * safe), 2 * bare)
    return InteractionsOffMaximum(work, jnp.where(splits, jnp.arccos(cosine) / 2, jnp.pi / 2))


def ising_pair_work(field: ScalarLike, g: ScalarLike, omega: ScalarLike, t: ArrayLike) -> Array:
    """Work of two Ising spins, with D = sqrt(g^2 + 4 omega^2).

    W(t) = 2 B [1 - cos(D t) cos(g t) - (g / D) sin(D t) sin(g t)] + (4 g omega^2 / D^2) sin^2(D t).

    Args:
        field: B.
        g: coupling of the pair, in units of B.
        omega: charging field, in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        W at each time, shaped as ``t``.

    Exact for N = 2, alpha = 0 and any g, omega not both zero.

    Source: Le et al., PRA 97, 022106 (2018), section III.B; Eq. 13 is its limit of strong coupling.
    """
    t = jnp.asarray(t)
    level = jnp.sqrt(g**2 + 4 * omega**2)
    field_part = 1 - jnp.cos(level * t) * jnp.cos(g * t) - g / level * jnp.sin(level * t) * jnp.sin(g * t)
    return field_part * (2 * field) + jnp.sin(level * t) ** 2 * (4 * g * omega**2) / level**2


def work_from_magnetization(n: ScalarLike, field: ScalarLike, omega: ScalarLike, x: ArrayLike, z: ArrayLike) -> Array:
    """Work from the magnetization alone: W(t) = B (N + z) - omega x, with x = sum_i <X_i>, z = sum_i <Z_i> at time t.

    Args:
        n: number of spins N.
        field: B.
        omega: charging field, constant in time and equal on every spin, in units of B.
        x, z: sums over the spins at each time, of one shape.

    Returns:
        W at each time, shaped as ``x``.

    Holds because <H_g + V> is conserved: for any g_ij and any anisotropy, from all spins down, with a constant field along x
    and H_B off while charging. No two-point function is needed.

    Source: energy conservation applied to Le et al., PRA 97, 022106 (2018), Eq. 1 and following.
    """
    check_spins(n)
    return (jnp.asarray(z) + n) * field - jnp.asarray(x) * omega
