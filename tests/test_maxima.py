"""Maxima over time against brute force: dense curves on fine grids, polished by root finding on the exact slope."""

import functools
import itertools

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from conftest import tol
from scipy import optimize

import jaxbatt as jb
from jaxbatt.charging import Uncertain

TIME_ACCURACY = 1e-8
"""Relative, as promised."""


class Brute:
    """Work, slopes and maxima of a system from its eigenvectors, piece by piece."""

    def __init__(self, system, longest=None):
        self.system = system
        if longest is None:
            longest = np.inf if system.durations is None else np.sum(system.durations)
        self.edges = [] if system.durations is None else [t for t in np.cumsum(system.durations)[:-1] if t < longest]
        self.longest = longest
        energies = np.linalg.eigvalsh(system.energy)
        start = dense.expectation(system.energy, system.initial[None])[0]
        self.capacity = energies[-1] - start
        levels = [np.linalg.eigvalsh(h) for h in system.hamiltonians]
        self.bandwidth = max(e[-1] - e[0] for e in levels)

    def work(self, times):
        return self.system.work(np.atleast_1d(times))

    def work_slope(self, time, after=False):
        """dW/dt = i <[H, H_0]> with the H before (or after) a jump of the field."""
        piece = np.searchsorted(self.edges, time, side="right" if after else "left")
        h, energy = self.system.hamiltonians[piece], self.system.energy
        return dense.expectation(1j * (h @ energy - energy @ h), self.system.states([time]))[0]

    def slope(self, objective, time, after=False):
        """That of the work, or of the power times t squared."""
        slope = self.work_slope(time, after)
        return slope if objective == "work" else slope * time - self.work(time)[0]

    def grid(self, end):
        """60 points in the shortest period, and every edge."""
        count = int(np.ceil(60 * end * self.bandwidth / (2 * np.pi))) + 3
        return np.union1d(np.linspace(0, end, count)[1:], [e for e in self.edges if e <= end])

    def value(self, objective, times):
        return self.work(times) if objective == "work" else self.work(times) / times

    def polish(self, objective, low, high):
        """The maximum between two times: where the slope changes sign, or an end or a jump of the field."""
        for edge in self.edges:
            if low < edge < high:
                raise AssertionError("the grid holds every edge")
        slopes = self.slope(objective, low, after=True), self.slope(objective, high)
        if slopes[0] > 0 > slopes[1]:
            return optimize.brentq(lambda t: self.slope(objective, t), low, high, xtol=1e-15, rtol=4 * np.finfo(float).eps)
        return low if slopes[0] <= 0 else high

    def best(self, objective, end):
        """(value, time) of the largest up to ``end``: the three highest grid points, each with both of its neighbors."""
        grid = self.grid(end)
        values = self.value(objective, grid)
        found = []
        for i in np.argsort(values)[-3:]:
            around = grid[max(i - 1, 0) : i + 2]
            times = [self.polish(objective, *pair) for pair in itertools.pairwise(around)]
            found += [(self.value(objective, t)[0], t) for t in times]
        return max(found)

    def max_power(self):
        """Over all times that could win: no t > C / P beats P."""
        end = min(2 * np.pi / self.bandwidth, self.longest)
        while True:
            value, time = self.best("power", end)
            needed = min(self.capacity / max(value, 1e-300), self.longest)
            if needed <= end:
                return value, time
            end = min(max(needed if value > 0 else 2 * end, end), self.longest)

    def first_peak(self):
        """The first time at which the power stops to grow."""
        end = self.longest if np.isfinite(self.longest) else 40 * 2 * np.pi / self.bandwidth
        grid = self.grid(end)
        for low, high in itertools.pairwise(grid):
            if self.slope("power", low, after=True) <= 0:
                return low  # a jump of the field turned it
            if self.slope("power", high) <= 0:
                return self.polish("power", low, high)
        return end


