"""A field along y, which is computed as one along x after a quarter turn about z."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from conftest import tol

import jaxbatt as jb
from jaxbatt.frames import turned

N, TIMES = 3, np.array([0.0, 0.3, 0.3, 1.1, 2.5])
HALVES = np.array([1.25, 1.25])
TURN = np.diag([(-1j) ** bits.bit_count() for bits in range(2**N)])


def batteries():
    """Without symmetry between x and y, each with a field along y: H_0, what acts with it, and the state are random."""
    rng = np.random.default_rng(77)
    couplings, fields, triple = dense.random_couplings(rng, N), rng.uniform(0.5, 1.5, N), (0.3, -0.8, 1.2)
    terms, state = [systems.random_terms(rng, N, 20) for _ in range(2)], systems.random_state(rng, N)
    levels = rng.normal(size=(2, N))
    return [
        systems.spin("XYZ", fields, couplings, triple, 1.4, axis="y"),
        systems.spin("XYZ, real start, from up", fields, couplings, triple, levels[0], axis="y", initial="up"),
        systems.spin("XYZ, field kept, real state", fields, couplings, triple, 0.9, axis="y", kept=True, initial=np.eye(8)[5]),
        systems.spin("XYZ, pieces, complex start", fields, couplings, triple, levels, axis="y", durations=HALVES, initial=state),
        systems.pauli("all strings", N, *terms, levels[1], axis="y", initial=state),
        systems.pauli("all strings, pieces", N, *terms, levels, axis="y", durations=HALVES),
    ]


SYSTEMS = batteries()


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
@pytest.mark.parametrize("solver", [jb.StateVector(), jb.Spectral()], ids=str)
def test_curves_are_those_of_dense_matrices(system, solver):
    system.check(jb.charge(system.battery, system.protocol, TIMES, solver=solver), TIMES)


@pytest.mark.parametrize("system", SYSTEMS[-2:], ids=lambda system: system.name)
def test_every_string_and_the_state_are_turned(system):
    """As by R = diag((-i)**popcount), with Kronecker products."""
    battery, protocol = turned(system.battery, system.protocol)
    assert protocol.axis == "x"
    np.testing.assert_array_equal(protocol.levels, system.protocol.levels)
    for name in ("energy", "drift"):
        expected = TURN @ np.asarray(getattr(system.battery, name).to_dense()) @ TURN.conj()
        np.testing.assert_allclose(getattr(battery, name).to_dense(), expected, rtol=0, atol=tol(float, 20))
    if battery.state is not None:
        np.testing.assert_array_equal(battery.state, TURN @ np.asarray(system.battery.state))


def test_other_fields_are_left_alone():
    battery = SYSTEMS[0].battery
    for protocol in (jb.ConstantField(1.0), jb.ConstantField(1.0, "z")):
        assert turned(battery, protocol) == (battery, protocol)


def test_what_is_known_stays_known():
    """While JAX traces the field: only so are strings left out whose coefficients vanish."""

    def look(omega):
        for system in (SYSTEMS[0], SYSTEMS[-1]):
            battery, _ = turned(system.battery, jb.ConstantField(omega, "y"))
            assert not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(battery))
        return omega

    jax.make_jaxpr(look)(1.0)


def test_gradients():
    """With respect to all three factors, which trade places, to field, amplitude and state, of all that is measured."""
    rng = np.random.default_rng(78)
    couplings, state = dense.random_couplings(rng, N), systems.random_state(rng, N)
    weights, times = rng.normal(size=(2, 3)), np.array([0.4, 0.9])

    def loss(factors, field, omega, angle):
        start = jnp.exp(1j * angle * np.arange(2**N)) * state
        battery = jb.SpinBattery(field, couplings, factors, initial_state=start)
        curve = jb.charge(battery, jb.ConstantField(omega, "y"), times, solver=jb.StateVector(jb.Chebyshev(1e-13)))
        return curve.work.sum() + jnp.sum(weights * curve.magnetization)

    at = {"factors": np.array([0.3, -0.8, 1.2]), "field": np.array(1.1), "omega": np.array(1.4), "angle": np.array(0.2)}
    names = list(at)
    found = jax.jit(jax.grad(loss, argnums=tuple(range(4))))(*at.values())
    for name, derivative in zip(names, found, strict=True):
        for place in np.ndindex(at[name].shape):
            moved = []
            for step in (-2e-3, -1e-3, 1e-3, 2e-3):
                numbers = {key: x.copy() for key, x in at.items()}
                numbers[name][place] += step
                moved.append(float(loss(*numbers.values())))
            difference = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / 12e-3
            np.testing.assert_allclose(derivative[place], difference, rtol=0, atol=1e-8)


@pytest.mark.parametrize("solver", [jb.StateVector(), jb.Spectral(), jb.MeanField()], ids=str)
def test_where_x_and_y_are_alike(solver):
    """Work, maxima and the scale of the charger are those of a field along x to the last bit; the spins lie along -x or y."""
    battery = jb.SpinBattery(1.0, jb.power_law(5, 1.0, 1.0), 0.4)
    x, y = jb.ConstantField(2.0, "x"), jb.ConstantField(2.0, "y")
    first, second = (jb.charge(battery, drive, TIMES, solver=solver) for drive in (x, y))
    np.testing.assert_array_equal(second.work, first.work)
    np.testing.assert_array_equal(second.magnetization, np.asarray(first.magnetization)[:, [1, 0, 2]] * [-1, 1, 1])
    assert float(np.max(np.abs(second.magnetization[:, 0]))) > 0.1
    peaks = [jb.max_power(battery, drive, solver=solver) for drive in (x, y)]
    assert (peaks[0].power, peaks[0].time) == (peaks[1].power, peaks[1].time)
    scales = [jb.charger_scale(battery, drive) for drive in (x, y)]
    assert jax.tree.leaves(scales[0]) == jax.tree.leaves(scales[1])


def test_no_more_memory_than_along_x():
    """A complex H would hold index arrays for its flips: five times as many state vectors."""

    def held(axis):
        def work(omega, anisotropy):
            battery = jb.SpinBattery(1.0, jb.power_law(12, 1.0, 1.0), anisotropy, initial_state="down")
            return jb.charge(battery, jb.ConstantField(omega, axis), jnp.array([0.4]), solver=jb.StateVector()).work[0]

        return jax.jit(jax.grad(work, (0, 1))).lower(4.0, 0.5).compile().memory_analysis().temp_size_in_bytes

    assert held("y") <= held("x")
