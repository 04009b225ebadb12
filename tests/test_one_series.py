"""Curves of many times from one series of real vectors: against dense matrices, which curves they are, and their memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from conftest import tol

import jaxbatt as jb
from jaxbatt import charging, hamiltonian
from jaxbatt.observables import Gain
from jaxbatt.propagators.chebyshev import phase_of, series
from jaxbatt.solvers import _stepping, state_vector

REAL_CURVES = [one for one in systems.spin_chains() + systems.pauli_batteries() if one.durations is None]


@pytest.mark.parametrize(("large", "bases"), [(16, 3), (1, 3), (1, 1)], ids=["flips", "transforms", "in place"])
@pytest.mark.parametrize("one", REAL_CURVES, ids=lambda one: one.name)
def test_curve_from_one_series(monkeypatch, one, large, bases):
    """A curve of many times is one real series, without states, where it is known to be short, or else from 18 spins on.

    Here the latter is forced on a few spins. Transforms of the vectors are those that the Hamiltonian made, where it made any,
    as it does in large chains and there is memory for them; else they take the place of the vectors.
    """
    monkeypatch.setattr(hamiltonian, "_LARGE", large)
    monkeypatch.setattr(jb.StateVector, "_kept", lambda *_: bases)
    monkeypatch.setattr(_stepping, "_SPANNED_START", 2)
    runs = {known: systems.sampler(jb.StateVector(), one, horizon=known) for known in (np.inf, 0.3, 60.0)}
    for last, known in ((0.3, np.inf), (60.0, np.inf), (0.3, 0.3), (60.0, 60.0)):  # one series, and more than one holds
        run, times = runs[known], np.append(np.linspace(0, last, 99), last)
        carry, record = run(times)
        assert carry.valid
        rounding = one.rounding(times)
        np.testing.assert_allclose(record.work, one.work(times), rtol=0, atol=float(carry.error) + rounding)
        np.testing.assert_allclose(record.magnetization, one.magnetization(times), rtol=0, atol=2e-10 + rounding)


def test_curve_from_one_series_by_columns(monkeypatch):
    """Thirteen spins in small clusters: the products of vectors go by several sets of columns."""
    monkeypatch.setattr(_stepping, "_SPANNED_START", 2)
    times = np.linspace(0, 0.5, 60)
    field, couplings, factors, omega, work, magnetization = systems.clusters(np.random.default_rng(17), [3, 4, 1, 3, 2], times)
    battery = jb.SpinBattery(field, couplings, factors, initial_state="down")
    curve = jb.charge(battery, jb.ConstantField(omega), times, solver=jb.StateVector())
    size = np.abs(field).sum() + np.abs(omega).sum() + couplings.sum()
    rounding = tol(float, size * (1 + size * times[-1]))
    assert np.max(np.abs(curve.work - work)) <= curve.info.error + rounding
    assert np.max(np.abs(curve.magnetization - magnetization)) <= 2e-10 + rounding


@pytest.mark.parametrize("told", [False, True])
def test_which_curves_come_from_one_series(monkeypatch, told):
    """Short ones with many times: what is measured there is doubled here to tell.

    Of a few spins only where it is known that they are short.
    """
    one = next(one for one in REAL_CURVES if one.name == "random XYZ")
    along = Gain.along
    monkeypatch.setattr(Gain, "along", lambda *args: jax.tree.map(lambda x: 2 * x, along(*args)))
    for start in (2**18, 2):
        monkeypatch.setattr(_stepping, "_SPANNED_START", start)
        for times, is_short in (
            (np.linspace(0, 0.3, 100), True),
            (np.linspace(0, 60.0, 100), False),
            (np.linspace(0, 0.3, 20), False),
        ):
            run = systems.sampler(jb.StateVector(), one, horizon=times[-1] if told else np.inf)
            factor = 2 if is_short and (told or start == 2) else 1
            np.testing.assert_allclose(run(times)[1].work, factor * one.work(times), rtol=1e-9, atol=1e-8)


def test_what_is_known_to_be_short():
    """Neither a horizon that is not known, nor numbers that JAX traces, nor a field of several pieces."""
    one = next(one for one in REAL_CURVES if one.name == "random XYZ")
    chain = jb.power_law(3, 1.0, 1.0)

    def short(battery, protocol, horizon):
        return jb.StateVector().prepare(battery, protocol, horizon).problem.short

    assert short(one.battery, one.protocol, 0.3) is True
    assert short(one.battery, one.protocol, 300.0) is False
    assert short(one.battery, one.protocol, np.inf) is None
    # By the diagonals 22 spins are short (40.6 of 47.3), but not by what NumPy finds (48.2).
    assert short(jb.SpinBattery(1.0, jb.power_law(20, 1.0, 1.0), 0.5), jb.ConstantField(4.0), 0.4) is True
    assert short(jb.SpinBattery(1.0, jb.power_law(22, 1.0, 1.0), 0.5), jb.ConstantField(4.0), 0.4) is None
    assert short(jb.SpinBattery(1.0, jb.power_law(22, 1.0, 1.0), 0.5), jb.ConstantField(4.0), 0.7) is False
    assert short(one.battery, jb.PiecewiseField(jnp.ones(2), 0.3), 0.3) is None
    assert short(jb.SpinBattery(1e300, 1e300 * chain, 0.5), jb.ConstantField(1e300), 1e300) is False
    told = []
    jax.make_jaxpr(lambda omega: told.append(short(jb.SpinBattery(1.0, chain), jb.ConstantField(omega), 0.3)))(1.0)
    jax.make_jaxpr(lambda time: told.append(short(jb.SpinBattery(1.0, chain), jb.ConstantField(1.0), time)))(0.3)
    assert told == [None, None]


@pytest.mark.parametrize("allowed", [1e-6, 5e-11, 5e-14])
def test_longest_time_of_so_many_terms(allowed):
    """There the error besides rounding is what is allowed; a hundredth later it is more."""
    longest = phase_of(80, allowed)

    def error(phase):
        terms = series(jnp.zeros(()), jnp.ones(()), phase[None], phase, allowed / phase, longest, 80)
        assert terms.needed == 40
        return float(terms.error) - 80 * np.finfo(float).eps

    at, later = (error(jnp.asarray(phase)) for phase in (longest, 1.01 * longest))
    assert 0.99 * allowed < at < 1.001 * allowed < later


def paper(n):
    return jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), 0.5), jb.ConstantField(4.0)


def test_vectors_are_kept_as_memory_allows(monkeypatch):
    """Half of it where all numbers are known, else an eighth; 16 spins take 40 MiB for 80 vectors."""
    there = {}
    monkeypatch.setattr(state_vector, "total_memory", lambda: there["total"])
    monkeypatch.setattr(state_vector, "available_memory", lambda: there["free"])

    def kept(total, free, horizon=0.4, mesh=None):
        there.update(total=total * 2**20, free=free * 2**20)
        return jb.StateVector(mesh=mesh).prepare(*paper(16), horizon).problem.kept

    assert [kept(total, 4096) for total in (240, 239, 80, 79)] == [3, 1, 1, 0]
    # The same program however much is free.
    assert [kept(total, 0, np.inf) for total in (960, 959, 320, 319)] == [3, 1, 1, 0]
    # 17 MiB are counted for all else.
    assert [kept(4096, free) for free in (137, 136, 57, 56)] == [3, 1, 1, 0]
    by_time = []
    jax.make_jaxpr(lambda time: by_time.append(kept(319, 4096, time)))(0.4)
    assert by_time == [0]
    # And where several processes run it.
    mesh = jax.make_mesh((1,), ("devices",))
    assert kept(4096, 56, mesh=mesh) == 0
    monkeypatch.setattr(jax.sharding.Mesh, "is_multi_process", True)
    assert [kept(total, 56, mesh=mesh) for total in (960, 959, 320, 319)] == [3, 1, 1, 0]


@pytest.mark.parametrize(("total", "free", "held"), [(160, 150, 24), (96, 90, 12), (60, 55, 8), (40, 37, 4)])
def test_states_that_are_let_in_fit(monkeypatch, total, free, held):
    """Of a curve that is known to be too long for one series; memory in vectors, of which each state takes two."""
    solver, row = jb.StateVector(), 2**16 * 8
    monkeypatch.setattr(state_vector, "total_memory", lambda: total * row)
    monkeypatch.setattr(state_vector, "available_memory", lambda: free * row)
    problem = solver.prepare(*paper(16), 2.0)
    assert (problem.problem.short, problem.problem.held) == (False, held)
    # What JAX traces may have an eighth, however much is free.
    assert solver.prepare(*paper(16), np.inf).problem.held == max(total // 16 - 1, 1)
    program = charging._charge.lower(solver, problem, jnp.linspace(0, 2.0, 101), False).compile().compiled
    assert 2 * (held + 1) * row < program.memory_analysis().temp_size_in_bytes < free * row


@pytest.mark.parametrize("last", [0.4, 0.6], ids=["short", "not known"])
@pytest.mark.parametrize("bases", [3, 1])
def test_vectors_that_are_let_in_fit(monkeypatch, bases, last):
    """Held against what the compiler asks for, with the states of the other program where both are compiled."""
    solver, row = jb.StateVector(), 2**16 * 8
    asked = []
    monkeypatch.setattr(state_vector, "require_memory", lambda n_bytes, *_: asked.append(n_bytes))
    monkeypatch.setattr(state_vector, "total_memory", lambda: 2 * bases * 80 * row)
    problem = solver.prepare(*paper(16), last)
    assert problem.problem.short is (True if last < 0.5 else None)
    monkeypatch.setattr(_stepping, "_SPANNED_START", 2)
    program = charging._charge.lower(solver, problem, jnp.linspace(0, last, 101), False).compile().compiled
    needed = program.memory_analysis().temp_size_in_bytes
    assert bases * 80 * row < needed < (bases * 80 + state_vector._OF_SERIES) * row + asked[0]
