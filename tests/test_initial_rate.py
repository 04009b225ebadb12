"""W'(0) of the stepping solvers and its derivatives, against i <[H, H_0]> of dense matrices."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from conftest import tol

import jaxbatt as jb

N = 4


def numbers_of(rng, size):
    """A battery without symmetry in a random complex state."""
    couplings = dense.random_couplings(rng, N)
    state = systems.random_state(rng, N)
    return {
        "field": rng.uniform(0.5, 1.5, N),
        "couplings": couplings,
        "factors": rng.uniform(-1, 1, 3),
        "omega": rng.uniform(1, 4, size),
        "real": state.real,
        "imaginary": state.imag,
    }


def by_jaxbatt(numbers, axis, kept):
    battery = jb.SpinBattery(
        numbers["field"],
        numbers["couplings"],
        numbers["factors"],
        field_while_charging=kept,
        initial_state=numbers["real"] + 1j * numbers["imaginary"],
    )
    solver = jb.StateVector()
    return solver.evolve(solver.prepare(battery, jb.ConstantField(numbers["omega"], axis=axis))).initial_rate()


def by_matrices(numbers, axis, kept):
    model = numbers["couplings"], numbers["factors"]
    energy = dense.hamiltonian_0(numbers["field"], *model)
    charging = dense.charging_hamiltonian(numbers["field"], *model, numbers["omega"], axis=axis, field_while_charging=kept)
    state = numbers["real"] + 1j * numbers["imaginary"]
    return float((1j * state.conj() @ (charging @ energy - energy @ charging) @ state).real)


@pytest.mark.parametrize(("axis", "kept", "size"), [("x", False, ()), ("x", True, N), ("y", False, N), ("z", True, ())])
def test_value_and_derivatives(axis, kept, size):
    """The rate is a polynomial of second degree in each number, so that central differences are exact."""
    numbers = numbers_of(np.random.default_rng(41), size)
    value, found = jax.value_and_grad(by_jaxbatt)(jax.tree.map(jnp.asarray, numbers), axis, kept)
    rounding = tol(float, 100 * np.linalg.norm(dense.hamiltonian_0(*(numbers[k] for k in ("field", "couplings", "factors"))), 2))
    np.testing.assert_allclose(value, by_matrices(numbers, axis, kept), rtol=0, atol=rounding)
    for name, at in numbers.items():
        for place in np.ndindex(np.shape(at)):
            if name == "couplings" and place[0] >= place[1]:
                continue

            def moved(step, name=name, place=place):
                shifted = np.array(numbers[name], float)
                shifted[place] += step
                if name == "couplings":
                    shifted[place[::-1]] += step
                return by_matrices(numbers | {name: shifted}, axis, kept)

            by = np.asarray(found[name])
            by = by[place] + (by[place[::-1]] if name == "couplings" else 0)
            np.testing.assert_allclose(by, (moved(0.5) - moved(-0.5)), rtol=0, atol=rounding, err_msg=f"{name}{place}")


def test_real_states_begin_at_rest():
    """Time turned around is the same for them: W'(0) = 0, also on the Dicke ladder, where no state needs to be given."""
    couplings = jb.power_law(5, 1.0, 0.0)
    for solver in (jb.Collective(), jb.StateVector()):

        def rate(factors, solver=solver):
            battery = jb.SpinBattery(1.0, couplings, factors, initial_state="down")
            return solver.evolve(solver.prepare(battery, jb.ConstantField(2.0))).initial_rate()

        value, by = jax.value_and_grad(rate)(jnp.array([0.3, -0.5, 1.0]))
        assert value == 0
        np.testing.assert_array_equal(by, 0)
