"""Coupling matrices g_ij of the usual chains. Any symmetric (N, N) matrix with zero diagonal is as good."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxbatt._checks import check_finite, check_spin_count, concrete, real_array
from jaxbatt._types import Couplings, Scalar, ScalarLike


def nearest_neighbor(n: int, g: ScalarLike) -> Couplings:
    """Couplings of the open nearest-neighbor chain: g_ij = g for |i - j| = 1, else 0.

    Args:
        n: number of spins N >= 1.
        g: coupling strength, in units of the field B.

    Returns:
        (N, N) symmetric matrix.

    Raises:
        ValueError: N < 1, or g is not finite.

    Source: Le et al., PRA 97, 022106 (2018), section II.
    """
    check_spin_count(n)
    check_finite("g", g)
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
        ValueError: N < 1, or g or p is not finite.

    Source: Le et al., PRA 97, 022106 (2018), section II.
    """
    check_spin_count(n)
    check_finite("g", g)
    check_finite("p", p)
    if concrete(g) is None or concrete(p) is None:
        return _power_law(n, jnp.asarray(g, float), jnp.asarray(p, float), kac)
    with jax.ensure_compile_time_eval():
        return _power_law(n, jnp.asarray(g, float), jnp.asarray(p, float), kac)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _power_law(n: int, g: Scalar, p: Scalar, kac: bool) -> Couplings:
    by_distance = jnp.concatenate([jnp.zeros(1), g / jnp.arange(1.0, n) ** p])
    couplings = by_distance[_distance(n)]
    if not kac or n == 1:
        return couplings
    return couplings * n / jnp.sum(jnp.concatenate([jnp.zeros(1), jnp.arange(1.0, n) ** -p])[_distance(n)])


def _distance(n: int) -> np.ndarray:
    sites = np.arange(n)
    return np.abs(sites[:, None] - sites[None, :])
