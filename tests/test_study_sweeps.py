"""Study files of sweeps: what a file stands for, one sentence for each mistake, and the two verbs."""

import csv
import tomllib

import jax
import numpy as np
import pytest
import xarray

import jaxbatt as jb
from jaxbatt.cli import main
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

        def peaks(omega, alpha, n=n):
            battery, drive = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), alpha), jb.ConstantField(omega)
            return jb.max_power(battery, drive), jb.max_work(battery, drive, horizon=0.3)

        power = jax.jit(jax.grad(lambda *x, peaks=peaks: peaks(*x)[0].power, (0, 1)))
        work = jax.jit(jax.grad(lambda *x, peaks=peaks: peaks(*x)[1].work, (0, 1)))
        for alpha in (-1.0, 0.0, 1.0):
            here = data.sel(n_spins=n, anisotropy=alpha)
            best, most = peaks(4.0, alpha)
            assert_close([here.max_power, here.max_power_time, here.max_power_work], [best.power, best.time, best.work])
            assert_close([here.max_work, here.max_work_time, here.max_work_power], [most.work, most.time, most.power])
            for quantity, slopes in (("power", power(4.0, alpha)), ("work", work(4.0, alpha))):
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


def test_the_table_leaves_out_points_that_are_not_valid(tmp_path, capsys, monkeypatch):
    """A maximum that is not certain has a number, too, and keeps it in the files."""

    def fn(omega):
        return {"max_power": omega, "max_power_certified": omega > 1}

    with pytest.warns(RuntimeWarning, match="1 of 3 points"):
        data = jb.sweep(fn, {"omega": [0.25, 4.0, 2.5]})
    monkeypatch.setattr(jb, "sweep", lambda *_, **__: data)
    file = tmp_path / "study.toml"
    file.write_text("[axes]\nn_spins = [2]\nomega = [0.25, 4.0, 2.5]\n")
    assert main(["sweep", str(file), "--out", str(tmp_path)]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "max_power" in line)
    assert [cell.strip() for cell in row.split("│")[3:5]] == ["2.5", "4"]
    rows = list(csv.DictReader((tmp_path / "sweep.csv").read_text().splitlines()))
    assert [(row["max_power"], row["valid"]) for row in rows] == [("0.25", "False"), ("4", "True"), ("2.5", "True")]
