"""Every closed form against a definition that shares no code with it: dense matrices, SciPy's ODEs and special functions."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, special

from jaxbatt import theory
from jaxbatt.couplings import nearest_neighbor, power_law

EPS = np.finfo(float).eps
TIMES = np.linspace(0.0, 3.0, 41)


def dense_tolerance(field, couplings, anisotropy, omega, times):
    """Error of the dense judge: eigenvalues err by a few EPS * norm, phases by that times t, the work by that times its scale."""
    battery = np.linalg.norm(dense.hamiltonian_0(field, couplings, anisotropy), 2)
    charging = np.linalg.norm(dense.charging_hamiltonian(field, couplings, anisotropy, omega), 2)
    return 20 * EPS * battery * (1 + charging * np.max(times))


def central_difference(function, x):
    """Step EPS^(1/3), so that truncation and rounding both are about EPS^(2/3) = 4e-11."""
    step = EPS ** (1 / 3) * max(1.0, abs(x))
    return (function(x + step) - function(x - step)) / (2 * step)


SLOPE_TOLERANCE = 100 * EPS ** (2 / 3)  # the third derivatives met here are at most of order 100


def check_slope(function, x):
    """jax.grad against the central difference."""
    gradient, difference = jax.jit(jax.grad(function))(x), central_difference(jax.jit(function), x)
    np.testing.assert_allclose(gradient, difference, rtol=0, atol=SLOPE_TOLERANCE)


# --- the judge itself


def test_dense_judge_by_hand():
    """Conventions that everything else rests on: two spins written out by hand, bit 0 up, site 0 leftmost."""
    np.testing.assert_array_equal(np.diag(dense.pauli("z", 0, 2)).real, [1, 1, -1, -1])
    by_hand = np.diag([2 * 0.7 - 0.3, 0.3, 0.3, -2 * 0.7 - 0.3]).astype(complex)
    by_hand[1, 2] = by_hand[2, 1] = -2 * 0.3 * 0.4
    np.testing.assert_allclose(dense.hamiltonian_0(0.7, [[0, 0.3], [0.3, 0]], 0.4), by_hand, atol=4 * EPS)


# --- exact curves


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("interacting", [False, True])
def test_independent_work(n, interacting):
    """No couplings, or an XXX battery with random ones: the same curve."""
    rng = np.random.default_rng(n)
    couplings = dense.random_couplings(rng, n) * interacting
    field, omega = rng.uniform(0.5, 2.0, 2)
    tolerance = dense_tolerance(field, couplings, 1.0, omega, TIMES)
    expected = dense.work(field, couplings, 1.0, omega, TIMES)
    np.testing.assert_allclose(theory.independent_work(n, field, omega, TIMES), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("omega", [0.8, -2.5])
def test_independent_max_power(omega):
    """The maximum found numerically: a bounded search is good to sqrt(EPS) in the time, hence to EPS in the power."""
    n, field = 3, 1.3
    found = optimize.minimize_scalar(
        lambda t: -2 * n * field * np.sin(omega * t) ** 2 / t,
        bounds=(1e-3, np.pi / abs(omega)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    np.testing.assert_allclose(theory.independent_max_power(n, field, omega), -found.fun, rtol=10 * EPS)
    np.testing.assert_allclose(theory.independent_max_power_time(omega), found.x, rtol=4 * np.sqrt(EPS))
    angle = optimize.brentq(lambda x: np.tan(x) - 2 * x, 1.0, 1.4, xtol=4 * EPS)
    np.testing.assert_allclose(theory.independent_max_power_time(1.0), angle, rtol=8 * EPS)
    np.testing.assert_allclose(theory.independent_max_power(1, 1.0, 1.0), 1.449222707553417, rtol=2 * EPS)


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("anisotropy", [-0.7, 0.0, 0.6])
def test_interactions_off_work(n, anisotropy):
    rng = np.random.default_rng(10 + n)
    couplings = dense.random_couplings(rng, n)
    field, omega = rng.uniform(0.5, 2.0, 2)
    expected = dense.work(field, couplings, anisotropy, omega, TIMES, interactions_while_charging=False)
    tolerance = dense_tolerance(field, couplings, anisotropy, omega, TIMES)
    total = theory.total_coupling(couplings)
    np.testing.assert_allclose(total, np.triu(couplings).sum(), rtol=n**2 * EPS)
    work = theory.interactions_off_work(n, field, total, anisotropy, omega, TIMES)
    np.testing.assert_allclose(work, expected, rtol=0, atol=tolerance)


def test_interactions_off_error_is_second_order_in_g():
    """Halving g quarters the error of Eq. 18 for the chain that keeps its interactions, up to a next order of relative size g."""
    n, field, omega, t = 4, 1.0, 5.0, np.array([0.2])
    errors = []
    for g in (0.02, 0.01):
        couplings = np.asarray(power_law(n, g, 1.0))
        approximate = theory.interactions_off_work(n, field, theory.total_coupling(couplings), 0.3, omega, t)
        errors.append(abs(float(approximate[0]) - dense.work(field, couplings, 0.3, omega, t)[0]))
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize("scale", [0.05, 0.4, 2.0])  # 2 (1 - alpha) G below, just above, and far above B N
@pytest.mark.parametrize("anisotropy", [-0.5, 0.4])
def test_interactions_off_max_work(scale, anisotropy):
    """The largest dense work over one period, found numerically, and both places where it is reached."""
    n, field, omega = 3, 1.1, 1.0
    couplings = scale * dense.random_couplings(np.random.default_rng(3), n)
    curve = lambda angles: dense.work(field, couplings, anisotropy, omega, angles, interactions_while_charging=False)  # noqa: E731
    grid = np.linspace(0.05, np.pi / 2 + 0.05, 200)
    best = grid[np.argmax(curve(grid))]
    found = optimize.minimize_scalar(
        lambda a: -curve([a])[0], bounds=(best - 0.02, best + 0.02), method="bounded", options={"xatol": 1e-9}
    )
    total = float(theory.total_coupling(couplings))
    maximum = theory.interactions_off_max_work(n, field, total, anisotropy)
    tolerance = dense_tolerance(field, couplings, anisotropy, omega, [np.pi])
    np.testing.assert_allclose(maximum.work, -found.fun, rtol=0, atol=tolerance)
    for angle in (float(maximum.angle), np.pi - float(maximum.angle)):
        np.testing.assert_allclose(curve([angle]), [maximum.work], rtol=0, atol=tolerance)
    assert 0 < maximum.angle <= np.pi / 2
    assert (maximum.angle < np.pi / 2) == (2 * (1 - anisotropy) * total > n * field)


@pytest.mark.parametrize("g", [-0.8, 0.6, 7.0])
def test_ising_pair_work(g):
    field, omega, couplings = 1.4, 0.9, np.array([[0.0, g], [g, 0.0]])
    tolerance = dense_tolerance(field, couplings, 0.0, omega, TIMES)
    expected = dense.work(field, couplings, 0.0, omega, TIMES)
    np.testing.assert_allclose(theory.ising_pair_work(field, g, omega, TIMES), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("anisotropy", [0.35, (0.2, -0.9, 1.3)])
def test_work_from_magnetization(anisotropy):
    rng = np.random.default_rng(4)
    n, (field, omega) = 4, rng.uniform(0.5, 2.0, 2)
    couplings = dense.random_couplings(rng, n)
    x, _, z = dense.magnetization(dense.states(field, couplings, anisotropy, omega, TIMES)).T
    expected = dense.work(field, couplings, anisotropy, omega, TIMES)
    tolerance = dense_tolerance(field, couplings, anisotropy, omega, TIMES)
    np.testing.assert_allclose(theory.work_from_magnetization(n, field, omega, x, z), expected, rtol=0, atol=tolerance)


# --- strong coupling


def dense_doublet(couplings, omega):
    """(energy, coefficient) of the doublet from dense diagonalization; the parity X_1 ... X_N of each level gives the sign."""
    n = len(couplings)
    energies, vectors = np.linalg.eigh(dense.charging_hamiltonian(0.0, couplings, 0.0, omega))
    parity = np.eye(1)
    for _ in range(n):
        parity = np.kron(parity, dense.PAULI["x"])
    # Both levels live on {all up, all down}; of each parity take the one with the largest weight there.
    levels = {}
    for sign in (1, -1):
        projector = (np.eye(2**n) + sign * parity) / 2
        weights = np.abs((projector @ vectors)[0]) ** 2 + np.abs((projector @ vectors)[-1]) ** 2
        levels[sign] = energies[np.argmax(weights)]
    return (levels[1] + levels[-1]) / 2, (levels[1] - levels[-1]) / 2


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("per_spin", [False, True])
def test_effective_hamiltonian(n, per_spin):
    """Against exact diagonalization of random chains: halving omega / g must shrink both errors by their stated orders.

    The order of the next term is 2 in the ratio of the coefficients (1/4) and 4 in the energy (1/16), with corrections of
    relative size (omega / g)^2, up to 1e-2 here: hence 3 %. The coefficients take twice the field: c_5 is then about 1e-10
    for the weaker one, and its error 1e-4 of that, which the rounding of the diagonalization, 1e-15, leaves to 0.1 %. The
    energies, whose errors stand at 1e-9 and more, take the weaker field, for their next order matters more.
    """
    rng = np.random.default_rng(20 + n)
    couplings = dense.random_couplings(rng, n)
    omega = 0.04 * (rng.uniform(0.7, 1.3, n) if per_spin else 1.0)
    coefficient_errors, energy_errors = [], []
    for field in (omega, omega / 2):
        energy_errors.append(float(theory.effective_hamiltonian(couplings, field).energy) - dense_doublet(couplings, field)[0])
        coefficient = dense_doublet(couplings, 2 * field)[1]
        coefficient_errors.append(float(theory.effective_hamiltonian(couplings, 2 * field).coefficient) / coefficient - 1)
    if n == 1:
        np.testing.assert_allclose([*coefficient_errors, *energy_errors], 0.0, atol=8 * EPS)
        return
    assert max(np.abs(coefficient_errors)) < 0.05  # right size, and above all the right sign
    assert coefficient_errors[0] / coefficient_errors[1] == pytest.approx(4.0, rel=0.03)
    assert energy_errors[0] / energy_errors[1] == pytest.approx(16.0, rel=0.03)


def test_effective_hamiltonian_of_mixed_signs():
    """Couplings of both signs: the doublet is no longer lowest, but the perturbation theory is the same."""
    couplings = np.array([[0.0, 1.0, -0.3], [1.0, 0.0, 0.9], [-0.3, 0.9, 0.0]])
    omega = 0.01
    effective, (energy, coefficient) = theory.effective_hamiltonian(couplings, omega), dense_doublet(couplings, omega)
    # Next orders: relative omega^2 / Delta^2 with Delta >= 1.2, and omega^4 / Delta^3, both with prefactors below 10.
    np.testing.assert_allclose(effective.coefficient, coefficient, rtol=10 * omega**2)
    np.testing.assert_allclose(effective.energy, energy, rtol=0, atol=10 * omega**4)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16])
def test_half_splittings_agree_with_effective_hamiltonian(n):
    """Only positive terms are added, so the sum over orders is good to a few EPS per spin."""
    for couplings, half_splitting in (
        (nearest_neighbor(n, 1.7), theory.half_splitting_nearest_neighbor(n, 1.7, 0.3)),
        (power_law(n, 1.7, 0.0), theory.half_splitting_all_to_all(n, 1.7, 0.3)),
    ):
        coefficient = theory.effective_hamiltonian(couplings, 0.3).coefficient
        np.testing.assert_allclose(coefficient, (-1) ** (n - 1) * half_splitting, rtol=8 * n * EPS)


def test_half_splittings_by_hand():
    """The cases written out in the paper and its erratum list: omega^2/g, omega^3/g^2 and 3 omega^3/(8 g^2)."""
    g, omega = 1.7, -0.3
    np.testing.assert_allclose(theory.half_splitting_nearest_neighbor(2, g, omega), omega**2 / g, rtol=16 * EPS)
    np.testing.assert_allclose(theory.half_splitting_nearest_neighbor(3, g, omega), 0.027 / g**2, rtol=16 * EPS)
    np.testing.assert_allclose(theory.half_splitting_all_to_all(2, g, omega), omega**2 / g, rtol=16 * EPS)
    np.testing.assert_allclose(theory.half_splitting_all_to_all(3, g, omega), 3 * 0.027 / (8 * g**2), rtol=16 * EPS)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_slow_work(n):
    """Over a slow period, against the dense curve. What is left out is bounded by its size:

    the fast work (below its maximum sum_i 4 omega^2 / D_i), the field energy of the spins that are out of the doublet
    (2 B N times the share sum_i 4 omega^2 / D_i^2, in and out), and the slow phase (correction of relative order omega^2 / g^2).
    """
    rng = np.random.default_rng(30 + n)
    couplings = dense.random_couplings(rng, n, 0.8, 1.2)
    field, omega = 1.0, 0.03
    effective = theory.effective_hamiltonian(couplings, omega)
    times = np.linspace(0, np.pi, 60) / abs(float(effective.coefficient))
    costs = 2 * couplings.sum(axis=1)
    left_out = (
        np.sum(4 * omega**2 / costs) + 4 * field * n * np.sum(4 * omega**2 / costs**2) + 2 * n * field * np.pi * 10 * omega**2
    )
    assert left_out < 0.1 * 2 * n * field  # or the test would prove nothing
    expected = dense.work(field, couplings, 0.0, omega, times)
    assert np.max(np.abs(theory.slow_work(n, field, effective.coefficient, times) - expected)) < left_out


@pytest.mark.parametrize("n", [2, 3, 5])
def test_fast_work(n):
    """At B = 0 all work is interaction energy: the relative error is of order (omega / g)^2, so halving omega quarters it."""
    rng = np.random.default_rng(40 + n)
    couplings = dense.random_couplings(rng, n)
    weights, times = rng.uniform(0.7, 1.3, n), np.linspace(0.2, 4.0, 20)
    errors = []
    for omega in (0.02 * weights, 0.01 * weights):
        expected = dense.work(0.0, couplings, 0.0, omega, times)
        errors.append(np.max(np.abs(theory.fast_work(couplings, omega, times) - expected)) / np.max(expected))
    assert errors[0] < 0.01
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.03)  # the next order is (omega / g)^2 = 1e-3 of it


def test_fast_work_of_a_spin_without_couplings():
    np.testing.assert_array_equal(theory.fast_work(np.zeros((1, 1)), 0.7, TIMES), np.zeros_like(TIMES))
    assert theory.fast_work(dense.random_couplings(np.random.default_rng(0), 3), 0.7, 0.3).shape == ()


def test_ising_pair_slow_and_fast():
    """The two limits of the exact curve, each with a bound on what it leaves out, from the expansion of D - g in omega^2 / g."""
    field, g, omega = 1.0, 300.0, 1.0
    small = omega**2 / g**2
    slow_times, fast_times = np.linspace(0, np.pi, 300) * g / omega**2, np.linspace(0, 4 * np.pi, 100) / g
    exact = theory.ising_pair_work(field, g, omega, slow_times)
    phase = 2 * omega**4 / g**3 * slow_times  # of the slow oscillation, from D - g = 2 omega^2 / g - 2 omega^4 / g^3
    left_out = 4 * field * small + 4 * omega**2 / g + 2 * field * phase
    assert np.all(np.abs(theory.ising_pair_slow_work(field, g, omega, slow_times) - exact) < left_out)
    assert np.max(left_out) < 0.01 * 4 * field
    # Both parts matter at the fast scale when B is large; there the bound is on the terms dropped, each smaller by omega / g.
    field = 0.05 * g
    exact = theory.ising_pair_work(field, g, omega, fast_times)
    left_out = 4 * field * small + 16 * omega**4 / g**3 + 4 * omega**2 / g * (2 * omega**2 / g * fast_times)
    both = theory.ising_pair_slow_fast_work(field, g, omega, fast_times)
    assert np.all(np.abs(both - exact) <= left_out + 100 * EPS * field)
    slow, fast = 4 * field * np.sin(omega**2 * fast_times / g) ** 2, 4 * omega**2 / g * np.sin(g * fast_times) ** 2
    np.testing.assert_allclose(both, slow + fast, rtol=1e4 * EPS, atol=1e-15)
    couplings = np.array([[0.0, g], [g, 0.0]])
    pair = theory.fast_work(couplings, omega, fast_times)
    np.testing.assert_allclose(pair, fast, rtol=0, atol=100 * EPS * np.max(fast))


# --- Jacobi elliptic functions and the mean field


@pytest.mark.parametrize("m", [0.0, 1e-9, 0.3, 0.5, 0.99, 0.999999])
def test_ellipj_against_scipy(m):
    """Errors of the argument, EPS |u|, enter with slope one; SciPy's own are of that size too."""
    u = np.concatenate([np.linspace(-12, 12, 201), [1e3, 1e5]])
    for ours, theirs in zip(theory.ellipj(u, m), special.ellipj(u, m)[:3], strict=True):
        assert np.all(np.abs(np.asarray(ours) - theirs) < 20 * EPS * (1 + np.abs(u)))


