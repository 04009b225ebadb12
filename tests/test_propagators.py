"""Every propagator against dense diagonalization: each state of a segment, long evolutions, and the error estimates."""

import dataclasses
import functools
from typing import NamedTuple

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from conftest import tol

import jaxbatt as jb

PROPAGATORS = [jb.Chebyshev(), jb.Krylov(dim=12), jb.Taylor()]
"""Twelve vectors do not span the 16 dimensions of four spins, so that the residual of Krylov has something to judge."""
BESSEL_ZEROS = [2.404825557695773, 3.8317059702075125, 5.135622301840683, 7.015586669815619]
"""J_0, J_1, J_2, J_1 again: a series that stops at the first small coefficient stops too early here."""


def each(propagators=PROPAGATORS):
    return pytest.mark.parametrize("propagator", propagators, ids=lambda p: type(p).__name__)


class Dense(NamedTuple):
    """A Hermitian matrix (real part, imaginary part) on one device; the imaginary part of one that is told to be real is 0."""

    matrix: jax.Array
    is_real: bool = False
    pieces: int = 1

    def apply(self, rows):
        if self.is_real or len(rows) == 1:
            return rows @ self.matrix[0].T
        (x, y), (a, b) = rows, self.matrix
        return jnp.stack([a @ x - b @ y, a @ y + b @ x])


@functools.cache
def advance(propagator, is_real=False):
    """``advance`` for a stack of dense Hamiltonians (real part, imaginary part): one compilation for all of a shape and dtype."""

    def run(matrix, center, radius, rows, offsets, limit, rate):
        return propagator.advance(Dense(matrix, is_real), center, radius, rows, offsets, limit, rate)

    return jax.jit(jax.vmap(run))


class Run(NamedTuple):
    """How a stack of evolutions ended."""

    final: np.ndarray
    errors: np.ndarray
    excess: float
    applications: int


def distances(states, expected):
    """2-norm of the difference, up to the global phase that a segment leaves out; (..., d) arrays."""
    overlap = np.sum(expected.conj() * states, axis=-1, keepdims=True)
    return np.linalg.norm(states - overlap / np.abs(overlap) * expected, axis=-1)


def evolve(propagator, hamiltonians, initial, time, *, dtype=float, looseness=1.0, is_real=False):
    """Segment after segment to ``time`` for a stack (S, d, d): final states, errors as estimated, worst excess, applications.

    The excess is by how much the true error of any state in any segment passes its estimate (and the judge's rounding).
    """
    levels, vectors = np.linalg.eigh(hamiltonians)
    center, radius = (levels[:, 0] + levels[:, -1]) / 2, looseness * (levels[:, -1] - levels[:, 0]) / 2
    matrix = np.stack([hamiltonians.real, hamiltonians.imag], 1).astype(dtype)
    rows = np.stack([initial.real, initial.imag], 1).astype(dtype)
    weights = np.einsum("sdk,sd->sk", vectors.conj(), initial)
    reached, errors, excess, applications = np.zeros(len(levels)), np.zeros(len(levels)), -np.inf, 0
    rate = np.full(len(levels), propagator.tol / max(time, 1e-300)).astype(dtype)
    center, radius = center.astype(dtype), radius.astype(dtype)
    rounding = tol(float, np.abs(levels).max() * time + levels.shape[1])
    for _ in range(5000):
        limit = (time - reached).astype(dtype)
        offsets = limit[:, None] * np.array([0.0, 0.0, 0.01, 0.3, 0.31, 1.0], dtype)
        segment = advance(propagator, is_real)(matrix, center, radius, rows, offsets, limit, rate)
        states, reach = np.asarray(segment.states), np.asarray(segment.reach)
        assert states.dtype == dtype
        assert np.all(reach <= limit)
        at = np.append(offsets, reach[:, None], axis=1)
        phases = np.exp(-1j * levels[:, None] * (reached[:, None] + at)[:, :, None])
        exact = (phases * weights[:, None]) @ vectors.swapaxes(1, 2)
        estimated = errors + np.asarray(segment.error, float)
        wrong = distances(states[:, 0] + 1j * states[:, 1], exact) - estimated[:, None] - rounding
        excess = max(excess, np.max(wrong, where=at <= reach[:, None], initial=-np.inf))
        reached, errors, applications = reached + reach.astype(float), estimated, applications + int(segment.applications[0])
        rows = states[:, :, -1]
        if np.all(limit - reach <= 0):
            return Run(rows[:, 0] + 1j * rows[:, 1], errors, excess, applications)
    raise AssertionError(f"{propagator} took 5000 segments and reached {reached} of {time}")


