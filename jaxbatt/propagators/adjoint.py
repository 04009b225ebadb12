"""The derivative of a Chebyshev series with respect to H, in a fixed number of vectors whatever its degree.

With v_k = T_k(H') psi and cotangents S_m of the states sum_k c_k(t_m) v_k, the vectors w_k = s_k + 2 H' w_{k+1} - w_{k+2},
s_k = sum_m conj(c_k(t_m)) S_m, are the cotangents of the v_k. The derivative is sum_k 2 <w_{k+1}| dH' |v_k> (once for
k = 0). The w_k descend, and the v_k are regenerated on the way down, v_{k-1} = 2 H' v_k - v_{k+1}.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxbatt._types import Rows
from jaxbatt.propagators._expansion import Apply
from jaxbatt.propagators._segment import States
from jaxbatt.propagators.chebyshev import Series


class Differentiable(Protocol):
    """A Hamiltonian that can be differentiated."""

    def apply(self, rows: Rows) -> Rows:
        """H on real rows."""
        ...

    def paired(self, v: Rows, w: Rows) -> tuple[Rows, Rows, Any]:
        """H v, H w, and the derivative of <w|H v> with respect to the numbers of the operator, a pytree like it."""
        ...


H = TypeVar("H", bound=Differentiable)


class _Descent(NamedTuple):
    v: Rows
    v_above: Rows
    w: Rows
    w_above: Rows
    derivative: Any


def pull_states(operator: H, terms: Series, top: tuple[Rows, Rows], cotangents: States) -> tuple[H, Rows]:
    """Derivatives of sum_m <S_m|psi(t_m)> with respect to the operator and to the initial state.

    Args:
        operator: H.
        terms: the series of the M times.
        top: the last two vectors of the recurrence, from :meth:`Series.states`.
        cotangents: (2, M, d) the S_m.

    Returns:
        a pytree like the operator, and rows like the initial state (of a real one the real part).
    """
    sources = _sources(terms, cotangents, len(top[0]))

    def step(k: Int[Array, ""], source: Rows, at: _Descent) -> _Descent:
        factor = jnp.where(k == 0, 1, 2).astype(source.dtype)
        hv, hw, pulled = operator.paired(at.v, at.w)
        w = source + (factor / terms.radius) * (hw - terms.center * at.w) - at.w_above
        v = (2 / terms.radius) * (hv - terms.center * at.v) - at.v_above
        derivative = jax.tree.map(lambda total, x: total + (factor / terms.radius) * x, at.derivative, pulled)
        return _Descent(v, at.v, w, at.w, derivative)

    def pair(i: Int[Array, ""], at: _Descent) -> _Descent:
        k = 2 * (terms.pairs - 1 - i)
        even, odd = sources(k)
        return step(k, even, step(k + 1, odd, at))

    none = jnp.zeros_like(top[0])
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(operator.paired, none, none)[2])
    end = jax.lax.fori_loop(0, terms.pairs, pair, _Descent(*top, none, none, nothing))
    return end.derivative, end.w


def gather_back(apply: Apply, terms: Series, cotangents: States) -> Rows:
    """sum_m exp(+i (H - center) t_m) S_m: what the cotangents at several times amount to at time 0."""
    sources = _sources(terms, cotangents, 2)

    def pair(i: Int[Array, ""], carry: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
        k = 2 * (terms.pairs - 1 - i)
        even, odd = sources(k)
        w, above = carry
        factor = jnp.where(k == 0, 1, 2).astype(w.dtype)
        w, above = odd + 2 * terms.scaled(apply, w) - above, w
        return even + factor * terms.scaled(apply, w) - above, w

    none = jnp.zeros_like(cotangents[:, 0])
    return jax.lax.fori_loop(0, terms.pairs, pair, (none, none))[0]


def _sources(terms: Series, cotangents: States, n_rows: int) -> Any:
    """k (even) to the sources s_k and s_{k+1}; the odd terms of the series come with a factor i."""
    coefficients = terms.coefficients.astype(cotangents.dtype)
    turned = jnp.array([[1], [-1]], cotangents.dtype)

    def at(k: Int[Array, ""]) -> tuple[Rows, Rows]:
        even, odd = jax.lax.dynamic_slice_in_dim(coefficients, k, 2, 1).T
        if n_rows == 1:
            return (even @ cotangents[0])[None], (odd @ cotangents[1])[None]
        # No stack: it would be evaluated again for each amplitude inside the sum that it is added to, without vector units.
        return jnp.einsum("m,rmd->rd", even, cotangents), turned * jnp.einsum("m,rmd->rd", odd, cotangents)[::-1]

    return at
