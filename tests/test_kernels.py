"""Both kernels against Kronecker products, on random strings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from conftest import tol

import jaxbatt as jb
from jaxbatt import hamiltonian
from jaxbatt.hamiltonian import Operator
from jaxbatt.kernels import FlipTable, apply_flips, flip_overlaps, gram, mirrored_gram, walsh

X, Z = np.array([[0.0, 1.0], [1.0, 0.0]]), np.diag([1.0, -1.0])
DTYPES = [np.float32, np.float64, np.complex64, np.complex128]


def bits(mask, n):
    return [int(c) for c in format(mask, f"0{n}b")]


def sign_times_flip(flip, sign, n):
    """Z**sign X**flip by Kronecker products: v[b ^ flip] with the sign of b."""
    factors = [
        np.linalg.matrix_power(Z, z) @ np.linalg.matrix_power(X, x) for x, z in zip(bits(flip, n), bits(sign, n), strict=True)
    ]
    return functools.reduce(np.kron, factors)


def random_vector(rng, shape, dtype):
    values = rng.normal(size=shape)
    return (values + 1j * rng.normal(size=shape) if np.issubdtype(dtype, np.complexfloating) else values).astype(dtype)


# --- flips


def random_masks(rng, n, distinct, repeated):
    """(flip, sign) pairs with a given number of distinct flip masks, some of them with more than one sign mask."""
    flips = rng.permutation(2**n)[:distinct]
    flips = np.concatenate([flips, flips[:repeated], flips[:1]])
    return [(int(flip), int(sign)) for flip, sign in zip(flips, rng.integers(0, 2**n, len(flips)), strict=True)]


@pytest.mark.parametrize(("n", "distinct", "repeated"), [(1, 2, 1), (3, 8, 5), (5, 32, 4), (7, 33, 0), (7, 70, 9)])
def test_flips_against_kronecker_products(n, distinct, repeated):
    """One fused pass, one that is full, a chunk and a rest, and several chunks under the scan."""
    rng = np.random.default_rng(n)
    masks = random_masks(rng, n, distinct, repeated)
    coefficients = rng.normal(size=len(masks))
    matrix = sum(c * sign_times_flip(*mask, n) for c, mask in zip(coefficients, masks, strict=True))
    table, scale = FlipTable.of(masks), np.abs(coefficients).sum()
    run = jax.jit(functools.partial(apply_flips, table))
    for dtype in DTYPES if n < 7 else (np.float32, np.complex128):
        v = random_vector(rng, (2, 2**n), dtype)
        out = run(jnp.asarray(coefficients), v)
        assert out.dtype == dtype
        np.testing.assert_allclose(out, v @ matrix.T, rtol=0, atol=tol(dtype, scale * np.abs(v).max()))


@pytest.mark.parametrize(("n", "distinct", "repeated"), [(1, 2, 1), (5, 32, 4), (7, 70, 9)])
def test_overlaps_of_flipped_vectors_against_kronecker_products(n, distinct, repeated):
    """One number for each string in their order, whether it has its flip mask for itself or not; over a batch, too."""
    rng = np.random.default_rng(n)
    masks = random_masks(rng, n, distinct, repeated)
    rng.shuffle(masks)
    v, w = rng.normal(size=(2, 3, 2, 2**n))
    matrices = [sign_times_flip(*mask, n) for mask in masks]
    expected = np.array([[np.sum(b * (a @ matrix.T)) for matrix in matrices] for a, b in zip(v, w, strict=True)])
    found = jax.jit(jax.vmap(functools.partial(flip_overlaps, FlipTable.of(masks))))(v, w)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tol(float, 2.0 ** (n + 1)))


def test_large_vectors_are_flipped_the_same():
    """From 2**16 amplitudes on the indices are made in another way; a vector with NaN in it gives NaN where that comes to lie."""
    n, rng = 16, np.random.default_rng(16)
    masks = [(int(flip), int(sign)) for flip, sign in rng.integers(0, 2**n, (3, 2))]
    v, w, coefficients = rng.normal(size=(2, 2**n)), rng.normal(size=(2, 2**n)), np.array([0.3, -1.0, 2.0])
    basis, table = np.arange(2**n), FlipTable.of(masks)
    parts = [(1 - 2.0 * (np.bitwise_count(basis & sign) & 1)) * v[:, basis ^ flip] for flip, sign in masks]
    expected = np.tensordot(coefficients, parts, 1)
    run = jax.jit(functools.partial(apply_flips, table))
    np.testing.assert_allclose(run(coefficients, v), expected, rtol=0, atol=tol(float, 20))
    np.testing.assert_allclose(jax.jit(jax.vmap(functools.partial(run, coefficients)))(v), expected, rtol=0, atol=tol(float, 20))
    found = jax.jit(functools.partial(flip_overlaps, table))(v, w)
    np.testing.assert_allclose(found, [np.sum(w * part) for part in parts], rtol=0, atol=tol(float, 2.0**n))
    spoiled = v.copy()
    spoiled[0, 0] = np.nan
    expected[0, [flip for flip, _ in masks]] = np.nan
    np.testing.assert_allclose(run(coefficients, spoiled), expected, rtol=0, atol=tol(float, 20))


# --- Walsh transform


def by_sums_and_differences(v, n):
    """The transform of two vectors in NumPy, bit by bit."""
    expected = v.astype(np.complex128)
    for bit in range(n):
        halves = expected.reshape(2, -1, 2, 2**bit)
        expected = np.stack([halves[:, :, 0] + halves[:, :, 1], halves[:, :, 0] - halves[:, :, 1]], axis=2)
    return expected.reshape(v.shape)


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 8, 9])
def test_walsh_against_kronecker_products(n):
    """Sizes below, at and beyond the group of four bits; batch axes pass through; twice is 2**N."""
    matrix = functools.reduce(np.kron, [np.array([[1.0, 1.0], [1.0, -1.0]])] * n, np.eye(1))
    rng = np.random.default_rng(n)
    for dtype in DTYPES:
        v = random_vector(rng, (2, 3, 2**n), dtype)
        once = jax.jit(walsh)(v)
        assert once.dtype == dtype
        assert once.shape == v.shape
        np.testing.assert_allclose(once, v @ matrix, rtol=0, atol=tol(dtype, 2**n * np.abs(v).max()))
        np.testing.assert_allclose(walsh(once) / 2**n, v, rtol=0, atol=tol(dtype, 2**n * np.abs(v).max()))


@pytest.mark.parametrize("n", [19, 21])
def test_walsh_of_vectors_larger_than_a_block(n):
    """By blocks and then across them: every bit by sums and differences in NumPy; batch axes pass through."""
    rng = np.random.default_rng(n)
    for dtype in (np.float32, np.complex128):
        v = random_vector(rng, (2, 2**n), dtype)
        out = jax.jit(walsh)(v)
        assert out.dtype == dtype
        np.testing.assert_allclose(out, by_sums_and_differences(v, n), rtol=0, atol=tol(dtype, 2 ** (n / 2) * n))
        np.testing.assert_array_equal(out[1], jax.jit(walsh)(v[1]))
        np.testing.assert_array_equal(out, jax.jit(jax.vmap(walsh))(v))


def test_constants_are_transformed_when_the_program_runs():
    """Not while it is compiled, where XLA takes seconds for large ones: then the result would be all that is left."""
    known = jnp.asarray(np.random.default_rng(9).normal(size=2**9))
    text = jax.jit(lambda: walsh(known)).lower().compile().as_text()
    assert " dot(" in text
    assert " reduce(" in text


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Has the choices made that are made on a GPU."""
    jax.clear_caches()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    yield
    jax.clear_caches()


