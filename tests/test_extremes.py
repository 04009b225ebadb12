"""Where arithmetic comes to its end: H = 0, spectra of one number, long times, huge couplings and fields, not a number; and where
nothing can be refused, for it is traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tol

import jaxbatt as jb

SOLVERS = [jb.StateVector(), jb.Spectral(), jb.StateVector(jb.Chebyshev(1e-4), jnp.complex64)]


def xxx(n, g):
    return jb.SpinBattery(1.0, jb.power_law(n, g, 1.0), 1.0, initial_state="down")


@pytest.mark.parametrize(
    ("solver", "pieces"),
    [*((SOLVERS[0], pieces) for pieces in (None, 1, 3, 40)), (SOLVERS[1], None), (SOLVERS[2], None), (SOLVERS[2], 40)],
    ids=str,
)
def test_derivative_with_respect_to_a_field_that_is_zero(solver, pieces):
    """One spin, H = omega Y: d W / d omega = -2 t <X> where omega = 0, and where it is all but zero."""
    t, state = 0.9, np.array([0.6, 0.8])

    def work(omega):
        battery = jb.SpinBattery(1.0, np.zeros((1, 1)), 0.0, initial_state=state)
        levels = omega if pieces is None else jnp.full(pieces, omega)
        protocol = jb.ConstantField(levels, "y") if pieces is None else jb.PiecewiseField(levels, t, "y")
        return jb.charge(battery, protocol, jnp.array([t]), solver=solver).work[0]

    allowed = 1e-3 if solver == SOLVERS[2] else 1e-9
    for omega in (0.0, 1e-200, 1e-160, 1e-100):
        np.testing.assert_allclose(jax.grad(work)(omega), -2 * t * 2 * 0.6 * 0.8, rtol=0, atol=allowed)


@pytest.mark.parametrize("propagator", [jb.Chebyshev(), jb.Krylov(), jb.Taylor()], ids=str)
def test_spectrum_of_one_number(propagator):
    """An isotropic pair in no field, then in one: the enclosures of the spectrum are rounding, and may miss each other by it."""
    omega, half = 4.0, 15.0
    for g in (0.16273622146507463, *np.random.default_rng(7).uniform(0.1, 2, 12)):
        protocol = jb.PiecewiseField(np.array([0.0, omega]), 2 * half)
        curve = jb.charge(xxx(2, g), protocol, np.array([2 * half]), solver=jb.StateVector(propagator))
        error = float(curve.info.error) + tol(float, 4 * omega * half)
        np.testing.assert_allclose(curve.work[0], 4 * np.sin(omega * half) ** 2, rtol=0, atol=error)


@pytest.mark.parametrize(
    ("propagator", "end"),
    [
        (jb.Chebyshev(), 100.0),
        (jb.Chebyshev(1e-9, reach=100.0), 100.0),
        (jb.Taylor(1e-9), 10.0),
        (jb.Taylor(1e-9), 100.0),
        (jb.Krylov(), 100.0),
    ],
    ids=str,
)
def test_error_of_long_times(propagator, end):
    """H = c X, H_0 = Z + c X: W = 2 sin^2 (c t). The roundings of the times of many segments do not add up."""
    c, times = 1000.0, np.array([0.9, 0.95, 0.99, 0.999, 1.0]) * end
    energy = jb.PauliSum.from_terms(1, [("Z", (0,), 1.0), ("X", (0,), c)])
    battery = jb.PauliBattery(energy, jb.PauliSum.from_terms(1, [("X", (0,), c)]), 1)
    curve = jb.charge(battery, jb.ConstantField(0.0), times, solver=jb.StateVector(propagator))
    exact = 2 * np.sin(np.longdouble(c) * times.astype(np.longdouble)) ** 2
    # <Z> of a state that is off by the tolerance is off by twice as much.
    assert np.abs(np.asarray(curve.work) - exact).max() <= float(curve.info.error) <= 2 * propagator.tol


@pytest.mark.parametrize(("field", "omega", "end"), [(1e-6, 1e4, 1.0), (1.0, 1e5, 1e-3)])
def test_error_of_spectral_under_a_field_far_above_the_energies(field, omega, end):
    """Along z nothing is stored; the work is measured by <H_0 - H>, whose rounding is that of the field."""
    battery = jb.SpinBattery(field, np.array(jb.power_law(3, field, 1.0)), 0.5)
    curve = jb.charge(battery, jb.ConstantField(omega, "z"), np.array([0.1, 0.35, 1.0]) * end, solver=jb.Spectral())
    assert np.abs(curve.work).max() <= float(curve.info.error) <= 1e-13 * omega


@pytest.mark.parametrize("pieces", [False, True])
def test_what_cannot_be_computed_ends(pieces):
    """Value and gradient are NaN, and not waited for without end: a field that is no number, or too strong for the tolerance."""

    @jax.jit
    @jax.value_and_grad
    def work(omega):
        levels = jnp.array([1.0, omega, 2.0]) if pieces else omega
        protocol = jb.PiecewiseField(levels, 1.0) if pieces else jb.ConstantField(levels)
        battery = jb.SpinBattery(1.0, jb.power_law(3, 1.0, 1.0), 0.3)
        return jb.charge(battery, protocol, jnp.linspace(0.1, 1, 12), solver=jb.StateVector()).work.sum()

    assert np.all(np.isfinite(work(2.0)))
    for number in (np.nan, 1e8, 1e160):
        assert np.all(np.isnan(work(number)))


def test_greatest_power_in_single_precision_has_derivatives():
    def power(omega, anisotropy, solver):
        battery = jb.SpinBattery(1.0, jb.power_law(4, 1.0, 1.0), anisotropy)
        return jb.max_power(battery, jb.ConstantField(omega), solver=solver).power

    double, single = (jax.grad(power, (0, 1))(2.0, 0.5, solver) for solver in SOLVERS[1:])
    np.testing.assert_allclose(single, double, rtol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_what_rests_has_no_power(solver):
    """Eigenstates, by any solver and in any couplings, and under a field along z."""
    for anisotropy in (0.5, 1.0):
        for n, omega, axis in ((2, 0.0, "x"), (4, 1.0, "z")):
            battery = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), anisotropy, initial_state="down")
            peak = jb.max_power(battery, jb.ConstantField(omega, axis), solver=solver)
            assert peak.certified
            assert (peak.power, peak.work) == (0, 0)


@pytest.mark.parametrize("solver", [*SOLVERS[:2], jb.StateVector(jb.Krylov())], ids=str)
def test_power_that_is_far_slower_than_the_couplings_is_not_overlooked(solver):
    """1.4492 N omega B: of two spins, whose spectrum is narrow; of three a window of the search shows no more than rounding."""
    for g, omega in ((1e6, 1e-3), (1e9, 1.0)):
        peak = jb.max_power(xxx(2, g), jb.ConstantField(omega), solver=solver)
        np.testing.assert_allclose(peak.power, jb.theory.independent_max_power(2, 1.0, omega), rtol=1e-4)
        with pytest.raises(ValueError, match="not certain"):
            jb.max_power(xxx(3, g), jb.ConstantField(omega), solver=solver)


ALL = [*SOLVERS[:2], jb.StateVector(jb.Krylov()), jb.StateVector(jb.Taylor()), jb.Collective(), jb.MeanField()]


@pytest.mark.parametrize("solver", ALL, ids=str)
def test_traced_times_out_of_order_are_not_valid(solver):
    """They are refused where they are known; else the results are NaN, for all solvers alike."""
    battery, protocol = jb.SpinBattery(1.0, np.ones((3, 3)) - np.eye(3)), jb.PiecewiseField([1.0, 2.0, 3.0], 0.3)
    curve = jax.jit(lambda times: jb.charge(battery, protocol, times, solver=solver))
    expected = curve(jnp.array([0.05, 0.25, 0.3]))
    assert np.isfinite(expected.work).all()
    for times in ([0.25, 0.05, 0.3], [0.05, 0.3, 0.25], [-0.05, 0.25, 0.3], [0.05, np.nan, 0.3]):
        found = curve(jnp.array(times))
        assert not found.info.valid
        assert np.isnan(found.work).all()
        with pytest.raises(ValueError, match="times"):
            jb.charge(battery, protocol, times, solver=solver)


@pytest.mark.parametrize("solver", [jb.StateVector(), jb.Spectral(), jb.MeanField()], ids=str)
def test_traced_horizon_that_is_none_is_not_valid(solver):
    battery, protocol = jb.SpinBattery(1.0, jb.power_law(3, 1.0, 1.0), 0.5), jb.PiecewiseField([2.0, 2.5], 0.6)
    peak = jax.jit(lambda horizon: jb.max_work(battery, protocol, horizon=horizon, solver=solver))
    assert peak(0.6).info.valid
    for horizon in (-1.0, 0.0, 0.7, np.nan):
        found = peak(horizon)
        assert not found.info.valid
        assert np.isnan([found.work, found.time, found.power]).all()


@pytest.mark.parametrize("solver", [jb.StateVector(), jb.Spectral(), jb.MeanField()], ids=str)
def test_without_a_hamiltonian_nothing_is_gained(solver):
    """H = 0 while charging: W = 0 throughout, and is of second order in the field and in the couplings."""

    def gains(omega, g):
        battery, protocol = (
            jb.SpinBattery(1.0, g * jb.nearest_neighbor(3, 1.0), 0.0, initial_state="down"),
            jb.ConstantField(omega),
        )
        return jb.max_power(battery, protocol, solver=solver).power, jb.max_work(
            battery, protocol, horizon=2.0, solver=solver
        ).work

    np.testing.assert_array_equal(gains(0.0, 0.0), 0)
    np.testing.assert_array_equal(jax.jit(gains)(0.0, 0.0), 0)
    np.testing.assert_allclose(jax.tree.leaves(jax.jacrev(gains, argnums=(0, 1))(0.0, 0.0)), 0, rtol=0, atol=1e-100)


@pytest.mark.parametrize("solver", [jb.StateVector(), jb.Spectral()], ids=str)
@pytest.mark.parametrize("horizon", [0.1, 0.2, 0.4])
def test_work_up_to_a_horizon_at_an_end_of_a_piece(solver, horizon):
    """The work still rises there: it changes with the horizon as before the end, or as after it, and with the length likewise."""

    def work(horizon, length):
        battery = jb.SpinBattery(1.0, jb.power_law(3, 1.0, 1.0), 0.3)
        return jb.max_work(battery, jb.PiecewiseField([1.0, 1.2, 0.8, 1.5], length), horizon=horizon, solver=solver).work

    value, step = work(horizon, 0.4), 1e-6
    found = jax.grad(work, argnums=(0, 1))(horizon, 0.4)
    before = (value - work(horizon - step, 0.4)) / step, (work(horizon, 0.4 + step) - value) / step
    after = (work(min(horizon + step, 0.4), 0.4) - value) / step, (value - work(horizon, max(0.4 - step, horizon))) / step
    for x, *sides in zip(found, before, after, strict=True):
        assert min(abs(x - side) for side in sides) < 1e-4


def test_an_error_that_overflows_is_refused():
    """The field turns the state by one in so short a time, but <H_0> is a difference of numbers of 1e307."""
    battery, solver = jb.SpinBattery(1.0, jb.power_law(3, 1.0, 1.0), 0.5), jb.Spectral()
    with pytest.raises(ValueError, match="error of the work is estimated as inf"):
        jb.charge(battery, jb.ConstantField(1e307), [1e-307], solver=solver)
    curve = jax.jit(lambda omega: jb.charge(battery, jb.ConstantField(omega), jnp.array([1e-307]), solver=solver))(1e307)
    assert not curve.info.valid
    assert np.isnan(curve.work).all()
