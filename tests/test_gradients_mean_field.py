"""Derivatives of the mean field against SciPy's integrator, Bloch's equations and closed forms."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_gradients import QUICK
from test_mean_field import classical_rhs, energy, reference

import jaxbatt as jb
from jaxbatt.solvers.mean_field import _CHECKPOINTS, _EVALUATIONS, _MIN_TOEPLITZ

N, PIECES, PAIRS = 3, 2, np.triu_indices(3, 1)
DRAW = np.random.default_rng(2106)
TIMES = np.array([0.0, 0.0, 0.35, 0.8, 0.8, 1.2, 1.2])
WORK, MAGNETIZATION = DRAW.normal(size=len(TIMES)), DRAW.normal(size=(len(TIMES), 3))
NUMBERS = {
    "field": DRAW.uniform(0.6, 1.4, N),
    "pairs": DRAW.uniform(0.3, 1.2, 3),
    "factors": np.array([0.3, -0.8, 1.2]),
    "amplitudes": 2 * DRAW.normal(size=(PIECES, N)),
    "duration": np.asarray(1.4),
}
"""One edge, at 0.7, lies between the times; the field is kept, so that every number acts while charging."""
STEP = 4e-3
ACCURACY = 1e-9
"""Of derivatives, relative to the energies: 1e-12 of SciPy's curves over the step, and (10 STEP)^6 / 140 of the differences, for
nothing turns faster than 10. The package, at tol = 1e-10, was seen to be 2e-11 off."""
SLOPE = 1e-8
"""The same for the times, where it is that of the derivative of an interpolation; 2e-9 were seen."""
SIZE = 10.0
"""Bound of the energies per unit of a number, and of the rates."""


def battery_of(numbers):
    couplings = jnp.zeros((N, N)).at[PAIRS].set(numbers["pairs"])
    return jb.SpinBattery(
        numbers["field"], couplings + couplings.T, numbers["factors"], initial_state="down", field_while_charging=True
    )


def loss(numbers, times):
    protocol = jb.PiecewiseField(numbers["amplitudes"], numbers["duration"])
    curve = jb.charge(battery_of(numbers), protocol, times, solver=jb.MeanField())
    return jnp.sum(WORK * curve.work) + jnp.sum(MAGNETIZATION * curve.magnetization)


def judged(numbers):
    """Bloch vectors (T, 3, N) by SciPy, and the couplings."""
    couplings = np.zeros((N, N))
    couplings[PAIRS] = numbers["pairs"]
    couplings = couplings + couplings.T
    battery = jb.SpinBattery(numbers["field"], couplings, tuple(numbers["factors"]), initial_state="down",
                             field_while_charging=True)  # fmt: skip
    edges = numbers["duration"] * np.arange(1, PIECES + 1) / PIECES
    down = np.stack([np.zeros(N), np.zeros(N), -np.ones(N)])
    # The last edge only has to lie beyond the times.
    return reference(battery, "x", numbers["amplitudes"], [*edges[:-1], TIMES[-1]], down, TIMES), couplings


def judged_loss(numbers):
    spins, couplings = judged(numbers)
    energies = energy(spins, numbers["field"], couplings, numbers["factors"])
    return np.sum(WORK * (energies - energies[0])) + np.sum(MAGNETIZATION * spins.mean(axis=2))


def test_every_number_and_every_time():
    """Two batteries at once, by vmap(grad)."""
    batteries = [NUMBERS, NUMBERS | {"pairs": -NUMBERS["pairs"], "amplitudes": NUMBERS["amplitudes"][::-1]}]
    gradients = jax.jit(jax.vmap(jax.grad(loss, argnums=(0, 1)), (0, None)), compiler_options=QUICK)
    found, by_time = gradients(jax.tree.map(lambda *x: np.stack(x), *batteries), TIMES)
    for k, numbers in enumerate(batteries):
        expected = dense.central_differences(judged_loss, numbers, dict.fromkeys(numbers, STEP))
        for name, value in expected.items():
            np.testing.assert_allclose(np.ravel(found[name][k]), np.ravel(value), rtol=0, atol=ACCURACY * SIZE, err_msg=name)
        np.testing.assert_allclose(by_time[k], judged_slopes(numbers), rtol=0, atol=SLOPE * SIZE)


def judged_slopes(numbers):
    """Derivatives of the loss with respect to the times, by Bloch's equations."""
    spins, couplings = judged(numbers)
    slopes = []
    for m, t in enumerate(TIMES):
        field = np.zeros((3, N))
        field[0], field[2] = numbers["amplitudes"][int(t > 0.7)], numbers["field"]
        rate = classical_rhs(spins[m], field, couplings, numbers["factors"])
        h = 1e-3  # the energy is quadratic in the vectors: its differences are exact, and only round
        up, down = (energy(spins[m] + s * h * rate, numbers["field"], couplings, numbers["factors"]) for s in (1, -1))
        slopes.append(WORK[m] * (up - down) / (2 * h) + MAGNETIZATION[m] @ rate.mean(axis=1))
    return slopes


