"""Study files of sweeps: what a file stands for, one sentence for each mistake, and the two verbs."""

import csv
import re
import tomllib

import jax
import numpy as np
import pytest
import xarray

import jaxbatt as jb
from jaxbatt.cli import main
from jaxbatt.cli.sweeping import drawing_of
from jaxbatt.study import parse_sweep

GOOD = {
    "axes": {"n_spins": [2, 3], "anisotropy": {"linspace": [-1.0, 1.0, 3]}},
    "protocol": {"omega": 4.0},
}


def study(**tables):
    """The good study with some tables replaced."""
    return parse_sweep(GOOD | tables)


def measured(plan):
    """The dataset of a study."""
    point = plan.point
    return jb.sweep(
        point, plan.axes, progress=False, batch_size=plan.batch_size, dims=point.dims, coords=point.coords, units=point.units
    )


def assert_close(actual, expected):
    """Equal to rounding: both are the same computation, once under vmap."""
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=1e-11, atol=1e-11)


def test_axes_of_every_kind():
    axes = {
        "couplings": ["nearest_neighbor", "power_law"],
        "n_spins": [2, 3],
        "solver": ["spectral", "mean-field"],
        "p": [0, 1],
        "omega": {"logspace": [0, 1, 3]},
        "g": {"linspace": [0.5, 1.0, 2]},
        "seed": {"seeds": 4},
    }
    plan = study(axes=axes, protocol={}, disorder={"strength": 0.1})
    assert list(plan.axes) == list(axes)
    assert plan.axes["n_spins"].tolist() == [2, 3]
    assert plan.axes["p"].tolist() == [0.0, 1.0]
    assert plan.axes["p"].dtype == float
    np.testing.assert_array_equal(plan.axes["omega"], np.logspace(0, 1, 3))
    assert plan.axes["g"].tolist() == [0.5, 1.0]
    assert plan.axes["seed"].dtype == np.uint32
    assert study(axes={"seed": [7, 3]}, battery={"n_spins": 2}, disorder={"field_strength": 0.1}).axes["seed"].tolist() == [7, 3]


def test_maxima_and_gradients_are_those_of_the_library():
    measure = {"quantities": ["max_power", "max_work"], "gradients": ["omega", "anisotropy"], "horizon": 0.3}
    data = measured(study(measure=measure))
    for n in (2, 3):
        for alpha in (-1.0, 0.0, 1.0):

            def peaks(omega, alpha, n=n):
                battery, drive = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), alpha), jb.ConstantField(omega)
                return jb.max_power(battery, drive), jb.max_work(battery, drive, horizon=0.3)

            here = data.sel(n_spins=n, anisotropy=alpha)
            best, most = peaks(4.0, alpha)
            assert_close([here.max_power, here.max_power_time, here.max_power_work], [best.power, best.time, best.work])
            assert_close([here.max_work, here.max_work_time, here.max_work_power], [most.work, most.time, most.power])
            for k, quantity in enumerate(("power", "work")):
                slopes = jax.grad(lambda *x, k=k, quantity=quantity: getattr(peaks(*x)[k], quantity), (0, 1))(4.0, alpha)
                found = [here[f"max_{quantity}_d_omega"], here[f"max_{quantity}_d_anisotropy"]]
                np.testing.assert_allclose(found, slopes, rtol=1e-8, atol=1e-9)
    assert bool(data.valid.all())
    assert bool(data.max_power_certified.all())
    units = {name: data[name].attrs.get("units") for name in data}
    assert units["max_power"] == "B^2"
    assert units["max_work"] == "B"
    assert units["max_power_time"] == "1/B"
    assert (units["max_power_d_omega"], units["max_work_d_anisotropy"]) == ("B", "B")


