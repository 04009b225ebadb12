"""Expectation values of states given as real rows (Re psi, Im psi)."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbatt._types import Rows, Scalar
from jaxbatt.hamiltonian import Operator


def one_body_sums(rows: Rows, weights: Float[Array, "3 n"]) -> tuple[Float[Array, "3"], Scalar]:
    """Mean of <X_i>, <Y_i>, <Z_i> over the spins, and sum_i (w_xi <X_i> + w_yi <Y_i> + w_zi <Z_i>), in one pass.

    With b' the basis state b with spin i flipped and s_i(b) = +1 for up, -1 for down,
    <X_i> = sum_b Re(psi_b* psi_b'), <Y_i> = sum_b s_i(b) Im(psi_b* psi_b'), <Z_i> = sum_b s_i(b) |psi_b|**2.

    Args:
        rows: (2, 2**N) real and imaginary part of a normalized state.
        weights: (3, N).
    """
    real, imaginary = rows
    n_spins = weights.shape[1]
    basis = jnp.arange(real.shape[-1], dtype=jnp.int32)
    density = real**2 + imaginary**2
    sums = [jnp.zeros_like(real)] * 4
    for site in range(n_spins):
        bit = n_spins - 1 - site
        flipped = basis ^ (1 << bit)
        other_real, other_imaginary = (part.at[flipped].get(mode="promise_in_bounds", unique_indices=True) for part in rows)
        up = (1 - 2 * ((basis >> bit) & 1)).astype(rows.dtype)
        local = (
            real * other_real + imaginary * other_imaginary,
            up * (real * other_imaginary - imaginary * other_real),
            up * density,
        )
        weighted = sum(w * value for w, value in zip(weights[:, site], local, strict=True))
        sums = [total + value for total, value in zip(sums, (*local, weighted), strict=True)]
    x, y, z, weighted = (total.sum() for total in sums)
    return jnp.stack([x, y, z]) / n_spins, weighted


def expectation(operator: Operator, rows: Rows) -> Scalar:
    """<psi|H|psi> for a state of one or two real rows."""
    return jnp.sum(rows * operator.apply(rows))