@pytest.mark.parametrize("n", [0, 1, 5, 6, 9, 11, 19])
def test_walsh_of_a_gpu(as_on_a_gpu, n):
    """By dense matrices of one, two, three, four groups of bits; batch axes pass through, and derivatives."""
    rng = np.random.default_rng(n)
    for dtype in DTYPES:
        v = random_vector(rng, (2, 2**n), dtype)
        out, expected = jax.jit(walsh)(v), by_sums_and_differences(v, n)
        assert out.dtype == dtype
        np.testing.assert_allclose(out, expected, rtol=0, atol=tol(dtype, 2**n * np.abs(v).max()))
        np.testing.assert_allclose(jax.jit(jax.vmap(walsh))(v), expected, rtol=0, atol=tol(dtype, 2**n * np.abs(v).max()))
        np.testing.assert_array_equal(jax.vjp(walsh, v)[1](v)[0], out)


def test_walsh_of_a_gpu_is_products_alone(as_on_a_gpu):
    """28 bits are six products with what lies in memory as it is: nothing is brought into another order, or added up apart."""
    state = jax.ShapeDtypeStruct((2, 2**28), np.float64)
    text = jax.jit(walsh).trace(state).lower(lowering_platforms=("cuda",)).as_text()
    found = [line.split("stablehlo.")[1].split()[0].rstrip(",") for line in text.splitlines() if "stablehlo." in line]
    assert found.count("dot_general") == 6
    assert set(found) == {"dot_general", "constant", "reshape", "optimization_barrier"}


