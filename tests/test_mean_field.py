"""The mean field against elliptic functions, against SciPy's integrator, and against the exact chain where both agree."""

import dataclasses

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import minimize_scalar
from scipy.special import ellipj

import jaxbatt as jb
from jaxbatt.solvers import WINDOW_DEGREE, WINDOW_PHASE
from jaxbatt.solvers.mean_field import _MIN_TOEPLITZ, _TRUSTED

COUNT = WINDOW_DEGREE + 1
"""Times in (nearly) every curve: one more than the degree of the search's polynomials, and one shape to compile."""
REFERENCE = 1e-11
"""Error of SciPy's curves per unit of energy: a hundred times their local tolerance, for up to 30 periods."""
OMEGA = 2.0


def eps_of(work):
    """Rounding of the judge: elliptic functions and sums of N^2 terms."""
    return 1e-13 * np.max(np.abs(work))


def nodes(start, stop):
    """Chebyshev points from start to stop."""
    return start + (stop - start) * (1 - np.cos(np.pi * np.arange(COUNT) / (COUNT - 1))) / 2


def elliptic_battery(n, k, alpha=0.0):
    """All-to-all couplings for which k = g (N-1)(1-alpha) / (2 omega)."""
    return jb.SpinBattery(1.0, jb.power_law(n, 2 * OMEGA * k / ((n - 1) * (1 - alpha)), 0.0), alpha)


def elliptic_work(n, k, t):
    """Item 5 of the physics, with (1-alpha) G = n omega k."""
    if k <= 1:
        sn, cn, _, _ = ellipj(2 * OMEGA * t, k**2)
        return n * (1 - cn) + n * OMEGA * k * sn**2
    sn, _, dn, _ = ellipj(2 * OMEGA * k * t, k**-2)
    return n * (1 - dn) + n * OMEGA * sn**2 / k


def classical_rhs(spins, field, couplings, factors):
    """2 (dH/dS_m) x S_m for spins (3, N), outer fields (3, N): the judge, itself judged by ``test_judge``."""
    (hx, hy, hz), (x, y, z) = field - factors[:, None] * (spins @ couplings), spins
    return 2 * np.stack([hy * z - hz * y, hz * x - hx * z, hx * y - hy * x])


def energy(spins, field, couplings, factors):
    """H_0 of product states (..., 3, N)."""
    pairs = np.einsum("a,...ai,ij,...aj->...", factors, spins, couplings, spins)
    return spins[..., 2, :] @ np.broadcast_to(field, len(couplings)) - pairs / 2


def reference(battery, axis, levels, edges, start, times):
    """Bloch vectors (T, 3, N) by SciPy from ``start`` (3, N), piece by piece."""
    n = battery.n_spins
    result, begin, y = np.zeros((len(times), 3 * n)), 0.0, np.ravel(start)
    couplings, factors = np.asarray(battery.couplings) * battery.interactions_while_charging, np.asarray(battery.factors)
    for level, edge in zip(levels, np.minimum(edges, times[-1]), strict=True):
        field = np.zeros((3, n))
        field["xyz".index(axis)] += level
        field[2] += np.asarray(battery.field) * battery.field_while_charging

        def rhs(_, y, field=field):
            return classical_rhs(y.reshape(3, n), field, couplings, factors).ravel()

        solution = solve_ivp(rhs, (begin, edge), y, method="DOP853", rtol=1e-13, atol=1e-14, dense_output=True)
        inside = (times >= begin) & (times <= edge)
        result[inside] = solution.sol(times[inside]).T
        begin, y = edge, solution.y[:, -1]
    return result.reshape(len(times), 3, n)


@jax.jit
def sample_from(problem, spins, times):
    """A curve from any Bloch vectors, by the solver's own contract; the carry that starts it and the one that ends it."""
    evolution = jb.MeanField(tol=1e-8).evolve(problem)
    start = evolution.start()
    start = start._replace(state=jnp.stack([spins, spins]))
    return start, *evolution.sample(start, times)


def random_battery(rng, n, **options):
    couplings = np.triu(rng.normal(size=(n, n)), 1)
    factors = tuple(rng.uniform(-1, 1, 3))
    return jb.SpinBattery(rng.uniform(0.5, 1.5, n), couplings + couplings.T, factors, **{"initial_state": "down"} | options)


def random_spins(rng, n):
    spins = rng.normal(size=(3, n))
    return spins / np.linalg.norm(spins, axis=0)


