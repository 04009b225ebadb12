"""Coupling matrices g_ij of the usual chains. Any symmetric (N, N) matrix with zero diagonal is as good."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxbatt._checks import check_flags, check_room_for_couplings, check_scalar, check_spin_count, concrete, real_array
from jaxbatt._types import Couplings, ScalarLike


def nearest_neighbor(n: int, g: ScalarLike) -> Couplings:
    """Couplings of the open nearest-neighbor chain: g_ij = g for |i - j| = 1, else 0.

    Args:
        n: number of spins N >= 1.
        g: coupling strength, in units of the field B.

    Returns:
        (N, N) symmetric matrix.

    Raises:
        ValueError: N < 1, g is not a finite scalar, or the matrix does not fit the memory.

    Source: Le et al., PRA 97, 022106 (2018), section II.
    """
    check_spin_count(n)
    check_scalar("g", g)
    distance = _distance(n)
    if concrete(g) is not None:
        return real_array(np.where(distance == 1, g, 0.0))
    return jnp.where(distance == 1, jnp.asarray(g, float), 0.0)


def power_law(n: int, g: ScalarLike, p: ScalarLike, *, kac: bool = False) -> Couplings:
    """Couplings of the open long-range chain: g_ij = g / |i - j|**p; p = 0 is all-to-all.

    Kac-normalized, g_ij = g / (K |i - j|**p) with K = (1/N) sum_{i != j} |i - j|**-p: each spin then feels g in all, on average,
    whatever N and p are, and the energy of the interactions grows as N.

    Args:
        n: number of spins N >= 1.
        g: coupling between neighbors, in units of the field B.
        p: exponent of the decay.
        kac: divide by K; of a single spin nothing is divided.

    Returns:
        (N, N) symmetric matrix.

    Raises:
        ValueError: N < 1, g or p is not a finite scalar, kac is no boolean, or the matrix does not fit the memory.

    Source: Le et al., PRA 97, 022106 (2018), section II.
    """
    check_spin_count(n)
    check_scalar("g", g)
    check_scalar("p", p)
    check_flags(kac=kac)
    if concrete(g) is None or concrete(p) is None:
        return _power_law(n, jnp.asarray(g, float), jnp.asarray(p, float), kac, jnp)
    # Powers may overflow: what is divided by them vanishes.
    with np.errstate(all="ignore"):
        return real_array(_power_law(n, np.asarray(g, float), np.asarray(p, float), kac, np))


def _power_law(n: int, g: Any, p: Any, kac: bool, xp: ModuleType) -> Any:
    """By NumPy where all is known: nothing to compile."""
    distance = _distance(n)
    powers = np.maximum(distance, 1.0) ** p
    couplings = xp.where(distance > 0, g / powers, 0.0)
    return couplings if not kac or n == 1 else couplings * n / xp.sum(xp.where(distance > 0, 1 / powers, 0.0))


def _distance(n: int) -> np.ndarray:
    check_room_for_couplings(n)
    sites = np.arange(n)
    return np.abs(sites[:, None] - sites[None, :])
