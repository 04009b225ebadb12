"""Tables in Markdown, from nothing but a result file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxbatt.bench.charge import REFERENCE, SYSTEMS
from jaxbatt.bench.devices import compared, crossing
from jaxbatt.bench.settings import Row


def table(result: dict[str, Any]) -> str:
    """The table of a result file with a line above that says what its cells are, and the machine and versions below."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    measured = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB"
    gpu = f", {machine['devices']['gpu']}" if "gpu" in machine["devices"] else ""
    return f"{_TABLES[result['suite']](result['rows'])}\n\nMeasured on {measured}{gpu}; {versions}.\n"


def _charge(rows: list[Row]) -> str:
    names = [name for name in SYSTEMS if any(row["system"] == name for row in rows) and name != REFERENCE]
    lines = []
    for n in _values(rows, "n"):
        at = {row["system"]: row for row in rows if row["n"] == n}
        lines.append([n, *(_charge_cell(at[name]) if name in at else "-" for name in names)])
    said = (
        "Seconds to the first curve (building and compiling included, importing not) / of every further run, the fastest; "
        "error of W relative to its maximum; peak memory of the process."
    )
    return _markdown(said, ["N", *(SYSTEMS[name].label for name in names)], lines)


def _charge_cell(row: Row) -> str:
    if "min" not in row:
        return _missing(row)
    return f"{_short(row['build'] + row['first'])} / {_short(row['min'])}; {row['error']:.0e}; {_gib(row)}"


def _apply(rows: list[Row]) -> str:
    sizes, lines = _values(rows, "n"), []
    timed = [row for row in rows if row.get("what") == "apply" and "min" in row]
    for chain, alpha in dict.fromkeys((row["chain"], row["alpha"]) for row in rows):
        own = [row for row in timed if (row["chain"], row["alpha"]) == (chain, alpha)]
        chosen = {row["n"]: row for row in own if row["rule"] and (row["state"], row["dtype"]) == ("real", "float64")}
        cells = [_apply_cell(chosen[n]) if n in chosen else "-" for n in sizes]
        worst = max((row["over_best"] for row in own if row["rule"]), default=float("nan"))
        lines.append([f"{chain}, alpha = {alpha:g}", *cells, f"{worst:.2f}"])
    said = (
        "One application of H to a real state in float64 by the kernels that the cost rule chooses: milliseconds; bytes per "
        "second over those of a copy; what is transformed. Last: the rule's time over that of the best kernels, the worst of "
        "all N, states and precisions."
    )
    return _markdown(said, ["H", *(f"N = {n}" for n in sizes), "rule / best"], lines)


def _apply_cell(row: Row) -> str:
    return f"{_short(1e3 * row['min'])}; {row['fraction']:.0%}; {row['transformed']}"


def _gradient(rows: list[Row]) -> str:
    systems, lines = _values(rows, "system"), []
    for n, alpha, pieces in dict.fromkeys((row["n"], row["alpha"], row["pieces"]) for row in rows):
        cells = []
        for name in systems:
            own = [row for row in rows if (row["n"], row["alpha"], row["pieces"], row["system"]) == (n, alpha, pieces, name)]
            cells.append(_gradient_cell(own))
        lines.append([n, f"{alpha:g}", pieces, *cells])
    said = (
        "Seconds of the value; value and gradient over the value, with respect to omega, and to omega and all g_ij; temporary "
        "memory of the last in state vectors of 16 * 2^N bytes."
    )
    return _markdown(said, ["N", "alpha", "pieces", *systems], lines)


def _gradient_cell(rows: list[Row]) -> str:
    timed = {row["what"]: row for row in rows if "min" in row}
    if not timed:
        return _missing(rows[0]) if rows else "-"
    ratios = [f"{timed[what]['ratio']:.1f}" for what in ("omega", "omega and g_ij") if what in timed]
    *_, last = timed.values()
    return "; ".join([_short(timed["value"]["min"]), *ratios, f"{last['state_vectors']:.0f}"])


def _sweep(rows: list[Row]) -> str:
    systems, lines = _values(rows, "system"), []
    for n in _values(rows, "n"):
        at = {row["system"]: row for row in rows if row["n"] == n}
        rates = [at[name].get("points_per_second") if name in at else None for name in systems]
        faster = f"{rates[0] / rates[1]:.0f}" if len(rates) == 2 and rates[0] and rates[1] else "-"
        own = at.get("jaxbatt", {})
        planned = f"{own['first_sweep_peak_bytes'] / own['planned_bytes']:.2f}" if "planned_bytes" in own else "-"
        lost = f"{own['killed']['lost']:.1f}" if "killed" in own else "-"
        lines.append([n, *("-" if rate is None else _short(rate) for rate in rates), faster, planned, lost])
    said = (
        "Points of the sweep per second; peak memory over what was planned; seconds lost where the process is killed at half "
        "time and begun again, starting and compiling included."
    )
    return _markdown(said, ["N", *systems, "ratio", "memory", "lost by a kill"], lines)


def _cold(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        what = "import" if row["what"] == "import" else f"curve at N = {row['n']}, cache {row['cache']}"
        if "min" not in row:
            lines.append([what, _missing(row), "-", "-"])
            continue
        lines += [
            [f"{what}: {name}", _short(row["min"][name]), _short(row["median"][name]), row["repeats"]] for name in row["min"]
        ]
    return _markdown("Seconds in fresh processes.", ["what", "minimum", "median", "processes"], lines)


def _devices(rows: list[Row]) -> str:
    skipped = [row["skipped"] for row in rows if row.get("device") == "gpu" and "suite" not in row]
    if skipped:
        return f"CPU against GPU: {skipped[0]}."
    lines = []
    for case, by_size in compared(rows).items():
        both = {n: times for n, times in by_size.items() if {"cpu", "gpu"} <= times.keys()}
        ratios = ", ".join(f"{n}: {times['cpu'] / times['gpu']:.2g}" for n, times in sorted(both.items()))
        lines.append([case, crossing(by_size) or "-", ratios])
    return _markdown("CPU time over GPU time by N.", ["what", "GPU faster from N =", "N: ratio"], lines)


_TABLES: dict[str, Callable[[list[Row]], str]] = {
    "apply": _apply,
    "charge": _charge,
    "gradient": _gradient,
    "sweep": _sweep,
    "cold": _cold,
    "devices": _devices,
}


def _markdown(said: str, header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join([said, "", *("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)])


def _values(rows: list[Row], name: str) -> list[Any]:
    return list(dict.fromkeys(row[name] for row in rows))


def _missing(row: Row) -> str:
    """Why there is no number; where a system was left out for what happened at a smaller N, only that."""
    if "failed" in row:
        return f"failed: {row['failed'][:60]}"
    return "not run" if row.get("skipped", "").startswith("at N") else row.get("skipped", "-")


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _gib(row: Row) -> str:
    peak = row["device_peak_bytes"] if "device_peak_bytes" in row else row["peak_bytes"]
    return f"{peak / 2**30:.2g} GiB"
