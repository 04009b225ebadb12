"""The derivative of a Chebyshev series with respect to H, in a fixed number of vectors whatever its degree.

With v_k = T_k(H') psi and cotangents S_m of the states sum_k c_k(t_m) v_k, the vectors w_k = s_k + 2 H' w_{k+1} - w_{k+2},
s_k = sum_m conj(c_k(t_m)) S_m, are the cotangents of the v_k. The derivative is sum_k 2 <w_{k+1}| dH' |v_k> (once for
k = 0). The w_k descend, and the v_k are regenerated on the way down, v_{k-1} = 2 H' v_k - v_{k+1}.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxbatt._batches import largest_of_batch
from jaxbatt._order import none_after, zeros_after
from jaxbatt._types import Rows, Scalar
from jaxbatt.propagators._expansion import Apply
from jaxbatt.propagators._segment import Action, States
from jaxbatt.propagators.chebyshev import Series, series


class Differentiable(Action, Protocol):
    """A Hamiltonian that can be differentiated."""

    def paired(self, v: Rows, w: Rows, total: Any, weight: Scalar) -> tuple[Rows, Rows, Any]:
        """H v, H w, and total + weight * the derivative of <w|H v> with respect to the operator's numbers, pytrees like it."""
        ...


SHORT = 4.4
"""radius * time up to which :func:`pull_short` may be used."""
_RULES = {4: 0.27, 6: 1.15, 8: 2.6, 10: SHORT}
"""Nodes of rules of Gauss, and radius * time up to which each leaves some 4e-12 of an integral."""
_MOST = max(_RULES)
_GAUSS = np.stack([np.pad(np.stack(np.polynomial.legendre.leggauss(n)), ((0, 0), (0, _MOST - n))) / 2 for n in _RULES])
_GAUSS[:, 0] += 0.5
"""Nodes on [0, 1] and weights of each rule, filled up with nodes of no weight."""

_APART = 2**18
"""Amplitudes up to which the states at the nodes are cut out of their array once: it holds them twice, and is a little faster."""
H = TypeVar("H", bound=Differentiable)
Sources: TypeAlias = Callable[[Int[Array, ""]], tuple[Rows, Rows]]


class _Descent(NamedTuple):
    v: Rows
    v_above: Rows
    w: Rows
    w_above: Rows
    derivative: Any


def pull_states(operator: H, terms: Series, top: tuple[Rows, Rows], cotangents: Sequence[States | Rows]) -> tuple[H, Rows]:
    """Derivatives of sum_m <S_m|psi(t_m)> with respect to the operator and to the initial state.

    Args:
        operator: H.
        terms: the series of the M times.
        top: the last two vectors of the recurrence, from :meth:`Series.states`.
        cotangents: the S_m, in the order of the times, as arrays (2, d) of one and (2, m, d) of several. What is left in the last
            of them after M is not looked at.

    Returns:
        a pytree like the operator, and rows like the initial state (of a real one the real part).
    """
    nothing = zeros_after(operator, top[1], *cotangents)
    if not operator.is_real:
        return _descent(operator, terms, top, _sources(terms, cotangents), nothing)

    def one(r: Int[Array, ""], carry: tuple[Any, Rows]) -> tuple[Any, Rows]:
        """Real and imaginary part evolve one after the other: half of the vectors at a time. What comes out takes the place of
        a row that is not needed any more."""
        derivative, rows = carry
        some = tuple(jax.lax.dynamic_slice_in_dim(x, r, 1) for x in (rows, top[1]))
        derivative, end = _descent(operator, terms, some, _sources_of_row(terms, cotangents, r), derivative)
        return derivative, jax.lax.dynamic_update_slice_in_dim(rows, end, r, 0)

    return jax.lax.fori_loop(0, len(top[0]), one, (nothing, top[0]))


