"""Every solver on every kind of battery: plain, compiled and batched, each against dense matrices."""

import functools
import logging

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from conftest import tol

import jaxbatt as jb
from jaxbatt.hamiltonian import model_of
from jaxbatt.solvers import _pauli, _sectors, collective, spectral

CHAINS = {system.name: system for system in systems.spin_chains()}
PAULIS = {system.name: system for system in systems.pauli_batteries()}
EVERYTHING = CHAINS | PAULIS
SOLVERS = {
    "Chebyshev": jb.StateVector(),
    "Krylov": jb.StateVector(jb.Krylov(dim=5)),
    "Taylor": jb.StateVector(jb.Taylor()),
    "Spectral": jb.Spectral(),
    "Collective": jb.Collective(),
}
# Chebyshev meets every system. What the others do differently does not depend on all of it: they meet one of each kind.
KINDS = [
    "random XYZ",
    "field kept",
    "interactions off",
    "field along y",
    "field along z, complex start",
    "two pieces for each spin",
]
KINDS += ["uniform", "collective charging", "Dzyaloshinskii-Moriya, field along y", "mixed strings, two pieces"]
PLAIN = [("Chebyshev", name) for name in EVERYTHING] + [("Spectral", name) for name in KINDS]
PLAIN += [(solver, "mixed strings, two pieces") for solver in ("Krylov", "Taylor")]
PLAIN += [("Collective", "uniform"), ("Collective", "uniform XYZ, two pieces, field kept")]
TRACED = ["nearest neighbor", "long range, Ising", "random XYZ", "end spins charged", "uniform"]
PIECES = ["two pieces", "two pieces for each spin"]


@pytest.mark.parametrize(("solver", "name"), PLAIN)
def test_plain(solver, name):
    system = EVERYTHING[name]
    system.check(jb.charge(system.battery, system.protocol, systems.TIMES, solver=SOLVERS[solver]), systems.TIMES)


@pytest.mark.parametrize("solver", ["Chebyshev", "Krylov", "Taylor", "Spectral"])
def test_jit(solver):
    """One compiled function, every number traced, for all constant fields along x."""
    run = systems.traced_charge(SOLVERS[solver])
    for name in TRACED:
        CHAINS[name].check(run(*systems.numbers(CHAINS[name], systems.TIMES)), systems.TIMES)


@pytest.mark.parametrize("solver", ["Chebyshev", "Krylov", "Taylor", "Spectral"])
def test_vmap(solver):
    """All of them in one batch, and that batch compiled."""
    stack = [jnp.stack(column) for column in zip(*(systems.numbers(CHAINS[name], systems.TIMES) for name in TRACED), strict=True)]
    curves = jax.vmap(systems.traced_charge(SOLVERS[solver]))(*stack)
    for i, name in enumerate(TRACED):
        CHAINS[name].check(jax.tree.map(lambda x, i=i: x[i], curves), systems.TIMES)


@pytest.mark.parametrize("solver", ["Chebyshev", "Spectral"])
def test_jit_and_vmap_of_pieces(solver):
    run = systems.traced_charge(SOLVERS[solver], pieces=True)
    arguments = [systems.numbers(CHAINS[name], systems.TIMES) for name in PIECES]
    curves = jax.vmap(run)(*(jnp.stack(column) for column in zip(*arguments, strict=True)))
    for i, name in enumerate(PIECES):
        CHAINS[name].check(run(*arguments[i]), systems.TIMES)
        CHAINS[name].check(jax.tree.map(lambda x, i=i: x[i], curves), systems.TIMES)


@pytest.mark.parametrize("solver", ["Chebyshev", "Spectral"])
def test_jit_and_vmap_of_pauli_batteries(solver):
    """A battery is a pytree: traced coefficients of an imaginary Hamiltonian, a batch of fields."""
    system, times = PAULIS["Dzyaloshinskii-Moriya"], jnp.asarray(systems.TIMES)
    run = jax.jit(lambda battery, omega: jb.charge(battery, jb.ConstantField(omega), times, solver=SOLVERS[solver]))
    system.check(run(system.battery, 1.2), systems.TIMES)
    curves = jax.vmap(run, in_axes=(None, 0))(system.battery, jnp.array([0.0, 1.2]))
    system.check(jax.tree.map(lambda x: x[1], curves), systems.TIMES)
    moriya = systems.dzyaloshinskii_moriya(3, 0.4)
    drift = [("ZZ", (0, 1), -0.8), ("ZZ", (1, 2), -0.5), ("XX", (0, 2), 0.3), *moriya]
    energy = [("Z", (i,), 1.0 + 0.1 * i) for i in range(3)] + drift
    systems.pauli("no field", 3, energy, drift, 0.0).check(jax.tree.map(lambda x: x[0], curves), systems.TIMES)


