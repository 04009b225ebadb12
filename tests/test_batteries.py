"""Batteries and fields as values: replaced, pickled, stacked."""

import dataclasses
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbatt as jb

COUPLINGS = jb.nearest_neighbor(3, 1.0)
FIELD = jb.ConstantField(2.0)
ENERGY = jb.PauliSum.from_terms(3, [("Z", (0,), 1.0)])
DRIFT = jb.PauliSum.from_terms(3, [("XX", (0, 1), 0.5)])
STARTS = [None, "up", [0.6] + [0.0] * 6 + [0.8]]


@pytest.mark.parametrize("start", STARTS, ids=["default", "up", "array"])
def test_replaced(start):
    """A battery with one number replaced is the one made with that number, also after a pickle."""
    made = jb.SpinBattery(2.0, COUPLINGS, 0.5, initial_state=start)
    replaced = dataclasses.replace(jb.SpinBattery(1.0, COUPLINGS, 0.5, initial_state=start), field=2.0)
    assert eqx.tree_equal(replaced, made)
    assert eqx.tree_equal(pickle.loads(pickle.dumps(replaced)), made)
    general = jb.PauliBattery(ENERGY, DRIFT, initial_state=start or "down")
    swapped = dataclasses.replace(general, energy=DRIFT, drift=ENERGY)
    assert eqx.tree_equal(swapped, jb.PauliBattery(DRIFT, ENERGY, 3, start or "down"))


FROM_LISTS = {
    "times": lambda x: (jb.SpinBattery(1.0, COUPLINGS), FIELD, [0.1, x]),
    "omega": lambda x: (jb.SpinBattery(1.0, COUPLINGS), jb.ConstantField([x, 2.0, -x]), [0.3]),
    "pieces": lambda x: (jb.SpinBattery(1.0, COUPLINGS), jb.PiecewiseField([[x, 1, 2], [1, -x, 1]], 0.5), [0.3]),
    "Fourier": lambda x: (jb.SpinBattery(1.0, COUPLINGS), jb.FourierField([x, 1.0], [x], 0.5, 8), [0.3]),
    "field": lambda x: (jb.SpinBattery([x, 1.0, 1.0], COUPLINGS), FIELD, [0.3]),
    "couplings": lambda x: (jb.SpinBattery(1.0, [[0, x, 0], [x, 0, 1], [0, 1, 0]]), FIELD, [0.3]),
    "anisotropy": lambda x: (jb.SpinBattery(1.0, COUPLINGS, [x, x, 1.0]), FIELD, [0.3]),
    "state": lambda x: (jb.SpinBattery(1.0, COUPLINGS, initial_state=[x, *[0.0] * 6, 1 - x]), FIELD, [0.3]),
}


@pytest.mark.parametrize("given", FROM_LISTS.values(), ids=FROM_LISTS)
def test_lists_may_hold_numbers_that_are_traced(given):
    """Nested lists do as well as arrays, inside a derivative too."""
    work = lambda x: jb.charge(*given(x)).work[-1]  # noqa: E731
    step = 1e-5
    # Not normalized where it is a state: what is traced is not looked at.
    slope = (jax.jit(work)(0.4 + step) - jax.jit(work)(0.4 - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(work)(0.4), slope, rtol=1e-7)


def test_a_traced_list_of_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="the field has values for 2 spins, but the battery has 3"):
        jax.grad(lambda x: jb.charge(jb.SpinBattery(1.0, COUPLINGS), jb.ConstantField([x, x]), [0.3]).work[0])(0.4)


def test_replaced_is_checked():
    """As the new one would be: not where an initial state is given, for then any numbers are allowed."""
    with pytest.raises(ValueError, match="all spins down need not be the ground state"):
        dataclasses.replace(jb.SpinBattery(1.0, COUPLINGS), field=-1.0)
    assert dataclasses.replace(jb.SpinBattery(1.0, COUPLINGS, initial_state="down"), field=-1.0).field == -1.0
    with pytest.raises(ValueError, match="`drift` acts on 2 spins, but n_spins = 3"):
        dataclasses.replace(jb.PauliBattery(ENERGY, DRIFT), drift=jb.PauliSum.from_terms(2, [("X", (0,), 1.0)]))


def stacked(make, *numbers):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(make(number) for number in numbers))


MANY = stacked(lambda alpha: jb.SpinBattery(1.0, COUPLINGS, alpha), 0.0, 0.5, 1.0)
MANY_SUMS = stacked(lambda scale: jb.PauliBattery(ENERGY, DRIFT + scale * ENERGY), 0.0, 0.5)
MANY_FIELDS = stacked(lambda level: jb.PiecewiseField([level, 1.0, 0.0], 0.5), 0.0, 0.5)
ONE = jb.SpinBattery(1.0, COUPLINGS)


@pytest.mark.parametrize(
    ("battery", "field", "shape"),
    [(MANY, FIELD, r"`battery`.*`couplings`.*\(3, 3, 3\)"), (MANY_SUMS, FIELD, r"`battery`.*\(2, 1\)"),
     (ONE, MANY_FIELDS, r"`protocol`.*`duration`.*\(2,\)")],
    ids=["batteries", "sums", "fields"],
)  # fmt: skip
def test_many_need_vmap(battery, field, shape):
    """What holds many is refused, where it would broadcast or be taken for one with other numbers; ``jax.vmap`` takes it."""
    times = jnp.array([0.1, 0.3])
    calls = [
        lambda battery, field: jb.charge(battery, field, times),
        lambda battery, field: jb.max_work(battery, field, horizon=0.3),
        lambda battery, field: jb.charge(battery, field, times, solver=jb.MeanField()),
        lambda battery, field: jb.optimize(battery, field, bounds=(-1.0, 1.0), steps=1),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=shape + r".*jax\.vmap"):
            call(battery, field)
    axes = (0, None) if field is FIELD else (None, 0)
    works = jax.vmap(lambda battery, field: jb.charge(battery, field, times).work, axes)(battery, field)
    for k, work in enumerate(works):
        one = jax.tree.map(lambda x, k=k: x[k], (battery, field)[axes.index(0)])
        expected = jb.charge(*((one, field) if field is FIELD else (battery, one)), times).work
        np.testing.assert_allclose(work, expected, rtol=0, atol=1e-12)