def test_judge():
    """The classical equations are Heisenberg's in a product state, where <A_i B_j> = <A_i><B_j>."""
    rng, n = np.random.default_rng(0), 3
    couplings, factors, omega = dense.random_couplings(rng, n), np.array([0.3, -0.7, 1.1]), rng.normal(size=n)
    spins = random_spins(rng, n)
    hamiltonian = dense.interaction(couplings, factors) + dense.field_term(omega, n, "y")
    rho = np.eye(1)
    for spin in spins.T:
        rho = np.kron(rho, sum((s * dense.PAULI[a] for s, a in zip(spin, "xyz", strict=True)), dense.PAULI["i"]) / 2)
    operators = [[dense.pauli(a, i, n) for i in range(n)] for a in "xyz"]
    quantum = [[np.trace(rho @ (1j * (hamiltonian @ p - p @ hamiltonian))).real for p in row] for row in operators]
    field = np.stack([np.zeros(n), omega, np.zeros(n)])
    np.testing.assert_allclose(classical_rhs(spins, field, couplings, factors), quantum, atol=1e-13)


@pytest.mark.parametrize("n", [2, 7, 50])
@pytest.mark.parametrize("k", [0.5, 0.999, 1.0, 1.001, 3.0])
def test_elliptic_functions(n, k):
    times = nodes(0.0, 3.0)
    curve = jb.charge(elliptic_battery(n, k), jb.ConstantField(OMEGA), times, solver=jb.MeanField())
    expected = elliptic_work(n, k, times)
    error = np.max(np.abs(curve.work - expected))
    assert error <= curve.info.error + eps_of(expected)
    # On the separatrix an error of 1e-10 grows like exp(2 omega t) / 2; elsewhere the sum of local errors is below tol.
    growth = np.exp(2 * OMEGA * 3.0) / 2 if abs(k - 1) < 0.01 else 1
    assert error <= 1e-10 * n * (1 + 2 * OMEGA * k) * growth
    assert curve.info.method.startswith("MeanField(tol=1e-10")


@pytest.mark.parametrize("k", [0.5, 1.0, 1.2, 4.0])
def test_windows_of_a_search_are_interpolated(k):
    n = 7
    battery, drive, solver = elliptic_battery(n, k), jb.ConstantField(OMEGA), jb.MeanField()
    bandwidth = float(solver.evolve(solver.prepare(battery, drive)).limits().bandwidth)
    for window in (0, 6):
        times = nodes(window * 2 * WINDOW_PHASE / bandwidth, (window + 1) * 2 * WINDOW_PHASE / bandwidth)
        curve = jb.charge(battery, drive, times, solver=solver)
        between = np.linspace(times[0], times[-1], 1000)[1:-1]
        found = BarycentricInterpolator(times, np.asarray(curve.work))(between)
        # 1e-12 of the largest |H_0|, and the Lebesgue constant 2 / pi log(60) + 1 < 5 times the error of the samples.
        scale = n * (1 + OMEGA * k)
        np.testing.assert_allclose(found, elliptic_work(n, k, between), atol=2e-12 * scale + float(curve.info.error), rtol=0)
        assert 5 * curve.info.error < 1e-7 * scale


def test_bandwidth_is_that_of_precession_without_interactions():
    solver = jb.MeanField()
    battery = jb.SpinBattery(1.0, jb.power_law(3, 1.0, 1.0), interactions_while_charging=False)
    bandwidth = solver.evolve(solver.prepare(battery, jb.ConstantField(jnp.array([2.0, 0.0, -3.0])))).limits().bandwidth
    # sin^2(2 omega t) of Eq. 18 has the frequency 4 omega; degree 60 resolves a phase of 24 with some to spare.
    assert 0.8 * 12 < bandwidth < 1.1 * 12


def test_no_work_exceeds_its_limit():
    def limit(battery, omega):
        solver = jb.MeanField()
        return solver.evolve(solver.prepare(battery, jb.ConstantField(omega))).limits().work

    # Items 8 and 2 of the physics: energy conservation; and a flip by 2 B N, the couplings having no say in the motion.
    n, couplings = 4, jb.power_law(4, 1.0, 1.0)
    np.testing.assert_allclose(limit(jb.SpinBattery(1.0, couplings), 0.5), n * (1 + np.hypot(1, 0.5)), rtol=1e-14)
    for sign in (1.0, -1.0):
        free = jb.SpinBattery(1.0, sign * couplings, initial_state="down", interactions_while_charging=False)
        assert 2 * n * (1 - 1e-14) <= limit(free, 0.5) <= 2 * n + 2 * np.sum(couplings)


