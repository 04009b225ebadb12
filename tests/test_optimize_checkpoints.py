"""Checkpoints of ``optimize``: a killed run resumes to the same bits, and problems that differ are told apart."""

import os
import re
import resource
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimal import PAIR

import jaxbatt as jb
from jaxbatt.optimization.checkpoint import Checkpoint, fingerprint_of_function

RUN = """
import os, signal, sys
import numpy as np
import jax.numpy as jnp
import jaxbatt as jb

def tell(report):
    if report.step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

best = jb.optimize(
    jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0)), jb.ConstantField(0.0), bounds=(-2.0, 2.0), duration=0.5, starts=3, steps=30,
    objective="time", target=0.5, solver=jb.Spectral(), checkpoint=sys.argv[1], callback=tell,
)
arrays = {name: np.asarray(getattr(best, name)) for name in ("value", "time", "work", "history")}
np.savez(sys.argv[1] + ".npz", omega=best.protocol.omega, constant=best.constant.value, start=best.start, **arrays)
"""


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    """SIGKILL after 20 of 30 steps, then again; and once without."""
    # Compiled once for all processes; what is computed is the same program.
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def go(name, kill):
        command = [sys.executable, "-c", RUN, str(tmp_path / name), str(kill)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    whole = go("whole", 0)
    assert whole.returncode == 0, whole.stderr
    assert go("killed", 20).returncode == -signal.SIGKILL
    assert (tmp_path / "killed").exists()
    assert not (tmp_path / "killed.npz").exists()
    resumed = go("killed", 0)
    assert resumed.returncode == 0, resumed.stderr
    one, other = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "killed.npz")
    assert one["history"].shape == (30, 3)
    for name in one.files:
        assert one[name].tobytes() == other[name].tobytes(), name
    # Only the two checkpoints, the results and the cache: no temporary files.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "killed", "killed.npz", "whole", "whole.npz"]
    options = {"bounds": (-2.0, 2.0), "duration": 0.5, "starts": 3, "steps": 30, "objective": "time", "target": 0.5}
    options |= {"solver": jb.Spectral(), "checkpoint": tmp_path / "whole"}
    for change, words in (
        ({"starts": 4}, "starts was 3 there and is 4 here"),
        ({"bounds": (-1.0, 2.0)}, "differs in bounds"),
        ({"target": 0.6}, "target was 0.5 there and is 0.6 here"),
        ({"optimizer": optax.adam(0.01)}, "differs in optimizer"),
        # The default optimizer depends on it, too.
        ({"steps": 20}, "steps was 30 there and is 20 here"),
        ({"key": jax.random.key(1)}, "differs in key"),
        ({"objective": lambda end: end.work}, "differs in objective"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)):
            jb.optimize(PAIR, jb.ConstantField(0.0), **(options | change))
    with pytest.raises(ValueError, match="differs in battery"):
        jb.optimize(jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.1)), jb.ConstantField(0.0), **options)
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "whole").write_bytes(content[:-100])
    with pytest.raises(ValueError, match="is a damaged checkpoint"):
        jb.optimize(PAIR, jb.ConstantField(0.0), **options)
    (tmp_path / "whole").write_text("no checkpoint")
    with pytest.raises(ValueError, match="is no checkpoint of jaxbatt"):
        jb.optimize(PAIR, jb.ConstantField(0.0), **options)


def test_a_full_disk_is_named_and_leaves_the_file_before(tmp_path):
    """Files may not grow beyond 4 KiB for once."""
    place, limits = Checkpoint(tmp_path / "checkpoint", {}), resource.getrlimit(resource.RLIMIT_FSIZE)
    place.save(jnp.ones(10_000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            place.save(jnp.zeros(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert place.load(jnp.zeros(10_000)).all()
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint"]


def test_functions_that_close_over_other_arrays_are_told_apart():
    """The text of an expression names its arrays, but not their values: neither its own, nor those of what it calls."""
    numbers = np.linspace(0, 1, 3000)

    def plain(w):
        return lambda x: x - jnp.dot(w, x * numbers)

    def called(w):
        return lambda x: jax.jit(lambda y: jnp.sum(w * y))(x)

    def branching(w):
        return lambda x: jax.lax.cond(jnp.sum(x) > 0, lambda y: w * y, lambda y: 2 * w * y, x)

    other = numbers.copy()
    other[1] += 1e-12
    for make in (plain, called, branching):
        one, same, new = (fingerprint_of_function(make(jnp.asarray(w)), 1.0) for w in (numbers, numbers.copy(), other))
        assert one == same, make
        assert one != new, make
    keys = jax.random.split(jax.random.key(0))
    drawn = [fingerprint_of_function(lambda x, key=key: x + jax.random.normal(key), 1.0) for key in keys]
    assert drawn[0] != drawn[1]