def check_power(peak, system, i=()):
    brute = Brute(system)
    value, time = brute.max_power()
    take = functools.partial(jax.tree.map, lambda x: np.asarray(x)[i])
    peak = take(peak)
    assert peak.info.valid
    assert peak.certified
    error = peak.info.error / time + system.rounding([time]) / time
    assert abs(peak.power - value) <= error + tol(float, value)
    assert abs(peak.work - brute.work(peak.time)[0]) <= peak.info.error + system.rounding([time])
    np.testing.assert_allclose(peak.power, peak.work / peak.time, rtol=tol(float, 1))
    # Where two maxima are equal to rounding, either is right; else the times agree.
    if abs(brute.value("power", [float(peak.time)])[0] - value) > 2 * error or abs(peak.time - time) < 0.1 * time:
        np.testing.assert_allclose(peak.time, time, rtol=TIME_ACCURACY)
    return value, time


# --- random batteries of three spins, one compilation for each solver

COUNT = 8
OMEGAS = np.geomspace(0.15, 5.0, COUNT)
"""From self-trapped, where the global maximum comes late, to nearly free."""


def draws(uniform=False):
    """Every other battery has one fast spin of little energy beside two slow ones of much: its first peak is not the best."""
    rng = np.random.default_rng(31)
    found = []
    for i, omega in enumerate(OMEGAS):
        couplings = np.ones((3, 3)) - np.eye(3) if uniform else dense.random_couplings(rng, 3)
        alpha, field = rng.uniform(-0.9, 0.9), rng.uniform(1.0, 4.0)
        if i % 2 and not uniform:
            field, couplings, omega = np.array([0.2, 3.0, 3.0]), 0.1 * couplings, np.array([6.0, 0.6, 0.5]) * np.sqrt(omega)
        found.append(systems.spin(f"battery {i}", field, couplings, (alpha, alpha, 1.0), omega))
    return found


def stacked(drawn):
    return [jnp.stack(column) for column in zip(*(systems.numbers(one, [0.0])[:4] for one in drawn), strict=True)]


def batched(search):
    """jit(vmap(...)) of a function of a battery, a field and whatever else, from stacked numbers."""

    def run(field, couplings, factors, omega, *rest):
        return search(jb.SpinBattery(field, couplings, factors, initial_state="down"), jb.ConstantField(omega), *rest)

    return jax.jit(jax.vmap(run))


@pytest.mark.parametrize("solver", [jb.Spectral(), jb.StateVector(), jb.Collective()], ids=lambda s: type(s).__name__)
def test_max_power_of_random_batteries(solver):
    drawn = draws(uniform=isinstance(solver, jb.Collective))
    peaks = batched(functools.partial(jb.max_power, solver=solver))(*stacked(drawn))
    for i, one in enumerate(drawn):
        check_power(peaks, one, i)


def test_first_peak_of_random_batteries():
    """The first local maximum, which is not always the global one."""
    drawn = draws()
    first = batched(functools.partial(jb.max_power, solver=jb.Spectral(), first_peak=True))(*stacked(drawn))
    earlier = 0
    for i, one in enumerate(drawn):
        brute = Brute(one)
        time = brute.first_peak()
        assert first.info.valid[i]
        np.testing.assert_allclose(first.time[i], time, rtol=TIME_ACCURACY)
        error = (float(first.info.error[i]) + one.rounding([time])) / time
        np.testing.assert_allclose(first.power[i], brute.value("power", [time])[0], rtol=0, atol=error)
        earlier += time < (1 - 1e-6) * brute.max_power()[1]
    assert 0 < earlier < COUNT


def test_max_work_of_random_batteries():
    """Up to each its own horizon, some before the first maximum: then the horizon itself."""
    drawn = draws()
    horizons = np.where(np.arange(COUNT) % 3, 6.0, 0.1) / np.sqrt(OMEGAS)
    peaks = batched(lambda b, f, horizon: jb.max_work(b, f, horizon=horizon, solver=jb.Spectral()))(
        *stacked(drawn), jnp.asarray(horizons)
    )
    at_end = 0
    for i, one in enumerate(drawn):
        value, time = Brute(one, horizons[i]).best("work", horizons[i])
        np.testing.assert_allclose(peaks.work[i], value, rtol=0, atol=float(peaks.info.error[i]) + one.rounding([time]))
        np.testing.assert_allclose(peaks.time[i], time, rtol=TIME_ACCURACY)
        assert peaks.certified[i]
        at_end += time == horizons[i]
    assert 0 < at_end < COUNT


# --- the limits that the search rests on


