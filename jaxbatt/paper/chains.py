"""The paper's chains, and what they do at every size through one compiled program for each question."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxbatt._types import Couplings, PerSpin, Scalar, ScalarLike, Times
from jaxbatt.battery import SpinBattery
from jaxbatt.charging import charge, max_power
from jaxbatt.couplings import nearest_neighbor, power_law
from jaxbatt.propagators import Krylov
from jaxbatt.protocols import ConstantField
from jaxbatt.results import Peak
from jaxbatt.solvers import Solver, Spectral, StateVector
from jaxbatt.solvers.mean_field import MeanField

CAPACITY = 12
"""Spins of the program that finds maxima of the power."""
STRONG_CAPACITY = 9
"""Spins of the program that diagonalizes strongly coupled chains."""
RESOLVED = 0.01
"""Relative error of the splitting up to which a slow peak counts as resolved."""
_SLOW_POINTS = 601

# At strong coupling the state stays among few levels: a Krylov space needs a tenth of the applications of a Chebyshev series.
QUANTUM = StateVector(Krylov())
CLASSICAL = MeanField()


class Chain(NamedTuple):
    """One of the three chains of the figures: couplings g_ij = g / |i - j|**p or between neighbors (p None), anisotropy alpha."""

    name: str
    exponent: float | None
    anisotropy: float

    def couplings(self, n: int, g: float) -> Couplings:
        return nearest_neighbor(n, g) if self.exponent is None else power_law(n, g, self.exponent)


XXX = Chain("XXX", None, 1.0)
NN = Chain("NN", None, 0.0)
LR = Chain("LR", 1.0, 0.0)
ALL = Chain("p=0", 0.0, 0.0)


def best_power(couplings: Couplings, omega: ScalarLike | PerSpin, anisotropy: float = 0.0, solver: Solver = QUANTUM) -> Peak:
    """Global maximum over time of the power of a chain of N <= 12 spins with B = 1, compiled once for all N, couplings, omega.

    Spare spins fill the chain up to 12; they have neither coupling nor field, so they store nothing and disturb nothing.

    Args:
        couplings: (N, N) g_ij, in units of B.
        omega: charging field, a scalar or (N,), in units of B.
        anisotropy: alpha.
        solver: ``StateVector()``, or ``MeanField()`` for the classical limit.

    Raises:
        ValueError: N > 12, or the solver did not meet its tolerance.
    """
    filled, on = _filled(couplings, CAPACITY)
    drive = jnp.zeros(CAPACITY).at[: len(couplings)].set(omega)
    peak = _best_power(solver, filled, on, jnp.asarray(anisotropy, float), drive)
    if not (peak.info.valid and peak.certified):
        raise ValueError(f"{peak.info.method} did not find a certain maximum for {len(couplings)} spins: {peak}.")
    return peak


@eqx.filter_jit
def _best_power(solver: Solver, couplings: Couplings, field: PerSpin, anisotropy: Scalar, omega: PerSpin) -> Peak:
    return max_power(SpinBattery(field, couplings, anisotropy), ConstantField(omega), solver=solver)


@jax.jit
def charged_work(couplings: Couplings, omega: Scalar, times: Times) -> tuple[Times, Scalar]:
    """W(t) of an Ising chain with B = 1 by diagonalization, and the bound of its error; compiled once for each (N, T)."""
    curve = charge(SpinBattery(1.0, couplings), ConstantField(omega), times, solver=Spectral())
    return curve.work, curve.info.error


class SlowPeak(NamedTuple):
    """The slow charging of a strongly coupled Ising chain.

    Attributes:
        coefficient: c_N with its sign, from H_eff = const + c_N X_1 ... X_N: half the difference of the lowest levels with
            X_1 ... X_N = +1 and -1.
        time: T_N = pi / (2 |c_N|), when all spins have turned up.
        work: the greatest W(t) within 2 pi / min_i D_i of T_N, with D_i = 2 sum_j g_ij. That is one period of the slowest fast
            oscillation to either side, in which sin^2(c_N t) stays at its peak: "max work (slow peak)" in Fig. 4.
        power: that work over the time at which it occurs.
        resolution: bound of the relative error of c_N and T_N, 4 eps ||H|| / |c_N|.
        resolved: whether ``resolution`` is at most 1 %; if not, time, work and power mean nothing.
    """

    coefficient: Scalar
    time: Scalar
    work: Scalar
    power: Scalar
    resolution: Scalar
    resolved: Bool[Array, ""]


def slow_peak(couplings: Couplings, omega: float) -> SlowPeak:
    """The slow peak of an Ising chain of 2 to 9 spins with g >> omega and B = 1, compiled once for all N and couplings.

    Everything comes from one diagonalization in sectors of X_1 ... X_N = +1 and -1, in which the two lowest levels belong to
    different blocks: their difference is off by rounding of the levels, a few eps ||H||, and by nothing else.

    Source: Le et al., PRA 97, 022106 (2018), Eqs. 14 and 15 and Fig. 4 (a), (c).
    """
    filled, on = _filled(couplings, STRONG_CAPACITY)
    # Spare spins are turned too, and lie along -x in the lowest levels: each changes the sign of the product of all X.
    sign = (-1.0) ** (STRONG_CAPACITY - len(couplings))
    return _slow_peak(filled, on, jnp.asarray(omega, float), jnp.asarray(sign))


@jax.jit
def _slow_peak(couplings: Couplings, field: PerSpin, omega: Scalar, sign: Scalar) -> SlowPeak:
    solver = Spectral(tol=1.0)  # times beyond what float64 resolves are flagged here
    evolution = solver.evolve(solver.prepare(SpinBattery(field, couplings), ConstantField(omega)))
    even, odd = (levels[0, 0] for levels in evolution.levels)
    coefficient = sign * (even - odd) / 2
    size = jnp.stack([jnp.abs(levels).max() for levels in evolution.levels]).max()
    resolution = 4 * jnp.finfo(size.dtype).eps * size / jnp.abs(coefficient)
    time = jnp.pi / (2 * jnp.abs(coefficient))
    costs = 2 * couplings.sum(axis=1)
    period = 2 * jnp.pi / jnp.min(jnp.where(field > 0, costs, jnp.inf))
    times = time + period * jnp.linspace(-1, 1, _SLOW_POINTS)
    _, record = evolution.sample(evolution.start(), times)
    work, at = _highest(record.work, times)
    return SlowPeak(coefficient, time, work, work / at, resolution, resolution <= RESOLVED)


def _highest(work: Times, times: Times) -> tuple[Scalar, Scalar]:
    """The highest local maximum of equidistant samples, and its time, by parabolas through three samples; of equals the first."""
    before, top, after = work[:-2], work[1:-1], work[2:]
    bend = 2 * top - before - after
    peak = (top >= before) & (top >= after) & (bend > 0)
    shift = jnp.where(peak, (after - before) / (2 * jnp.where(peak, bend, 1)), 0)
    height = jnp.where(peak, top + (after - before) * shift / 4, -jnp.inf)
    k = jnp.argmax(height >= height.max() * (1 - 1e-6))  # parabolas are good to 1e-7
    return height[k], times[k + 1] + shift[k] * (times[1] - times[0])


def _filled(couplings: Couplings, capacity: int) -> tuple[Couplings, PerSpin]:
    """The couplings with spare spins added, and 1 for each spin of the chain, 0 for each spare one."""
    n = len(couplings)
    if n > capacity:
        raise ValueError(f"`couplings` has {n} spins, but this program has room for {capacity}.")
    on = (jnp.arange(capacity) < n).astype(float)
    return jnp.zeros((capacity, capacity)).at[:n, :n].set(couplings), on
