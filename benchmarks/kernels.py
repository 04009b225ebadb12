"""One Hamiltonian application by each kernel, beside a copy of the same memory: is the cost rule right?

python benchmarks/kernels.py --spins 12 16 20 --out benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from timing import save, timed

import jaxbatt as jb
from jaxbatt import hamiltonian
from jaxbatt.paulis import one_body

walsh = importlib.import_module("jaxbatt.kernels.walsh")  # the module; the package exports the function of that name
CHOICES: tuple[tuple[str, ...] | None, ...] = (None, (), ("x",), ("x", "y"))


def applications(n: int) -> list[dict]:
    """H on a real state: the cost rule's own choice, and each choice forced."""
    rows = []
    state = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2**n)))
    for name, couplings in (("NN", jb.nearest_neighbor(n, 1.0)), ("LR", jb.power_law(n, 1.0, 1.0))):
        for alpha in (0.0, 0.5):
            model = hamiltonian.model_of(jb.SpinBattery(1.0, couplings, alpha))
            charger = model.drift + one_body(n, "x", jnp.asarray(4.0))
            for choice in CHOICES:
                kinds = {hamiltonian._kind(string) for string in charger.strings}
                if choice is not None and not set(choice) <= kinds:
                    continue
                rule = hamiltonian._cheapest if choice is None else lambda *_, choice=choice: choice
                with mock.patch.object(hamiltonian, "_cheapest", rule):
                    operator = jax.jit(hamiltonian.Operator.of)(charger)
                label = "rule" if choice is None else "transform " + ("+".join(choice) or "nothing")
                rows.append({"what": "apply", "chain": name, "alpha": alpha, "kernel": label})
                rows[-1] |= timed(lambda o, v: o.apply(v), operator, state)
    return rows


def transforms(n: int) -> list[dict]:
    """The Walsh transform by groups of 2 to 8 bits, and the copy of its memory."""
    state = jnp.asarray(np.random.default_rng(0).normal(size=2**n))
    rows = [{"what": "copy"} | timed(lambda v: v * 1.0000001, state)]
    for group in range(2, 9):
        with mock.patch.object(walsh, "_GROUP", group):
            rows.append({"what": "transform", "group": group} | timed(lambda v: walsh.walsh(v), state))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spins", type=int, nargs="+", default=[12, 16, 20])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    for n in options.spins:
        for row in transforms(n) + applications(n):
            rows.append({"n_spins": n} | row)
            print(json.dumps(rows[-1]), flush=True)
    save(options.out, rows)


if __name__ == "__main__":
    main()