def hamiltonians_of_four_spins():
    """Nearest neighbor, long range, a random graph of both signs, and imaginary ones (Y field, Dzyaloshinskii-Moriya)."""
    rng, n = np.random.default_rng(11), 4
    graph = np.triu(rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.6), 1)
    moriya = systems.dense_terms(n, systems.dzyaloshinskii_moriya(n, 0.8))
    nn, lr = np.asarray(jb.nearest_neighbor(n, 1.0)), np.asarray(jb.power_law(n, 1.0, 1.0))
    real = [
        dense.charging_hamiltonian(1.0, nn, 0.5, 4.0),
        dense.charging_hamiltonian(1.0, lr, 0.0, 2.0, field_while_charging=True),
        dense.charging_hamiltonian(0.4, graph + graph.T, (0.3, -0.7, 1.1), rng.normal(size=n)),
        5.0 * np.eye(2**n, dtype=complex),
        np.zeros((2**n, 2**n), complex),
        dense.field_term(1.0, n, "z"),
    ]
    imaginary = [
        dense.charging_hamiltonian(1.0, lr, 0.2, 1.5, axis="y"),
        dense.charging_hamiltonian(1.0, nn, 0.2, 0.7) + moriya,
    ]
    return np.stack(real), np.stack(real + imaginary)


REAL, ALL = hamiltonians_of_four_spins()


def starts(hamiltonians):
    """All down, and random ones."""
    rng = np.random.default_rng(12)
    return np.stack([dense.all_down(4) if i % 2 else systems.random_state(rng, 4) for i in range(len(hamiltonians))])


def certify(propagator, run):
    """The estimate bounds the true error everywhere, the tolerance bounds the estimate, and the norm is kept to it."""
    assert run.excess <= 0
    assert np.all(run.errors <= propagator.tol)
    assert np.all(np.abs(np.linalg.norm(run.final, axis=-1) - 1) <= run.errors + tol(float, 1))


@each()
@pytest.mark.parametrize("time", [0.0, 1e-9, 0.7, 20.0, 200.0])
def test_states(propagator, time):
    """From nothing to hundreds of 1/B: one segment and many."""
    certify(propagator, evolve(propagator, ALL, starts(ALL), time))


@each()
def test_states_with_loose_bounds(propagator):
    """An interval twice as long as the spectrum costs more and spoils nothing."""
    certify(propagator, evolve(propagator, ALL, starts(ALL), 20.0, looseness=2.0))


@each()
@pytest.mark.parametrize("time", [0.7, 20.0])
@pytest.mark.parametrize("factor", [1, -1j], ids=["real and complex starts", "imaginary and complex starts"])
def test_states_under_a_real_hamiltonian(propagator, time, factor):
    """Real and imaginary part of the state may evolve one after the other."""
    certify(propagator, evolve(propagator, REAL, factor * starts(REAL), time, is_real=True))


@each([jb.Chebyshev(), jb.Taylor()])
def test_a_part_that_is_zero_costs_nothing(propagator):
    """The imaginary part of a real state under a real Hamiltonian; applications are counted where they happen."""
    counted = []

    class Counting(Dense):
        def apply(self, rows):
            jax.debug.callback(lambda: counted.append(len(rows)))
            return super().apply(rows)

    @jax.jit
    def states(rows):
        operator, one = Counting(jnp.stack([REAL[0].real, REAL[0].imag]), True), jnp.ones(())
        return propagator.advance(operator, 0 * one, 40 * one, rows, jnp.zeros(1), 0.05 * one, 1e-9 * one).states

    def applications(initial):
        counted.clear()
        states(jnp.stack([initial.real, initial.imag])).block_until_ready()
        jax.effects_barrier()
        assert set(counted) == {1}
        return len(counted)

    real, complex_state = starts(REAL)[1], starts(REAL)[0]
    assert 0 < 2 * applications(real) == applications(complex_state)


@each()
@pytest.mark.parametrize("time", [0.0, 20.0])
def test_one_real_row(propagator, time):
    """A real state under a real Hamiltonian, given as one row."""
    rng = np.random.default_rng(13)
    initial = rng.normal(size=(len(REAL), 16)).astype(complex)
    initial /= np.linalg.norm(initial, axis=1, keepdims=True)
    levels = np.linalg.eigvalsh(REAL)
    center, radius = (levels[:, 0] + levels[:, -1]) / 2, (levels[:, -1] - levels[:, 0]) / 2
    matrix = np.stack([REAL.real, REAL.imag], 1)
    limit = np.full(len(REAL), time)
    offsets = np.linspace(0, time, 6) * np.ones((len(REAL), 1))
    rate = np.full(len(REAL), propagator.tol / max(time, 1.0))
    segment = advance(propagator)(matrix, center, radius, initial.real[:, None], offsets, limit, rate)
    for s, h in enumerate(REAL):
        inside = np.append(offsets[s] <= segment.reach[s], True)
        assert inside.sum() >= 2
        exact = dense.evolve(h, initial[s], np.append(offsets[s], segment.reach[s])[inside])
        psi = np.asarray(segment.states[s, 0] + 1j * segment.states[s, 1])[inside]
        assert np.max(distances(psi, exact)) <= segment.error[s] + tol(float, np.abs(levels[s]).max() * time + 16)
        assert segment.error[s] <= propagator.tol


