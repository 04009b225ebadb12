"""Sweeps in memory: grids, records, values against plain loops, refusals, lanes, plans, executors' refusals."""

import concurrent.futures as futures
import importlib.metadata
import itertools
import math
import multiprocessing
import threading
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from conftest import tol

import jaxbatt as jb
from jaxbatt.sweeps import planning, programs
from jaxbatt.sweeps.axes import Grid
from jaxbatt.sweeps.layout import points_of

ALPHA, OMEGA = np.array([-0.5, 0.0, 1.0]), np.array([1.0, 4.0])


def battery_of(n, alpha):
    return jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), alpha)


def strongest(n, alpha, omega):
    return jb.max_power(battery_of(n, alpha), jb.ConstantField(omega), solver=jb.Spectral())


BATTERIES = {"n": [2, 3], "alpha": ALPHA, "omega": OMEGA}


def wave(x, y):
    """Cheap, but with rounding at every step."""
    return {"sine": jnp.sin(3 * x) / (1 + y * y), "curve": jnp.exp(-y) * jnp.cos(x * jnp.arange(1.0, 4.0))}


WAVES = {"x": np.linspace(-1.0, 2.0, 7), "y": np.linspace(0.1, 0.9, 9)}


def assert_same_bits(one, other):
    """All arrays, coordinates and attributes, with the order of the dimensions and every dtype."""
    xarray.testing.assert_identical(one, other)
    for name in one.variables:
        assert one[name].dtype == other[name].dtype, name
        assert one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes(), name


@pytest.fixture(scope="module")
def maxima():
    """The sweep that several tests look at; two programs take seconds to compile."""
    return jb.sweep(strongest, BATTERIES)


class Both(NamedTuple):
    first: jax.Array
    rest: dict


# --- Values ---


def test_maxima_on_a_grid_are_those_of_a_loop(maxima):
    data = maxima
    assert data.power.dims == ("n", "alpha", "omega")
    assert data.power.shape == (2, 3, 2)
    assert set(data.data_vars) == {"power", "time", "work", "certified", "error", "applications", "valid"}
    for n, alpha, omega in itertools.product(*BATTERIES.values()):
        peak, point = strongest(n, alpha, omega), data.sel(n=n, alpha=alpha, omega=omega)
        # Phases up to bandwidth times time; the time of a maximum is known to the square root of that.
        rounding = tol(float, 4 * n * (1 + omega) * float(peak.time))
        np.testing.assert_allclose(point.power, peak.power, rtol=rounding)
        np.testing.assert_allclose(point.time, peak.time, rtol=math.sqrt(rounding))
        np.testing.assert_allclose(point.work, peak.work, rtol=math.sqrt(rounding))
        assert bool(point.certified)
        assert bool(point.valid)
    assert {name: data[name].attrs for name in ("power", "time", "work", "omega", "alpha")} == {
        "power": {"units": "B^2"},
        "time": {"units": "1/B"},
        "work": {"units": "B"},
        "omega": {"units": "B"},
        "alpha": {},
    }


def test_curves_on_a_grid_are_those_of_a_loop():
    times = jnp.linspace(0.0, 1.0, 5)

    def curve(n, alpha):
        return jb.charge(battery_of(n, alpha), jb.ConstantField(2.0), times, solver=jb.Spectral())

    dims = {"times": ["t"], "work": ["t"], "power": ["t"], "magnetization": ["t", "direction"]}
    data = jb.sweep(
        curve, {"n": [3, 2], "alpha": ALPHA}, dims=dims, coords={"t": times, "direction": ["x", "y", "z"]}, units={"t": "1/B"}
    )
    assert data.magnetization.dims == ("n", "alpha", "t", "direction")
    assert data.t.attrs == {"units": "1/B"}
    for n, alpha in itertools.product([3, 2], ALPHA):
        one = curve(n, alpha)
        point = data.sel(n=n, alpha=alpha)
        for name in ("times", "work", "power"):
            np.testing.assert_allclose(point[name], getattr(one, name), atol=tol(float, 4 * n))
        np.testing.assert_allclose(point.magnetization.sel(direction="z"), one.magnetization[:, 2], atol=tol(float, 4 * n))