CASES = {
    "negative couplings, XYZ, field per spin": (3, "x", {}, 1),
    "field kept, y axis, from up": (4, "y", {"field_while_charging": True, "initial_state": "up"}, 1),
    "interactions off, z axis": (5, "z", {"interactions_while_charging": False}, 1),
    "pieces per spin": (6, "x", {"field_while_charging": True}, 3),
}


@pytest.mark.parametrize("case", CASES)
def test_random_batteries(case):
    """Work, magnetization, lengths, energy and the error estimate, from all down or up and from random Bloch vectors."""
    n, axis, options, pieces = CASES[case]
    rng, solver, duration = np.random.default_rng(n), jb.MeanField(tol=1e-8), 2.0
    for repeat in range(2):
        battery = random_battery(rng, n, **options)
        levels = 2 * rng.normal(size=(pieces, n))
        drive = jb.PiecewiseField(levels, duration, axis) if pieces > 1 else jb.ConstantField(levels[0], axis)
        times = np.sort(rng.uniform(0, duration, COUNT))
        times[[0, 1, 2, -2, -1]] = [0.0, 0.0, times[3], duration, duration]
        problem = solver.prepare(battery, drive)
        initial = solver.evolve(problem).start().state[0] if repeat == 0 else random_spins(rng, n)
        start, carry, record = sample_from(problem, initial, times)
        spins = reference(battery, axis, levels, np.asarray(drive.edges), initial, times)
        parameters = np.asarray(battery.field), np.asarray(battery.couplings), np.asarray(battery.factors)
        down = solver.evolve(problem).start().state[0]
        expected = energy(spins, *parameters) - energy(np.asarray(down), *parameters)
        scale = np.abs(parameters[0]).sum() + np.abs(parameters[1]).sum()
        assert carry.valid
        assert carry.error < 1e-6 * scale
        assert np.max(np.abs(record.work - expected)) <= carry.error + REFERENCE * scale
        np.testing.assert_allclose(record.magnetization, spins.mean(axis=2), atol=1e-8)
        np.testing.assert_allclose(np.linalg.norm(carry.state[1], axis=0), 1, atol=1e-8)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), carry) == jax.tree.map(lambda x: (x.shape, x.dtype), start)
        if pieces == 1 and battery.interactions_while_charging:
            gain = np.zeros((3, n))
            gain["xyz".index(axis)] -= levels[0]
            gain[2] += parameters[0] * (not battery.field_while_charging)
            conserved = energy(spins[0], *parameters) - np.sum(gain * spins[0])
            last = np.asarray(carry.state[1])
            assert abs(energy(last, *parameters) - np.sum(gain * last) - conserved) <= carry.error + REFERENCE * scale


def test_public_work_over_long_times_is_within_its_error_or_refused():
    """Some of these batteries are chaotic: their error grows like exp(rate t), and no tolerance lasts for ever."""
    rng, n, refused = np.random.default_rng(5), 4, []
    for duration in (25.0, 25.0, 25.0, 25.0, 400.0, 400.0, 400.0, 400.0):
        battery, omega = random_battery(rng, n, field_while_charging=True), 3 * rng.normal(size=n)
        times = np.sort(rng.uniform(0, duration, COUNT))
        try:
            curve = jb.charge(battery, jb.ConstantField(omega), times, solver=jb.MeanField(tol=1e-6))
        except ValueError:
            refused.append(duration)
            continue
        if duration > 25:
            continue
        parameters = np.asarray(battery.field), np.asarray(battery.couplings), np.asarray(battery.factors)
        down = np.stack([np.zeros(n), np.zeros(n), -np.ones(n)])
        spins = reference(battery, "x", omega[None], [np.inf], down, times)
        expected = energy(spins, *parameters) - energy(down, *parameters)
        assert np.max(np.abs(curve.work - expected)) <= curve.info.error
        assert curve.info.error <= 3 * _TRUSTED * np.abs(parameters[1]).sum()
    assert set(refused) == {400.0}