@pytest.mark.parametrize("complement", [0.4, 1e-4, 1e-9, 1e-13, 1e-16])
def test_ellipj_inverts_the_elliptic_integral(complement):
    """sn = sin phi at u = F(phi | m), also close to m = 1, where SciPy's ellipj leaves the period; slope of phi at most 1."""
    phi = np.linspace(-1.57, 1.57, 101)
    m = 1 - complement
    u = special.ellipkinc(phi, m)
    functions = theory.ellipj(u, m)
    # dF/dphi = 1/dn: an error EPS of u moves phi by EPS dn; SciPy's F is good to about 20 EPS of its value.
    tolerance = 100 * EPS * (1 + np.abs(u))
    for ours, expected in zip(
        functions, (np.sin(phi), np.cos(phi), np.sqrt(np.cos(phi) ** 2 + (1 - m) * np.sin(phi) ** 2)), strict=True
    ):
        assert np.all(np.abs(np.asarray(ours) - expected) < tolerance)
    half_period = 2 * special.ellipkm1(1 - m)
    shifted = theory.ellipj(u + 6 * half_period, m)
    assert np.all(np.abs(np.asarray(shifted.cn) - np.cos(phi)) < 100 * EPS * (1 + np.abs(u) + 6 * half_period))


def test_ellipj_at_the_separatrix():
    u = np.array([-900.0, -5.0, 0.0, 0.7, 40.0, 900.0])
    with np.errstate(over="ignore"):
        sech = 1 / np.cosh(u)
    for ours, expected in zip(theory.ellipj(u, 1.0), (np.tanh(u), sech, sech), strict=True):
        # cosh u has the relative error EPS |u|; beyond |u| = 300 sech stays at sech 300 = 1e-130, on purpose.
        np.testing.assert_allclose(ours, expected, rtol=50 * EPS, atol=2e-130)