def test_jit_and_vmap_of_collective():
    """Couplings that are uniform are used; couplings that are not cannot be refused while traced: flagged and NaN."""

    @jax.jit
    def run(couplings, omega):
        battery = jb.SpinBattery(1.0, couplings, 0.2, initial_state="down")
        return jb.charge(battery, jb.ConstantField(omega), systems.TIMES, solver=jb.Collective())

    uniform, other = (CHAINS[name].battery.couplings for name in ("uniform", "random XYZ"))
    CHAINS["uniform"].check(run(uniform, 1.6), systems.TIMES)
    curves = jax.vmap(run, in_axes=(0, None))(jnp.stack([uniform, other]), 1.6)
    CHAINS["uniform"].check(jax.tree.map(lambda x: x[0], curves), systems.TIMES)
    np.testing.assert_array_equal(curves.info.valid, [True, False])
    assert np.all(np.isnan(curves.work[1]))


def test_one_spin():
    """N = 1 has no couplings, one spin down and one state to go to."""
    system = systems.spin("one", 1.3, np.zeros((1, 1)), 0.0, 0.9)
    for solver in (jb.StateVector(), jb.Spectral(), jb.Collective()):
        system.check(jb.charge(system.battery, system.protocol, systems.TIMES, solver=solver), systems.TIMES)


# --- compilation and dtypes


def compilations(caplog, call):
    """Names of what is compiled during a call."""
    caplog.clear()
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        jax.block_until_ready(jax.tree.leaves(call()))
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("Compiling")]


@pytest.mark.parametrize("solver", ["Chebyshev", "Krylov", "Taylor", "Spectral", "Collective"])
def test_new_values_compile_nothing(caplog, solver):
    """New couplings, field, anisotropy, amplitude and times of the same shape reuse what was compiled, also in a plain call."""

    def call(scale, end):
        shape = np.ones((3, 3)) if solver == "Collective" else np.array([[0, 1, 0.3], [1, 0, 0.6], [0.3, 0.6, 0]])
        battery = jb.SpinBattery(scale, scale * shape * (1 - np.eye(3)), 0.4 * scale)
        return jb.charge(battery, jb.ConstantField(2 * scale), end * np.linspace(0, 1, 5), solver=SOLVERS[solver])

    assert compilations(caplog, lambda: call(0.7, 1.0))  # no other test has five times, or the next line would prove nothing
    assert compilations(caplog, lambda: call(0.9, 6.0)) == []


def test_new_values_compile_nothing_in_a_search(caplog):
    """The same for max_power and max_work, however many windows they take."""

    def call(scale):
        battery = jb.SpinBattery(1.0, scale * np.array([[0, 1, 0.3], [1, 0, 0.6], [0.3, 0.6, 0]]), 0.4)
        return jb.max_power(battery, jb.ConstantField(2 * scale)), jb.max_work(battery, jb.ConstantField(1.0), horizon=scale)

    assert compilations(caplog, lambda: call(0.7))
    assert compilations(caplog, lambda: call(0.9)) == []


