"""The verbs, and what becomes of their errors: one line on standard error, and an exit code."""

from __future__ import annotations

import enum
import importlib.metadata
import os
import platform
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import jax
import jax.numpy as jnp
import typer
from rich.table import Table

import jaxbatt as jb
from jaxbatt._checks import available_memory, total_memory
from jaxbatt._progress import progress_bar
from jaxbatt.cli.benchmarking import bench
from jaxbatt.cli.charging import charge
from jaxbatt.cli.optimizing import optimize
from jaxbatt.cli.sweeping import plan, sweep
from jaxbatt.cli.terminal import output

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    help="jaxbatt: many-body quantum batteries, charged exactly. Units: hbar = 1, energies in B, times in 1/B, powers in B^2.",
)

# typer exports only this one of the errors of its option parser; they all share its base.
_UsageError: Any = typer.BadParameter.__mro__[1]


_INTERRUPTED = 130
"""Exit code of Ctrl-C."""


class Target(enum.StrEnum):
    """What can be reproduced."""

    fig2 = "fig2"
    fig3 = "fig3"
    fig4 = "fig4"
    fig5 = "fig5"
    fig6 = "fig6"
    claims = "claims"
    all = "all"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code: 2 for bad input, 1 for a failing disk, 130 for Ctrl-C."""
    try:
        code = app(arguments, standalone_mode=False, prog_name="jaxbatt")
    except _UsageError as error:
        return _fail(error.format_message().replace("Value error, ", ""), 2)
    except ValueError as error:
        # No verb has such an option.
        return _fail(str(error).replace(", or dtype=complex64", ""), 2)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        kept = " ".join(getattr(error, "__notes__", ["what was written before is complete."]))
        return _fail(f"{error.strerror or error}{place}; {kept}", 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        return _fail("interrupted; what was written before is complete.", _INTERRUPTED)
    return code if isinstance(code, int) else 0


def run() -> NoReturn:
    """The command ``jaxbatt``. After Ctrl-C it does not wait for threads that are still computing a chunk."""
    _keep_compiled_programs()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    code = main()
    if code == _INTERRUPTED:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _interrupt(number: int, _: Any) -> NoReturn:
    """Ctrl-C, and once more a second later if nothing has come of it: Python drops what is raised while it collects garbage."""
    again = threading.Timer(1.0, signal.raise_signal, [number])
    again.daemon = True
    again.start()
    raise KeyboardInterrupt


def _keep_compiled_programs() -> None:
    """What one call compiles the next one finds in the user's cache folder, in a folder of this machine and its processor."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "jaxbatt" / platform.node()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _fail(message: str, code: int) -> int:
    print(f"jaxbatt: {' '.join(message.split())}", file=sys.stderr)
    return code


@app.callback(invoke_without_command=True)
def _start(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def reproduce(
    targets: Annotated[
        list[Target] | None, typer.Argument(help="What to reproduce; everything by default.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory for the files.")] = Path("paper"),
) -> None:
    """Reproduce Le et al., PRA 97, 022106 (2018): figN.png, figN.csv, claims.csv.

    Battery H_0 = B sum_i Z_i - sum_{i<j} g_ij [Z_i Z_j + alpha (X_i X_j + Y_i Y_j)], charged by omega sum_i X_i from all
    spins down. The claims come with the paper's statement, the measured numbers, the verdict and the criterion it follows from.
    """
    # OpenBLAS is loaded at the first diagonalization. Its threads cost up to a hundred times what they gain on matrices of 256
    # rows where another process has a core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chosen = [target.value for target in targets or [Target.all]]
    wanted = [name for name in jb.paper.TARGETS if name in chosen or "all" in chosen]
    with progress_bar() as report:
        outcome = jb.paper.reproduce(wanted, out, report=report)
    console = output()
    if outcome.claims:
        console.print(_claims(outcome.tables["claims"]))
    if "fig4" in outcome.tables:
        console.print("Fig. 4: " + jb.paper.fig4_stops(outcome.tables["fig4"]), highlight=False)
    console.print("Wrote " + ", ".join(str(file) for file in outcome.files), highlight=False, soft_wrap=True)


app.command()(charge)
app.command()(optimize)
app.command()(sweep)
app.command()(plan)
app.command()(bench)


@app.command()
def info() -> None:
    """Say which devices, precision and versions are in use, and how much memory there is."""
    table = Table(show_header=False, box=None)
    table.add_row("jaxbatt", jb.__version__)
    table.add_row("Python", platform.python_version())
    for package in ("jax", "jaxlib", "equinox", "diffrax", "numpy"):
        table.add_row(package, importlib.metadata.version(package))
    for device in jax.devices():
        table.add_row("device", f"{device.device_kind} ({device.platform}:{device.id})")
    table.add_row("precision", f"{jnp.zeros(()).dtype}, {jnp.zeros((), complex).dtype}")
    table.add_row("memory", f"{available_memory() / 2**30:.1f} GiB free of {total_memory() / 2**30:.1f} GiB")
    output().print(table)


def _claims(claims: Any) -> Table:
    table = Table("claim", "paper", "measured", "verdict", title="Claims of Le et al., PRA 97, 022106 (2018)", show_lines=True)
    for row in zip(*(claims[name] for name in ("claim", "paper", "measured", "verdict")), strict=True):
        table.add_row(*(str(cell) for cell in row))
    return table
