"""The look of all figures: sizes, fonts, colors."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMN_WIDTH = 3.375
"""Inches: one column of Physical Review; two columns are 7."""

STYLE: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "axes.unicode_minus": True,
}
"""matplotlib settings of all figures; for your own: ``with matplotlib.rc_context(jaxbatt.plots.STYLE): ...``."""

COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Colors that the color-blind tell apart (Okabe and Ito), and markers that go with them."""
GRAY = "#C8C8C8"
"""Where there is no result."""


def axes(rows: int = 1, columns: int = 1, *, width: float = COLUMN_WIDTH, height: float = 2.5, **options: Any) -> np.ndarray:
    """An array (rows, columns) of axes in a new figure of that size in inches, in the style of all figures here."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure.subplots(rows, columns, squeeze=False, **options)


def figure_of(ax: Axes) -> Figure:
    """The figure that axes belong to."""
    figure = ax.get_figure(root=True)
    if figure is None:
        raise ValueError("`ax` belongs to no figure; pass axes of a figure.")
    return figure
