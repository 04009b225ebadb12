"""What jaxbatt asks of a GPU, as XLA compiles it for an H100 with 80 GB: no GPU is needed, and nothing is run or timed.

    pip install 'jax[cuda12]'
    python benchmarks/compiled_for_gpu.py --out benchmarks/results/compiled_nvidia_h100.json

Memory, kernels, and the bytes that one application of H moves if every kernel reads its operands and writes its result once.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"

import jax
import jax.numpy as jnp
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import jaxbatt as jb
from jaxbatt import _checks
from jaxbatt.bench.machine import save
from jaxbatt.hamiltonian import Operator, model_of
from jaxbatt.paulis import one_body
from jaxbatt.solvers import state_vector

MEMORY = int(0.75 * 84942979072)
"""Bytes that JAX takes of the card, unless told otherwise."""
TARGET = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
dnn_version_info { major: 9 minor: 8 }
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  threads_per_warp: 32 threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84942979072
}
"""
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}
_ARRAY = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"^  (?:ROOT )?%(\S+) = (\(.*?\)|\S+) ([\w-]+)\((.*?)\)")
_FREE = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element"}


def compiled(sharding: SingleDeviceSharding, program: Callable[..., Any], *arguments: Any) -> tuple[Any, dict[str, Any]]:
    """The program compiled for the GPU; seconds that took, temporary memory, and kernels."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x), sharding=sharding), arguments)
    start = time.perf_counter()
    executable = jax.jit(program, in_shardings=sharding, out_shardings=sharding).lower(*shapes).compile()
    seconds = time.perf_counter() - start
    kernels = len(re.findall(r"^  (?:ROOT )?%\S+ = .* (?:fusion|custom-call)\(", executable.as_text(), re.MULTILINE))
    temporary = executable.memory_analysis().temp_size_in_bytes
    return executable, {"compile": seconds, "kernels": kernels, "temp_bytes": temporary}


def moved(text: str) -> int:
    """Bytes that the kernels of a program without loops read and write."""
    entry = text[text.index("\nENTRY") :]
    found = [match.groups() for match in map(_INSTRUCTION.match, entry.splitlines()) if match]
    sizes = {name: _size(kind) for name, kind, _, _ in found}
    return sum(
        sizes[name] + sum(sizes.get(operand, 0) for operand in re.findall(r"%([\w.-]+)", operands))
        for name, _, what, operands in found
        if what not in _FREE
    )


def _size(kind: str) -> int:
    total = 0
    for number, shape in _ARRAY.findall(kind):
        count = 1
        for length in shape.split(",") if shape else ():
            count *= int(length)
        total += count * _BYTES[number]
    return total


def applications(sharding: SingleDeviceSharding, n: int) -> Iterator[dict[str, Any]]:
    """H of the long-range chain on real and complex states; a pass reads and writes the state once."""
    for alpha, rows, dtype in itertools.product((0.0, 0.5), (1, 2), ("float64", "float32")):
        charger = model_of(jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), alpha)).drift + one_body(n, "x", jnp.asarray(4.0))
        operator = jax.eval_shape(lambda charger, dtype=dtype: Operator.of(charger).astype(dtype), charger)
        state = jax.ShapeDtypeStruct((rows, 2**n), dtype)
        executable, row = compiled(sharding, lambda operator, v: operator.apply(v), operator, state)
        size = rows * 2**n * state.dtype.itemsize
        row |= {"passes": moved(executable.as_text()) / (2 * size), "states": row["temp_bytes"] / size}
        yield {"what": "apply", "n": n, "alpha": alpha, "rows": rows, "dtype": dtype} | row


def programs(sharding: SingleDeviceSharding, n: int) -> Iterator[dict[str, Any]]:
    """The standard task, its last work with the derivative by omega and all g_ij, and the search for the maximal power."""
    for dtype in (jnp.complex128, jnp.complex64):
        solver = jb.StateVector(dtype=dtype)

        def work(omega: Any, couplings: Any, times: Any, solver: jb.StateVector = solver) -> Any:
            return jb.charge(jb.SpinBattery(1.0, couplings, 0.5), jb.ConstantField(omega), times, solver=solver).work

        def gradient(omega: Any, couplings: Any) -> Any:
            return jax.value_and_grad(lambda *numbers: work(*numbers, jnp.array([0.4]))[0], (0, 1))(omega, couplings)

        def maximum(omega: Any, couplings: Any, solver: jb.StateVector = solver) -> Any:
            return jb.max_power(jb.SpinBattery(1.0, couplings, 0.5), jb.ConstantField(omega), solver=solver).power

        def curve(omega: Any, couplings: Any) -> Any:
            return work(omega, couplings, jnp.linspace(0, 0.4, 101))

        for what, program in {"curve": curve, "gradient": gradient, "maximal power": maximum}.items():
            row = {"what": what, "n": n, "dtype": jnp.dtype(dtype).name}
            try:
                _, found = compiled(sharding, program, 4.0, jb.power_law(n, 1.0, 1.0))
            except ValueError as refusal:
                yield row | {"refused": str(refusal)}
            else:
                yield row | found | {"states": found["temp_bytes"] / (2**n * jnp.dtype(dtype).itemsize)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apply", type=int, nargs="+", default=[20, 24, 28], help="numbers of spins for one application")
    parser.add_argument("--programs", type=int, nargs="+", default=[20, 24, 26, 27, 28, 29, 30], help="and for whole programs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    card = topologies.get_topology_desc(platform="cuda", topology_name="card", topology="1x1x1", target_config=TARGET)
    sharding = SingleDeviceSharding(card.devices[0])
    # The choices that jaxbatt makes on such a card.
    jax.default_backend = lambda: "gpu"
    _checks.available_memory = state_vector.total_memory = lambda: MEMORY
    rows = []
    for function, sizes in ((applications, options.apply), (programs, options.programs)):
        for row in itertools.chain.from_iterable(function(sharding, n) for n in sizes):
            rows.append(row)
            print(json.dumps(row), flush=True)
    if options.out:
        save(options.out, rows, {"target": card.devices[0].device_kind, "target_bytes": MEMORY})


if __name__ == "__main__":
    main()
