"""Drawings of datasets: what is drawn is what is in the dataset."""

import numpy as np
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
