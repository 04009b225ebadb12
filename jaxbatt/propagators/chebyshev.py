"""Chebyshev expansion of exp(-i H t) over the whole of a segment."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from jaxbatt._batches import largest_of_batch, placed
from jaxbatt._checks import library, positive_number
from jaxbatt._types import Rows, Scalar
from jaxbatt.propagators._expansion import Apply, Kept, Recurrence, Seen, Used, expand, spanned
from jaxbatt.propagators._segment import Action, Segment, States, checked_tolerance

_REACH = 400.0
"""radius * time of the longest segment by default. Its tail costs some 40 terms, so longer segments would gain little."""

_TOGETHER = 4
"""Bessel functions in one turn of the loop over their orders."""


@dataclasses.dataclass(frozen=True)
class Chebyshev:
    """exp(-i H t) psi = sum_k c_k(t) T_k(H') psi with H' = (H - center) / radius, c_k = (2 - delta_k0) (-i)**k J_k(radius t).

    The vectors T_k(H') psi do not depend on t: one recurrence serves all times of a segment. It is truncated where a
    proven bound of the tail (Kapteyn's inequality) meets the tolerance, never at the first small term.

    Args:
        tol: bound of the truncation error of the state (2-norm) at the last time.
        reach: radius * time of the longest series, whose coefficients are all held; longer evolutions take several.

    Raises:
        ValueError: tol <= 0 or reach <= 0.

    Source: Tal-Ezer and Kosloff, J. Chem. Phys. 81, 3967 (1984); Kapteyn's inequality: DLMF 10.14.8.
    """

    tol: float = 1e-10
    reach: float = dataclasses.field(default=_REACH, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tol", checked_tolerance(self.tol))
        object.__setattr__(self, "reach", positive_number("reach", self.reach, f"the default is {_REACH:g}"))

    def advance(
        self,
        operator: Action,
        center: Scalar,
        radius: Scalar,
        rows: Rows,
        offsets: Float[Array, " m"],
        limit: Scalar,
        rate: Scalar,
    ) -> Segment:
        """See :class:`jaxbatt.propagators.Propagator`."""
        reach = jnp.minimum(limit, longest(radius, self.reach))
        terms = series(center, radius, jnp.append(jnp.minimum(offsets, reach), reach), reach, rate, self.reach)
        states, top = terms.states(operator, rows)
        return Segment(states, reach, terms.error, 2 * terms.needed, (*top, terms.needed))


def longest(radius: Scalar, most: float = _REACH) -> Scalar:
    """The longest time that one series can span, with radius * time up to ``most``."""
    return most / _widened(radius)


def term_count(most: float) -> int:
    """Terms that leave less than 1e-18 at radius * time = ``most``, in blocks that fit those of an expansion: 512 for 400."""
    block = 16 if most < _REACH else 64
    return block * math.ceil((most + 6 * most ** (1 / 3) + 20) / block)


@functools.cache
def phase_of(n_terms: int, tol: float) -> float:
    """The largest radius * time, within a millionth, at which so many terms leave no more than ``tol``."""
    low, high = 0.0, float(n_terms)
    while high - low > 1e-6 * n_terms:
        middle = (low + high) / 2
        meets = _tail_bound(np.float64(middle), np.int64(n_terms - 1)) <= max(tol, np.finfo(float).eps)
        low, high = (middle, high) if meets else (low, middle)
    return low


class Series(NamedTuple):
    """exp(-i (H - center) t) = sum_k c_k(t) T_k((H - center) / radius) for M times of either sign.

    Attributes:
        center: middle of an interval that encloses the spectrum.
        radius: half of its length.
        coefficients: (2, M, K / 2) Re c_k for even k, Im c_k for odd k.
        needed: number of pairs of terms that are needed; those beyond have the coefficient 0.
        pairs: number of pairs that are computed, the most that is needed in a batch.
        error: bound of the truncation error, and rounding.
    """

    center: Scalar
    radius: Scalar
    coefficients: Float[Array, "2 m h"]
    needed: Int[Array, ""]
    pairs: Int[Array, ""]
    error: Scalar

    def scaled(self, apply: Apply, v: Rows) -> Rows:
        """H' v = (H - center) v / radius."""
        return (apply(v) - self.center * v) / self.radius

    def cut(self, needed: Int[Array, ""]) -> Series:
        """The series with so many pairs of terms."""
        kept = jnp.where(jnp.arange(self.coefficients.shape[2]) < needed, self.coefficients, 0)
        return self._replace(coefficients=kept, needed=needed, pairs=largest_of_batch(needed))

    def at(self, times: Sequence[int], signs: Sequence[int]) -> Series:
        """The series of some of its times, by their numbers, each with a sign."""
        coefficients = self.coefficients[:, np.asarray(times)] * np.asarray(signs)[:, None]
        return self._replace(coefficients=coefficients)

    def states(self, operator: Action, rows: Rows, block: int | None = None) -> tuple[States, tuple[Rows, Rows]]:
        """The state at the M times, (2, M, d), and the last two vectors of the recurrence; ``block`` as of :func:`expand`."""
        recurrence = self.recurrence(jnp.arange(2 * self.coefficients.shape[2]), rows.dtype)
        return expand(operator, lambda v: self.scaled(operator.apply, v), rows, self.coefficients, recurrence, self.pairs, block)

    def spanned(self, seen: Seen, rows: Rows, *, apart: bool) -> tuple[Kept, Float[Array, "2 m r h"], Used]:
        """See :func:`jaxbatt.propagators._expansion.spanned`."""

        def shifted(v: Rows) -> tuple[Any, ...]:
            driven, *others = seen(v)
            return (driven - self.center * v) / self.radius, *others

        recurrence = self.recurrence(jnp.arange(2 * self.coefficients.shape[2]), rows.dtype)
        return spanned(shifted, rows, self.coefficients, recurrence, self.pairs, apart=apart)

    def recurrence(self, k: Int[Array, "*k"], dtype: DTypeLike) -> Recurrence:
        """The weights a_k, b_k of T_{k+1} = a_k H' T_k - b_k T_{k-1}; beyond what is needed the last two vectors take turns.

        So they are the same, to the last bit, whatever others of a batch need.
        """
        more = k < 2 * self.needed
        return Recurrence(jnp.where(more, jnp.where(k == 0, 1, 2), 0).astype(dtype), jnp.where(more, 1, -1).astype(dtype))


def series(
    center: Scalar,
    radius: Scalar,
    offsets: Float[Array, " m"],
    reach: Scalar,
    rate: Scalar,
    most: float = _REACH,
    held: int | None = None,
) -> Series:
    """The series for times up to ``reach`` in size, with an error of at most ``rate`` per unit of time.

    radius * reach is at most ``most``, which decides how many terms are held; where ``held`` says so and these are too few, the
    error tells.
    """
    eps, n_terms = jnp.finfo(radius.dtype).eps, term_count(most)
    held = n_terms if held is None else held
    radius = _widened(radius)
    last, tail = _last_term(radius * reach, held, jnp.maximum(rate * reach, eps / 16))
    needed = (last + 2) // 2
    coefficients = _coefficients(radius * offsets, n_terms)[:, :, : held // 2]
    coefficients = jnp.where(jnp.arange(held // 2) < needed, coefficients, 0)
    return Series(center, radius, coefficients, needed, largest_of_batch(needed), tail + 2 * eps * needed)


def _widened(radius: Scalar) -> Scalar:
    # Never so small that the first coefficient is no number, or the reciprocal: H = 0 has derivatives, too.
    return radius * (1 + 16 * jnp.finfo(radius.dtype).eps) + jnp.finfo(radius.dtype).tiny ** 0.5


def _last_term(z: Scalar, n_terms: int, allowed: Scalar) -> tuple[Int[Array, ""], Scalar]:
    """The first k < n_terms whose tail is no more than allowed, found by halves (the bounds fall with k), and its bound."""

    def halved(_: Int[Array, ""], ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) // 2
        meets = _tail_bound(z, middle) <= allowed
        return jnp.where(meets, low, middle + 1), jnp.where(meets, middle, high)

    ends = jnp.zeros((), int), jnp.asarray(n_terms - 1)
    last = jax.lax.fori_loop(0, n_terms.bit_length(), halved, ends)[1]
    return last, _tail_bound(z, last)


def _tail_bound(z: Scalar | np.float64, k: Int[Array, ""] | np.int64) -> Scalar:
    """Bounds sum_{j > k} 2 |J_j(z)|: a geometric sum of |J_j(z)| <= exp(sqrt(j^2 - z^2) - j arccosh(j / z))."""
    lib, order = library(z), (k + 1).astype(z.dtype)
    z = lib.maximum(z, jnp.finfo(z.dtype).eps)
    ratio = order / z
    beyond = ratio > 1
    ratio = lib.where(beyond, ratio, 2.0)
    root = lib.sqrt(ratio**2 - 1)
    first = lib.exp(z * root - order * lib.log(ratio + root))
    return lib.where(beyond, 2 * first / (1 - 1 / (ratio + root)), jnp.inf)


def _coefficients(z: Float[Array, " m"], n_terms: int) -> Float[Array, "2 m h"]:
    """Re c_k for even k, Im c_k for odd k, for every z: c_k = (2 - delta_k0) (-i)**k J_k(z).

    Miller's algorithm: J_{k-1} = (2 k / z) J_k - J_{k+1} downwards from where J_k is far below rounding, each z from an order of
    its own; then J_0 + 2 (J_2 + J_4 + ...) = 1 gives the scale. It is stable in this direction (DLMF 3.6, 10.74). Of the smallest
    z few orders are not zero, and from higher ones it would overflow.
    """
    info = jnp.finfo(z.dtype)
    size = jnp.maximum(jnp.abs(z), info.tiny**0.3)
    above = jnp.where(size < info.eps**0.25, 3, size + 10 * jnp.cbrt(size) + 16)
    first = jnp.minimum(above, n_terms - 1).astype(int)
    blocks, twice = largest_of_batch(jnp.max(first)) // _TOGETHER + 1, 2 / size

    def down(i: Int[Array, ""], loop: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        above, here, table = loop
        start, rows = (blocks - 1 - i) * _TOGETHER, []
        for k in start + np.arange(_TOGETHER)[::-1]:
            below = (k + 1) * twice * here - above
            above, here = here, jnp.where(k == first, 1e-30, jnp.where(k < first, below, 0))
            rows.append(here)
        return above, here, placed(table, jnp.stack(rows[::-1]), (start, 0))

    zero = jnp.zeros_like(z)
    *_, table = jax.lax.fori_loop(0, blocks, down, (zero, zero, jnp.zeros((n_terms, *z.shape), z.dtype)))
    pairs = jnp.moveaxis(table.reshape(-1, 2, len(z)), 0, 2)
    order = np.arange(n_terms).reshape(-1, 1, 2).T
    weights = (np.where(order == 0, 1, 2) * np.array([1, -1, -1, 1])[order % 4]).astype(z.dtype)
    total = (jnp.abs(weights[0]) * pairs[0]).sum(axis=1)
    # Odd orders have the sign of z, and of the smallest z the first is in proportion to it.
    factor = jnp.where(np.array([[0], [1]]) == 1, z / size, 1)
    return weights * (pairs / total[:, None]) * factor[:, :, None]
