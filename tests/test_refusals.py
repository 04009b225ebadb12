"""Bad input: one sentence with the offending value and the remedy, as a ValueError, before any long work."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbatt as jb
from jaxbatt import _checks, charging

GOOD = jb.nearest_neighbor(3, 1.0)
BATTERY = jb.SpinBattery(1.0, GOOD)
FIELD = jb.ConstantField(1.0)
UNIFORM = jb.power_law(3, 1.0, 0.0)
Z = jb.PauliSum.from_terms(3, [("Z", (0,), 1.0)])
TWO = jb.ConstantField(np.ones(2))
NAN, INF = float("nan"), float("inf")


def couplings(i, j, value, mirror=None):
    matrix = np.array(GOOD)
    matrix[i, j], matrix[j, i] = value, value if mirror is None else mirror
    return matrix


def charge(times, battery=BATTERY, field=FIELD, solver=None):
    return jb.charge(battery, field, times, solver=solver)


def big(n, field=FIELD, solver=None):
    return jb.charge(jb.SpinBattery(1.0, jb.nearest_neighbor(n, 1.0)), field, [0.0, 1.0], solver=solver)


def collective(battery=BATTERY, field=FIELD):
    return jb.charge(battery, field, [0.0, 1.0], solver=jb.Collective())


def terms(*term):
    return jb.PauliSum.from_terms(3, [("X", (0,), 1.0), term])


REFUSALS = [
    # couplings
    ("asymmetric", lambda: jb.SpinBattery(1.0, couplings(0, 2, 0.5, 0.25)), ["symmetric", "0.5", "0.25", "(g + g.T) / 2"]),
    ("not square", lambda: jb.SpinBattery(1.0, np.ones((2, 3))), ["(N, N)", "(2, 3)", "nearest_neighbor"]),
    ("a vector of couplings", lambda: jb.SpinBattery(1.0, np.ones(3)), ["(N, N)", "(3,)"]),
    ("diagonal", lambda: jb.SpinBattery(1.0, couplings(1, 1, 0.7)), ["zero diagonal", "couplings[1, 1] = 0.7"]),
    ("NaN coupling", lambda: jb.SpinBattery(1.0, couplings(0, 1, NAN)), ["couplings[0, 1] = nan", "finite"]),
    ("infinite coupling", lambda: jb.SpinBattery(1.0, couplings(0, 1, INF)), ["couplings[0, 1] = inf", "finite"]),
    ("complex couplings", lambda: jb.SpinBattery(1.0, 1j * np.asarray(GOOD)), ["real", "complex128"]),
    ("ragged couplings", lambda: jb.SpinBattery(1.0, [[0, 1], [1]]), ["`couplings`", "equal length", "[[0, 1], [1]]"]),
    # what would not start in the ground state
    ("alpha > 1", lambda: jb.SpinBattery(1.0, GOOD, 1.5), ["1.5", "ground state", 'initial_state="down"']),
    ("alpha < -1", lambda: jb.SpinBattery(1.0, GOOD, -1.25), ["-1.25", "ground state", 'initial_state="down"']),
    ("XYZ", lambda: jb.SpinBattery(1.0, GOOD, (0.1, 0.2, 1.0)), ["0.2", "ground state", "initial_state"]),
    ("negative coupling", lambda: jb.SpinBattery(1.0, couplings(0, 1, -0.3)), ["-0.3", "ground state", 'initial_state="down"']),
    ("negative field", lambda: jb.SpinBattery(np.array([1.0, -0.2, 1.0]), GOOD), ["-0.2", "ground state", "initial_state"]),
    # fields and anisotropy
    ("NaN field", lambda: jb.SpinBattery(NAN, GOOD), ["field = nan", "finite"]),
    ("NaN in fields", lambda: jb.SpinBattery(np.array([1.0, NAN, 1.0]), GOOD), ["field[1] = nan"]),
    ("fields of four", lambda: jb.SpinBattery(np.ones(4), GOOD), ["(3,)", "(4,)"]),
    ("NaN alpha", lambda: jb.SpinBattery(1.0, GOOD, NAN), ["nan", "finite"]),
    ("NaN in the triple", lambda: jb.SpinBattery(1.0, GOOD, (1.0, NAN, 1.0)), ["nan", "finite"]),
    ("a vector in the triple", lambda: jb.SpinBattery(1.0, GOOD, (0.1, [0.1, 0.2], 1.0)), ["jy` must be a scalar", "(2,)"]),
    ("two factors", lambda: jb.SpinBattery(1.0, GOOD, (0.1, 0.2)), ["(jx, jy, jz)", "(2,)"]),
    # initial states
    ("not normalized", lambda: jb.SpinBattery(1.0, GOOD, initial_state=np.ones(8)), ["2.8284", "normalized", "divide"]),
    ("norm 0", lambda: jb.SpinBattery(1.0, GOOD, initial_state=np.zeros(8)), ["0.0", "normalized"]),
    ("NaN state", lambda: jb.SpinBattery(1.0, GOOD, initial_state=np.full(8, NAN)), ["nan", "normalized"]),
    ("state of two spins", lambda: jb.SpinBattery(1.0, GOOD, initial_state=np.eye(4)[0]), ["(8,)", "(4,)"]),
    ("unknown state", lambda: jb.SpinBattery(1.0, GOOD, initial_state="left"), ["'left'", '"down"', '"up"']),
    ("Pauli state", lambda: jb.PauliBattery(Z, Z, 3, initial_state=np.ones(8)), ["2.8284", "normalized"]),
    ("state of words", lambda: jb.SpinBattery(1.0, UNIFORM[:1, :1], initial_state=["a", "b"]), ["`initial_state`", "<U1"]),
    # numbers of spins
    ("no spins", lambda: jb.nearest_neighbor(0, 1.0), ["at least 1", "0"]),
    ("minus one spin", lambda: jb.power_law(-1, 1.0, 1.0), ["at least 1", "-1"]),
    ("half a spin", lambda: jb.power_law(2.5, 1.0, 1.0), ["integer", "2.5"]),
    ("traced number of spins",
     lambda: jb.sweep(lambda n: jb.power_law(n, 1.0, 1.0).sum(), {"n": [2.0, 3.0]}),
     ["number of spins", "a float64 that JAX is tracing", "integers as the axis"]),
    ("empty couplings", lambda: jb.SpinBattery(1.0, np.zeros((0, 0))), ["N >= 1", "(0, 0)"]),
    ("no Pauli spins", lambda: jb.PauliSum.from_terms(0, []), ["at least 1", "0"]),
    ("sum on other spins", lambda: jb.PauliBattery(Z, Z, 4), ["`energy`", "3", "4"]),
    ("drift on other spins", lambda: jb.PauliBattery(Z, jb.PauliSum.from_terms(2, []), 3), ["`drift`", "2", "3"]),
    ("matrix for a sum", lambda: jb.PauliBattery(np.eye(8), Z, 3), ["`energy`", "ndarray", "from_terms"]),
    ("couplings of too many spins", lambda: jb.power_law(10**6, 1.0, 1.0), ["1000000 spins", "GiB", "available"]),
    ("a vector for g", lambda: jb.power_law(3, [1.0, 2.0, 3.0], 1.0), ["`g` must be a scalar", "(3,)"]),
    ("a vector for p", lambda: jb.power_law(3, 1.0, [1.0, 2.0, 3.0]), ["`p` must be a scalar", "(3,)"]),
    ("a vector in chains", lambda: jb.nearest_neighbor(3, np.ones(3)), ["`g` must be a scalar", "(3,)"]),
    ("NaN in chains", lambda: jb.nearest_neighbor(3, NAN), ["g = nan"]),
    ("NaN exponent", lambda: jb.power_law(3, 1.0, NAN), ["p = nan"]),
    # Pauli strings
    ("unknown letter", lambda: terms("XA", (0, 1), 1.0), ["'A'", "I, X, Y, Z", "terms[1]"]),
    ("small letter", lambda: terms("x", (0,), 1.0), ["'x'", "I, X, Y, Z"]),
    ("site too large", lambda: terms("X", (3,), 1.0), ["site 3", "0 to 2"]),
    ("negative site", lambda: terms("X", (-1,), 1.0), ["site -1", "0 to 2"]),
    ("site twice", lambda: terms("XX", (1, 1), 1.0), ["twice", "(1, 1)"]),
    ("letters and sites", lambda: terms("XX", (1,), 1.0), ["2 letters", "1 sites"]),
    ("site without a tuple", lambda: terms("X", 0, 1.0), ["terms[1]", "(letters, sites, coefficient)", "('X', 0, 1.0)"]),
    ("no coefficient", lambda: terms("X", (0,)), ["terms[1]", "(letters, sites, coefficient)", "('X', (0,))"]),
    ("two coefficients", lambda: terms("X", (0,), [1.0, 2.0]), ["terms[1] coefficient", "scalar", "(2,)"]),
    ("NaN factor", lambda: Z * NAN, ["factor = nan"]),
    ("factor for each string", lambda: np.ones(1).tolist() * Z, ["`factor` must be a scalar", "(1,)"]),
    ("NaN coefficient", lambda: terms("X", (1,), NAN), ["nan", "terms[1]"]),
    ("complex coefficient", lambda: terms("X", (1,), 1j), ["real", "complex128"]),
    # fields of the protocol
    ("NaN omega", lambda: jb.ConstantField(NAN), ["omega = nan"]),
    ("matrix omega", lambda: jb.ConstantField(np.ones((2, 2))), ["(N,)", "(2, 2)"]),
    ("axis", lambda: jb.ConstantField(1.0, axis="w"), ["'w'", '"x"']),
    ("omega of two spins", lambda: charge([0.0, 1.0], field=TWO), ["2 spins", "3"]),
    ("omega of two spins, Spectral", lambda: big(3, solver=jb.Spectral(), field=TWO), ["2 spins", "3"]),
    ("omega of two spins, Collective",
     lambda: collective(jb.SpinBattery(1.0, UNIFORM), TWO), ["2 spins", "3"]),
    ("amplitudes of two spins", lambda: charge([0.0, 1.0], field=jb.PiecewiseField(np.ones((4, 2)), 1.0)), ["2 spins", "3"]),
    ("NaN amplitude", lambda: jb.PiecewiseField(np.array([1.0, NAN]), 1.0), ["amplitudes[1] = nan"]),
    ("ragged amplitudes", lambda: jb.PiecewiseField([[1.0], [1.0, 2.0]], 1.0), ["`amplitudes` must have rows of equal length"]),
    ("no amplitude", lambda: jb.PiecewiseField(np.ones(0), 1.0), ["K >= 1", "(0,)"]),
    ("amplitudes in a cube", lambda: jb.PiecewiseField(np.ones((2, 3, 2)), 1.0), ["(K, N)", "(2, 3, 2)"]),
    ("no duration", lambda: jb.PiecewiseField(np.ones(2), 0.0), ["`duration`", "0.0", "positive"]),
    ("NaN duration", lambda: jb.PiecewiseField(np.ones(2), NAN), ["duration = nan"]),
    ("two durations", lambda: jb.PiecewiseField([1.0, 2.0], [1.0, 2.0]), ["`duration` must be a scalar", "(2,)", "vmap"]),
    ("two durations of a series", lambda: jb.FourierField([1.0], [2.0], [1.0, 2.0]), ["`duration` must be a scalar", "(2,)"]),
    ("traced durations",
     lambda: jax.jit(lambda t: jb.PiecewiseField([1.0, 2.0], t).edges)(np.ones(2)), ["`duration` must be a scalar", "(2,)"]),
    # switches
    ("field on in words", lambda: jb.SpinBattery(1.0, GOOD, field_while_charging="off"), ["`field_while_charging`", "'off'"]),
    ("interactions in words",
     lambda: jb.SpinBattery(1.0, GOOD, interactions_while_charging="no"), ["`interactions_while_charging`", "'no'"]),
    ("Kac in words", lambda: jb.power_law(3, 1.0, 1.0, kac="no"), ["`kac` must be True or False", "'no'"]),
    ("first peak as a number", lambda: jb.max_power(BATTERY, FIELD, first_peak=0), ["`first_peak` must be True or False", "0"]),
    ("bar in words", lambda: jb.sweep(lambda a: a, {"a": [1.0]}, progress="off"), ["`progress`", "'off'"]),
    ("probe in words", lambda: jb.plan(lambda a: a, {"a": [1.0]}, probe="no"), ["`probe`", "'no'"]),
    # times
    ("decreasing", lambda: charge([0.0, 0.3, 0.2]), ["times[2] = 0.2", "times[1] = 0.3", "sort"]),
    ("negative", lambda: charge([-0.1, 0.3]), ["times[0] = -0.1", "negative"]),
    ("NaN time", lambda: charge([0.0, NAN]), ["times[1] = nan"]),
    ("infinite time", lambda: charge([0.0, INF]), ["times[1] = inf"]),
    ("no times", lambda: charge([]), ["T >= 1", "(0,)"]),
    ("one number", lambda: charge(1.0), ["(T,)", "()"]),
    ("beyond the field", lambda: charge([0.0, 1.1], field=jb.PiecewiseField(np.ones(2), 1.0)), ["1.1", "1.0"]),
    # sizes
    ("memory", lambda: big(40), ["40 spins", "GiB", "available", "complex64"]),
    ("memory of a search", lambda: jb.max_power(jb.SpinBattery(1.0, jb.nearest_neighbor(40, 1.0)), FIELD), ["GiB", "available"]),
    ("memory of Krylov", lambda: big(40, solver=jb.StateVector(jb.Krylov())), ["GiB", "available"]),
    ("Spectral too large", lambda: big(15, solver=jb.Spectral()), ["15 spins", "4096", "StateVector()"]),
    ("Spectral without symmetry",
     lambda: big(14, jb.ConstantField(1.0, axis="y"), jb.Spectral()),
     ["14 spins", "4096", "StateVector()"]),
    # solvers
    ("not uniform", lambda: collective(), ["same coupling", "StateVector()"]),
    ("fields not uniform",
     lambda: collective(jb.SpinBattery(np.array([1.0, 1.0, 1.1]), UNIFORM)), ["same field", "StateVector()"]),
    ("omega not uniform",
     lambda: collective(jb.SpinBattery(1.0, UNIFORM), jb.ConstantField(np.array([1.0, 0.0, 1.0]))), ["differ"]),
    ("Collective from a state",
     lambda: collective(jb.SpinBattery(1.0, UNIFORM, initial_state=np.eye(8)[7])), ["array", "StateVector()"]),
    ("Collective of a PauliBattery", lambda: collective(jb.PauliBattery(Z, Z, 3)), ["PauliBattery"]),
    ("real dtype", lambda: jb.StateVector(dtype=jnp.float64), ["complex64", "float64"]),
    ("number for a dtype", lambda: jb.StateVector(dtype=5), ["`dtype`", "complex64", "5"]),
    ("name of a propagator", lambda: jb.StateVector("chebyshev"), ["`propagator`", "Chebyshev()", "'chebyshev'"]),
    ("class of a propagator", lambda: jb.StateVector(jb.Chebyshev), ["`propagator`", "it is Chebyshev"]),
    ("tolerance for a propagator", lambda: jb.StateVector(1e-8), ["`propagator`", "Krylov(tol=1e-8)", "1e-08"]),
    ("solver for a propagator", lambda: jb.StateVector(jb.Spectral()), ["`propagator`", "Spectral(tol=0.001)"]),
    ("name of a propagator, Collective", lambda: jb.Collective("krylov"), ["`propagator`", "'krylov'"]),
    ("name of a solver", lambda: charge([1.0], solver="spectral"), ["`solver`", "'spectral'", "Spectral()"]),
    ("class of a solver", lambda: charge([1.0], solver=jb.Spectral), ["`solver`", "Spectral()", "it is Spectral"]),
    ("name of a solver, power", lambda: jb.max_power(BATTERY, FIELD, solver="spectral"), ["`solver`", "'spectral'"]),
    ("class of a solver, work", lambda: jb.max_work(BATTERY, FIELD, horizon=1.0, solver=jb.StateVector), ["it is StateVector"]),
    ("no battery", lambda: charge([1.0], battery=None), ["`battery`", "SpinBattery", "NoneType"]),
    ("number for a field", lambda: charge([1.0], field=4.0), ["`protocol`", "ConstantField(4.0)", "float"]),
    ("no battery, charger", lambda: jb.charger_scale(None, FIELD), ["`battery`", "SpinBattery", "NoneType"]),
    ("number for a field, charger", lambda: jb.charger_scale(BATTERY, 4.0), ["`protocol`", "ConstantField(4.0)", "float"]),
    # tolerances
    *((f"{method.__name__} tol = {value}", lambda method=method, value=value: method(tol=value), ["tol", str(value)])
      for method in (jb.Chebyshev, jb.Krylov, jb.Taylor, jb.Spectral) for value in (0.0, -1e-3, NAN)),
    *((f"{method.__name__} tol = {shown}", lambda method=method, tol=tol: method(tol=tol), ["`tol` must be", shown])
      for method in (jb.Chebyshev, jb.Spectral, jb.MeanField)
      for tol, shown in (([1e-10], "(1,)"), (jnp.ones(2), "(2,)"), ("tight", "<U5"))),
    ("traced tol", lambda: jax.jit(lambda tol: jb.Chebyshev(tol))(1e-10), ["`tol`", "tracing"]),
    ("reach in words", lambda: jb.Chebyshev(reach="far"), ["`reach`", "<U3"]),
    ("steps in words", lambda: jb.MeanField(max_steps="a"), ["`max_steps` must be an integer of at least 1", "'a'"]),
    ("dim", lambda: jb.Krylov(dim=1), ["`dim`", "1", "at least 2"]),
    # horizons
    ("no horizon", lambda: jb.max_work(BATTERY, FIELD), ["`horizon`", "never ends"]),
    ("negative horizon", lambda: jb.max_work(BATTERY, FIELD, horizon=-1.0), ["`horizon`", "-1.0"]),
    ("horizons", lambda: jb.max_work(BATTERY, FIELD, horizon=[1.0, 2.0]), ["`horizon` must be a scalar", "(2,)"]),
    ("horizon in a list", lambda: jb.max_work(BATTERY, FIELD, horizon=[1.0]), ["`horizon` must be a scalar", "(1,)"]),
    ("NaN horizon", lambda: jb.max_work(BATTERY, FIELD, horizon=NAN), ["horizon = nan"]),
    ("horizon beyond the field", lambda: jb.max_work(BATTERY, jb.PiecewiseField([1], 1.0), horizon=2.0), ["`horizon`", "2.0"]),
]  # fmt: skip


@pytest.mark.parametrize(("call", "words"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_refusals(call, words, monkeypatch):
    """All the words, the value among them, in one ValueError, before anything is evolved."""

    def evolved(*_):
        raise AssertionError("refused too late")

    monkeypatch.setattr(charging, "_charge", evolved)
    monkeypatch.setattr(charging, "_peak", evolved)
    with pytest.raises(ValueError, match="|".join(map(re.escape, words))) as refusal:
        call()
    assert [word for word in words if word not in str(refusal.value)] == []
    assert "\n" not in str(refusal.value)


def test_memory_that_is_needed_and_there():
    """The numbers make sense: more than the 2^40 complex amplitudes alone (16,384 GiB), and what is there is less."""
    with pytest.raises(ValueError, match="GiB") as refusal:
        big(40)
    needed, there = (float(number) for number in re.findall(r"([\d.e+]+) GiB", str(refusal.value)))
    assert needed >= 2**40 * 16 / 2**30
    assert 0 < there < needed


def test_long_horizon_is_refused_in_short():
    """A maximum of work on a horizon of 1e9 periods cannot be searched, which is said without searching."""
    with pytest.raises(ValueError, match=r"not certain.* not all times up to the horizon were searched; pass a shorter horizon"):
        jb.max_work(BATTERY, FIELD, horizon=1e9)


def test_what_is_allowed():
    """The explicit initial state lifts the refusals that are about the ground state, and nothing else."""
    for battery in (
        jb.SpinBattery(1.0, GOOD, 1.5, initial_state="down"),
        jb.SpinBattery(1.0, couplings(0, 1, -0.3), initial_state="down"),
        jb.SpinBattery(-1.0, GOOD, (0.1, 0.2, 0.3), initial_state="up"),
    ):
        assert battery.n_spins == 3
    with pytest.raises(ValueError, match="symmetric"):
        jb.SpinBattery(1.0, couplings(0, 2, 0.5, 0.25), initial_state="down")
    assert jb.SpinBattery(1.0, GOOD, 1.0).start == "down"
    assert jb.SpinBattery(1.0, GOOD, -1.0).start == "down"
    # The power overflows, and what it divides vanishes.
    np.testing.assert_array_equal(jb.power_law(4, 1.5, 1e9), jb.nearest_neighbor(4, 1.5))
    assert jb.SpinBattery(1.0, UNIFORM[:1, :1], initial_state=[0.0, 1.0]).state.tolist() == [0.0, 1.0]
    assert jb.StateVector(jb.Chebyshev(jnp.array(1e-8))) == jb.StateVector(jb.Chebyshev(np.float64(1e-8)))
    assert jb.SpinBattery(1.0, GOOD, field_while_charging=np.bool_(True)).field_while_charging is True


def test_batches_of_fields():
    """Fields stacked leaf by leaf, and made under vmap, have one duration each."""
    fields = [jb.PiecewiseField([1.0, 2.0], duration) for duration in (0.5, 1.0)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *fields)
    made = jax.vmap(lambda duration: jb.PiecewiseField(jnp.array([1.0, 2.0]), duration))(jnp.array([0.5, 1.0]))
    for batch in (stacked, made):
        works = jax.vmap(lambda field: jb.charge(BATTERY, field, jnp.array([0.5])).work[0])(batch)
        np.testing.assert_allclose(works, [charge([0.5], field=field).work[0] for field in fields], rtol=1e-12)


@pytest.mark.parametrize("last", [np.float32(0.3), 0.1 + 0.2])
def test_times_at_the_end_by_rounding(last):
    """The end of the field, rounded in the dtype of the times, is its end, also under jit; what is later is not."""
    field, times = jb.PiecewiseField(np.ones(3), 0.3), np.array([0, last], np.result_type(last))
    assert float(times[-1]) > 0.3
    for curve in (charge(times, field=field), jax.jit(lambda _: charge(times, field=field))(0)):
        assert curve.times[-1] == 0.3
        np.testing.assert_allclose(curve.work[-1], charge([0.3], field=field).work[0], rtol=1e-12)
    assert jb.max_work(BATTERY, field, horizon=last).time <= 0.3
    with pytest.raises(ValueError, match="`times` must end with the protocol"):
        charge(times * (1 + 1e-5), field=field)


def test_times_at_the_end_in_single_precision():
    """A duration that JAX has rounded down ends where it was said to end."""
    with jax.enable_x64(False):
        field = jb.PiecewiseField(np.ones(3), 0.7)
        assert float(field.duration) < 0.7
        assert charging._up_to_end("times", field, np.array([0.0, 0.7]))[-1] == field.duration


def test_what_holds_more_than_a_curve_is_refused_earlier(monkeypatch):
    """12 spins where 28 real vectors fit: a curve is computed, a search or a gradient of four outputs is not begun."""
    monkeypatch.setattr(_checks, "available_memory", lambda: 28 * 8 * 2**12)
    battery = jb.SpinBattery(1.0, jb.nearest_neighbor(12, 1.0))

    def work(omega):
        return jb.charge(battery, jb.ConstantField(omega), [0.0, 0.1, 0.15, 0.2], solver=jb.StateVector()).work[3]

    assert np.isfinite(work(1.0))
    with pytest.raises(ValueError, match=r"StateVector with 12 spins needs .* GiB, but .* are available; take fewer spins"):
        jb.max_power(battery, FIELD, solver=jb.StateVector())
    with pytest.raises(ValueError, match=r"a gradient with StateVector of 4,096 amplitudes needs .* GiB, but .* are available"):
        jax.grad(work)(1.0)


@pytest.mark.parametrize("strength", [1e15, 1e100])
def test_a_field_that_rounding_swallows(strength):
    """Where the levels are rounded by more than the field, Spectral would see a state that never moves."""

    def power(strength):
        battery = jb.SpinBattery(1.0, jb.power_law(3, strength, 1.0), 0.2, initial_state="down")
        return jb.max_power(battery, jb.ConstantField(4.0), solver=jb.Spectral()).power

    assert power(1e4) > 60
    with pytest.raises(ValueError, match="did not meet its tolerance"):
        power(strength)
