"""Random couplings and fields: what a factory's spread, or the disorder of a material, makes of a battery."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxbatt._checks import check_couplings, check_finite, check_scalar, check_spin_count, concrete, shape_of
from jaxbatt._types import Couplings, PerSpin, ScalarLike

Distribution: TypeAlias = Literal["normal", "uniform"]

_DRAWS = {
    "normal": lambda key, shape: jax.random.normal(key, shape, float),
    "uniform": lambda key, shape: jax.random.uniform(key, shape, float, -1.0, 1.0),
}


def disordered(
    key: Key[Array, ""], couplings: Couplings, strength: ScalarLike, *, distribution: Distribution = "normal"
) -> Couplings:
    """Couplings g_ij (1 + strength xi_ij), each pair i < j with a random number xi_ij = xi_ji of its own.

    It is a pure function of the key: ``jax.vmap`` over ``jax.random.split(key, M)`` gives M samples. Couplings that vanish
    stay zero. Beyond a strength of 1 ("uniform"), and rarely at any ("normal"), couplings change sign: ``SpinBattery`` then
    asks for an explicit ``initial_state``. Under ``jit``, ``vmap``, ``grad`` or ``sweep`` it cannot see them and starts with
    all spins down, unchecked; say ``initial_state="down"`` there.

    Args:
        key: of ``jax.random.key``.
        couplings: (N, N) symmetric matrix with zero diagonal, in units of B.
        strength: relative spread >= 0, no unit.
        distribution: of xi: "normal" (mean 0, standard deviation 1) or "uniform" on [-1, 1), of standard deviation 1/sqrt(3).

    Returns:
        (N, N) symmetric matrix with zero diagonal, differentiable with respect to couplings and strength.

    Raises:
        ValueError: couplings that are no symmetric matrix with zero diagonal; a strength that is no number >= 0; an unknown
            distribution; no key.

    Example:
        >>> keys = jax.random.split(jax.random.key(0), 100)
        >>> jax.vmap(lambda key: disordered(key, power_law(6, 1.0, 1.0), 0.1))(keys).shape
        (100, 6, 6)

    Source: Rossini, Andolina, Polini, PRB 100, 115142 (2019), on many-body localized batteries with random Ising couplings.
    """
    check_couplings(couplings)
    n = shape_of("couplings", couplings)[0]
    above = np.triu_indices(n, 1)
    numbers = _draw(key, (len(above[0]),), strength, distribution)
    upper = jnp.zeros((n, n)).at[above].set(numbers)
    return jnp.asarray(couplings, float) * (1 + jnp.asarray(strength, float) * (upper + upper.T))


def random_field(
    key: Key[Array, ""],
    n: int,
    strength: ScalarLike,
    *,
    mean: ScalarLike | PerSpin = 1.0,
    distribution: Distribution = "normal",
) -> PerSpin:
    """Fields mean + strength xi_i, each spin with a random number xi_i of its own.

    Args:
        key: of ``jax.random.key``; take another one than for :func:`disordered`.
        n: number of spins N >= 1.
        strength: spread >= 0, in units of B.
        mean: a scalar or (N,), in units of B.
        distribution: of xi, as in :func:`disordered`.

    Returns:
        (N,) fields, differentiable with respect to mean and strength.

    Raises:
        ValueError: N < 1; a mean of another shape or not finite; and as :func:`disordered`.

    Source: Rossini, Andolina, Polini, PRB 100, 115142 (2019).
    """
    check_spin_count(n)
    check_finite("mean", mean)
    shape = shape_of("mean", mean)
    if shape not in ((), (n,)):
        raise ValueError(f"`mean` must be a scalar or ({n},), one value for each spin, but its shape is {shape}.")
    return jnp.asarray(mean, float) + jnp.asarray(strength, float) * _draw(key, (n,), strength, distribution)


def _draw(key: Any, shape: tuple[int, ...], strength: Any, distribution: str) -> Float[Array, " m"]:
    """The random numbers xi, after a look at all that decides them."""
    if not isinstance(distribution, str) or distribution not in _DRAWS:
        raise ValueError(f'`distribution` must be "normal" or "uniform", but it is {distribution!r}.')
    check_scalar("strength", strength)
    known = concrete(strength)
    if known is not None and known < 0:
        raise ValueError(
            f"`strength` must not be negative, but it is {strength}; the numbers that it multiplies have both signs."
        )
    _check_key(key)
    return _DRAWS[distribution](key, shape)


def _check_key(key: Any) -> None:
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key) and key.shape == ()
    if not typed and not (dtype == np.uint32 and key.shape == (2,)):
        shown = type(key).__name__ if dtype is None else f"an array of {dtype} with shape {key.shape}"
        raise ValueError(f"`key` must be one key of jax.random.key(seed), but it is {shown}; vmap over several keys.")
