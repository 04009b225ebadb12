"""The suites by name, and a run of one into its result file."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxbatt.bench import apply, charge, cold, devices, gradient, sweep
from jaxbatt.bench.fresh import installed
from jaxbatt.bench.machine import file_name, load, platforms, save
from jaxbatt.bench.settings import Report, Row, Settings

SUITES: dict[str, Callable[[Settings, Report], None]] = {
    "apply": apply.measure,
    "charge": charge.measure,
    "gradient": gradient.measure,
    "sweep": sweep.measure,
    "cold": cold.measure,
    "devices": devices.measure,
}
SYSTEMS = tuple(dict.fromkeys([*charge.SYSTEMS, *gradient.SYSTEMS, *sweep.SYSTEMS]))
"""Names of all that can be compared."""


def run(suite: str, settings: Settings, out: Path, report: Report = lambda row: None) -> Path:
    """Measures a suite and writes its result file; after every row, so that what is stopped has kept what it measured.

    Args:
        suite: one of :data:`SUITES`.
        settings: how to measure.
        out: folder of the result files.
        report: told every row.

    Returns:
        The file, named by the suite and the machine.

    Raises:
        ValueError: a GPU is asked for where there is none.
    """
    found = platforms()
    used = settings.platform or found["default"]
    if used not in found:
        raise ValueError(f"JAX finds no {used.upper()} here; leave --device out, or install jaxbatt[cuda] on a machine with one.")
    path = out / file_name(suite, used, found)
    settings = dataclasses.replace(settings, platform=used)
    rows: list[Row] = []
    began = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "load_average_before": os.getloadavg()[0], "devices": found}

    def keep(row: Row) -> None:
        rows.append(row)
        save(path, rows, began, suite=suite, settings=dataclasses.asdict(settings))
        report(row)

    SUITES[suite](settings, keep)
    return path


def missing() -> list[str]:
    """The packages of systems that are not installed and will be left out."""
    return sorted({system.package for system in charge.SYSTEMS.values() if not installed(system.package)})


def result_of(path: Path) -> dict[str, Any]:
    """A result file of one of the suites.

    Raises:
        ValueError: no such file, or another format.
    """
    result = load(path)
    if result["suite"] not in SUITES:
        raise ValueError(f"{path} is of no known suite: {result['suite']!r}.")
    return result
