"""Derivatives by diagonalization: exact at levels that meet, nearly meet or lie apart, for short times and for long ones."""

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tol
from scipy.linalg import expm
from test_gradients import CONSTANT, PAULIS, QUICK, WEIGHTS, Case, compiled, found_by, numbers, on_edges, stacked

import jaxbatt as jb
from jaxbatt.solvers import _sectors, spectral
from jaxbatt.solvers._spectral_frame import _NEAR, Frame

MOMENTS = np.array([0.0, 1e-6, 0.02, 0.3, 0.3, 2.0, 30.0])
"""Zero, repeated, and far shorter than the longest, which decides what pairs of levels are near."""


def hermitian(rng, size, kind):
    matrix = rng.normal(size=(size, size)) + (1j * rng.normal(size=(size, size)) if kind == "complex" else 0)
    return (matrix + matrix.conj().T) / 2


def evolved(block, psi, times):
    """exp(-i H t) psi, (T, S)."""
    frame = Frame.of(block)
    return jax.vmap(frame.state)(frame.evolve(frame.amplitudes(psi), times))


def block_trick(h, dh, time):
    """exp(-i H t) and its derivative: the exponential of [[H, dH], [0, H]] holds both."""
    size = len(h)
    both = expm(-1j * time * np.block([[h, dh], [np.zeros_like(h), h]]))
    return both[:size, :size], both[:size, size:]


# --- the exponential


@pytest.mark.parametrize("kind", ["real", "complex"])
@pytest.mark.parametrize("gap", [0.0, 1e-15, 1e-12, 1e-8, 1e-4, 1e-2, 0.2])
def test_exponential_at_close_levels(gap, kind):
    """Twofold and threefold levels split by ``gap`` ||H||, in random directions; each tangent alone, then all in reverse."""
    rng = np.random.default_rng(int(1e3 * gap) + len(kind))
    vectors = np.linalg.qr(hermitian(rng, 9, kind))[0]
    levels = np.array([1, 1 + gap, 1 + 2.3 * gap, 0.4, 0.4 + gap, -0.1, -0.8, -0.8 - gap / 3, 0.7])
    h, dh = (vectors * levels) @ vectors.conj().T, hermitian(rng, 9, kind)
    h, dh = (h + h.conj().T) / 2, dh / np.linalg.norm(dh, 2)
    psi, dpsi, cotangents = (rng.normal(size=(k, 9)) + 1j * rng.normal(size=(k, 9)) for k in (1, 1, len(MOMENTS)))
    psi, dpsi, dt = psi[0] / np.linalg.norm(psi), dpsi[0] / np.linalg.norm(dpsi), rng.normal(size=len(MOMENTS))
    still = np.zeros_like(h), np.zeros_like(psi), np.zeros_like(dt)
    by_h, by_psi, by_time = (
        jax.jvp(evolved, (h, psi, MOMENTS), tuple(d if k == one else z for k, z in enumerate(still)))[1]
        for one, d in enumerate((dh, dpsi, dt))
    )
    for m, t in enumerate(MOMENTS):
        u, du = block_trick(h, dh, t)
        rounding = tol(float, 1 + np.linalg.norm(h, 2) * t)  # 16 eps of the phase
        assert np.linalg.norm(by_h[m] - du @ psi) <= 10 * t * rounding
        assert np.linalg.norm(by_psi[m] - u @ dpsi) <= 4 * rounding
        assert np.linalg.norm(by_time[m] + 1j * h @ u @ psi * dt[m]) <= 4 * abs(dt[m]) * rounding
    back = jax.vjp(evolved, *map(jnp.asarray, (h, psi, MOMENTS)))[1](jnp.asarray(cotangents))
    products = [np.sum(np.asarray(b) * d).real for b, d in zip(back, (dh, dpsi, dt), strict=True)]
    expected = [np.sum(cotangents * np.asarray(d)).real for d in (by_h, by_psi, by_time)]
    np.testing.assert_allclose(products, expected, rtol=0, atol=tol(float, 9 * 100 * MOMENTS.sum()))


def test_near_and_far_pairs_meet():
    """On either side of the limit between the two formulas the derivative is that of sin(x) / x."""
    dh, psi, x = (
        np.array([[0.0, 1.0], [1.0, 0.0]]),
        np.array([1.0 + 0j, 0.0]),
        _NEAR * np.array([1e-3, 0.5, 1 - 1e-9, 1 + 1e-9, 2]),
    )

    @jax.jit
    @jax.vmap
    def derivative(x):
        return jax.jvp(lambda h: evolved(h, psi, jnp.ones(1)), (x * jnp.diag(jnp.array([1.0, -1.0])),), (dh,))[1][0]

    np.testing.assert_allclose(derivative(x), np.stack([0 * x, -1j * np.sin(x) / x], axis=1), rtol=0, atol=tol(float, 1 / _NEAR))


