"""The search for maxima of power and work over time, on windows in which W(t) is a polynomial to rounding.

W(t) holds no angular frequency above the bandwidth of H. On a window whose half length times the bandwidth is at
most 32, its Chebyshev interpolant through 73 points is exact to 1e-15 (the tail of Bessel functions), so maxima are
found on the interpolant: W = sum_k a_k cos(k theta), t = t_0 + tau (1 + cos theta) / 2.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._batches import any_of_batch
from jaxbatt._types import Scalar
from jaxbatt.solvers import WINDOW_DEGREE, WINDOW_PHASE, Carry, Evolution

Objective: TypeAlias = Literal["power", "work"]

_GRID = 8 * WINDOW_DEGREE
"""Intervals in which a sign change of the slope is looked for: 16 in the shortest period."""
_TAYLOR = 12
"""Degree of the polynomial that a window is replaced by in one interval: k theta < 0.2 there, so it is exact to rounding."""
_CANDIDATES = 12
"""Local maxima of a window that are refined, the highest or the first: there are hardly more, for the highest frequency has ten
periods in it. Estimates of their heights could not tell which is the highest."""
_LOUD, _NEAR = 1e-9, 1e-3
"""Work in units of the largest in a window, of either sign, that is not taken for rounding; and how far below zero an estimate
may be of what is positive: the error of an estimate is less."""
_STEPS, _CLOSE = 24, 1e-11
"""Most steps to a zero of the slope, from an interval in which it is nearly straight; one that has moved by so little, in
units of half an interval, that what is left is far below rounding, stays."""
MAX_WINDOWS = 16384
_ONSET = 3.4
"""First window of a search for power, in units of (C / W''(0))^(1/2): most searches end within it. For W = C sin^2(w t), whose
power is greatest at C / P = 1.38 / w, it is 2.4 / w; interactions make both C and the end of the search larger."""

_SEEN = 2**20
"""Work that has become so many eps of the most there can be is not taken for rounding."""


class Found(NamedTuple):
    """The best maximum so far."""

    value: Scalar
    time: Scalar
    work: Scalar


class _Bracket(NamedTuple):
    """Ends of some intervals and the slopes there, a place between them and its slope, which end was the last to stay (1 the
    upper one, -1 the lower, 0 neither yet), which places still move, whether any of a batch does, and the steps taken.

    The slope is carried, not computed where it is used: XLA would do that once for each use, with roundings of its own, and so
    with two signs near the zero.
    """

    low: Array
    up: Array
    high: Array
    down: Array
    place: Array
    slope: Array
    stayed: Array
    moves: Bool[Array, " m"]
    any_moves: Bool[Array, ""]
    steps: Int[Array, ""]


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
    limits, (start, work_of) = evolution.limits(), evolution.windows()
    # Without a spectrum (H = 0) of a length that leaves no phase.
    length = 2 * WINDOW_PHASE / jnp.maximum(limits.bandwidth, 4 * jnp.finfo(limits.bandwidth.dtype).tiny ** 0.5)
    horizon = jnp.minimum(horizon, evolution.edges[-1])
    first_length = length
    if objective == "power":
        likely = _ONSET * jnp.sqrt(limits.work / jnp.where(limits.onset > 0, limits.onset, 1))
        first_length = jnp.where((limits.onset > 0) & (limits.work > 0), jnp.minimum(likely, length), length)

    def end_of_search(best: Found) -> Scalar:
        if objective == "work" or first:
            return horizon
        found = best.value > 0
        return jnp.where(found, jnp.minimum(horizon, limits.work / jnp.where(found, best.value, 1)), horizon)

    def window(search: _Search) -> _Search:
        begin = search.carry.time
        edge = evolution.edges[jnp.searchsorted(evolution.edges, begin, side="right").clip(max=len(evolution.edges) - 1)]
        reach = jnp.where(search.windows == 0, first_length, length)
        stop = jnp.minimum(jnp.minimum(begin + reach, edge), end_of_search(search.best))
        nodes = begin + (stop - begin) * (1 - jnp.cos(jnp.pi / WINDOW_DEGREE * jnp.arange(WINDOW_DEGREE + 1))) / 2
        carry, work = work_of(search.carry, nodes.at[-1].set(stop))
        series = _Series(_cosine_coefficients(work), begin, stop - begin)
        found, hit, slope = _best_of_window(series, objective, first, search.slope)
        # While the field is constant W(t) is analytic: work that is zero to rounding on a whole window stays zero. But in strong
        # couplings a window may be too short for the state to move so far that it would have shown.
        size, eps, alone = jnp.max(jnp.abs(work)), jnp.finfo(work.dtype).eps, len(evolution.edges) == 1
        rests = (limits.motion == 0) & alone
        silent = (size <= 64 * eps * jnp.abs(limits.work)) | rests
        telling = rests | ((limits.motion * (stop - begin)) ** 2 > _SEEN * eps)
        # Of work that is never positive rounding may leave some, or a slope at t = 0.
        gained = jnp.maximum(jnp.max(work), found.work) > 1024 * eps * size
        better = (found.value > search.best.value) & gained & ~silent
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), found, search.best)
        end = end_of_search(best)
        done = (carry.time >= end) | (silent & telling & alone)
        stuck = silent & ~telling & alone & (end > length * MAX_WINDOWS)
        return _Search(carry, best, slope, jnp.where(stuck, MAX_WINDOWS, search.windows + 1), done | hit if first else done)

    def unfinished(search: _Search) -> Array:
        # A search for work ends at the horizon: one that cannot get there is not begun.
        hopeless = (horizon > length * MAX_WINDOWS) if objective == "work" else False
        return ~search.done & search.carry.valid & (search.windows < MAX_WINDOWS) & ~jnp.asarray(hopeless)

    zero = jnp.zeros(())
    search = _Search(start, Found(zero, zero, zero), zero, jnp.zeros((), int), jnp.zeros((), bool))
    search = jax.lax.while_loop(unfinished, window, search)
    return search.best, search.done, search.carry


class _Tables(NamedTuple):
    """The angles at which every window is looked at, and what its cosine series is multiplied by there.

    Attributes:
        theta: (G + 1,) pi ... 0, that is t rising.
        both: (K, 2 G + 2) from a_k to W, and to sum_k k a_k sin(k theta) / sin(theta), which is dW/dt * length / 2.
        even: (G, K) cos(k theta) at the middle of each interval.
        odd: (G, K) sin(k theta) there.
        taylor: (K, Q) from even or odd parts to Taylor coefficients in units of half an interval.
    """

    theta: np.ndarray
    both: np.ndarray
    even: np.ndarray
    odd: np.ndarray
    taylor: np.ndarray

    @classmethod
    def of(cls, degree: int, intervals: int) -> _Tables:
        order = np.arange(degree + 1)
        theta = np.pi * (1 - np.arange(intervals + 1) / intervals)
        inner = theta[1:-1, None]
        rate = np.vstack([order * (-1.0) ** (order + 1), np.sin(inner * order) / np.sin(inner), order]) * order
        middle = (theta[:-1] + theta[1:])[:, None] / 2
        power = np.arange(_TAYLOR + 1)[:, None]
        factorial = np.cumprod(np.maximum(power, 1), axis=0)
        # Derivatives of cos: cos, -sin, -cos, sin.
        taylor = np.array([1, -1, -1, 1])[power % 4] * (order * np.pi / intervals / 2) ** power / factorial
        both = np.concatenate([np.cos(theta[:, None] * order), rate]).T
        return cls(theta, both, np.cos(middle * order), np.sin(middle * order), taylor.T)


_TABLES = _Tables.of(WINDOW_DEGREE, _GRID)


class _Series(NamedTuple):
    """W on a window as a cosine series."""

    coefficients: Float[Array, " k"]
    start: Scalar
    length: Scalar

    def on_grid(self, objective: Objective) -> tuple[Array, Array, Array, Array]:
        """t, W, the objective, and its slope in time (for the power, dP/dt times t**2) at the angles of the tables."""
        # The table on the right: a batch of series is then one product of two matrices.
        work, rate = jnp.split(self.coefficients @ jnp.asarray(_TABLES.both), 2)
        rate = 2 / self.length * rate
        return self._seen(jnp.asarray(_TABLES.theta), work, rate, objective)

    def around(self, interval: Int[Array, " m"]) -> Float[Array, "m q"]:
        """W on some intervals as polynomials of the place from -1 to 1."""
        parts = (self.coefficients * jnp.asarray(table)[interval] for table in (_TABLES.even, _TABLES.odd))
        even, odd = (part @ jnp.asarray(_TABLES.taylor[:, q::2]) for q, part in enumerate(parts))
        return jnp.stack([(even, odd)[q % 2][:, q // 2] for q in range(_TAYLOR + 1)], axis=1)

    def inside(self, local: Array, interval: Array, place: Array, objective: Objective) -> tuple[Array, Array, Array, Array]:
        """The same at places of intervals, from their polynomials."""
        half = np.pi / _GRID / 2
        # theta falls while t rises: a place counts along theta, so from the later to the earlier end.
        theta = np.pi * (1 - (interval + 0.5) / _GRID) + half * place
        work, slope = local[..., -1], jnp.zeros_like(place)
        for q in range(_TAYLOR - 1, -1, -1):
            work, slope = work * place + local[..., q], slope * place + work
        sine = jnp.sin(theta)
        rate = -2 / self.length * slope / half / jnp.where(sine > 0, sine, 1)
        return self._seen(theta, work, rate, objective)

    def _seen(self, theta: Array, work: Array, rate: Array, objective: Objective) -> tuple[Array, Array, Array, Array]:
        time = self.start + self.length * (1 + jnp.cos(theta)) / 2
        if objective == "work":
            return time, work, work, rate
        power = jnp.where(time > 0, work / jnp.where(time > 0, time, 1), rate)
        return time, work, power, rate * time - work


def _cosine_coefficients(work: Float[Array, " n"]) -> Float[Array, " n"]:
    """a_k from the values at t rising, that is theta_j = pi (1 - j / n)."""
    n = WINDOW_DEGREE
    j = np.arange(n + 1)
    halved = np.where((j == 0) | (j == n), 0.5, 1.0)
    matrix = np.cos(np.pi / n * np.outer(n - j, j)) * halved * 2 / n
    return work @ jnp.asarray(halved[:, None] * matrix)


def _best_of_window(
    series: _Series, objective: Objective, first: bool, slope_before: Scalar
) -> tuple[Found, Bool[Array, ""], Scalar]:
    """The best (or the first) maximum of a window, whether it holds a local maximum, and the slope at its end."""
    time, work, value, slope = series.on_grid(objective)
    size = jnp.max(jnp.abs(work))
    rising = slope > 0
    # What rises above zero may do so between two angles only: heights are estimated, and looked at when they are known.
    fraction = slope[:-1] / jnp.where(rising[:-1] & ~rising[1:], slope[:-1] - slope[1:], 1)
    middle = (time[:-1] + time[1:]) / 2 if objective == "power" else jnp.ones(())
    height = value[:-1] + slope[:-1] * (time[1:] - time[:-1]) * fraction / 2 / jnp.where(middle > 0, middle, 1) ** 2
    height = jnp.maximum(jnp.maximum(value[:-1], value[1:]), height)
    peak = rising[:-1] & ~rising[1:] & (height * middle > -_NEAR * size)
    order = -jnp.arange(_GRID, dtype=value.dtype) if first else height
    interval = _largest(jnp.where(peak, order, -jnp.inf), _CANDIDATES)
    refined = _refined(series, objective, interval, slope[interval], slope[interval + 1])
    loud = peak[interval] & (refined.work > _LOUD * size)
    refined = refined._replace(value=jnp.where(loud, refined.value, -jnp.inf))
    # Where the field jumps, P may rise up to the beginning of the window and fall from there.
    kink = (slope_before > 0) & ~rising[0] & (work[0] > _LOUD * size)
    ends = jax.tree.map(lambda x: x[jnp.array([0, -1])], Found(value, time, work))
    everything = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), refined, ends)
    # Of the first maximum: the beginning of the window, the first peak inside, or, while the power still rises, the end.
    of_first = jnp.where(kink, _CANDIDATES, jnp.where(loud.any(), jnp.argmax(loud), _CANDIDATES + 1))
    choice = of_first if first else jnp.argmax(everything.value)
    found = jax.tree.map(lambda x: x[choice], everything)
    return found, loud.any() | kink, slope[-1]


def _largest(values: Float[Array, " g"], count: int) -> Int[Array, " m"]:
    """Places of the largest values; a sort of them all takes longer."""
    places = []
    for _ in range(count):
        places.append(jnp.argmax(values))
        values = jnp.where(jnp.arange(len(values)) == places[-1], -jnp.inf, values)
    return jnp.stack(places)


def _refined(series: _Series, objective: Objective, interval: Int[Array, " m"], before: Array, after: Array) -> Found:
    """The zero of the slope in some intervals, by regula falsi in which an end that stays twice counts half (Illinois)."""
    local = series.around(interval)

    def middle(low: Array, up: Array, high: Array, down: Array) -> Array:
        return low + (high - low) * jnp.where(up == down, 0, up / jnp.where(up == down, 1, up - down))

    def slope_at(place: Array) -> Array:
        return series.inside(local, interval, place, objective)[3]

    def step(at: _Bracket) -> _Bracket:
        slope = at.slope
        stays = jnp.where(slope > 0, 1, -1)
        # Halved only where it stays again: always, and the steps would but halve the interval.
        weight = jnp.where(stays == at.stayed, 0.5, 1)
        low, up = jnp.where(slope > 0, at.place, at.low), jnp.where(slope > 0, slope, weight * at.up)
        high, down = jnp.where(slope > 0, at.high, at.place), jnp.where(slope > 0, weight * at.down, slope)
        # What has arrived stays: no result may depend on what else is in its batch.
        place = jnp.where(at.moves, middle(low, up, high, down), at.place)
        moves = jnp.abs(place - at.place) > _CLOSE
        return _Bracket(low, up, high, down, place, slope_at(place), stays, moves, any_of_batch(moves.any()), at.steps + 1)

    one, encloses = jnp.ones_like(before), (before > 0) & (after <= 0)
    place, stayed = middle(one, before, -one, after), jnp.zeros(before.shape, int)
    moving = encloses, jnp.ones((), bool), jnp.zeros((), int)
    start = _Bracket(one, before, -one, after, place, slope_at(place), stayed, *moving)
    end = jax.lax.while_loop(lambda at: at.any_moves & (at.steps < _STEPS), step, start)
    time, work, value, _ = series.inside(local, interval, end.place, objective)
    return Found(value, time, work)