ELLIPJ_DERIVATIVES = jax.jit(jax.vmap(jax.jacfwd(theory.ellipj, argnums=(0, 1)), (0, None)))


@pytest.mark.parametrize("m", [0.0, 0.2, 0.9, 1.0])
def test_ellipj_derivatives(m):
    """In u: sn' = cn dn, cn' = -sn dn, dn' = -m sn cn. In m: an integral over u."""
    u = jnp.array([-1.1, 0.4, 2.0])
    sn, cn, dn = theory.ellipj(u, m)
    by_u, by_m = zip(*ELLIPJ_DERIVATIVES(u, m), strict=True)
    for ours, expected in zip(by_u, (cn * dn, -sn * dn, -m * sn * cn), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=0, atol=100 * EPS)
    # d am / dm = -(dn / 2) times the integral of sn^2 / dn^2 from 0 to u, by 40 Gauss-Legendre nodes: analytic, to rounding.
    nodes, weights = special.roots_legendre(40)
    inner = theory.ellipj(jnp.outer(u, (nodes + 1) / 2), m)
    integrals = np.asarray(u) / 2 * ((inner.sn / inner.dn) ** 2 @ weights)
    np.testing.assert_allclose(by_m[1], sn * dn / 2 * integrals, rtol=0, atol=1000 * EPS)  # sn / dn reaches 4