@pytest.mark.parametrize("solver", [jb.Spectral(), jb.StateVector(), jb.Collective()], ids=lambda s: type(s).__name__)
def test_limits(solver):
    """No time gives more work than ``limits.work``, and W(t) holds no frequency above ``limits.bandwidth``."""
    drawn = draws(uniform=isinstance(solver, jb.Collective))
    times = np.linspace(0, 40, 2000)
    for one in (drawn[0], drawn[-1]):
        limits = solver.evolve(solver.prepare(one.battery, one.protocol)).limits()
        brute = Brute(one)
        assert limits.work >= brute.work(times).max() - one.rounding(times)
        overlaps = np.linalg.eigh(one.hamiltonians[0])[1].conj().T @ one.initial
        present = np.linalg.eigvalsh(one.hamiltonians[0])[np.abs(overlaps) > 1e-6]
        assert limits.bandwidth >= (present[-1] - present[0]) * (1 - tol(float, 1))


# --- pieces


def piecewise(kind):
    rng = np.random.default_rng(32)
    thirds = np.full(3, 0.7)
    amplitudes = {
        "random": rng.normal(size=(3, 3)),
        "reversed": np.array([1.2, -1.2, 2.0]),
        "switched off": np.array([1.5, 0.0, 0.8]),
    }[kind]
    return systems.spin(kind, 1.0, dense.random_couplings(rng, 3), 0.3, amplitudes, durations=thirds)


@pytest.mark.parametrize("kind", ["random", "reversed", "switched off"])
def test_pieces(kind):
    """The field jumps, and W(t) has kinks there; the search ends with the field."""
    one = piecewise(kind)
    brute, solver = Brute(one), jb.Spectral()
    check_power(jb.max_power(one.battery, one.protocol, solver=solver), one)
    for horizon in (None, 1.9):
        peak = jb.max_work(one.battery, one.protocol, horizon=horizon, solver=solver)
        value, time = brute.best("work", horizon or brute.longest)
        np.testing.assert_allclose(peak.work, value, rtol=0, atol=float(peak.info.error) + one.rounding([time]))
        if kind == "switched off":  # H_0 is conserved in the dark: the maximum is a plateau, and all of it is right
            np.testing.assert_allclose(
                brute.work(peak.time)[0], value, rtol=0, atol=float(peak.info.error) + one.rounding([time])
            )
        else:
            np.testing.assert_allclose(peak.time, time, rtol=TIME_ACCURACY)
    first = jb.max_power(one.battery, one.protocol, solver=solver, first_peak=True)
    np.testing.assert_allclose(first.time, brute.first_peak(), rtol=TIME_ACCURACY)


def test_reversed_field_has_its_peak_at_the_kink():
    """The reversal comes while the work still grows: W turns at the jump, and no smooth maximum is there to be found."""
    one = systems.spin("kink", 1.0, np.zeros((2, 2)), 0.0, np.array([1.0, -1.0]), durations=np.array([0.6, 0.6]))
    peak = jb.max_work(one.battery, one.protocol)
    np.testing.assert_allclose(peak.time, 0.6, rtol=TIME_ACCURACY)
    np.testing.assert_allclose(peak.work, 4 * np.sin(0.6) ** 2, rtol=tol(float, 10))
    first = jb.max_power(one.battery, one.protocol, first_peak=True)
    np.testing.assert_allclose(first.time, 0.6, rtol=TIME_ACCURACY)


def test_first_peak_of_a_field_that_ends_before():
    """No maximum inside: the power still grows where the field ends, and that is the best there is."""
    one = systems.spin("short", 1.0, np.zeros((2, 2)), 0.0, np.array([1.0]), durations=np.array([0.3]))
    peak = jb.max_power(one.battery, one.protocol, first_peak=True)
    np.testing.assert_allclose([peak.time, peak.work], [0.3, 4 * np.sin(0.3) ** 2], rtol=tol(float, 10))


# --- plain numbers


