"""Disorder and Kac normalization, against the definitions written out in NumPy."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tol
from hypothesis import strategies as st

import jaxbatt as jb

SIGMAS = 5
"""Standard errors that a mean over samples may be off: of fixed keys, so that a test passes or fails for good."""
FINITE = st.floats(-3, 3, allow_subnormal=False)


def numbers_of(matrix, couplings, strength):
    """xi_ij of all pairs i < j, solved from the definition."""
    above = np.triu_indices(len(couplings), 1)
    return (np.asarray(matrix)[above] / np.asarray(couplings)[above] - 1) / strength


@hypothesis.given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(1, 6), strength=st.floats(0, 3), kind=st.sampled_from(["normal", "uniform"])
)
@hypothesis.settings(max_examples=40, deadline=None)
def test_a_matrix_of_couplings(seed, n, strength, kind):
    """Symmetric, zero diagonal, zeros stay, every pair its own number, the same for the same key and no other."""
    key, couplings = jax.random.key(seed), np.asarray(jb.nearest_neighbor(n, 2.0))
    found = np.asarray(jb.disordered(key, couplings, strength, distribution=kind))
    assert found.shape == (n, n)
    assert np.array_equal(found, found.T)
    assert np.all(found[couplings == 0] == 0)
    assert np.array_equal(found, jb.disordered(key, couplings, strength, distribution=kind))
    if strength > 0.01 and n > 2:
        assert len(np.unique(found[np.triu_indices(n, 1)])) == n  # N - 1 bonds, and the zeros
        assert not np.array_equal(found, jb.disordered(jax.random.fold_in(key, 1), couplings, strength, distribution=kind))


@pytest.mark.parametrize(("kind", "deviation", "fourth"), [("normal", 1.0, 3.0), ("uniform", 3**-0.5, 1 / 5)])
def test_moments_of_the_numbers(kind, deviation, fourth):
    """Mean 0, the variance, and no correlation between pairs, to five standard errors of 10,000 samples of 6 pairs."""
    samples, couplings, strength = 10_000, np.asarray(jb.power_law(4, 1.5, 0.7)), 0.25
    keys = jax.random.split(jax.random.key(7), samples)
    matrices = jax.vmap(lambda key: jb.disordered(key, couplings, strength, distribution=kind))(keys)
    xi = np.array([numbers_of(matrix, couplings, strength) for matrix in np.asarray(matrices)])
    assert xi.shape == (samples, 6)
    assert np.all(np.abs(xi.mean(axis=0)) < SIGMAS * deviation / samples**0.5)
    spread = ((fourth - deviation**4) / samples) ** 0.5
    assert np.all(np.abs((xi**2).mean(axis=0) - deviation**2) < SIGMAS * spread)
    products = xi.T @ xi / samples
    assert np.all(np.abs(products[np.triu_indices(6, 1)]) < SIGMAS * deviation**2 / samples**0.5)
    if kind == "uniform":
        assert np.abs(xi).max() <= 1 + tol(float, 1 / strength)
        assert np.abs(xi).max() > 0.99
    else:
        assert np.abs(xi).max() > 3


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_random_fields(kind):
    mean, strength = np.array([1.0, 2.0, -0.5]), 0.3
    keys = jax.random.split(jax.random.key(3), 10_000)
    fields = np.asarray(jax.vmap(lambda key: jb.random_field(key, 3, strength, mean=mean, distribution=kind))(keys))
    deviation = strength * (1 if kind == "normal" else 3**-0.5)
    assert np.all(np.abs(fields.mean(axis=0) - mean) < SIGMAS * deviation / 100)
    fourth = 3.0 if kind == "normal" else 9 / 5  # of a number of variance 1
    assert np.all(np.abs(fields.var(axis=0) / deviation**2 - 1) < SIGMAS * (fourth - 1) ** 0.5 / 100)
    correlations = np.corrcoef(fields.T)[np.triu_indices(3, 1)]
    assert np.all(np.abs(correlations) < SIGMAS / 100)
    assert np.array_equal(jb.random_field(keys[0], 3, 0.0), np.ones(3))


def test_pure_under_jit_and_vmap():
    """The same numbers whether compiled or not, over keys and over strengths; linear in strength and couplings."""
    key, couplings = jax.random.key(1), jb.power_law(5, 1.0, 1.0)
    plain = jb.disordered(key, couplings, 0.2)
    np.testing.assert_allclose(jax.jit(jb.disordered)(key, couplings, 0.2), plain, rtol=0, atol=tol(float, 1))
    strengths = jnp.array([0.0, 0.1, 0.2])
    many = jax.vmap(lambda s: jb.disordered(key, couplings, s))(strengths)
    assert np.array_equal(many[0], couplings)
    np.testing.assert_allclose(many[2] - couplings, 2 * (many[1] - couplings), rtol=0, atol=tol(float, 1))
    np.testing.assert_allclose(many[2], plain, rtol=0, atol=tol(float, 1))
    field = jax.jit(lambda s: jb.random_field(key, 4, s, mean=2.0))(0.5)
    np.testing.assert_allclose(field, jb.random_field(key, 4, 0.5, mean=2.0), rtol=0, atol=tol(float, 4))


def test_derivatives():
    """d g'_ij / d strength = g_ij xi_ij and d g'_ij / d g_ij = 1 + strength xi_ij."""
    key, couplings, weights = jax.random.key(2), jb.power_law(4, 1.3, 0.5), np.arange(16.0).reshape(4, 4)

    def total(couplings, strength):
        return jnp.sum(weights * jb.disordered(key, couplings, strength))

    by_couplings, by_strength = jax.jit(jax.grad(total, (0, 1)))(couplings, 0.3)
    factors = (np.asarray(jb.disordered(key, couplings, 0.3)) + np.eye(4)) / (np.asarray(couplings) + np.eye(4))
    np.testing.assert_allclose(by_couplings, weights * factors, rtol=0, atol=tol(float, 40))
    xi = (factors - 1) / 0.3
    np.testing.assert_allclose(by_strength, np.sum(weights * couplings * xi), rtol=0, atol=tol(float, 400))
    slopes = jax.jacobian(lambda mean, s: jb.random_field(key, 3, s, mean=mean), (0, 1))(jnp.ones(3), 0.5)
    assert np.array_equal(slopes[0], np.eye(3))
    field = np.asarray(jb.random_field(key, 3, 0.5))
    np.testing.assert_allclose(slopes[1], (field - 1) / 0.5, rtol=0, atol=tol(float, 8))


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 3.0])
def test_kac_normalization(n, p):
    """g_ij / K with K = (1/N) sum_{i != j} |i - j|^-p: the couplings of a spin add up to g on average."""
    kac = sum(abs(i - j) ** -p for i in range(n) for j in range(n) if i != j) / n
    expected = [[0 if i == j else 1.7 / kac / abs(i - j) ** p for j in range(n)] for i in range(n)]
    found = jb.power_law(n, 1.7, p, kac=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tol(float, n))
    np.testing.assert_allclose(np.sum(found) / n, 1.7, rtol=0, atol=tol(float, n))
    np.testing.assert_allclose(jax.jit(lambda p: jb.power_law(n, 1.7, p, kac=True))(p), expected, rtol=0, atol=tol(float, n))
    slope = jax.grad(lambda p: jb.power_law(n, 1.7, p, kac=True).sum())(p)
    np.testing.assert_allclose(slope, 0, rtol=0, atol=tol(float, n**2))


def test_kac_of_one_spin():
    assert np.array_equal(jb.power_law(1, 1.0, 1.0, kac=True), [[0.0]])
    assert jax.grad(lambda p: jb.power_law(1, 1.0, p, kac=True).sum())(1.0) == 0


KEY, LINE = jax.random.key(0), np.array([[0.0, 1.0], [1.0, 0.0]])
REFUSALS = [
    (lambda: jb.disordered(KEY, [[0.0, 1.0]], 0.1), "`couplings` must be an (N, N) matrix"),
    (lambda: jb.disordered(KEY, [[0.0, 1.0], [2.0, 0.0]], 0.1), "`couplings` must be symmetric"),
    (lambda: jb.disordered(KEY, LINE, -0.1), "`strength` must not be negative, but it is -0.1"),
    (lambda: jb.disordered(KEY, LINE, np.nan), "`strength` must be finite, but strength = nan"),
    (lambda: jb.disordered(KEY, LINE, [0.1, 0.2]), "`strength` must be a scalar, but its shape is (2,); vmap"),
    (
        lambda: jb.disordered(KEY, LINE, 0.1, distribution="cauchy"),
        '`distribution` must be "normal" or "uniform", but it is \'cauchy\'',
    ),
    (lambda: jb.disordered(KEY, LINE, 0.1, distribution=["normal"]), '`distribution` must be "normal" or "uniform"'),
    (lambda: jb.disordered(3, LINE, 0.1), "`key` must be one key of jax.random.key(seed), but it is int"),
    (lambda: jb.disordered(jax.random.split(KEY, 2), LINE, 0.1), "with shape (2,); vmap over several keys"),
    (lambda: jb.random_field(KEY, 0, 0.1), "the number of spins must be an integer of at least 1, but it is 0"),
    (lambda: jb.random_field(KEY, 3, 0.1, mean=[1.0, 2.0]), "`mean` must be a scalar or (3,)"),
    (lambda: jb.random_field(KEY, 3, 0.1, mean=np.inf), "`mean` must be finite"),
    (lambda: jb.random_field(KEY, 3, -1.0), "`strength` must not be negative, but it is -1.0"),
]


@pytest.mark.parametrize(("call", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
def test_refusals(call, words):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refusal:
        call()
    assert words in str(refusal.value)


def test_traced_couplings_start_with_all_spins_down_unchecked():
    """As the docstrings say: what is refused where it is seen is started in "down" where it is traced."""

    def work(seed, start):
        couplings = jb.disordered(jax.random.key(seed), jb.power_law(2, 1.0, 1.0), 2.0)
        battery = jb.SpinBattery(1.0, couplings, initial_state=start)
        return jb.charge(battery, jb.ConstantField(2.0), [0.0, 0.3]).work[1]

    seeds = np.arange(8)
    negative = [seed for seed in seeds if jb.disordered(jax.random.key(seed), jb.power_law(2, 1.0, 1.0), 2.0).min() < 0]
    assert negative
    with pytest.raises(ValueError, match="`couplings` has the negative entry"):
        work(negative[0], None)
    unchecked, chosen = (jax.vmap(lambda seed, start=start: work(seed, start))(seeds) for start in (None, "down"))
    assert np.array_equal(unchecked, chosen)
