"""Jacobi elliptic functions in JAX, for the mean field of the all-to-all chain."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxbatt._checks import check_finite, concrete

# Each Landen step takes k' to 2 sqrt(k') / (1 + k'). From the smallest k' that float64 can tell from 0, about 1e-8, eight
# steps reach 1 to the last bit; nine leave a margin.
_LANDEN_STEPS = 9


class JacobiFunctions(NamedTuple):
    """sn(u|m), cn(u|m) and dn(u|m)."""

    sn: Array
    cn: Array
    dn: Array


def ellipj(u: ArrayLike, m: ArrayLike) -> JacobiFunctions:
    """Jacobi elliptic functions sn(u|m), cn(u|m), dn(u|m) of real argument.

    Args:
        u: argument, any shape, any size.
        m: parameter m = k^2 in [0, 1], of the same shape or a scalar.

    Returns:
        (sn, cn, dn), each of the broadcast shape.

    Raises:
        ValueError: m outside [0, 1].

    The error of the value is a few roundings of u, as that of sin u. Differentiable in both arguments, also at m = 0 and
    m = 1. Within 1e-7 of m = 1 pass ``1 - m`` to ``ellipj_complement`` where it is known better than m.

    Source: descending Landen transformation, Abramowitz & Stegun 16.12; DLMF 22.7(i).
    """
    check_finite("m", m)
    value = concrete(m)
    if value is not None and not np.all((value >= 0) & (value <= 1)):
        raise ValueError(
            f"`m` must lie in [0, 1], but it is {m}; for m > 1 use cn(u|m) = dn(sqrt(m) u|1/m), dn(u|m) = cn(sqrt(m) u|1/m)."
        )
    return ellipj_complement(u, 1 - jnp.asarray(m))


@jax.jit
def ellipj_complement(u: ArrayLike, complement: ArrayLike) -> JacobiFunctions:
    """``ellipj`` as a function of the complementary parameter 1 - m in [0, 1], exact as m tends to 1."""
    u, complement = jnp.asarray(u), jnp.asarray(complement)
    bounded = jnp.clip(u, -300.0, 300.0)  # beyond, sech u vanishes to 130 digits and its square overflows
    near_one = complement * jnp.cosh(bounded) ** 2 < 1e-8
    generic = _landen(u, jnp.where(near_one, 1.0, complement))
    limit = _near_one(bounded, complement)
    return JacobiFunctions(*(jnp.where(near_one, a, b) for a, b in zip(limit, generic, strict=True)))


def _landen(u: Array, complement: Array) -> JacobiFunctions:
    """Descending Landen transformation, written so that no step subtracts nearly equal numbers."""
    ratio = jnp.sqrt(complement)
    ratios = []
    for _ in range(_LANDEN_STEPS):
        ratios.append(ratio)
        u = u * (1 + ratio) / 2
        ratio = 2 * jnp.sqrt(ratio) / (1 + ratio)
    sn, cn, dn = jnp.sin(u), jnp.cos(u), jnp.ones_like(u)
    for ratio in reversed(ratios):
        norm = (1 + ratio) + (1 - ratio) * sn**2
        sn, cn, dn = 2 * sn / norm, (1 + ratio) * cn * dn / norm, (2 * ratio + (1 - ratio) * cn**2) / norm
    return JacobiFunctions(sn, cn, dn)


def _near_one(u: Array, complement: Array) -> JacobiFunctions:
    """First order in 1 - m (Abramowitz & Stegun 16.15): where Landen steps would lose the derivative in m to rounding."""
    sech, tanh, sinh = 1 / jnp.cosh(u), jnp.tanh(u), jnp.sinh(u)
    sn = tanh + complement / 4 * (tanh - u * sech**2)
    cn = sech - complement / 4 * (sinh - u * sech) * tanh
    dn = sech + complement / 4 * (sinh + u * sech) * tanh
    return JacobiFunctions(sn, cn, dn)
