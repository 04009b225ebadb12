"""Mean field of the all-to-all chain (p = 0) in Jacobi elliptic functions, and the length of its collective spin."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxbatt._checks import check_finite, concrete
from jaxbatt._types import ScalarLike
from jaxbatt.theory._conditions import check_spins
from jaxbatt.theory.elliptic import ellipj_complement


def mean_field_z(n: ScalarLike, g: ScalarLike, anisotropy: ScalarLike, omega: ScalarLike, t: ArrayLike) -> Array:
    """Mean-field polarization s_z(t) of the all-to-all chain, with k = g (N - 1) (1 - alpha) / (2 omega).

    k <= 1: s_z = -cn(2 omega t | k^2). k > 1: s_z = -dn(2 omega k t | 1/k^2), which never turns up (self-trapping).
    k = 1: s_z = -sech(2 omega t).

    Args:
        n: number of spins N.
        g: coupling of every pair, in units of B.
        anisotropy: alpha.
        omega: charging field, in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        s_z = <Z_i> at each time, shaped as ``t``. The signs of g, omega and 1 - alpha do not matter.

    Holds for product states under the mean field, from all spins down; exact for alpha = 1, and for N to infinity at fixed
    k and t.

    Source: solution of Le et al., PRA 97, 022106 (2018), Eq. 21 at p = 0.
    """
    check_spins(n)
    return _polarization(jnp.abs(g * (n - 1) * (1 - anisotropy)), 2 * jnp.abs(omega), jnp.asarray(t))


@jax.jit
def _polarization(trap: Array, rabi: Array, t: Array) -> Array:
    """s_z for k = trap / rabi, without dividing by either where it is zero."""
    turns = trap <= rabi
    large, small = jnp.where(turns, rabi, trap), jnp.where(turns, trap, rabi)
    scale = jnp.where(large == 0, 1.0, large)
    functions = ellipj_complement(large * t, (scale - small) * (scale + small) / scale**2)
    return -jnp.where(turns, functions.cn, functions.dn)


def mean_field_work(
    n: ScalarLike, field: ScalarLike, g: ScalarLike, anisotropy: ScalarLike, omega: ScalarLike, t: ArrayLike
) -> Array:
    """Mean-field work of the all-to-all chain: W = N B (1 + s_z) + (1 - alpha) G (1 - s_z^2), G = g N (N - 1) / 2.

    With k of ``mean_field_z``: N B (1 - cn) + (1 - alpha) G sn^2 for k <= 1, N B (1 - dn) + (1 - alpha) G sn^2 / k^2 above.

    Args:
        n: number of spins N.
        field: B.
        g: coupling of every pair, in units of B.
        anisotropy: alpha.
        omega: charging field, in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        W at each time, shaped as ``t``.

    Holds where ``mean_field_z`` does.

    Source: Le et al., PRA 97, 022106 (2018), Eq. 21 at p = 0.
    """
    z = mean_field_z(n, g, anisotropy, omega, t)
    return (1 + z) * (n * field) + (1 - z) * (1 + z) * ((1 - anisotropy) * g * n * (n - 1) / 2)


def mean_field_critical_coupling(n: ScalarLike, anisotropy: ScalarLike, omega: ScalarLike) -> Array:
    """Coupling of the dynamical (self-trapping) transition of the all-to-all chain: g_c = 2 |omega| / ((N - 1) |1 - alpha|).

    Args:
        n: number of spins N >= 2.
        anisotropy: alpha, not 1.
        omega: charging field, in units of B.

    Returns:
        |g| at k = 1 (see ``mean_field_z``), in units of B: below it the mean-field spins turn up fully, above it never past
        the equator.

    Raises:
        ValueError: N < 2, or alpha = 1 (an XXX chain has no transition).

    Source: Le et al., PRA 97, 022106 (2018), Eq. 21 at p = 0.
    """
    check_spins(n, minimum=2)
    check_finite("anisotropy", anisotropy)
    value = concrete(anisotropy)
    if value is not None and (value == 1).any():
        raise ValueError(
            f"`anisotropy` must differ from 1, but it is {anisotropy}; an XXX chain is never trapped, pass alpha < 1."
        )
    return 2 * jnp.abs(omega) / ((n - 1) * jnp.abs(1 - jnp.asarray(anisotropy)))


def collective_spin_length(n: ScalarLike) -> Array:
    """Length of the collective spin s = (1/N) sum_i sigma_i in the Dicke ladder: |s| = sqrt(s.s) = sqrt(1 + 2/N).

    Args:
        n: number of spins N.

    Returns:
        |s|; the mean field has |s| = 1, reached as N tends to infinity.

    Holds for states symmetric under exchange of spins, hence at all times for uniform g_ij and omega (p = 0).

    Source: Le et al., PRA 97, 022106 (2018), section on Eq. 24.
    """
    check_spins(n)
    return jnp.sqrt(1 + 2 / jnp.asarray(n))