def test_every_point_lands_in_its_place():
    def place(i, x, s, b, seed):
        return 1e4 * i + 1e3 * x + 100 * len(s) + 10 * b + seed

    axes = {"i": [3, 1, 2], "x": [0.5, 0.25], "s": ["bb", "a", "ccc"], "b": [True, False], "seed": jb.seeds(4, 2)}
    expected = np.array([place(*point) for point in itertools.product(*axes.values())]).reshape(3, 2, 3, 2, 4)
    for size in (1, 3, 5, "auto"):
        data = jb.sweep(place, axes, batch_size=size)
        assert data["value"].dims == tuple(axes)
        np.testing.assert_array_equal(data["value"], expected)
    assert data.s.to_numpy().tolist() == axes["s"]
    assert data.b.to_numpy().tolist() == axes["b"]
    assert data.seed.to_numpy().tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("axes", [{"x": [0.5]}, {"n": [3]}, {"x": [0.5], "y": WAVES["y"]}, {"y": WAVES["y"], "x": [0.5]}])
def test_one_point_and_an_axis_of_length_one(axes):
    def fn(x=0.25, y=0.75, n=2):
        return x + n * jnp.sqrt(y)

    data = jb.sweep(fn, axes)
    assert data["value"].shape == tuple(len(values) for values in axes.values())
    expected = [fn(**dict(zip(axes, point, strict=True))) for point in itertools.product(*axes.values())]
    np.testing.assert_allclose(data["value"].to_numpy().ravel(), expected, rtol=tol(float, 1))
    assert data.valid.all()


def test_seeds():
    assert jb.seeds(3).tolist() == [0, 1, 2]
    assert jb.seeds(2, 2**32 - 2).tolist() == [2**32 - 2, 2**32 - 1]
    assert jb.seeds(1).dtype == np.uint32
    data = jb.sweep(lambda seed: jax.random.normal(jax.random.key(seed), (2,)), {"seed": jb.seeds(20, 5)}, batch_size=3)
    expected = [jax.random.normal(jax.random.key(np.uint32(seed)), (2,)) for seed in range(5, 25)]
    np.testing.assert_allclose(data["value"], expected, rtol=tol(float, 1))


# --- Records ---


def test_names_and_dtypes_of_records():
    def fn(x):
        rest = {"b": x > 0, "c": (x * 1j, jnp.int32(0)), "info": jnp.uint8(0), "none": None, "half": jnp.float32(x)}
        return Both(jnp.zeros((2, 3)), rest)

    data = jb.sweep(fn, {"x": [-1.0, 2.0]})
    assert {name: (str(data[name].dtype), data[name].dims) for name in data.data_vars} == {
        "first": ("float64", ("x", "first_0", "first_1")),
        "rest_b": ("bool", ("x",)),
        "rest_c_0": ("complex128", ("x",)),
        "rest_c_1": ("int32", ("x",)),
        "rest": ("uint8", ("x",)),
        "rest_half": ("float32", ("x",)),
        "valid": ("bool", ("x",)),
    }
    np.testing.assert_array_equal(data.rest_c_0, [-1j, 2j])
    np.testing.assert_array_equal(data.rest_b, [False, True])
    assert list(jb.sweep(lambda x: x, {"x": [0.5]}).data_vars) == ["value", "valid"]
    assert list(jb.sweep(lambda x: (x, x), {"x": [0.5]}).data_vars) == ["0", "1", "valid"]


def test_solvers_are_known_whatever_is_returned():
    """Also of a number without its record, from inside of jit, vmap and a gradient; nothing is compiled to tell."""

    def point(alpha):
        def power(a, solver):
            return jb.max_power(jb.SpinBattery(1.0, jb.power_law(3, 1.0, 1.0), a), jb.ConstantField(4.0), solver=solver).power

        pair = jb.SpinBattery(1.0, jb.power_law(2, 1.0, 1.0), alpha)
        curve = jb.charge(pair, jb.ConstantField(4.0), [0.0, 0.1], solver=jb.Collective())
        slopes = jax.vmap(jax.jit(jax.grad(lambda a: power(a, jb.StateVector()))))(alpha * jnp.ones(2))
        return slopes.sum() + power(alpha, None) + curve.work[-1]

    traced = programs.Programs(point, Grid.of(point, {"alpha": [0.5]}).traced()).of({})
    assert traced.solvers == {repr(solver) for solver in (jb.Collective(), jb.Spectral(), jb.StateVector())}


