"""The whole paper from one call: each figure as PNG and CSV, and the claims with their verdicts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from matplotlib.figure import Figure

from jaxbatt._files import writable_directory
from jaxbatt.paper import classical_claims, drawings, figures, strong_claims, weak_claims
from jaxbatt.paper.claims import Claim, claims_table
from jaxbatt.paper.tables import Table, write_csv, write_png

Target: TypeAlias = Literal["fig2", "fig3", "fig4", "fig5", "fig6", "claims"]
TARGETS: tuple[Target, ...] = get_args(Target)


class PaperFigure(NamedTuple):
    """How to compute a figure's table, and how to draw it."""

    data: Callable[[], Table]
    draw: Callable[[Table], Figure]


FIGURES: dict[str, PaperFigure] = {
    "fig2": PaperFigure(figures.fig2, drawings.draw_fig2),
    "fig3": PaperFigure(figures.fig3, drawings.draw_fig3),
    "fig4": PaperFigure(figures.fig4, drawings.draw_fig4),
    "fig5": PaperFigure(figures.fig5, drawings.draw_fig5),
    "fig6": PaperFigure(figures.fig6, drawings.draw_fig6),
}


class Outcome(NamedTuple):
    """What a reproduction left behind: the files, the tables behind them by name, and the claims if they were asked for."""

    files: tuple[Path, ...]
    tables: dict[str, Table]
    claims: tuple[Claim, ...]


def no_report(step: str, done: int, total: int) -> None:
    """The progress report that says nothing."""


def reproduce(
    targets: Iterable[Target] = TARGETS,
    out: str | os.PathLike[str] = "paper",
    *,
    report: Callable[[str, int, int], None] = no_report,
) -> Outcome:
    """Reproduces figures and claims of the paper, and writes each as soon as it is known.

    Args:
        targets: any of "fig2" to "fig6" and "claims".
        out: directory for figN.png, figN.csv and claims.csv; made where it is missing.
        report: called as ``report(step, done, total)`` before each step.

    Returns:
        An :class:`Outcome`.

    Raises:
        ValueError: an unknown target, or a directory that cannot be written to.
        OSError: writing failed later on; what was written before is complete.

    Example:
        >>> reproduce(["fig3"], "/tmp/paper").files
        (PosixPath('/tmp/paper/fig3.csv'), PosixPath('/tmp/paper/fig3.png'))

    Source: Le et al., PRA 97, 022106 (2018).
    """
    wanted = _in_order(targets)
    directory = writable_directory(out)
    tables: dict[str, Table] = {}
    files: list[Path] = []
    claims: tuple[Claim, ...] = ()
    needed = [name for name in FIGURES if name in wanted or ("claims" in wanted and name in _BEHIND_CLAIMS)]
    total = len(needed) + (len(_CLAIM_STEPS) if "claims" in wanted else 0)
    for done, name in enumerate(needed):
        report(name, done, total)
        tables[name] = FIGURES[name].data()
        if name in wanted:
            files += _write(name, tables[name], directory)
    if "claims" in wanted:
        claims = judge_claims(tables, report=lambda step, done: report(step, len(needed) + done, total))
        tables["claims"] = claims_table(claims)
        write_csv(tables["claims"], directory / "claims.csv")
        files.append(directory / "claims.csv")
    report("done", total, total)
    return Outcome(tuple(files), tables, claims)


def judge_claims(tables: dict[str, Table], *, report: Callable[[str, int], None] = lambda step, done: None) -> tuple[Claim, ...]:
    """Measures every claim and slip of the paper; ``tables`` holds those of fig2, fig3, fig5 and fig6."""
    claims: list[Claim] = []
    for done, (step, judge) in enumerate(_CLAIM_STEPS):
        report(f"claims: {step}", done)
        claims += judge(tables)
    return tuple(claims)


_BEHIND_CLAIMS = ("fig2", "fig3", "fig5", "fig6")

_CLAIM_STEPS: tuple[tuple[str, Callable[[dict[str, Table]], Sequence[Claim]]], ...] = (
    ("independent spins", lambda tables: [weak_claims.single_cell(), weak_claims.xxx_is_independent()]),
    ("anisotropy", lambda t: [weak_claims.power_grows_with_anisotropy(t["fig2"]), weak_claims.advantage_below_one(t["fig2"])]),
    ("slow and fast", lambda tables: [strong_claims.slow_part(tables["fig3"]), strong_claims.fast_part(tables["fig3"])]),
    ("effective Hamiltonian", lambda tables: strong_claims.effective_hamiltonian()),
    ("scaling at strong coupling", lambda tables: [strong_claims.fast_scaling(), strong_claims.slow_scaling()]),
    ("interactions off", lambda tables: [weak_claims.eq18_accuracy(tables["fig5"]), *weak_claims.eq19()]),
    ("growth of G", lambda tables: weak_claims.coupling_growth()),
    (
        "quantum and classical",
        lambda t: [classical_claims.classical_at_least_quantum(t["fig6"]), classical_claims.tends_to_mean_field()],
    ),
    ("collective spin", lambda tables: [classical_claims.collective_coupling(), classical_claims.scaling_window(tables["fig6"])]),
    ("ends", lambda tables: [strong_claims.ends_charge_partners()]),
)


def _in_order(targets: Iterable[Target]) -> tuple[Target, ...]:
    wanted = tuple(targets)
    unknown = [target for target in wanted if target not in TARGETS]
    if unknown:
        raise ValueError(f"there is nothing called {unknown[0]!r} to reproduce; pass any of {', '.join(TARGETS)}.")
    return tuple(target for target in TARGETS if target in wanted)


def _write(name: str, table: Table, directory: Path) -> list[Path]:
    data, picture = directory / f"{name}.csv", directory / f"{name}.png"
    write_csv(table, data)
    write_png(FIGURES[name].draw(table), picture)
    return [data, picture]
