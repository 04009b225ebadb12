"""One state over many devices, and a sweep over them: the same answers as on one, from processes with devices of their own."""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys

import dense
import jax
import mesh_program
import numpy as np
import pytest

import jaxbatt as jb
from jaxbatt.kernels import Sharded

PROGRAM = pathlib.Path(mesh_program.__file__)
ROUNDING = 1e-12
"""Relative to the largest number: some 100 applications of H, and series that are cut where 1e-12 is left."""


def start(devices, *arguments):
    """The program with so many devices."""
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    environment = os.environ | flags | {"PYTHONPATH": str(PROGRAM.parents[1])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def finish(process):
    """What it prints."""
    try:
        out, errors = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def same(found, expected, rounding=ROUNDING):
    """Lists of arrays, each to rounding of its largest number, none of them zero throughout."""
    for one, other in zip(found, expected, strict=True):
        size = np.abs(other).max()
        assert size > 1e-3
        np.testing.assert_allclose(one, other, rtol=0, atol=rounding * max(1.0, size))


def test_kernels():
    """Each on 1, 2, 4 and 8 devices."""
    whole, *sharded = finish(start(8, "kernels"))
    assert len(sharded) == 4
    for found in sharded:
        same(found, whole)


def test_masks_beyond_32_bits():
    """The bits of 34 that number one of 8 devices, the local ones, and the order after an exchange."""
    kernels = Sharded(jax.sharding.AbstractMesh((8,), ("devices",)))
    masks = np.array([5 << 31 | 3 << 28 | 77, 1 << 33, 1 << 30, 1 << 27])
    tops, places = kernels._halves(masks, 34)
    assert tops.tolist() == [5, 4, 0, 0]
    assert places.tolist() == [3 << 28 | 77, 0, 1 << 30, 1 << 27]
    assert kernels._swapped(masks, 34).tolist() == [3 << 31 | 5 << 28 | 77, 1 << 30, 1 << 33, 1 << 27]


def test_curves():
    """Work and magnetization on 1, 2 and 8 devices and by all propagators; the judge shares no code with them."""
    found = finish(start(8, "curves"))
    assert set(found) == {"None", "1", "2", "8", "Krylov", "Taylor"}
    for curve in found.values():
        same(curve, found["None"], 4 * ROUNDING)
    model = (1.0, mesh_program.LR, 0.5, 4.0, mesh_program.TIMES)
    same(found["8"], [dense.work(*model), dense.magnetization(dense.states(*model)) / mesh_program.N], 4 * ROUNDING)


def test_gradients():
    """Flips and transforms, a field for each spin and piece, a complex Hamiltonian: the curves and all derivatives."""
    found = finish(start(8, "gradients"))
    assert list(found) == list(mesh_program.DEVICES)
    for plain, sharded in found.values():
        same(sharded, plain)


def test_maximum_of_power():
    """The greatest power, and its time, which is found to some 1e-8."""
    plain, sharded = finish(start(8, "maxima"))
    same(sharded, plain, 1e-8)


def test_two_processes():
    """Each reads the same numbers, which are those of one device; a sweep over devices that it cannot read is refused."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    first, second = [finish(process) for process in [start(2, "process", rank, port) for rank in (0, 1)]]
    assert first == second
    assert first["own"] == 2
    same(first["found"], mesh_program.gradients_of("long range", mesh_program.solver(None)))
    assert re.search(r"4 devices, but only 2 .*local_devices.*executor", first["refusal"])


def test_no_device_holds_the_whole_state():
    """The temporary memory of a gradient falls with their number (but for the coefficients of its series, which each device
    has), and nothing is gathered on the way."""
    one, eight = finish(start(8, "programs"))
    assert "all-to-all" in eight["collectives"]
    assert "all-gather" not in eight["collectives"]
    assert eight["bytes"] < 1.6 * one["bytes"] / 8


def test_sweeps():
    """The points of a chunk over the devices, or each point over them. Their number decides the last bits: a store keeps it."""
    found = finish(start(8, "sweeps"))
    for how in ("2", "8", "inside"):
        same([found["values"][how]], [found["values"]["plain"]], 1e-10 if how == "inside" else ROUNDING)
    assert re.search(r"devices.*2", found["refusal"])
    (one, alone), (eight, shared) = found["plans"]["1"], found["plans"]["8"]
    # The 15 points are 16 on one device, or two on each of eight, which share one memory.
    assert (one, eight) == (16, 16)
    assert 0 < shared < 2 * alone


def mesh_of(*shape):
    names = tuple("abc"[: len(shape)])
    return jax.sharding.Mesh(np.resize(np.array(jax.devices()[:1]), shape), names)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jb.StateVector(mesh=8), r"`mesh` must be a jax.sharding.Mesh, but it is 8; pass jax.make_mesh"),
        (lambda: jb.StateVector(mesh=mesh_of(1, 1)), r"one axis, but it has .*'b': 1.*make_mesh\(\(1,\)"),
        (lambda: jb.StateVector(mesh=mesh_of(6)), r"1, 2, 4, 8, .* but has 6; take 4"),
        (lambda: charge(3, mesh_of(4)), r"4 devices, too many for 3 spins; take at most 2"),
        (lambda: charge(40, mesh_of(2)), r"40 spins needs .* GiB.* more devices"),
        (lambda: sweep(mesh=mesh_of(1, 1)), r"one axis"),
        (lambda: sweep(mesh=mesh_of(1), executor=object()), r"`mesh` .* 1 devices .* `executor` .* leave out one"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def charge(n, mesh):
    battery = jb.SpinBattery(1.0, jb.nearest_neighbor(n, 1.0))
    return jb.charge(battery, jb.ConstantField(4.0), [0.0, 1.0], solver=jb.StateVector(mesh=mesh))


def sweep(**options):
    return jb.sweep(lambda x: x, {"x": np.arange(3.0)}, progress=False, **options)
