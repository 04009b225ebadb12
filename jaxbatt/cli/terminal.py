"""What the verbs share: where they print and warn, how a maximum is shown, and the check of directories to write to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import typer
from rich.console import Console

import jaxbatt as jb
from jaxbatt.charging import Uncertain


def output() -> Console:
    """Standard output; 120 columns where it is no terminal and so has no width."""
    console = Console()
    return console if console.is_terminal else Console(width=120)


def check_png(path: Path | None) -> None:
    """Refuses the name of a picture that is no PNG."""
    if path is not None and path.suffix.lower() != ".png":
        raise typer.BadParameter(f"--png must name a file that ends in .png, but it is {str(path)!r}")


def check_directories(*paths: Path | None) -> None:
    """Refuses files in directories that are not there, and directories in place of files."""
    for path in paths:
        if path is not None and path.is_dir():
            raise typer.BadParameter(f"{str(path)!r} is a directory; name a file in it")
        if path is not None and not path.parent.is_dir():
            raise typer.BadParameter(f"there is no directory {str(path.parent)!r} to write {path.name} to")


def warn(message: str) -> None:
    """One line on standard error."""
    print(f"jaxbatt: warning: {message}", file=sys.stderr)


def print_peak(console: Console, title: str, search: Callable[[], jb.Peak]) -> jb.Peak | None:
    """One line with the maximum that is found and its error; returns it where it is certain."""
    try:
        peak = certain = search()
    except Uncertain as error:
        peak, certain = error.peak, None
        title += ", not certain, for the search takes too long"
    if certain is None and peak.time == 0:
        console.print(f"{title}: nothing found", highlight=False, soft_wrap=True)
        return None
    numbers = f"P = {float(peak.power):.10g} B^2 at T = {float(peak.time):.10g} / B, W = {float(peak.work):.10g} B"
    console.print(
        f"{title}: {numbers} (error of W <= {float(peak.info.error):.1e} B; {peak.info.method})", highlight=False, soft_wrap=True
    )
    return certain
