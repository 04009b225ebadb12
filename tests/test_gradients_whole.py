"""Gradients under a constant field with few outputs, which are found in one segment, however long: no other is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxbatt as jb
from jaxbatt.kernels import whole
from jaxbatt.propagators import adjoint
from jaxbatt.solvers import _adjoint, _stepping

N = 12
"""The fewest spins of which it is so."""
COUPLINGS = jb.power_law(N, 1.0, 1.0) * np.outer(*[np.linspace(0.8, 1.3, N)] * 2)


def curve(numbers, times, solver=None):
    omega, anisotropy, field = numbers
    battery = jb.SpinBattery(field, COUPLINGS, anisotropy, initial_state="down")
    return jb.charge(battery, jb.ConstantField(omega), times, solver=solver or jb.StateVector())


def work(numbers, times, solver=None):
    return curve(numbers, times, solver).work


def gradient(loss, *arguments):
    return jax.tree.leaves(jax.jit(jax.grad(loss, argnums=tuple(range(len(arguments)))))(*arguments))


def assert_same(found, expected, relative):
    scale = max(np.max(np.abs(x)) for x in expected)
    for x, y in zip(found, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=relative * scale)


@pytest.mark.parametrize("end", [0.3, 25.0], ids=["short", "thousands of terms"])
def test_eight_outputs_and_nine(end):
    """A ninth output, which nothing depends on, has all segments compiled: of the longer curve there are some."""
    weights = jnp.asarray(np.random.default_rng(1).normal(size=8))
    times = end * jnp.array([0.0, 0.2, 0.5, 0.5, 0.6, 0.8, 0.9, 1.0])

    def eight(numbers, times):
        return weights @ work(numbers, times)

    def nine(numbers, times):
        return weights @ work(numbers, jnp.append(times, times[-1]))[:8]

    numbers = (1.7, 0.5, 1.0)
    assert_same(gradient(eight, numbers, times), gradient(nine, numbers, times), 1e-9)


def test_differences():
    """Of the work, the mean magnetization and the time, whatever is measured, from a complex state under a complex H."""
    state = np.random.default_rng(2).normal(size=(2, 2**N))
    state = jnp.asarray(state[0] + 1j * state[1]) / np.linalg.norm(state)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=(3, 3)))
    places = [(i, i + 1) for i in range(N - 1)]
    fields, chain, moriya = (
        jb.PauliSum.from_terms(N, terms)
        for terms in (
            [("Z", (i,), 1.0 + 0.1 * i) for i in range(N)],
            [("ZZ", place, -0.8) for place in places],
            [(letters, place, sign) for place in places for letters, sign in (("XY", 1.0), ("YX", -1.0))],
        )
    )

    def loss(omega, strength, time):
        drift = chain + moriya * strength
        battery = jb.PauliBattery(fields + drift, drift, N, initial_state=state)
        found = jb.charge(battery, jb.ConstantField(omega), time * jnp.array([0.3, 0.7, 1.0]), solver=jb.StateVector())
        return found.work[1] + found.work[2] + jnp.sum(weights * found.magnetization)

    at, step = np.array([1.3, 0.4, 0.8]), 1e-4
    value = jax.jit(loss)
    moved = [[float(value(*(at + k * step * np.eye(3)[i]))) for k in (-2, -1, 1, 2)] for i in range(3)]
    differences = [(a - 8 * b + 8 * c - d) / (12 * step) for a, b, c, d in moved]
    assert_same(gradient(loss, *at), differences, 1e-8)


@pytest.mark.parametrize("propagator", [jb.Krylov(), jb.Taylor()], ids=["Krylov", "Taylor"])
def test_values_beside_derivatives(propagator):
    """They come from a Chebyshev series, too, and agree with those that the propagator finds by itself."""
    numbers, times, solver = (2.0, 0.5, 1.0), jnp.array([0.2, 0.9]), jb.StateVector(propagator)
    value = jax.value_and_grad(lambda numbers: work(numbers, times, solver).sum())(numbers)[0]
    np.testing.assert_allclose(value, work(numbers, times, solver).sum(), rtol=1e-9)


def test_greatest_power():
    """The derivatives of P* and T* by fourth-order differences."""

    def peak(anisotropy):
        battery = jb.SpinBattery(1.0, COUPLINGS, anisotropy, initial_state="down")
        found = jb.max_power(battery, jb.ConstantField(3.0), solver=jb.StateVector())
        return jnp.stack([found.power, found.time])

    found, step, run = jax.jit(jax.jacrev(peak))(0.3), 1e-3, jax.jit(peak)
    a, b, c, d = (np.asarray(run(0.3 + k * step)) for k in (-2, -1, 1, 2))
    np.testing.assert_allclose(found, (a - 8 * b + 8 * c - d) / (12 * step), rtol=1e-6)


def test_neighbors_in_a_batch():
    """One needs more terms than the other; the bits of either are those that it has beside itself."""

    def loss(scale):
        return work((scale, 0.5, 1.0), scale * jnp.array([0.02, 0.1])).sum()

    run = jax.jit(jax.vmap(jax.value_and_grad(loss)))
    mild, mixed, wild = (jax.tree.leaves(run(jnp.array(pair))) for pair in ([0.5, 0.5], [0.5, 20.0], [20.0, 20.0]))
    for x, y, z in zip(mild, mixed, wild, strict=True):
        np.testing.assert_array_equal([x[0], z[1]], y)
        assert np.all(np.isfinite(y))
        assert x[0] != z[1]


@pytest.fixture
def short_series(monkeypatch):
    """A low limit, in programs of its own."""
    jax.clear_caches()
    for module in (_adjoint, _stepping):
        monkeypatch.setattr(module, "WHOLE", 40.0)
    yield
    jax.clear_caches()


def test_what_is_longer_is_no_number(short_series):
    """The value, and its derivative by the field and the times; a field in pieces is a way out."""

    def loss(end, omega):
        return work((omega, 0.5, 1.0), jnp.array([0.1, 1.0]) * end).sum()

    def in_pieces(end, omega):
        battery = jb.SpinBattery(1.0, COUPLINGS, 0.5, initial_state="down")
        protocol = jb.PiecewiseField(omega * jnp.ones(2), end)
        return jb.charge(battery, protocol, jnp.array([0.1, 1.0]) * end, solver=jb.StateVector()).work.sum()

    run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    assert np.all(np.isfinite(jax.tree.leaves(run(0.2, 2.0))))
    assert np.all(np.isnan(jax.tree.leaves(run(5.0, 2.0))))
    value, found = jax.jit(jax.value_and_grad(in_pieces, argnums=(0, 1)))(5.0, 2.0)
    np.testing.assert_allclose(value, jax.jit(loss)(5.0, 2.0), rtol=1e-9)
    assert np.all(np.isfinite(found))


@pytest.mark.parametrize(("outputs", "most"), [(1, 16.5), (8, 38)])
def test_memory(outputs, most):
    """State vectors as compiled: 15.5 and 35.6 at N = 14, a tenth of which are coefficients; 20.7 and 42 in several segments."""
    n = 14

    def loss(omega, couplings):
        times = jnp.linspace(0, 0.3, outputs + 1)[1:]
        battery = jb.SpinBattery(1.0, couplings, 0.5)
        return jb.charge(battery, jb.ConstantField(omega), times, solver=jb.StateVector()).work.sum()

    lowered = jax.jit(jax.value_and_grad(loss, argnums=(0, 1))).lower(4.0, jb.power_law(n, 1.0, 1.0))
    assert lowered.compile().memory_analysis().temp_size_in_bytes / (16 * 2**n) < most


def test_a_ladder_takes_several():
    """Its spectrum grows with the square of the spins: one series would not span it."""
    n, end = 2**12, 0.01

    def loss(omega, coupling):
        battery = jb.SpinBattery(1.0, jb.power_law(n, coupling / n, 0.0), 0.0, initial_state="down")
        return jb.charge(battery, jb.ConstantField(omega), [end], solver=jb.Collective()).work[0] / n

    # Without coupling W = 2 N B sin^2(omega t).
    found = gradient(loss, 3.0, 0.0)[0]
    np.testing.assert_allclose(found, 2 * end * np.sin(2 * 3.0 * end), rtol=1e-6)
    strong = gradient(loss, 3.0, 5000.0)
    assert np.all(np.isfinite(strong))


@pytest.mark.parametrize("pieces", [None, 12], ids=["constant", "pieces"])
def test_one_thing_after_the_other(monkeypatch, pieces):
    """As of vectors that are larger than the caches, here of 64 amplitudes: the same derivatives to rounding."""
    couplings = jb.power_law(6, 1.0, 1.0)

    def found():
        jax.clear_caches()

        def work(omega, alpha, couplings):
            levels = omega if pieces is None else omega * jnp.linspace(0.8, 1.2, pieces)
            protocol = jb.ConstantField(levels) if pieces is None else jb.PiecewiseField(levels, 0.8)
            battery = jb.SpinBattery(1.0, couplings, alpha, initial_state="down")
            return jb.charge(battery, protocol, jnp.array([0.35, 0.8]), solver=jb.StateVector()).work.sum()

        gradient = jax.jit(jax.value_and_grad(work, argnums=(0, 1, 2)))
        return jax.tree.leaves(gradient(4.0, 0.5, couplings)), gradient.lower(4.0, 0.5, couplings).as_text()

    monkeypatch.setattr(_stepping, "WHOLE_START", 2**4)
    expected, before = found()
    monkeypatch.setattr(whole, "BLOCK", 2**4)
    monkeypatch.setattr(adjoint, "_APART", 2**4)
    values, after = found()
    assert before != after
    for value, other in zip(values, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=0, atol=1e-9)
