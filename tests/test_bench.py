"""Benchmarks: a tiny run of every suite, its file, its table and its picture. No time is judged."""

import json
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import pytest
from typer.testing import CliRunner

import jaxbatt as jb
from jaxbatt.bench import charge, devices, fresh, machine, timer
from jaxbatt.bench.programs import applying
from jaxbatt.cli import app, main
from jaxbatt.hamiltonian import Operator, model_of
from jaxbatt.kernels import ONE_DEVICE
from jaxbatt.paulis import one_body

QUICK = ("--quick", "--repeats", "1", "--spins", "3")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Result files by suite, and what the command printed; each suite is run once, with programs that compile fast."""
    out, done = tmp_path_factory.mktemp("results"), {}
    quickly = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}

    def result_of(suite):
        if suite not in done:
            printed = CliRunner().invoke(app, ["bench", suite, *QUICK, "--out", str(out)], env=quickly)
            assert printed.exit_code == 0, printed.output
            done[suite] = (next(out.glob(f"{suite}_*.json")), printed.output)
        path, printed = done[suite]
        return path, json.loads(path.read_text()), printed

    return result_of


def measured(rows):
    """All rows, of which none may have failed or been left out."""
    assert [row for row in rows if "failed" in row or "skipped" in row] == []
    return rows


def test_file_says_machine_and_versions(results):
    path, result, _ = results("charge")
    assert result["suite"] == "charge"
    assert result["settings"]["repeats"] == 1
    assert {"processor", "cores", "memory_bytes", "devices", "date", "load_average_before", "python"} <= result["machine"].keys()
    assert {"jaxbatt", "jax", "jaxlib", "numpy", "qutip"} <= result["versions"].keys()
    assert path.stem.endswith(f"_{result['machine']['cores']}cores")
    assert [file.name for file in path.parent.glob(".*")] == []


def test_a_file_is_the_old_one_or_complete(tmp_path):
    path = tmp_path / "new" / "x.json"
    machine.save(path, [{"n": 1}], suite="charge")
    before = path.read_text()
    with pytest.raises(TypeError):
        machine.save(path, [{"n": object()}])
    assert path.read_text() == before
    assert machine.file_name("devices", "cpu", {"cpu": "cpu", "gpu": "NVIDIA H100"}).endswith("cores_nvidia_h100.json")


def test_charge_gives_error_and_memory_beside_the_time(results):
    path, result, printed = results("charge")
    rows = {row["system"]: row for row in measured(result["rows"])}
    assert list(rows) == [charge.REFERENCE, "jaxbatt", "qutip krylovsolve", "qutip sesolve"]
    for row in rows.values():
        assert row["error"] < 1e-6
        assert row["peak_bytes"] > 2**20
        assert 0 < row["min"] <= row["median"]
        assert (row["repeats"], row["build"] >= 0, row["first"] > 0) == (1, True, True)
    assert "| N | jaxbatt | QuTiP krylovsolve | QuTiP sesolve |" in printed
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_apply_compares_all_choices_with_a_copy(results):
    path, result, printed = results("apply")
    copies, rows = measured(result["rows"])[:5], result["rows"][5:]
    assert [row["state"] for row in copies if row["what"] == "copy"] == ["large", "real", "complex", "real", "complex"]
    assert {(row["state"], row["dtype"]) for row in rows} == {(s, d) for s in ("real", "complex") for d in ("float32", "float64")}
    for key in {(row["state"], row["dtype"]) for row in rows}:
        same = {row["transformed"]: row for row in rows if (row["state"], row["dtype"]) == key}
        assert sorted(same) == ["nothing", "x", "x+y"]
        assert sum(row["rule"] for row in same.values()) == 1
        assert min(row["over_best"] for row in same.values()) == 1
        for row in same.values():
            assert row["result"] == pytest.approx(same["nothing"]["result"], rel=1e-4)
            assert row["fraction"] == pytest.approx(row["bytes"] / row["min"] / row["copy_bytes_per_second"])
    assert "LR, alpha = 0.5" in printed
    assert path.with_suffix(".png").exists()


@pytest.mark.parametrize(
    ("n", "choice", "rows", "vectors"),
    [
        (6, (), 1, 3 + 6 + 2),  # D_z; six masks in one pass
        (6, ("x",), 1, 3 + 2 * 2 * 2 + 2),  # D_z; two transforms of a dense pass and one of two bits; D_x
        (6, ("x",), 2, 5 + 2 * 2 * 4 + 3),
    ],
)
def test_traffic_counts_passes(n, choice, rows, vectors):
    charger = model_of(jb.SpinBattery(1.0, jb.nearest_neighbor(n, 1.0))).drift + one_body(n, "x", jnp.asarray(4.0))
    kinds = ["z"] * (n - 1) + ["x"] * n
    operator = Operator._placed(charger, kinds, choice, ONE_DEVICE)
    assert applying.traffic(operator, rows) == vectors * 8 * 2**n


def test_gradients_agree(results):
    path, result, printed = results("gradient")
    rows = {(row["system"], row["what"]): row for row in measured(result["rows"])}
    for what in ("value", "omega", "omega and g_ij"):
        own, plain = rows["jaxbatt", what], rows["plain reverse mode", what]
        assert own["result"] == pytest.approx(plain["result"], rel=1e-8)
        assert min(own["compile"], own["temp_bytes"], own["ratio"]) > 0
    assert "| N | alpha | pieces | jaxbatt | plain reverse mode |" in printed
    assert path.with_suffix(".png").exists()


def test_sweep_beside_a_loop(results):
    _, result, printed = results("sweep")
    own, loop = measured(result["rows"])
    assert (own["valid"], own["points"]) == (25, 25)
    assert loop["difference"] < 1e-2
    assert loop["points_per_second"] > 0
    assert min(own["planned_bytes"], own["first_sweep_peak_bytes"]) > 2**27
    assert own["killed"]["whole"] > own["killed"]["after"] > 0
    assert "| N | jaxbatt | qutip | ratio | memory | lost by a kill |" in printed


def test_cold_start_with_and_without_the_cache(results):
    _, result, printed = results("cold")
    rows = measured(result["rows"])
    assert [row.get("cache") for row in rows] == [None, "none", "empty", "filled"]
    assert set(rows[1]["min"]) == {"import", "first", "second", "process"}
    assert "curve at N = 3, cache filled: first" in printed


def test_devices_without_a_gpu_say_so(results, monkeypatch):
    monkeypatch.setattr(devices, "platforms", lambda: {"default": "cpu", "cpu": "cpu"})
    _, result, printed = results("devices")
    assert [row["skipped"] for row in result["rows"]] == ["not measured: JAX finds no GPU here"]
    assert "CPU against GPU: not measured: JAX finds no GPU here." in printed


def test_devices_compare_by_size():
    rows = [
        {"suite": "charge", "system": "jaxbatt", "n": n, "device": device, "min": seconds}
        for n, pair in {8: (1, 3), 10: (4, 3), 12: (9, 10), 14: (30, 10), 16: (200, 11)}.items()
        for device, seconds in zip(("cpu", "gpu"), pair, strict=True)
    ]
    assert devices.crossing(devices.compared(rows)["standard task"]) == 14
    rows.append({"suite": "sweep", "system": "jaxbatt", "n": 4, "device": "cpu", "min": 1.0, "points_per_second": None})
    assert list(devices.compared(rows)) == ["standard task"]


def told(suite, rows):
    """The table of rows, without what is written below it."""
    machine = {"processor": "P", "cores": 2, "memory_bytes": 2**34, "devices": {"cpu": "cpu"}}
    return jb.bench.table({"suite": suite, "rows": rows, "machine": machine, "versions": {"jax": "1"}}).split("\n\nMeasured")[0]


def test_devices_run_every_suite_on_both(monkeypatch):
    def measure(settings, report):
        assert settings.systems == ("jaxbatt",)
        report({"system": "jaxbatt", "n": 8, "min": {"cpu": 1.0, "gpu": 0.25}[settings.platform]})

    monkeypatch.setattr(devices, "platforms", lambda: {"default": "gpu", "cpu": "cpu", "gpu": "A GPU"})
    monkeypatch.setattr(devices, "_MEASURES", {"charge": measure})
    rows = []
    devices.measure(jb.bench.Settings(), rows.append)
    assert [(row["suite"], row["device"]) for row in rows] == [("charge", "cpu"), ("charge", "gpu")]
    assert told("devices", rows).endswith("| standard task | 8 | 8: 4 |")


def test_tables_say_what_is_missing():
    rows = [
        {"system": "jaxbatt", "n": 8, "build": 0.0, "first": 2.0, "min": 0.5, "error": 2e-12, "peak_bytes": 2**30},
        {"system": "quspin", "n": 8, "failed": "MemoryError: too large"},
        {"system": "dynamiqs", "n": 8, "skipped": "not installed"},
        {"system": "qutip sesolve", "n": 8, "skipped": "at N = 6: stopped after 600 s"},
    ]
    last = told("charge", rows).splitlines()[-1]
    assert last == "| 8 | 2 / 0.5; 2e-12; 1 GiB | failed: MemoryError: too large | not run | not installed |"
    assert told("gradient", [row | {"alpha": 0.5, "pieces": 1} for row in rows[1:2]]).endswith(
        "| failed: MemoryError: too large |"
    )
    assert jb.bench.picture({"suite": "charge", "rows": rows[1:]}) is None


def test_what_fails_or_takes_too_long_is_recorded(monkeypatch):
    """At larger N it is left out, and says why."""
    answers = {3: [{"failed": "MemoryError: too large", "peak_bytes": 1}]}
    good = {"build": 0.0, "first": 1.0, "min": 1.0, "median": 1.0, "repeats": 0, "peak_bytes": 1, "result": [0.0, 2.0]}
    monkeypatch.setattr(charge, "fresh", lambda s, file, f, a: answers.get(a["n"] if "qutip" in file else 0, [dict(good)]))
    rows = []
    charge.measure(jb.bench.Settings(spins=(2, 3, 4), systems=("jaxbatt", "qutip sesolve")), rows.append)
    outcomes = [(row["n"], row.get("failed"), row.get("skipped")) for row in rows if row["system"] == "qutip sesolve"]
    assert outcomes == [(2, None, None), (3, "MemoryError: too large", None), (4, None, "at N = 3: MemoryError: too large")]


def test_a_process_is_stopped_by_the_budget_or_by_its_error():
    order = ("starting.py", "imports", {})
    assert fresh.fresh(jb.bench.Settings(budget=0.1), *order) == [{"failed": "stopped after 0.1 s", "stopped": True}]
    last = fresh.fresh(jb.bench.Settings(), "starting.py", "imports", {"bogus": 1})[-1]
    assert last["failed"].startswith("TypeError: imports() got an unexpected keyword argument 'bogus'")
    assert last["peak_bytes"] > 2**20


def test_a_system_goes_by_its_name_or_the_first_word():
    names = tuple(charge.SYSTEMS)
    assert jb.bench.Settings(systems=("qutip",)).wanted(names) == ("qutip krylovsolve", "qutip sesolve")
    assert jb.bench.Settings(systems=("qutip sesolve", "quspin")).wanted(names) == ("quspin", "qutip sesolve")
    assert jb.bench.Settings().wanted(names) == names


def test_a_process_cannot_take_more_memory_than_is_free():
    code = f"import runpy; runpy.run_path({timer.__file__!r})['limit_memory'](2**30); bytearray(2**31)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MemoryError" in done.stderr


def test_the_timer_stops_in_time():
    calls = []
    summary = timer.repeat(lambda: calls.append(0) or len(calls), repeats=5)
    assert (summary["result"], summary["repeats"], len(calls)) == (1, 5, 6)
    assert timer.repeat(lambda: None, repeats=5, least=0.01)["repeats"] > 5
    none = timer.repeat(lambda: None, repeats=5, budget=0.0)
    assert (none["repeats"], none["min"]) == (0, none["first"])


def test_the_timer_loads_nothing_else():
    code = f"import runpy, sys; runpy.run_path({timer.__file__!r}); print('numpy' in sys.modules, 'jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_show_makes_table_and_picture_from_the_file_alone(results, tmp_path):
    path, result, printed = results("charge")
    copy = tmp_path / "copy.json"
    copy.write_text(json.dumps(result))
    shown = CliRunner().invoke(app, ["bench", "--show", str(copy)])
    assert shown.exit_code == 0, shown.output
    assert shown.output.split("Wrote")[0] in printed
    assert shown.output.split("Wrote")[1].split() == [str(copy.with_suffix(".png"))]
    assert copy.with_suffix(".png").read_bytes() == path.with_suffix(".png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "Invalid value for 'suites': 'run' is not one of"),
        (["apply", "--out", __file__], "test_bench.py': File exists; choose another one."),
        (["--spins", "eight"], "--spins must be numbers of at least 2"),
        (["--spins", "8-6"], "but it is '8-6'"),
        (["--spins", "2-8:0"], "but it is '2-8:0'"),
        (["--systems", "jaxbatt,matlab"], "one is 'matlab'"),
        (["--budget", "0"], "--budget must be positive"),
        (["--repeats", "0"], "--repeats must be at least 1"),
        (["--device", "tpu"], "tpu"),
        (["--show", "/nowhere.json"], "/nowhere.json cannot be read: No such file"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(capsys, arguments, words):
    assert main(["bench", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jaxbatt: ")
    assert words in line


def test_no_gpu_and_other_files_are_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(jb.bench.running, "platforms", lambda: {"default": "cpu", "cpu": "cpu"})
    assert main(["bench", "apply", "--device", "gpu", "--out", str(tmp_path)]) == 2
    assert "JAX finds no GPU here" in capsys.readouterr().err
    other = tmp_path / "other.json"
    for text, words in (("{}", "is no result of"), ("[", "is no JSON"), ("[]", "is no result of")):
        other.write_text(text)
        assert main(["bench", "--show", str(other)]) == 2
        assert words in capsys.readouterr().err


def test_peers_that_are_missing_are_named_once(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(jb.bench, "missing", lambda: ["dynamiqs", "quspin"])
    monkeypatch.setattr(jb.bench, "run", lambda suite, settings, out, report: tmp_path / suite)
    monkeypatch.setattr("jaxbatt.cli.benchmarking._show", lambda path: [])
    assert main(["bench", "charge", "cold", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "jaxbatt: dynamiqs, quspin not installed and left out; pip install 'jaxbatt[bench]'\n"


@pytest.mark.parametrize("script", sorted(pathlib.Path(__file__).parents[1].glob("benchmarks/*.py")), ids=lambda path: path.name)
def test_scripts_start(script):
    """Those beside the suites import what there is, and say what they do."""
    result = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=True)
    assert "usage" in result.stdout
