"""Stores of sweeps: kills, two writers, full disks, strangers; and the same bits from every executor."""

import concurrent.futures as futures
import errno
import functools
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
import zarr
from jax.experimental import io_callback

import jaxbatt as jb
from jaxbatt.cli import main
from jaxbatt.sweeps import programs
from jaxbatt.sweeps.store import Store

WATCHDOG = 240
"""Seconds after which a process is taken to hang."""

WAVE = """
import jax.numpy as jnp, numpy as np
import jaxbatt as jb

def wave(n, x, y):
    return {"sine": jnp.sin(n * x) / (1 + y * y), "curve": jnp.exp(-y) * jnp.cos(x * jnp.arange(1.0, 4.0)), "count": jnp.int32(n)}

AXES = {"n": [3, 2], "x": np.linspace(-1.0, 2.0, 7), "y": np.linspace(0.1, 0.9, 5)}
"""
"""Cheap, but with rounding at every step."""

scope: dict = {}
exec(WAVE, scope)
wave, AXES = scope["wave"], scope["AXES"]
POINTS, CHUNKS = 70, 14


@pytest.fixture(scope="module")
def whole():
    """The sweep that nothing interrupts."""
    return jb.sweep(wave, AXES, batch_size=5)


def started(script, *arguments):
    """A process that runs WAVE and then a script, and hears Ctrl-C: a shell's background jobs, tests among them, do not."""
    listen = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code = listen + WAVE + textwrap.dedent(script)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], **options)


def ended(process):
    """Its exit code and standard error."""
    try:
        _, errors = process.communicate(timeout=WATCHDOG)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"the process hangs after {process.communicate()[1]!r}")
    return process.returncode, errors


def assert_same_bits(one, other):
    """All arrays, coordinates and attributes."""
    xarray.testing.assert_identical(one, other)
    for name in one.variables:
        assert one[name].dtype == other[name].dtype, name
        assert one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes(), name


def finished(path):
    """Number of chunks in a store."""
    return int(zarr.open_group(path, mode="r")["jaxbatt_progress/finished"][:].sum())


def test_a_store_is_the_dataset(whole, tmp_path):
    path = tmp_path / "study.zarr"
    assert_same_bits(jb.sweep(wave, AXES, store=path, batch_size=5), whole)
    with xarray.open_zarr(path, consolidated=False) as stored:
        for name in whole.variables:
            assert stored[name].to_numpy().tobytes() == whole[name].to_numpy().tobytes(), name
            assert stored[name].dims == whole[name].dims
        assert whole.attrs.items() <= stored.attrs.items()
    assert [file.name for file in tmp_path.iterdir()] == ["study.zarr"]


# --- Kills ---


def test_killed_at_random_moments_and_resumed(whole, tmp_path):
    """SIGKILL while chunks are computed and written, and once between two arrays of a chunk."""
    path, rng = tmp_path / "study.zarr", random.Random(4)
    script = """
        import sys, time
        from jaxbatt.sweeps.store import Store
        write = Store.write
        Store.write = lambda *arguments: (time.sleep(0.1), write(*arguments))
        jb.sweep(wave, AXES, store=sys.argv[1], batch_size=5)
    """
    for _ in range(3):
        before = finished(path) if path.exists() else 0
        process = started(script, path)
        while not path.exists() or finished(path) == before:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert ended(process)[0] == -signal.SIGKILL
    assert 3 <= finished(path) < CHUNKS
    assert_same_bits(jb.sweep(wave, AXES, store=path, batch_size=5), whole)


@pytest.mark.parametrize("step", [0, 3, 12])
def test_killed_at_a_step_of_writing(whole, tmp_path, step):
    """Arrays are written one after the other: coordinates of a draft, then those of each chunk and its mark."""
    path = tmp_path / "study.zarr"
    script = """
        import os, signal, sys
        import zarr
        from jaxbatt.sweeps.store import Store
        put, left = zarr.Array.__setitem__, [int(sys.argv[2])]
        def planted(self, *arguments):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            put(self, *arguments)
        zarr.Array.__setitem__ = planted
        jb.sweep(wave, AXES, store=sys.argv[1], batch_size=5)
    """
    assert ended(started(script, path, step))[0] == -signal.SIGKILL
    assert path.exists() == (step >= 3)
    assert_same_bits(jb.sweep(wave, AXES, store=path, batch_size=5), whole)