def bloch_equations(couplings, anisotropy, omega, times):
    """Eq. 21 for every spin: dS_m/dt = 2 h_m x S_m with h_m = omega x - sum_j g_mj (alpha S_x, alpha S_y, S_z)_j."""
    n = len(couplings)

    def velocity(_, flat):
        spins = flat.reshape(n, 3)
        fields = np.array([omega, 0, 0]) - couplings @ (spins * [anisotropy, anisotropy, 1.0])
        return 2 * np.cross(fields, spins).ravel()

    start = np.tile([0.0, 0.0, -1.0], n)
    spins = integrate.solve_ivp(velocity, (0, times[-1]), start, "DOP853", times, rtol=1e-12, atol=1e-12).y.T.reshape(-1, n, 3)
    return spins


def mean_field_energy(spins, field, couplings, anisotropy):
    correlations = np.einsum("tia,tja,a->tij", spins, spins, [anisotropy, anisotropy, 1.0])
    return field * spins[:, :, 2].sum(axis=1) - np.einsum("ij,tij->t", couplings, correlations) / 2


@pytest.mark.parametrize(("g", "anisotropy"), [(0.2, 0.0), (0.55, -0.8), (2.0, 0.5), (1.1, 1.6), (-0.9, 0.1)])
def test_mean_field(g, anisotropy):
    """Both sides of k = 1, and k of either sign. The ODE solver holds 1e-12 a step; errors add up over some hundred steps."""
    n, field, omega = 4, 1.3, 0.7
    couplings = g * (np.ones((n, n)) - np.eye(n))
    times = np.linspace(0, 12, 60)
    spins = bloch_equations(couplings, anisotropy, omega, times)
    energy = mean_field_energy(spins, field, couplings, anisotropy)
    z = theory.mean_field_z(n, g, anisotropy, omega, times)
    work = theory.mean_field_work(n, field, g, anisotropy, omega, times)
    np.testing.assert_allclose(z, spins[:, 0, 2], rtol=0, atol=1e-9)
    np.testing.assert_allclose(work, energy - energy[0], rtol=0, atol=1e-8)


