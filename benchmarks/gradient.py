"""Value and gradient beside the value alone: time, and temporary memory in state vectors of 2**N complex numbers.

Long range p = 1, g = B, omega = 4B, W at T = 0.4/B; with respect to omega (or the amplitudes of all pieces), and to all g_ij.

    python benchmarks/gradient.py --spins 12 16 --pieces 1 16 64 --out benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from timing import save, timed

import jaxbatt as jb

TIME = jnp.array([0.4])


def measure(n: int, alpha: float, pieces: int) -> dict[str, Any]:
    """Ratios of times and temporary memory."""
    couplings = jb.power_law(n, 1.0, 1.0)
    omega = jnp.asarray(4.0) if pieces == 1 else 4.0 + jnp.sin(jnp.arange(pieces))

    def work(omega: Any, couplings: Any) -> Any:
        drive = jb.ConstantField(omega) if pieces == 1 else jb.PiecewiseField(omega, TIME[0])
        return jb.charge(jb.SpinBattery(1.0, couplings, alpha), drive, TIME, solver=jb.StateVector()).work[0]

    known = timed(lambda omega: work(omega, couplings), omega)
    value, drive = timed(work, omega, couplings), timed(jax.value_and_grad(lambda omega: work(omega, couplings)), omega)
    both = timed(jax.value_and_grad(work, (0, 1)), omega, couplings)
    return {
        "n": n,
        "alpha": alpha,
        "pieces": pieces,
        "value": known["min"],
        "gradient in omega / value": drive["min"] / known["min"],
        "gradient in omega and g_ij / value": both["min"] / value["min"],
        "compile": {"value": known["compile"], "omega": drive["compile"], "omega and g_ij": both["compile"]},
        "state vectors": {
            "value": state_vectors(work, n, omega, couplings),
            "omega": state_vectors(jax.grad(lambda omega: work(omega, couplings)), n, omega),
            "omega and g_ij": state_vectors(jax.grad(work, (0, 1)), n, omega, couplings),
        },
    }


def state_vectors(function: Any, n: int, *arguments: Any) -> float:
    """Temporary memory of the compiled function in units of 16 * 2**N bytes."""
    compiled = jax.jit(function).lower(*arguments).compile()
    return compiled.memory_analysis().temp_size_in_bytes / (16 * 2**n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spins", type=int, nargs="+", default=[12, 16])
    parser.add_argument("--pieces", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for n in arguments.spins:
        for alpha in (0.0, 0.5):
            for pieces in arguments.pieces:
                rows.append(measure(n, alpha, pieces))
                print(rows[-1], flush=True)
    save(arguments.out, rows)


if __name__ == "__main__":
    main()
