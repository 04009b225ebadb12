"""The bits of a result do not depend on what else is in its batch: one point beside itself, and beside points that need more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbatt as jb
from jaxbatt.solvers import _stepping

N = 4
COUPLINGS = jb.power_law(N, 1.0, 1.0)
LEVELS = jnp.array([1.0, -0.5, 2.0, 1.5, 0.3, 1.0])


def battery(anisotropy):
    return jb.SpinBattery(1.0, COUPLINGS, anisotropy)


def pieces(scale):
    """Of a weak field they are short, of a strong one not: gradients are found in two ways, by series of several lengths."""
    times = jnp.array([0.5, 1.2])
    return jb.charge(battery(0.5), jb.PiecewiseField(scale * LEVELS, 1.2), times, solver=jb.StateVector()).work.sum()


def strongest(solver):
    return lambda omega: jb.max_power(battery(0.5), jb.ConstantField(omega), solver=solver).power


def curve(scale):
    found = jb.charge(battery(0.5), jb.ConstantField(2.0), scale * jnp.linspace(0, 0.3, 60), solver=jb.StateVector())
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
    "pieces": jax.value_and_grad(pieces),
    "maxima, state vector": jax.value_and_grad(strongest(jb.StateVector())),
    "maxima, spectral": jax.value_and_grad(strongest(jb.Spectral())),
    "maxima, Krylov": strongest(jb.StateVector(jb.Krylov())),
    "maxima, mean field": strongest(jb.MeanField()),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_values_and_gradients(run):
    assert_alone(run, 0.3, 30.0)


def test_curves_from_one_series(monkeypatch):
    """One short enough for a single series of real vectors, and one that is not."""
    monkeypatch.setattr(_stepping, "_SPANNED_START", 2)
    assert_alone(curve, 1.0, 300.0)