def test_mean_field_transition():
    """At the critical coupling s_z = -sech(2 omega t); just below, the spins turn up, just above they stay below the equator."""
    n, anisotropy, omega = 5, -0.25, 0.6  # numbers that make k exactly 1
    critical = theory.mean_field_critical_coupling(n, anisotropy, omega)
    np.testing.assert_allclose(critical, 2 * omega / (4 * 1.25), rtol=4 * EPS)
    times = np.linspace(0, 60, 2000)
    early = times[:100]  # later, k = 1 to rounding is not k = 1: the orbit leaves the separatrix as EPS exp(2 omega t)
    z = theory.mean_field_z(n, critical, anisotropy, omega, early)
    np.testing.assert_allclose(z, -1 / np.cosh(2 * omega * early), rtol=0, atol=8 * EPS * np.exp(2 * omega * early[-1]))
    assert np.max(theory.mean_field_z(n, critical * (1 - 1e-9), anisotropy, omega, times)) > 0.9
    assert np.max(theory.mean_field_z(n, critical * (1 + 1e-9), anisotropy, omega, times)) < 0


def test_mean_field_without_charging_field():
    """omega = 0 leaves the spins where they are, whatever g."""
    np.testing.assert_array_equal(theory.mean_field_z(3, 1.0, 0.0, 0.0, TIMES), -np.ones_like(TIMES))
    np.testing.assert_array_equal(theory.mean_field_z(3, 0.0, 0.0, 0.0, TIMES), -np.ones_like(TIMES))


