"""QuTiP as the oracle: the battery built and evolved with its own operators, no code of ours."""

import numpy as np
import pytest
import qutip
from conftest import tol

import jaxbatt as jb

TIMES = np.array([0.0, 0.2, 0.5, 0.8, 1.2])
ACCURACY = 1e-8
"""sesolve holds 1e-12 a step here; its errors add up over some hundred steps, times the size of H_0 (below 50)."""


def on_site(operator, site, n):
    factors = [qutip.qeye(2)] * n
    factors[site] = operator
    return qutip.tensor(factors)


def battery_of(n):
    rng = np.random.default_rng(100 + n)
    couplings = np.triu(rng.uniform(0.1, 1.0, (n, n)), 1)
    return rng.uniform(0.5, 1.5, n), couplings + couplings.T, rng.uniform(-0.9, 0.9), rng.uniform(0.5, 1.5, n)


def qutip_work(n):
    """(H_0 expectation at the start, W(t), mean <Z>)."""
    field, couplings, alpha, omega = battery_of(n)
    x, y, z = ([on_site(p(), i, n) for i in range(n)] for p in (qutip.sigmax, qutip.sigmay, qutip.sigmaz))
    interactions = -sum(
        couplings[i, j] * (z[i] * z[j] + alpha * (x[i] * x[j] + y[i] * y[j])) for i in range(n) for j in range(i + 1, n)
    )
    energy = sum(b * zi for b, zi in zip(field, z, strict=True)) + interactions
    charger = interactions + sum(w * xi for w, xi in zip(omega, x, strict=True))
    down = qutip.tensor([qutip.basis(2, 1)] * n)
    options = {"method": "dop853", "rtol": 1e-12, "atol": 1e-12, "nsteps": 100_000, "progress_bar": ""}
    result = qutip.sesolve(charger, down, TIMES, e_ops=[energy, sum(z) / n], options=options)
    return result.expect[0][0], result.expect[0] - result.expect[0][0], result.expect[1]


# Every size, and every solver at a small and at a larger one.
CASES = [(n, jb.Spectral()) for n in (2, 3, 6, 8)] + [(n, jb.StateVector()) for n in (4, 5, 7)]
CASES += [(4, jb.StateVector(jb.Krylov(dim=8))), (5, jb.StateVector(jb.Taylor()))]


@pytest.mark.parametrize(("n", "solver"), CASES, ids=str)
def test_random_batteries(n, solver):
    field, couplings, alpha, omega = battery_of(n)
    start, work, z = qutip_work(n)
    np.testing.assert_allclose(start, -field.sum() - np.triu(couplings).sum(), rtol=tol(float, n))
    curve = jb.charge(jb.SpinBattery(field, couplings, alpha), jb.ConstantField(omega), TIMES, solver=solver)
    np.testing.assert_allclose(curve.work, work, rtol=0, atol=ACCURACY)
    np.testing.assert_allclose(curve.magnetization[:, 2], z, rtol=0, atol=ACCURACY)
    assert work.max() > 1.0  # something was charged


def test_energy_of_a_random_state():
    """<H_0> of a random state, by the measurement that the solvers use: one jump from H_0 to no Hamiltonian at all."""
    n = 3
    field, couplings, alpha, _ = battery_of(n)
    rng = np.random.default_rng(7)
    state = rng.normal(size=8) + 1j * rng.normal(size=8)
    state /= np.linalg.norm(state)
    x, y, z = ([on_site(p(), i, n) for i in range(n)] for p in (qutip.sigmax, qutip.sigmay, qutip.sigmaz))
    energy = sum(b * zi for b, zi in zip(field, z, strict=True)) - sum(
        couplings[i, j] * (z[i] * z[j] + alpha * (x[i] * x[j] + y[i] * y[j])) for i in range(n) for j in range(i + 1, n)
    )
    solver = jb.StateVector()
    problem = solver.prepare(jb.SpinBattery(field, couplings, alpha, initial_state=state), jb.ConstantField(0.0))
    _, expectation = solver.evolve(problem).system.energy_bounds()
    ket = qutip.Qobj(state[:, None], dims=[[2] * n, [1] * n])
    np.testing.assert_allclose(expectation, qutip.expect(energy, ket), rtol=tol(float, 8))
