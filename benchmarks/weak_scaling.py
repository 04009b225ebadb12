"""One application of H and one curve with one spin more for twice the devices, each device on a core of its own.

Beside it what an application consists of: a pass over the vector, an exchange between the devices, a transform of the local bits.
The devices are those that XLA makes of one CPU (--xla_force_host_platform_device_count): what is sent goes through the memory.

    python benchmarks/weak_scaling.py --spins 16 18 --out benchmarks/results/NAME.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

import jaxbatt as jb
from jaxbatt.bench.machine import save
from jaxbatt.bench.timer import repeat_compiled
from jaxbatt.hamiltonian import Operator, model_of
from jaxbatt.kernels import Sharded, walsh
from jaxbatt.paulis import one_body

TIMES = jnp.array([0.1, 0.2])
LOOPS = 16
"""Steps in one call, one after the other: a result of its own takes fresh memory from the system."""


def repeated(step: Callable[..., jax.Array], state: jax.Array, *given: Any) -> dict[str, float]:
    """Seconds of one step(*given, state)."""
    program = jax.jit(lambda v, *given: jax.lax.fori_loop(0, LOOPS, lambda _, v: step(*given, v), v))
    row = repeat_compiled(program, (state, *given))
    return {name: row[name] / LOOPS for name in ("min", "median")} | {"compile": row["compile"]}


def measure(n: int, devices: int) -> list[dict[str, Any]]:
    """Long range, p = 1, omega = 4B: seconds on the devices of this process."""
    solver = jb.StateVector(mesh=jax.make_mesh((devices,), ("devices",)))
    kernels = Sharded(solver.mesh)
    state = jax.jit(kernels.spread)(jnp.asarray(np.random.default_rng(0).normal(size=(1, 2**n))))
    split = PartitionSpec(None, "devices")

    def locally(step: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        return jax.shard_map(step, mesh=kernels.mesh, in_specs=split, out_specs=split)

    parts = {
        "pass": lambda v: v * 1.0000001,
        "exchange": locally(kernels._exchange),
        "local transform": locally(lambda v: walsh(v) * (devices / 2**n) ** 0.5),
    }
    rows = [{"n": n, "devices": devices, "what": what} | repeated(step, state) for what, step in parts.items()]
    for alpha in (0.0, 0.5):
        battery = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), alpha)
        charger = model_of(battery).drift + one_body(n, "x", jnp.asarray(4.0))
        # Divided by its greatest possible eigenvalue, so that nothing overflows.
        radius = jnp.abs(charger.coefficients).sum()
        operator = jax.jit(lambda charger=charger, radius=radius: Operator.of(charger * (1 / radius), kernels))()

        def curve(omega: Any, battery: Any = battery) -> Any:
            return jb.charge(battery, jb.ConstantField(omega), TIMES, solver=solver).work

        row = {"n": n, "devices": devices, "alpha": alpha}
        rows.append(row | {"what": "apply"} | repeated(Operator.apply, state, operator))
        whole = repeat_compiled(jax.jit(curve), (jnp.asarray(4.0),))
        rows.append(row | {"what": "curve"} | {name: whole[name] for name in ("min", "median", "compile")})
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
            for row in in_process(n + more, devices):
                rows.append(row | {"load before": load})
                print(json.dumps(rows[-1]), flush=True)
    if options.out:
        save(options.out, rows)


if __name__ == "__main__":
    main()
