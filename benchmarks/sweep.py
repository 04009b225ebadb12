"""Points per second of max_power over a grid of alpha and omega, beside a loop of QuTiP's sesolve in the same run.

Long range p = 1, g = B, alpha in [-1, 1], omega in [1, 8] B. Each system runs in a process of its own, one after the other.
jaxbatt: jb.sweep over the whole grid; tracing and compiling are taken off by the time of a sweep of 16 of its points. QuTiP: its
operators are built once outside the loop; W at 101 times up to 1.7 / omega at tolerance 1e-8, the best of them, over a sample of
the same points. The difference is that of the two powers; QuTiP's is the best on its grid of times.

    python benchmarks/sweep.py --spins 4 8 10 --points 100 --out benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import save

FIELD, COUPLING = 1.0, 1.0


def grid(points: int) -> dict[str, np.ndarray]:
    return {"alpha": np.linspace(-1, 1, points), "omega": np.linspace(1, 8, points)}


def sample(points: int, count: int) -> list[tuple[int, int]]:
    """Index pairs of the grid, the same for all systems."""
    return [tuple(pair) for pair in np.random.default_rng(0).integers(0, points, (count, 2)).tolist()]


def run_jaxbatt(n: int, points: int, count: int) -> dict:
    import jaxbatt as jb

    def fn(alpha, omega):
        peak = jb.max_power(jb.SpinBattery(FIELD, jb.power_law(n, COUPLING, 1.0), alpha), jb.ConstantField(omega))
        return {"power": peak.power, "certified": peak.certified, "error": peak.info.error}

    def seconds(axes):
        start = time.perf_counter()
        data = jb.sweep(fn, axes, progress=False)
        return time.perf_counter() - start, data

    axes = grid(points)
    plan = jb.plan(fn, axes)
    few = {name: values[:4] for name, values in axes.items()}
    small = min(seconds(few)[0] for _ in range(3))
    runs = [seconds(axes) for _ in range(3)]
    whole, data = min(runs, key=lambda run: run[0])
    rate = (points**2 - 16) / (whole - small)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "points_per_second": rate,
        "compile": small,
        "planned_points_per_second": plan.points / plan.seconds,
        "planned_bytes": plan.memory + plan.process,
        "peak_bytes": peak,
        "valid": int(data.valid.sum()),
        "error": float(data.error.max()),
        "power": [float(data.power[i, j]) for i, j in sample(points, count)],
    }


def run_qutip(n: int, points: int, count: int) -> dict:
    import qutip

    def site(operator, i):
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(n)]).to("csr")

    x, y, z = ([site(operator, i) for i in range(n)] for operator in (qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()))
    pairs = list(itertools.combinations(range(n), 2))
    along = sum(-COUPLING / (j - i) * z[i] * z[j] for i, j in pairs)
    across = sum(-COUPLING / (j - i) * (x[i] * x[j] + y[i] * y[j]) for i, j in pairs)
    field, drive = FIELD * sum(z), sum(x)
    state = qutip.tensor([qutip.basis(2, 1)] * n)
    axes = grid(points)
    powers = []
    start = time.perf_counter()
    for i, j in sample(points, count):
        alpha, omega = axes["alpha"][i], axes["omega"][j]
        interactions = along + alpha * across
        times = np.linspace(0, 1.7 / omega, 101)
        options = {"atol": 1e-8, "rtol": 1e-8}
        energy = qutip.sesolve(interactions + omega * drive, state, times, e_ops=[field + interactions], options=options).expect[
            0
        ]
        powers.append(float(np.max((energy[1:] - energy[0]) / times[1:])))
    return {"points_per_second": count / (time.perf_counter() - start), "power": powers}


SYSTEMS = {"jaxbatt": run_jaxbatt, "qutip": run_qutip}


def measure(system: str, n: int, points: int, count: int) -> dict:
    """One system in a fresh process."""
    command = [sys.executable, __file__, "--one", system, str(n), str(points), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"system": system, "n_spins": n, "failed": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return {"system": system, "n_spins": n, **json.loads(done.stdout.splitlines()[-1])}


def stored(n: int, points: int, path: Path) -> None:
    """The sweep into a store, for :func:`killed`."""
    import jaxbatt as jb

    def fn(alpha, omega):
        return jb.max_power(jb.SpinBattery(FIELD, jb.power_law(n, COUPLING, 1.0), alpha), jb.ConstantField(omega)).power

    jb.sweep(fn, grid(points), store=path, progress=False)


def killed(n: int, points: int) -> dict:
    """Seconds of a sweep into a store, and of one that is killed at half time and begun again."""

    def run(path: Path, limit: float | None = None) -> float:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, __file__, "--store", str(n), str(points), str(path)])
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as directory:
        whole = run(Path(directory) / "whole.zarr")
        first = run(Path(directory) / "parts.zarr", whole / 2)
        second = run(Path(directory) / "parts.zarr")
    return {"system": "jaxbatt, killed", "n_spins": n, "whole": whole, "killed_after": first, "then": second}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spins", type=int, nargs="+", default=[4, 8, 10])
    parser.add_argument("--points", type=int, default=100, help="values on each axis")
    parser.add_argument("--sample", type=int, default=200, help="points of the loop")
    parser.add_argument("--kill", type=int, help="number of spins of a sweep that is killed at half time")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--store", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        system, *numbers = options.one
        print(json.dumps(SYSTEMS[system](*map(int, numbers))))
        return
    if options.store:
        stored(int(options.store[0]), int(options.store[1]), Path(options.store[2]))
        return
    rows = []
    for n in options.spins:
        pair = [measure(system, n, options.points, options.sample) for system in SYSTEMS]
        powers = [row.pop("power", None) for row in pair]
        if all(powers):
            pair[1]["largest_difference"] = float(np.max(np.abs(np.divide(powers[1], powers[0]) - 1)))
            pair[0]["ratio"] = pair[0]["points_per_second"] / pair[1]["points_per_second"]
        rows += pair
        print(*map(json.dumps, pair), sep="\n", flush=True)
    if options.kill:
        rows.append(killed(options.kill, options.points))
        print(json.dumps(rows[-1]))
    save(options.out, rows)


if __name__ == "__main__":
    main()