def test_attributes_say_what_it_was_computed_with(maxima):
    one = maxima
    assert one.attrs["solvers"] == repr(jb.Spectral())
    assert jb.sweep(lambda x: x, {"x": [0.5]}).attrs["solvers"] == ""
    assert one.attrs["jax"] == jax.__version__
    assert one.attrs["jaxbatt"] == jb.__version__
    assert (one.attrs["platform"], one.attrs["dtype"], one.attrs["invalid"]) == (jax.default_backend(), "float64", 0)
    studies = [
        jb.sweep(fn, axes).attrs["study"]
        for fn, axes in (
            (wave, WAVES),
            (wave, WAVES | {"x": WAVES["x"] + 1}),
            (wave, dict(reversed(WAVES.items()))),
            (lambda x, y: x + y, WAVES),
            (lambda x, y: x + 2 * y, WAVES),
            (lambda x, y: x + jnp.linspace(0.0, 1.0, 999)[500] * y, WAVES),
            (lambda x, y: x + jnp.linspace(0.0, 2.0, 999)[500] * y, WAVES),
        )
    ]
    assert len(set(studies)) == len(studies)
    assert jb.sweep(lambda x, y: y + 0 * x, WAVES).attrs["study"] == jb.sweep(lambda y, x: y + 0 * x, WAVES).attrs["study"]


def test_jaxbatt_need_not_be_installed(monkeypatch):
    """It may be on the path alone."""
    version = importlib.metadata.version

    def installed(name):
        if name == "jaxbatt":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", installed)
    assert jb.sweep(lambda x: x * 2.0, {"x": [1.0]}).attrs["jaxbatt"] == jb.__version__


def test_attributes_say_what_is_held_fixed(tmp_path):
    attrs = {"omega": np.float64(4.0), "seed": np.int64(7), "law": "power law"}
    data = jb.sweep(lambda x: x * 2.0, {"x": [1.0]}, attrs=attrs, store=tmp_path / "study.zarr")
    assert attrs.items() <= data.attrs.items()
    data.to_netcdf(tmp_path / "study.nc")
    store = xarray.open_zarr(tmp_path / "study.zarr", consolidated=False)
    with xarray.open_dataset(tmp_path / "study.nc") as netcdf, store as stored:
        assert attrs.items() <= netcdf.attrs.items()
        assert attrs.items() <= stored.attrs.items()


@pytest.mark.parametrize("value", [True, None, [1.0], 2**31, np.nan, np.int64(2**40)])
def test_attributes_that_a_file_cannot_hold(value):
    with pytest.raises(ValueError, match="`attrs` must be strings, finite numbers and integers below 2\\^31, but 'omega' is"):
        jb.sweep(lambda x: x, {"x": [1.0]}, attrs={"omega": value})


@pytest.mark.parametrize("name", ["jax", "study", "invalid_points", "jaxbatt_study"])
def test_attributes_that_are_taken(name):
    with pytest.raises(ValueError, match=f"`attrs` names '{name}', which the sweep itself gives"):
        jb.sweep(lambda x: x, {"x": [1.0]}, attrs={name: "mine"})


def test_units_of_variables_axes_and_coordinates():
    data = jb.sweep(
        lambda x: {"speed": x, "row": x * jnp.ones(2), "time": x},
        {"x": [0.5]},
        units={"x": "m", "speed": "m/s", "row_0": "1"},
        coords={"row_0": [3.0, 4.0]},
    )
    assert [data[name].attrs.get("units") for name in ("x", "speed", "row_0", "time", "row")] == ["m", "m/s", "1", "1/B", None]


# --- Chunks, lanes, compilation ---


@pytest.mark.parametrize("size", [1, 2, 9, 10, 16, 62, 63, 1000, np.int64(5)])
def test_bits_do_not_depend_on_the_size_of_chunks(size):
    assert_same_bits(jb.sweep(wave, WAVES, batch_size=size), jb.sweep(wave, WAVES))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_bits_do_not_depend_on_the_batches_in_a_call(monkeypatch, turns):
    """63 points, 16 at a time: in one call by default, else in four or two."""
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    whole, calls, call = jb.sweep(wave, WAVES, batch_size=63), [], programs.Built.run
    monkeypatch.setattr(programs, "_CPU_TURNS", turns)
    monkeypatch.setattr(programs.Built, "run", lambda self, *points: calls.append(self.turns) or call(self, *points))
    assert_same_bits(jb.sweep(wave, WAVES, batch_size=63), whole)
    assert calls == [turns]


