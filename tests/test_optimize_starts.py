"""Where ``optimize`` starts: fields that are known, and random ones that lie in several valleys."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
from conftest import tol
from optimal import PAIR, PULSE, XXX, space

import jaxbatt as jb
from jaxbatt.optimization.objectives import Goal, Judged, Task, order_of
from jaxbatt.optimization.setup import chunk_of, full_charges
from jaxbatt.optimization.starts import sign_point, tried_points


def test_starts_hold_all_known_fields():
    """However few are asked for: the constant, the switching field and the given one, which here is the optimum."""
    given = jb.PiecewiseField(jnp.array([0.3, 1.0]), 1.0)
    best = jb.optimize(
        XXX,
        given,
        objective=lambda end: -jnp.sum((end.protocol.levels - given.levels) ** 2),
        bounds=(-1.0, 1.0),
        duration=1.0,
        starts=1,
        steps=1,
        solver=jb.Spectral(),
    )
    assert best.history.shape == (1, 3)
    assert best.start == 2
    np.testing.assert_allclose(best.protocol.levels, given.levels, rtol=tol(float, 10))


def test_starts_at_once_do_not_hang_on_free_memory(monkeypatch):
    """Or a run that is resumed would do other arithmetic."""
    monkeypatch.setattr("jaxbatt.optimization.setup.available_memory", lambda: 1, raising=False)
    assert chunk_of(8, (PAIR,), PULSE, jb.Spectral()) == 8


def least_time_task(bound, target=0.999):
    """Least time of a pair with |u| <= bound, in 16 pieces."""
    template = jb.PiecewiseField(jnp.zeros(16), 2.0)
    goal = Goal("time", target, full_charges((PAIR,), "time"), jb.Penalty(), False)
    return Task(space(template, -bound, bound, scale=2.0, widest=64.0), (PAIR,), goal, jb.Spectral())


def test_points_that_miss_the_target_are_ordered_by_loss():
    judged = Judged(np.array([5.0, 1.0, 2.0, np.nan, 7.0]), np.array([-2.0, -1.9e30, -1.1e30, np.nan, -1.5]))
    assert order_of(judged).tolist() == [4, 0, 1, 2, 3]
    gains = Judged(np.array([-1.0, -3.0, -2.0]), np.array([1.0, 3.0, 2.0]))
    assert order_of(gains).tolist() == [1, 2, 0]


def test_switching_field_that_misses_the_target_is_not_much_too_long():
    """With |u| <= 2 it misses the target at all durations up to 128, where it comes nearest far beyond the constant field."""
    task = least_time_task(2.0)
    point = sign_point(task, None, 5)
    assert task.judge(point).score < -1e29
    assert task.space.time(point) < 4.0


def test_short_climbs_find_what_draws_do_not():
    """From the same draws, every start is better after a climb than before, and within the bounds."""
    task, key, times = least_time_task(4.0), jax.random.key(3), jnp.repeat(jnp.array([2.0, 3.0]), 8)
    losses = jax.jit(jax.vmap(lambda point: task.judge(point).loss))
    drawn, climbed = (tried_points(key, task, times, None, steps, 8) for steps in (0, 15))
    assert climbed.field.shape == (2, 16)
    assert np.abs(climbed.field).max() <= 1
    assert np.all(losses(climbed) < 0.9 * losses(drawn))


def test_least_time_of_a_pair_is_off_between_two_bangs_of_opposite_signs():
    """|u| <= 2: a direct search over three constant levels finds (-2, 0, 2); most random fields end at (2, 0, 2), 11 % above."""
    durations = np.array([0.293657, 1.104703, 0.468259])
    levels = np.array([-2.0, 0.0, 2.0])
    reached = dense.work(1.0, PAIR.couplings, 0.0, levels, [durations.sum()], durations=durations)
    assert reached[0] >= 0.999 * 4 * (1 - 1e-5)
    best = jb.optimize(
        PAIR,
        jb.PiecewiseField(jnp.zeros(32), 2.0),
        objective="time",
        target=0.999,
        bounds=(-2.0, 2.0),
        starts=6,
        steps=200,
    )
    assert best.time < 1.02 * durations.sum()
    assert best.start >= 2
    assert best.work >= 0.999 * 4
