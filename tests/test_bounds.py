"""Proven enclosures of spectra against dense diagonalization."""

from itertools import combinations

import dense
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tol

import jaxbatt as jb
from jaxbatt._checks import known
from jaxbatt.bounds import local_bounds
from jaxbatt.hamiltonian import Operator
from jaxbatt.paulis import PauliSum, one_body


def enclosed_sums():
    """Chains, graphs and others with fields along one axis and along several, and strings that are no field and no pair."""
    rng, n = np.random.default_rng(23), 5
    graph = dense.random_couplings(rng, n, -1.0, 1.0) * (rng.random((n, n)) < 0.5)
    graph = np.triu(graph) + np.triu(graph).T
    fields = {axis: one_body(n, axis, jnp.asarray(rng.normal(size=n))) for axis in "xyz"}
    for couplings in (graph, np.asarray(jb.power_law(n, 1.0, 1.0)), np.zeros((n, n))):
        pairs = [(letter * 2, (i, j), couplings[i, j] * rng.normal()) for letter in "XYZ" for i, j in combinations(range(n), 2)]
        interaction = PauliSum.from_terms(n, pairs)
        yield interaction
        for axes in ("x", "y", "z", "xz", "xyz"):
            yield sum((3 * fields[axis] for axis in axes), interaction)
    yield interaction + PauliSum.from_terms(n, [("XYZ", (0, 1, 2), 0.7), ("XY", (3, 4), -1.1), ("X", (2,), 0.4)])


@pytest.mark.parametrize("pauli_sum", list(enclosed_sums()), ids=lambda one: f"{len(one.strings)} strings")
def test_bounds_enclose_the_spectrum(pauli_sum):
    """Those of the parts and those of the pairs, and so what both enclose; of known numbers by NumPy alike."""
    levels = np.linalg.eigvalsh(pauli_sum.to_dense())
    rounding = tol(float, np.abs(levels).max() + 1)
    for center, radius in (local_bounds(pauli_sum), Operator.of(pauli_sum).bounds()):
        assert center - radius <= levels[0] + rounding
        assert center + radius >= levels[-1] - rounding
    by_numpy = local_bounds(known(pauli_sum))
    assert all(isinstance(x, np.generic) for x in by_numpy)
    np.testing.assert_allclose(by_numpy, local_bounds(pauli_sum), rtol=0, atol=rounding)


def test_sums_of_known_numbers():
    """Strings that meet are added up by NumPy as by JAX."""
    one, other = list(enclosed_sums())[-1], one_body(5, "x", jnp.arange(1.0, 6.0))
    for found, expected in ((known(one) + known(other), one + other), (known(one) - known(one), one - one)):
        assert found.strings == expected.strings
        assert isinstance(found.coefficients, np.ndarray)
        np.testing.assert_allclose(found.coefficients, expected.coefficients, rtol=1e-15)


@pytest.mark.parametrize("axis", "xyz")
def test_bounds_of_a_pair_in_a_field_are_exact(axis):
    """Two spins, any couplings, different fields along one axis."""
    terms = [("XX", (0, 1), 0.7), ("YY", (0, 1), -0.4), ("ZZ", (0, 1), 1.3)]
    pair = PauliSum.from_terms(2, terms) + one_body(2, axis, jnp.array([0.9, -0.3]))
    center, radius = local_bounds(pair)
    levels = np.linalg.eigvalsh(pair.to_dense())
    np.testing.assert_allclose([center - radius, center + radius], levels[[0, -1]], rtol=0, atol=tol(float, 4))


def test_couplings_that_are_all_but_zero():
    """A share of the field among couplings whose sum has no reciprocal is no number."""
    for size in (0.0, 5e-324, 1e-310, 1e-300):
        chain = PauliSum.from_terms(2, [("ZZ", (0, 1), size)]) + one_body(2, "x", jnp.array([40.0, 0.0]))
        center, radius = local_bounds(chain)
        np.testing.assert_allclose([center, radius], [0, 40], rtol=0, atol=tol(float, 40))


def test_bounds_of_the_charged_chain_are_close():
    """Long range, omega = 4: a tenth beyond the spectrum at most, where field and interactions apart leave a fifth."""
    charging = PauliSum.from_terms(8, [("ZZ", (i, j), -1.0 / (j - i)) for i, j in combinations(range(8), 2)])
    charging = charging + one_body(8, "x", jnp.asarray(4.0))
    levels = np.linalg.eigvalsh(charging.to_dense())
    assert local_bounds(charging).radius <= 1.1 * (levels[-1] - levels[0]) / 2
    assert Operator.of(charging).bounds().radius >= 1.2 * (levels[-1] - levels[0]) / 2