def test_results_of_a_call_fit_the_memory():
    def fn(x):
        return x * jnp.arange(2.0**17)

    built = programs.Programs(fn, Grid.of(fn, {"x": np.arange(4.0)}).traced()).of({}).compile()
    assert built.turns * built.lanes * 2**17 * 8 <= programs._RESULTS
    assert built.bytes < 3 * programs._RESULTS


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_bits_of_levels_do_not_depend_on_the_lane(n):
    """The same point in all lanes, with an odd number of times: no lane is the remainder of a product of small matrices."""

    def work(alpha, copy):
        battery = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), alpha, initial_state="down")
        return jb.charge(battery, jb.ConstantField(4.0), jnp.linspace(0.0, 0.5, 7), solver=jb.Spectral()).work

    values = jb.sweep(work, {"alpha": [-0.9, -0.2, 0.7], "copy": np.arange(32.0)}).value.to_numpy()
    np.testing.assert_array_equal(values, np.broadcast_to(values[:, :1], values.shape))


def test_bits_of_maxima_do_not_depend_on_the_size_of_chunks(maxima):
    """Six points of a program at once, and one at a time."""
    assert_same_bits(jb.sweep(strongest, BATTERIES, batch_size=1), maxima)


def test_static_values_are_traced_once_each_and_arrive_as_they_are():
    seen = []

    def fn(n, x, flag, name):
        seen.append((n, flag, name))
        assert [type(v) for v in (n, flag, name)] == [int, bool, str]
        return x * n

    jb.sweep(fn, {"n": [4, 2], "x": np.linspace(0, 1, 50), "flag": [True, False], "name": ["a", "b"]}, batch_size=3)
    assert sorted(seen) == sorted(itertools.product([4, 2], [True, False], ["a", "b"]))


def test_static_values_are_compiled_once_each(monkeypatch):
    made, compile_ = [], programs.Program._compile
    monkeypatch.setattr(programs.Program, "_compile", lambda self, lanes: made.append(lanes) or compile_(self, lanes))
    jb.sweep(lambda n, x: n * x, {"n": [4, 2, 3], "x": np.linspace(0, 1, 50)}, batch_size=3)
    assert made == [16, 16, 16]


@pytest.mark.parametrize(("points", "lanes"), [(1, 1), (2, 2), (5, 8), (16, 16), (17, 16), (400, 16)])
def test_lanes_are_no_more_than_the_grid_needs(monkeypatch, points, lanes):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    grid = Grid.of(lambda x, n: x, {"n": [1, 2, 3], "x": np.arange(float(points))})
    program = programs.Programs(lambda x, n: x, grid.traced()).of({"n": 1})
    assert program.compile().lanes == lanes


def test_lanes_fit_the_memory(monkeypatch):
    monkeypatch.setattr(programs, "_CPU_BYTES", 2**20)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")

    def fn(x):
        return jnp.sort(x * jnp.arange(2.0**15)).sum()

    built = programs.Programs(fn, Grid.of(fn, {"x": np.arange(1.0, 50.0)}).traced()).of({}).compile()
    assert 1 <= built.lanes < 16
    assert built.lanes & (built.lanes - 1) == 0


def test_chunks_fill_a_device(monkeypatch):
    grid = Grid.of(lambda x: x, {"x": np.arange(3000.0)})
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert points_of("auto", grid) == 46
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert points_of("auto", grid) == programs.LANES


def failing_above(limit, message, lanes):
    """A run of a compiled program that fails with more lanes than ``limit``, and tells how many lanes it was asked for."""
    run = programs.Built.run

    def planted(self, points, count):
        lanes.append(self.lanes)
        if self.lanes > limit:
            raise jax.errors.JaxRuntimeError(message)
        return run(self, points, count)

    return planted


