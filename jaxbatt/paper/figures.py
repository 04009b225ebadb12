"""What the figures of the paper show, as tables. Units: energies B, times 1/B, powers B^2."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

from jaxbatt import theory
from jaxbatt._types import Couplings, Scalar
from jaxbatt.battery import SpinBattery
from jaxbatt.charging import max_power
from jaxbatt.couplings import power_law
from jaxbatt.paper.chains import (
    CAPACITY,
    CLASSICAL,
    LR,
    NN,
    RESOLVED,
    STRONG_CAPACITY,
    XXX,
    Chain,
    best_power,
    charged_work,
    slow_peak,
)
from jaxbatt.paper.tables import Table, rows_to_table, where
from jaxbatt.protocols import ConstantField
from jaxbatt.results import Peak

OMEGA = 4.0
"""The charging field of Figs. 2, 4 and 6."""
STRONG = 100.0
"""The coupling of Fig. 4."""
PAIR = (20.0, 3.0)
"""g and omega of Fig. 3."""
SEVEN = (7, 1.0, 10.0)
"""N, g and omega of Fig. 5."""


def fig2(points: int = 41) -> Table:
    """Fig. 2: greatest power of N = 4 spins against the anisotropy alpha in [-1, 1]; g = B, omega = 4B.

    ``ratio`` is that to four independent spins, 1.449 N omega B; ``error`` bounds the error of ``max_power``.
    """
    alphas = jnp.linspace(-1.0, 1.0, points)
    chains = (LR, NN)

    def peak(couplings: Couplings, alpha: Scalar) -> Peak:
        return max_power(SpinBattery(1.0, couplings, alpha), ConstantField(OMEGA))

    scan = jax.jit(jax.vmap(jax.vmap(peak, (None, 0)), (0, None)))
    peaks = scan(jnp.stack([chain.couplings(4, 1.0) for chain in chains]), alphas)
    power = np.asarray(peaks.power).reshape(-1)
    return {
        "coupling": np.repeat([chain.name for chain in chains], points),
        "alpha": np.tile(np.asarray(alphas), len(chains)),
        "max_power": power,
        "ratio": power / float(theory.independent_max_power(4, 1.0, OMEGA)),
        "time": np.asarray(peaks.time).reshape(-1),
        "error": np.asarray(peaks.info.error / peaks.time).reshape(-1),
    }


def fig3(points: int = 1601) -> Table:
    """Fig. 3: work of two spins against omega^2 t / g in [0, pi]: exact, Eq. 14 (slow) and Eq. 13 (slow + fast); alpha = 0."""
    g, omega = PAIR
    scaled = np.linspace(0, np.pi, points)
    times = jnp.asarray(scaled * g / omega**2)
    work, error = charged_work(power_law(2, g, 1.0), jnp.asarray(omega), times)
    return {
        "time": np.asarray(times),
        "scaled_time": scaled,
        "work_exact": np.asarray(work),
        "work_slow": np.asarray(theory.ising_pair_slow_work(1.0, g, omega, times)),
        "work_slow_fast": np.asarray(theory.ising_pair_slow_fast_work(1.0, g, omega, times)),
        "error": np.full(points, float(error)),
    }


def fig4(sizes: Iterable[int] = range(2, STRONG_CAPACITY + 1)) -> Table:
    """Fig. 4: slow and fast charging at g = 100B, omega = 4B against N, for XXX, NN and LR chains.

    ``max_work_slow`` and ``power_at_max_work`` are those of :class:`SlowPeak`: the greatest work within one slowest fast period
    of the time T_N = pi / (2 c_N), at which all spins have turned up, and that work over its time.
    ``max_power_fast`` is the global maximum over time of W(t) / t, which lies on the first fast oscillation, and
    ``work_at_max_power`` the work there. An XXX chain has one oscillation only, 2NB sin^2(omega t), and no splitting to resolve.

    ``resolution`` is the relative error of T_N by the rounding of the levels. Where it exceeds 1 %, the slow peak is blank.
    """
    sizes = tuple(sizes)
    return rows_to_table([_strong(chain, n) for chain in (XXX, NN, LR) for n in sizes])


def _strong(chain: Chain, n: int) -> dict[str, object]:
    couplings = chain.couplings(n, STRONG)
    fast = best_power(couplings, OMEGA, chain.anisotropy)
    row: dict[str, object] = {"coupling": chain.name, "n_spins": n}
    if chain is XXX:
        time, resolution, note = np.pi / (2 * OMEGA), 0.0, "one oscillation: W = 2NB sin^2(omega t)"
        work = float(theory.independent_work(n, 1.0, OMEGA, time))
        power = work / time
    else:
        slow = slow_peak(couplings, OMEGA)
        time, work, power, resolution = float(slow.time), float(slow.work), float(slow.power), float(slow.resolution)
        note = ""
        if not slow.resolved:
            time = work = power = np.nan
            note = f"not resolved: float64 leaves {100 * resolution:.2g} % error in the splitting of the two lowest levels"
    row |= {"max_work_slow": work, "max_power_fast": float(fast.power), "power_at_max_work": power}
    row |= {"work_at_max_power": float(fast.work), "slow_time": time, "fast_time": float(fast.time)}
    return row | {"resolution": resolution, "note": note}


def fig4_stops(table: Table) -> str:
    """One sentence on the sizes at which the slow peaks of Fig. 4 end, and why."""
    ends = []
    for name in (NN.name, LR.name):
        rows = where(table, coupling=name)
        shown = rows["n_spins"][~np.isnan(rows["max_work_slow"])]
        lost = rows["n_spins"][np.isnan(rows["max_work_slow"])]
        if len(lost):
            ends.append(f"N = {max(shown, default=0)} ({name})")
    if not ends:
        return "Slow peaks are resolved in float64 at all sizes shown."
    return f"Slow peaks end at {', '.join(ends)}: beyond, float64 leaves more than {RESOLVED:.0%} error in the splitting 2c_N."


def fig5(points: int = 401) -> Table:
    """Fig. 5: work and power of N = 7 spins, exact and by Eq. 18 (interactions off); omega = 10B, g = B, alpha = 0, p = 1."""
    n, g, omega = SEVEN
    times = jnp.linspace(0.0, np.pi / omega, points)
    couplings = power_law(n, g, 1.0)
    exact, error = charged_work(couplings, jnp.asarray(omega), times)
    total = theory.total_coupling(couplings)
    columns = {
        "time": np.asarray(times),
        "work_exact": np.asarray(exact),
        "work_eq18": np.asarray(theory.interactions_off_work(n, 1.0, total, 0.0, omega, times)),
    }
    started = columns["time"] > 0
    safe = np.where(started, columns["time"], 1.0)
    columns |= {f"power_{name}": np.where(started, columns[f"work_{name}"] / safe, 0.0) for name in ("exact", "eq18")}
    return columns | {"error": np.full(points, float(error))}


def fig6(sizes: Iterable[int] = range(2, CAPACITY + 1)) -> Table:
    """Fig. 6: greatest power against N, quantum and mean field, for XXX, NN and LR chains; g = B, omega = 4B.

    ``quantum_error`` and ``classical_error`` bound the errors of the powers.
    """
    sizes = tuple(sizes)
    return rows_to_table([_both(chain, n) for chain in (XXX, NN, LR) for n in sizes])


def _both(chain: Chain, n: int) -> dict[str, object]:
    couplings = chain.couplings(n, 1.0)
    quantum = best_power(couplings, OMEGA, chain.anisotropy)
    classical = best_power(couplings, OMEGA, chain.anisotropy, CLASSICAL)
    row: dict[str, object] = {"coupling": chain.name, "n_spins": n}
    row |= {"quantum_power": float(quantum.power), "classical_power": float(classical.power)}
    row |= {"quantum_time": float(quantum.time), "classical_time": float(classical.time)}
    row["quantum_error"] = float(quantum.info.error / quantum.time)
    return row | {"classical_error": float(classical.info.error / classical.time)}
