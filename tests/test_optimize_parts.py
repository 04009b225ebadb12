"""Parts of ``optimize``: bounds and norms that are never violated, fields as series, objectives, and why the loop stops."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tol
from optimal import PULSE, SERIES, space

import jaxbatt as jb
from jaxbatt.optimization.ascent import BLOCK, Climb, Report, is_over, run
from jaxbatt.optimization.moments import full_charge, initial_value, square_battery, squared, variance
from jaxbatt.optimization.objectives import End, Goal, over_members
from jaxbatt.optimization.space import Point, pulse_energy


def random_points(bounded, count=50, size=3.0):
    """Points far out of bounds."""
    keys = jax.random.split(jax.random.key(1), 3)
    rows = len(bounded.low)
    if isinstance(bounded.template, jb.FourierField):
        rows = len(bounded.template.cosines) + len(bounded.template.sines)
    pairs = bounded.n_spins * (bounded.n_spins - 1) // 2
    return Point(
        size * jax.random.normal(keys[0], (count, rows, *bounded.low.shape[1:])),
        size * jax.random.normal(keys[1], (count,)),
        None if bounded.strength is None else jax.random.normal(keys[2], (count, pairs)),
    )


# Bounds


SPACES = {
    "constant": space(jb.ConstantField(0.0), -0.3, 0.7),
    "one value for each spin": space(jb.ConstantField(jnp.zeros(2)), -0.3, np.array([0.1, 0.7])),
    "pulse": space(PULSE, -0.1, 0.3),
    "pulse for each spin, one at rest": space(
        jb.PiecewiseField(jnp.zeros((4, 2)), 1.0), np.array([-0.3, 0.0]), np.array([0.7, 0.0])
    ),
    "bounds in time": space(PULSE, np.array([0.0, -1.0, -0.1, 0.0]), np.array([0.0, 0.3, 0.7, 0.1])),
    "series": space(SERIES, -0.1, 0.3),
    "series for each spin": space(
        jb.FourierField(jnp.zeros((2, 2)), jnp.zeros((3, 2)), 1.0, samples=16), np.array([-0.3, 0.2]), np.array([0.7, 0.2])
    ),
    "pulse of little energy": space(PULSE, -0.1, 0.3, energy=0.01),
    "series of little energy": space(SERIES, -0.1, 0.3, energy=0.01),
}


@pytest.mark.parametrize("name", SPACES)
def test_projected_points_are_within_bounds_to_the_last_bit(name):
    """Bounds that binary fractions cannot represent, and points far outside."""
    bounded = SPACES[name]
    for point in zip(*[x for x in random_points(bounded) if x is not None], strict=True):
        allowed = bounded.project(Point(*point, None))
        protocol, time = bounded.protocol(allowed), bounded.time(allowed)
        levels = np.asarray(protocol.levels)
        assert np.all(levels >= bounded.low)
        assert np.all(levels <= bounded.high)
        assert 1 / 16 - 1e-12 <= time <= 16 + 1e-12
        if bounded.energy is not None:
            # In NumPy, from the levels alone.
            assert 2 * np.sum(levels**2) * float(time) / len(levels) <= bounded.energy
        again = bounded.project(allowed)
        np.testing.assert_allclose(again.field, allowed.field, atol=tol(float, 1e3))
    assert np.ptp(levels) > 0 or name == "constant"


@pytest.mark.parametrize("name", SPACES)
def test_a_field_within_bounds_is_its_own_point(name):
    """From a field to a point and back; the slopes at the bounds point inwards only."""
    bounded = SPACES[name]
    allowed = bounded.project(jax.tree.map(lambda x: x[0], random_points(bounded, size=0.5)))
    protocol, time = bounded.protocol(allowed), bounded.time(allowed)
    point = bounded.point(protocol.levels, time)
    np.testing.assert_allclose(
        point.field[np.broadcast_to(bounded.half[: len(point.field)] > 0, point.field.shape)],
        allowed.field[np.broadcast_to(bounded.half[: len(point.field)] > 0, point.field.shape)],
        atol=tol(float, 1e3),
    )
    np.testing.assert_allclose(bounded.time(point), time, rtol=tol(float, 10))


def test_slopes_out_of_bounds_are_held():
    bounded = space(PULSE, -1.0, 1.0)
    point = Point(jnp.array([1.0, 1.0, -1.0, 0.5]), jnp.log(16.0), None)
    held = bounded.held(point, Point(jnp.array([-1.0, 1.0, 1.0, 1.0]), jnp.asarray(-1.0), None))
    # A loss that falls to the outside is held, one that falls to the inside is not.
    assert held.field.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert held.log_time == 0


def test_derivative_of_a_level_at_its_bound_is_whole():
    """``clip`` alone would halve it where rounding makes both sides equal."""
    bounded = space(PULSE, -0.1, 0.3)
    slope = jax.grad(lambda x: bounded.protocol(Point(x, jnp.zeros(()), None)).levels.sum())(jnp.array([1.0, -1.0, 0.5, 1.0]))
    np.testing.assert_allclose(slope, 0.2, rtol=tol(float, 1))


def test_designed_couplings_keep_their_norm():
    given = jb.SpinBattery(1.0, jb.power_law(4, 0.7, 1.0))
    norm = np.linalg.norm(given.couplings)
    for signed in (False, True):
        free = space(jb.ConstantField(0.0), 0.0, 1.0, 4, strength=norm / np.sqrt(2), signed=signed)
        rows = random_points(free, count=5)
        for row in zip(*rows, strict=True):
            point = free.project(Point(*row))
            couplings = np.asarray(free.battery(point, given).couplings)
            np.testing.assert_array_equal(couplings, couplings.T)
            assert np.all(np.diagonal(couplings) == 0)
            np.testing.assert_allclose(np.linalg.norm(couplings), norm, rtol=tol(float, 10))
            assert signed or couplings.min() >= 0
        assert not signed or couplings.min() < 0
        nothing = free.project(point._replace(couplings=-jnp.ones(6)))
        assert np.all(np.isfinite(nothing.couplings))


def test_pulse_energy_counts_all_spins():
    pulse = jb.PiecewiseField(jnp.array([1.0, -2.0]), 3.0)
    assert pulse_energy(pulse, jnp.asarray(3.0), 5) == 5 * 1.5 * (1 + 4)
    assert pulse_energy(jb.ConstantField(jnp.array([1.0, 2.0])), jnp.asarray(3.0), 2) == 3 * 5


# FourierField


def test_fourier_field_is_its_series_at_the_middle_of_each_sample():
    rng = np.random.default_rng(3)
    for shape in ((), (3,)):
        a, b = rng.normal(size=(4, *shape)), rng.normal(size=(2, *shape))
        field = jb.FourierField(a, b, 1.7, samples=9)
        for k in range(9):
            phase = 2 * np.pi * (k + 0.5) / 9
            series = sum(a[n] * np.cos(n * phase) for n in range(4)) + sum(b[n - 1] * np.sin(n * phase) for n in (1, 2))
            np.testing.assert_allclose(field.levels[k], series, atol=tol(float, 6))
            np.testing.assert_allclose(field(1.7 * (k + 0.5) / 9), series, atol=tol(float, 6))
    np.testing.assert_allclose(field.edges, 1.7 * np.arange(1, 10) / 9, rtol=tol(float, 1))


def test_edges_end_with_the_duration_under_jit():
    """To the last bit, or a charging time equal to the duration would count as beyond the end."""
    durations = np.random.default_rng(0).uniform(0.5, 3.0, 200)
    for pieces in (48, 49, 7):
        ends = jax.jit(jax.vmap(lambda t: jb.PiecewiseField(jnp.zeros(pieces), t).edges[-1]))(durations)  # noqa: B023
        np.testing.assert_array_equal(ends, durations)


# Objectives


def test_moments_against_dense_matrices():
    rng = np.random.default_rng(0)
    couplings = dense.random_couplings(rng, 3)
    for start, state in (
        ("down", dense.all_down(3)),
        ("up", np.eye(8)[0]),
        ("array", rng.normal(size=8) + 1j * rng.normal(size=8)),
    ):
        state = state / np.linalg.norm(state)
        given = state if start == "array" else start
        battery = jb.SpinBattery(1.3, couplings, (0.4, 0.2, 0.9), initial_state=given)
        energy = dense.hamiltonian_0(1.3, couplings, (0.4, 0.2, 0.9))
        scale = np.linalg.norm(energy, 2) ** 2
        first, second = (dense.expectation(power, state[None])[0] for power in (energy, energy @ energy))
        np.testing.assert_allclose(full_charge(battery), energy[0, 0].real - first, atol=tol(float, scale))
        squares = square_battery(battery)
        np.testing.assert_allclose(squares.energy.to_dense(), energy @ energy, atol=tol(float, scale))
        np.testing.assert_allclose(initial_value(squares.energy, battery.start, battery.state), second, atol=tol(float, scale))
        np.testing.assert_allclose(variance(battery, squares, 0.0, 0.0), second - first**2, atol=tol(float, scale))
    mixed = jb.PauliSum.from_terms(3, [("XYZ", (0, 1, 2), 0.7), ("YZ", (0, 2), -0.3), ("ZX", (0, 1), 1.1), ("Y", (1,), 0.4)])
    matrix = np.asarray(mixed.to_dense())
    np.testing.assert_allclose(squared(mixed).to_dense(), matrix @ matrix, atol=tol(float, 10))


def ends_of(work, time=2.0):
    work = jnp.asarray(work)
    return End(jnp.full(work.shape, time), work, work / time, jnp.zeros((*work.shape, 3)), PULSE)


def test_goals_of_ensembles_and_penalties():
    works, spread = [3.0, 1.0], jnp.array([0.5, 0.0])
    penalty = jb.Penalty(variance=2.0)
    none = jb.Penalty()

    def score(objective, penalty, worst, extra=0.0):
        goal = Goal(objective, 0.5, jnp.array([4.0, 4.0]), penalty, worst)
        ends = ends_of(works)
        ends = ends._replace(protocol=jax.tree.map(lambda x: jnp.stack([x, x]), PULSE))
        return float(goal.judge(ends, spread, jnp.asarray(extra), 1.0).score)

    assert score("work", none, False) == 2.0
    assert score("work", none, True) == 1.0
    assert score("power", none, False, extra=0.25) == 0.75
    assert score("work", penalty, False) == 1.5
    assert score("work", penalty, True) == 1.0
    assert score(lambda end: end.work - end.time, none, True) == -1.0
    # Time 2 with 0.75 and 0.25 of the full charge: the mean reaches one half (if only just), the worst does not.
    assert score("time", none, True) < -1e29
    goal = Goal("time", 0.49, jnp.array([4.0, 4.0]), none, False)
    reached = goal.judge(ends_of(works), spread, jnp.asarray(0.25), 1.0)
    assert goal.value(reached.score) == 2.25
    assert goal.value(-1e30) == np.inf
    loss = [float(goal.judge(ends_of([w, w]), spread, jnp.zeros(()), 1.0).loss) for w in (0.0, 0.5, 1.0, 1.5, 2.5)]
    assert sorted(loss, reverse=True) == loss


def test_members_of_an_ensemble_are_mapped_over_what_differs():
    seen = []

    def total(battery):
        seen.append((isinstance(battery.field, jax.core.Tracer), isinstance(battery.couplings, jax.core.Tracer)))
        return battery.field * battery.couplings.sum()

    batteries = [jb.SpinBattery(1.0, jb.nearest_neighbor(3, g)) for g in (1.0, 2.0)]
    np.testing.assert_array_equal(over_members(total, tuple(batteries)), [4.0, 8.0])
    np.testing.assert_array_equal(over_members(total, (batteries[0],) * 2), [4.0, 4.0])
    np.testing.assert_array_equal(over_members(total, (batteries[1],)), [8.0])
    assert seen == [(False, True), (False, False), (False, False)]


# The loop


def climb_of(scores, steps=40):
    """A climb whose block copies the rows of ``scores`` (rows, starts)."""
    scores = np.asarray(scores, float)

    def block(climb, last):
        step, last = int(climb.step), int(last)
        done = climb.scores.at[step:last].set(scores[step:last])
        top = jnp.fmax(climb.top, jnp.nanmax(done[:last], axis=0))
        return climb._replace(step=jnp.asarray(last), scores=done, top=top)

    empty = jnp.full((steps, scores.shape[1]), jnp.nan)
    point = Point(jnp.zeros((2, 1)), jnp.zeros(2), None)
    return Climb(jnp.zeros((), int), point, None, point, jnp.full(scores.shape[1], -jnp.inf), empty), block


def test_why_the_loop_stops():
    goal = Goal("power", 0.99, jnp.ones(1), jb.Penalty(), False)
    rising = np.stack([np.arange(40.0), -np.arange(40.0)], axis=1)
    flat = np.minimum(rising, 12.0)
    climb, block = climb_of(rising)
    told, saved = [], []
    ended, reason = run(climb, block, goal, 15, told.append, lambda state: saved.append(int(state.step)))
    assert reason == "all 40 steps taken"
    assert saved == [10, 20, 30, 40] == [report.step for report in told]
    assert isinstance(told[0], Report)
    assert [report.best for report in told] == [9.0, 19.0, 29.0, 39.0]
    assert int(ended.step) == 40
    assert run(ended, block, goal, 15, None, None)[1] == reason
    climb, block = climb_of(flat)
    assert run(climb, block, goal, 15, None, None)[1] == "no start gained more than 1e-06 of its value in 15 steps"
    assert run(climb, block, goal, 15, lambda report: report.step >= 20, None)[1] == "the callback asked for it"
    assert BLOCK == 10
    assert not is_over(flat[:27], 15)
    assert is_over(flat[:28], 15)
    assert not is_over(np.where(np.arange(40)[:, None] < 30, np.nan, rising), 5)
