"""What ``optimize`` refuses, and with which words."""

import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optimal import PAIR, PULSE, SERIES

import jaxbatt as jb


def go(battery=PAIR, protocol=PULSE, **options):
    return jb.optimize(battery, protocol, **({"bounds": (-1.0, 1.0)} | options))


REFUSALS = [
    ("no bounds", lambda: go(bounds=None), ["without a bound on the field the power has no maximum"]),
    ("infinite bounds", lambda: go(bounds=(0.0, np.inf)), ["`bounds highest` must be finite"]),
    ("one bound", lambda: go(bounds=1.0), ["the pair (lowest, highest)", "1.0"]),
    ("bounds the wrong way", lambda: go(bounds=(1.0, -1.0)), ["(lowest, highest)", "1.0 > -1.0"]),
    ("bounds for other spins", lambda: go(bounds=(np.zeros(3), 1.0)), ["fit the levels (4,)", "(3,)"]),
    ("bounds of a series in time", lambda: go(protocol=SERIES, bounds=(0.0, np.ones(16) + np.eye(16)[0])), ["at all times"]),
    ("no room for a constant", lambda: go(bounds=(np.eye(4)[0], np.eye(4)[0])), ["leave room for a constant field"]),
    ("no field", lambda: go(bounds=(0.0, 0.0)), ["`bounds` must allow a field"]),
    ("energy without zero", lambda: go(bounds=(0.5, 1.0), energy=1.0), ["must contain 0"]),
    ("no energy", lambda: go(energy=0.0), ["`energy` must be positive"]),
    ("objective", lambda: go(objective="speed"), ["'power', 'work', 'time'", "'speed'"]),
    ("target", lambda: go(objective="time", target=1.0), ["`target` must be between 0 and 1", "1.0"]),
    ("full", lambda: go(jb.SpinBattery(1.0, PAIR.couplings, initial_state="up"), objective="time"), ["difference is 0"]),
    ("ensemble", lambda: go(ensemble="median"), ["'mean', 'worst'", "'median'"]),
    ("couplings", lambda: go(couplings="free"), ["'given', 'nonnegative', 'signed'", "'free'"]),
    ("couplings of many", lambda: go([PAIR, PAIR], couplings="signed"), ["one battery only", "2"]),
    ("no couplings", lambda: go(jb.SpinBattery(1.0, np.zeros((2, 2))), couplings="signed"), ["with couplings only"]),
    ("no battery", lambda: go([]), ["a battery or several"]),
    ("other batteries", lambda: go([PAIR, jb.SpinBattery(1.0, jb.nearest_neighbor(3, 1.0))]), ["differ in structure"]),
    ("no duration", lambda: go(protocol=jb.ConstantField(0.0), objective="work"), ["`duration` is needed"]),
    ("negative duration", lambda: go(duration=-1.0), ["`duration` must be positive", "-1.0"]),
    ("starts", lambda: go(starts=0), ["`starts` must be an integer of at least 1", "0"]),
    ("steps", lambda: go(steps=2.5), ["`steps` must be an integer of at least 1", "2.5"]),
    ("penalty", lambda: jb.Penalty(energy=-1.0), ["penalty of energy", "-1.0"]),
    ("penalty in words", lambda: jb.Penalty(energy="a"), ["penalty of energy", "'a'"]),
    ("number for a penalty", lambda: go(penalty=0.1), ["`penalty` must be a jaxbatt.Penalty", "0.1"]),
    ("dict for a penalty", lambda: go(penalty={"energy": 0.1}), ["`penalty` must be a jaxbatt.Penalty", "{'energy': 0.1}"]),
    ("callback", lambda: go(callback=3), ["`callback` must be a function", "3"]),
    ("name of an optimizer", lambda: go(optimizer="adam"), ["`optimizer`", "optax.adam(0.1)", "'adam'"]),
    ("function for an optimizer", lambda: go(optimizer=optax.adam), ["`optimizer`", "optax.adam(0.1)"]),
    ("name of a solver", lambda: go(solver="spectral"), ["`solver`", "'spectral'"]),
    ("class of a solver", lambda: go(solver=jb.Spectral), ["`solver`", "it is Spectral"]),
    ("two energies", lambda: go(energy=jnp.ones(2)), ["`energy` must be one real number"]),
    ("two durations", lambda: go(duration=jnp.ones(2)), ["`duration` must be one real number"]),
    ("target in words", lambda: go(objective="time", target="x"), ["`target` must be one real number", "'x'"]),
    ("None for a battery", lambda: go(None), ["a battery or several", "None"]),
    ("number for a checkpoint", lambda: go(checkpoint=5), ["`checkpoint` must be the path of a file", "5"]),
    ("directory", lambda: go(checkpoint=os.getcwd()), ["is a directory"]),
    ("word for a switch", lambda: go(free_duration="no"), ["`free_duration` must be True or False", "'no'"]),
    ("number for a key", lambda: go(key=0), ["`key`", "jax.random.key(0)"]),
    ("many keys", lambda: go(key=jax.random.split(jax.random.key(0))), ["`key` must be one key"]),
    ("three objectives", lambda: go(objective=lambda end: end.magnetization, duration=1.0), ["return one real number", "(3,)"]),
    ("a float", lambda: go(objective=lambda end: float(end.work), duration=1.0), ["`objective` cannot be traced by JAX"]),
    ("NumPy", lambda: go(objective=lambda end: np.sqrt(end.work), duration=1.0), ["write it in jax.numpy"]),
    ("no number", lambda: go(objective=lambda end: None, duration=1.0), ["return one real number", "None"]),
    (
        "objective that is not finite",
        lambda: go(protocol=jb.ConstantField(0.0), objective=lambda end: end.work * np.nan, duration=1.0, starts=1, steps=1),
        ["`objective` must be finite", "nan"],
    ),
    ("no directory", lambda: go(checkpoint="/nowhere/at/all"), ["no directory '/nowhere/at'"]),
    ("solver", lambda: go(duration=1.0, solver=jb.Collective(), protocol=jb.PiecewiseField(np.eye(2), 1.0)), ["Collective"]),
    ("series of two shapes", lambda: jb.FourierField(np.zeros(3), np.zeros((2, 2)), 1.0), ["(M, N)", "(3,)", "(2, 2)"]),
    ("too few samples", lambda: jb.FourierField(np.zeros(3), np.zeros(4), 1.0, samples=8), ["above 8", "8"]),
    (
        "series for other spins",
        lambda: jb.charge(PAIR, jb.FourierField(np.zeros((2, 3)), np.zeros((1, 3)), 1.0), [1.0]),
        ["3 spins"],
    ),
]


@pytest.mark.parametrize(("call", "words"), [pytest.param(*case[1:], id=case[0]) for case in REFUSALS])
def test_refusals(call, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_optimize_is_not_traced():
    with pytest.raises(ValueError, match="cannot be traced"):
        jax.jit(lambda g: go(jb.SpinBattery(1.0, jb.nearest_neighbor(2, g))).value)(1.0)
