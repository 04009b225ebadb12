"""Ising chain (alpha = 0) with g >> omega: the doublet {all up, all down}, its N-body coupling, slow and fast work."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jax.typing import ArrayLike

from jaxbatt._checks import check_couplings, check_finite, check_positive, concrete, shape_of
from jaxbatt._types import Couplings, PerSpin, Scalar, ScalarLike
from jaxbatt.theory._conditions import check_spins

_MAX_SPINS = 20


def ising_pair_slow_work(field: ScalarLike, g: ScalarLike, omega: ScalarLike, t: ArrayLike) -> Array:
    """Slow part of the work of two strongly coupled Ising spins: W(t) = 4 B sin^2(omega^2 t / g).

    Args:
        field: B.
        g: coupling of the pair, positive, in units of B.
        omega: charging field, in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        W at each time, shaped as ``t``; averaging out the fast part would add its mean 2 omega^2 / g.

    Holds to O(omega^2 / g) for g >> omega and omega^4 t << g^3.

    Source: Le et al., PRA 97, 022106 (2018), Eq. 14.
    """
    return slow_work(2, field, half_splitting_nearest_neighbor(2, g, omega), t)


def ising_pair_slow_fast_work(field: ScalarLike, g: ScalarLike, omega: ScalarLike, t: ArrayLike) -> Array:
    """Slow and fast work of two strongly coupled Ising spins: W(t) = 4 B sin^2(omega^2 t / g) + (4 omega^2 / g) sin^2(g t).

    Args:
        field: B.
        g: coupling of the pair, positive, in units of B.
        omega: charging field, in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        W at each time, shaped as ``t``.

    Holds for g >> omega: to O(B omega^2 / g^2 + omega^4 / g^3) while omega^2 t << g. Later the fast oscillation has the right
    size but drifts in phase, by 2 omega^2 t / g.

    Source: Le et al., PRA 97, 022106 (2018), Eq. 13.
    """
    fast = jnp.sin(g * jnp.asarray(t)) ** 2 * (4 * omega**2 / g)
    return ising_pair_slow_work(field, g, omega, t) + fast


def half_splitting_nearest_neighbor(n: ScalarLike, g: ScalarLike, omega: ScalarLike) -> Array:
    """Half the splitting of the two lowest levels of the open nearest-neighbor chain: c_N = |omega|^N / g^(N-1).

    Args:
        n: number of spins N.
        g: coupling of neighbors, positive, in units of B.
        omega: charging field, in units of B.

    Returns:
        c_N, in units of B.

    Raises:
        ValueError: N < 1, or g <= 0.

    Holds to relative O(omega^2 / g^2) for g >> omega, alpha = 0.

    Source: general N of Le et al., PRA 97, 022106 (2018), Eq. 15.
    """
    check_spins(n)
    check_positive("g", g, "the doublet of aligned spins is lowest for ferromagnetic g > 0")
    rate = jnp.abs(omega)
    return rate * (rate / g) ** (n - 1)


def half_splitting_all_to_all(n: ScalarLike, g: ScalarLike, omega: ScalarLike) -> Array:
    """Half the splitting of the two lowest levels at p = 0: c_N = N |omega|^N / ((N - 1)! (2 g)^(N-1)).

    Args:
        n: number of spins N.
        g: coupling of every pair, positive, in units of B.
        omega: charging field, in units of B.

    Returns:
        c_N, in units of B (N = 2: omega^2 / g; N = 3: 3 omega^3 / 8 g^2).

    Raises:
        ValueError: N < 1, or g <= 0.

    Holds to relative O(omega^2 / g^2) for g >> omega, alpha = 0.

    Source: general N of Le et al., PRA 97, 022106 (2018), Eq. 15.
    """
    check_spins(n)
    check_positive("g", g, "the doublet of aligned spins is lowest for ferromagnetic g > 0")
    rate = jnp.abs(omega)
    return rate * n * (rate / (2 * g)) ** (n - 1) / jnp.exp(gammaln(jnp.asarray(n, float)))


def slow_work(n: ScalarLike, field: ScalarLike, half_splitting: ScalarLike, t: ArrayLike) -> Array:
    """Slow part of the work of the strongly coupled Ising chain: W_slow(t) = 2 N B sin^2(c_N t).

    Args:
        n: number of spins N.
        field: B.
        half_splitting: c_N, or the coefficient of ``effective_hamiltonian`` (its sign does not matter), in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        W at each time, shaped as ``t``: the Rabi oscillation between all down and all up; the mean of ``fast_work`` comes on top.

    Holds for g >> omega, alpha = 0, up to the O(omega^2 / g) of the fast part.

    Source: general N of Le et al., PRA 97, 022106 (2018), Eq. 14.
    """
    check_spins(n)
    return jnp.sin(half_splitting * jnp.asarray(t)) ** 2 * (2 * n * field)


def fast_work(couplings: Couplings, omega: ScalarLike | PerSpin, t: ArrayLike) -> Array:
    """Fast part of the work of the strongly coupled Ising chain, with D_i = 2 sum_j g_ij the cost of flipping spin i.

    W_fast(t) = sum_i (4 omega_i^2 / D_i) sin^2(D_i t / 2).

    Args:
        couplings: (N, N) symmetric g_ij with zero diagonal, in units of B.
        omega: charging field, a scalar or (N,), in units of B.
        t: times of any shape, in units of 1/B.

    Returns:
        W at each time, shaped as ``t``. A spin without couplings contributes nothing.

    Raises:
        ValueError: couplings that are not such a matrix.

    Holds to O(B omega^2 / g^2 + omega^4 / g^3) for D_i >> omega, alpha = 0 and times before the slow part sets in.

    Source: general N and g_ij of the second term of Le et al., PRA 97, 022106 (2018), Eq. 13.
    """
    check_couplings(couplings)
    return _fast_work(jnp.asarray(couplings), jnp.asarray(omega), jnp.asarray(t))


@jax.jit
def _fast_work(couplings: Couplings, omega: Array, t: Array) -> Array:
    costs = 2 * jnp.sum(couplings, axis=1)
    # sin^2(D t / 2) / D as D t^2 sinc^2 / 4, which is smooth where D = 0.
    shapes = jnp.sinc(jnp.tensordot(t, costs, axes=0) / (2 * jnp.pi)) ** 2
    return t**2 * jnp.dot(shapes, costs * jnp.broadcast_to(omega, costs.shape) ** 2)


class EffectiveHamiltonian(NamedTuple):
    """H_eff = energy * 1 + coefficient * X_1 X_2 ... X_N on the doublet {all up, all down}.

    Its levels are energy +- coefficient, at X_1 ... X_N = +-1; the splitting of the doublet is 2 |coefficient|.
    """

    energy: Scalar
    coefficient: Scalar


def effective_hamiltonian(couplings: Couplings, omega: ScalarLike | PerSpin) -> EffectiveHamiltonian:
    """Effective Hamiltonian of the strongly coupled Ising chain in the doublet {all up, all down}, for any couplings.

    With Delta(S) = 2 sum_{i in S, j not in S} g_ij the cost of flipping the spins S, and G = sum_{i<j} g_ij:
    energy = -G - sum_i omega_i^2 / Delta({i}) and
    coefficient = (-1)^(N-1) omega_1 ... omega_N sum over orders of flipping all spins of prod 1 / Delta(S), over the N - 1 sets S
    of spins flipped on the way. F(S) = sum_{i in S} F(S minus i) / Delta(S) adds up the N! orders in N passes over the 2^N sets.

    Args:
        couplings: (N, N) symmetric g_ij with zero diagonal, N <= 20, in units of B.
        omega: charging field, a scalar or (N,), in units of B.

    Returns:
        ``energy`` to second order and ``coefficient`` to its leading order N in omega, in units of B.

    Raises:
        ValueError: couplings that are not such a matrix, N > 20, or some Delta(S) = 0: then other states share the energy of
            the doublet.

    Holds for alpha = 0 and omega << |Delta(S)| for all S; corrections are omega^4 / g^3 in ``energy`` (none at N = 1) and of
    relative order omega^2 / g^2 in ``coefficient``.

    Example: ``slow_work(n, field, effective_hamiltonian(couplings, omega).coefficient, t)`` is the slow charging of any chain.

    Source: general N and g_ij of Le et al., PRA 97, 022106 (2018), Eq. 15, which lacks the sign (-1)^(N-1).
    """
    check_couplings(couplings)
    check_finite("omega", omega)
    n = shape_of("couplings", couplings)[0]
    if n > _MAX_SPINS:
        raise ValueError(f"`couplings` has N = {n} spins, but 2**N subsets are summed over; pass N <= {_MAX_SPINS}.")
    couplings = jnp.asarray(couplings, float)
    doublet, smallest = _doublet(couplings, jnp.broadcast_to(jnp.asarray(omega, float), (n,)))
    cost = concrete(smallest)
    if cost is not None and cost <= n**2 * jnp.finfo(couplings.dtype).eps * np.max(np.abs(couplings)):
        raise ValueError(
            f"`couplings` must make every flip of some but not all spins cost energy, but the smallest |Delta(S)| is {cost}; "
            "connect the spins, or treat unconnected parts as batteries of their own."
        )
    return doublet


@jax.jit
def _doublet(couplings: Couplings, omega: PerSpin) -> tuple[EffectiveHamiltonian, Scalar]:
    n = couplings.shape[0]
    if n == 1:
        return EffectiveHamiltonian(jnp.zeros_like(omega[0]), omega[0]), jnp.full_like(omega[0], jnp.inf)
    costs = _flip_costs(couplings)[1:-1]
    resolvent = jnp.pad(1 / costs, 1)

    def flip_one_more(paths: Array, _: None) -> tuple[Array, None]:
        return resolvent * _add_one_spin(paths, n), None

    start = jnp.zeros(2**n, couplings.dtype).at[0].set(1.0)
    paths, _ = jax.lax.scan(flip_one_more, start, length=n - 1)
    coefficient = (-1) ** (n - 1) * jnp.prod(omega) * _add_one_spin(paths, n)[-1]
    energy = -jnp.sum(couplings) / 2 - jnp.sum(omega**2 / (2 * jnp.sum(couplings, axis=1)))
    return EffectiveHamiltonian(energy, coefficient), jnp.min(jnp.abs(costs))


def _flip_costs(couplings: Couplings) -> Array:
    """Delta(S) of all 2**N subsets, spin i being in S where bit i of the index is set: sums of g_ij, no differences."""
    n = couplings.shape[0]
    flipped = (jnp.arange(2**n)[:, None] >> jnp.arange(n)[None, :] & 1).astype(couplings.dtype)
    return 2 * jnp.sum(flipped * jnp.dot(1 - flipped, couplings), axis=1)


def _add_one_spin(paths: Array, n: int) -> Array:
    """For every subset S the sum of ``paths`` over the subsets that lack just one spin of S.

    Three dense factors, one for each third of the spins: the same sum spin by spin takes XLA minutes to differentiate.
    """
    sizes = (n // 3, (n + 1) // 3, (n + 2) // 3)
    cube = paths.reshape(tuple(2**size for size in sizes))
    total = jnp.zeros_like(cube)
    for axis, size in enumerate(sizes):
        lifted = jnp.tensordot(jnp.asarray(_raising(size), cube.dtype), cube, axes=(1, axis))
        total = total + jnp.moveaxis(lifted, 0, axis)
    return total.reshape(-1)


def _raising(size: int) -> np.ndarray:
    """(2**size, 2**size) matrix with a 1 at (S, S') where the subset S is S' and one spin more."""
    subsets = np.arange(2**size)
    difference = subsets[:, None] ^ subsets[None, :]
    return (difference & (difference - 1) == 0) & (subsets[:, None] > subsets[None, :])
