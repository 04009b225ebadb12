"""``jaxbatt bench``: how fast it is here, beside others."""

from __future__ import annotations

import enum
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

import jaxbatt as jb
from jaxbatt._files import writable_directory
from jaxbatt.cli.terminal import output


class Suite(enum.StrEnum):
    """What can be measured."""

    apply = "apply"
    charge = "charge"
    gradient = "gradient"
    sweep = "sweep"
    cold = "cold"
    devices = "devices"


class Device(enum.StrEnum):
    """Where JAX runs."""

    cpu = "cpu"
    gpu = "gpu"


def bench(
    suites: Annotated[
        list[Suite] | None, typer.Argument(help="What to measure; everything by default.", show_default=False)
    ] = None,
    spins: Annotated[str | None, typer.Option(help="Numbers of spins, such as 8,12,16 or 8-22 or 8-22:2.")] = None,
    systems: Annotated[str | None, typer.Option(help="Whom to compare, such as jaxbatt,quspin; everyone by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the result files.")] = Path("benchmarks/results"),
    quick: Annotated[bool, typer.Option("--quick", help="Only see that everything runs: few spins, jaxbatt and QuTiP.")] = False,
    budget: Annotated[
        float, typer.Option(help="Seconds for one system at one N; what takes longer is stopped and left out at larger N.")
    ] = 600.0,
    repeats: Annotated[
        int,
        typer.Option(
            help="Timed runs of each; more where they take less than 2 s in all (not with --quick), fewer where over a minute."
        ),
    ] = 7,
    device: Annotated[Device | None, typer.Option(help="Where jaxbatt runs; what JAX finds by default.")] = None,
    show: Annotated[
        list[Path] | None, typer.Option(help="Measure nothing: print the table of a result file and draw it again.")
    ] = None,
) -> None:
    """Measure how fast jaxbatt is on this machine, beside QuSpin, QuTiP, dynamiqs and TensorCircuit-NG.

    apply: one application of H by each kernel, and how much of the memory bandwidth it reaches. charge: W at 101 times by every
    system, with its error. gradient: value and gradient over the value, in time and memory. sweep: points per second. cold:
    import and first curve. devices: CPU against GPU.

    All runs one after the other; let nothing else run. Each suite writes a JSON file named by the machine into OUT, row by row,
    and a picture; its table is printed in Markdown. pip install 'jaxbatt[bench]' brings the others.
    """
    if show:
        for path in show:
            _print_written(_show(path))
        return
    chosen = _settings(spins, systems, quick, budget, repeats, device)
    writable_directory(out)
    names = list(dict.fromkeys(suites or Suite))
    missing = jb.bench.missing()
    if missing and not quick and {Suite.charge, Suite.gradient, Suite.sweep} & set(names):
        print(f"jaxbatt: {', '.join(missing)} not installed and left out; pip install 'jaxbatt[bench]'", file=sys.stderr)
    for suite in names:
        path = jb.bench.run(suite.value, chosen, out, _report)
        _print_written([path, *_show(path)])


def _settings(
    spins: str | None, systems: str | None, quick: bool, budget: float, repeats: int, device: Device | None
) -> jb.bench.Settings:
    names = None if systems is None else tuple(name.strip() for name in systems.split(","))
    for name in names or ():
        if not any(jb.bench.is_called(system, name) for system in jb.bench.SYSTEMS):
            raise typer.BadParameter(f"--systems must be of {', '.join(jb.bench.SYSTEMS)}, but one is {name!r}")
    if not budget > 0:
        raise typer.BadParameter(f"--budget must be positive, but it is {budget:g}")
    if repeats < 1:
        raise typer.BadParameter(f"--repeats must be at least 1, but it is {repeats}")
    return jb.bench.Settings(
        spins=None if spins is None else _numbers(spins),
        systems=names,
        quick=quick,
        budget=budget,
        repeats=repeats,
        platform=None if device is None else device.value,
    )


def _numbers(text: str) -> tuple[int, ...]:
    """8,12 or 8-22 or 8-22:2."""
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+)(?::(\d+))?)?\s*", part)
        first, last, step = match.groups() if match is not None else (0, 0, 0)
        sizes = range(int(first), int(last or first) + 1, int(step or 1)) if step != "0" else range(0)
        if not sizes or sizes[0] < 2:
            raise typer.BadParameter(f"--spins must be numbers of at least 2, such as 8,12,16 or 8-22:2, but it is {text!r}")
        numbers += sizes
    return tuple(numbers)


def _report(row: jb.bench.Row) -> None:
    """One line for each row, as it comes: what is measured, and the fastest."""
    known = [f"{key}={value}" for key, value in row.items() if isinstance(value, str | int) and not key.endswith("bytes")]
    seconds = row.get("min")
    shown = f"{seconds:.4g} s" if isinstance(seconds, float) else str(seconds or "")
    print(f"{' '.join(known)}  {shown}", file=sys.stderr, flush=True)


def _show(path: Path) -> list[Path]:
    """Prints the table of a result file and draws its picture, where it has one; returns what it wrote."""
    result = jb.bench.result_of(path)
    picture = jb.bench.picture(result)
    print(jb.bench.table(result))
    if picture is None:
        return []
    jb.paper.write_png(picture, path.with_suffix(".png"))
    return [path.with_suffix(".png")]


def _print_written(files: list[Path]) -> None:
    if files:
        output().print("Wrote " + ", ".join(str(file) for file in files), highlight=False, soft_wrap=True)
