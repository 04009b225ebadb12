"""``devices``: what jaxbatt takes in the other suites on the CPU and on the GPU, and from which N on the GPU wins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from jaxbatt.bench import apply, charge, cold, gradient, sweep
from jaxbatt.bench.machine import platforms
from jaxbatt.bench.settings import Report, Row, Settings

_MEASURES: dict[str, Callable[[Settings, Report], None]] = {
    "apply": apply.measure,
    "charge": charge.measure,
    "gradient": gradient.measure,
    "sweep": sweep.measure,
    "cold": cold.measure,
}


def measure(settings: Settings, report: Report) -> None:
    """Every row of the other suites with its ``suite`` and ``device``; where there is no GPU, one row that says so."""
    found = platforms()
    if "gpu" not in found:
        report({"device": "gpu", "skipped": "not measured: JAX finds no GPU here"})
        return
    for suite, function in _MEASURES.items():
        for platform in ("cpu", "gpu"):
            own = dataclasses.replace(settings, platform=platform, systems=("jaxbatt",))
            function(own, lambda row, suite=suite, platform=platform: report({"suite": suite, "device": platform, **row}))  # type: ignore[misc]


def compared(rows: list[Row]) -> dict[str, dict[int, dict[str, float]]]:
    """Seconds by what was measured, N, and device, for what both devices did."""
    table: dict[str, dict[int, dict[str, float]]] = {}
    for row in rows:
        case, seconds = _case(row)
        if case and seconds is not None:
            table.setdefault(case, {}).setdefault(row["n"], {})[row["device"]] = seconds
    return table


def _case(row: Row) -> tuple[str | None, float | None]:
    """What a row measures, in words, and the seconds by which the devices are compared; nothing for what is not compared."""
    suite, low = row.get("suite"), row.get("min")
    if low is None:
        return None, None
    if suite == "apply" and row.get("rule"):
        return f"one application, {row['chain']}, alpha = {row['alpha']:g}, {row['state']}, {row['dtype']}", low
    if suite == "charge" and row["system"] == "jaxbatt":
        return "standard task", low
    if suite == "gradient":
        return f"{row['what']}, alpha = {row['alpha']:g}, {row['pieces']} pieces", low
    if suite == "sweep" and row["points_per_second"] is not None:
        return "one point of the sweep", 1 / row["points_per_second"]
    if suite == "cold" and row["what"] == "curve":
        return f"first curve, cache {row['cache']}", low["first"]
    return None, None


def crossing(by_size: dict[int, dict[str, float]]) -> int | None:
    """The least N from which on the GPU is faster at every N that both did."""
    both = {n: times for n, times in sorted(by_size.items()) if {"cpu", "gpu"} <= times.keys()}
    winning = None
    for n, times in reversed(both.items()):
        if times["gpu"] >= times["cpu"]:
            break
        winning = n
    return winning