def _descent(operator: H, terms: Series, top: tuple[Rows, ...], sources: Sources, derivative: H) -> tuple[H, Rows]:
    """The derivative added to what is there, and the cotangent of the initial state."""

    def step(k: Int[Array, ""], source: Rows, at: _Descent) -> _Descent:
        growth, back = terms.recurrence(k, source.dtype)
        hv, hw, derivative = operator.paired(at.v, at.w, at.derivative, growth / terms.radius)
        w = source + (growth / terms.radius) * (hw - terms.center * at.w) - at.w_above
        v = (growth / terms.radius) * (hv - terms.center * at.v) - back * at.v_above
        return _Descent(v, at.v, w, at.w, derivative)

    def pair(i: Int[Array, ""], at: _Descent) -> _Descent:
        i = terms.pairs - 1 - i
        even, odd = sources(i)
        return step(2 * i, even, step(2 * i + 1, odd, at))

    none = zeros_after(top[0], top[1], *jax.tree.leaves(derivative))
    end = jax.lax.fori_loop(0, terms.pairs, pair, _Descent(top[0], top[1], none, none, derivative))
    return end.derivative, end.w


def pull_short(
    operator: H, center: Scalar, radius: Scalar, rows: Rows, cotangent: Rows, length: Scalar, rate: Scalar
) -> tuple[H, Scalar, Rows, Rows]:
    """The same of a short evolution that ends in a state with a cotangent, radius * length <= :data:`SHORT`; both carried back.

    With psi and lambda carried back to each time s, the derivative is the integral of Im <lambda(s)| dH |psi(s)>, whose
    frequencies are at most 2 radius: a Gauss rule of at most ten nodes s_q leaves some 1e-11 of it. The psi(s_q) are held;
    lambda(s_q) = sum_k c_k(s_q) u_k is not: the u_k meet sum_q conj(c_k(s_q)) w_q psi(s_q) as the recurrence makes them, and
    since dH is Hermitian, what is computed for H u_k serves the derivative, too. It costs little more than two evolutions,
    where :func:`pull_states` and what it is given cost four.

    H is a linear function of its numbers, so these times the derivatives add up to the integral of Im <lambda|H|psi>: the rate
    at which the result changes with the length. It is conserved, so that any rule is exact for it.

    Args:
        operator: H.
        center: middle of an interval that encloses the spectrum.
        radius: half of its length.
        rows: (2, d) the state at the end.
        cotangent: (2, d) its cotangent.
        length: of the evolution.
        rate: error allowed per unit of time.

    Returns:
        the derivative, a pytree like the operator; the rate; the state and its cotangent at the beginning.
    """
    rule = jnp.sum(radius * length > np.array(list(_RULES.values())[:-1]))
    nodes, weights = jnp.asarray(_GAUSS, length.dtype)[rule]
    terms = series(center, radius, jnp.append(-nodes, -1) * length, length, rate, 1.01 * SHORT)
    # Sixteen terms are enough for most pieces, whose states are then added up once.
    states, _ = terms.states(operator, rows, block=16)
    # The rate of a piece of no length is that of a tiny one.
    span = jnp.maximum(length, jnp.finfo(length.dtype).tiny ** 0.5)
    source = _at_nodes(states, (span * weights)[:, None] * terms.coefficients[:, :-1], rule)
    last = terms.coefficients[:, -1].astype(rows.dtype)

    def pair(i: Int[Array, ""], carry: tuple[Rows, Rows, Rows, Any]) -> tuple[Rows, Rows, Rows, Any]:
        odd, even, carried, total = carry
        of_even, _, total = operator.paired(even, source(0, i), total, one)
        growth = jnp.where(i == 0, 1, 2).astype(rows.dtype)
        odd = growth * (of_even - terms.center * even) / terms.radius - odd
        carried = carried + last[0, i] * even + last[1, i] * jnp.stack([-odd[1], odd[0]])
        # After what came before: else the sources of both terms are held at a time.
        of_odd, _, total = operator.paired(odd, source(1, i + none_after(odd)), total, one)
        even = 2 * (of_odd - terms.center * odd) / terms.radius - even
        return odd, even, carried, total

    one, (none, nothing) = jnp.ones((), rows.dtype), zeros_after((rows, operator), states)
    _, _, carried, total = jax.lax.fori_loop(0, terms.pairs, pair, (none, cotangent, none, nothing))
    integral = sum(jnp.vdot(x, y) for x, y in zip(jax.tree.leaves(operator), jax.tree.leaves(total), strict=True))
    return total, integral / span.astype(rows.dtype), states[:, -1], carried


