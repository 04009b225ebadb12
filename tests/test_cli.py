"""The command line: what it prints, one line for what is wrong, and its exit codes."""

import csv
import dataclasses
import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import jaxbatt as jb
from jaxbatt.charging import Uncertain
from jaxbatt.cli import app, main

PAIR_WORK = "0.581255"
"""W(pi / 4) of two Ising spins with g = B, omega = 4 B, from the closed form."""


def refused(capsys, *arguments):
    """The single line on standard error of a call that must exit with 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("jaxbatt: ")
    return lines[0]


def test_info_tells_precision_and_versions():
    result = CliRunner().invoke(app, ["info"])
    assert result.exit_code == 0
    for part in (jb.__version__, "jaxlib", "device", "GiB free of", "float64, complex128"):
        assert part in result.output


def test_charge_prints_curve_and_maxima_and_writes_files(tmp_path):
    data, picture = tmp_path / "pair.csv", tmp_path / "pair.png"
    result = CliRunner().invoke(app, ["charge", "--n", "2", "--points", "101", "--csv", str(data), "--png", str(picture)])
    assert result.exit_code == 0, result.output
    assert PAIR_WORK in result.output
    # 15.0771398 from dense matrices; Spectral diagonalizes two spins.
    assert "Largest power: P = 15.0771398" in result.output
    assert "Largest work up to t = 0.785398" in result.output
    assert result.output.count("Spectral") == 3
    rows = list(csv.DictReader(data.read_text().splitlines()))
    assert list(rows[0]) == ["time", "work", "power", "magnetization_x", "magnetization_y", "magnetization_z", "work_error"]
    g, omega, t = 1.0, 4.0, np.array([float(row["time"]) for row in rows])
    level = np.hypot(g, 2 * omega)
    flips = 2 * (1 - np.cos(level * t) * np.cos(g * t) - g / level * np.sin(level * t) * np.sin(g * t))
    exact = flips + 4 * g * omega**2 / level**2 * np.sin(level * t) ** 2
    np.testing.assert_allclose([float(row["work"]) for row in rows], exact, atol=1e-10)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_times_resolve_the_curve_or_a_line_says_so(tmp_path, capsys):
    """400 periods of the couplings in half a period of a weak field, which 201 times would alias."""
    data = tmp_path / "pair.csv"
    arguments = ["charge", "--n", "2", "--g", "20", "--omega", "0.05"]
    assert main([*arguments, "--csv", str(data)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    largest = float(captured.out.split("62.8319")[1].split("W = ")[1].split(" B")[0])
    work = [float(row["work"]) for row in csv.DictReader(data.read_text().splitlines())]
    assert len(work) == 2001
    assert 0.9 * largest < max(work) <= largest * (1 + 1e-6)
    assert main([*arguments, "--points", "201"]) == 0
    assert capsys.readouterr().err == (
        "jaxbatt: warning: W(t) may have 400 periods, too many for 201 times; give more --points or a shorter --horizon.\n"
    )


@pytest.mark.parametrize("time", [0.0, 2.0])
def test_a_maximum_that_is_not_certain_is_said_and_loses_nothing(tmp_path, capsys, monkeypatch, time):
    """Numbers of the best that the search has seen, where it has; no largest power is marked in the picture."""
    data, picture, marks = tmp_path / "pair.csv", tmp_path / "pair.png", []
    best = jb.max_power(jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0)), jb.ConstantField(4.0))

    def given_up(*_, **__):
        raise Uncertain("planted", dataclasses.replace(best, power=0.5 * time, time=jnp.asarray(time), work=time))

    charging = jb.plots.charging
    monkeypatch.setattr(jb.plots, "charging", lambda curve, peak: (marks.append(peak), charging(curve, peak))[1])
    monkeypatch.setattr(jb, "max_power", given_up)
    assert main(["charge", "--n", "2", "--csv", str(data), "--png", str(picture)]) == 0
    captured = capsys.readouterr()
    said = "P = 1 B^2 at T = 2 / B, W = 2 B (error" if time else "nothing found"
    assert f"Largest power, not certain, for the search takes too long: {said}" in captured.out
    assert "Largest work up to t = 0.785398: P =" in captured.out
    assert captured.err == ""
    assert (data.exists(), picture.exists(), marks) == (True, True, [None])


def test_a_maximum_that_is_refused_leaves_curve_and_picture(tmp_path, capsys, monkeypatch):
    def refusing(*_, **__):
        raise ValueError("planted")

    data, picture = tmp_path / "pair.csv", tmp_path / "pair.png"
    monkeypatch.setattr(jb, "max_power", refusing)
    assert refused(capsys, "charge", "--n", "2", "--csv", str(data), "--png", str(picture)) == "jaxbatt: planted"
    assert data.exists()
    assert picture.exists()


def test_help_speaks_physics():
    result = CliRunner().invoke(app, ["charge", "--help"])
    assert result.exit_code == 0
    for part in ("W(t) = <H_0>_t - <H_0>_0", "alpha", "in 1/B", "omega"):
        assert part in result.output
    assert main([]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["charge", "--n", "0"], "at least 1, but it is 0"),
        (["charge", "--n", "many"], "--n"),
        (["charge", "--n", "60", "--solver", "chebyshev"], "GiB are available; take fewer spins."),
        (
            ["charge", "--n", "40", "--solver", "spectral"],
            "at most 4096 states, but 40 spins have 2**40; use --solver chebyshev.",
        ),
        (["charge", "--solver", "collective"], "Collective needs the same coupling"),
        (["charge", "--solver", "collective"], "use --solver chebyshev, or --p 0."),
        (["charge", "--alpha", "2"], "alpha = 2.0, outside"),
        (
            ["charge", "--g", "-1"],
            "negative entry -1.0, so all spins down need not be the ground state; pass --initial-state down ",
        ),
        (["charge", "--omega", "nan"], "`omega` must be finite"),
        (["charge", "--nn", "--p", "1"], "exclude each other"),
        (["charge", "--times", "0,1", "--horizon", "1"], "exclude each other"),
        (["charge", "--times", "0,1", "--points", "5"], "--times and --points exclude each other"),
        (["charge", "--g", "1e308"], "; or, if its numbers overflow, take smaller couplings, fields or times."),
        (["charge", "--times", "0,x"], "numbers between commas"),
        (["charge", "--times", "0,0.2,0.1"], "must not decrease"),
        (["charge", "--points", "0"], "--points must be from 1 to 10000000, but it is 0"),
        (["charge", "--points", "1000000000000"], "but it is 1000000000000"),
        (["charge", "--n", "1000000"], "the matrix of couplings of 1000000 spins needs"),
        (["charge", "--n", "99999999999999999999"], "take fewer"),
        (["charge", "--png", "x.jpg"], "--png must name a file that ends in .png, but it is 'x.jpg'"),
        (["charge", "--horizon", "-1"], "`horizon` must be positive"),
        (["charge", "--tol", "1e-8"], "--tol needs a --solver"),
        (["charge", "--solver", "krylov", "--tol", "0"], "`tol` must be positive"),
        (["charge", "--csv", "/nowhere/curve.csv"], "there is no directory '/nowhere'"),
        (["charge", "--png", "/tmp"], "--png must name a file that ends in .png"),
        (["charge", "--csv", "/"], "'/' is a directory"),
        (["charge", "--bogus"], "--bogus"),
        (["discharge"], "discharge"),
        (["reproduce", "fig7"], "Invalid value for 'targets': 'fig7' is not one of 'fig2'"),
        (["reproduce", "fig3", "--out", "/proc/nowhere"], "cannot write to the directory"),
        (["optimize"], "STUDY"),
    ],
)
def test_bad_options_are_one_line_and_exit_code_2(capsys, arguments, words):
    assert words in refused(capsys, *arguments)


def test_long_evolutions_are_announced(capsys):
    main(["charge", "--n", "5", "--nn", "--times", "0,9000", "--solver", "chebyshev"])
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("jaxbatt: warning: up to t = 9000 this takes about 2.2e+05 Hamiltonian applications")
    main(["charge", "--n", "5", "--nn", "--times", "0,9000", "--solver", "spectral"])
    assert "applications" not in capsys.readouterr().err


def test_ctrl_c_that_a_callback_swallows_comes_again():
    """Python drops what is raised while it collects garbage, also the interrupt."""
    code = """if True:
        import importlib, os, signal, time

        app = importlib.import_module("jaxbatt.cli.app")

        def main():
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(30)
            except KeyboardInterrupt:
                pass
            try:
                time.sleep(30)
            except KeyboardInterrupt:
                return 130
            return 0

        signal.signal(signal.SIGINT, signal.default_int_handler)
        app.main = main
        app.run()
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 130