@pytest.mark.parametrize("n", [3, 8, 20])
@pytest.mark.parametrize("dtype", [np.float64, np.complex64])
def test_derivative_of_the_walsh_transform_is_the_transform(n, dtype):
    """To the last digit, forward and backward, in a batch, and with no more memory: loops run back naively copy the vector."""
    rng = np.random.default_rng(n)
    v, w = random_vector(rng, (2, 2**n), dtype)
    expected = jax.jit(walsh)(w)

    def back(w):
        return jax.vjp(walsh, v)[1](w)[0]

    np.testing.assert_array_equal(jax.jit(back)(w), expected)
    np.testing.assert_array_equal(jax.jit(lambda w: jax.jvp(walsh, (v,), (w,))[1])(w), expected)
    np.testing.assert_array_equal(jax.jit(jax.vmap(back))(np.stack([v, w]))[1], expected)
    memory = [jax.jit(f).lower(w).compile().memory_analysis().temp_size_in_bytes for f in (walsh, back)]
    assert memory[1] <= memory[0] + 64


# --- the operator made of both


def all_pairs(n):
    """XX, YY, ZZ of every pair and fields along all axes."""
    rng = np.random.default_rng(n)
    pairs = [(i, j) for i in range(n) for j in range(i)]
    terms = [(2 * letter, pair, rng.normal()) for letter in "XYZ" for pair in pairs]
    return terms + [(letter, (i,), rng.normal()) for letter in "XYZ" for i in range(n)]


def all_strings(n):
    """Those of a battery, and products of three and four X, of four Y."""
    return [*all_pairs(n), ("XXXX", (0, 1, 2, 3), 0.7), ("YYYY", (0, 1, 3, 4), -0.6), ("XXX", (0, 2, 4), 0.5)]


def even_strings(n):
    return [term for term in all_strings(n) if term[0].count("Y") % 2 == 0]


CASES = {
    "all pairs and fields": all_strings(5),
    "real": even_strings(5),
    "mixed strings": systems.random_terms(np.random.default_rng(0), 5, 30),
    "real mixed strings": [t for t in systems.random_terms(np.random.default_rng(1), 5, 40) if t[0].count("Y") % 2 == 0],
    "Dzyaloshinskii-Moriya": systems.dzyaloshinskii_moriya(5, 0.7),
    "diagonal": systems.random_terms(np.random.default_rng(2), 5, 12, letters="IZ"),
}
CHOICES = [(), ("x",), ("y",), ("x", "y")]
"""What the cost rule may transform; the rest is flipped."""


APPLY = jax.jit(Operator.apply)


def forced(choice):
    return lambda n, kinds, strings: tuple(kind for kind in choice if kind in kinds)


def as_rows(v):
    return jnp.stack([v.real, v.imag])


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_operator_against_dense(monkeypatch, name, choice):
    """Every choice of kernels gives the dense matrix, in both precisions; real stays real; the bounds enclose the spectrum."""
    monkeypatch.setattr(hamiltonian, "_cheapest", forced(choice))
    n = 5
    pauli_sum, matrix = jb.PauliSum.from_terms(n, CASES[name]), systems.dense_terms(n, CASES[name])
    operator, scale = Operator.of(pauli_sum), np.abs(pauli_sum.coefficients).sum()
    assert (operator.d_x is not None) == ("x" in choice and any(not s.sign and s.flip for s in pauli_sum.strings))
    assert operator.is_real == (np.abs(matrix.imag).max() == 0)
    rng = np.random.default_rng(4)
    for dtype in (np.float32, np.float64):
        v = systems.random_state(rng, n)
        rounding = tol(dtype, scale)
        out = APPLY(operator.astype(dtype), as_rows(v).astype(dtype))
        assert out.dtype == dtype
        np.testing.assert_allclose(out, as_rows(matrix @ v), rtol=0, atol=rounding)
        if operator.is_real:
            one_row = APPLY(operator.astype(dtype), jnp.asarray(v.real[None], dtype))
            assert one_row.shape == (1, 2**n)
            np.testing.assert_allclose(one_row[0], (matrix @ v.real).real, rtol=0, atol=rounding)
        center, radius = operator.astype(dtype).bounds()
        levels = np.linalg.eigvalsh(matrix)
        assert center - radius - rounding <= levels[0]
        assert levels[-1] <= center + radius + rounding
        assert radius <= scale + rounding


