"""Claims on the role of correlations: quantum against mean field, all-to-all chains, and how far the growth of power goes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxbatt import theory
from jaxbatt.battery import SpinBattery
from jaxbatt.charging import charge
from jaxbatt.couplings import power_law
from jaxbatt.paper.chains import ALL, CAPACITY, CLASSICAL, best_power
from jaxbatt.paper.claims import Check, Claim, exponent, near
from jaxbatt.paper.figures import OMEGA
from jaxbatt.paper.tables import Table
from jaxbatt.protocols import ConstantField
from jaxbatt.solvers import Collective

_MEAN_FIELD = 4.0
"""g (N - 1) where N grows at fixed mean field."""


def classical_at_least_quantum(fig6: Table) -> Claim:
    """The order of the curves of Fig. 6."""
    advantage = (fig6["classical_power"] / fig6["quantum_power"] - 1).min()
    return Claim(
        "Classical power >= quantum power",
        "Fig. 6: mean-field chains charge at least as powerfully as quantum ones, so correlations do not help",
        (Check("smallest P_classical / P_quantum - 1 over Fig. 6", float(advantage), low=-1e-8),),
    )


def tends_to_mean_field() -> Claim:
    """p = 0 at fixed g (N - 1): the power at N = 6, 12, and the whole curve at N = 1000."""
    sizes = (CAPACITY // 2, CAPACITY)
    gaps = []
    for n in sizes:
        couplings = ALL.couplings(n, _MEAN_FIELD / (n - 1))
        gaps.append(float(best_power(couplings, OMEGA, solver=CLASSICAL).power / best_power(couplings, OMEGA).power - 1))
    n, times = 1000, jnp.linspace(0.0, np.pi / OMEGA, 41)
    g = _MEAN_FIELD / (n - 1)
    quantum = charge(SpinBattery(1.0, power_law(n, g, 0.0)), ConstantField(OMEGA), times, solver=Collective()).work
    classical = theory.mean_field_work(n, 1.0, g, 0.0, OMEGA, times)
    return Claim(
        "p = 0 tends to mean field",
        "the all-to-all chain tends to its mean field as N grows",
        (
            near("exponent of P_classical / P_quantum - 1 in N (6 to 12)", exponent(gaps, sizes), -1, 0.3),
            Check(
                "largest |W - W_mean field| / W_max at N = 1000",
                float(jnp.abs(quantum - classical).max() / quantum.max()),
                high=0.01,
            ),
        ),
    )


def collective_coupling() -> Claim:
    """Mean-field dynamics of five all-to-all spins against the closed form, with either coupling."""
    n, g = 5, 1.0
    peak = best_power(ALL.couplings(n, g), OMEGA, solver=CLASSICAL)
    total = g * n * (n - 1) / 2

    def deviation(coupling: float) -> float:
        """The closed form with ``coupling`` in place of g (N - 1)."""
        z = theory.mean_field_z(n, coupling / (n - 1), 0.0, OMEGA, peak.time)
        return abs(float((n * (1 + z) + total * (1 - z**2)) / peak.work - 1))

    return Claim(
        "Coupling in Eqs. (24)",
        "the equations of the collective spin, Eqs. 24 with numbers for operators, turn with g N",
        (Check("|W / W_(g N) - 1| at the best time, N = 5", deviation(g * n), high=1e-7),),
        (Check("|W / W_(g (N-1)) - 1| at the best time, N = 5", deviation(g * (n - 1)), high=1e-7),),
        "g (N - 1), as in Eq. 21; g N is its limit for large N",
    )


def scaling_window(fig6: Table) -> Claim:
    """Exponent of the largest power in N at p = 0, with G << N omega and beyond, and the rigorous bound."""
    sizes = (CAPACITY // 2, CAPACITY)
    weak, strong = (exponent([float(best_power(ALL.couplings(n, g), OMEGA).power) for n in sizes], sizes) for g in (0.1, 20.0))
    filling = fig6["quantum_power"] / np.array([float(theory.max_power_bound(int(n), 1.0, OMEGA)) for n in fig6["n_spins"]])
    return Claim(
        "Super-extensive power",
        "the power of chains with long-range interactions grows faster than N",
        (
            Check("exponent of P in N (6 to 12) at p = 0, g = 0.1 B", weak, low=1.05),
            Check("exponent of P in N (6 to 12) at p = 0, g = 20 B", strong, low=1.05),
        ),
        (
            Check("exponent of P in N (6 to 12) at p = 0, g = 0.1 B", weak, low=1.05),
            near("exponent of P in N (6 to 12) at p = 0, g = 20 B", strong, 1, 0.05),
            Check("largest P / [N (1.449 omega B + 2 omega^2)] in Fig. 6", float(filling.max()), high=1),
        ),
        "only while G << N omega; P <= N (1.449 omega B + 2 omega^2) always",
    )
