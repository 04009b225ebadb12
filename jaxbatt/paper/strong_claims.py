"""Claims on strong coupling: slow and fast charging, the effective Hamiltonian, their scaling."""

from __future__ import annotations

import numpy as np

from jaxbatt.paper.chains import ALL, LR, NN, best_power, slow_peak
from jaxbatt.paper.claims import Check, Claim, exponent, near
from jaxbatt.paper.figures import OMEGA, PAIR, STRONG
from jaxbatt.paper.tables import Table

_NEGLECTED = (2 * PAIR[1] / PAIR[0]) ** 2
"""(2 omega / g)^2 of Fig. 3: the relative size of what Eqs. 13 and 14 leave out."""


def slow_part(fig3: Table) -> Claim:
    """W of Fig. 3 averaged over each fast period, against Eq. 14 and the mean of the fast part."""
    g, omega = PAIR
    time, work = fig3["time"], fig3["work_exact"]
    total = np.concatenate([[0.0], np.cumsum((work[1:] + work[:-1]) / 2 * np.diff(time))])
    period = np.pi / np.hypot(g, 2 * omega)
    middle = time[(time >= period / 2) & (time <= time[-1] - period / 2)]
    mean = (np.interp(middle + period / 2, time, total) - np.interp(middle - period / 2, time, total)) / period
    slow = np.interp(middle, time, fig3["work_slow"]) + 2 * omega**2 / g
    return Claim(
        "Slow charging, Eq. (14)",
        "Eq. 14: two spins with g >> omega charge slowly as 4B sin^2(omega^2 t / g), under a fast oscillation",
        (
            Check(
                "largest deviation of W, averaged over fast periods, / 4B over Fig. 3",
                float(np.abs(mean - slow).max() / 4),
                high=_NEGLECTED,
            ),
        ),
    )


def fast_part(fig3: Table) -> Claim:
    """W of Fig. 3 against Eq. 13, and against Eq. 13 with the frequencies of the exact levels."""
    g, omega = PAIR
    time, work = fig3["time"], fig3["work_exact"]
    level = np.hypot(g, 2 * omega)
    mended = 4 * np.sin((level - g) / 2 * time) ** 2 + 4 * g * omega**2 / level**2 * np.sin(level * time) ** 2
    deviation = np.abs(work - fig3["work_slow_fast"]) / work.max()
    return Claim(
        "Slow and fast charging, Eq. (13)",
        "Eq. 13 and Fig. 3: the fast part is (4 omega^2 / g) sin^2(g t), all the way to omega^2 t / g = pi",
        (Check("largest |W - W_13| / W_max over Fig. 3", float(deviation.max()), high=_NEGLECTED),),
        (Check("largest |W - W_13| / W_max with frequency D", float(np.abs(work - mended).max() / work.max()), high=_NEGLECTED),),
        "the fast frequency is D = sqrt(g^2 + 4 omega^2); with g the phase drifts by 2 omega^2 t / g",
    )


def effective_hamiltonian() -> list[Claim]:
    """Half the splitting of the two lowest levels with its sign, from the spectrum at g = 100 B, omega = 4 B."""
    three = {chain: float(slow_peak(chain.couplings(3, STRONG), OMEGA).coefficient) for chain in (NN, LR, ALL)}
    signs = [float(np.sign(slow_peak(NN.couplings(n, STRONG), OMEGA).coefficient)) for n in (2, 3, 4, 5)]
    return [
        Claim(
            "Effective Hamiltonian of three spins",
            "N = 3, g >> omega: H_eff = const + c XXX, with c = 3 omega^3 / 8 g^2 for equal couplings (Eq. 15 and text)",
            (
                near("c / (3 omega^3 / 8 g^2) at p = 0", three[ALL] / (3 * OMEGA**3 / (8 * STRONG**2)), 1, 0.01),
                near("c / (omega^3 / g^2) for NN", three[NN] / (OMEGA**3 / STRONG**2), 1, 0.01),
                near("c / (5 omega^3 / 9 g^2) for LR", three[LR] / (5 * OMEGA**3 / (9 * STRONG**2)), 1, 0.01),
            ),
        ),
        Claim(
            "Sign of the N-body term, Eq. (15)",
            "Eq. 15: H_eff carries +c_N X_1 ... X_N for every N",
            (Check("smallest sign of c_N over N = 2..5", min(signs), low=1),),
            (Check("smallest (-1)^(N-1) sign of c_N over N = 2..5", min(-s * (-1) ** n for n, s in enumerate(signs, 2)), low=1),),
            "the sign is (-1)^(N-1); W does not depend on it",
        ),
    ]


def fast_scaling() -> Claim:
    """Exponents of the fast peak of three NN spins between g = 100, 200 and omega = 2, 4."""
    base = best_power(NN.couplings(3, STRONG), OMEGA)
    stiff = best_power(NN.couplings(3, 2 * STRONG), OMEGA)
    gentle = best_power(NN.couplings(3, STRONG), OMEGA / 2)
    in_g, in_omega = (STRONG, 2 * STRONG), (OMEGA / 2, OMEGA)
    return Claim(
        "Scaling of the fast peak",
        "for g >> omega the fast work scales as omega^2 / g and the fast power as omega^2",
        (
            near("exponent of W in omega", exponent([gentle.work, base.work], in_omega), 2, 0.05),
            near("exponent of W in g", exponent([base.work, stiff.work], in_g), -1, 0.05),
            near("exponent of P in omega", exponent([gentle.power, base.power], in_omega), 2, 0.05),
            near("exponent of P in g", exponent([base.power, stiff.power], in_g), 0, 0.05),
        ),
    )


def slow_scaling() -> Claim:
    """Exponent of the power at the slow peak of N = 2, 3, 4 NN spins between g = 400 and 800."""
    couplings = (4 * STRONG, 8 * STRONG)
    exponents = {
        n: exponent([float(slow_peak(NN.couplings(n, g), OMEGA).power) for g in couplings], couplings) for n in (2, 3, 4)
    }
    return Claim(
        "Scaling of the slow power",
        "the power at the slow peak scales as B omega (omega / g)^N",
        (Check("largest |exponent in g + N| over N = 2, 3, 4", max(abs(e + n) for n, e in exponents.items()), high=0.05),),
        (
            Check(
                "largest |exponent in g + N - 1| over N = 2, 3, 4", max(abs(e + n - 1) for n, e in exponents.items()), high=0.05
            ),
        ),
        "(omega / g)^(N-1)",
    )


def ends_charge_partners() -> Claim:
    """NN chains driven at the ends only, against the pair of an end and its partner."""
    couplings = NN.couplings(6, 1.0)
    pair = float(best_power(NN.couplings(2, 1.0), np.array([OMEGA, 0.0])).power)
    one = float(best_power(couplings, np.array([OMEGA, 0, 0, 0, 0, 0])).power)
    both = float(best_power(couplings, np.array([OMEGA, 0, 0, 0, 0, OMEGA])).power)
    return Claim(
        "Charging the ends only",
        "a field on the end spin(s) of an Ising chain charges only them and the bonds to their direct partners",
        (
            Check("|P / P_pair - 1| for N = 6 driven at one end", abs(one / pair - 1), high=1e-8),
            Check("|P / 2 P_pair - 1| for N = 6 driven at both ends", abs(both / (2 * pair) - 1), high=1e-8),
        ),
    )