def test_dtypes_do_not_drift():
    """float64 throughout; with complex64 the records are float32, whatever the batteries' numbers are."""
    system = CHAINS["random XYZ"]
    for solver, dtype in ((jb.StateVector(), jnp.float64), (jb.StateVector(jb.Chebyshev(1e-4), jnp.complex64), jnp.float32)):
        curve = jb.charge(system.battery, system.protocol, systems.TIMES, solver=solver)
        assert curve.times.dtype == jnp.float64
        assert {curve.work.dtype, curve.magnetization.dtype, curve.info.error.dtype} == {jnp.dtype(dtype)}
        work = system.work(systems.TIMES)
        # Measuring adds its own float32 rounding to the error of the state that is estimated.
        rounding = tol(dtype, system.size) + system.rounding(systems.TIMES)
        assert np.max(np.abs(curve.work - work)) <= curve.info.error + rounding
        assert curve.info.error <= 8 * solver.propagator.tol * system.size + system.rounding(systems.TIMES, dtype)
    integers = jb.charge(jb.SpinBattery(1, [[0, 1], [1, 0]], 0), jb.ConstantField(1), np.arange(3))
    assert integers.work.dtype == jnp.float64


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_default_tolerance_in_single_precision(p):
    """Where JAX has no 64 bits the default solvers ask for what can be reached, and a given tolerance stays."""

    def curve(solver=None):
        battery = jb.SpinBattery(1.0, jb.power_law(6, 1.0, p))
        return jb.charge(battery, jb.ConstantField(4.0), np.linspace(0, 0.5, 5), solver=solver)

    exact, mixed = curve(), curve(jb.StateVector(dtype="complex64"))
    with jax.enable_x64(False):
        single = curve()
        with pytest.raises(ValueError, match="did not meet its tolerance"):
            curve(jb.StateVector(jb.Chebyshev()))
    for found in (mixed, single):
        assert found.work.dtype == jnp.float32
        assert np.abs(found.work - exact.work).max() < found.info.error < 3e-3
    assert jb.StateVector() == jb.StateVector(jb.Chebyshev(1e-10))


# --- Spectral and its symmetries