def _at_nodes(states: States, coefficients: Float[Array, "2 q h"], rule: Int[Array, ""]) -> Callable[[int, Int[Array, ""]], Rows]:
    """Parity p and number i of a pair of terms to -i sum_q conj(c_k) psi_q, k = 2 i + p: Im <lambda|X> is Re <lambda|-i X>.

    Of the nodes as many are added as some rule of a batch has; beyond those of its own the coefficients are zero.
    """
    coefficients, most = coefficients.astype(states.dtype), largest_of_batch(rule)
    apart = [states[:, q] for q in range(_MOST)] if states.shape[2] <= _APART else None

    def source(parity: int, i: Int[Array, ""]) -> Rows:
        # Tied to i: else they are cut out before the loop.
        first, _ = jax.lax.optimization_barrier((jnp.zeros((), int), i))
        weights = jax.lax.dynamic_index_in_dim(coefficients[parity], i, 1, keepdims=False)

        def of(count: int) -> Rows:
            every = apart or [jax.lax.dynamic_index_in_dim(states, first + q, 1, keepdims=False) for q in range(count)]
            total = _total(weights[:count], every[:count])
            return -total if parity else jnp.stack([total[1], -total[0]])

        return jax.lax.switch(most, [functools.partial(of, count) for count in _RULES])

    return source


def gather_back(apply: Apply, terms: Series, cotangents: Sequence[States | Rows]) -> Rows:
    """sum_m exp(+i (H - center) t_m) S_m: what the cotangents at several times amount to at time 0."""
    sources = _sources(terms, cotangents)

    def pair(i: Int[Array, ""], carry: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
        i = terms.pairs - 1 - i
        even, odd = sources(i)
        w, above = carry
        factor = jnp.where(i == 0, 1, 2).astype(w.dtype)
        w, above = odd + 2 * terms.scaled(apply, w) - above, w
        return even + factor * terms.scaled(apply, w) - above, w

    none = zeros_after(cotangents[0], cotangents[-1])
    return jax.lax.fori_loop(0, terms.pairs, pair, (none, none))[0]


def _sources(terms: Series, cotangents: Sequence[States | Rows]) -> Sources:
    """i to the sources s_k and s_{k+1}, k = 2 i, of as many cotangents as there are times; odd terms come with a factor i."""
    every, coefficients = _each(cotangents), terms.coefficients.astype(cotangents[0].dtype)

    def at(i: Int[Array, ""]) -> tuple[Rows, Rows]:
        even, odd = jax.lax.dynamic_index_in_dim(coefficients, i, 2, keepdims=False)
        odd_rows = _total(odd, every)
        # Behind a barrier: else the sums are done again for each amplitude that the kernels gather.
        return jax.lax.optimization_barrier((_total(even, every), jnp.stack([odd_rows[1], -odd_rows[0]])))

    return at


def _sources_of_row(terms: Series, cotangents: Sequence[States | Rows], r: Int[Array, ""]) -> Sources:
    """The same of the real part, r = 0, or the imaginary part alone, as one row."""
    coefficients, sign = terms.coefficients.astype(cotangents[0].dtype), jnp.where(r == 0, 1, -1)

    def at(i: Int[Array, ""]) -> tuple[Rows, Rows]:
        even, odd = jax.lax.dynamic_index_in_dim(coefficients, i, 2, keepdims=False)
        # Tied to i: else the rows are cut out before the loop, and held.
        row, _ = jax.lax.optimization_barrier((r, i))
        same, other = (_each(jax.lax.dynamic_slice_in_dim(x, part, 1) for x in cotangents) for part in (row, 1 - row))
        return jax.lax.optimization_barrier((_total(even, same), sign * _total(odd, other)))

    return at


def _each(cotangents: Iterable[States | Rows]) -> list[Rows]:
    return [row for x in cotangents for row in ([x] if x.ndim == 2 else [x[:, m] for m in range(x.shape[1])])]


def _total(weights: Float[Array, " m"], rows: list[Rows]) -> Rows:
    # Term by term: a product with a matrix would keep the cotangents a second time, in the order that it reads them.
    return sum((weight * each for weight, each in zip(weights[1:], rows[1:], strict=False)), weights[0] * rows[0])
