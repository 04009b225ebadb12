"""Tables of results, and files of them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from typing import TypeAlias

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from jaxbatt._files import write_file
from jaxbatt.plots import STYLE

Table: TypeAlias = Mapping[str, np.ndarray]
"""Columns of equal length by name; NaN in a column of numbers means that there is no number."""


def rows_to_table(rows: list[dict[str, object]]) -> Table:
    """A table from rows that all have the same keys."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def where(table: Table, **values: object) -> Table:
    """The rows in which each named column has the given value."""
    keep = np.all([table[name] == value for name, value in values.items()], axis=0)
    return {name: column[keep] for name, column in table.items()}


def csv_text(table: Table) -> str:
    """The table as CSV: numbers in 12 digits, and nothing where there is no number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows([_shown(value) for value in row] for row in zip(*table.values(), strict=True))
    return text.getvalue()


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.12g}"
    return str(value)


def write_csv(table: Table, path: str | os.PathLike[str]) -> None:
    """Writes a table as CSV, completely or not at all."""
    write_file(path, csv_text(table).encode())


def write_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG with 300 dots per inch, completely or not at all."""
    picture = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(picture, format="png", dpi=300)
    write_file(path, picture.getvalue())