def test_out_of_memory_halves_the_lanes(monkeypatch):
    whole, lanes = jb.sweep(wave, WAVES), []
    monkeypatch.setattr(programs.Built, "run", failing_above(4, "RESOURCE_EXHAUSTED: planted", lanes))
    monkeypatch.setattr("jaxbatt.sweeps.workers.threads", lambda: 1)
    halved = jb.sweep(wave, WAVES, batch_size=20)
    assert lanes == [16, 8, 4, 4, 4, 4]
    np.testing.assert_allclose(halved.sine, whole.sine, rtol=tol(float, 3))
    np.testing.assert_allclose(halved.curve, whole.curve, rtol=tol(float, 10))
    monkeypatch.setattr(programs.Built, "run", failing_above(0, "RESOURCE_EXHAUSTED: planted", lanes))
    with pytest.raises(jax.errors.JaxRuntimeError, match="planted"):
        # In one chunk: another would still run when the next test plants its own failures.
        jb.sweep(wave, WAVES, batch_size=63)
    assert lanes[6:] == [16, 8, 4, 2, 1]


def test_other_errors_of_the_device_are_not_tried_again(monkeypatch):
    lanes = []
    monkeypatch.setattr(programs.Built, "run", failing_above(4, "INTERNAL: planted", lanes))
    monkeypatch.setattr("jaxbatt.sweeps.workers.threads", lambda: 1)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        jb.sweep(lambda x: x, {"x": np.arange(20.0)}, batch_size=20)
    assert lanes == [16]


def test_what_fits_the_memory_only_once_runs_alone(monkeypatch):
    running, most, lock, run = [0], [0], threading.Lock(), programs.Built.run

    def watched(self, points, count):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        try:
            return run(self, points, count)
        finally:
            with lock:
                running[0] -= 1

    monkeypatch.setattr(programs.Built, "run", watched)
    monkeypatch.setattr(programs, "available_memory", lambda: 1000)
    monkeypatch.setattr(programs, "require_memory", lambda *_: None)
    monkeypatch.setattr("jaxbatt.sweeps.workers.threads", lambda: 4)
    jb.sweep(wave, WAVES, batch_size=1)
    assert most == [1]


def test_the_precision_around_a_sweep_holds_in_its_threads():
    def fn(x):
        return x * jnp.sin(jnp.arange(1.0, 100.0)).sum()

    with jax.enable_x64(False):
        data = jb.sweep(fn, {"x": [0.5, 1.0]})
        expected = jax.jit(jax.vmap(fn))(jnp.array([0.5, 1.0]))
    assert data["value"].dtype == np.float32
    assert data["value"].to_numpy().tobytes() == np.asarray(expected).tobytes()
    assert data.attrs["dtype"] == "float32"


# --- Points without a result ---


def test_a_failing_point_is_marked_and_named_and_the_rest_survives():
    def fn(n, x):
        return {"bad": jnp.where(x == 0.25 * n, jnp.nan, x), "row": jnp.stack([x, x]), "count": jnp.int32(n)}

    axes = {"n": [1, 2], "x": np.array([0.0, 0.25, 0.5])}
    with pytest.warns(
        RuntimeWarning, match=r"^2 of 6 points have no valid result: n = 1, x = 0\.25; n = 2, x = 0\.5\.$"
    ) as caught:
        data = jb.sweep(fn, axes)
    assert [warning.filename for warning in caught] == [__file__]
    np.testing.assert_array_equal(data.valid, [[True, False, True], [True, True, False]])
    np.testing.assert_array_equal(np.isnan(data.bad), ~data.valid)
    np.testing.assert_array_equal(data.row, np.broadcast_to(axes["x"][:, None], (2, 3, 2)))
    np.testing.assert_array_equal(data["count"], [[1] * 3, [2] * 3])
    assert data.attrs["invalid"] == 2
    assert data.attrs["invalid_points"] == "n = 1, x = 0.25; n = 2, x = 0.5"


@pytest.mark.parametrize(
    "record",
    [
        lambda x: {"row": jnp.where(jnp.arange(3) == 1, jnp.where(x > 0, jnp.nan, 0.0), x)},
        lambda x: {"c": jnp.where(x > 0, jnp.nan, x) * 1j},
        lambda x: {"valid": x <= 0},
        lambda x: {"peak": {"certified": x <= 0}, "y_": x},
        lambda x: {"peak_info": {"valid": x <= 0}},
        lambda x: {"certified": jnp.stack([x <= 0, x == x])},
    ],
)
def test_everything_that_makes_a_point_invalid(record):
    with pytest.warns(RuntimeWarning, match="1 of 2 points have no valid result: x = 1.0"):
        data = jb.sweep(record, {"x": [-1.0, 1.0]})
    assert data.valid.to_numpy().tolist() == [True, False]