# --- charging curves


@pytest.mark.parametrize("name", CONSTANT)
def test_constant_field(name):
    """Any chain of three spins against dense matrices; there is no error but rounding."""
    CONSTANT[name].check(found_by(GRADIENT, CONSTANT[name]), tolerance=0.0)


GRADIENT = compiled(CONSTANT["random"], jb.Spectral())


def test_complex_pieces():
    """A complex Hamiltonian on three pieces, with times inside them and on the edges between, from a complex state."""
    case = PAULIS["mixed strings, pieces"]
    case.check(found_by(compiled(case, jb.Spectral()), case), tolerance=0.0)


def test_symmetric_sectors_in_groups(monkeypatch):
    """Couplings that are known and mirror-symmetric, an equal field on all spins: two sectors, and times seven at a time."""
    drawn = numbers(31, [1.7, -0.9, 0.4], field=1.1, pairs=[0.8, 0.5, 0.8], factors=[0.3, 0.3, 1])
    case = Case(drawn, **on_edges(3))
    known = ("field", "pairs", "factors")
    sizes = [len(s.representatives) for s in _sectors.sectors_of(3, True, True)]
    shapes = []
    original = spectral.dense
    monkeypatch.setattr(spectral, "dense", lambda h, sector: shapes.append(len(sector.representatives)) or original(h, sector))
    monkeypatch.setattr(spectral, "_TOGETHER", 7 * 8)
    case.check(found_by(compiled(case, jb.Spectral(), known), case, known=known), tolerance=0.0)
    assert set(shapes) == set(sizes)
    assert max(sizes) < 4


def test_batches():
    """vmap(grad) and grad(vmap) give what grad gives one by one."""
    cases = [CONSTANT[name] for name in ("random", "equal eigenvalues", "no couplings")]
    given = stacked(cases)
    weights = jax.tree.map(jnp.asarray, dict(WEIGHTS))
    alone = [GRADIENT(case.numbers, case.times, case.edges, weights)[1] for case in cases]
    together = compiled(cases[0], jb.Spectral(), batch=(0, 0, 0, None))(*given, weights)[1]
    for one, two in zip(jax.tree.leaves(jax.tree.map(lambda *x: np.stack(x), *alone)), jax.tree.leaves(together), strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=tol(float, 1e4))


# --- closed forms


def ising_pair(g, omega, field, t):
    """Item 3.3 of the physics: W of two spins."""
    d = jnp.sqrt(g**2 + 4 * omega**2)
    first = 1 - jnp.cos(d * t) * jnp.cos(g * t) - g / d * jnp.sin(d * t) * jnp.sin(g * t)
    return 2 * field * first + 4 * g * omega**2 / d**2 * jnp.sin(d * t) ** 2


def pair_by_diagonalization(g, omega, field, t):
    battery = jb.SpinBattery(field, jb.nearest_neighbor(2, g), initial_state="down")
    return jb.charge(battery, jb.ConstantField(omega), t[None], solver=jb.Spectral()).work[0]


@pytest.mark.parametrize("t", [0.0, 1e-9, 0.7, 1e6])
def test_ising_pair(t):
    """First derivatives at times that no stepping reaches: the phase is 3e6, its rounding 1e-9, and that of dW/dg t times it."""
    at = tuple(jnp.asarray(x) for x in (0.9, 1.3, 1.1, t))
    for k, (a, b) in enumerate(zip(PAIR_GRADIENT(*at), jax.grad(ising_pair, argnums=(0, 1, 2, 3))(*at), strict=True)):
        assert abs(a - b) <= tol(float, 10 * (1 + 6 * t) * (1 + (t if k < 2 else 0)))


PAIR_GRADIENT = jax.jit(jax.grad(pair_by_diagonalization, argnums=(0, 1, 2, 3)), compiler_options=QUICK)


