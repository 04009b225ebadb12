"""Small chains that equal their mirror image, in the states that do so too: against dense matrices, and the transforms."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tol
from systems import TIMES, spin

import jaxbatt as jb
from jaxbatt.solvers import _reflection
from jaxbatt.solvers._reflection import MOST_SPINS, Reflection

HALVES = np.array([1.25, 1.25])
RANDOM, UNIFORM = dense.random_couplings(np.random.default_rng(6), 5, -1.0, 1.0), np.ones((5, 5)) - np.eye(5)


def mirrored(n, seed=31):
    """Random couplings that equal their mirror image, of either sign."""
    couplings = dense.random_couplings(np.random.default_rng(seed), n, -1.0, 1.0)
    return couplings + couplings[::-1, ::-1]


SYSTEMS = [
    spin("one spin", 1.0, np.zeros((1, 1)), 0.3, 1.3, initial="down"),
    spin("two spins", 1.0, mirrored(2), 0.3, 1.3, initial="down"),
    spin("three spins, Ising", 1.0, mirrored(3), 0.0, 1.3, initial="down"),
    spin("four spins, isotropic", 0.8, mirrored(4), 1.0, 1.3, initial="down"),
    spin("five spins", 0.8, mirrored(5), -0.6, 1.3, initial="down"),
    spin("six spins", 0.8, mirrored(6), 1.4, 1.3, initial="down"),
    spin("from all up", 1.0, mirrored(4), 0.3, 1.3, initial="up"),
    spin("field kept", 1.1, mirrored(4), 0.3, 1.3, initial="up", kept=True),
    spin("interactions off", 1.1, mirrored(4), 0.3, 1.3, initial="down", interacting=False),
    spin("field kept, interactions off", 1.1, mirrored(4), 0.3, 1.3, initial="down", kept=True, interacting=False),
    spin("two pieces", 1.1, mirrored(5), 0.3, np.array([1.7, -0.9]), durations=HALVES, initial="down"),
    spin("two pieces, field kept", 1.1, mirrored(4), 0.3, np.array([1.7, -0.9]), durations=HALVES, initial="up", kept=True),
]


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_curves(system):
    assert Reflection.of(system.battery, system.protocol) is not None
    system.check(jb.charge(system.battery, system.protocol, TIMES, solver=jb.StateVector()), TIMES)


def test_curves_from_one_series():
    """Short ones with many times, whose states are made from all vectors at once."""
    system = spin("short", 1.1, mirrored(5), 0.3, 1.3, initial="down")
    times = np.linspace(0, 0.8, 120)
    system.check(jb.charge(system.battery, system.protocol, times, solver=jb.StateVector()), times)


@pytest.mark.parametrize("propagator", [jb.Krylov(), jb.Taylor()], ids=["Krylov", "Taylor"])
def test_propagators(propagator):
    system = SYSTEMS[4]
    system.check(jb.charge(system.battery, system.protocol, TIMES, solver=jb.StateVector(propagator)), TIMES)


@pytest.mark.parametrize("switches", [{}, {"field_while_charging": True}, {"interactions_while_charging": False}], ids=str)
def test_maxima(switches):
    """A batch of strengths and anisotropies, some of which take several windows, against diagonalization."""
    n, points = 5, np.array([[0.3, -0.9], [0.3, 0.9], [2.0, -0.5], [2.0, 0.5], [6.0, 0.0]])

    def strongest(solver):
        def power(omega, alpha):
            battery = jb.SpinBattery(1.0, np.abs(mirrored(n)), alpha, initial_state="down", **switches)
            return jb.max_power(battery, jb.ConstantField(omega), solver=solver)

        return jax.jit(jax.vmap(power))(*points.T)

    found, expected = strongest(jb.StateVector()), strongest(jb.Spectral())
    assert np.all(found.certified & found.info.valid)
    np.testing.assert_allclose(found.power, expected.power, rtol=1e-9)
    np.testing.assert_allclose(found.time, expected.time, rtol=1e-8)
    assert np.ptp(found.info.applications) > 0


@pytest.mark.parametrize("pieces", [False, True], ids=["constant", "pieces"])
@pytest.mark.parametrize("kept", [False, True], ids=["field off", "field kept"])
def test_gradients(pieces, kept):
    """With respect to field, anisotropy and amplitudes, of work and magnetization at two times; the couplings are known."""
    couplings, weights, times = mirrored(4), np.array([0.7, -1.1, 0.4, 0.9]), np.array([0.8, 2.0])
    numbers = {"field": 1.1, "anisotropy": 0.3, "amplitudes": np.array([1.7, -0.9]) if pieces else 1.3}

    def loss(numbers):
        battery = jb.SpinBattery(
            numbers["field"], couplings, numbers["anisotropy"], initial_state="down", field_while_charging=kept
        )
        drive = numbers["amplitudes"]
        protocol = jb.PiecewiseField(drive, HALVES.sum()) if pieces else jb.ConstantField(drive)
        assert Reflection.of(battery, protocol) is not None
        curve = jb.charge(battery, protocol, times, solver=jb.StateVector())
        return curve.work @ weights[:2] + curve.magnetization.sum(axis=0) @ weights[1:]

    def judge(numbers):
        system = spin("", numbers["field"], couplings, numbers["anisotropy"], numbers["amplitudes"], initial="down", kept=kept,
                      durations=HALVES if pieces else None)  # fmt: skip
        return system.work(times) @ weights[:2] + system.magnetization(times).sum(axis=0) @ weights[1:]

    value, gradient = jax.value_and_grad(loss)(jax.tree.map(jnp.asarray, numbers))
    expected = dense.central_differences(judge, numbers, dict.fromkeys(numbers, 1e-3))
    np.testing.assert_allclose(value, judge(numbers), atol=1e-9)
    for name, entries in expected.items():
        np.testing.assert_allclose(np.ravel(gradient[name]), entries, rtol=0, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("length", [0.1, 2.0], ids=["short pieces", "long pieces"])
def test_gradient_of_the_length_of_a_field(length):
    """Of the work within the last piece: the ends of those before, in which there is no output, move with the length."""
    couplings, amplitudes, times = mirrored(5), np.array([1.0, 1.2, 0.8, 1.5]), 4 * length * np.array([0.9])

    def work(total):
        battery = jb.SpinBattery(1.0, couplings, 0.3, initial_state="down")
        return jb.charge(battery, jb.PiecewiseField(amplitudes, total), times, solver=jb.StateVector()).work.sum()

    def judge(total):
        ends = total * np.arange(1, 5) / 4
        system = spin("", 1.0, couplings, 0.3, amplitudes, initial="down", durations=np.diff(ends, prepend=0))
        return system.work(times).sum()

    step = 1e-3 * length
    (expected,) = dense.central_differences(lambda x: judge(x["total"]), {"total": 4 * length}, {"total": step})["total"]
    np.testing.assert_allclose(jax.grad(work)(4 * length), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("n", [2, 5])
@pytest.mark.parametrize("kept", [False, True], ids=["field off", "field kept"])
def test_operators_are_linear_in_their_numbers(n, kept):
    """<w|H v> is the sum of each number times its derivative, which the way back through a field counts on."""
    solvers = [(mirrored(n), jb.StateVector()), (RANDOM[:n, :n], jb.StateVector()), (UNIFORM[:n, :n], jb.Collective())]
    kinds = []
    for couplings, solver in solvers:
        battery = jb.SpinBattery(0.9, couplings, 0.3, initial_state="down", field_while_charging=kept)
        system = solver.evolve(solver.prepare(battery, jb.ConstantField(1.3))).system
        for operator in (system.generator(jnp.asarray(1.3)), system.energy()):
            kinds.append(type(operator).__name__)
            v, w = np.random.default_rng(n).normal(size=(2, 2, system.initial_rows().shape[1]))
            hv, _, pulled = operator.paired(v, w, jax.tree.map(jnp.zeros_like, operator), 1.0)
            total = sum(np.vdot(x, y) for x, y in zip(jax.tree.leaves(operator), jax.tree.leaves(pulled), strict=True))
            np.testing.assert_allclose(total, np.vdot(w, hv), rtol=0, atol=tol(float, 100 * np.abs(w).sum()))
    assert set(kinds) == {"ReflectionOperator", "Operator", "LadderOperator"} - ({"Operator"} if n == 2 else set())


def test_largest():
    """The largest chain that is computed so, against the transforms."""
    battery, drive, times = jb.SpinBattery(1.0, jb.power_law(MOST_SPINS, 1.0, 1.0), 0.5), jb.ConstantField(4.0), TIMES[:6]
    asymmetric = np.array(battery.couplings)
    asymmetric[0, 1] = asymmetric[1, 0] = np.nextafter(asymmetric[0, 1], 2)
    other = jb.SpinBattery(1.0, asymmetric, 0.5)
    assert Reflection.of(battery, drive) is not None
    assert Reflection.of(other, drive) is None
    found, expected = (jb.charge(b, drive, times, solver=jb.StateVector()) for b in (battery, other))
    np.testing.assert_allclose(found.work, expected.work, rtol=0, atol=float(found.info.error + expected.info.error))
    np.testing.assert_allclose(found.magnetization, expected.magnetization, rtol=0, atol=1e-9)


def test_single_precision():
    system = SYSTEMS[4]
    curve = jb.charge(system.battery, system.protocol, TIMES, solver=jb.StateVector(jb.Chebyshev(1e-4), dtype=np.complex64))
    assert curve.work.dtype == np.float32
    assert np.max(np.abs(curve.work - system.work(TIMES))) <= float(curve.info.error) + system.rounding(TIMES, np.float32)


N = 4
PLAIN = {"field": 1.0, "couplings": mirrored(N), "anisotropy": 0.3, "initial_state": "down"}
BROKEN = {
    "couplings": (PLAIN | {"couplings": dense.random_couplings(np.random.default_rng(5), N)}, jb.ConstantField(1.0)),
    "fields": (PLAIN | {"field": [1.0, 0.9, 1.1, 1.0]}, jb.ConstantField(1.0)),
    "amplitudes": (PLAIN, jb.ConstantField([1.0, 2.0, 2.0, 1.0])),
    "axis": (PLAIN, jb.ConstantField(1.0, "y")),
    "factors": (PLAIN | {"anisotropy": (0.3, 0.2, 1.0)}, jb.ConstantField(1.0)),
    "state": (PLAIN | {"initial_state": np.eye(16)[5]}, jb.ConstantField(1.0)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_left_to_the_transforms(name):
    """What breaks the reflection, or the few matrices that the points of a sweep share."""
    numbers, protocol = BROKEN[name]
    assert Reflection.of(jb.SpinBattery(**numbers), protocol) is None
    assert Reflection.of(jb.SpinBattery(**PLAIN), jb.ConstantField(1.0)) is not None


def test_couplings_that_are_traced():
    """They are differentiated by the transforms, and what is known of them is computed once."""
    found = []

    def work(couplings):
        battery = jb.SpinBattery(**PLAIN | {"couplings": couplings})
        found.append(Reflection.of(battery, jb.ConstantField(1.0)))
        return jb.charge(battery, jb.ConstantField(1.0), np.array([0.7]), solver=jb.StateVector()).work[0]

    gradient = jax.grad(work)(jnp.asarray(PLAIN["couplings"]))
    assert found == [None]
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0)
    first, second = (_reflection.chain_of(PLAIN["couplings"].copy()) for _ in range(2))
    assert first is second


def test_basis():
    """Each matrix has the levels and the traces of squares that the dense ones have in the space of mirrored states."""
    n, couplings = 5, mirrored(5)
    chain = _reflection.chain_of(couplings)
    swap = np.eye(2**n).reshape([2] * 2 * n).transpose(*range(n - 1, -1, -1), *range(n, 2 * n)).reshape(2**n, 2**n)
    space = np.linalg.svd((np.eye(2**n) + swap) / 2)[0][:, : len(chain.levels)]
    isotropic, ising = (dense.interaction(couplings, alpha) for alpha in (1.0, 0.0))
    x, z = (dense.field_term(1.0, n, axis) for axis in "xz")
    even = chain.total_z.shape[1]
    mine = {
        "isotropic": (np.diag(chain.levels), isotropic),
        "ising": (np.block([[chain.ising[0], np.zeros((even, len(chain.up) - even))],
                            [np.zeros((len(chain.up) - even, even)), chain.ising[1]]]), ising),
        "x": (np.diag(chain.total_x), x),
        "z": (np.block([[np.zeros((even, even)), chain.total_z.T],
                        [chain.total_z, np.zeros((len(chain.up) - even,) * 2)]]), z),
    }  # fmt: skip
    for name, (matrix, full) in mine.items():
        inside = space.T @ full @ space
        size = np.linalg.norm(full, 2)
        np.testing.assert_allclose(
            np.linalg.eigvalsh(matrix), np.linalg.eigvalsh(inside), atol=tol(float, 8 * size), err_msg=name
        )
        for other, (second, dense_second) in mine.items():
            product = np.trace(inside @ space.T @ dense_second @ space).real
            scale = np.linalg.norm(matrix) * np.linalg.norm(second)
            np.testing.assert_allclose(np.trace(matrix @ second), product, atol=tol(float, 8 * scale), err_msg=name + other)
