"""The standard task beside QuTiP and QuSpin in one run: time to W(t) at 101 times, error, and peak memory.

Long range p = 1, alpha = 0.5, g = B, omega = 4B, open chain, start all down, W at 101 times up to 0.4/B. Each system
runs in a process of its own, one after the other; its build time counts. jaxbatt runs twice: the first call compiles.

    python benchmarks/standard_task.py --spins 12 16 --systems jaxbatt qutip quspin --out benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from timing import save

TIMES = np.linspace(0, 0.4, 101)
ALPHA, FIELD, COUPLING, OMEGA = 0.5, 1.0, 1.0, 4.0
Phases = dict[str, float]


def run_jaxbatt(n: int) -> tuple[np.ndarray, Phases]:
    import jaxbatt as jb

    def task() -> np.ndarray:
        battery = jb.SpinBattery(FIELD, jb.power_law(n, COUPLING, 1.0), ALPHA)
        return np.asarray(jb.charge(battery, jb.ConstantField(OMEGA), TIMES, solver=jb.StateVector()).work)

    phases = {}
    for name in ("first call", "second call", "third call"):
        start = time.perf_counter()
        work = task()
        phases[name] = time.perf_counter() - start
    return work, phases


def run_qutip(n: int) -> tuple[np.ndarray, Phases]:
    import qutip

    start = time.perf_counter()

    def site(operator: qutip.Qobj, i: int) -> qutip.Qobj:
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(n)]).to("csr")

    x, y, z = ([site(operator, i) for i in range(n)] for operator in (qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()))
    interactions = sum(
        -COUPLING / (j - i) * (z[i] * z[j] + ALPHA * (x[i] * x[j] + y[i] * y[j])) for i, j in itertools.combinations(range(n), 2)
    )
    energy, charger = interactions + FIELD * sum(z), interactions + OMEGA * sum(x)
    state = qutip.tensor([qutip.basis(2, 1)] * n)
    built = time.perf_counter()
    result = qutip.krylovsolve(charger, state, TIMES, krylov_dim=20, e_ops=[energy])
    work = np.real(result.expect[0]) - qutip.expect(energy, state)
    return work, {"build": built - start, "run": time.perf_counter() - built}


def run_quspin(n: int) -> tuple[np.ndarray, Phases]:
    from quspin.basis import spin_basis_1d
    from quspin.operators import hamiltonian
    from quspin.tools.evolution import ExpmMultiplyParallel

    start = time.perf_counter()
    basis = spin_basis_1d(n, pauli=1, pblock=1)
    pairs = [[-COUPLING / (j - i), i, j] for i, j in itertools.combinations(range(n), 2)]
    mixed = [[ALPHA * g, i, j] for g, i, j in pairs]
    interactions = [["zz", pairs], ["xx", mixed], ["yy", mixed]]
    checks = {"check_herm": False, "check_symm": False, "check_pcon": False}
    fields = {letter: [[strength, i] for i in range(n)] for letter, strength in (("z", FIELD), ("x", OMEGA))}
    charger = hamiltonian([*interactions, ["x", fields["x"]]], [], basis=basis, dtype=np.float64, **checks)
    # While charging <H> is conserved, so the fields alone give the work: no second matrix is built.
    gain = hamiltonian(
        [["z", fields["z"]], ["x", [[-s, i] for s, i in fields["x"]]]], [], basis=basis, dtype=np.float64, **checks
    )
    state = np.zeros(basis.Ns, complex)
    state[basis.index("0" * n)] = 1
    propagator = ExpmMultiplyParallel(charger.tocsr(), a=-1j * (TIMES[1] - TIMES[0]))
    built = time.perf_counter()
    gains = []
    for k in range(len(TIMES)):
        if k:
            propagator.dot(state, overwrite_v=True)
        gains.append(gain.expt_value(state).real)
    return np.array(gains) - gains[0], {"build": built - start, "run": time.perf_counter() - built}


SYSTEMS: dict[str, Callable[[int], tuple[np.ndarray, Phases]]] = {
    "jaxbatt": run_jaxbatt,
    "qutip": run_qutip,
    "quspin": run_quspin,
}


def measure(system: str, n: int) -> dict:
    """One system in a fresh process: its curve, seconds, peak memory."""
    command = [sys.executable, __file__, "--one", system, str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"system": system, "n_spins": n, "failed": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return {"system": system, "n_spins": n, **json.loads(done.stdout.splitlines()[-1])}


def report_one(system: str, n: int) -> None:
    work, phases = SYSTEMS[system](n)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": phases, "peak_gib": peak, "work": work.tolist()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spins", type=int, nargs="+", default=[12, 16])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("SYSTEM", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        report_one(options.one[0], int(options.one[1]))
        return
    rows = []
    for n in options.spins:
        for system in options.systems:
            row = measure(system, n)
            rows.append(row)
            reference = next((r["work"] for r in rows if r["n_spins"] == n and "work" in r), None)
            if "work" in row:
                row["difference"] = float(np.max(np.abs(np.array(row["work"]) - reference)))
            shown = {key: value for key, value in row.items() if key != "work"}
            print(json.dumps(shown), flush=True)
    for row in rows:
        row["last_work"] = row.pop("work")[-1] if "work" in row else None
    save(options.out, rows)


if __name__ == "__main__":
    main()
