"""What is refused for lack of memory, held against what the compiler asks for where just so much is there."""

import math
import re

import jax
import jax.numpy as jnp
import pytest

import jaxbatt as jb
from jaxbatt.hamiltonian import model_of
from jaxbatt.solvers import _adjoint, state_vector

N = 19
"""So many that transforms take the place of the vectors, as in all larger chains."""


def paper(n=N):
    return jb.SpinBattery(1.0, jb.power_law(n, 1.0, 1.0), 0.5)


def with_products(letters, *, charging):
    """Between neighbors, besides those of the paper: while charging alone, or in H_0 alone, so that they are measured, too."""
    model = model_of(paper())
    terms = jb.PauliSum.from_terms(N, [(letters, (i, i + 1), 0.3) for i in range(N - 1)])
    energy, drift = (model.energy, model.drift + terms) if charging else (model.energy + terms, model.drift)
    return jb.PauliBattery(energy, drift, N)


BATTERIES = {
    "paper": paper,
    "XY": lambda: with_products("XY", charging=True),
    "XZ": lambda: with_products("XZ", charging=True),
    "XY in H_0": lambda: with_products("XY", charging=False),
}


def curve(battery):
    return lambda omega: jb.charge(battery, jb.ConstantField(omega), [0.2, 0.4], solver=jb.StateVector()).work


def gradient(battery):
    return jax.value_and_grad(lambda omega: curve(battery)(omega)[-1])


def gradient_in_pieces(battery):
    def work(omega):
        return jb.charge(battery, jb.PiecewiseField(omega * jnp.ones(4), 0.4), [0.4], solver=jb.StateVector()).work[0]

    return jax.value_and_grad(work)


def search(battery):
    return lambda omega: jb.max_power(battery, jb.ConstantField(omega), solver=jb.StateVector()).power


@pytest.mark.parametrize("what", [curve, gradient, gradient_in_pieces, search])
@pytest.mark.parametrize("name", BATTERIES)
def test_what_is_let_in_fits(monkeypatch, name, what):
    """Traced to hear what is asked for where just so much is there, for what is held goes by the memory; then compiled."""
    asked, there = [1], 0
    for module in (state_vector, _adjoint):
        monkeypatch.setattr(module, "require_memory", lambda n_bytes, *_: asked.append(n_bytes))
    monkeypatch.setattr(state_vector, "total_memory", lambda: there)
    program = jax.jit(what(BATTERIES[name]()))
    while max(asked) > there:
        there = max(asked)
        asked.clear()
        jax.clear_caches()
        program.trace(4.0)
    needed = program.lower(4.0).compile().memory_analysis().temp_size_in_bytes
    assert needed < there
    assert needed > there / 4


@pytest.mark.parametrize("what", [curve, search])
def test_no_vector_is_part_of_the_program(what):
    """Diagonals of known numbers are made when it runs: as constants they are computed while it is compiled, for seconds."""
    n = 12
    text = jax.jit(what(paper(n))).lower(4.0).compile().as_text()
    shapes = [shape.split(",") for shape in re.findall(r"= f64\[([\d,]+)\]\S* constant\(", text)]
    assert shapes
    assert all(math.prod(map(int, shape)) % 2**n for shape in shapes)
