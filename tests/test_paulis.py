"""The algebra of Pauli sums, against Kronecker products by NumPy and by QuTiP."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qutip
import systems
from conftest import tol

import jaxbatt as jb
from jaxbatt.paulis import PauliString, PauliSum, letters_of, site_string

N = 4


def random_sum(seed, count=30):
    terms = systems.random_terms(np.random.default_rng(seed), N, count)
    return PauliSum.from_terms(N, terms), systems.dense_terms(N, terms)


def size(pauli_sum):
    return float(jnp.abs(pauli_sum.coefficients).sum())


def test_to_dense_by_hand():
    """Site 0 leftmost, bit 0 up: Z_0 X_1 and Y_1 written out."""
    terms = [("ZX", (0, 1), 2.0), ("Y", (1,), 0.5)]
    by_hand = [[0, 2 - 0.5j, 0, 0], [2 + 0.5j, 0, 0, 0], [0, 0, 0, -2 - 0.5j], [0, 0, -2 + 0.5j, 0]]
    np.testing.assert_array_equal(PauliSum.from_terms(2, terms).to_dense(), by_hand)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_to_dense_against_qutip(n):
    """The same order of the basis as QuTiP's tensor products."""
    matrices = {"I": qutip.qeye(2), "X": qutip.sigmax(), "Y": qutip.sigmay(), "Z": qutip.sigmaz()}
    terms = systems.random_terms(np.random.default_rng(n), n, 12)
    expected = sum(c * qutip.tensor([matrices[letter] for letter in letters]).full() for letters, _, c in terms)
    total = PauliSum.from_terms(n, terms)
    np.testing.assert_allclose(total.to_dense(), expected, rtol=0, atol=tol(float, size(total)))


def test_sites_in_any_order():
    """A letter belongs to its site, wherever it stands in the list; the identity may be named or left out."""
    one = PauliSum.from_terms(N, [("XYZ", (3, 0, 2), 0.7)])
    other = PauliSum.from_terms(N, [("YIZX", (0, 1, 2, 3), 0.7)])
    assert one.strings == other.strings
    expected = 0.7 * dense.pauli("y", 0, N) @ dense.pauli("z", 2, N) @ dense.pauli("x", 3, N)
    np.testing.assert_allclose(one.to_dense(), expected, atol=tol(float, 1))


def test_algebra():
    (a, dense_a), (b, dense_b) = random_sum(1), random_sum(2)
    rounding = tol(float, size(a) + size(b))
    np.testing.assert_allclose((a + b).to_dense(), dense_a + dense_b, rtol=0, atol=rounding)
    np.testing.assert_allclose((a - b).to_dense(), dense_a - dense_b, rtol=0, atol=rounding)
    np.testing.assert_allclose((-a).to_dense(), -dense_a, rtol=0, atol=rounding)
    np.testing.assert_allclose((a * 2.5).to_dense(), 2.5 * dense_a, rtol=0, atol=3 * rounding)
    np.testing.assert_allclose((-0.3 * a).to_dense(), -0.3 * dense_a, rtol=0, atol=rounding)
    np.testing.assert_allclose((a - a).to_dense(), np.zeros_like(dense_a), rtol=0, atol=rounding)


def test_equal_strings_are_merged():
    terms = [("ZZ", (0, 1), 0.5), ("X", (2,), 1.0), ("ZZ", (1, 0), 0.25), ("II", (0, 3), 2.0), ("I", (2,), -0.5)]
    total = PauliSum.from_terms(N, terms)
    assert len(total.strings) == 3
    np.testing.assert_array_equal(total.coefficients, [0.75, 1.0, 1.5])
    doubled = total + total
    assert doubled.strings == total.strings
    np.testing.assert_array_equal(doubled.coefficients, 2 * total.coefficients)


def test_apply_to_a_state():
    total, matrix = random_sum(3)
    for state in (systems.random_state(np.random.default_rng(3), N), np.arange(2.0**N)):
        rounding = tol(float, size(total) * np.abs(state).max())
        np.testing.assert_allclose(total @ state, matrix @ state, rtol=0, atol=rounding)
        np.testing.assert_allclose(jax.jit(PauliSum.__matmul__)(total, state), matrix @ state, rtol=0, atol=rounding)


def test_empty_sum_is_zero():
    nothing, (a, dense_a) = PauliSum.from_terms(N, []), random_sum(4)
    np.testing.assert_array_equal(nothing.to_dense(), np.zeros((2**N, 2**N)))
    np.testing.assert_array_equal(nothing @ np.ones(2**N), np.zeros(2**N))
    np.testing.assert_allclose((a + nothing).to_dense(), dense_a, rtol=0, atol=tol(float, size(a)))


def test_traced_coefficients():
    """from_terms and the algebra under jit and grad."""

    def element(x):
        total = PauliSum.from_terms(2, [("ZZ", (0, 1), x), ("X", (0,), 3.0), ("ZZ", (0, 1), x**2)]) * (2 * x)
        return (total @ jnp.array([1.0, 0, 0, 0]))[0].real

    # element(x) = 2 x (x + x^2)
    np.testing.assert_allclose(jax.jit(element)(0.3), 0.6 * 0.39, rtol=tol(float, 1))
    np.testing.assert_allclose(jax.jit(jax.grad(element))(0.3), 4 * 0.3 + 6 * 0.09, rtol=tol(float, 1))


def test_properties_of_strings():
    assert PauliString((0b1100, 0b0101)).n_y == 1
    assert PauliString((0b1100, 0b0101)).weight == 3
    assert letters_of(PauliString((0b1100, 0b0101)), 4) == "XYIZ"
    assert site_string(4, "Y", 0, 3) == PauliString((0b1001, 0b1001))
    assert PauliSum.from_terms(2, [("YY", (0, 1), 1.0)]).is_real
    assert not PauliSum.from_terms(2, [("YY", (0, 1), 1.0), ("XY", (0, 1), 1.0)]).is_real


def test_pruned_and_select():
    total = PauliSum.from_terms(2, [("Z", (0,), 0.0), ("X", (0,), 2.0), ("Y", (1,), 0.0)])
    assert total.pruned().strings == (site_string(2, "X", 0),)
    np.testing.assert_array_equal(total.pruned().to_dense(), total.to_dense())
    np.testing.assert_array_equal(total.select([False, True, False]).to_dense(), total.to_dense())
    kept = []
    jax.jit(lambda s: kept.append(s.pruned().strings))(total)
    assert kept == [total.strings]  # traced coefficients may become anything


def test_products_of_sums_are_refused():
    """A product of sums is no multiple; it must not pass as one."""
    a, _ = random_sum(5)
    with pytest.raises((TypeError, ValueError)):
        a * a


def test_refusals_of_the_algebra():
    a, _ = random_sum(6)
    other = jb.PauliSum.from_terms(2, [("Z", (0,), 1.0)])
    with pytest.raises(ValueError, match="4 and 2"):
        a + other
    with pytest.raises(ValueError, match=r"real factors only, but the factor is 1j"):
        a * 1j
    with pytest.raises(ValueError, match=r"shape \(16,\), but its shape is \(8,\)"):
        a @ np.ones(8)
    with pytest.raises(TypeError):
        a + 1.0
