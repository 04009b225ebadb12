"""What test_mesh.py runs in processes of its own, on devices that XLA_FLAGS makes of one CPU; prints its results as JSON.

python tests/mesh_program.py kernels | curves | gradients | maxima | programs | sweeps
python tests/mesh_program.py process RANK PORT
"""

import json
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

import jaxbatt as jb
from jaxbatt.kernels import ONE_DEVICE, Sharded

if sys.argv[1:2] == ["process"]:
    # Before any array is made.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{sys.argv[3]}", num_processes=2, process_id=int(sys.argv[2]))

TIMES = jnp.linspace(0.0, 0.4, 5)
TIGHT = jb.Chebyshev(1e-12)
"""The mesh decides on the kernels, they on the bounds of the spectrum, and those on what is truncated: little, if it is tight."""
N = 7
rng = np.random.default_rng(0)
NN, LR = jb.nearest_neighbor(N, 1.0), jb.power_law(N, 1.0, 1.0)
PIECES = rng.normal(size=(3, N))
TILTED = rng.normal(size=2**N) + 1j * rng.normal(size=2**N)
TILTED /= np.linalg.norm(TILTED)
ENERGY = jb.PauliSum.from_terms(N, [("Z", (i,), 1.0 + 0.1 * i) for i in range(N)] + [("XY", (0, 6), 0.4), ("YY", (1, 2), 0.3)])
CHIRAL = [
    (letters, pair, sign * (1 + pair[0]) / 5) for pair in ((0, 1), (1, 5), (4, 6)) for letters, sign in (("XY", 1), ("YX", -1))
]
DRIFT = jb.PauliSum.from_terms(N, [*CHIRAL, ("XX", (2, 3), 0.7), ("ZY", (0, 4), -0.3), ("Y", (1,), 0.2), ("XXX", (0, 2, 6), 0.5)])


def sharded(devices):
    return jax.make_mesh((devices,), ("devices",), devices=jax.devices()[:devices])


def solver(devices, propagator=TIGHT):
    return jb.StateVector(propagator, mesh=None if devices is None else sharded(devices))


def weighted(curve):
    """One number that depends on everything in a curve."""
    return jnp.sum(curve.work * jnp.arange(1.0, 6.0)) + jnp.sum(curve.magnetization * jnp.arange(15.0).reshape(5, 3))


def chain(couplings, anisotropy, level, solver):
    battery = jb.SpinBattery(1.0, (couplings + couplings.T) / 2, anisotropy, initial_state="down")
    drive = jb.ConstantField(level) if jnp.ndim(level) == 0 else jb.PiecewiseField(level, TIMES[-1])
    return jb.charge(battery, drive, TIMES, solver=solver)


def pauli(coefficients, level, state, solver):
    battery = jb.PauliBattery(ENERGY, jb.PauliSum(N, DRIFT.strings, coefficients), N, initial_state=state)
    return jb.charge(battery, jb.ConstantField(level, axis="y"), TIMES, solver=solver)


CASES = {
    "nearest neighbor": (lambda g, w, solver: chain(g, 0.0, w, solver), (NN, jnp.asarray(4.0))),
    "long range": (chain, (LR, jnp.asarray(0.5), jnp.asarray(4.0))),
    "pieces": (chain, (LR, jnp.asarray(0.5), jnp.asarray(PIECES))),
    "pauli": (pauli, (DRIFT.coefficients, jnp.asarray(1.3), jnp.asarray(TILTED))),
}


DEVICES = {"nearest neighbor": 8, "pieces": 4, "pauli": 8}
"""Over how many each gradient is taken; that of the long-range chain is taken by two processes."""


def listed(tree):
    return [np.asarray(x).tolist() for x in jax.tree.leaves(tree)]


def curve_of(name, solver):
    """Work and magnetization."""
    function, numbers = CASES[name]
    curve = function(*numbers, solver)
    return listed((curve.work, curve.magnetization))


def gradients_of(name, solver):
    """Work, magnetization, and their derivatives with respect to all numbers but the state: those stay with the amplitudes."""
    function, numbers = CASES[name]
    places = tuple(i for i, x in enumerate(numbers) if not jnp.iscomplexobj(x))

    def weighted(*numbers):
        curve = function(*numbers, solver)
        total = jnp.sum(curve.work * jnp.arange(1.0, 6.0)) + jnp.sum(curve.magnetization * jnp.arange(15.0).reshape(5, 3))
        return total, (curve.work, curve.magnetization)

    (_, curve), found = jax.jit(jax.value_and_grad(weighted, places, has_aux=True))(*numbers)
    return listed((curve, found))


def maximum_of(solver):
    """Power, time and work."""
    battery = jb.SpinBattery(1.0, LR, 0.5, initial_state="down")
    peak = jb.max_power(battery, jb.ConstantField(4.0), solver=solver)
    return listed((peak.power, peak.time, peak.work))


