"""``charge``: the standard task by every system: building, first run and further runs apart, error and peak memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from jaxbatt.bench.fresh import fresh, installed
from jaxbatt.bench.settings import TASK, Report, Row, Settings

SPINS = tuple(range(8, 23, 2))


class System(NamedTuple):
    """Who takes part, and how it is set.

    Attributes:
        label: what it is called in a table.
        package: what must be installed.
        setting: the setting chosen, in words.
        file, function: of the folder ``programs``.
        options: arguments besides the task.
    """

    label: str
    package: str
    setting: str
    file: str
    options: dict[str, Any]


REFERENCE = "jaxbatt tightest"
SYSTEMS = {
    REFERENCE: System("jaxbatt, tol 1e-13", "jaxbatt", "Chebyshev, tol 1e-13", "charging.py", {"tol": 1e-13}),
    "jaxbatt": System("jaxbatt", "jaxbatt", "Chebyshev, tol 1e-10", "charging.py", {"tol": 1e-10}),
    "quspin": System("QuSpin", "quspin", "reflection sector, CSR matrix, ExpmMultiplyParallel", "with_quspin.py", {}),
    "qutip krylovsolve": System(
        "QuTiP krylovsolve", "qutip", "CSR matrix, Krylov dimension 20", "with_qutip.py", {"solver": "krylovsolve"}
    ),
    "qutip sesolve": System(
        "QuTiP sesolve", "qutip", "CSR matrix, Adams, atol 1e-11, rtol 1e-9", "with_qutip.py", {"solver": "sesolve"}
    ),
    "dynamiqs": System("dynamiqs", "dynamiqs", "sparse diagonals, Dopri8, atol = rtol = 1e-11", "with_dynamiqs.py", {}),
    "tensorcircuit": System(
        "TensorCircuit-NG", "tensorcircuit", "matrix-free, one Krylov space of dimension 60", "with_tensorcircuit.py", {}
    ),
}


def measure(settings: Settings, report: Report) -> None:
    """Every system at every N, one after the other; what a system compiles is in its ``first`` run alone.

    ``error`` is max |W - W_tightest| / max |W_tightest| over the 101 times, the tightest being jaxbatt with tol 1e-13. A
    system that fails or takes longer than the budget is left out at larger N, which its rows say.
    """
    out: dict[str, str] = {name: "not installed" for name, system in SYSTEMS.items() if not installed(system.package)}
    for n in settings.sizes(SPINS):
        reference: np.ndarray | None = None
        for name in dict.fromkeys([REFERENCE, *settings.wanted(tuple(SYSTEMS))]):
            row: Row = {"system": name, "setting": SYSTEMS[name].setting, "n": n}
            if name in out:
                report(row | {"skipped": out[name]})
                continue
            system = SYSTEMS[name]
            row |= fresh(settings, system.file, "charge", {"n": n, **TASK, **system.options})[-1]
            if "failed" in row:
                out[name] = f"at N = {n}: {row['failed']}"
            else:
                work = np.array(row.pop("result"))
                reference = work if name == REFERENCE else reference
                row["last_work"] = float(work[-1])
                if reference is not None:
                    row["error"] = float(np.abs(work - reference).max() / np.abs(reference).max())
            report(row)
