"""Sweeps on a Dask cluster of two processes: the same bits as in this one, whoever dies on the way."""

import os
import signal

import numpy as np
import pytest

import jaxbatt as jb
from jaxbatt.sweeps.store import Memory

distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")

ALPHAS = np.linspace(-1.0, 0.9, 40)


@pytest.fixture(scope="module")
def client():
    """Of a cluster of two processes with one thread each, without a dashboard."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


def strongest(omega):
    """A function that is pickled by value, for the workers do not know this file."""

    def fn(alpha):
        return jb.max_power(jb.SpinBattery(1.0, jb.power_law(3, 1.0, 1.0), alpha), jb.ConstantField(omega), solver=jb.Spectral())

    return fn


def bits(data):
    """Dtype and bytes of every array, and the attributes."""
    return {name: (array.dtype, array.to_numpy().tobytes()) for name, array in data.variables.items()}, data.attrs


def test_two_workers_give_the_same_bits(client):
    fn, axes = strongest(4.0), {"alpha": ALPHAS[:8]}
    assert bits(jb.sweep(fn, axes, batch_size=2, executor=client.get_executor())) == bits(jb.sweep(fn, axes))


def test_a_worker_that_is_killed_costs_its_chunk(client, monkeypatch):
    """SIGKILL, when the first chunk is back, for a worker that has others to compute."""
    fn, axes, processes, killed = strongest(3.0), {"alpha": ALPHAS}, client.run(os.getpid), []

    def write_and_kill(self, *arguments, write=Memory.write):
        if not killed:
            killed.append(next(processes[worker] for worker, chunks in client.processing().items() if chunks))
            os.kill(killed[0], signal.SIGKILL)
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "write", write_and_kill)
        survived = jb.sweep(fn, axes, batch_size=1, executor=client.get_executor())
    client.wait_for_workers(2, timeout=60)
    assert killed[0] not in client.run(os.getpid).values()
    assert bits(survived) == bits(jb.sweep(fn, axes))
