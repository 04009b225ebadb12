"""``jaxbatt optimize``: the best protocol of a study file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import typer
from rich.console import Console

import jaxbatt as jb
from jaxbatt._files import writable_directory
from jaxbatt.cli.charging import curve_table
from jaxbatt.cli.terminal import output
from jaxbatt.protocols import Protocol
from jaxbatt.study import OptimalStudy, read_optimal


def optimize(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="TOML file with [battery], [protocol] and [optimize].")],
    out: Annotated[Path, typer.Option(help="Directory for the files.")] = Path("optimum"),
) -> None:
    """Find the field that charges best: greatest power W / T, greatest work W, or least time to full charge.

    Writes protocol.csv, curve.csv, optimum.png, and couplings.csv where the couplings were free. A run that was killed
    continues from OUT/checkpoint when it is called again.

    A study file: [battery] n_spins = 8, couplings = "power_law", p = 1.0; [protocol] kind = "piecewise", pieces = 32;
    [optimize] objective = "power", bounds = [-4.0, 4.0]. Others: [ensemble], [solver], [output], [optimize.penalty].
    """
    plan = read_optimal(study)
    writable_directory(out)
    checkpoint = out / "checkpoint"
    best = plan.optimize(checkpoint)
    curve = _mean_curve(plan, best, best.protocol, float(best.time))
    constant = _mean_curve(plan, best, best.constant.protocol, max(float(best.time), float(best.constant.time)))
    jb.paper.write_csv(_protocol_table(best), out / "protocol.csv")
    jb.paper.write_csv(curve_table(curve), out / "curve.csv")
    jb.paper.write_png(jb.plots.optimum(best.protocol, curve, best.constant.protocol, constant), out / "optimum.png")
    files = ["protocol.csv", "curve.csv", "optimum.png"]
    if plan.options["couplings"] != "given":
        jb.paper.write_csv(_coupling_table(best), out / "couplings.csv")
        files.append("couplings.csv")
    checkpoint.unlink()
    _print_optimum(output(), best)
    output().print("Wrote " + ", ".join(str(out / name) for name in files), highlight=False, soft_wrap=True)


def _mean_curve(plan: OptimalStudy, best: jb.Optimum, protocol: Protocol, end: float) -> jb.ChargingCurve:
    """The curve up to the end; of an ensemble the mean of all."""
    batteries = best.battery if isinstance(best.battery, tuple) else (best.battery,)
    times = jnp.linspace(0.0, end, plan.points)
    curves = [jb.charge(battery, protocol, times, solver=plan.solver) for battery in batteries]
    return jax.tree.map(lambda *x: jnp.mean(jnp.stack(x), axis=0), *curves)


def _protocol_table(best: jb.Optimum) -> dict[str, np.ndarray]:
    levels = np.asarray(best.protocol.levels)
    ends = np.minimum(np.asarray(best.protocol.edges), float(best.time))
    columns = {"start": np.concatenate([[0.0], ends[:-1]]), "end": ends}
    if levels.ndim == 1:
        return columns | {"field": levels}
    return columns | {f"field_{i}": levels[:, i] for i in range(levels.shape[1])}


def _coupling_table(best: jb.Optimum) -> dict[str, np.ndarray]:
    assert isinstance(best.battery, jb.SpinBattery)
    first, second = np.triu_indices(best.battery.n_spins, 1)
    return {"i": first, "j": second, "coupling": np.asarray(best.battery.couplings)[first, second]}


def _print_optimum(console: Console, best: jb.Optimum) -> None:
    for title, found in (("Optimum", best), ("Constant field", best.constant)):
        numbers = f"P = {float(found.power):.10g} B^2, W = {float(found.work):.10g} B at T = {float(found.time):.10g} / B"
        console.print(f"{title}: {numbers}", highlight=False, soft_wrap=True)
    kind = {"power": "power", "work": "work", "time": "shorter time"}[best.objective]
    console.print(f"Gain over the constant field: {float(best.gain):.6g} times the {kind}", highlight=False, soft_wrap=True)
    console.print(f"Stopped: {best.reason}", highlight=False, soft_wrap=True)