@pytest.mark.parametrize("tolerance", [1e-10, 1e-8, 1e-5, 1e-3])
def test_errors_between_the_ends_of_steps_are_within_the_estimate(tolerance):
    """W = 2 sin^2(omega t) of one spin, at random times: the interpolant inside a step is worse than its end."""
    battery, solver = jb.SpinBattery(1.0, np.zeros((1, 1))), jb.MeanField(tol=tolerance)
    charge = jax.jit(lambda times: jb.charge(battery, jb.ConstantField(OMEGA), times, solver=solver))
    random = np.random.default_rng(16)
    for longest in np.geomspace(0.02, 2, 60):
        times = np.sort(random.uniform(0, longest, 5))
        curve = charge(times)
        assert np.max(np.abs(curve.work - 2 * np.sin(OMEGA * times) ** 2)) <= curve.info.error < 10 * tolerance


def test_xxx_is_independent_of_the_couplings():
    times = nodes(0.0, 3.0)
    curve = jb.charge(jb.SpinBattery(1.0, jb.power_law(7, 1.5, 0.7), 1.0), jb.ConstantField(OMEGA), times, solver=jb.MeanField())
    assert np.max(np.abs(curve.work - 14 * np.sin(OMEGA * times) ** 2)) <= curve.info.error < 1e-7
    np.testing.assert_array_equal(curve.power, np.where(times > 0, curve.work / np.where(times > 0, times, 1), 0))


def test_toeplitz_couplings_by_fft_equal_the_matrix():
    rng, n = np.random.default_rng(1), _MIN_TOEPLITZ + 7
    field, omega = rng.uniform(0.5, 1.5, n), rng.uniform(0.5, 1.5, n)
    for couplings in (jb.power_law(n, 1.0, 1.0), jb.nearest_neighbor(n, 1.0), jb.power_law(n, 0.01, 0.0)):
        solver, battery = jb.MeanField(tol=1e-8), jb.SpinBattery(field, couplings, (0.2, -0.3, 0.9), initial_state="down")
        toeplitz = solver.prepare(battery, jb.ConstantField(omega))
        assert toeplitz.couplings.shape == (n,)
        matrix = dataclasses.replace(toeplitz, couplings=couplings)
        by_fft, by_matrix = solver.evolve(toeplitz), solver.evolve(matrix)
        spins = random_spins(rng, n)
        reach = np.abs(np.asarray(couplings)).sum(axis=0).max()
        for name in ("_neighbors", "_energy"):
            a, b = getattr(by_fft, name)(jnp.asarray(spins)), getattr(by_matrix, name)(jnp.asarray(spins))
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14 * reach * (n if name == "_energy" else 1))
        np.testing.assert_allclose(by_fft.limits(), by_matrix.limits(), rtol=1e-12)
    changed = np.array(jb.power_law(n, 1.0, 1.0))
    changed[5, 9] = changed[9, 5] = 0.3
    assert solver.prepare(jb.SpinBattery(1.0, changed), jb.ConstantField(1.0)).couplings.shape == (n, n)


def test_ten_thousand_spins():
    n, omega = 10_000, 4.0
    battery, drive, solver = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0)), jb.ConstantField(omega), jb.MeanField()
    times = np.linspace(0.0, 0.1, 20)
    curve = jb.charge(battery, drive, times, solver=solver)
    # H is conserved: W = sum_i B (1 + <Z_i>) - omega <X_i>.
    from_spins = n * (1 + curve.magnetization[:, 2] - omega * curve.magnetization[:, 0])
    reach = 2 * np.sum(1 / np.arange(1, n / 2))
    assert np.max(np.abs(curve.work - from_spins)) <= curve.info.error <= 5e-10 * n * reach
    # Short times: all S_z = -cos(2 omega t) up to relative corrections of order (coupling t)^2.
    short = times[1]
    pairs = np.sum((n - np.arange(1, n)) / np.arange(1, n))
    leading = 2 * n * (omega * short) ** 2 + pairs * (2 * omega * short) ** 2
    assert abs(curve.work[1] / leading - 1) < (2 * reach * short) ** 2
    spins = random_spins(np.random.default_rng(2), n)
    evolution = solver.evolve(solver.prepare(battery, drive))
    np.testing.assert_allclose(
        evolution._neighbors(jnp.asarray(spins)), spins @ np.asarray(battery.couplings), rtol=0, atol=1e-13 * reach
    )


