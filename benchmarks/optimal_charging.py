"""The cases that the optimizer must solve: one JSON file for each, with the gain over the best constant field.

python benchmarks/optimal_charging.py single_cell pair collective long_range mean_field ends robust optimizers
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import minimize

import jaxbatt as jb
from jaxbatt.bench.machine import save

Row = dict[str, Any]
_SINGLE_CELL = 1.449222707553417
"""Greatest W / (T u B) of one spin under a constant field u, where tan x = 2 x."""


def single_cell() -> Iterator[Row]:
    """|u| <= u_max on one spin: whether W / T beats the constant field."""
    battery = jb.SpinBattery(1.0, jnp.zeros((1, 1)))
    for u_max in (1.0, 4.0):
        found = jb.optimize(battery, jb.PiecewiseField(jnp.zeros(16), 1.0), bounds=(-u_max, u_max), steps=200)
        yield {"u_max": u_max, "power / (u_max B)": float(found.power) / u_max, "constant": _SINGLE_CELL, **_numbers(found)}


def pair() -> Iterator[Row]:
    """Least time to 99.9 % of the full charge of two Ising spins, beside a direct search over three durations."""
    battery = jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0))
    for u_max, lowest in itertools.product((1.0, 2.0, 4.0, 8.0), (0.0, -1.0)):
        levels, durations = _switched_pair(u_max, (lowest, 0.0, 1.0), 0.999)
        protocol = jb.PiecewiseField(jnp.full(64, u_max), 1.2 * sum(durations))
        bounds = (lowest * u_max, u_max)
        found = jb.optimize(battery, protocol, objective="time", target=0.999, bounds=bounds, steps=600, starts=12, patience=300)
        yield {
            "bounds": bounds,
            "time": float(found.time),
            "direct search": sum(durations),
            "its levels": levels,
            "its durations": durations,
            **_numbers(found),
        }


def collective() -> Iterator[Row]:
    """p = 0, g = B, |u| <= 4B in the Dicke ladder; the field must follow a precession at up to 2 g N: pieces grow with N."""
    for n in (8, 16, 32, 64, 128, 256):
        battery = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 0.0))
        yield _powers(n, battery, jb.Collective(), pieces=max(32, n), steps=150, starts=4)


def long_range() -> Iterator[Row]:
    """p = 1, g = B, |u| <= 4B, the full state vector."""
    for n in (8, 10, 12, 14):
        yield _powers(n, jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0)), jb.StateVector(), pieces=16, steps=80, starts=4)


def mean_field() -> Iterator[Row]:
    """p = 1, g = B, |u| <= 4B, mean field."""
    for n in (8, 16, 32, 64, 128, 256):
        battery = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0))
        yield _powers(n, battery, jb.MeanField(1e-7), pieces=16, steps=80, starts=4)


def ends() -> Iterator[Row]:
    """Only the two end spins are driven, each by its own field; beside L-BFGS-B from many random fields."""
    for n, draws in ((3, 200), (4, 200), (6, 60)):
        battery = jb.SpinBattery(1.0, jb.nearest_neighbor(n, 1.0), 0.5)
        reach = 4.0 * np.isin(np.arange(n), (0, n - 1))
        protocol = jb.PiecewiseField(jnp.zeros((16, n)), 2.0)
        found = jb.optimize(battery, protocol, objective="work", bounds=(-reach, reach), steps=300)
        works = np.sort(_driven_ends(n, draws, pieces=16, duration=2.0, u_max=4.0)) / (2 * n)
        yield {
            "n": n,
            "work / (2 N B)": float(found.work) / (2 * n),
            "direct search": works[-1],
            "its median": float(np.median(works)),
            "its share within 0.1 % of the best": float(np.mean(works > 0.999 * works[-1])),
            **_numbers(found),
        }


def robust() -> Iterator[Row]:
    """10 % disorder in g_ij: a protocol for 48 samples beside one for the clean chain, on 400 samples that neither has seen."""
    n, clean = 4, jb.power_law(4, 1.0, 1.0)

    def sample(key: jax.Array) -> jb.SpinBattery:
        noise = jnp.triu(jax.random.normal(key, (n, n)), 1)
        return jb.SpinBattery(1.0, clean * (1 + 0.1 * (noise + noise.T)), 0.0, initial_state="down")

    keys = jax.random.split(jax.random.key(1), 448)
    protocol = jb.PiecewiseField(jnp.full(16, 4.0), 3.0)
    options: Any = {"bounds": (-4.0, 4.0), "steps": 200, "objective": "work", "solver": jb.StateVector()}
    for_clean = jb.optimize(jb.SpinBattery(1.0, clean), protocol, **options)
    for_all = jb.optimize([sample(key) for key in keys[:48]], for_clean.protocol, starts=3, **options)

    def power(field: jb.PiecewiseField) -> np.ndarray:
        def one(key: jax.Array) -> jax.Array:
            return jb.charge(sample(key), field, field.duration[None], solver=options["solver"]).power[0]

        return np.asarray(jax.jit(jax.vmap(one))(keys[48:]))

    clean_power, robust_power = power(for_clean.protocol), power(for_all.protocol)
    difference = robust_power - clean_power
    yield {
        "power in the clean chain, its protocol": float(for_clean.power),
        "mean power, protocol of the clean chain": float(clean_power.mean()),
        "mean power, robust protocol": float(robust_power.mean()),
        "difference": float(difference.mean()),
        "its standard error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
    }


def optimizers() -> Iterator[Row]:
    """Adam beside L-BFGS with as many gradients, 300 for each start: 30 steps with at most 9 trials in each line search."""
    single = jb.SpinBattery(1.0, jnp.zeros((1, 1)))
    ising = jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0))
    ladder = jb.SpinBattery(1.0, jb.power_law(16, 1.0, 0.0))
    least_time: Any = {"objective": "time", "target": 0.999, "bounds": (0.0, 4.0)}
    cases: tuple[tuple[str, jb.SpinBattery, jb.PiecewiseField, Any], ...] = (
        ("single cell", single, jb.PiecewiseField(jnp.zeros(16), 1.0), {"bounds": (-4.0, 4.0)}),
        ("pair, least time", ising, jb.PiecewiseField(jnp.full(64, 4.0), 1.5), least_time),
        ("collective, N = 16", ladder, jb.PiecewiseField(jnp.zeros(32), 0.4), {"bounds": (-4.0, 4.0)}),
    )
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=9, initial_guess_strategy="one")
    methods = {"Adam": (None, 300), "L-BFGS": (optax.lbfgs(linesearch=search), 30)}
    for (case, battery, protocol, options), (name, (method, steps)) in itertools.product(cases, methods.items()):
        found = jb.optimize(battery, protocol, optimizer=method, steps=steps, patience=steps, **options)
        yield {"case": case, "optimizer": name, "steps": steps, **_numbers(found)}


CASES: dict[str, Callable[[], Iterator[Row]]] = {
    case.__name__: case for case in (single_cell, pair, collective, long_range, mean_field, ends, robust, optimizers)
}


def _powers(n: int, battery: jb.SpinBattery, solver: Any, *, pieces: int, steps: int, starts: int) -> Row:
    protocol = jb.PiecewiseField(jnp.zeros(pieces), 0.4)
    found = jb.optimize(battery, protocol, bounds=(-4.0, 4.0), steps=steps, starts=starts, solver=solver)
    return {"n": n, "power / N": float(found.power) / n, "constant / N": float(found.constant.power) / n, **_numbers(found)}


def _numbers(found: jb.Optimum) -> Row:
    numbers = {name: float(getattr(found, name)) for name in ("value", "time", "work", "gain")}
    return numbers | {"levels": np.asarray(found.protocol.levels).round(3).tolist(), "start": found.start, "reason": found.reason}


def _switched_pair(u_max: float, choices: tuple[float, ...], target: float) -> tuple[list[float], list[float]]:
    """The least time to the target with at most three constant levels out of the choices: SciPy alone, no code of jaxbatt.

    Triplet basis (up up, symmetric, down down): H = -Z Z + u (X_1 + X_2), H_0 = Z_1 + Z_2 - Z Z.
    """
    x = np.array([[0, 2**0.5, 0], [2**0.5, 0, 2**0.5], [0, 2**0.5, 0]])
    levels = sorted(set(choices))
    solved = {c: np.linalg.eigh(np.diag([-1.0, 1.0, -1.0]) + c * u_max * x) for c in levels}

    def missing(durations: np.ndarray, pattern: tuple[float, ...]) -> float:
        state = np.array([0, 0, 1], complex)
        for level, duration in zip(pattern, durations, strict=True):
            energies, vectors = solved[level]
            state = vectors @ (np.exp(-1j * energies * duration) * (vectors.T @ state))
        probability = np.abs(state) ** 2
        return target - (probability @ np.array([1.0, 1.0, -3.0]) + 3) / 4

    best: tuple[float, list[float], list[float]] = (np.inf, [], [])
    random = np.random.default_rng(0)
    for pattern in itertools.product(levels, repeat=3):
        if any(a == b for a, b in itertools.pairwise(pattern)):
            continue
        for _ in range(60):
            first = random.uniform(0, 2.0, 3) / np.array([u_max if level else 1.0 for level in pattern])
            constraint = {"type": "ineq", "fun": lambda d, pattern=pattern: -missing(d, pattern)}
            found = minimize(np.sum, first, bounds=[(0, None)] * 3, constraints=[constraint], method="SLSQP")
            if found.success and missing(found.x, pattern) < 1e-7 and found.fun < best[0]:
                best = (found.fun, [c * u_max for c in pattern], found.x.tolist())
    return best[1], best[2]


def _driven_ends(n: int, draws: int, *, pieces: int, duration: float, u_max: float) -> list[float]:
    """Local maxima of W of a chain, alpha = 0.5, g = B, that its ends charge: dense matrices and SciPy, no code of jaxbatt.

    The derivative of exp(-i H t) by divided differences between the levels of H.
    """
    pauli = {"x": np.array([[0, 1], [1, 0]]), "y": np.array([[0, -1j], [1j, 0]]), "z": np.diag([1, -1])}

    def string(letter: str, *sites: int) -> np.ndarray:
        return functools.reduce(np.kron, [pauli[letter] if i in sites else np.eye(2) for i in range(n)])

    bonds = [string("z", i, i + 1) + 0.5 * (string("x", i, i + 1) + string("y", i, i + 1)).real for i in range(n - 1)]
    chain = -sum(bonds)
    stored = chain + sum(string("z", i) for i in range(n))
    ends, step = np.stack([string("x", 0), string("x", n - 1)]), duration / pieces

    def loss(field: np.ndarray) -> tuple[float, np.ndarray]:
        levels, vectors = np.linalg.eigh(chain + np.tensordot(field.reshape(pieces, 2), ends, 1))
        phases = np.exp(-1j * step * levels)
        states = [np.eye(2**n)[-1].astype(complex)]
        for phase, q in zip(phases, vectors, strict=True):
            states.append(q @ (phase * (q.T @ states[-1])))
        adjoint, slopes = stored @ states[-1], np.zeros((pieces, 2))
        work = (states[-1].conj() @ adjoint).real - stored[-1, -1]
        for k, (phase, q) in reversed(list(enumerate(zip(phases, vectors, strict=True)))):
            left, right = q.T @ adjoint, q.T @ states[k]
            gap = levels[k][:, None] - levels[k]
            close = np.abs(gap) < 1e-9
            ratio = np.where(close, -1j * step * phase, (phase[:, None] - phase) / np.where(close, 1, gap))
            slopes[k] = [2 * (left.conj() @ ((ratio * (q.T @ end @ q)) @ right)).real for end in ends]
            adjoint = q @ (phase.conj() * left)
        return -work, -slopes.ravel()

    random = np.random.default_rng(0)
    first = random.uniform(-u_max, u_max, (draws, 2 * pieces))
    box = [(-u_max, u_max)] * (2 * pieces)
    return [-minimize(loss, x, jac=True, bounds=box, method="L-BFGS-B", options={"maxiter": 400}).fun for x in first]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--out", type=Path, help="directory for the JSON files")
    arguments = parser.parse_args()
    for name in arguments.cases:
        rows = []
        for row in _timed(CASES[name]()):
            print(name, {key: value for key, value in row.items() if key != "levels"}, flush=True)
            rows.append(row)
        if arguments.out:
            save(arguments.out / f"optimal_{name}.json", rows)


def _timed(rows: Iterator[Row]) -> Iterator[Row]:
    start = time.perf_counter()
    for row in rows:
        yield row | {"seconds": time.perf_counter() - start}
        start = time.perf_counter()


if __name__ == "__main__":
    main()
