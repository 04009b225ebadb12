"""Exponents and the normalization of chargers, against power laws that are known and NumPy's least squares."""

import hypothesis
import numpy as np
import pytest
import xarray
from conftest import tol
from hypothesis import strategies as st

import jaxbatt as jb

SIZES = np.array([4, 6, 8, 10, 12])


def dataset_of(values, dims=("n",), name="power", units="B^2", **others):
    """A dataset over n (and p) with one variable, and others of the same dimensions."""
    variables = {name: (dims, values, {"units": units})} | {key: (dims, value) for key, value in others.items()}
    coords = {"n": SIZES[: np.shape(values)[dims.index("n")]]} | ({"p": [0.0, 1.0]} if "p" in dims else {})
    return xarray.Dataset(variables, coords=coords)


def slope(x, y):
    """Least squares of ln y on ln x: the exponent, its standard error, the prefactor, the residual."""
    u, v = np.log(np.asarray(x, float)), np.log(y)
    matrix = np.stack([u, np.ones_like(u)], axis=1)
    found = np.linalg.lstsq(matrix, v)[0]
    squares = np.sum((v - matrix @ found) ** 2)
    error = np.sqrt(squares / (len(u) - 2) * np.linalg.inv(matrix.T @ matrix)[0, 0]) if len(u) > 2 else np.nan
    return found[0], error, np.exp(found[1]), np.sqrt(squares / len(u))


@hypothesis.given(seed=st.integers(0, 2**32 - 1), window=st.integers(2, 5))
@hypothesis.settings(max_examples=30, deadline=None)
def test_against_least_squares(seed, window):
    """Any positive numbers over n and p, n in any order: every window and the whole fit."""
    rng = np.random.default_rng(seed)
    values = np.exp(rng.normal(size=(5, 2)))
    found = jb.scaling(dataset_of(values, ("n", "p")).isel(n=rng.permutation(5)), window=window)
    allowed = tol(float, 1000)  # ln x spreads over 0.18 between neighbors; its square divides
    for k in range(2):
        exponent, error, prefactor, residual = slope(SIZES, values[:, k])
        here = found.isel(p=k)
        np.testing.assert_allclose(here.exponent, exponent, rtol=0, atol=allowed)
        np.testing.assert_allclose(here.exponent_stderr, error, rtol=0, atol=allowed)
        np.testing.assert_allclose(here.prefactor, prefactor, rtol=allowed, atol=0)
        np.testing.assert_allclose(here.residual, residual, rtol=0, atol=allowed)
        assert here["count"] == 5
        assert here.sizes["n"] == 6 - window
        for i in range(6 - window):
            part = slice(i, i + window)
            np.testing.assert_allclose(here.local_exponent[i], slope(SIZES[part], values[part, k])[0], rtol=0, atol=allowed)


def test_a_power_law_is_found_everywhere():
    found = jb.scaling(dataset_of(3.0 * SIZES**1.5))
    np.testing.assert_allclose(found.local_exponent, 1.5, rtol=0, atol=tol(float, 100))
    np.testing.assert_allclose(found.exponent, 1.5, rtol=0, atol=tol(float, 100))
    np.testing.assert_allclose(found.prefactor, 3.0, rtol=0, atol=tol(float, 300))
    assert found.prefactor.attrs == {"units": "B^2"}
    assert found["first"].values.tolist() == [4, 6, 8]
    assert found["last"].values.tolist() == [8, 10, 12]
    np.testing.assert_allclose(found.n, np.sqrt([32, 60, 96]), rtol=0, atol=tol(float, 10))
    assert found.attrs == {"x": "n", "y": "power", "normalization": "field", "window": 3}


def test_local_exponents_see_what_a_fit_does_not():
    """y = x^2 / (1 + x / 8): d ln y / d ln x = 2 - (x/8) / (1 + x/8), within its range over the window; the fit is in between."""
    values = SIZES**2 / (1 + SIZES / 8)
    found = jb.scaling(dataset_of(values), window=2)
    for exponent, first, last in zip(found.local_exponent.values, found["first"].values, found["last"].values, strict=True):
        assert 2 - (last / 8) / (1 + last / 8) < exponent < 2 - (first / 8) / (1 + first / 8)
    assert found.local_exponent[-1] < found.exponent < found.local_exponent[0]


def test_missing_points():
    """NaN and points that are not valid: windows with one have no exponent, the fit takes the others and counts them."""
    values = 2.0 * SIZES**1.25
    holes = values.copy()
    holes[1] = np.nan
    flagged = dataset_of(values, valid=[True, False, True, True, True])
    for dataset in (dataset_of(holes), flagged):
        found = jb.scaling(dataset, window=2)
        assert np.isnan(found.local_exponent).values.tolist() == [True, True, False, False]
        assert found["count"] == 4
        np.testing.assert_allclose(found.exponent, 1.25, rtol=0, atol=tol(float, 100))
    for count, known in ((0, (False, False)), (1, (False, False)), (2, (True, False)), (3, (True, True))):
        few = jb.scaling(dataset_of(np.where(np.arange(5) < count, values, np.nan)))
        assert few["count"] == count
        assert all((not np.isnan(few[name])) == known[0] for name in ("exponent", "prefactor", "residual"))
        assert (not np.isnan(few.exponent_stderr)) == known[1]


NORMALIZED = [("power", 1), ("max_power", 1), ("time", -1), ("max_power_time", -1), ("work", 0), ("max_power_work", 0)]


