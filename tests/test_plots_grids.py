"""Drawings of datasets: what is drawn is what is in the dataset."""

import matplotlib
import numpy as np
import pytest
import xarray

import jaxbatt as jb

SIZES = np.array([8, 2, 4, 6])
POWER = np.array([[80.0, 20.0, 40.0, 60.0], [8.0, 2.0, np.nan, 6.0]])


def dataset():
    arrays = {"power": (("alpha", "n"), POWER), "power_stderr": (("alpha", "n"), POWER / 10)}
    return xarray.Dataset(arrays, coords={"alpha": [0.5, -0.5], "n": SIZES})


def test_lines_go_from_left_to_right():
    ax = jb.plots.lines(dataset(), "power", "n", hue="alpha")
    drawn = [line for line in ax.lines if len(line.get_xdata())]
    order = np.argsort(SIZES)
    for line, row, band in zip(drawn, POWER, ax.collections, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), SIZES[order])
        np.testing.assert_array_equal(line.get_ydata(), row[order])
        corners = {tuple(corner) for path in band.get_paths() for corner in path.vertices}
        good = ~np.isnan(row)
        assert {(n, p + p / 10) for n, p in zip(SIZES[good], row[good], strict=True)} <= corners


def test_a_heat_map_puts_every_value_in_its_cell():
    mesh = jb.plots.heat_map(dataset(), "power", "n", "alpha").collections[0]
    expected = np.ma.masked_invalid(POWER[::-1][:, np.argsort(SIZES)])
    np.testing.assert_array_equal(mesh.get_array().filled(-1.0), expected.filled(-1.0))


def test_a_store_that_xarray_opened(tmp_path):
    """Its strings are of another type; and all of it, attributes too, can be saved as netCDF."""
    made = jb.sweep(
        lambda kind, alpha: {"power": alpha * len(kind)},
        {"kind": ["a", "bb"], "alpha": np.array([0.5, 1.0])},
        store=tmp_path / "study.zarr",
        attrs={"omega": 4.0},
    )
    opened = xarray.open_zarr(tmp_path / "study.zarr", consolidated=False)
    labels = [text.get_text() for text in jb.plots.lines(opened, "power", "alpha", hue="kind").get_legend().get_texts()]
    assert labels == [text.get_text() for text in jb.plots.lines(made, "power", "alpha", hue="kind").get_legend().get_texts()]
    with pytest.raises(ValueError, match=r"more dimensions.*kind.*dataset\.sel\(kind='a'\)"):
        jb.plots.lines(opened, "power", "alpha")
    opened.to_netcdf(tmp_path / "study.nc")
    with xarray.open_dataset(tmp_path / "study.nc") as saved:
        np.testing.assert_array_equal(saved.power, made.power)
        assert saved.attrs["omega"] == 4.0


def growing(hue):
    """Local exponents and a fit of n^1.5 and of n^2 with a kink."""
    sizes = np.array([8, 2, 4, 6])
    power = np.stack([sizes**1.5, np.where(sizes < 6, 1.0, 2.0) * sizes**2.0])
    data = xarray.Dataset({"power": (("alpha", "n"), power)}, coords={"alpha": [0.5, -0.5], "n": sizes})
    return jb.scaling(data if hue else data.isel(alpha=1), x="n", y="power", window=2)


@pytest.mark.parametrize("hue", [None, "alpha"])
def test_exponents_with_their_windows_and_the_fit(hue):
    scaling = growing(hue)
    ax = jb.plots.exponent(scaling, hue=hue)
    rows = [scaling] if hue is None else [scaling.isel(alpha=k) for k in range(2)]
    assert len(ax.containers) == len(rows)
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    for row, container, fit in zip(rows, ax.containers, dashed, strict=True):
        points, _, (bars,) = container.lines
        centers = np.sqrt([2 * 4, 4 * 6, 6 * 8])
        np.testing.assert_allclose(points.get_xdata(), centers)
        np.testing.assert_array_equal(points.get_ydata(), row["local_exponent"])
        assert points.get_linestyle() == "None"
        # Each bar reaches from the first to the last number of spins of its window.
        spans = [segment[:, 0] for segment in bars.get_segments()]
        np.testing.assert_allclose(spans, [[2, 4], [4, 6], [6, 8]])
        np.testing.assert_array_equal(fit.get_ydata(), [float(row["exponent"])] * 2)
        assert fit.get_color() == points.get_color()
    kinked = ax.containers[-1].lines[0].get_ydata(orig=False)
    np.testing.assert_allclose(kinked, [2, 2 + np.log(2) / np.log(1.5), 2])
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    if hue is None:
        fit = f"one fit: ${float(scaling['exponent']):.3f} \\pm {float(scaling['exponent_stderr']):.3f}$"
        assert texts == [fit]
    else:
        np.testing.assert_allclose(dashed[0].get_ydata(), 1.5)
        assert len(texts) == 2
    assert ax.get_ylabel() == r"Local exponent $d\ln P\,/\,d\ln N$"


def test_geometric_sequences_are_drawn_on_a_logarithmic_scale():
    """Cells of one width there, and none beyond zero; equidistant numbers and integers stay on a linear one."""
    fields, steps = np.geomspace(0.01, 100.0, 9), np.linspace(1.0, 3.0, 4)
    values = np.outer(fields, steps)
    data = xarray.Dataset({"power": (("omega", "alpha"), values)}, {"omega": fields, "alpha": steps})
    ax = jb.plots.heat_map(data, "power", "omega", "alpha")
    borders = ax.collections[0].get_coordinates()[0, :, 0]
    np.testing.assert_allclose(np.diff(np.log10(borders)), 0.5, rtol=1e-12)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    np.testing.assert_allclose(ax.get_xlim(), borders[[0, -1]], rtol=1e-12)
    assert jb.plots.lines(data, "power", "omega", hue="alpha").get_xscale() == "log"
    assert jb.plots.lines(data.assign_coords(omega=2 ** np.arange(9)), "power", "omega", hue="alpha").get_xscale() == "linear"


def test_geometric_sequences_are_told_apart_by_the_logarithm():
    """More lines than a legend holds: equal steps of color for equal factors; for equidistant numbers equal differences."""
    fields = np.geomspace(0.01, 100.0, 9)
    data = xarray.Dataset({"power": (("omega", "alpha"), np.ones((9, 4)))}, {"omega": fields, "alpha": np.arange(4.0)})
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 1, 9))
    for dataset in (data, data.assign_coords(omega=np.linspace(1, 3, 9))):
        ax = jb.plots.lines(dataset, "power", "alpha", hue="omega")
        np.testing.assert_allclose([line.get_color() for line in ax.lines], shades, atol=0.01)
    bars = [ax.figure.axes[1] for ax in (jb.plots.lines(data, "power", "alpha", hue="omega"), ax)]
    assert [bar.get_yscale() for bar in bars] == ["log", "linear"]


def test_what_cannot_be_drawn_is_said():
    data = xarray.Dataset({"power": (("omega",), [1.0, 2.0])}, {"omega": [1.0, 2.0]})
    with pytest.raises(ValueError, match=r"must be an xarray\.Dataset of `sweep` or `summarize`, but it is a DataArray"):
        jb.plots.lines(data.power, "power", "omega")
    with pytest.raises(ValueError, match="'omega' is given twice; name another dimension"):
        jb.plots.lines(data, "power", "omega", hue="omega")
    with pytest.raises(ValueError, match=r"`scaling` must be what jb\.scaling returned, but it holds power"):
        jb.plots.exponent(data)