def test_infinities_and_other_flags_are_results():
    data = jb.sweep(lambda x: {"inf": 1 / x, "flag": x > 9, "invalidated": x > 9}, {"x": [0.0, 1.0]})
    assert data.valid.all()


def test_many_failing_points_are_counted():
    with pytest.warns(RuntimeWarning, match=r"x = 0\.0; x = 1\.0; x = 2\.0 and 27 more\.$"):
        data = jb.sweep(lambda x: x * jnp.nan, {"x": np.arange(30.0)})
    assert data.attrs["invalid"] == 30
    assert data.attrs["invalid_points"].count(";") == 19


def test_a_charge_that_cannot_be_computed():
    def fn(omega):
        return jb.charge(battery_of(2, 0.0), jb.ConstantField(omega), jnp.array([0.5, 1.0]), solver=jb.Spectral())

    # Phases of 1e18 cannot be resolved in double precision.
    with pytest.warns(RuntimeWarning, match=r"1 of 3 points have no valid result: omega = 1e\+18"):
        data = jb.sweep(fn, {"omega": [1.0, 1e18, 2.0]})
    assert np.isnan(data.work[1]).all()
    np.testing.assert_allclose(data.work[[0, 2]], [fn(1.0).work, fn(2.0).work], atol=tol(float, 20))


# --- Refusals ---


def two(x):
    return {"a": x * jnp.ones(2), "b": x * jnp.ones(3), "t": x}