def test_a_curve_has_its_times():
    plan = study(
        axes={"n_spins": [3], "omega": [1.0, 2.0]}, protocol={}, measure={"quantities": ["curve"], "horizon": 0.5, "points": 5}
    )
    data = measured(plan)
    assert data.work.dims == ("n_spins", "omega", "time")
    assert data.magnetization.dims == ("n_spins", "omega", "time", "direction")
    assert data.time.values.tolist() == [0.0, 0.125, 0.25, 0.375, 0.5]
    curve = jb.charge(jb.SpinBattery(1.0, jb.power_law(3, 1.0, 1.0)), jb.ConstantField(2.0), np.linspace(0, 0.5, 5))
    assert_close(data.work.sel(omega=2.0)[0], curve.work)
    assert_close(data.magnetization.sel(omega=2.0)[0], curve.magnetization)


def test_disorder_by_seed_and_a_field_in_pieces():
    plan = study(
        axes={"seed": {"seeds": 3}},
        battery={"n_spins": 3, "couplings": [[0, 1, 2], [1, 0, 1], [2, 1, 0]], "g": 0.5, "field": [1.0, 1.5, 2.0]},
        disorder={"strength": 0.1, "field_strength": 0.2, "distribution": "uniform"},
        protocol={"omega": 2.0, "levels": [1.0, -1.0], "duration": 0.6, "axis": "y"},
        measure={"quantities": ["max_work"], "horizon": 0.6},
        solver={"kind": "chebyshev", "tol": 1e-9},
    )
    data = measured(plan)
    matrix = 0.5 * np.array([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    for seed in range(3):
        key = jax.random.key(seed)
        couplings = jb.disordered(jax.random.fold_in(key, 0), matrix, 0.1, distribution="uniform")
        field = jb.random_field(jax.random.fold_in(key, 1), 3, 0.2, mean=np.array([1.0, 1.5, 2.0]), distribution="uniform")
        drive = jb.PiecewiseField(np.array([2.0, -2.0]), 0.6, "y")
        solver = jb.StateVector(jb.Chebyshev(tol=1e-9))
        work = jb.max_work(jb.SpinBattery(field, couplings), drive, horizon=0.6, solver=solver).work
        np.testing.assert_allclose(data.max_work[seed], work, atol=2e-9)
    assert len(np.unique(data.max_work)) == 3


def test_kac_and_the_scale_of_the_charger():
    plan = study(battery={"kac": True}, measure={"quantities": ["charger"]})
    data = measured(plan)
    for n in (2, 3):
        scale = jb.charger_scale(jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0, kac=True), 1.0), jb.ConstantField(4.0))
        here = data.sel(n_spins=n, anisotropy=1.0)
        for name, value in scale._asdict().items():
            if name == "bandwidth_error":  # of the size of rounding, or of a residual that differs by as much
                assert float(here[name]) <= 1e-9 * scale.bandwidth
            else:
                assert_close(here[name], value)