@pytest.mark.parametrize(("name", "power"), NORMALIZED)
@pytest.mark.parametrize("kind", ["bandwidth", "deviation"])
def test_normalization(name, power, kind):
    """lambda^k y, with lambda = the parallel charger's scale over that of H."""
    rng = np.random.default_rng(3)
    values, own, parallel = np.exp(rng.normal(size=(3, 5, 2)))
    dataset = dataset_of(values, ("n", "p"), name, **{kind: own, f"parallel_{kind}": parallel})
    found = jb.scaling(dataset, y=name, normalization=kind)
    assert found.attrs["normalization"] == kind
    for k in range(2):
        exponent, _, prefactor, _ = slope(SIZES, (values * (parallel / own) ** power)[:, k])
        np.testing.assert_allclose(found.exponent[k], exponent, rtol=0, atol=tol(float, 1000))
        np.testing.assert_allclose(found.prefactor[k], prefactor, rtol=tol(float, 1000), atol=0)
    plain = jb.scaling(dataset, y=name)
    np.testing.assert_allclose(plain.exponent[0], slope(SIZES, values[:, 0])[0], rtol=0, atol=tol(float, 1000))


@pytest.mark.parametrize("kind", ["bandwidth", "deviation"])
def test_normalized_powers_are_those_of_scaled_chargers(kind):
    """The battery charged by lambda H, couplings and field alike, has the power that ``scaling`` computes from that of H."""
    sizes, omega, factors = np.array([2, 3, 4]), 1.5, (0.6, -0.1, 1.0)
    powers, scaled, scales = [], [], []
    for n in sizes:
        matrix = jb.power_law(int(n), 1.0, 1.0)
        battery, drive = jb.SpinBattery(1.0, matrix, factors, initial_state="down"), jb.ConstantField(omega)
        scale = jb.charger_scale(battery, drive)
        factor = float(getattr(scale, f"parallel_{kind}") / getattr(scale, kind))
        terms = [
            (a + a, (i, j), -w * matrix[i, j]) for a, w in zip("XYZ", factors, strict=True) for i in range(n) for j in range(i)
        ]
        interactions = jb.PauliSum.from_terms(int(n), terms)
        energy = interactions + jb.PauliSum.from_terms(int(n), [("Z", (i,), 1.0) for i in range(n)])
        stronger = jb.PauliBattery(energy, interactions * factor, int(n))
        powers.append(float(jb.max_power(battery, drive).power))
        scaled.append(float(jb.max_power(stronger, jb.ConstantField(omega * factor)).power))
        scales.append(scale)
    columns = {name: ("n", [float(getattr(scale, name)) for scale in scales]) for name in scales[0]._fields}
    dataset = xarray.Dataset({"power": ("n", powers)} | columns, coords={"n": sizes})
    found = jb.scaling(dataset, normalization=kind, window=2)
    expected = jb.scaling(xarray.Dataset({"power": ("n", scaled)}, coords={"n": sizes}), window=2)
    # A power is good to its time's 1e-8 squared, and to rounding times the phase turned through.
    np.testing.assert_allclose(found.local_exponent, expected.local_exponent, rtol=0, atol=tol(float, 1e4))
    assert not np.allclose(found.local_exponent, jb.scaling(dataset, window=2).local_exponent, atol=1e-3)


GOOD = dataset_of(1.0 * SIZES)
REFUSALS = [
    (lambda: jb.scaling(GOOD, y="powr"), "`y` must be a variable of real numbers, one of power, but it is 'powr'"),
    (lambda: jb.scaling(GOOD, x="m"), "`x` must be a dimension of 'power' with values, n, but it is 'm'"),
    (lambda: jb.scaling(GOOD.drop_vars("n")), "`x` must be a dimension of 'power' with values, n, but it is 'n'"),
    (
        lambda: jb.scaling(GOOD.assign_coords(n=SIZES - 4)),
        "'n' must be distinct positive numbers, but its values are [0, 2, 4, 6, 8]",
    ),
    (lambda: jb.scaling(GOOD.assign_coords(n=list("abcde"))), "'n' must be distinct positive numbers"),
    (lambda: jb.scaling(GOOD, window=1), "`window` must be an integer from 2 to the 5 values of 'n', but it is 1"),
    (lambda: jb.scaling(GOOD, window=6), "`window` must be an integer from 2 to the 5 values of 'n', but it is 6"),
    (lambda: jb.scaling(GOOD.isel(n=[0]), window=2), "`window` must be an integer from 2 to the 1 values of 'n'"),
    (lambda: jb.scaling(GOOD - 8), "'power' must be positive, for its logarithm is taken, but it is -4 at n = 4"),
    (lambda: jb.scaling(GOOD * [1, 1, 0, 1, 1]), "but it is 0 at n = 8; leave that n out"),
    (lambda: jb.scaling(GOOD, normalization="field_strength"), '`normalization` must be "field", "bandwidth" or "deviation"'),
    (
        lambda: jb.scaling(GOOD, normalization="bandwidth"),
        "the normalization by bandwidth needs the variable 'bandwidth'; let the",
    ),
    (
        lambda: jb.scaling(GOOD.assign(deviation=GOOD.power), normalization="deviation"),
        "needs the variable 'parallel_deviation'; let the function of the sweep return charger_scale(battery, protocol)",
    ),
    (
        lambda: jb.scaling(GOOD.rename(power="value"), y="value", normalization="bandwidth"),
        "only names that end in power, time or work can be normalized, but `y` is 'value'",
    ),
]


@pytest.mark.parametrize(("call", "words"), REFUSALS, ids=[words for _, words in REFUSALS])
def test_refusals(call, words):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refusal:
        call()
    assert words in str(refusal.value)
