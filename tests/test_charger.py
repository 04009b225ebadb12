"""The scale of a charger, against dense spectra and closed forms."""

import dense
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tol
from hypothesis import strategies as st

import jaxbatt as jb


def expected(hamiltonian, state):
    """E_max - E_min, ||(H - <H>) psi||, and the sum of |H| for tolerances."""
    levels = np.linalg.eigvalsh(hamiltonian)
    turned = hamiltonian @ state
    return levels[-1] - levels[0], np.linalg.norm(turned - np.vdot(state, turned) * state), np.abs(levels).max()


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=25, deadline=None)
def test_random_batteries(data):
    """Any couplings of both signs, fields, axes, XYZ factors and starts; the stated error bounds the error."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    n, axis = data.draw(st.integers(1, 5), label="n"), data.draw(st.sampled_from("xyz"), label="axis")
    kept, interacting = data.draw(st.booleans(), label="kept"), data.draw(st.booleans(), label="interacting")
    switches = {"field_while_charging": kept, "interactions_while_charging": interacting}
    couplings = dense.random_couplings(rng, n, -1, 1)
    field, omega, factors = rng.normal(size=n), 3 * rng.normal(size=n), tuple(rng.normal(size=3))
    state = rng.normal(size=2**n) + 1j * rng.normal(size=2**n)
    state /= np.linalg.norm(state)
    battery = jb.SpinBattery(field, couplings, factors, initial_state=state, **switches)
    scale = jb.charger_scale(battery, jb.ConstantField(omega, axis))
    hamiltonian = dense.charging_hamiltonian(field, couplings, factors, omega, axis=axis, **switches)
    bandwidth, deviation, size = expected(hamiltonian, state)
    assert scale.bandwidth <= bandwidth + tol(float, 4 * size)
    assert bandwidth <= scale.bandwidth + scale.bandwidth_error + tol(float, 4 * size)
    assert scale.bandwidth_error <= 1e-9 * bandwidth + tol(float, 64 * n * size)
    np.testing.assert_allclose(scale.deviation, deviation, rtol=0, atol=tol(float, 4 * n * size))
    parallel = expected(dense.field_term(omega, n, axis), state)
    np.testing.assert_allclose(scale.parallel_bandwidth, parallel[0], rtol=0, atol=tol(float, n * size + parallel[2]))
    np.testing.assert_allclose(scale.parallel_deviation, parallel[1], rtol=0, atol=tol(float, n * size + n * parallel[2]))


@pytest.mark.parametrize("n", [1, 2, 5, 10])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_parallel_cells(n, axis):
    """Without couplings: 2 omega N and omega sqrt(N), from all spins down."""
    scale = jb.charger_scale(jb.SpinBattery(1.0, jb.nearest_neighbor(n, 0.0)), jb.ConstantField(3.0, axis))
    for name in ("bandwidth", "parallel_bandwidth"):
        np.testing.assert_allclose(getattr(scale, name), 6 * n, rtol=0, atol=tol(float, 6 * n))
    for name in ("deviation", "parallel_deviation"):
        np.testing.assert_allclose(getattr(scale, name), 3 * n**0.5, rtol=0, atol=tol(float, 3 * n))


def test_a_field_along_the_spins():
    """All spins down is a state of Z: no deviation, and no NaN from the root of zero."""
    battery, drive = jb.SpinBattery(1.0, jb.nearest_neighbor(3, 1.0)), jb.ConstantField(2.0, "z")
    scale = jb.charger_scale(battery, drive)
    assert scale.deviation == 0
    assert scale.parallel_deviation == 0
    bandwidth, _, size = expected(
        dense.charging_hamiltonian(1.0, np.asarray(battery.couplings), 0.0, 2.0, axis="z"), np.eye(8)[7]
    )
    np.testing.assert_allclose(scale.bandwidth, bandwidth, rtol=0, atol=tol(float, 4 * size))


def test_nothing_at_all():
    scale = jb.charger_scale(jb.SpinBattery(1.0, jb.nearest_neighbor(3, 0.0)), jb.ConstantField(0.0))
    assert list(scale) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize("n", [6, 8])
def test_levels_that_nearly_meet(n):
    """g >> omega: the two lowest levels differ by 1e-6 of the bandwidth or less, and the residuals must not be misled."""
    battery, drive = jb.SpinBattery(1.0, jb.nearest_neighbor(n, 100.0)), jb.ConstantField(4.0)
    scale = jb.charger_scale(battery, drive)
    hamiltonian = dense.charging_hamiltonian(1.0, np.asarray(battery.couplings), 0.0, 4.0)
    bandwidth, _, size = expected(hamiltonian, dense.all_down(n))
    assert abs(scale.bandwidth - bandwidth) <= scale.bandwidth_error + tol(float, 4 * size)
    assert scale.bandwidth_error <= 1e-9 * bandwidth


def test_general_batteries():
    """A PauliBattery with an identity and imaginary strings: the levels are shifted, the bandwidth is not."""
    terms = [("ZZ", (0, 1), -1.0), ("XY", (1, 2), 0.7), ("Y", (0,), 0.4)]
    energy = jb.PauliSum.from_terms(3, [("Z", (0,), 1.0)])
    drift, moved = (jb.PauliSum.from_terms(3, [*terms, ("I", (0,), shift)]) for shift in (0.0, 50.0))
    drive = jb.ConstantField(np.array([1.0, -2.0, 0.5]))
    scales = [jb.charger_scale(jb.PauliBattery(energy, part, 3), drive) for part in (drift, moved)]
    matrix = {letter: [dense.pauli(letter, i, 3) for i in range(3)] for letter in "xyz"}
    x, y, z = matrix["x"], matrix["y"], matrix["z"]
    hamiltonian = -z[0] @ z[1] + 0.7 * x[1] @ y[2] + 0.4 * y[0] + x[0] - 2 * x[1] + 0.5 * x[2]
    bandwidth, deviation, size = expected(hamiltonian, dense.all_down(3))
    for scale, largest in zip(scales, (size, size + 50), strict=True):
        np.testing.assert_allclose(scale.bandwidth, bandwidth, rtol=0, atol=tol(float, 4 * largest))
        np.testing.assert_allclose(scale.deviation, deviation, rtol=0, atol=tol(float, 4 * largest))
    assert scales[0].parallel_bandwidth == 7


def test_jit_and_vmap():
    """Over alpha and omega at once as one by one."""
    couplings, rng = jb.power_law(4, 1.0, 1.0), np.random.default_rng(0)

    def scale(alpha, omega):
        return jb.charger_scale(jb.SpinBattery(1.0, couplings, alpha), jb.ConstantField(omega))

    alphas, omegas = rng.uniform(-1, 1, 4), rng.uniform(0.1, 5, 4)
    many = jax.jit(jax.vmap(scale))(jnp.asarray(alphas), jnp.asarray(omegas))
    for k, (alpha, omega) in enumerate(zip(alphas, omegas, strict=True)):
        one = scale(alpha, omega)
        for name in ("bandwidth", "deviation", "parallel_bandwidth", "parallel_deviation"):
            np.testing.assert_allclose(getattr(many, name)[k], getattr(one, name), rtol=0, atol=tol(float, 200))


def test_refusals():
    battery = jb.SpinBattery(1.0, jb.nearest_neighbor(3, 1.0))
    with pytest.raises(ValueError, match="`protocol` must be constant in time, but it has 2 pieces; measure"):
        jb.charger_scale(battery, jb.PiecewiseField([1.0, 2.0], 1.0))
    with pytest.raises(ValueError, match="the field has values for 2 spins, but the battery has 3"):
        jb.charger_scale(battery, jb.ConstantField([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"charger_scale with 60 spins needs .* GiB"):
        jb.charger_scale(jb.SpinBattery(1.0, jb.nearest_neighbor(60, 1.0)), jb.ConstantField(1.0))