BATTERY, TRIO = {"n_spins": 2}, {"n_spins": 3}
CHARGER = {"battery": TRIO, "measure": {"quantities": ["charger"]}}
REFUSALS = [
    ({"axes": {}}, "[axes] must be a table of at least one axis, but it is {}; allowed are n_spins, couplings"),
    ({"axes": {"alpah": [1]}}, "[axes] alpah is unknown; allowed are n_spins, couplings, solver, g, p"),
    ({"axes": {"omega": []}}, "[axes] omega must be a list of values, {linspace = [first, last, number]}"),
    ({"axes": {"omega": 4.0}}, "[axes] omega must be a list of values"),
    ({"axes": {"omega": {"linspace": [1, 2]}}}, "[axes] omega.linspace must be [first, last, number of values]"),
    ({"axes": {"omega": {"linspace": [1, 2, 2.5]}}}, "[axes] omega.linspace must be [first, last, number of values]"),
    ({"axes": {"omega": {"range": [1, 2, 3]}}}, "[axes] omega must be a list of values"),
    ({"axes": {"n_spins": [2.5]}}, "[axes] n_spins must be a list of integers, but it is [2.5]."),
    ({"axes": {"couplings": ["ring"]}}, "[axes] couplings must be a list of power_law, nearest_neighbor, but it is ['ring']."),
    ({"axes": {"seed": {"seeds": 0}}}, "[axes] seed must be {seeds = number} or a list of integers from 0 on"),
    ({"battery": {"n_spins": 2}}, "[battery] n_spins is an axis, too; remove one of the two."),
    ({"axes": {"omega": [1.0]}, "battery": BATTERY}, "[protocol] omega is an axis, too; remove one of the two."),
    ({"axes": {"p": [1.0]}, "battery": BATTERY | {"couplings": "nearest_neighbor"}}, "[battery] p is the exponent of power_law"),
    ({"axes": {"seed": {"seeds": 2}}, "battery": BATTERY}, "[axes] seed does nothing: there is no disorder"),
    ({"axes": {"horizon": [1.0]}, "battery": BATTERY}, "[axes] horizon does nothing: it has no effect on max_power"),
    ({"measure": {"horizon": 1.0}}, "[measure] horizon has no effect on max_power; remove it."),
    ({"measure": {"quantities": ["max_work"]}}, "[measure] horizon is missing; max_work needs a longest charging time."),
    (
        {"measure": {"quantities": ["speed"]}},
        "[measure] quantities must be a list of some of max_power, max_work, curve, charger",
    ),
    ({"measure": {"gradients": ["n_spins"]}}, "[measure] gradients must be a list of some of g, p, field"),
    ({"protocol": {"levels": [1.0]}}, "[protocol] levels (in units of omega) and duration belong together"),
    ({"run": {"batch_size": 0}}, "[run] batch_size must be at least 1, but it is 0."),
    ({"output": {"hdf5": True}}, "[output] hdf5 is unknown; allowed are csv, netcdf."),
    ({"axes": {"n_spins": [2, 0]}}, "the number of spins must be an integer of at least 1, but it is 0."),
    ({"axes": {"solver": ["magic"]}, "battery": BATTERY}, "[axes] solver must be a list of auto, chebyshev"),
    ({"solver": {"tol": 1e-8}}, "[solver] tol needs a kind of solver"),
    (
        {"optimize": {}},
        "[optimize] is unknown; allowed are axes, battery, protocol, disorder, solver, measure",
    ),
    ({"axes": {"strength": [-0.1]}, "battery": BATTERY}, "`strength` must"),
    ({"axes": {"omega": {"linspace": [1, 2, 10**12]}}}, "[axes] omega.linspace must hold at most 10000000 values"),
    ({"axes": {"omega": {"logspace": [0, 400, 3]}}}, "[axes] omega.logspace must give values that are finite"),
    ({"axes": {"omega": {"linspace": [0, 10**400, 3]}}}, "[axes] omega.linspace must give values that are finite"),
    ({"axes": {"omega": [10**400]}}, "[axes] omega must be finite in double precision, but it holds 1000"),
    ({"axes": {"omega": [float("nan")]}}, "[axes] omega must be finite in double precision, but it holds nan."),
    ({"axes": {"n_spins": [10**30]}}, "[axes] n_spins: the matrix of couplings of 1000"),
    ({"battery": {"n_spins": 10**9}, "axes": {"omega": [1.0]}}, "[battery] n_spins: the matrix of couplings of 1000000000 spins"),
    ({"axes": {"seed": [2**32]}}, "[axes] seed must be {seeds = number} or a list of integers from 0 on"),
    ({"axes": {"seed": {"seeds": 10**12}}}, "[axes] seed must be {seeds = number} or a list of integers from 0 on"),
    ({"axes": {"omega": [1.0, 1]}}, "[axes] omega holds the value 1.0 twice; remove one."),
    ({"axes": {"seed": [3, 3]}}, "[axes] seed holds the value 3 twice; remove one."),
    (
        {"axes": {name: {"linspace": [0.1, 0.9, 10**6]} for name in ("omega", "g", "p")}},
        "[axes] give 1000000000000000000 points; one variable on all of them needs",
    ),
    ({"disorder": {"seed": 10**23, "strength": 0.1}}, "[disorder] seed must be from 0 to 4294967295"),
    ({"measure": {"quantities": ["curve"], "horizon": 1.0, "points": 10**12}}, "[measure] points must be at most 10000000"),
    ({"protocol": {"omega": float("inf")}}, "[protocol] omega must be finite in double precision, but it is inf."),
    ({"protocol": {"levels": "1.0", "duration": 1.0}}, "[protocol] levels must be an array of numbers, but it is '1.0'."),
    ({"axes": {"p": [0.0, 1.0]}, "battery": BATTERY}, "[axes] p does nothing: two spins are one distance apart"),
    ({"axes": {"p": [0.0, 1.0]}, "battery": TRIO | {"g": 0.0}}, "[axes] p does nothing: the couplings are zero"),
    (
        {"axes": {"p": [0.0, 1.0], "couplings": ["nearest_neighbor"]}, "battery": TRIO},
        "[axes] p does nothing: it is the exponent of power_law",
    ),
    ({"axes": {"g": [0.5, 1.0]}, "battery": {"n_spins": 1}}, "[axes] g does nothing: there are no couplings"),
    (
        {"axes": {"anisotropy": [0.0, 1.0]}, "battery": BATTERY | {"couplings": [[0, 0], [0, 0]]}},
        "[axes] anisotropy does nothing: there are no couplings",
    ),
    ({"axes": {"couplings": ["power_law", "nearest_neighbor"]}, "battery": BATTERY}, "[axes] couplings does nothing: two spins"),
    ({"axes": {"seed": {"seeds": 2}, "strength": [0.0]}, "battery": BATTERY}, "[axes] seed does nothing: there is no disorder"),
    (
        {"axes": {"seed": {"seeds": 2}}, "battery": {"n_spins": 1}, "disorder": {"strength": 0.1}},
        "[axes] seed does nothing: there is no disorder",
    ),
    ({"axes": {"solver": ["spectral", "krylov"]}, **CHARGER}, "[axes] solver does nothing: the scale of a charger needs none"),
    ({"axes": {"field": [0.5, 1.0]}, **CHARGER}, "[axes] field does nothing: B is off while charging"),
    ({"axes": {"field_strength": [0.5, 1.0]}, **CHARGER}, "[axes] field_strength does nothing: B is off while charging"),
    (
        {"axes": {"g": [0.5, 1.0]}, **CHARGER, "battery": TRIO | {"interactions_while_charging": False}},
        "[axes] g does nothing: the interactions are off while charging",
    ),
    (
        {"measure": {"quantities": ["curve"], "horizon": 1.0, "gradients": ["omega"]}},
        "[measure] gradients have no effect on curve; add max_power or max_work",
    ),
    (
        {"battery": {"couplings": "nearest_neighbor"}, "measure": {"gradients": ["p"]}, "axes": {"n_spins": [2, 4]}},
        "[measure] gradients: that of p vanishes: it is the exponent of power_law",
    ),
    ({"measure": {"points": 5}}, "[measure] points has no effect on max_power; remove it."),
    (
        {"measure": {"quantities": []}},
        "[measure] quantities must name some of max_power, max_work, curve, charger, but it is [].",
    ),
    ({"measure": {"quantities": ["curve"], "horizon": -1.0}}, "[measure] horizon must be positive, but it is -1.0."),
    (
        {"measure": {"quantities": ["max_work"]}, "axes": {"n_spins": [2], "horizon": [0.0, 1.0]}},
        "[axes] horizon must be positive, but it holds 0.0.",
    ),
    ({"disorder": {"seed": 3}}, "[disorder] seed has no effect: there is no disorder"),
    ({"disorder": {"distribution": "uniform"}}, "[disorder] distribution has no effect: there is no disorder"),
    ({"disorder": {"field_strength": -0.1}}, "[disorder] field_strength must not be negative, but it is -0.1."),
    (
        {"axes": {"n_spins": [3, 2]}, "battery": {"p": 1.0}, "solver": {"kind": "collective"}},
        "[solver] kind: Collective needs the same coupling between all spins",
    ),
    (
        {"axes": {"solver": ["spectral", "collective"]}, "battery": TRIO},
        "[axes] solver = 'collective': Collective needs the same coupling",
    ),
    ({"axes": {"n_spins": [30]}, "solver": {"kind": "spectral"}}, "[solver] kind: Spectral diagonalizes sectors of at most 4096"),
    (
        {"axes": {"n_spins": [2, 3]}, "battery": {"anisotropy": 2.0}},
        "[battery] `anisotropy` is alpha = 2.0, outside |alpha| <= 1",
    ),
    (
        {"axes": {"anisotropy": [0.0, 2.0]}, "battery": BATTERY},
        "[axes] anisotropy = 2.0: `anisotropy` is alpha = 2.0, outside |alpha| <= 1",
    ),
    ({"axes": {"field": [-1.0]}, "battery": BATTERY}, "[axes] field = -1.0: `field` has the negative value"),
    ({"axes": {"g": [1.0, -1.0]}, "battery": BATTERY}, "[axes] g = -1.0: `couplings` has the negative entry"),
    ({"battery": {"g": -1.0}}, "[battery] `couplings` has the negative entry"),
    (
        {"axes": {"field": [1.0]}, "battery": BATTERY | {"couplings": [[0, 1], [2, 0]]}},
        "[battery] `couplings` must be symmetric",
    ),
    ({"axes": {"field_strength": [-0.1]}, "battery": BATTERY}, "[axes] field_strength = -0.1: `strength` must not be negative"),
    ({"protocol": {"levels": [1.0], "duration": 0.0}}, "[protocol] `duration` must be positive"),
    ({"protocol": {"levels": [[1.0, 2.0]], "duration": 1.0}}, "[protocol] levels must be a list of numbers, but its shape"),
    ({"axes": {"omega": [1.0]}, "extra": {}}, "[extra] is unknown; allowed are axes, battery, protocol"),
]


