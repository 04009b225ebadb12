"""One application of H and one curve with one spin more for twice the devices, each device on a core of its own.

The devices are those that XLA makes of one CPU (--xla_force_host_platform_device_count): what is sent goes through the memory.

    python benchmarks/weak_scaling.py --spins 16 18 --out benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import save, timed

import jaxbatt as jb
from jaxbatt.hamiltonian import Operator, model_of
from jaxbatt.kernels import Sharded
from jaxbatt.paulis import one_body

TIMES = jnp.array([0.1, 0.2])


def measure(n: int, devices: int) -> list[dict[str, Any]]:
    """Long range, p = 1, omega = 4B: seconds on the devices of this process."""
    solver = jb.StateVector(mesh=jax.make_mesh((devices,), ("devices",)))
    kernels = Sharded(solver.mesh)
    state = jax.jit(kernels.spread)(jnp.asarray(np.random.default_rng(0).normal(size=(1, 2**n))))
    rows = []
    for alpha in (0.0, 0.5):
        battery = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), alpha)
        charger = model_of(battery).drift + one_body(n, "x", jnp.asarray(4.0))
        operator = jax.jit(lambda charger=charger: Operator.of(charger, kernels))()

        def curve(omega: Any, battery: Any = battery) -> Any:
            return jb.charge(battery, jb.ConstantField(omega), TIMES, solver=solver).work

        row = {"n": n, "devices": devices, "alpha": alpha}
        rows.append(row | {"what": "apply"} | timed(lambda o, v: o.apply(v), operator, state))
        rows.append(row | {"what": "curve"} | timed(curve, jnp.asarray(4.0)))
    return rows


def in_process(n: int, devices: int) -> list[dict[str, Any]]:
    """The same in a process with so many devices, and cores."""
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, __file__, "--child", str(n), str(devices)]
    cores = sorted(os.sched_getaffinity(0))[:devices]
    result = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spins", type=int, nargs="+", default=[16, 18])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(*options.child)))
        return
    rows = []
    for n in options.spins:
        for more, devices in enumerate((1, 2)):
            load = os.getloadavg()[0]
            rows += [row | {"load before": load} for row in in_process(n + more, devices)]
            print(json.dumps(rows[-4:], indent=1), flush=True)
    save(options.out, rows)


if __name__ == "__main__":
    main()