@pytest.mark.parametrize("solver", [jb.Spectral(), jb.StateVector(), jb.Collective()], ids=str)
def test_xxx(solver):
    """P = 1.4492 N omega B at omega T = 1.1656, whatever the couplings; also the first peak, at any ratio of g and omega.

    For omega << g the peak comes many windows of the search later than the shortest period.
    """
    n = 2
    for omega in (4.0, 0.3, 0.02):
        battery = jb.SpinBattery(1.0, jb.nearest_neighbor(n, 1.0), 1.0)
        for first_peak in (False, True):
            peak = jb.max_power(battery, jb.ConstantField(omega), solver=solver, first_peak=first_peak)
            np.testing.assert_allclose(peak.time * omega, 1.165561185207211, rtol=TIME_ACCURACY)
            error = float(peak.info.error) / float(peak.time) + tol(float, n * omega)
            np.testing.assert_allclose(peak.power, 1.449222707553417 * n * omega, rtol=0, atol=error)
            assert peak.certified


def test_ising_pair_far_from_its_period():
    """Two strongly coupled spins: the most power is among the first fast peaks, the most work at the slow scale."""
    g, omega = 40.0, 2.0
    one = systems.spin("pair", 1.0, np.array([[0.0, g], [g, 0.0]]), 0.0, omega)
    check_power(jb.max_power(one.battery, one.protocol), one)
    horizon = np.pi * g / omega**2
    peak = jb.max_work(one.battery, one.protocol, horizon=horizon)
    times = np.linspace(0, horizon, 400_000)
    grid = jb.theory.ising_pair_work(1.0, g, omega, times)
    # Between grid points a maximum of curvature below g^2 max W hides no more than this.
    hidden = g**2 * 5 * (times[1] / 2) ** 2
    assert float(grid.max()) - float(peak.info.error) <= peak.work <= float(grid.max()) + hidden
    np.testing.assert_allclose(
        peak.work,
        jb.theory.ising_pair_work(1.0, g, omega, peak.time),
        rtol=0,
        atol=float(peak.info.error) + one.rounding([horizon]),
    )


def test_without_a_field_there_is_no_power():
    """Nothing moves: power 0, at once, and no NaN."""
    battery = jb.SpinBattery(1.0, jb.nearest_neighbor(3, 1.0))
    for peak in (
        jb.max_power(battery, jb.ConstantField(0.0)),
        jb.max_work(battery, jb.ConstantField(0.0), horizon=5.0),
    ):
        np.testing.assert_allclose([peak.power, peak.work], 0.0, atol=tol(float, 10))
        assert np.isfinite(peak.time)


def test_a_battery_that_only_loses():
    """From all up the work is never positive: the best is nothing, at t = 0; the power has no maximum to be certain of."""
    battery = jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0), initial_state="up")
    peak = jb.max_work(battery, jb.ConstantField(1.0), horizon=5.0)
    np.testing.assert_allclose([peak.work, peak.time], 0.0, atol=tol(float, 10))
    with pytest.raises(Uncertain, match=r"not certain.*found no positive work") as caught:
        jb.max_power(battery, jb.ConstantField(1.0))
    assert (caught.value.peak.power, caught.value.peak.certified) == (0, False)
    found = jax.jit(lambda omega: jb.max_power(battery, jb.ConstantField(omega)))(1.0)
    assert not found.certified


@pytest.mark.parametrize("sign", [1, -1])
def test_power_that_is_greatest_at_once(sign):
    """One spin from (up + i sign down) / sqrt(2): <Z> = sin(2 t) for one sign, so that P(t) = sin(2 t) / t falls from 2 at t = 0.

    No later time may be called the certain maximum: the supremum (2, at T = 0) or a refusal, but not the next local maximum.
    """
    energy, nothing = jb.PauliSum.from_terms(1, [("Z", (0,), 1.0)]), jb.PauliSum.from_terms(1, [])
    state = np.array([1, 1j * sign]) / np.sqrt(2)
    battery, field = jb.PauliBattery(energy, nothing, 1, initial_state=state), jb.ConstantField(1.0)
    times = np.linspace(1e-3, 8.0, 400)
    best = np.max(jb.charge(battery, field, times).power)
    refused, peak = "", None
    try:
        peak = jb.max_power(battery, field)
    except ValueError as refusal:
        refused = str(refusal)
    assert "certain" in refused or peak.power >= best - float(peak.info.error) - tol(float, 10)


