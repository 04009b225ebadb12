"""The search for maxima of power and work over time, on windows in which W(t) is a polynomial to rounding.

W(t) holds no angular frequency above the bandwidth of H. On a window whose half length times the bandwidth is at
most 80, its Chebyshev interpolant through 129 points is exact to 1e-15 (the tail of Bessel functions), so maxima are
found on the interpolant: W = sum_k a_k cos(k theta), t = t_0 + tau (1 + cos theta) / 2.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._types import Scalar
from jaxbatt.solvers import WINDOW_DEGREE, WINDOW_PHASE, Carry, Evolution

Objective: TypeAlias = Literal["power", "work"]

_GRID = 1024
"""Intervals in which a sign change of the slope is looked for: 25 in the shortest period."""
_CANDIDATES = 4
"""Local maxima of a window that are refined: those with the highest estimates."""
_STEPS = 24
"""Steps to a zero of the slope, from an interval in which it is nearly straight."""
MAX_WINDOWS = 4096


class Found(NamedTuple):
    """The best maximum so far."""

    value: Scalar
    time: Scalar
    work: Scalar


class _Search(NamedTuple):
    carry: Carry
    best: Found
    slope: Scalar
    windows: Int[Array, ""]
    done: Bool[Array, ""]


def find_maximum(
    evolution: Evolution, objective: Objective, first: bool, horizon: Scalar
) -> tuple[Found, Bool[Array, ""], Carry]:
    """The global maximum over [0, horizon] of W(t) / t or W(t), or the first local one.

    For the power the search ends where t > C / P_best, with C the most work there can be: no later time can win.

    Returns:
        the maximum; whether the whole range was searched (or a first maximum was found); the evolution's last carry.
    """
    limits = evolution.limits()
    length = 2 * WINDOW_PHASE / jnp.maximum(limits.bandwidth, jnp.finfo(limits.bandwidth.dtype).tiny ** 0.5)
    horizon = jnp.minimum(horizon, evolution.edges[-1])

    def end_of_search(best: Found) -> Scalar:
        if objective == "work" or first:
            return horizon
        return jnp.minimum(horizon, limits.work / jnp.maximum(best.value, 0))

    def window(search: _Search) -> _Search:
        start = search.carry.time
        edge = evolution.edges[jnp.searchsorted(evolution.edges, start, side="right").clip(max=len(evolution.edges) - 1)]
        stop = jnp.minimum(jnp.minimum(start + length, edge), jnp.where(jnp.isfinite(horizon), horizon, jnp.inf))
        nodes = start + (stop - start) * (1 - jnp.cos(jnp.pi / WINDOW_DEGREE * jnp.arange(WINDOW_DEGREE + 1))) / 2
        carry, record = evolution.sample(search.carry, nodes.at[-1].set(stop))
        series = _Series(_cosine_coefficients(record.work), start, stop - start)
        found, hit, slope = _best_of_window(series, objective, first, search.slope)
        # Work that is zero to rounding on a whole window stays zero, for W(t) is analytic while the field is constant.
        silent = jnp.max(jnp.abs(record.work)) <= 64 * jnp.finfo(record.work.dtype).eps * jnp.abs(limits.work)
        better = (found.value > search.best.value) & ~silent
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), found, search.best)
        done = (carry.time >= end_of_search(best)) | (silent & (len(evolution.edges) == 1))
        return _Search(carry, best, slope, search.windows + 1, done | hit if first else done)

    def unfinished(search: _Search) -> Array:
        # A search for work ends at the horizon: one that cannot get there is not begun.
        hopeless = (horizon > length * MAX_WINDOWS) if objective == "work" else False
        return ~search.done & search.carry.valid & (search.windows < MAX_WINDOWS) & ~jnp.asarray(hopeless)

    zero = jnp.zeros(())
    search = _Search(evolution.start(), Found(zero, zero, zero), zero, jnp.zeros((), int), jnp.zeros((), bool))
    if jax.eval_shape(lambda: window(search).carry) != jax.eval_shape(lambda: search.carry):
        search = window(search)
    search = jax.lax.while_loop(unfinished, window, search)
    return search.best, search.done, search.carry


class _Series(NamedTuple):
    """W on a window as a cosine series."""

    coefficients: Float[Array, " k"]
    start: Scalar
    length: Scalar

    def at(self, theta: Float[Array, " m"], objective: Objective) -> tuple[Array, Array, Array, Array]:
        """t, W, the objective, and its slope in time (for the power, dP/dt times t**2)."""
        order = jnp.arange(WINDOW_DEGREE + 1)
        work = jnp.cos(theta[:, None] * order) @ self.coefficients
        # dW/dt = (2 / tau) sum_k k a_k sin(k theta) / sin(theta), where the last factor is (+-1)**(k - 1) k at the ends.
        cosine, sine = jnp.cos(theta)[:, None], jnp.sin(theta)[:, None]
        inside = sine > 1e-9
        ratio = jnp.where(
            inside, jnp.sin(theta[:, None] * order) / jnp.where(inside, sine, 1), order * jnp.sign(cosine) ** (order + 1)
        )
        rate = 2 / self.length * (ratio @ (order * self.coefficients))
        time = self.start + self.length * (1 + jnp.cos(theta)) / 2
        if objective == "work":
            return time, work, work, rate
        power = jnp.where(time > 0, work / jnp.where(time > 0, time, 1), rate)
        return time, work, power, rate * time - work


def _cosine_coefficients(work: Float[Array, " n"]) -> Float[Array, " n"]:
    """a_k from the values at t rising, that is theta_j = pi (1 - j / n)."""
    n = WINDOW_DEGREE
    j = jnp.arange(n + 1)
    halved = jnp.where((j == 0) | (j == n), 0.5, 1.0)
    matrix = jnp.cos(jnp.pi / n * jnp.outer(j, n - j)) * halved * 2 / n
    return halved * (matrix @ work)


def _best_of_window(
    series: _Series, objective: Objective, first: bool, slope_before: Scalar
) -> tuple[Found, Bool[Array, ""], Scalar]:
    """The best (or the first) maximum of a window, whether it holds a local maximum, and the slope at its end."""
    theta = jnp.pi * (1 - jnp.arange(_GRID + 1) / _GRID)
    time, work, value, slope = series.at(theta, objective)
    loud = work > 1e-9 * jnp.max(jnp.abs(work))
    rising = slope > 0
    peak = rising[:-1] & ~rising[1:] & loud[1:]
    fraction = slope[:-1] / jnp.where(peak, slope[:-1] - slope[1:], 1)
    if first:
        order = -jnp.arange(_GRID, dtype=value.dtype)
    else:
        order = jnp.maximum(value[:-1], value[1:]) + jnp.abs(value[1:] - value[:-1]) * fraction * (1 - fraction)
    _, index = jax.lax.top_k(jnp.where(peak, order, -jnp.inf), 1 if first else _CANDIDATES)
    refined = _refined(series, objective, (theta[index], slope[index]), (theta[index + 1], slope[index + 1]))
    refined = refined._replace(value=jnp.where(peak[index], refined.value, -jnp.inf))
    # Where the field jumps, P may rise up to the beginning of the window and fall from there.
    kink = (slope_before > 0) & ~rising[0]
    ends = jax.tree.map(lambda x: x[jnp.array([0, -1])], Found(value, time, work))
    everything = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), refined, ends)
    # Of the first maximum: the beginning of the window, the first peak inside, or, while the power still rises, the end.
    choice = jnp.where(kink, 1, jnp.where(peak.any(), 0, 2)) if first else jnp.argmax(everything.value)
    found = jax.tree.map(lambda x: x[choice], everything)
    return found, peak.any() | kink, slope[-1]


def _refined(series: _Series, objective: Objective, rising: tuple[Array, Array], falling: tuple[Array, Array]) -> Found:
    """The zero of the slope between two points (theta, slope), by regula falsi in which an end that stays counts half."""

    def middle(rising: tuple[Array, Array], falling: tuple[Array, Array]) -> Array:
        (low, up), (high, down) = rising, falling
        difference = jnp.where(up == down, 1, up - down)
        return low + (high - low) * jnp.where(up == down, 0, up / difference)

    def step(_: Int[Array, ""], state: tuple[Array, ...]) -> tuple[Array, ...]:
        low, up, high, down = state
        theta = middle((low, up), (high, down))
        slope = series.at(theta, objective)[3]
        before = slope > 0
        low, up = jnp.where(before, theta, low), jnp.where(before, slope, up / 2)
        high, down = jnp.where(before, high, theta), jnp.where(before, down / 2, slope)
        return low, up, high, down

    low, up, high, down = jax.lax.fori_loop(0, _STEPS, step, (*rising, *falling))
    time, work, value, _ = series.at(middle((low, up), (high, down)), objective)
    return Found(value, time, work)