def test_ctrl_c_is_130_and_a_full_disk_1(capsys, monkeypatch, tmp_path):
    def fail_with(error):
        def reproduce(*_, **__):
            raise error

        monkeypatch.setattr(jb.paper, "reproduce", reproduce)
        code = main(["reproduce", "fig3", "--out", str(tmp_path)])
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return code, lines[0]

    assert fail_with(KeyboardInterrupt()) == (130, "jaxbatt: interrupted; what was written before is complete.")
    code, line = fail_with(OSError(28, "No space left on device", "fig3.csv"))
    assert code == 1
    assert line == "jaxbatt: No space left on device (fig3.csv); what was written before is complete."


def test_reproduce_prints_claims_and_where_fig4_stops(monkeypatch):
    claim = jb.paper.Claim("a claim", "Eq. 0", (jb.paper.Check("x", 2.0, high=1.0),))
    fig4 = {"coupling": np.array(["NN", "NN"]), "n_spins": np.array([8, 9]), "max_work_slow": np.array([17.0, np.nan])}
    tables = {
        "claims": {name: np.array([getattr(claim, name)]) for name in ("claim", "paper", "measured", "verdict")},
        "fig4": fig4,
    }
    asked = []

    def reproduce(targets, out, report):
        asked.append((list(targets), str(out)))
        report("fig2", 0, 1)
        return jb.paper.Outcome((), tables, (claim,))

    monkeypatch.setattr(jb.paper, "reproduce", reproduce)
    result = CliRunner().invoke(app, ["reproduce"])
    assert result.exit_code == 0, result.output
    assert asked == [(list(jb.paper.TARGETS), "paper")]
    for part in ("a claim", "Eq. 0", "x = 2", "does not hold", "Slow peaks end at N = 8 (NN)"):
        assert part in result.output