@pytest.mark.parametrize("parity", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_sectors_block_diagonalize(parity, mirror):
    """The isometries are orthonormal, complete (the mirror keeps its even half), and give each block of H."""
    n, rng = 4, np.random.default_rng(21)
    couplings = dense.random_couplings(rng, n)
    omega = rng.normal(size=n)
    if mirror:
        couplings, omega = couplings + couplings[::-1, ::-1], omega + omega[::-1]
    h = dense.charging_hamiltonian(1.0, couplings, (0.3, -0.8, 1.2), omega)
    battery = jb.SpinBattery(1.0, couplings, (0.3, -0.8, 1.2), initial_state="down")
    hamiltonian = _pauli.charging_hamiltonian(model_of(battery), "x", jnp.asarray(omega))
    sectors = _sectors.sectors_of(n, parity, mirror)
    columns = []
    for sector in sectors:
        v = np.zeros((2**n, len(sector.representatives)))
        v[np.arange(2**n), sector.index] = sector.amplitude
        columns.append(v)
        np.testing.assert_allclose(v.T @ v, np.eye(v.shape[1]), atol=tol(float, 1))
        np.testing.assert_allclose(_sectors.dense(hamiltonian, sector), v.T @ h @ v, atol=tol(float, np.linalg.norm(h, 2)))
    whole = np.hstack(columns)
    assert whole.shape[1] == (10 if mirror else 16)
    np.testing.assert_allclose(h @ whole, whole @ (whole.T @ h @ whole), atol=tol(float, 4 * np.linalg.norm(h, 2)))


SYMMETRIES = {
    # name: (couplings reversed alike, amplitude, axis, initial state, field kept) -> (parity, reflection) that must be found
    "both": ((True, 1.3, "x", None, False), (True, True)),
    "couplings break the mirror": ((False, 1.3, "x", None, False), (True, False)),
    "amplitudes break the mirror": ((True, [1.3, 0.2, 0.4, 1.0], "x", None, False), (True, False)),
    "state breaks the mirror": ((True, 1.3, "x", "left", False), (True, False)),
    "mirrored state": ((True, [1.3, 0.2, 0.2, 1.3], "x", "ends", False), (True, True)),
    "field kept breaks the parity": ((True, 1.3, "x", None, True), (False, True)),
    "field along y breaks the parity": ((True, 1.3, "y", None, False), (False, True)),
}


@pytest.mark.parametrize("name", SYMMETRIES)
def test_symmetries_are_found_and_change_nothing(monkeypatch, name):
    """What holds is found, what is broken is not used, and the answer is that of dense matrices with and without sectors."""
    (mirrored, omega, axis, initial, kept), expected = SYMMETRIES[name]
    n, rng = 4, np.random.default_rng(22)
    couplings = dense.random_couplings(rng, n)
    couplings = couplings + couplings[::-1, ::-1] if mirrored else couplings
    if initial is not None:
        state = np.zeros(2**n)
        state[[0b1000] if initial == "left" else [0b1000, 0b0001]] = 1.0 if initial == "left" else np.sqrt(0.5)
        initial = state
    system = systems.spin(name, 1.1, couplings, 0.4, np.asarray(omega), axis=axis, initial=initial, kept=kept)
    found = jb.Spectral().prepare(system.battery, system.protocol)
    assert (found.parity, found.reflection) == expected
    system.check(jb.charge(system.battery, system.protocol, systems.TIMES, solver=jb.Spectral()), systems.TIMES)
    if name == "both":
        monkeypatch.setattr(spectral, "_has_parity", lambda problem: False)
        system.check(jb.charge(system.battery, system.protocol, systems.TIMES, solver=jb.Spectral()), systems.TIMES)
        monkeypatch.setattr(spectral, "_has_reflection", lambda problem: False)
        system.check(jb.charge(system.battery, system.protocol, systems.TIMES, solver=jb.Spectral()), systems.TIMES)


def test_reflection_of_imaginary_strings_is_not_assumed():
    """X_0 Y_1 becomes Y_0 X_1 in the mirror: of Dzyaloshinskii-Moriya chains it changes the sign."""
    system = PAULIS["Dzyaloshinskii-Moriya"]
    assert not jb.Spectral().prepare(system.battery, system.protocol).reflection


# --- Collective


def symmetric_states(n):
    """(2^n, n + 1) isometry: column k is the even superposition of all states with k spins down."""
    down = np.array([bin(b).count("1") for b in range(2**n)])
    columns = (down[:, None] == np.arange(n + 1)).astype(float)
    return columns / np.linalg.norm(columns, axis=0)


@pytest.mark.parametrize("axis", "xyz")
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("interacting", [False, True])
def test_dicke_ladder_is_the_symmetric_space(axis, kept, interacting):
    """H and H_0 - H on the ladder are the dense ones between Dicke states, up to a constant; so are the bounds."""
    n, factors = 5, (0.3, -0.8, 1.2)
    couplings = 0.7 * (np.ones((n, n)) - np.eye(n))
    battery = jb.SpinBattery(
        1.1, couplings, factors, initial_state="up", field_while_charging=kept, interactions_while_charging=interacting
    )
    problem = jb.Collective().prepare(battery, jb.ConstantField(1.6, axis))
    generator, gain, bounds = collective.CollectiveSystem(problem).stretch(jnp.asarray(1.6))
    assert bounds == generator.bounds()
    h = dense.charging_hamiltonian(
        1.1, couplings, factors, 1.6, axis=axis, field_while_charging=kept, interactions_while_charging=interacting
    )
    v = symmetric_states(n)
    for ladder, matrix in ((generator, h), (gain, dense.hamiltonian_0(1.1, couplings, factors) - h)):
        expected = v.T @ matrix @ v
        rounding = tol(float, n * np.linalg.norm(matrix, 2))
        one = np.eye(n + 1)
        columns = [np.asarray(ladder.apply(jnp.stack([one[k], 0 * one[k]]))) for k in range(n + 1)]
        found = np.stack([column[0] + 1j * column[1] for column in columns], axis=1)
        constant = (expected - found)[0, 0]
        np.testing.assert_allclose(expected - found, constant * np.eye(n + 1), rtol=0, atol=rounding)
        center, radius = ladder.bounds()
        levels = np.linalg.eigvalsh(found)
        assert center - radius - rounding <= levels[0]
        assert levels[-1] <= center + radius + rounding
        rng = np.random.default_rng(23)
        psi = rng.normal(size=n + 1) + 1j * rng.normal(size=n + 1)
        psi /= np.linalg.norm(psi)
        value, magnetization = ladder.measure(jnp.stack([psi.real, psi.imag]))
        np.testing.assert_allclose(value, (psi.conj() @ found @ psi).real, rtol=0, atol=rounding)
        spins = [dense.expectation(dense.field_term(1 / n, n, letter), (v @ psi)[None])[0] for letter in "xyz"]
        np.testing.assert_allclose(magnetization, spins, rtol=0, atol=tol(float, n))


@pytest.mark.parametrize("propagator", [jb.Krylov(), jb.Krylov(dim=5), jb.Chebyshev()], ids=str)
def test_dicke_ladder_equals_the_full_space(propagator):
    """Up start, XYZ, pieces along y, field kept, with every propagator."""
    couplings = 0.4 * (np.ones((5, 5)) - np.eye(5))
    halves = np.array([1.25, 1.25])
    system = systems.spin(
        "ladder", 0.9, couplings, (0.3, -0.8, 1.2), np.array([1.1, -0.4]), durations=halves, axis="y", initial="up", kept=True
    )
    system.check(jb.charge(system.battery, system.protocol, systems.TIMES, solver=jb.Collective(propagator)), systems.TIMES)


def test_ten_thousand_spins():
    """N = 10,000 at p = 0, Kac-normalized: as the mean field up to order 1 / N of the work, and inside the rigorous bound."""
    n, omega, times = 10_000, 2.0, np.linspace(0, 1.0, 5)
    curve = jb.charge(jb.SpinBattery(1.0, jb.power_law(n, 1 / n, 0.0)), jb.ConstantField(omega), times)
    assert curve.info.method.startswith("Collective")
    assert curve.info.error <= 8e-10 * n * (1 + omega)
    classical = jb.theory.mean_field_work(n, 1.0, 1 / n, 0.0, omega, times)
    # The spins spread by sqrt(1 / N) about the mean; at times of order one this moves W / N by a few times 1 / N.
    assert np.max(np.abs(curve.work - classical)) <= 10
    assert np.max(np.abs(curve.work - classical)) > 0.01  # but it is not the mean field that was computed
    assert np.all(curve.work <= jb.theory.work_bound(n, 1.0, omega, times) + curve.info.error)


def test_two_thousand_spins():
    """XXX exactly; and Ising at g = 1 for each pair, where the spins are trapped and only tremble:

    W = sum_i 4 omega^2 / D_i sin^2(D_i t / 2), D = 2 g (N - 1). About N omega^2 / D^2 = 2e-3 spins are turned, and that is the
    relative size of the next order; 10 of it is allowed.
    """
    n, omega, cost = 2000, 4.0, 2 * 1999
    couplings = np.ones((n, n)) - np.eye(n)
    times = np.linspace(0, 1.0, 7) * 4 * np.pi / cost
    both = [jb.SpinBattery(1.0, couplings, alpha) for alpha in (1.0, 0.0)]
    same, trapped = (jb.charge(battery, jb.ConstantField(omega), times, solver=jb.Collective()) for battery in both)
    exact = jb.theory.independent_work(n, 1.0, omega, times)
    assert np.max(np.abs(same.work - exact)) <= same.info.error + tol(float, 4 * n)
    # Of the field's energy it takes 2 B for each spin that is turned.
    expected = n * (4 * omega**2 / cost + 8 * omega**2 / cost**2) * np.sin(cost * times / 2) ** 2
    assert np.max(np.abs(trapped.work - expected)) <= 10 * n * omega**2 / cost**2 * np.max(expected) + trapped.info.error
    assert trapped.info.error <= 1e-3 * np.max(expected)


# --- which solver is taken


def test_default_solver():
    """By what is known of the battery; the method is told in the result."""
    field, short = jb.ConstantField(1.0), np.array([0.0, 0.1])
    small = jb.SpinBattery(1.0, jb.nearest_neighbor(3, 1.0))
    method = functools.partial(lambda *a: jb.charging.default_solver(*a))
    assert isinstance(method(small, field, short[-1]), jb.Spectral)
    assert isinstance(method(jb.SpinBattery(1.0, jb.power_law(4, 1.0, 0.0)), field, 0.1), jb.Spectral)
    assert isinstance(method(jb.SpinBattery(1.0, jb.power_law(5, 1.0, 0.0)), field, 0.1), jb.Collective)
    assert isinstance(method(jb.SpinBattery(1.0, jb.power_law(5, 1.0, 1.0)), field, 0.1), jb.StateVector)
    assert isinstance(method(jb.SpinBattery(1.0, jb.power_law(5, 1.0, 1.0)), field, 1e6), jb.Spectral)
    assert isinstance(method(jb.SpinBattery(1.0, jb.power_law(13, 1.0, 1.0)), field, 1e6), jb.StateVector)
    assert jb.charge(small, field, short).info.method == "Spectral(tol=0.001)"
