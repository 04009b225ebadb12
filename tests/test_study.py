"""Study files: what a file stands for, and one sentence for each mistake."""

import re

import jax
import numpy as np
import pytest

import jaxbatt as jb
from jaxbatt.study import METHODS, parse_optimal, read_optimal, solver_named

GOOD = {
    "battery": {"n_spins": 3},
    "protocol": {"kind": "piecewise", "pieces": 4},
    "optimize": {"bounds": [-4, 4]},
}


def study(**tables):
    """The good study with some tables replaced."""
    return parse_optimal(GOOD | tables)


def test_defaults():
    plan = study()
    assert jax.tree.all(jax.tree.map(np.array_equal, plan.batteries, (jb.SpinBattery(1.0, jb.power_law(3, 1.0, 1.0)),)))
    assert isinstance(plan.protocol, jb.PiecewiseField)
    assert plan.protocol.levels.shape == (4,)
    assert plan.solver is None
    assert plan.points == 201
    assert plan.options["objective"] == "power"
    assert [float(side) for side in plan.options["bounds"]] == [-4.0, 4.0]
    assert plan.options["penalty"] == jb.Penalty()
    assert plan.options["ensemble"] == "mean"
    assert "duration" not in plan.options


def test_every_key_reaches_its_object(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("""
[battery]
n_spins = 2
couplings = [[0, 2], [2, 0]]
g = 0.5
field = [1.0, 1.5]
anisotropy = [0.1, 0.2, 0.9]
initial_state = "up"
field_while_charging = true
interactions_while_charging = false
[ensemble]
members = 3
disorder = 0.2
seed = 5
over = "worst"
[protocol]
kind = "fourier"
axis = "y"
per_spin = true
order = 2
samples = 9
duration = 1.5
[solver]
kind = "krylov"
tol = 1e-8
[optimize]
objective = "time"
bounds = [[-1, 0], [1.0, 0]]
energy = 3
free_duration = false
target = 0.9
couplings = "given"
starts = 5
steps = 17
patience = 7
rate = 0.2
seed = 11
[optimize.penalty]
smoothness = 0.1
variance = 0.2
energy = 0.3
[output]
points = 21
""")
    # As some editors write it.
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    plan = read_optimal(path)
    first = plan.batteries[0]
    assert len(plan.batteries) == 3
    assert first.start == "up"
    assert first.field_while_charging
    assert not first.interactions_while_charging
    assert first.field.tolist() == [1.0, 1.5]
    assert first.factors.tolist() == [0.1, 0.2, 0.9]
    strengths = [float(battery.couplings[0, 1]) for battery in plan.batteries]
    assert len(set(strengths)) == 3
    assert np.all(np.abs(np.subtract(strengths, 1.0)) < 1.0)
    assert all(battery.couplings[0, 1] == battery.couplings[1, 0] for battery in plan.batteries)
    assert plan.protocol.cosines.shape == (3, 2)
    assert plan.protocol.sines.shape == (2, 2)
    assert (plan.protocol.samples, plan.protocol.axis, float(plan.protocol.duration)) == (9, "y", 1.5)
    assert plan.solver == jb.StateVector(jb.Krylov(tol=1e-8))
    assert [side.tolist() for side in plan.options["bounds"]] == [[-1.0, 0.0], [1.0, 0.0]]
    assert plan.options["penalty"] == jb.Penalty(smoothness=0.1, variance=0.2, energy=0.3)
    expected = {"objective": "time", "energy": 3, "free_duration": False, "target": 0.9, "starts": 5, "steps": 17, "patience": 7}
    assert expected.items() <= plan.options.items()
    assert plan.options["ensemble"] == "worst"
    assert jax.random.key_data(plan.options["key"]).tolist() == jax.random.key_data(jax.random.key(11)).tolist()
    assert plan.points == 21


def test_couplings_by_name_and_the_duration_of_a_constant_field():
    chain = study(battery={"n_spins": 4, "couplings": "nearest_neighbor", "g": 0.5}).batteries[0]
    np.testing.assert_array_equal(chain.couplings, jb.nearest_neighbor(4, 0.5))
    dense = study(battery={"n_spins": 4, "p": 0.0, "initial_state": "down"}).batteries[0]
    np.testing.assert_array_equal(dense.couplings, jb.power_law(4, 1.0, 0.0))
    assert study(protocol={"kind": "constant", "duration": 2}).options["duration"] == 2


def test_every_solver_by_name():
    kinds = {name: type(solver_named(name)).__name__ for name in METHODS}
    assert kinds == {
        "auto": "NoneType",
        "chebyshev": "StateVector",
        "krylov": "StateVector",
        "taylor": "StateVector",
        "spectral": "Spectral",
        "collective": "Collective",
        "mean-field": "MeanField",
    }
    assert solver_named("mean-field", 1e-6).tol == 1e-6


@pytest.mark.parametrize("name", ["chebyshev", "krylov", "taylor", "collective"])
def test_named_solvers_have_the_tolerance_of_the_default_one(name):
    """In single precision, too, where no state is exact to 1e-10."""
    assert (solver_named(name).propagator.tol, solver_named(name, 1e-7).propagator.tol) == (1e-10, 1e-7)
    with jax.enable_x64(False):
        assert solver_named(name).propagator.tol == jb.StateVector().propagator.tol == 1e-4
        battery = jb.SpinBattery(1.0, jb.power_law(4, 1.0, 0.0))
        curve = jb.charge(battery, jb.ConstantField(4.0), np.linspace(0, 0.4, 5), solver=solver_named(name))
        assert curve.work.dtype == np.float32


REFUSALS = [
    ({"battery": {"n_spins": 3, "nn": True}}, "[battery] nn is unknown; allowed are n_spins, couplings, g, p, field"),
    ({"batery": {}}, "[batery] is unknown; allowed are battery, ensemble, protocol, solver, optimize, output"),
    ({"battery": {}}, "[battery] n_spins is missing; it must be an integer."),
    ({"battery": {"n_spins": "three"}}, "[battery] n_spins must be an integer, but it is 'three'."),
    ({"battery": {"n_spins": True}}, "[battery] n_spins must be an integer, but it is True."),
    ({"battery": 3}, "[battery] must be a table, but it is 3."),
    ({"battery": {"n_spins": 3, "g": "strong"}}, "[battery] g must be a number, but it is 'strong'."),
    (
        {"battery": {"n_spins": 3, "couplings": "ring"}},
        "[battery] couplings must be one of power_law, nearest_neighbor, but it is 'ring'.",
    ),
    ({"battery": {"n_spins": 3, "couplings": [[0, 1], [1]]}}, "[battery] couplings must have rows of equal length"),
    (
        {"battery": {"n_spins": 3, "couplings": [[0, 1], [1, 0]]}},
        "[battery] couplings must be a matrix (3, 3), but its shape is (2, 2).",
    ),
    ({"battery": {"n_spins": 3, "couplings": "nearest_neighbor", "p": 1}}, "[battery] p is the exponent of power_law"),
    ({"battery": {"n_spins": 3, "field": []}}, "[battery] field must be a number or an array of numbers, but it is []."),
    ({"battery": {"n_spins": 3, "field_while_charging": 1}}, "[battery] field_while_charging must be true or false"),
    ({"ensemble": {"members": 0}}, "[ensemble] needs members >= 1 and disorder >= 0, but they are 0 and 0.0."),
    ({"ensemble": {"disorder": 0.1}}, "[ensemble] members > 1 and disorder > 0 belong together, but they are 1 and 0.1; give"),
    ({"ensemble": {"members": 3}}, "[ensemble] members > 1 and disorder > 0 belong together, but they are 3 and 0.0; give"),
    ({"ensemble": {"seed": 3}}, "[ensemble] seed has no effect on one battery; give members and disorder, or remove it."),
    ({"optimize": {"bounds": [-4, 4], "target": 0.5}}, '[optimize] target has no effect on objective = "power"; take'),
    ({"ensemble": {"over": "median"}}, "[ensemble] over must be one of mean, worst, but it is 'median'."),
    ({"protocol": {"kind": "ramp"}}, "[protocol] kind must be one of constant, piecewise, fourier, but it is 'ramp'."),
    ({"protocol": {"pieces": 0}}, "[protocol] pieces must be at least 1, but it is 0."),
    (
        {"protocol": {"kind": "fourier", "pieces": 4}},
        "[protocol] pieces is unknown; allowed are kind, axis, per_spin, duration, order",
    ),
    ({"protocol": {"duration": -1.0}}, "`duration` must be positive"),
    ({"solver": {"kind": "magic"}}, "[solver] kind must be one of auto, chebyshev"),
    ({"solver": {"tol": 1e-8}}, "[solver] tol needs a kind of solver"),
    ({"optimize": {"bounds": 4.0}}, "[optimize] bounds must be a pair [lowest, highest], but it is 4.0."),
    ({"optimize": {"bounds": [1, "x"]}}, "[optimize] bounds must be a pair [lowest, highest] of numbers"),
    ({"optimize": {"bounds": [-4, 4], "objective": "time"}}, '[protocol] duration is needed for objective = "time".'),
    ({"optimize": {"rate": 0}}, "[optimize] rate must be positive, but it is 0."),
    ({"optimize": {"penalty": {"jumps": 1}}}, "[optimize.penalty] jumps is unknown; allowed are smoothness, variance, energy."),
    ({"output": {"points": 1}}, "[output] points must be at least 2, but it is 1."),
    ({"battery": {}, "extra": {}}, "[extra] is unknown; allowed are battery, ensemble"),
    ({"battery": {"n_spins": 0}}, "[battery] n_spins: the number of spins must be an integer of at least 1, but it is 0."),
    ({"battery": {"n_spins": 10**30}}, "[battery] n_spins: the matrix of couplings of 1000"),
    ({"battery": {"n_spins": 3, "g": float("nan")}}, "[battery] g must be finite in double precision, but it is nan."),
    ({"battery": {"n_spins": 3, "field": [1.0, 1.0, 10**400]}}, "[battery] field must be finite in double precision"),
    ({"battery": {"n_spins": 3, "anisotropy": 2.0}}, "[battery] `anisotropy` is alpha = 2.0, outside"),
    ({"ensemble": {"members": 2, "seed": -1}}, "[ensemble] seed must be from 0 to 4294967295, but it is -1."),
    ({"ensemble": {"members": 10**12}}, "[ensemble] members must be at most 10000000, but it is 1000000000000."),
    ({"protocol": {"pieces": 10**12}}, "[protocol] pieces must be at most 10000000, but it is 1000000000000."),
    ({"protocol": {"kind": "fourier", "order": 4, "samples": 8}}, "[protocol] `samples` must be an integer above 8"),
    ({"solver": {"kind": "krylov", "tol": 0}}, "[solver] `tol` must be positive"),
    ({"optimize": {"starts": 0}}, "[optimize] starts must be at least 1, but it is 0."),
    ({"optimize": {"seed": 10**23}}, "[optimize] seed must be from 0 to 4294967295"),
    ({"optimize": {"penalty": {"energy": -1}}}, "[optimize.penalty] the penalty of energy must be a finite number >= 0"),
]


@pytest.mark.parametrize(
    ("tables", "words"), REFUSALS, ids=[re.sub(r"[^a-z]+", " ", words)[:50].strip() for _, words in REFUSALS]
)
def test_refusals(tables, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        study(**tables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"optimize": {}}, "[optimize] bounds: `bounds` are needed"),
        ({"optimize": {"bounds": [1, -1]}}, "[optimize] bounds: `bounds` must be (lowest, highest)"),
        ({"optimize": {"bounds": [-4, 4], "energy": -1}}, "[optimize] energy: `energy` must be positive"),
        (
            {"optimize": {"bounds": [-4, 4], "objective": "time", "target": 2}, "protocol": {"duration": 1.0}},
            "[optimize] target: `target` must be between 0 and 1",
        ),
        (
            {"optimize": {"bounds": [-4, 4], "couplings": "signed"}, "ensemble": {"members": 2, "disorder": 0.1}},
            "[optimize] couplings: `couplings` can be designed for one battery only",
        ),
    ],
)
def test_what_the_optimizer_refuses_says_where_it_stands(tables, words, tmp_path):
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        study(**tables).optimize(tmp_path / "checkpoint")


def test_a_bad_checkpoint_stands_nowhere_in_the_file(tmp_path):
    (tmp_path / "checkpoint").write_text("no checkpoint")
    with pytest.raises(ValueError, match="^" + re.escape(f"{tmp_path / 'checkpoint'} is no checkpoint")):
        study().optimize(tmp_path / "checkpoint")


@pytest.mark.parametrize("name", ["battery", "protocol", "optimize"])
def test_missing_tables(name):
    with pytest.raises(ValueError, match=re.escape(f"[{name}] is missing")):
        parse_optimal({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    "content",
    [b"n = = 3", b"n = '\xff'", b"n = 1" + 5000 * b"0", b"n = " + 5000 * b"["],
    ids=["grammar", "bytes", "digits", "depth"],
)
def test_no_toml(tmp_path, content):
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.toml is no valid TOML"):
        read_optimal(tmp_path / "bad.toml")


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"none\.toml cannot be read: No such file or directory\."):
        read_optimal(tmp_path / "none.toml")
    with pytest.raises(ValueError, match=r"cannot be read: Is a directory\."):
        read_optimal(tmp_path)
