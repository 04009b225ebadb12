"""What the verbs share: where they print, how a maximum is shown, and the check of the directories they will write to."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

import jaxbatt as jb


def output() -> Console:
    """Standard output; 120 columns where it is no terminal and so has no width."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def check_directories(*paths: Path | None) -> None:
    """Refuses files in directories that are not there."""
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise typer.BadParameter(f"there is no directory {str(path.parent)!r} to write {path.name} to")


def print_peak(console: Console, title: str, peak: jb.Peak) -> None:
    """One line with a maximum and its error."""
    numbers = f"P = {float(peak.power):.10g} B^2 at T = {float(peak.time):.10g} / B, W = {float(peak.work):.10g} B"
    console.print(
        f"{title}: {numbers} (error of W <= {float(peak.info.error):.1e} B; {peak.info.method})", highlight=False, soft_wrap=True
    )
