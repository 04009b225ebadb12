"""Claims on weak and moderate coupling: independent spins, anisotropy, Eqs. 18 and 19, the growth of G."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxbatt import theory
from jaxbatt._types import Couplings, Scalar, Times
from jaxbatt.battery import SpinBattery
from jaxbatt.charging import charge
from jaxbatt.couplings import nearest_neighbor, power_law
from jaxbatt.paper.chains import LR, NN, best_power, charged_work
from jaxbatt.paper.claims import Check, Claim, exponent, near
from jaxbatt.paper.figures import OMEGA, SEVEN
from jaxbatt.paper.tables import Table, where
from jaxbatt.protocols import ConstantField
from jaxbatt.solvers import Spectral


def single_cell() -> Claim:
    """The best charging of one cell."""
    peak = best_power(jnp.zeros((1, 1)), OMEGA)
    return Claim(
        "Optimum of a single cell",
        "largest power of one cell 1.4 omega B, at time 1.2 / omega (two digits)",
        (near("P / (omega B)", peak.power / OMEGA, 1.4, 0.05), near("omega T", peak.time * OMEGA, 1.2, 0.05)),
    )


def xxx_is_independent() -> Claim:
    """Chains with alpha = 1 of several ranges and strengths, against independent spins."""
    chains = (nearest_neighbor(6, 1.0), power_law(6, 10.0, 0.0), power_law(9, 1.0, 1.0), power_law(4, 100.0, 3.0))
    ratios = [float(best_power(g, OMEGA, 1.0).power / theory.independent_max_power(len(g), 1.0, OMEGA)) for g in chains]
    return Claim(
        "XXX chain = independent spins",
        "at alpha = 1 the charging is that of independent spins, whatever the range and the strength of the interactions",
        (Check("largest |P / P_ind - 1| over NN, p = 0, 1, 3 and g = 1, 10, 100", max(abs(r - 1) for r in ratios), high=1e-8),),
    )


def power_grows_with_anisotropy(fig2: Table) -> Claim:
    """The slope of Fig. 2, and the order of its curves."""
    long, near_ = where(fig2, coupling=LR.name), where(fig2, coupling=NN.name)
    steps = max(float(np.diff(rows["ratio"]).max()) for rows in (long, near_))
    gap = (long["ratio"] - near_["ratio"])[long["alpha"] < 1].min()
    return Claim(
        "Power grows with anisotropy and range",
        "Fig. 2: the largest power falls as alpha rises from -1 to 1, and is larger for LR than for NN",
        (
            Check("largest step of P / P_ind from one alpha to the next", steps, high=-1e-9),
            Check("smallest (P_LR - P_NN) / P_ind for alpha < 1", float(gap), low=1e-9),
        ),
    )


def advantage_below_one(fig2: Table) -> Claim:
    """Where Fig. 2 shows an advantage."""
    inside = fig2["alpha"] < 1
    return Claim(
        "Range of the advantage",
        "interactions give an advantage in power for alpha <= 1",
        (Check("smallest P / P_ind - 1 for alpha <= 1", float(fig2["ratio"].min() - 1), low=1e-6),),
        (
            Check("smallest P / P_ind - 1 for alpha < 1", float(fig2["ratio"][inside].min() - 1), low=1e-6),
            Check("|P / P_ind - 1| at alpha = 1", float(np.abs(fig2["ratio"][~inside] - 1).max()), high=1e-8),
        ),
        "alpha < 1; none at alpha = 1",
    )


def eq18_accuracy(fig5: Table) -> Claim:
    """The error of Eq. 18 against g, and at the parameters of Fig. 5."""
    n, _, omega = SEVEN
    couplings, times = (0.005, 0.01), jnp.asarray(fig5["time"])
    errors = []
    for g in couplings:
        matrix = power_law(n, g, 1.0)
        exact, _ = charged_work(matrix, jnp.asarray(omega), times)
        formula = theory.interactions_off_work(n, 1.0, theory.total_coupling(matrix), 0.0, omega, times)
        errors.append(float(jnp.abs(exact - formula).max()))
    best, formula_best = fig5["power_exact"].max(), fig5["power_eq18"].max()
    return Claim(
        "Accuracy of Eq. (18)",
        "Eq. 18 and Fig. 5: at short times W is that of a charging with the interactions off, up to terms of second order in g",
        (
            near("exponent of max |W - W_18| in g", exponent(errors, couplings), 2, 0.1),
            Check("|P_max / P_max,18 - 1| in Fig. 5", abs(float(best / formula_best) - 1), high=0.02),
        ),
    )


@functools.partial(jax.jit, static_argnums=2)
def _uncoupled_work(couplings: Couplings, omega: Scalar, n_times: int) -> tuple[Times, Times]:
    """Times up to 2 pi / omega, and W(t) with the interactions off while charging."""
    times = jnp.linspace(0.0, 2 * jnp.pi / omega, n_times)
    battery = SpinBattery(1.0, couplings, interactions_while_charging=False)
    return times, charge(battery, ConstantField(omega), times, solver=Spectral()).work


def eq19() -> list[Claim]:
    """The maxima of the work with the interactions off, below and above the threshold 2 (1 - alpha) G = B N."""
    n, n_times = 4, 4001
    errors, weak = [], np.zeros(n_times)
    for total in (0.5, 1.9, 2.1, 8.0, 40.0):
        couplings = power_law(n, 1.0, 1.0)
        _, curve = _uncoupled_work(couplings * (total / theory.total_coupling(couplings)), jnp.asarray(OMEGA), n_times)
        errors.append(abs(float(curve.max() / theory.interactions_off_max_work(n, 1.0, total, 0.0).work) - 1))
        weak = np.asarray(curve) if total == 0.5 else weak
    quarter = (n_times - 1) // 4
    filled = weak[[quarter, 2 * quarter, 3 * quarter, 4 * quarter]] / (2 * n)
    return [
        Claim(
            "Largest work, Eq. (19)",
            "Eq. 19: 2BN for 2(1-alpha)G <= BN, else (BN + 2(1-alpha)G)^2 / (4(1-alpha)G)",
            (Check("largest |W_max / W_19 - 1| over G = 0.5 B to 40 B at N = 4", max(errors), high=1e-5),),
        ),
        Claim(
            "Times of the largest work",
            "T_max,1 = n pi / (2 omega) for all n = 1, 2, 3, ...",
            (Check("smallest W(n pi / 2 omega) / 2BN for n = 1..4", float(filled.min()), low=1 - 1e-8),),
            (
                Check("smallest W / 2BN for n = 1, 3", float(filled[::2].min()), low=1 - 1e-8),
                Check("largest W / 2BN for n = 2, 4", float(filled[1::2].max()), high=1e-8),
            ),
            "odd n only; at even n the battery is empty again",
        ),
    ]


def coupling_growth() -> list[Claim]:
    """How G = sum_{i<j} g_ij grows with N at g = B."""
    sizes = (512, 1024)

    def totals(p: float | None) -> list[float]:
        return [float(theory.total_coupling(nearest_neighbor(n, 1.0) if p is None else power_law(n, 1.0, p))) for n in sizes]

    near_, long, all_, short = totals(None), totals(1.0), totals(0.0), totals(2.0)
    per_spin = (long[1] / sizes[1] - long[0] / sizes[0]) / np.log(2)
    return [
        Claim(
            "Growth of G with N",
            "G = sum g_ij grows as N (NN), N log N (p = 1), N^2 (p = 0)",
            (
                near("exponent for NN", exponent(near_, sizes), 1, 0.01),
                near("growth of G / N per factor e of N for p = 1", per_spin, 1, 0.01),
                near("exponent for p = 0", exponent(all_, sizes), 2, 0.01),
            ),
        ),
        Claim(
            "Convergence for p > 1",
            "G converges for p > 1 as N grows",
            (near("G(1024) / G(512) at p = 2", short[1] / short[0], 1, 0.01),),
            (near("(G / N)(1024) / (G / N)(512) at p = 2", short[1] / short[0] / 2, 1, 0.01),),
            "it is G / N that converges",
        ),
    ]
