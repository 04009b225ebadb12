"""The progress bar of everything that takes long."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text


@contextlib.contextmanager
def progress_bar(unit: str = "", *, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on the terminal, told (what is being done, steps done, all steps); silent where standard error is no terminal.

    It shows the time taken and the time left, and ``unit`` done per second where the unit has a name.
    """
    left = [_Rate(unit), TimeRemainingColumn()] if unit else []
    counts = TextColumn("{task.completed}/{task.total}")
    columns = (TextColumn("{task.description:32}"), BarColumn(), counts, TimeElapsedColumn(), *left)
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda step, done, total: progress.update(task, description=step, completed=done, total=total)


class _Rate(ProgressColumn):
    """Steps per second."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.4g} {self._unit}/s")