@pytest.mark.parametrize(
    ("fn", "axes", "options", "words"),
    [
        (wave, {}, {}, "`axes` is empty"),
        (wave, WAVES | {"x": []}, {}, r"axis 'x' must be a vector of at least one value, but its shape is \(0,\)"),
        (wave, WAVES | {"x": 1.0}, {}, r"axis 'x' must be a vector of at least one value, but its shape is \(\)"),
        (wave, WAVES | {"x": [[1.0]]}, {}, r"its shape is \(1, 1\)"),
        (wave, WAVES | {"x": [1j]}, {}, "axis 'x' must hold .*, but its dtype is complex128"),
        (wave, WAVES | {"x": [None]}, {}, "axis 'x' must hold .*, but its dtype is object"),
        (wave, WAVES | {"x": [0.0, np.nan]}, {}, "axis 'x' must be finite, but it holds nan"),
        (wave, WAVES | {"x": [np.inf]}, {}, "axis 'x' must be finite, but it holds inf"),
        (wave, WAVES | {"x": [1.0, 2.0, 1.0]}, {}, "axis 'x' holds the value 1.0 twice"),
        (lambda s: 0.0, {"s": ["a", "a"]}, {}, "axis 's' holds the value 'a' twice"),
        (wave, [("x", [1.0])], {}, "`axes` must be a dictionary of names and values, but it is of type list"),
        (wave, WAVES | {"x": [[1.0], [1.0, 2.0]]}, {}, "axis 'x' must be a vector of values of one kind"),
        (lambda s: 0.0, {"s": [1, "a"]}, {}, r"axis 's' must hold values of one kind, but .* in \[1, 'a'\]"),
        (lambda x, /: x, {"x": [1.0]}, {}, "axis 'x' is no parameter of the function; it has none that can be given by name"),
        (wave, WAVES, {"executor": 3}, "`executor` must be an executor of .* but is of type int"),
        (wave, WAVES | {"z": [1.0]}, {}, "axis 'z' is no parameter of the function; its parameters are x, y"),
        (wave, {"x": [1.0]}, {}, "the function needs 'y', but there is no such axis"),
        (wave, WAVES, {"batch_size": 0}, "`batch_size` must be .* but it is 0"),
        (wave, WAVES, {"batch_size": True}, "`batch_size` must be .* but it is True"),
        (wave, WAVES, {"batch_size": 1.5}, "`batch_size` must be .* but it is 1.5"),
        (wave, WAVES, {"batch_size": "all"}, "`batch_size` must be .* but it is 'all'"),
        (lambda x: None, {"x": [1.0]}, {}, "the function returns no array"),
        (lambda x: float(x), {"x": [1.0]}, {}, "the function cannot be traced by JAX; write it in jax.numpy, without float()"),
        (lambda x: x if x > 2 else 0.0, {"x": [1.0]}, {}, "the function cannot be traced by JAX; .* or `if` on the values"),
        (lambda x: {"a": {"b": x}, "a_b": x}, {"x": [1.0]}, {}, "two arrays of the name 'a_b'"),
        (lambda x: {"x": x}, {"x": [1.0]}, {}, "the function returns 'x', which is an axis, too"),
        (lambda valid: valid, {"valid": [1.0]}, {}, "the function returns 'valid', which is an axis, too"),
        (lambda x: {"valid": x}, {"x": [1.0]}, {}, "the function returns `valid`, which must be one bool"),
        (lambda x: {"a/b": x}, {"x": [1.0]}, {}, "the function returns 'a/b'; a name must not contain a slash"),
        (lambda x: x.astype(jnp.bfloat16), {"x": [1.0]}, {}, "returns 'value' with dtype bfloat16"),
        (lambda x: jax.random.key(0), {"x": [1.0]}, {}, "returns 'value' with dtype key<"),
        (lambda n: jnp.ones(n), {"n": [2, 3]}, {}, r"'value' is \(2,\) at first and \(3,\) at {'n': 3}"),
        (lambda n: {"a": 1.0} | ({"b": 2.0} if n > 2 else {}), {"n": [2, 3]}, {}, "'b' is absent at first and .* at {'n': 3}"),
        (two, {"x": [1.0]}, {"dims": {"c": ["u"]}}, "`dims` names 'c', but the function returns a, b, t"),
        (two, {"x": [1.0]}, {"dims": {"x": ["u"]}}, "`dims` names 'x', but the function returns a, b, t"),
        (two, {"x": [1.0]}, {"dims": {"a": ["u", "v"]}}, "`dims` must name 1 dimensions of 'a'"),
        (two, {"x": [1.0]}, {"dims": {"a": "u"}}, "`dims` must name 1 dimensions of 'a', but it is 'u'"),
        (
            two,
            {"x": [1.0]},
            {"dims": {"a": ["u"], "b": ["u"]}},
            "the dimension 'u' has 3 values in 'b' and 2 in another variable",
        ),
        (two, {"x": [1.0]}, {"dims": {"a": ["t"]}}, "the dimension 't' of 'a' is the name of a variable"),
        (two, {"x": [1.0]}, {"dims": {"a": ["a"]}}, "the dimension 'a' of 'a' is the name of a variable"),
        (two, {"x": [1.0]}, {"dims": {"a": ["x"]}}, "the dimension 'x' of 'a' is the name of a variable, an axis"),
        (lambda x: x * jnp.ones((2, 2)), {"x": [1.0]}, {"dims": {"value": ["u", "u"]}}, "or another dimension, too"),
        (two, {"x": [1.0]}, {"coords": {"a_0": [1.0]}}, r"`coords` must give 2 values for 'a_0', but their shape is \(1,\)"),
        (two, {"x": [1.0]}, {"coords": {"u": [1.0]}}, "`coords` must give no values for 'u'"),
        (two, {"x": [1.0]}, {"units": {"u": "m"}}, "`units` names 'u', but there is no such array; there are a, b, t, valid, x"),
    ],
)
def test_refusals_before_any_work(monkeypatch, fn, axes, options, words):
    def never(*_):
        raise AssertionError("computed before the refusal")

    monkeypatch.setattr(programs.Built, "run", never)
    with pytest.raises(ValueError, match=words):
        jb.sweep(fn, axes, **options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0,), "`count` must be an integer of at least 1, but it is 0"),
        ((2.5,), "`count` must be an integer of at least 1, but it is 2.5"),
        ((True,), "`count` must be an integer of at least 1, but it is True"),
        ((3, -1), "`first` must be an integer of at least 0, but it is -1"),
        ((3, 1.5), "`first` must be an integer of at least 0, but it is 1.5"),
        ((2, 2**32 - 1), "the last one is 4294967296"),
    ],
)
def test_refused_seeds(arguments, words):
    with pytest.raises(ValueError, match=words):
        jb.seeds(*arguments)


