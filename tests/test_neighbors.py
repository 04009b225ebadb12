"""The bits of a result do not depend on what else is in its batch: one point beside itself, and beside points that need more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbatt as jb
from jaxbatt.solvers import _stepping

N = 4
COUPLINGS = jb.power_law(N, 1.0, 1.0)
UNEVEN = COUPLINGS * np.outer([1.1, 1, 1, 1], [1.1, 1, 1, 1])
"""No mirror image of themselves, so that the transforms are used."""
LEVELS = jnp.array([1.0, -0.5, 2.0, 1.5, 0.3, 1.0])


def pieces(couplings, times_over=1):
    """Of a weak field they are short, of a strong one not: gradients are found in two ways, by series of several lengths."""
    battery, times, levels = jb.SpinBattery(1.0, couplings, 0.5), jnp.array([0.5, 1.2]), jnp.tile(LEVELS, times_over)
    return lambda scale: jb.charge(battery, jb.PiecewiseField(scale * levels, 1.2), times, solver=jb.StateVector()).work.sum()


def strongest(solver, couplings=COUPLINGS):
    battery = jb.SpinBattery(1.0, couplings, 0.5)
    return lambda omega: jb.max_power(battery, jb.ConstantField(omega), solver=solver).power


def curve(scale):
    battery = jb.SpinBattery(1.0, UNEVEN, 0.5)
    found = jb.charge(battery, jb.ConstantField(2.0), scale * jnp.linspace(0, 0.3, 60), solver=jb.StateVector())
    return found.work, found.magnetization


def assert_alone(run, mild, wild):
    """Beside ``wild``, which needs more of everything, ``mild`` gives the bits that it gives beside itself; and that is not so
    because the neighbors are alike."""
    run = jax.jit(jax.vmap(run))
    alone, beside, other = (jax.tree.leaves(run(jnp.array(pair))) for pair in ([mild, mild], [mild, wild], [wild, wild]))
    for x, y, z in zip(alone, beside, other, strict=True):
        np.testing.assert_array_equal(x[0], y[0])
        np.testing.assert_array_equal(z[1], y[1])
        assert np.all(np.isfinite(y))
        assert np.any(x[0] != z[1])


RUNS = {
    "pieces": jax.value_and_grad(pieces(COUPLINGS)),
    "pieces, uneven": jax.value_and_grad(pieces(UNEVEN)),
    "maxima, state vector": jax.value_and_grad(strongest(jb.StateVector())),
    "maxima, state vector, uneven": jax.value_and_grad(strongest(jb.StateVector(), UNEVEN)),
    "maxima, spectral": jax.value_and_grad(strongest(jb.Spectral())),
    "maxima, Krylov": strongest(jb.StateVector(jb.Krylov())),
    "maxima, mean field": strongest(jb.MeanField()),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_values_and_gradients(run):
    assert_alone(run, 0.3, 30.0)


def test_rules_of_several_nodes():
    """All pieces are short, so much so under the weak field that the integrals over them take fewer nodes."""
    assert_alone(jax.value_and_grad(pieces(UNEVEN, 16)), 0.3, 10.0)


@pytest.mark.parametrize("bases", [3, 1])
def test_curves_from_one_series(monkeypatch, bases):
    """One short enough for a single series of real vectors, and one that is not."""
    monkeypatch.setattr(jb.StateVector, "_kept", lambda *_: bases)
    monkeypatch.setattr(_stepping, "_SPANNED_START", 2)
    assert_alone(curve, 1.0, 300.0)