@each()
def test_eigenstates(propagator):
    """An eigenstate, and a sum of two, span an invariant space of the Krylov basis; nothing may be divided by zero."""
    stack, initial = [], []
    for h in ALL:
        vectors = np.linalg.eigh(h)[1]
        stack += [h, h]
        initial += [vectors[:, 3], (vectors[:, 0] + 1j * vectors[:, 9]) / np.sqrt(2)]
    certify(propagator, evolve(propagator, np.stack(stack), np.stack(initial), 20.0))


@pytest.mark.parametrize("time", [0.7, 200.0])
def test_krylov_with_more_vectors_than_dimensions(time):
    """The default of 30 vectors in 16 dimensions: the recurrence runs into an invariant space, and its vectors decay."""
    propagator, initial = jb.Krylov(), starts(ALL)
    initial[1] = np.linalg.eigh(ALL[1])[1][:, 5]
    certify(propagator, evolve(propagator, ALL, initial, time))


@each()
def test_bessel_zeros(propagator):
    """One spin, ||H|| = 1: the argument radius * t is t. Also half and double of it by a scaled H."""
    field = dense.field_term(1.0, 1, "x") * 0.6 + dense.field_term(1.0, 1, "z") * 0.8
    stack = np.stack([field, dense.field_term(1.0, 1, "x"), field + 2.0 * np.eye(2), 2 * field])
    initial = np.stack([dense.all_down(1)] * 4)
    for zero in BESSEL_ZEROS:
        certify(propagator, evolve(propagator, stack, initial, zero))


@each()
def test_other_tolerances(propagator):
    """A loose tolerance and a tight one are both met, and the loose one costs fewer applications of H."""
    loose, tight = dataclasses.replace(propagator, tol=1e-5), dataclasses.replace(propagator, tol=1e-11)
    runs = [evolve(one, ALL, starts(ALL), 6.0) for one in (loose, tight)]
    certify(loose, runs[0])
    certify(tight, runs[1])
    assert 0 < runs[0].applications < runs[1].applications


@each([jb.Chebyshev(1e-4), jb.Krylov(1e-4, dim=12), jb.Taylor(1e-4)])
@pytest.mark.parametrize("time", [0.7, 20.0])
def test_single_precision(propagator, time):
    """float32 rows stay float32, and the estimate knows of the coarser rounding."""
    run = evolve(propagator, ALL, starts(ALL), time, dtype=np.float32)
    assert run.excess <= 0
    assert np.all(run.errors <= 1e-2)


@each([jb.Chebyshev(1e-9), jb.Krylov(1e-9, dim=12), jb.Taylor(1e-9)])
def test_single_precision_admits_what_it_cannot_do(propagator):
    """1e-9 is beyond float32: the estimate says so instead of repeating the tolerance."""
    run = evolve(propagator, ALL, starts(ALL), 0.7, dtype=np.float32)
    assert run.excess <= 0
    assert np.all(run.errors[:3] > 1e-9)


# --- through the state-vector solver


@each()
def test_long_times_through_the_solver(propagator):
    """Work at hundreds of 1/B, nearest neighbor, long range and a random graph in one compilation; t = 0 and repeated times."""
    rng, times = np.random.default_rng(14), np.array([0.0, 0.0, 0.1, 7.0, 7.0, 150.0, 200.0])
    chains = [jb.nearest_neighbor(4, 0.7), jb.power_law(4, 0.8, 1.0), dense.random_couplings(rng, 4, -0.5, 1.0)]
    for couplings in chains:
        one = systems.spin("chain", rng.uniform(0.5, 1.5, 4), np.asarray(couplings), (0.4, 0.4, 1.0), rng.uniform(0.5, 1.5, 4))
        curve = systems.traced_charge(jb.StateVector(propagator))(*systems.numbers(one, times))
        one.check(curve, times)
        assert curve.info.applications > 1000