@pytest.mark.parametrize(
    ("tables", "words"), REFUSALS, ids=[re.sub(r"[^a-z]+", " ", words)[:50].strip() for _, words in REFUSALS]
)
def test_refusals(tables, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        study(**tables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "tables",
    [
        {"axes": {"n_spins": [2, 3]}, "battery": {"p": 0.0}, "solver": {"kind": "collective"}},
        {"axes": {"seed": {"seeds": 2}}, "battery": BATTERY, "measure": {"gradients": ["strength"]}},
        {"axes": {"field": [0.5, 1.0]}, "battery": BATTERY | {"g": 0.0}},
        {
            "axes": {"field": [0.5, 1.0]},
            "battery": BATTERY | {"field_while_charging": True},
            "measure": {"quantities": ["charger"]},
        },
        {"axes": {"p": [0.0, 1.0], "couplings": ["power_law", "nearest_neighbor"]}, "battery": {"n_spins": 3}},
        {"axes": {"g": [0.0, 1.0], "n_spins": [1, 2]}, "battery": {"interactions_while_charging": False}},
    ],
    ids=["all to all", "slope of disorder", "field alone", "field of a charger", "one law of two", "interactions in the work"],
)
def test_axes_that_do_something(tables):
    assert list(study(**tables).axes) == list(tables["axes"])


def draws_a_negative_number(seed, n, disorder):
    """Whether the battery of a seed is refused where its numbers are seen."""
    key, (name, strength) = jax.random.key(seed), *disorder.items()
    couplings, field = jb.power_law(n, 1.0, 1.0), 1.0
    if name == "strength":
        couplings = jb.disordered(jax.random.fold_in(key, 0), couplings, strength)
    else:
        field = jb.random_field(jax.random.fold_in(key, 1), n, strength)
    return bool(couplings.min() < 0 or np.min(field) < 0)


@pytest.mark.parametrize(("name", "what"), [("strength", "coupling"), ("field_strength", "field")])
def test_every_seed_is_checked_before_any_work(name, what):
    """At the greatest strength and for every number of spins, and not only the first and the last seed."""
    bad = [seed for seed in range(60) if draws_a_negative_number(seed, 4, {name: 0.5})]
    good = [seed for seed in range(60) if not any(draws_a_negative_number(seed, n, {name: 0.5}) for n in (2, 4))]
    assert bad
    axes = {"n_spins": [2, 4], name: [0.5, 0.1], "seed": good}
    assert study(axes=axes).axes["seed"].tolist() == good
    axes |= {"seed": [good[0], bad[0], good[1]]}
    words = f'\\[axes\\] seed {bad[0]} draws a negative {what} at n_spins = [24], .* initial_state = "down"'
    with pytest.raises(ValueError, match=words):
        study(axes=axes)
    with pytest.raises(ValueError, match=words.replace("axes", "disorder")):
        study(axes={"n_spins": [2, 4]}, disorder={"seed": bad[0], name: 0.5})
    assert study(axes=axes, battery={"initial_state": "down"}).axes["seed"].tolist() == axes["seed"]
    assert study(axes=axes | {name: [0.1, 0.01]}).axes["seed"].tolist() == axes["seed"]


FILE = """
[axes]
n_spins = [2, 3]
omega = {linspace = [1.0, 4.0, 3]}
seed = {seeds = 2}

[disorder]
strength = 0.1

[measure]
quantities = ["max_power", "curve"]
horizon = 0.5
points = 4

[output]
netcdf = true
"""


def test_sweep_writes_its_files_and_goes_on_where_it_was(tmp_path, capsys, monkeypatch):
    file, out = tmp_path / "study.toml", tmp_path / "new" / "out"
    file.write_text(FILE)
    assert main(["sweep", str(file), "--out", str(out), "--plot"]) == 0
    printed = capsys.readouterr().out
    for part in ("max_power", "B^2", "12 of 12 points valid", "Wrote"):
        assert part in printed
    names = ["sweep.csv", "sweep.nc", "sweep.png", "sweep.zarr", "sweep_time.csv", "sweep_time_direction.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    expected = measured(parse_sweep(tomllib.loads(FILE)))
    rows = list(csv.DictReader((out / "sweep.csv").read_text().splitlines()))
    assert len(rows) == 12
    # The file holds 12 digits.
    np.testing.assert_allclose([float(row["max_power"]) for row in rows], expected.max_power.values.ravel(), rtol=1e-11)
    with xarray.open_dataset(out / "sweep.nc") as stored:
        np.testing.assert_array_equal(stored.max_power, expected.max_power)
    assert len((out / "sweep_time.csv").read_text().splitlines()) == 1 + 12 * 4

    def computed(*_):
        raise AssertionError("a finished chunk is computed once more")

    monkeypatch.setattr("jaxbatt.sweeps.programs.Program.run", computed)
    assert main(["sweep", str(file), "--out", str(out)]) == 0


def test_files_say_what_is_held_fixed(tmp_path):
    """Defaults included, in the words of the study file."""
    (tmp_path / "study.toml").write_text("""
        [axes]
        omega = [1.0, 2.0]
        [battery]
        n_spins = 2
        couplings = [[0, 1], [1, 0]]
        [disorder]
        strength = 0.1
        seed = 4000000000
        [protocol]
        levels = [1, -1]
        duration = 0.5
        [solver]
        kind = "spectral"
        tol = 1e-2
        [output]
        netcdf = true
    """)
    assert main(["sweep", str(tmp_path / "study.toml"), "--out", str(tmp_path)]) == 0
    numbers = {"n_spins": 2, "g": 1.0, "field": 1.0, "anisotropy": 0.0, "strength": 0.1, "field_strength": 0.0, "duration": 0.5}
    words = {"couplings": "[[0.0, 1.0], [1.0, 0.0]]", "seed": "4000000000", "levels": "[1.0, -1.0]", "kac": "false", "axis": "x"}
    words |= {"solver": "Spectral(tol=0.01)", "initial_state": "ground", "quantities": '["max_power"]', "distribution": "normal"}
    store = xarray.open_zarr(tmp_path / "sweep.zarr", consolidated=False)
    with xarray.open_dataset(tmp_path / "sweep.nc") as netcdf, store as stored:
        for data in (netcdf, stored):
            assert (numbers | words).items() <= data.attrs.items()
            assert not {"omega", "horizon"} & data.attrs.keys()


def test_plan_tells_points_memory_and_time(tmp_path, capsys):
    file = tmp_path / "study.toml"
    file.write_text(FILE)
    assert main(["plan", str(file)]) == 0
    printed = capsys.readouterr().out
    for part in ("n_spins = 2", "n_spins = 3", "12 points in", "without compiling", "MiB", "at the peak"):
        assert part in printed
    assert list(tmp_path.iterdir()) == [file]


def test_points_without_a_result_are_named(tmp_path, capsys):
    file = tmp_path / "study.toml"
    # Phases of 1e18 cannot be resolved in double precision.
    file.write_text(
        "[axes]\nhorizon = [0.5, 1e18]\n[battery]\nn_spins = 2\n"
        '[measure]\nquantities = ["max_work"]\n[solver]\nkind = "spectral"\n'
    )
    assert main(["sweep", str(file), "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == "jaxbatt: warning: 1 of 2 points have no valid result: horizon = 1e+18.\n"
    assert "1 of 2 points valid" in captured.out


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('x = "p"', "[plot] x must be one of the axes"),
        ('heat = "beta"', "[plot] heat must be one of the axes"),
        ('y = "speed"', "[plot] y must be one of"),
        ('x = "seed"', "[plot] x must be one of n_spins, omega, but it is 'seed', of which the mean is drawn."),
        ('hue = "g"', "[plot] hue must be one of n_spins, omega, but it is 'g', which has one value only."),
        ('x = "omega"\nhue = "omega"', "[plot] hue must be another axis than x, but it is 'omega'; remove it."),
        ('x = "omega"\nheat = "omega"', "[plot] heat must be another axis than x, but it is 'omega'; remove it."),
        ('hue = "n_spins"\nheat = "omega"', "[plot] hue and heat exclude each other"),
    ],
)
def test_a_plot_that_cannot_be_drawn(tmp_path, capsys, table, words):
    file = tmp_path / "study.toml"
    file.write_text(FILE.replace("[axes]", "[axes]\ng = [1.0]") + f"\n[plot]\n{table}\n")
    assert main(["sweep", str(file), "--out", str(tmp_path / "out"), "--plot"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("chosen", "drawing"),
    [
        ({}, {"x": "anisotropy", "hue": "n_spins"}),
        ({"hue": "anisotropy"}, {"x": "n_spins", "hue": "anisotropy"}),
        ({"heat": "anisotropy"}, {"x": "n_spins", "heat": "anisotropy"}),
        ({"x": "n_spins", "y": "max_power_time"}, {"x": "n_spins", "hue": "anisotropy", "y": "max_power_time"}),
    ],
)
def test_what_is_drawn(chosen, drawing):
    assert drawing_of(study(plot=chosen)) == {"y": "max_power", "hue": None, "heat": None} | drawing
