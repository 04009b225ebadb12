"""Statistics over samples, against NumPy on each point's own samples."""

import hypothesis
import numpy as np
import pytest
import xarray
from conftest import tol
from hypothesis import strategies as st

import jaxbatt as jb


def random_dataset(rng, points=3, samples=7, missing=0.3):
    """power (alpha, seed), work (alpha, seed, time), with points that are not valid, and what is no number over the seeds."""
    valid = rng.random((points, samples)) > missing
    power = np.where(valid, rng.normal(size=(points, samples)), np.nan)
    work = np.where(valid[..., None], rng.normal(size=(points, samples, 2)), np.nan)
    return xarray.Dataset(
        {
            "power": (("alpha", "seed"), power, {"units": "B^2"}),
            "work": (("alpha", "seed", "time"), work, {"units": "B", "note": "kept"}),
            "valid": (("alpha", "seed"), valid),
            "steps": (("alpha", "seed"), rng.integers(1, 9, (points, samples))),
            "bound": ("alpha", rng.random(points), {"units": "B"}),
        },
        coords={
            "alpha": ("alpha", np.linspace(-1, 1, points), {"units": ""}),
            "seed": np.arange(samples, dtype=np.uint32),
            "time": [0.1, 0.2],
        },
        attrs={"study": "abc"},
    )


@hypothesis.given(seed=st.integers(0, 2**32 - 1), missing=st.sampled_from([0.0, 0.3, 0.8, 1.0]), samples=st.integers(1, 8))
@hypothesis.settings(max_examples=30, deadline=None)
def test_every_point_by_itself(seed, missing, samples):
    dataset = random_dataset(np.random.default_rng(seed), samples=samples, missing=missing)
    found = jb.summarize(dataset, quantiles=(0.1, 0.5, 1.0))
    for i in range(3):
        good = dataset.valid.values[i]
        assert found["count"].values[i] == good.sum()
        assert found.valid.values[i] == good.any()
        for name, place in (("power", ()), ("work", (0,)), ("work", (1,))):
            numbers = dataset[name].values[i][(slice(None), *place)][good]
            mean, error, levels = (found[key].values[(i, *place)] for key in (name, f"{name}_stderr", f"{name}_quantile"))
            allowed = tol(float, samples * 4)
            if len(numbers) == 0:
                assert np.all(np.isnan([mean, error, *levels]))
                continue
            np.testing.assert_allclose(mean, np.mean(numbers), rtol=0, atol=allowed)
            np.testing.assert_allclose(levels, np.quantile(numbers, [0.1, 0.5, 1.0]), rtol=0, atol=allowed)
            if len(numbers) == 1:
                assert np.isnan(error)
            else:
                np.testing.assert_allclose(error, np.std(numbers, ddof=1) / len(numbers) ** 0.5, rtol=0, atol=allowed)


def test_names_dimensions_attributes():
    dataset = random_dataset(np.random.default_rng(0))
    found = jb.summarize(dataset)
    assert set(found.dims) == {"alpha", "time", "quantile"}
    made = {f"{name}{end}" for name in ("power", "work") for end in ("", "_stderr", "_quantile")}
    assert set(found.data_vars) == made | {"bound", "count", "valid"}
    assert found.work_quantile.dims == ("alpha", "time", "quantile")
    assert found["quantile"].values.tolist() == [0.05, 0.25, 0.5, 0.75, 0.95]
    assert found.attrs == dataset.attrs
    assert all(found[f"work{end}"].attrs == {"units": "B", "note": "kept"} for end in ("", "_stderr", "_quantile"))
    assert found.bound.identical(dataset.bound)
    assert found.alpha.identical(dataset.alpha)
    assert found.time.identical(dataset.time)


def test_a_mean_is_as_close_as_its_error_says():
    """Of 400 means of 50 normal numbers, the fraction within one standard error is 0.6776 (Student, 49), to five sigma."""
    numbers = np.random.default_rng(5).normal(3.0, 2.0, (400, 50))
    found = jb.summarize(xarray.Dataset({"power": (("alpha", "seed"), numbers)}))
    inside = np.abs(found.power.values - 3.0) < found.power_stderr.values
    assert abs(inside.mean() - 0.6776) < 5 * (0.6776 * 0.3224 / 400) ** 0.5


def test_one_bad_number_removes_its_sample():
    """NaN at one time, or in one variable, takes the whole sample out, flagged or not."""
    numbers = np.arange(12.0).reshape(4, 3)
    numbers[1, 2] = np.nan
    power = np.array([1.0, 2.0, np.nan, 4.0])
    dataset = xarray.Dataset({"work": (("seed", "time"), numbers), "power": ("seed", power)})
    for flagged in (dataset, dataset.assign(valid=("seed", [True] * 4))):
        found = jb.summarize(flagged)
        assert found["count"] == 2
        assert found.power == 2.5
        assert found.work.values.tolist() == [4.5, 5.5, 6.5]
    found = jb.summarize(dataset.assign(valid=("seed", [False, True, True, True])))
    assert found["count"] == 1
    assert found.work.values.tolist() == [9.0, 10.0, 11.0]
    assert np.isnan(found.power_stderr)


def test_over_another_dimension_and_over_two():
    dataset = random_dataset(np.random.default_rng(1), missing=0.0)
    assert jb.summarize(dataset, "alpha").power.dims == ("seed",)
    both = jb.summarize(dataset.stack(sample=("alpha", "seed")), "sample")
    assert both["count"] == dataset.power.size
    np.testing.assert_allclose(both.power, dataset.power.values.mean(), rtol=0, atol=tol(float, 60))


DATA = random_dataset(np.random.default_rng(2))
REFUSALS = [
    (lambda: jb.summarize(DATA, "sed"), "`over` must be a dimension of the dataset, alpha, seed, time, but it is 'sed'"),
    (lambda: jb.summarize(DATA[["steps"]]), "no variable of real numbers has the dimension 'seed'"),
    (
        lambda: jb.summarize(DATA, quantiles=(0.5, 1.5)),
        "`quantiles` must be a list of numbers in [0, 1], at least one, but they are (0.5, 1.5)",
    ),
    (lambda: jb.summarize(DATA, quantiles=()), "`quantiles` must be a list of numbers in [0, 1], at least one, but they are ()"),
    (
        lambda: jb.summarize(DATA, quantiles=0.5),
        "`quantiles` must be a list of numbers in [0, 1], at least one, but they are 0.5",
    ),
    (lambda: jb.summarize(jb.summarize(DATA), "alpha"), "the dataset has 'quantile' already, as after another summary"),
    (lambda: jb.summarize(DATA.rename(bound="power_stderr")), "the dataset has 'power_stderr' already"),
]


@pytest.mark.parametrize(("call", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
def test_refusals(call, words):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refusal:
        call()
    assert words in str(refusal.value)