@pytest.mark.parametrize(("propagator", "window"), [(jb.Chebyshev(), 1), (jb.Krylov(dim=5), 4)], ids=str)
def test_windows(propagator, window):
    """Where the memory holds few states, the times are served in windows: the same record, repeated times and edges included."""
    rng = np.random.default_rng(15)
    halves = np.array([1.0, 1.0])
    one = systems.spin("pieces", 1.0, dense.random_couplings(rng, 3), 0.3, rng.normal(size=(2, 3)), durations=halves)
    times = np.array([0.0, 0.2, 0.2, 0.9, 1.0, 1.0, 1.1, 1.7, 2.0])
    carry, record = systems.sampler(jb.StateVector(propagator), one, window)(times)
    assert carry.valid
    rounding = one.rounding(times)
    np.testing.assert_allclose(record.work, one.work(times), rtol=0, atol=float(carry.error) + rounding)
    np.testing.assert_allclose(record.magnetization, one.magnetization(times), rtol=0, atol=2e-10 + rounding)


@each()
def test_real_start(propagator):
    """A real state and a real Hamiltonian begin with one row; a complex start or a Y field must stay complex."""
    chains, batteries = systems.spin_chains(), systems.pauli_batteries()
    by_name = {s.name: s for s in chains + batteries}
    for name, rows in (("random XYZ", 1), ("field along y", 2), ("complex start", 2), ("Dzyaloshinskii-Moriya", 2)):
        one = by_name[name]
        solver = jb.StateVector(propagator)
        assert len(solver.evolve(solver.prepare(one.battery, one.protocol)).system.initial_rows()) == rows
    one = by_name["random XYZ"]
    run = systems.sampler(jb.StateVector(propagator), one)
    for times in (systems.TIMES, 60 * systems.TIMES):  # one segment, and complex ones after it
        carry, record = run(times)
        assert carry.valid
        np.testing.assert_allclose(record.work, one.work(times), rtol=0, atol=float(carry.error) + one.rounding(times))


@each()
def test_thirteen_spins(propagator):
    """Sums of vectors by columns and several groups of the Walsh transform at their real size.

    The spins fall into small clusters, so that the exact answer is a sum of dense ones.
    """
    times = np.array([0.0, 0.4, 1.5])
    field, couplings, factors, omega, work, magnetization = systems.clusters(np.random.default_rng(16), [3, 4, 1, 3, 2], times)
    battery = jb.SpinBattery(field, couplings, factors, initial_state="down")
    curve = jb.charge(battery, jb.ConstantField(omega), times, solver=jb.StateVector(propagator))
    size = np.abs(field).sum() + np.abs(omega).sum() + couplings.sum()
    rounding = tol(float, size * (1 + size * times[-1]))
    assert np.max(np.abs(curve.work - work)) <= curve.info.error + rounding
    assert curve.info.error <= 8e-10 * size
    np.testing.assert_allclose(curve.magnetization, magnetization, rtol=0, atol=2e-10 + rounding)


def test_norm_and_energy_are_conserved():
    """The state that is carried on keeps its norm and <H>, and is the right one, while the field is constant."""
    rng = np.random.default_rng(17)
    one = systems.spin("chain", 1.0, dense.random_couplings(rng, 3), 0.3, 1.4, initial=systems.random_state(rng, 3))
    h, before = one.hamiltonians[0], dense.expectation(one.hamiltonians[0], one.initial[None])[0]
    run = systems.sampler(jb.StateVector(), one)
    for time in (0.5, 9.0, 400.0):
        carry, _ = run(np.array([time]))
        rows = np.asarray(carry.state.rows)
        psi, lost = rows[0] + 1j * rows[1], float(carry.state.deviation)
        assert lost <= 1e-10
        assert abs(np.linalg.norm(psi) - 1) <= lost + tol(float, 8)
        assert abs(dense.expectation(h, psi[None])[0] - before) <= 2 * one.size * lost + one.rounding([0.0])
        assert distances(psi, one.states([time])[0]) <= lost + tol(float, one.size * time)


def test_an_impossible_tolerance_is_admitted():
    """Rounding alone is above 1e-15: a plain call refuses, a compiled one marks its result and gives NaN."""
    one = systems.spin("one spin", 1.0, np.zeros((1, 1)), 0.0, 1.3)
    solver = jb.StateVector(jb.Taylor(tol=1e-15))
    with pytest.raises(ValueError, match=r"did not meet its tolerance.*shorten the times"):
        jb.charge(one.battery, one.protocol, systems.TIMES, solver=solver)
    curve = jax.jit(lambda b: jb.charge(b, one.protocol, systems.TIMES, solver=solver))(one.battery)
    assert not curve.info.valid
    assert np.all(np.isnan(curve.work))
    assert np.all(np.isnan(curve.power))
    assert np.all(np.isnan(curve.magnetization))
    assert np.all(np.isfinite(curve.times))
