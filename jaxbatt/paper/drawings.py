"""The figures of the paper, drawn from their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxbatt.paper.chains import LR, NN, XXX
from jaxbatt.paper.figures import fig4_stops
from jaxbatt.paper.tables import Table, where
from jaxbatt.plots import STYLE, axes, figure_of

BLACK, BLUE, ORANGE, GRAY = "#000000", "#0072B2", "#D55E00", "#8A8A8A"

LOOKS: dict[str, dict[str, Any]] = {
    XXX.name: {"color": BLACK, "marker": "s", "linestyle": "-"},
    NN.name: {"color": BLUE, "marker": "o", "linestyle": "--"},
    LR.name: {"color": ORANGE, "marker": "^", "linestyle": "-."},
}
LABELS = {XXX.name: r"XXX", NN.name: r"NN", LR.name: r"LR, $p=1$"}

Draw = TypeVar("Draw", bound=Callable[[Table], Figure])


def _in_style(draw: Draw) -> Draw:
    return matplotlib.rc_context(STYLE)(draw)


@_in_style
def draw_fig2(table: Table) -> Figure:
    """Greatest power against the anisotropy, relative to independent spins."""
    ax = axes()[0, 0]
    for name in (LR.name, NN.name):
        rows = where(table, coupling=name)
        ax.plot(rows["alpha"], rows["ratio"], label=LABELS[name], markevery=4, **LOOKS[name])
    ax.axhline(1.0, color=GRAY, linewidth=0.8, linestyle=":", label="independent spins")
    ax.set(xlabel=r"Anisotropy $\alpha$", ylabel=r"$P_{\max}\,/\,P_{\max}^{\mathrm{ind}}$", xlim=(-1, 1))
    ax.set_xticks([-1, -0.5, 0, 0.5, 1])
    ax.text(0.05, 0.18, r"$N=4,\ g=B,\ \omega=4B$", transform=ax.transAxes)
    ax.legend()
    return figure_of(ax)


@_in_style
def draw_fig3(table: Table) -> Figure:
    """Work of two strongly coupled spins: exact, slow, slow and fast."""
    ax = axes()[0, 0]
    ax.plot(table["scaled_time"], table["work_exact"], color=BLUE, linewidth=0.8, label="exact")
    ax.plot(
        table["scaled_time"],
        table["work_slow_fast"],
        color=ORANGE,
        linewidth=0.8,
        linestyle=(0, (2, 1)),
        label="slow + fast, Eq. (13)",
    )
    ax.plot(table["scaled_time"], table["work_slow"], color=BLACK, linewidth=1.4, linestyle="-", label="slow, Eq. (14)")
    ax.set(xlabel=r"$\omega^2 t/g$", ylabel=r"Work $W$ $(B)$", xlim=(0, np.pi), ylim=(0, 8.2))
    ax.set_xticks([0, np.pi / 4, np.pi / 2, 3 * np.pi / 4, np.pi], ["0", r"$\pi/4$", r"$\pi/2$", r"$3\pi/4$", r"$\pi$"])
    ax.legend(loc="upper left")
    return figure_of(ax)


@_in_style
def draw_fig4(table: Table) -> Figure:
    """Slow and fast charging of strongly coupled chains against N, in four panels."""
    grid = axes(2, 2, width=7.0, height=4.6)
    panels = (
        ("max_work_slow", r"Max. work (slow peak) $(B)$", "linear"),
        ("max_power_fast", r"Max. power (fast peak) $(B^2)$", "linear"),
        ("power_at_max_work", r"Power at max. work $(B^2)$", "log"),
        ("work_at_max_power", r"Work at max. power $(B)$", "linear"),
    )
    for ax, letter, (column, label, scale) in zip(grid.flat, "abcd", panels, strict=True):
        _against_size(ax, table, column)
        ax.set(ylabel=label, yscale=scale)
        ax.set_title(f"({letter})", loc="left", fontsize=9)
    grid[0, 0].legend(loc="upper left")
    grid[0, 1].text(0.97, 0.05, r"$g=100B,\ \omega=4B$", transform=grid[0, 1].transAxes, ha="right")
    figure = figure_of(grid[0, 0])
    figure.supxlabel(fig4_stops(table).replace("2c_N", "$2c_N$").replace("N =", "$N$ ="), fontsize=7.5)
    return figure


@_in_style
def draw_fig5(table: Table) -> Figure:
    """Work and power of seven spins: exact and with the interactions off."""
    grid = axes(2, 1, height=4.0, sharex=True)[:, 0]
    labels = (("work", r"Work $W$ $(B)$"), ("power", r"Power $P$ $(B^2)$"))
    for ax, letter, (quantity, label) in zip(grid, "ab", labels, strict=True):
        shown = slice(1 if quantity == "power" else 0, None)
        ax.plot(table["time"][shown], table[f"{quantity}_exact"][shown], color=BLUE, label="exact")
        ax.plot(table["time"][shown], table[f"{quantity}_eq18"][shown], color=ORANGE, linestyle="--", label="Eq. (18)")
        ax.set(ylabel=label, xlim=(0, table["time"][-1]), ylim=(0, None))
        ax.text(0.03, 0.90, f"({letter})", transform=ax.transAxes)
    grid[1].set_xlabel(r"Charging time $t$ $(1/B)$")
    grid[1].legend(loc="upper right", title=r"$N=7,\ g=B,\ \omega=10B$", title_fontsize=7.5)
    return figure_of(grid[0])


@_in_style
def draw_fig6(table: Table) -> Figure:
    """Greatest power against N, quantum (filled) and mean field (open)."""
    ax = axes(height=2.7)[0, 0]
    for name in (LR.name, NN.name, XXX.name):
        rows, look = where(table, coupling=name), LOOKS[name]
        ax.plot(rows["n_spins"], rows["quantum_power"], label=f"{LABELS[name]}, quantum", markersize=3.0, **look)
        open_look = look | {"linestyle": ":", "markerfacecolor": "white", "markersize": 6.0, "linewidth": 0.8, "zorder": 1}
        ax.plot(rows["n_spins"], rows["classical_power"], label=f"{LABELS[name]}, mean field", **open_look)
    ax.set(xlabel=r"Number of spins $N$", ylabel=r"$P_{\max}$ $(B^2)$", ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.text(0.97, 0.06, r"$g=B,\ \omega=4B$", transform=ax.transAxes, ha="right")
    ax.legend(loc="upper left")
    return figure_of(ax)


def _against_size(ax: Axes, table: Table, column: str, names: Sequence[str] = (XXX.name, NN.name, LR.name)) -> None:
    for name in names:
        rows = where(table, coupling=name)
        known = ~np.isnan(rows[column])
        ax.plot(rows["n_spins"][known], rows[column][known], label=LABELS[name], **LOOKS[name])
    ax.set(xlabel=r"Number of spins $N$", xlim=(min(table["n_spins"]) - 0.5, max(table["n_spins"]) + 0.5))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