@pytest.mark.parametrize("end", [0.0, 1.0, 25.0])
def test_xxx_depends_on_the_field_alone(end):
    """W = 2 N B sin^2(omega t) for any couplings; the longest curve takes more steps than there are checkpoints."""
    n, omega, field, times = 4, 2.0, 0.8, end * np.array([0.0, 0.3, 1.0])
    found, info = XXX(omega, field, jnp.full((n, n), 0.6) - 0.6 * jnp.eye(n), times)
    by_omega, by_field, by_coupling, by_time = found
    assert (info.applications / _EVALUATIONS > 2 * _CHECKPOINTS) == (end == 25)
    allowed = {"rtol": 0, "atol": ACCURACY * SIZE * (1 + end)}
    np.testing.assert_allclose(by_omega, 2 * n * field * np.sum(times * np.sin(2 * omega * times)), **allowed)
    np.testing.assert_allclose(by_field, 2 * n * np.sum(np.sin(omega * times) ** 2), **allowed)
    np.testing.assert_allclose(by_coupling, 0.0, **allowed)
    np.testing.assert_allclose(by_time, 2 * n * field * omega * np.sin(2 * omega * times), rtol=0, atol=SLOPE * SIZE)


def xxx_work(omega, field, couplings, times):
    battery = jb.SpinBattery(field, couplings, 1.0, initial_state="down")
    curve = jb.charge(battery, jb.ConstantField(omega), times, solver=jb.MeanField())
    return curve.work.sum(), curve.info


XXX = jax.jit(jax.grad(xxx_work, argnums=(0, 1, 2, 3), has_aux=True), compiler_options=QUICK)


def test_many_spins_by_fft():
    """The derivative with respect to all fields at once, in one direction, from couplings that are known."""
    n, times, step = _MIN_TOEPLITZ + 3, np.array([0.2, 0.5]), 2e-3
    couplings, solver = np.asarray(jb.power_law(n, 0.1, 1.0)), jb.MeanField()
    battery = jb.SpinBattery(1.0, couplings, 0.3)
    omega, direction = np.linspace(1.0, 2.0, n), DRAW.normal(size=n)
    shapes = []

    def work(omega):
        shapes.append(solver.prepare(battery, jb.ConstantField(omega)).couplings.shape)
        return jb.charge(battery, jb.ConstantField(omega), times, solver=solver).work.sum()

    down, factors = np.stack([np.zeros(n), np.zeros(n), -np.ones(n)]), np.array([0.3, 0.3, 1.0])

    def judge(numbers):
        spins = reference(battery, "x", (omega + numbers["by"] * direction)[None], [np.inf], down, times)
        return energy(spins, 1.0, couplings, factors).sum()

    expected = dense.central_differences(judge, {"by": np.zeros(1)}, {"by": step})["by"][0]
    found = jax.jit(jax.grad(work), compiler_options=QUICK)(omega) @ direction
    assert shapes == [(n,)]
    assert abs(found - expected) <= n * 2e-11 / step


def test_what_has_no_derivative_says_so():
    def work(omega):
        battery = jb.SpinBattery(1.0, jb.nearest_neighbor(2, 0.7))
        return jb.charge(battery, jb.ConstantField(omega), jnp.array([0.4]), solver=jb.MeanField()).work[0]

    for forward in (jax.jacfwd(work), lambda omega: jax.jvp(work, (omega,), (omega,))):
        with pytest.raises(NotImplementedError, match=r"MeanField has first derivatives in reverse mode only; use jax\.grad"):
            jax.jit(forward).lower(1.0)
    for second in (jax.grad(jax.grad(work)), jax.hessian(work)):
        with pytest.raises(NotImplementedError, match="MeanField has no second derivatives"):
            jax.jit(second).lower(1.0)


def test_diagnostics_have_no_derivative():
    def diagnosed(omega):
        battery = jb.SpinBattery(1.0, jb.nearest_neighbor(2, 0.7))
        return jb.charge(battery, jb.ConstantField(omega), jnp.array([0.4]), solver=jb.MeanField()).info.error

    assert jax.jit(jax.grad(diagnosed), compiler_options=QUICK)(1.0) == 0.0