def test_bounds_of_a_diagonal_are_exact():
    pauli_sum = jb.PauliSum.from_terms(5, CASES["diagonal"])
    center, radius = Operator.of(pauli_sum).bounds()
    values = np.diag(systems.dense_terms(5, CASES["diagonal"])).real
    rounding = tol(float, np.abs(pauli_sum.coefficients).sum())
    np.testing.assert_allclose([center - radius, center + radius], [values.min(), values.max()], rtol=0, atol=rounding)


@pytest.mark.parametrize(
    ("n", "field_alone", "neighbors"), [(9, (False, False), (False, False)), (10, (True, False), (True, True))]
)
def test_cost_rule_chooses_both_kernels(n, field_alone, neighbors):
    """Fields and neighbors are flipped in short chains; all-to-all XYZ is transformed, a field on few spins flipped."""

    def chosen(terms):
        operator = Operator.of(jb.PauliSum.from_terms(n, terms))
        return operator.d_x is not None, operator.d_y is not None

    field = [("X", (i,), 1.0) for i in range(n)]
    pairs = [(2 * letter, (i, j), -1.0) for letter in "XYZ" for i in range(n) for j in range(i)]
    assert chosen(field) == field_alone
    assert chosen(field + [pair for pair in pairs if pair[1][0] - pair[1][1] == 1]) == neighbors
    assert chosen(field + pairs) == (True, True)
    assert chosen(field[:2]) == (False, False)


def test_operator_of_many_masks():
    """80 strings of X and Z with as many flip masks: several passes of the flips kernel inside an operator."""
    n, rng = 7, np.random.default_rng(3)
    letters = ["".join("IZXX"[2 * bit + rng.integers(2)] for bit in bits(int(mask), n)) for mask in rng.permutation(2**n)[:80]]
    terms = [(string, tuple(range(n)), rng.normal()) for string in letters]
    operator, v = Operator.of(jb.PauliSum.from_terms(n, terms)), systems.random_state(rng, n)
    assert len({s.flip for s in operator.even_strings}) > 64
    expected, scale = systems.dense_terms(n, terms) @ v, sum(abs(term[2]) for term in terms)
    np.testing.assert_allclose(APPLY(operator, as_rows(v)), as_rows(expected), rtol=0, atol=tol(float, scale))


@pytest.mark.parametrize("choice", [(), ("x", "y")], ids=str)
def test_gradient_of_the_coefficients(monkeypatch, choice):
    """<phi|H|psi> is linear in the coefficients: its gradient is the list of <phi|P_k|psi>."""
    monkeypatch.setattr(hamiltonian, "_cheapest", forced(choice))
    n, terms = 3, [*all_pairs(3), ("XYZ", (0, 1, 2), 0.3)]
    rng = np.random.default_rng(6)
    phi, psi = systems.random_state(rng, n), systems.random_state(rng, n)
    pauli_sum = jb.PauliSum.from_terms(n, terms)

    @jax.jit
    @jax.grad
    def gradient(coefficients):
        operator = Operator.of(jb.PauliSum(n, pauli_sum.strings, coefficients))
        return jnp.sum(as_rows(phi) * operator.apply(as_rows(psi)))

    expected = [(phi.conj() @ systems.dense_terms(n, [(*term[:2], 1.0)]) @ psi).real for term in terms]
    np.testing.assert_allclose(gradient(pauli_sum.coefficients), expected, rtol=0, atol=tol(float, 2**n))


@pytest.mark.parametrize(("n", "backend"), [(3, "cpu"), (14, "cpu"), (17, "gpu")])
def test_gram(monkeypatch, n, backend):
    """Within one set of columns, and over four, or two."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    rng = np.random.default_rng(4)
    v, w, weights = rng.normal(size=(2, 3, 2**n)), rng.normal(size=(2, 5, 2**n)), rng.normal(size=(2, 2**n))
    found = gram(jnp.asarray(v), jnp.asarray(w), jnp.asarray(weights))
    np.testing.assert_allclose(found, np.einsum("md,sld,skd->smlk", weights, v, w), rtol=0, atol=tol(float, 2.0**n))
    found = mirrored_gram(jnp.asarray(v), jnp.asarray(weights[0]))
    complement = v[1][:, np.arange(2**n) ^ (2**n - 1)]
    np.testing.assert_allclose(found, np.einsum("d,ld,kd->lk", weights[0], v[0], complement), rtol=0, atol=tol(float, 2.0**n))