def program_of(devices):
    """Temporary bytes of a gradient of 18 spins on each device, and which collectives it calls."""

    def work(couplings, level):
        return chain(couplings, 0.5, level, jb.StateVector(mesh=sharded(devices))).work[-1]

    compiled = jax.jit(jax.grad(work, (0, 1))).lower(jb.power_law(18, 1.0, 1.0), jnp.asarray(4.0)).compile()
    kinds = ("all-to-all", "all-gather", "all-reduce", "collective-permute")
    called = [kind for kind in kinds if f" {kind}(" in compiled.as_text() or f" {kind}-start(" in compiled.as_text()]
    return {"bytes": compiled.memory_analysis().temp_size_in_bytes, "collectives": called}


def swept():
    """The same sweep without a mesh, over 2 and 8 devices, and of a function that itself runs over a mesh."""

    def fn(alpha, omega, mesh=None):
        battery = jb.SpinBattery(1.0, jb.power_law(6, 1.0, 1.0), alpha, initial_state="down")
        return jb.charge(battery, jb.ConstantField(omega), TIMES, solver=jb.StateVector(mesh=mesh)).work

    axes = {"alpha": np.linspace(-1, 1, 5), "omega": np.array([1.0, 2.0, 4.0])}
    found = {"plain": jb.sweep(fn, axes, progress=False), "8": jb.sweep(fn, axes, mesh=sharded(8), progress=False)}
    found["inside"] = jb.sweep(lambda alpha, omega: fn(alpha, omega, sharded(4)), axes, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/study"
        found["2"] = jb.sweep(fn, axes, mesh=sharded(2), store=store, progress=False)
        refusal = refused(lambda: jb.sweep(fn, axes, store=store, progress=False))
    plans = {devices: jb.plan(fn, axes, mesh=sharded(devices), batch_size=16).parts[0] for devices in (1, 8)}
    together = {devices: [part.together, part.memory] for devices, part in plans.items()}
    values = {name: data["value"].to_numpy().tolist() for name, data in found.items()}
    return {"values": values, "refusal": refusal, "plans": together}


def refused(call):
    """What it raises."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def one_of_two():
    """A curve with its gradients over the devices of two processes; what a sweep says to such a mesh."""
    whole = solver(4)
    found = gradients_of("long range", whole)
    refusal = refused(lambda: jb.sweep(lambda x: x, {"x": np.arange(3.0)}, mesh=whole.mesh, progress=False))
    return {"own": len(whole.mesh.local_devices), "found": found, "refusal": refusal}


def kernels_of(kernels):
    """What each kernel makes of the same random numbers; products with diagonals, for the order after a transform is its own."""
    rng = np.random.default_rng(1)
    v, w = jnp.asarray(rng.normal(size=(2, 2, 2**N)))
    masks = rng.choice(2**N, 20, replace=False)
    values = jnp.asarray(rng.normal(size=20))
    strings = [tuple(pair) for pair in rng.integers(0, 2**N, (60, 2)).tolist()]
    weights = jnp.asarray(rng.normal(size=60))

    def run(v, w):
        across = kernels.diagonal(N, masks, values, transformed=True) + 1.0 * kernels.counts(N)
        return {
            "transforms": kernels.transform_back(across * kernels.transform(v)),
            "diagonal": kernels.diagonal(N, masks, values, transformed=False),
            "flips": kernels.flips(strings, weights, v),
            "slopes": jax.grad(lambda c: jnp.vdot(w, kernels.flips(strings, c, v)))(weights),
            "overlaps": kernels.overlaps(strings, v, w),
            "overlaps of sites": kernels.site_overlaps(v, w),
            "counts": 1.0 * kernels.counts(N),
            "down": kernels.initial_rows(N, down=True, dtype=float),
            "up": kernels.initial_rows(N, down=False, dtype=float),
            "spread": kernels.spread(v),
        }

    return listed(jax.jit(run)(v, w))


def section(name):
    if name == "kernels":
        return [kernels_of(ONE_DEVICE)] + [kernels_of(Sharded(solver(d).mesh)) for d in (1, 2, 4, 8)]
    if name == "curves":
        found = {str(d): curve_of("long range", solver(d)) for d in (None, 1, 2, 8)}
        return found | {type(p).__name__: curve_of("long range", solver(8, p)) for p in (jb.Krylov(1e-12), jb.Taylor(1e-12))}
    if name == "gradients":
        return {name: [gradients_of(name, solver(d)) for d in (None, DEVICES[name])] for name in DEVICES}
    if name == "maxima":
        return [maximum_of(solver(d)) for d in (None, 4)]
    if name == "programs":
        return [program_of(d) for d in (1, 8)]
    return swept()


if __name__ == "__main__":
    print(json.dumps(one_of_two() if sys.argv[1] == "process" else section(sys.argv[1])))
