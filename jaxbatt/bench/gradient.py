"""``gradient``: value and gradient over the value alone, in time and memory, beside plain reverse mode and TensorCircuit-NG."""

from __future__ import annotations

import itertools
from typing import Any

from jaxbatt.bench.fresh import fresh, installed
from jaxbatt.bench.settings import TASK, Report, Row, Settings

SPINS = tuple(range(8, 19, 2))
PIECES = (1, 16, 64)
SYSTEMS = {
    "jaxbatt": ("jaxbatt", "gradients.py", "gradient"),
    "plain reverse mode": ("jaxbatt", "gradients.py", "plain"),
    "tensorcircuit": ("tensorcircuit", "with_tensorcircuit.py", "gradient"),
}


def measure(settings: Settings, report: Report) -> None:
    """W at T = 0.4 / B of the standard task, alpha = 0 and 0.5, with respect to omega, and to omega and all g_ij.

    jaxbatt also with 16 and 64 pieces of the field, the gradient with respect to each. A process for each case; one that fails or
    takes longer than the budget is left out at larger N. ``ratio`` is the time of value and gradient over that of the value;
    ``state_vectors`` the temporary memory in units of 16 * 2**N bytes; ``result`` the value and the sums of the derivatives, by
    which the systems can be compared.
    """
    out: dict[tuple[str, float, int], str] = {}
    for n, alpha in itertools.product(settings.sizes(SPINS), (0.5,) if settings.quick else (0.0, 0.5)):
        for name in settings.wanted(tuple(SYSTEMS)):
            for pieces in PIECES if name == "jaxbatt" and not settings.quick else PIECES[:1]:
                case: Row = {"system": name, "n": n, "alpha": alpha, "pieces": pieces}
                key = (name, alpha, pieces)
                if not installed(SYSTEMS[name][0]):
                    out[key] = "not installed"
                if key in out:
                    report(case | {"skipped": out[key]})
                    continue
                for row in _case(settings, name, case):
                    report(row)
                    if "failed" in row:
                        out.setdefault(key, f"at N = {n}: {row['failed']}")


def _case(settings: Settings, name: str, case: Row) -> list[Row]:
    _, file, function = SYSTEMS[name]
    task: dict[str, Any] = {key: value for key, value in TASK.items() if key != "points"} | {
        "n": case["n"],
        "alpha": case["alpha"],
    }
    if name == "jaxbatt":
        task["pieces"] = case["pieces"]
    rows = fresh(settings, file, function, task)
    value = next((row["min"] for row in rows if row.get("what") == "value" and "min" in row), None)
    for row in rows:
        if "min" in row:
            row["state_vectors"] = row["temp_bytes"] / (16 * 2 ** case["n"])
            row["ratio"] = row["min"] / value if value else None
    return [case | row for row in rows]