def test_certificate():
    """No time up to many times C / P beats the certified maximum, for a battery whose curve is far from periodic."""
    rng = np.random.default_rng(33)
    one = systems.spin("chain", 1.0, dense.random_couplings(rng, 4, 2.0, 4.0), 0.2, rng.uniform(0.5, 1.0, 4))
    peak = jb.max_power(one.battery, one.protocol)
    times = np.linspace(1e-3, 60.0, 20_000)
    power = one.work(times) / times
    assert peak.certified
    assert power.max() <= peak.power + (float(peak.info.error) + one.rounding(times)) / peak.time
    assert power.max() >= 0.999 * peak.power
    assert times[-1] > jb.theory.certificate_time(Brute(one).capacity, peak.power)


def test_time_to_rounding():
    """Without interactions along the way W = 4 sin(omega t)^2 for two isotropic spins: tan(x) = 2 x at the maximum.

    Many strengths, for whether a zero of the slope is met to rounding depends on roundings.
    """
    omega, x = np.random.default_rng(8).uniform(1, 8, 200), 1.1655611852072114
    assert abs(np.tan(x) - 2 * x) < 1e-14

    def peak(omega):
        return jb.max_power(jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0), 1.0), jb.ConstantField(omega))

    found = jax.jit(jax.vmap(peak))(omega)
    np.testing.assert_allclose(found.time * omega, x, rtol=1e-12)
    np.testing.assert_allclose(found.power, 4 * np.sin(x) ** 2 / x * omega, rtol=1e-13)
    alone = jax.jit(peak)
    np.testing.assert_allclose([alone(w).time * w for w in omega], x, rtol=1e-12)


@pytest.mark.parametrize("reach", [1.3, 2.5, 4.7])
@pytest.mark.parametrize("small", [0.003, 0.05])
def test_maxima_that_are_positive_for_a_moment(small, reach):
    """Two spins apart, W = 2 b sin(v t)^2 - 2 sin(w t)^2: positive around k pi / w, for less than between two nodes."""
    w, v = 5.0, 0.3
    battery = jb.SpinBattery([1.0, -small], np.zeros((2, 2)), initial_state="up")
    field, horizon = jb.ConstantField([w, v]), reach * np.pi / w

    def exact(t):
        return 2 * small * np.sin(v * t) ** 2 - 2 * np.sin(w * t) ** 2

    def best(values, t):
        near = t[np.argmax(values(t))]
        t = np.linspace(near - 1e-3, min(near + 1e-3, t[-1]), 20001)
        return values(t).max()

    for solver in (jb.StateVector(), jb.Spectral()):
        most = jb.max_work(battery, field, horizon=horizon, solver=solver)
        np.testing.assert_allclose(most.work, best(exact, np.linspace(0, horizon, 20001)), rtol=1e-6)
        fastest = jb.max_power(battery, field, solver=solver)
        np.testing.assert_allclose(fastest.power, best(lambda t: exact(t) / t, np.linspace(1e-3, 30, 300001)), rtol=1e-6)
        first = jb.max_power(battery, field, first_peak=True, solver=solver)
        near = np.pi / w + np.linspace(-0.05, 0.05, 100001)
        np.testing.assert_allclose(first.power, (exact(near) / near).max(), rtol=1e-6)


@pytest.mark.parametrize("small", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("w", [4.5, 5.0, 5.3])
def test_the_highest_of_ten_maxima(small, w):
    """Two spins apart, W = 2 sin(w t)^2 + 2 b sin(v t)^2: ten maxima in one window, which differ by less than any estimate."""
    v, horizon = 0.1, 6.0
    battery, field = jb.SpinBattery([1.0, small], np.zeros((2, 2))), jb.ConstantField([w, v])
    tops = np.append((np.arange(int(w * horizon / np.pi + 0.5)) + 0.5) * np.pi / w, horizon)
    near = np.minimum(tops[:, None] + np.linspace(-5e-4, 5e-4, 20001), horizon)
    expected = (2 * np.sin(w * near) ** 2 + 2 * small * np.sin(v * near) ** 2).max()
    for solver in (jb.StateVector(), jb.Spectral()):
        np.testing.assert_allclose(jb.max_work(battery, field, horizon=horizon, solver=solver).work, expected, rtol=1e-12)