def test_mean_field_is_the_limit_of_many_spins():
    """Collective quantum spins (dense, N = 2, 3, 6) at fixed k approach the mean field as 1/N; the sign of the trend fixes W."""
    field, omega, ratio, times = 1.0, 1.0, 0.5, np.linspace(0, 1.0, 20)
    gaps = []
    for n in (2, 3, 6):
        g = ratio * 2 * omega / (n - 1)
        couplings = g * (np.ones((n, n)) - np.eye(n))
        quantum = dense.work(field, couplings, 0.0, omega, times) / n
        gaps.append(np.max(np.abs(theory.mean_field_work(n, field, g, 0.0, omega, times) / n - quantum)))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[1] / gaps[2] == pytest.approx(2.0, rel=0.3)  # 1/N, with corrections of relative size 1/N


@pytest.mark.parametrize("n", [2, 3, 5])
def test_collective_spin_length(n):
    """<s.s> in the evolved all-to-all battery, every component squared as a matrix."""
    couplings = 0.8 * (np.ones((n, n)) - np.eye(n))
    rows = dense.states(1.0, couplings, 0.2, 0.9, TIMES)
    components = [dense.field_term(1.0 / n, n, axis) for axis in "xyz"]
    squared = sum(dense.expectation(s @ s, rows) for s in components)
    np.testing.assert_allclose(np.sqrt(squared), theory.collective_spin_length(n), rtol=100 * EPS)


# --- bounds


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("size", [0.05, 1.0, 20.0])
def test_bounds_hold(n, size):
    """Random couplings of any strength: no dense curve passes the bounds, neither in work nor in power."""
    rng = np.random.default_rng(50 + n)
    times = np.linspace(0.01, 6.0, 400)
    for omega, anisotropy in ((0.8, 0.0), (-3.0, 0.5), (2.0, -1.0)):
        field, couplings = rng.uniform(0.5, 1.5), size * dense.random_couplings(rng, n, -0.5, 1.0)
        work = dense.work(field, couplings, anisotropy, omega, times)
        slack = dense_tolerance(field, couplings, anisotropy, omega, times)
        assert np.all(work <= theory.work_bound(n, field, omega, times) + slack)
        assert np.all(work <= theory.max_work_bound(n, field, omega) + slack)
        assert np.all(work / times <= theory.max_power_bound(n, field, omega) + slack / times)


@pytest.mark.parametrize(("field", "omega"), [(1.0, 0.7), (0.3, -2.0), (2.0, 0.05)])
def test_bounds_are_the_maxima_they_are_derived_from(field, omega):
    """Largest B (1 + z) - omega x over Bloch vectors with z <= -cos(2 omega t), by brute force over z.

    A grid errs by its step at the edge of the range, by the square of its step at a maximum inside.
    """
    n, times = 3, np.linspace(0.0, 4.0, 30) / abs(omega)
    edge = np.where(2 * abs(omega) * times < np.pi, -np.cos(2 * omega * times), 1.0)
    angles = np.linspace(0, np.pi, 20001)
    values = field * (1 - np.cos(angles)) + abs(omega) * np.sin(angles)
    brute = np.array([values[-np.cos(angles) <= limit + 1e-15].max() for limit in edge])
    grid_error = n * (field + abs(omega)) * np.pi / 20000
    bound = theory.work_bound(n, field, omega, times)
    np.testing.assert_allclose(bound, n * brute, rtol=0, atol=grid_error)
    np.testing.assert_allclose(theory.max_work_bound(n, field, omega), n * values.max(), rtol=0, atol=grid_error**2)
    early = times[abs(omega) * times <= np.pi / 4]
    formula = n * (2 * field * np.sin(omega * early) ** 2 + omega * np.sin(2 * omega * early))
    np.testing.assert_allclose(theory.work_bound(n, field, omega, early), formula, rtol=0, atol=40 * EPS)
    fine = np.linspace(1e-4, 6.0, 4000) / abs(omega)
    assert np.max(theory.work_bound(n, field, omega, fine) / fine) <= theory.max_power_bound(n, field, omega)