def test_a_refusal_of_the_function_says_at_which_static_values():
    with pytest.raises(ValueError, match="number of spins") as caught:
        jb.sweep(lambda n, x: x * jb.power_law(n, 1.0, 1.0), {"n": [2, 0], "x": [1.0]})
    assert "This happened at n = 0." in caught.value.__notes__


def test_executors_that_cannot_work_are_refused():
    lock = threading.Lock()
    with futures.ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="cannot be sent to an executor"):
        jb.sweep(lambda x: x * lock.locked(), {"x": [1.0]}, executor=pool)
    with (
        futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool,
        pytest.raises(ValueError, match="the executor forks this process"),
    ):
        jb.sweep(wave, WAVES, executor=pool)


# --- Progress ---


def test_progress_on_a_terminal_only(monkeypatch, capsys):
    jb.sweep(wave, WAVES)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    jb.sweep(wave, WAVES)
    shown = capsys.readouterr().err
    assert "63/63" in shown
    assert "points/s" in shown
    jb.sweep(wave, WAVES, progress=False)
    assert capsys.readouterr() == ("", "")


# --- Plans ---


def test_a_plan_counts_applications_and_points(maxima):
    plan, data = jb.plan(strongest, BATTERIES), maxima
    assert plan.points == data["power"].size == 12
    assert [part.static for part in plan.parts] == [{"n": 2}, {"n": 3}]
    assert [part.points for part in plan.parts] == [6, 6]
    # All points of this small grid are measured.
    assert plan.applications == int(data.applications.sum())
    assert [part.applications for part in plan.parts] == data.applications.sum(["alpha", "omega"]).to_numpy().tolist()
    assert plan.results == sum(data[name].nbytes for name in data.data_vars)
    assert plan.memory == plan.results + max(part.memory for part in plan.parts)
    assert min(part.memory for part in plan.parts) > 0
    assert plan.process > 0
    assert plan.seconds > 0


def test_applications_of_a_large_grid_are_the_mean_of_what_was_measured():
    def fn(x):
        return {"applications": jnp.int32(x)}

    plan = jb.plan(fn, {"x": np.arange(1001.0)})
    # Evenly spread points have the mean of the whole.
    assert plan.applications == 1001 * 500


def test_a_plan_measures_neighbors_as_a_sweep_computes_them():
    grid = Grid.of(lambda x, n, y: x, {"x": np.arange(10.0), "n": [1, 2], "y": np.arange(7.0)})
    points = grid.spread(3, 4)
    np.testing.assert_array_equal(7 * points["x"] + points["y"], [0, 1, 2, 3, 33, 34, 35, 36, 66, 67, 68, 69])


@pytest.mark.parametrize(("size", "chunks", "batches"), [(1, 63, 63), (9, 7, 7), (18, 4, 7), (1000, 1, 4)])
def test_the_time_of_a_plan_counts_whole_batches(monkeypatch, size, chunks, batches):
    monkeypatch.setattr(planning, "_probe", lambda *_: (2.0, 3.0))
    plan = jb.plan(lambda x, y, n: x + y, {"x": WAVES["x"], "n": [1, 2], "y": WAVES["y"]}, batch_size=size)
    assert plan.chunks == 2 * chunks
    assert [part.seconds for part in plan.parts] == [3.0 * batches] * 2
    assert plan.applications == 2.0 * 126


def test_a_plan_without_a_probe_computes_nothing(monkeypatch):
    def never(*_):
        raise AssertionError("computed")

    monkeypatch.setattr(programs.Built, "run", never)
    plan = jb.plan(wave, WAVES, probe=False)
    assert math.isnan(plan.applications)
    assert math.isnan(plan.seconds)
    assert plan.points == 63
    assert math.isnan(jb.plan(lambda n: 1.0, {"n": [1, 2]}, probe=False).seconds)


def test_a_plan_of_what_tells_no_applications():
    plan = jb.plan(lambda n: 1.0 * n, {"n": [1, 2]})
    assert math.isnan(plan.applications)
    assert plan.points == 2
    assert [part.together for part in plan.parts] == [1, 1]


def test_a_plan_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="one point at n = 2"):
        jb.plan(lambda n, x: jnp.sort(jnp.arange(2.0**44) * x)[n], {"n": [2], "x": [1.0]}, probe=False)