STUDY = """
[battery]
n_spins = 3
couplings = [[0.0, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.0]]

[ensemble]
members = 2
disorder = 0.1
over = "worst"

[protocol]
kind = "constant"
per_spin = true
duration = 0.4

[optimize]
objective = "work"
bounds = [[-4.0, 0.0, 0.0], [4.0, 0.0, 1.0]]
starts = 2
steps = 10

[output]
points = 11
"""


def test_optimize_writes_protocol_curve_and_picture(tmp_path, capsys):
    study, out = tmp_path / "study.toml", tmp_path / "new" / "out"
    study.write_text(STUDY)
    assert main(["optimize", str(study), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    for part in (
        "Optimum: P =",
        "Constant field: P =",
        "Gain over the constant field: 1",
        "times the work",
        "all 10 steps taken",
    ):
        assert part in printed
    assert sorted(path.name for path in out.iterdir()) == ["curve.csv", "optimum.png", "protocol.csv"]
    assert (out / "optimum.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((out / "protocol.csv").read_text().splitlines()))
    assert list(rows[0]) == ["start", "end", "field_0", "field_1", "field_2"]
    assert [float(rows[0][name]) for name in ("start", "end", "field_1")] == [0.0, 0.4, 0.0]
    curve = list(csv.DictReader((out / "curve.csv").read_text().splitlines()))
    assert len(curve) == 11
    assert float(curve[-1]["time"]) == 0.4
    work = float(printed.split("W = ")[1].split(" B")[0])
    # The curve is the mean of the ensemble, the optimum its worst member.
    assert work <= float(curve[-1]["work"]) <= 1.5 * work


def test_an_interrupted_optimization_leaves_its_checkpoint(tmp_path, capsys, monkeypatch):
    def stop(*_, checkpoint, **__):
        checkpoint.write_bytes(b"half a run")
        raise KeyboardInterrupt

    study = tmp_path / "study.toml"
    study.write_text(STUDY)
    monkeypatch.setattr(jb, "optimize", stop)
    assert main(["optimize", str(study), "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err.startswith("jaxbatt: interrupted")
    assert (tmp_path / "checkpoint").read_bytes() == b"half a run"


def test_a_bad_study_is_one_line(tmp_path, capsys):
    study = tmp_path / "study.toml"
    study.write_text(STUDY.replace("steps", "stepz"))
    assert "[optimize] stepz is unknown" in refused(capsys, "optimize", str(study))
    study.write_text("[battery")
    assert "is no valid TOML" in refused(capsys, "optimize", str(study))
    for verb in ("optimize", "sweep", "plan"):
        assert "none.toml cannot be read: No such file" in refused(capsys, verb, str(tmp_path / "none.toml"))
        assert "cannot be read: Is a directory" in refused(capsys, verb, str(tmp_path))


def test_python_m_jaxbatt():
    done = subprocess.run([sys.executable, "-m", "jaxbatt", "charge", "--n", "-3"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "jaxbatt: the number of spins must be an integer of at least 1, but it is -3.\n"


def test_compiled_programs_are_kept(tmp_path):
    """In the folder of the user's caches, and found again: what takes long is compiled for once."""

    def kept():
        command = [sys.executable, "-m", "jaxbatt", "charge", "--n", "2"]
        environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        done = subprocess.run(command, env=environment | {"XDG_CACHE_HOME": str(tmp_path)}, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        names = (path.name for path in (tmp_path / "jaxbatt").rglob("*-cache"))
        return sorted(name for name in names if name.startswith(("jit__charge", "jit__peak")))

    assert kept() == kept() != []