def test_max_power_bound_is_tight_at_both_ends():
    """Without a field it is the supremum of work_bound / t, at t -> 0; the rest is the power of independent spins."""
    n, omega, t = 3, 1.7, 1e-6
    without_field = theory.max_power_bound(n, 0.0, omega)
    np.testing.assert_allclose(without_field, theory.work_bound(n, 0.0, omega, t) / t, rtol=(2 * omega * t) ** 2)
    rest = theory.max_power_bound(n, 1.3, omega) - without_field
    np.testing.assert_allclose(rest, theory.independent_max_power(n, 1.3, omega), rtol=20 * EPS)


def test_certificate_time():
    """The capacity E_max(H_0) - E_0 of a dense battery over its best power; the best lies before the certificate time."""
    couplings = dense.random_couplings(np.random.default_rng(6), 3)
    energies = np.linalg.eigvalsh(dense.hamiltonian_0(1.0, couplings, 0.2))
    times = np.linspace(0.01, 20.0, 4000)
    power = dense.work(1.0, couplings, 0.2, 0.9, times) / times
    end = theory.certificate_time(energies[-1] - energies[0], power.max())
    np.testing.assert_allclose(end, (energies[-1] - energies[0]) / power.max(), rtol=2 * EPS)
    assert times[0] < times[np.argmax(power)] < end < times[-1]


def test_max_power_gradient():
    """d P_max / d B and d P_max / d omega of independent spins, whose maximum is known in closed form."""
    n, field, omega = 3, 1.3, 0.8
    time = theory.independent_max_power_time(omega)
    by_parameters = jax.grad(theory.independent_work, argnums=(1, 2))(n, field, omega, time)
    expected = jax.grad(theory.independent_max_power, argnums=(1, 2))(n, field, omega)
    # T* known to EPS: the gradient at fixed T moves by d2W/dT domega * EPS, of order ten.
    np.testing.assert_allclose(theory.max_power_gradient(by_parameters, time), expected, rtol=40 * EPS)


# --- gradients by finite differences


def test_gradient_of_effective_hamiltonian():
    rng = np.random.default_rng(7)
    couplings, omega = jnp.asarray(dense.random_couplings(rng, 4)), jnp.asarray(rng.uniform(0.5, 1.5, 4))
    direction = jnp.asarray(dense.random_couplings(rng, 4))
    check_slope(lambda x: sum(theory.effective_hamiltonian(couplings + x * direction, omega.at[2].add(x))), 0.1)


MEAN_FIELD_WORK = jax.jit(theory.mean_field_work)
MEAN_FIELD_SLOPES = jax.jit(jax.grad(theory.mean_field_work, argnums=(2, 4)))


@pytest.mark.parametrize("ratio", [0.0, 0.4, 1.0, 1.7])
def test_gradient_of_mean_field_work(ratio):
    """Through the transition too, where the curve is smooth in g and omega at every fixed time."""
    n, field, omega, t = 5, 1.0, 0.75, 1.4
    g = ratio * 2 * omega / (n - 1)  # exact in binary at ratio = 1
    by_g, by_omega = MEAN_FIELD_SLOPES(n, field, g, 0.0, omega, t)
    tolerance = n**2 * SLOPE_TOLERANCE  # the work counts the pairs
    slope = central_difference(lambda x: MEAN_FIELD_WORK(n, field, x, 0.0, omega, t), g)
    np.testing.assert_allclose(by_g, slope, rtol=0, atol=tolerance)
    slope = central_difference(lambda x: MEAN_FIELD_WORK(n, field, g, 0.0, x, t), omega)
    np.testing.assert_allclose(by_omega, slope, rtol=0, atol=tolerance)


def sum_of_maximum(anisotropy):
    return sum(theory.interactions_off_max_work(3, 1.0, 4.0, anisotropy))


@pytest.mark.parametrize("anisotropy", [0.2, 0.95, 1.0])
def test_gradient_of_interactions_off_maximum(anisotropy):
    """On both branches of Eq. 19, and at alpha = 1, where the branch not taken divides by zero."""
    check_slope(sum_of_maximum, anisotropy)


# --- transformations and refusals