def test_only_what_is_missing_is_computed(whole, tmp_path, monkeypatch):
    path, run, computed = tmp_path / "study.zarr", programs.Program.run, []

    def counted(self, points, count):
        if len(computed) == allowed:
            raise RuntimeError("planted")
        computed.append(count)
        return run(self, points, count)

    monkeypatch.setattr(programs.Program, "run", counted)
    monkeypatch.setattr("jaxbatt.sweeps.workers.threads", lambda: 1)
    allowed = 3
    with pytest.raises(RuntimeError, match="planted"):
        jb.sweep(wave, AXES, store=path, batch_size=5)
    assert finished(path) == allowed
    allowed = POINTS
    # The chunks of a store stay as they are.
    assert_same_bits(jb.sweep(wave, AXES, store=path, batch_size=7), whole)
    assert sum(computed) == POINTS
    jb.sweep(wave, AXES, store=path)
    assert sum(computed) == POINTS


def test_out_of_memory_halves_and_a_store_goes_on(whole, tmp_path, monkeypatch):
    path, run = tmp_path / "study.zarr", programs.Built.run

    def tight(self, points, count):
        if self.lanes > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: planted")
        return run(self, points, count)

    def failing(self, number, *rest, write=Store.write):
        if number == 6:
            raise RuntimeError("planted")
        write(self, number, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(programs.Built, "run", tight)
        patch.setattr(Store, "write", failing)
        with pytest.raises(RuntimeError, match="planted"):
            jb.sweep(wave, AXES, store=path, batch_size=5)
    resumed = jb.sweep(wave, AXES, store=path, batch_size=5)
    for name in whole.data_vars:
        # Fewer lanes round differently.
        np.testing.assert_allclose(resumed[name], whole[name], rtol=16 * np.finfo(float).eps * 10)


# --- Losses and damages ---


def bit_flipped(data):
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


@pytest.mark.parametrize("array", ["sine", "valid", "jaxbatt_progress/finished"])
@pytest.mark.parametrize("damage", [None, lambda data: b"", lambda data: data[: len(data) // 2], bit_flipped])
def test_a_chunk_that_is_lost_or_damaged_is_computed_again(whole, tmp_path, monkeypatch, array, damage):
    path, run, computed = tmp_path / "study.zarr", programs.Program.run, []
    jb.sweep(wave, AXES, store=path, batch_size=5)
    chunk = max(file for file in (path / array / "c").rglob("*") if file.is_file())
    if damage is None:
        chunk.unlink()
    else:
        chunk.write_bytes(damage(chunk.read_bytes()))
    monkeypatch.setattr(programs.Program, "run", lambda *arguments: (computed.append(arguments[2]), run(*arguments))[1])
    for _ in range(2):
        assert_same_bits(jb.sweep(wave, AXES, store=path), whole)
    assert computed == [5]


def test_chunks_of_blanks_are_not_lost(tmp_path, monkeypatch):
    def fn(x):
        return {"nan": jnp.nan * x, "nothing": jnp.zeros((0,)), "none": jnp.int32(0)}

    for match in ("2 of 2 points have no valid result", "2 of 2"):
        with pytest.warns(RuntimeWarning, match=match):
            jb.sweep(fn, {"x": [0.5, 1.5]}, store=tmp_path / "study.zarr")
        monkeypatch.setattr(programs.Program, "run", lambda *_: pytest.fail("computed again"))


@pytest.mark.parametrize("array", ["sine", "jaxbatt_progress"])
def test_a_store_that_lost_an_array_is_refused(tmp_path, array):
    path = tmp_path / "study.zarr"
    jb.sweep(wave, AXES, store=path)
    shutil.rmtree(path / array)
    with pytest.raises(ValueError, match=rf"study.zarr is damaged: its array '{array}\S*' is lost; remove it, or name"):
        jb.sweep(wave, AXES, store=path)


# --- Two writers, strangers, full disks ---


def test_two_writers_on_one_store(whole, tmp_path):
    path = tmp_path / "study.zarr"
    script = """
        import sys, time
        from jaxbatt.sweeps.store import Store
        write = Store.write
        Store.write = lambda *arguments: (time.sleep(0.02), write(*arguments))
        data = jb.sweep(wave, AXES, store=sys.argv[1], batch_size=int(sys.argv[2]))
        data.load().to_netcdf(sys.argv[3])
    """
    writers = [started(script, path, size, tmp_path / f"{size}.nc") for size in (5, 1)]
    for writer in writers:
        assert ended(writer) == (0, "")
    for size in (5, 1):
        with xarray.open_dataset(tmp_path / f"{size}.nc") as data:
            for name in whole.data_vars:
                assert data[name].to_numpy().astype(whole[name].dtype).tobytes() == whole[name].to_numpy().tobytes()
    assert_same_bits(jb.sweep(wave, AXES, store=path), whole)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.nc", "5.nc", "study.zarr"]


@pytest.mark.parametrize(
    ("fn", "axes", "options", "words"),
    [
        (wave, AXES | {"x": AXES["x"][:6]}, {}, "axis x was 7 values from -1.0 to 2.0 .* and is 6 values from -1.0 to 1.5"),
        (wave, dict(reversed(AXES.items())), {}, "axes was n, x, y there and is y, x, n here"),
        (lambda n, x, y: wave(n, x, 2 * y), AXES, {}, "function at {'n': 2} was [0-9a-f]{16} there and is [0-9a-f]{16} here"),
        (lambda n, x, y: wave(n, x, y) | {"more": x}, AXES, {}, "function at"),
        (wave, AXES, {"dims": {"curve": ["k"]}}, "variable curve was .*curve_0.* and is .*'k'"),
        (wave, AXES, {"coords": {"curve_0": [1.0, 2.0, 3.0]}}, "coordinate curve_0 was absent there and is 3 values"),
    ],
)
def test_the_store_of_another_study_is_refused(tmp_path, fn, axes, options, words):
    path = tmp_path / "study.zarr"
    jb.sweep(wave, AXES, store=path)
    with pytest.raises(ValueError, match=f"is the store of another study: .*{words}"):
        jb.sweep(fn, axes, store=path, **options)
    assert finished(path) == zarr.open_group(path)["jaxbatt_progress/finished"].size


def test_what_a_function_holds_fixed_names_the_difference(tmp_path):
    """A hash tells functions apart; the attributes say what differs. Where the function is the same, they may change."""
    path = tmp_path / "study.zarr"
    jb.sweep(lambda x: 4.0 * x, {"x": [0.5, 1.5]}, store=path, attrs={"omega": 4.0, "p": 1})
    with pytest.raises(ValueError, match=r"the store of another study: omega was 4\.0 there and is 5\.0 here; remove it"):
        jb.sweep(lambda x: 5.0 * x, {"x": [0.5, 1.5]}, store=path, attrs={"omega": 5.0, "p": 1})
    with pytest.raises(ValueError, match=r"the store of another study: function was [0-9a-f]{16} there and is"):
        jb.sweep(lambda x: 5.0 * x, {"x": [0.5, 1.5]}, store=path, attrs={"omega": 4.0, "p": 1})
    assert jb.sweep(lambda x: 4.0 * x, {"x": [0.5, 1.5]}, store=path, attrs={"omega": 3.0}).attrs["omega"] == 3.0


@pytest.mark.parametrize("callback", [functools.partial(jax.pure_callback, vmap_method="sequential"), io_callback])
def test_a_store_of_what_python_computes_is_refused(tmp_path, callback):
    """Its digest would be that of a function with another constant."""

    def twice(x):
        return 2 * x

    def fn(x):
        return jax.lax.map(lambda y: callback(twice, jax.ShapeDtypeStruct((), y.dtype), y), x * jnp.arange(1.0, 3.0))

    axes = {"x": [0.5, 1.5]}
    with pytest.raises(ValueError, match="`store` cannot see what 'twice', a Python function in a callback, computes"):
        jb.sweep(fn, axes, store=tmp_path / "study.zarr")
    assert not list(tmp_path.iterdir())
    assert jb.sweep(fn, axes)["value"].to_numpy().tolist() == [[1.0, 2.0], [3.0, 6.0]]


def test_a_store_takes_callbacks_that_compute_nothing(tmp_path, capfd):
    """Prints, and equinox's checks, which the integrator of mean-field theory makes."""

    def fn(x):
        jax.debug.print("printed")
        return equinox.error_if(x, x > 3, "planted")

    axes = {"x": [1.0, 2.0]}
    assert_same_bits(jb.sweep(fn, axes, store=tmp_path / "study.zarr"), jb.sweep(fn, axes))
    assert "printed" in capfd.readouterr().out


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    zarr.open_group(tmp_path / "other.zarr", mode="w")
    for path in (tmp_path / "file", tmp_path / "folder", tmp_path / "other.zarr", ""):
        with pytest.raises(ValueError, match=f"'{path or '.'}' is no store of a sweep; name another path"):
            jb.sweep(wave, AXES, store=path)
    with pytest.raises(ValueError, match="there is no directory"):
        jb.sweep(wave, AXES, store=tmp_path / "nowhere" / "study.zarr")


def test_a_store_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    async def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zarr.storage.LocalStore, "set", full)
    with pytest.raises(OSError, match="No space left") as caught:
        jb.sweep(wave, AXES, store=tmp_path / "study.zarr")
    assert caught.value.filename == str(tmp_path / "study.zarr")
    assert not list(tmp_path.iterdir())


def test_a_finished_store_can_be_read_where_nothing_can_be_written(whole, tmp_path, monkeypatch):
    path = tmp_path / "study.zarr"
    jb.sweep(wave, AXES, store=path, batch_size=5, attrs={"omega": np.int64(4)})

    async def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(zarr.storage.LocalStore, "set", read_only)
    assert_same_bits(jb.sweep(wave, AXES, store=path, attrs={"omega": 4}), whole.assign_attrs(omega=4))
    with pytest.raises(OSError, match="Read-only"):
        jb.sweep(wave, AXES, store=path, attrs={"omega": 5})


def test_a_full_disk_loses_nothing(whole, tmp_path, monkeypatch):
    path, put = tmp_path / "study.zarr", zarr.Array.__setitem__

    def full(self, *arguments):
        if self.path == "curve" and finished(path) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", full)
        with pytest.raises(OSError, match="No space left") as caught:
            jb.sweep(wave, AXES, store=path, batch_size=5)
    assert caught.value.__notes__ == [f"{path} keeps the 3 chunks before; run again to go on."]
    assert_same_bits(jb.sweep(wave, AXES, store=path, batch_size=5), whole)


def test_a_disk_that_is_really_full(tmp_path):
    """A file system of 256 KiB: what was written before is read back, and goes on where there is room again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    try:

        def noise(x):
            return jax.random.normal(jax.random.key(jnp.uint32(x)), (1000,))

        axes = {"x": np.arange(64.0)}
        with pytest.raises(OSError, match="No space left") as caught:
            jb.sweep(noise, axes, store=disk / "study.zarr", batch_size=4)
        done = finished(disk / "study.zarr")
        assert 0 < done < 16
        assert f"keeps the {done} chunks before" in caught.value.__notes__[0]
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        assert_same_bits(jb.sweep(noise, axes, store=disk / "study.zarr"), jb.sweep(noise, axes))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# --- Threads and executors ---


def test_threads_do_not_wait_for_each_other(tmp_path):
    """Diagonalizations of small matrices in all threads at once, in a process of its own that may hang."""
    script = """
        drive = jb.ConstantField(4.0)
        def fn(n, alpha):
            battery = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), alpha)
            peaks = [jb.max_power(battery, drive, solver=s) for s in (jb.Spectral(), jb.StateVector(jb.Krylov()))]
            return {"spectral": peaks[0], "krylov": peaks[1], "scale": jb.charger_scale(battery, drive)}
        data = jb.sweep(fn, {"n": [2, 3], "alpha": np.linspace(-1, 1, 48)}, batch_size=4)
        assert data.valid.all()
    """
    assert ended(started(script)) == (0, "")


def maxima():
    """A function that can be sent to other processes, and its axes."""

    def strongest(n, alpha):
        return jb.max_power(jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), alpha), jb.ConstantField(4.0), solver=jb.Spectral())

    return strongest, {"n": [2, 3], "alpha": np.linspace(-1.0, 1.0, 8)}


def test_processes_give_the_same_bits(tmp_path):
    fn, axes = maxima()
    context = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        data = jb.sweep(fn, axes, batch_size=2, executor=pool, store=tmp_path / "study.zarr")
    assert_same_bits(data, jb.sweep(fn, axes))


# --- The command line ---

STUDY = """
[axes]
n_spins = [2]
omega = {linspace = [1.0, 4.0, 12]}
[battery]
[run]
batch_size = 2
"""


def test_ctrl_c_leaves_at_once_and_a_store_that_goes_on(tmp_path):
    """The last chunks never end: whoever waits for them hangs."""
    (tmp_path / "study.toml").write_text(STUDY)
    script = """
        import sys, threading
        from jaxbatt.cli import run
        from jaxbatt.sweeps.programs import Program
        compute, left = Program.run, [1, 1, 1]
        def planted(self, *arguments):
            if not left:
                threading.Event().wait()
            left.pop()
            return compute(self, *arguments)
        Program.run = planted
        arguments = ["sweep", sys.argv[1] + "/study.toml", "--out", sys.argv[1]]
        sys.argv[1:] = arguments
        run()
    """
    path = tmp_path / "sweep.zarr"
    process = started(script, tmp_path)
    while not path.exists() or finished(path) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "jaxbatt: interrupted; what was written before is complete.\n")
    assert finished(path) == 3
    out = tmp_path / "other"
    for arguments in (["--out", str(out)], ["--out", str(tmp_path)]):
        assert main(["sweep", str(tmp_path / "study.toml"), *arguments]) == 0
    resumed, whole = (xarray.open_zarr(place / "sweep.zarr", consolidated=False).load() for place in (tmp_path, out))
    assert_same_bits(resumed, whole)


def test_a_full_disk_is_one_line_that_says_what_is_kept(tmp_path, monkeypatch, capsys):
    (tmp_path / "study.toml").write_text(STUDY)
    put = zarr.Array.__setitem__

    def full(self, *arguments):
        if self.path == "valid" and finished(tmp_path / "sweep.zarr") == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(self, *arguments)

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    assert main(["sweep", str(tmp_path / "study.toml"), "--out", str(tmp_path)]) == 1
    kept = f"{tmp_path / 'sweep.zarr'} keeps the 2 chunks before; run again to go on."
    assert capsys.readouterr().err == f"jaxbatt: No space left on device; {kept}\n"
