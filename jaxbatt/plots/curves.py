"""Charging curves, fields and optima against time."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxbatt._checks import check_instance, check_positive
from jaxbatt.plots.style import STYLE, axes, figure_of
from jaxbatt.protocols import Protocol
from jaxbatt.results import ChargingCurve, Peak

_CURVE = "a curve, as charge returns it"


def work(curve: ChargingCurve, ax: Axes | None = None, **line: Any) -> Axes:
    """Draws the stored work W(t) of a charging curve.

    Args:
        curve: what ``charge`` returned.
        ax: where to draw; a new figure of one column by default.
        line: options of ``Axes.plot``, such as ``label``.

    Returns:
        The axes.
    """
    check_instance("curve", curve, ChargingCurve, _CURVE)
    return _against_time(curve, curve.work, r"Work $W$ $(B)$", ax, line)


def power(curve: ChargingCurve, ax: Axes | None = None, **line: Any) -> Axes:
    """Draws the average power P(t) = W(t) / t of a charging curve; arguments as :func:`work`."""
    check_instance("curve", curve, ChargingCurve, _CURVE)
    return _against_time(curve, curve.power, r"Power $P$ $(B^2)$", ax, line)


def charging(curve: ChargingCurve, peak: Peak | None = None) -> Figure:
    """A figure of W(t) above P(t), with the maximum of the power marked where one is given."""
    top, bottom = axes(2, 1, height=4.0, sharex=True)[:, 0]
    work(curve, top)
    power(curve, bottom)
    top.set_xlabel("")
    if peak is not None:
        maximum(peak, bottom)
    return figure_of(bottom)


def maximum(peak: Peak, ax: Axes) -> Axes:
    """Marks the maximum of the power on axes that show P(t)."""
    check_instance("peak", peak, Peak, "a maximum, as max_power returns it")
    with matplotlib.rc_context(STYLE):
        ax.plot(
            [float(peak.time)], [float(peak.power)], "o", color="#D55E00", label=rf"$P_{{\max}} = {float(peak.power):.5g}\,B^2$"
        )
        ax.legend()
    return ax


def field(protocol: Protocol, end: float, ax: Axes | None = None, **line: Any) -> Axes:
    """Draws the charging field u(t) up to a time, one line for each spin where they differ.

    Args:
        protocol: the charging field.
        end: where to stop, in units of 1/B.
        ax: where to draw; a new figure of one column by default.
        line: options of ``Axes.stairs``, such as ``label``.

    Returns:
        The axes.

    Raises:
        ValueError: an end that is not a positive number.
    """
    check_instance("protocol", protocol, Protocol, "a field, as ConstantField(4.0)")
    check_positive("end", end, "give the time up to which the field is drawn")
    ax = axes()[0, 0] if ax is None else ax
    edges = np.minimum(np.concatenate([[0.0], np.asarray(protocol.edges)]), end)
    levels = np.asarray(protocol.levels).reshape(len(edges) - 1, -1)
    with matplotlib.rc_context(STYLE):
        for i, column in enumerate(levels.T):
            color = {} if levels.shape[1] > 1 else {"color": "black"}
            label = {"label": f"spin {i}"} if levels.shape[1] > 1 else {}
            ax.stairs(column, edges, baseline=None, **{"linewidth": 1.2, **color, **label, **line})
        ax.set_xlabel(r"Charging time $t$ $(1/B)$")
        ax.set_ylabel(r"Field $u$ $(B)$")
    return ax


def optimum(protocol: Protocol, curve: ChargingCurve, constant: Protocol, constant_curve: ChargingCurve) -> Figure:
    """A figure of the field, W(t) and P(t), one above the other, with a constant field dashed beside it.

    Args:
        protocol: the field, as of an ``Optimum``.
        curve: the charging curve under it.
        constant: the constant field.
        constant_curve: the charging curve under that.
    """
    dashed = {"color": "#D55E00", "linestyle": "--"}
    top, middle, bottom = axes(3, 1, height=5.0, sharex=True)[:, 0]
    field(protocol, float(curve.times[-1]), top)
    field(constant, float(constant_curve.times[-1]), top, **dashed, label=None)
    work(curve, middle, label="optimum")
    work(constant_curve, middle, **dashed, label="constant field")
    power(curve, bottom)
    power(constant_curve, bottom, **dashed)
    for ax in (top, middle):
        ax.set_xlabel("")
    if 1 < protocol.levels[0].size <= 8:
        with matplotlib.rc_context(STYLE):
            top.legend(ncols=2)
    return figure_of(bottom)


def _against_time(curve: ChargingCurve, values: Any, label: str, ax: Axes | None, line: dict[str, Any]) -> Axes:
    if np.ndim(values) != 1:
        raise ValueError(
            f"one curve is drawn at a time, but the shape of the values is {np.shape(values)}; draw them one by one."
        )
    ax = axes()[0, 0] if ax is None else ax
    # A line through one point is none.
    marker = "o" if len(values) == 1 else ""
    with matplotlib.rc_context(STYLE):
        ax.plot(np.asarray(curve.times), np.asarray(values), **{"color": "black", "marker": marker, **line})
        ax.set_xlabel(r"Charging time $t$ $(1/B)$")
        ax.set_ylabel(label)
        if "label" in line:
            ax.legend()
    return ax