PAIR = jnp.array([[0.0, 5.0], [5.0, 0.0]])
CALLS = [
    (theory.total_coupling, (PAIR,)),
    (theory.independent_work, (3, 1.0, 0.7, 0.3)),
    (theory.independent_max_power, (3, 1.0, 0.7)),
    (theory.independent_max_power_time, (0.7,)),
    (theory.interactions_off_work, (3, 1.0, 2.0, 0.1, 0.7, 0.3)),
    (theory.interactions_off_max_work, (3, 1.0, 2.0, 0.1)),
    (theory.ising_pair_work, (1.0, 5.0, 0.7, 0.3)),
    (theory.ising_pair_slow_work, (1.0, 5.0, 0.7, 0.3)),
    (theory.ising_pair_slow_fast_work, (1.0, 5.0, 0.7, 0.3)),
    (theory.work_from_magnetization, (3, 1.0, 0.7, 0.5, -1.0)),
    (theory.half_splitting_nearest_neighbor, (3, 5.0, 0.7)),
    (theory.half_splitting_all_to_all, (3, 5.0, 0.7)),
    (theory.slow_work, (3, 1.0, 0.01, 0.3)),
    (theory.fast_work, (PAIR, 0.7, 0.3)),
    (theory.effective_hamiltonian, (PAIR, 0.7)),
    (theory.ellipj, (0.3, 0.4)),
    (theory.mean_field_z, (3, 0.5, 0.1, 0.7, 0.3)),
    (theory.mean_field_work, (3, 1.0, 0.5, 0.1, 0.7, 0.3)),
    (theory.mean_field_critical_coupling, (3, 0.1, 0.7)),
    (theory.collective_spin_length, (3,)),
    (theory.max_work_bound, (3, 1.0, 0.7)),
    (theory.work_bound, (3, 1.0, 0.7, 0.3)),
    (theory.max_power_bound, (3, 1.0, 0.7)),
    (theory.certificate_time, (6.0, 2.0)),
    (theory.max_power_gradient, (4.0, 2.0)),
]


@pytest.mark.parametrize(("function", "arguments"), CALLS, ids=lambda value: getattr(value, "__name__", ""))
def test_jit_vmap_and_dtype(function, arguments):
    """Under jit and vmap every argument is traced, the number of spins too; compiled code may round differently by a few EPS."""
    plain = function(*arguments)
    batched = jax.jit(jax.vmap(function))(*(np.stack([a, a]) for a in arguments))
    for expected, both in zip(*map(jax.tree.leaves, (plain, batched)), strict=True):
        assert both.dtype == jnp.float64
        assert both.shape == (2, *jnp.shape(expected))
        np.testing.assert_allclose(both, np.stack([expected, expected]), rtol=16 * EPS)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: theory.independent_work(0, 1.0, 1.0, 0.1), "at least 1, but it is 0"),
        (lambda: theory.independent_work(2.5, 1.0, 1.0, 0.1), "integer"),
        (lambda: theory.independent_max_power(2, -1.0, 1.0), "`field` must not be negative, but it is -1"),
        (lambda: theory.max_power_bound(2, -1.0, 1.0), "`field` must not be negative, but it is -1"),
        (lambda: theory.interactions_off_max_work(2, -1.0, 1.0, 0.0), "`field` must not be negative, but it is -1"),
        (lambda: theory.half_splitting_nearest_neighbor(3, 0.0, 1.0), "`g` must be positive"),
        (lambda: theory.half_splitting_all_to_all(3, -1.0, 1.0), "`g` must be positive"),
        (lambda: theory.mean_field_critical_coupling(1, 0.0, 1.0), "at least 2, but it is 1"),
        (lambda: theory.mean_field_critical_coupling(3, 1.0, 1.0), "`anisotropy` must differ from 1"),
        (lambda: theory.ellipj(0.3, 1.2), "must lie in"),
        (lambda: theory.ellipj(0.3, [0.2, -0.1]), "must lie in"),
        (lambda: theory.fast_work(np.ones((2, 2)), 1.0, 0.1), "zero diagonal"),
        (lambda: theory.effective_hamiltonian(np.ones((2, 3)), 1.0), "shape"),
        (lambda: theory.effective_hamiltonian(nearest_neighbor(21, 1.0), 1.0), "N = 21"),
        (lambda: theory.effective_hamiltonian(np.zeros((3, 3)), 1.0), "Delta"),
        (lambda: theory.effective_hamiltonian(np.kron(np.eye(2), [[0, 1.0], [1.0, 0]]), 1.0), "connect the spins"),
        (lambda: theory.interactions_off_max_work(4, 1.0, np.nan, 0.0), "total_coupling = nan"),
        (lambda: theory.interactions_off_max_work(4, 1.0, 1.0, np.nan), "anisotropy = nan"),
        (lambda: theory.certificate_time(1.0, 0.0), "`best_power` must be positive"),
        (lambda: theory.certificate_time(-1.0, 1.0), "`capacity` must be positive"),
        (lambda: theory.max_power_gradient(1.0, 0.0), "`best_time` must be positive"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_every_public_function_is_in_the_table():
    public = {name for name, value in vars(theory).items() if callable(value) and name[0].islower()}
    assert public == {function.__name__ for function, _ in CALLS} | {"ellipj_complement"}