def test_uniform_xxx_depends_on_the_field_alone():
    """W = 2 N B sin^2(omega t) for any couplings, at levels as degenerate as they come; at t = 0 and twice the same t."""
    n, omega, field, times = 5, 1.3, 0.8, jnp.array([0.0, 0.4, 0.4, 1.1])

    def work(omega, field, pairs, times):
        couplings = jnp.zeros((n, n)).at[np.triu_indices(n, 1)].set(pairs)
        battery = jb.SpinBattery(field, couplings + couplings.T, 1.0, initial_state="down")
        return jb.charge(battery, jb.ConstantField(omega), times, solver=jb.Spectral()).work

    at = omega, field, jnp.full(n * (n - 1) // 2, 0.7), times
    by_omega, by_field, by_pairs, by_times = jax.jit(jax.jacrev(work, argnums=(0, 1, 2, 3)), compiler_options=QUICK)(*at)
    allowed = {"rtol": 0, "atol": tol(float, (n * (omega + 0.7 * n)) ** 2 * 2)}
    np.testing.assert_allclose(by_omega, 2 * n * field * times * jnp.sin(2 * omega * times), **allowed)
    np.testing.assert_allclose(by_field, 2 * n * jnp.sin(omega * times) ** 2, **allowed)
    np.testing.assert_allclose(by_pairs, 0.0, **allowed)
    np.testing.assert_allclose(by_times, np.diag(2 * n * field * omega * jnp.sin(2 * omega * times)), **allowed)


# --- second derivatives, cost, diagnostics


def test_second_derivatives_are_right_or_refused():
    """In the coupling or the time of dW/dt they are right; twice in the numbers of the Hamiltonian they are refused."""
    at = tuple(jnp.asarray(x) for x in (0.9, 1.3, 1.1, 0.7))
    found, expected = (
        jax.jit(jax.jacfwd(jax.grad(f, 3), (0, 3)), compiler_options=QUICK)(*at) for f in (pair_by_diagonalization, ising_pair)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=tol(float, 1e3))
    for second in (jax.grad(jax.grad(PAIR)), jax.hessian(PAIR), jax.jacfwd(jax.jacfwd(PAIR)), jax.grad(jax.grad(PAIR, 1))):
        with pytest.raises(NotImplementedError, match="Spectral has no second derivatives"):
            second(*at)


PAIR = jax.jit(pair_by_diagonalization)


def test_mixed_derivatives_in_loops_are_right_or_refused():
    """Inside a loop JAX forgets the rule of what was computed before: no derivative may vanish with it."""
    h, dh, psi = np.diag([0.3, -0.4]), np.array([[0.2, 1.0], [1.0, 0.1]]), np.array([1.0 + 0j, 0.0])

    def plain(x, t):
        return jnp.abs(evolved(h + x * dh, psi, t[None])[0, 0])

    def looped(x, t):
        frame = Frame.of(h + x * dh)
        return jax.lax.map(lambda t: jnp.abs(frame.state(frame.evolve(frame.amplitudes(psi), t)))[0], t[None])[0]

    at = jnp.asarray(0.3), jnp.asarray(0.7)
    found, expected = (jax.jit(jax.grad(jax.grad(f), 1), compiler_options=QUICK)(*at) for f in (looped, plain))
    assert abs(found - expected) <= tol(float, 10)
    with pytest.raises(NotImplementedError, match="Spectral has no second derivatives"):
        jax.grad(jax.grad(looped, 1), 0)(*at)


def count(jaxpr, name):
    """How often a primitive occurs in a jaxpr and all that it calls."""
    inner = [sub for eqn in jaxpr.eqns for sub in jax.extend.core.jaxprs_in_params(eqn.params)]
    return sum(eqn.primitive.name == name for eqn in jaxpr.eqns) + sum(count(sub, name) for sub in inner)


def test_value_and_derivative_share_one_diagonalization():
    case = Case(numbers(32, [1.7, -0.9, 0.4]), **on_edges(3))
    battery, protocol = case.battery(jax.tree.map(jnp.asarray, case.numbers)), case.protocol(case.numbers)
    problem = jb.Spectral().prepare(battery, protocol)

    def work(problem):
        return jb.Spectral().evolve(problem).curve(case.times)[1].work.sum()

    plain, both = (jax.make_jaxpr(f)(problem) for f in (work, jax.value_and_grad(work, allow_int=True)))
    assert count(both.jaxpr, "eigh") == count(plain.jaxpr, "eigh") == 2


def test_diagnostics_have_no_derivative():
    def diagnosed(g):
        battery = jb.SpinBattery(1.0, jb.nearest_neighbor(3, g))
        info = jb.charge(battery, jb.ConstantField(1.0), jnp.array([0.3]), solver=jb.Spectral()).info
        return info.error

    assert jax.jit(jax.grad(diagnosed), compiler_options=QUICK)(0.7) == 0.0


def test_a_traced_amplitude_keeps_the_reflection():
    """An equal field on all spins is the same in the mirror whatever its value; one value for each spin need not be."""
    found = {}

    def prepare(omega):
        problem = jb.Spectral().prepare(jb.SpinBattery(1.0, jb.power_law(4, 1.0, 1.0)), jb.ConstantField(omega))
        found[jnp.ndim(omega)] = problem.reflection
        return problem.problem.protocol.levels

    jax.eval_shape(prepare, 1.0)
    jax.eval_shape(prepare, jnp.ones(4))
    assert found == {0: True, 1: False}