@pytest.mark.parametrize("k", [0.6, 1.4])
def test_maxima(k):
    n, drive, solver = 7, jb.ConstantField(OMEGA), jb.MeanField()
    battery, grid = elliptic_battery(n, k), np.linspace(1e-3, 3.0, 3000)

    def highest(objective):
        guess = grid[np.argmax(objective(grid))]
        bounds = (guess - 2e-3, min(guess + 2e-3, 3.0))
        return -minimize_scalar(lambda t: -objective(t), bounds=bounds, method="bounded", options={"xatol": 1e-9}).fun

    power = jb.max_power(battery, drive, solver=solver)
    work = jb.max_work(battery, drive, horizon=3.0, solver=solver)
    assert power.certified
    assert work.certified
    # The maximum is stationary, so that errors of its time do not count; 5 is the Lebesgue constant of the interpolation.
    assert abs(power.power - highest(lambda t: elliptic_work(n, k, t) / t)) <= power.info.error / power.time
    assert abs(work.work - highest(lambda t: elliptic_work(n, k, t))) <= work.info.error
    for peak in (power, work):
        assert abs(peak.work - elliptic_work(n, k, float(peak.time))) <= peak.info.error < 2e-7


def test_jit_and_vmap_of_everything_do_not_retrace_and_flag_bad_times():
    n, solver, traces = 7, jb.MeanField(), []

    def compute(battery, duration, times):
        traces.append(None)
        two_pieces = jb.PiecewiseField(jnp.full((2, n), OMEGA), duration)
        return jb.charge(battery, two_pieces, times, solver=solver), jb.max_power(battery, jb.ConstantField(OMEGA), solver=solver)

    def batteries(ks):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[elliptic_battery(n, k) for k in ks])

    compiled, ks, times = jax.jit(jax.vmap(compute)), (0.4, 0.8, 1.5), np.linspace(0, 1.0, 5)
    curves, peaks = compiled(batteries(ks), jnp.array([1.0, 1.4, 2.0]), np.stack([times, times**2, times[::-1]]))
    compiled(batteries((0.5, 0.6, 2.0)), jnp.array([1.0, 1.5, 1.0]), np.stack([times, times, 0.9 * times]))
    assert len(traces) == 1
    np.testing.assert_array_equal(curves.info.valid, [True, True, False])
    assert np.isnan(curves.work[2]).all()
    for i, sampled in enumerate((times, times**2)):
        assert np.max(np.abs(curves.work[i] - elliptic_work(n, ks[i], sampled))) <= curves.info.error[i] < 1e-6
    grid = np.linspace(1e-3, 3.0, 3000)
    for i, k in enumerate(ks):
        assert abs(peaks.work[i] - elliptic_work(n, k, float(peaks.time[i]))) <= 5 * peaks.info.error[i] < 1e-6
        assert peaks.power[i] >= np.max(elliptic_work(n, k, grid) / grid) - 5 * peaks.info.error[i] / peaks.time[i]


def test_running_out_of_steps_is_refused():
    battery, drive = jb.SpinBattery(1.0, jb.power_law(4, 1.0, 1.0)), jb.ConstantField(1.0)
    with pytest.raises(ValueError, match=r"MeanField\(tol=1e-10, max_steps=5\) did not meet its tolerance.* raise `max_steps`"):
        jb.charge(battery, drive, np.linspace(0, 5.0, 5), solver=jb.MeanField(max_steps=5))


def test_refusals():
    battery, drive, solver = jb.SpinBattery(1.0, jb.nearest_neighbor(3, 1.0)), jb.ConstantField(1.0), jb.MeanField()
    sums = jb.PauliSum.from_terms(3, [("ZZ", (0, 1), 1.0)])
    with pytest.raises(ValueError, match="needs a SpinBattery, not a PauliBattery"):
        solver.prepare(jb.PauliBattery(sums, sums, 3), drive)
    with pytest.raises(ValueError, match='pass initial_state="down" or "up", or use StateVector'):
        solver.prepare(jb.SpinBattery(1.0, jb.nearest_neighbor(3, 1.0), initial_state=np.eye(8)[0]), drive)
    with pytest.raises(ValueError, match="values for 2 spins, but the battery has 3"):
        solver.prepare(battery, jb.ConstantField(jnp.ones(2)))
    for options in ({"tol": 0.0}, {"tol": -1e-9}, {"max_steps": 0}):
        with pytest.raises(ValueError, match="must be"):
            jb.MeanField(**options)
    assert hash(solver) == hash(jb.MeanField())
    assert str(solver) == "MeanField(tol=1e-10, max_steps=100000)"
