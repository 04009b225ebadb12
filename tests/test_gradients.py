"""Derivatives of the charging curve against dense matrices and closed forms, for every solver.

The loss is a random weighted sum of work, power and magnetization at 30 times: zero and others again and again, more of them
than one segment of the adjoint holds, edges of pieces, and some that do not count.
"""

import dataclasses
import functools
import re

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from conftest import tol
from systems import STEP, Case, PauliCase
from test_solvers import compilations

import jaxbatt as jb

N, TIMES, WEIGHTS = systems.N, systems.MANY_TIMES, systems.WEIGHTS
DRAW = np.random.default_rng(1906)
QUICK = {"xla_backend_optimization_level": 0}
"""Compiles in half the time; the program is the same."""


def one_weight(m, **values):
    """Weights of a loss that is one number of the curve, at times[m]."""
    chosen = jax.tree.map(np.zeros_like, WEIGHTS)
    for name, value in values.items():
        chosen[name][m] = value
    return chosen


# --- cases


def numbers(seed, amplitudes, *, duration=2.4, state=None, **others):
    rng = np.random.default_rng(seed)
    drawn = {"field": rng.uniform(0.6, 1.4, N), "pairs": rng.uniform(0.3, 1.7, 3), "factors": np.array([0.3, -0.8, 1.2])}
    drawn |= {"amplitudes": np.asarray(amplitudes, float), "duration": np.asarray(duration)}
    if state is not None:
        psi = systems.random_state(rng, N)
        drawn["state"] = np.stack([psi.real, psi.imag]) if state == "complex" else psi.real / np.linalg.norm(psi.real)
    return drawn | {name: np.asarray(value, float) for name, value in others.items()}


def on_edges(count, duration=2.4):
    """The times, with those that are multiples of duration / count as edges: they move with the duration."""
    piece = np.rint(TIMES * count / 2.4)
    here = np.isclose(TIMES, piece * 2.4 / count) & (TIMES > 0)
    return {"times": np.where(here, 0, TIMES * duration / 2.4), "edges": np.where(here, piece / count, 0), "pieces": True}


THREE = DRAW.normal(size=(3, 3))
CONSTANT = {
    "random": Case(numbers(1, DRAW.normal(size=3))),
    "Ising": Case(numbers(2, [1.2, 0.4, -0.9], factors=[0, 0, 1])),
    "equal eigenvalues": Case(numbers(3, [1.6] * 3, field=[1.0] * 3, pairs=[0.7] * 3, factors=[0.2, 0.2, 1])),
    "end spins": Case(numbers(4, [1.5, 0.0, 1.5])),
    "no couplings": Case(numbers(5, [0.7, 1.1, 1.9], pairs=[0] * 3)),
    "eigenstate, no field": Case(numbers(6, [0, 0, 0], factors=[0.4, 0.4, 1])),
    "seven series": Case(numbers(7, DRAW.normal(size=3)), times=120 * TIMES),
}
"""Fields along x, one amplitude for each spin, from all spins down: one compilation serves them all."""
CHAINS = {
    "real state, z": Case(numbers(9, 0.8, state="real"), axis="z"),
    "pieces": Case(numbers(10, THREE), **on_edges(3)),
    "long pieces, complex state, y": Case(
        numbers(11, THREE, duration=300.0, state="complex"), axis="y", kept=True, **on_edges(3, 300.0)
    ),
    "twenty pieces, interactions off, from up": Case(
        numbers(12, DRAW.normal(size=20)), start="up", kept=True, interacting=False, **on_edges(20)
    ),
}
MORIYA = tuple(term[:2] for term in systems.dzyaloshinskii_moriya(3, 1.0))
ISING = (("ZZ", (0, 1)), ("ZZ", (1, 2)), ("XX", (0, 2)))
MOMENTS = tuple(("Z", (i,)) for i in range(3))
MIXED = tuple((letters, (0, 1, 2)) for letters in ("XYZ", "YYX", "ZIY", "YXI", "XXX"))


def pauli_numbers(energy, drift, amplitudes, state=None):
    drawn = numbers(13, amplitudes, state=state)
    strengths = {"energy": DRAW.normal(size=len(energy)), "drift": DRAW.normal(size=len(drift))}
    return {name: drawn[name] for name in drawn if name not in ("field", "pairs", "factors")} | strengths


def pauli_case(energy, drift, amplitudes, state=None, **options):
    return PauliCase(pauli_numbers(energy, drift, amplitudes, state), energy=energy, drift=drift, **options)


PAULIS = {
    "Dzyaloshinskii-Moriya": pauli_case(MOMENTS + ISING + MORIYA, ISING + MORIYA, 1.2),
    "mixed strings, pieces": pauli_case(MIXED, MIXED[1:] + MORIYA[:1], THREE, "complex", **on_edges(3)),
}


# --- the package


def loss_of(case, solver, numbers, times, edges, weights):
    """The loss by the package; of the case only what is static is used. Also whether the curve is valid."""
    moments = times + edges * numbers["duration"]
    curve = jb.charge(case.battery(numbers), case.protocol(numbers), moments, solver=solver)
    return sum(jnp.sum(weights[name] * getattr(curve, name)) for name in weights), curve.info.valid


def compiled(case, solver, known=(), batch=None):
    """jit(grad) of the loss, for all cases that differ by numbers only; or jit(vmap(grad)).

    The ``known`` numbers are those of the case, and JAX does not trace them: strings that vanish are left out.
    """
    fixed = {name: case.numbers[name] for name in known}

    def loss(numbers, times, edges, weights):
        return loss_of(case, solver, numbers | fixed, times, edges, weights)

    gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    return jax.jit(jax.vmap(gradient, in_axes=batch) if batch else gradient, compiler_options=QUICK)


@functools.cache
def constant(solver):
    return compiled(CONSTANT["random"], solver)


@functools.cache
def pieces():
    return compiled(CHAINS["pieces"], jb.StateVector())


def found_by(gradient, case, weights=WEIGHTS, known=()):
    """{name: derivative}; they keep the precision of the numbers."""
    unknown = {name: value for name, value in case.numbers.items() if name not in known}
    (value, valid), (by_number, by_time) = gradient(unknown, case.times, case.edges, weights)
    assert valid
    assert {leaf.dtype for leaf in jax.tree.leaves((value, by_number, by_time))} == {np.dtype(float)}
    return by_number | {"times": by_time}


def stacked(cases):
    """What a compiled gradient takes, of cases in a batch."""
    return jax.tree.map(lambda *x: np.stack(x), *((case.numbers, case.times, case.edges) for case in cases))


# --- against dense matrices


@pytest.mark.parametrize("name", CONSTANT)
def test_constant_field(name):
    CONSTANT[name].check(found_by(constant(jb.StateVector()), CONSTANT[name]))


@pytest.mark.parametrize("name", CHAINS | PAULIS)
def test_any_battery(name):
    case = (CHAINS | PAULIS)[name]
    case.check(found_by(pieces() if name == "pieces" else compiled(case, jb.StateVector()), case))


@pytest.mark.parametrize("axis", "xy")
def test_one_known_string_for_all_spins(axis):
    """Known Ising couplings and one amplitude: its derivative is one product, not one for each string."""
    case, known = Case(numbers(2, 0.9, factors=[0, 0, 1]), axis=axis), ("field", "pairs", "factors")
    case.check(found_by(compiled(case, jb.StateVector(), known), case, known=known))


CROWDED = {
    # What ends at k / K of the duration, and what lies between.
    "nine at the end": (np.repeat([0.1, 1.0], [21, 9]), None),
    "nine at the first edge, none later": (np.repeat([0.0, 0.1, 1 / 3], [3, 18, 9]), None),
    "nine up to each edge": (np.repeat([0.2, 1 / 3, 0.5, 2 / 3, 0.9, 1.0], [8, 1, 8, 1, 8, 4]), None),
    "only one counts": (np.repeat([1 / 3, 2 / 3, 1.0], 10), 15),
    "all at edges": (np.repeat([1 / 3, 2 / 3, 1.0], 10), None),
}


@pytest.mark.parametrize("name", CROWDED)
def test_more_times_at_an_edge_than_a_segment_holds(name):
    """Where the field jumps, the derivatives with respect to the times and to the duration share what depends on the edge."""
    fractions, m = CROWDED[name]
    at_edge = np.isclose(3 * fractions, np.rint(3 * fractions)) & (fractions > 0)
    case = dataclasses.replace(
        CHAINS["pieces"], times=np.where(at_edge, 0, 2.4 * fractions), edges=np.where(at_edge, np.rint(3 * fractions) / 3, 0)
    )
    weights = WEIGHTS if m is None else one_weight(m, work=1.0, magnetization=[0.3, -0.7, 1.1])
    case.check(found_by(pieces(), case, weights), weights=weights)


def test_each_of_six_spins():
    """Spins without couplings: W = 2 sum_i B_i sin^2(omega_i t), each field and amplitude with its own share."""
    rng, times, nothing = np.random.default_rng(19), np.linspace(0.1, 2.0, 10), np.zeros((6, 6))
    fields, omegas = rng.uniform(0.5, 1.5, 6), rng.uniform(-2, 2, 6)

    def work(fields, omegas):
        battery = jb.SpinBattery(fields, nothing, 0.3, initial_state="down")
        return jb.charge(battery, jb.ConstantField(omegas), times, solver=jb.StateVector()).work.sum()

    found = jax.jit(jax.grad(work, argnums=(0, 1)), compiler_options=QUICK)(fields, omegas)
    phases = np.outer(omegas, times)
    error = 8e-10 * 10 * 2 * (fields.sum() + np.abs(omegas).sum())
    np.testing.assert_allclose(found[0], 2 * np.sum(np.sin(phases) ** 2, axis=1), rtol=0, atol=error)
    np.testing.assert_allclose(found[1], 2 * fields * np.sum(times * np.sin(2 * phases), axis=1), rtol=0, atol=error)


SOLVERS = {
    "Krylov": (jb.StateVector(jb.Krylov(dim=5)), 1e-10, float),
    "Taylor": (jb.StateVector(jb.Taylor()), 1e-10, float),
    "Spectral": (jb.Spectral(), 1e-12, float),
    "complex64": (jb.StateVector(jb.Chebyshev(1e-4), jnp.complex64), 1e-4, np.float32),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers(name):
    """Each has the derivatives of the dense matrices to its tolerance, and so those of the others."""
    solver, tolerance, dtype = SOLVERS[name]
    for case in (CONSTANT["random"], CONSTANT["equal eigenvalues"], CONSTANT["eigenstate, no field"]):
        case.check(found_by(constant(solver), case), tolerance, dtype)


UNIFORM = Case(numbers(14, np.repeat([[1.6], [-0.5], [0.9]], N, 1), field=[1.1] * N, pairs=[0.7] * 3),
               axis="y", kept=True, start="up", **on_edges(3))  # fmt: skip


@functools.cache
def ladder():
    return compiled(UNIFORM, jb.Collective())


def test_collective():
    """In the ladder: with respect to the one field, coupling and amplitude that all spins share."""
    found = found_by(ladder(), UNIFORM)
    found |= {"field": found["field"].sum(), "pairs": found["pairs"].sum(), "amplitudes": found["amplitudes"].sum(axis=1)}
    at = UNIFORM.numbers
    shared = at | {"field": at["field"][0], "pairs": at["pairs"][0], "amplitudes": at["amplitudes"][:, 0]}
    dataclasses.replace(UNIFORM, numbers=shared).check(found)


def test_collective_one_spin_at_a_time():
    """All spins are alike, so that each field, coupling and amplitude has its own share of the derivative."""
    UNIFORM.check(found_by(ladder(), UNIFORM))


def test_collective_that_does_not_apply_has_no_derivative():
    """A field that is not uniform, which cannot be seen while it is traced."""
    at = UNIFORM.numbers | {"field": np.array([1.1, 1.1, 1.2])}
    (value, valid), found = ladder()(at, UNIFORM.times, UNIFORM.edges, WEIGHTS)
    assert not valid
    for leaf in jax.tree.leaves((value, found)):
        assert np.all(np.isnan(leaf))


@pytest.mark.parametrize("name", PAULIS)
def test_single_precision_of_strings_that_are_flipped(name):
    solver, tolerance, dtype = SOLVERS["complex64"]
    case = PAULIS[name]
    case.check(found_by(compiled(case, solver), case), tolerance, dtype)


@pytest.mark.parametrize("name", ["random", "pieces"])
def test_real_arithmetic(name):
    """The first segment stays real where state and Hamiltonian are; and a tight tolerance is met."""
    case = (CONSTANT | CHAINS)[name]
    solver = jb.StateVector(jb.Chebyshev(1e-13))
    problem = solver.prepare(case.battery(case.numbers), case.protocol(case.numbers))
    assert solver.evolve(problem).system.initial_rows().shape == (1, 2**N)
    gradient = compiled(case, solver)
    for weights in (WEIGHTS, one_weight(5, work=1.0, power=1.0), one_weight(29, work=1.0, magnetization=1.0)):
        case.check(found_by(gradient, case, weights), 1e-13, weights=weights)


@pytest.mark.parametrize("m", [0, 12, 20, 29])
def test_one_time_of_many(m):
    """A loss on one time only, among zeros, in the middle, among equals, at the end; the others take no part."""
    case, weights = CONSTANT["random"], one_weight(m, work=1.0, magnetization=[0.3, -0.7, 1.1])
    found = found_by(constant(jb.StateVector()), case, weights)
    case.check(found, weights=weights)
    assert np.all(np.delete(found["times"], m) == 0)


# --- batches


def test_vmap_of_grad():
    """Batteries of which one takes seven series and the others one."""
    gradient = compiled(CONSTANT["random"], jb.StateVector(), batch=(0, 0, 0, None))
    (_, valid), (by_number, by_time) = gradient(*stacked(CONSTANT.values()), WEIGHTS)
    assert np.all(valid)
    for i, case in enumerate(CONSTANT.values()):
        case.check({name: value[i] for name, value in by_number.items()} | {"times": by_time[i]})


def test_grad_of_vmap():
    """One field for two batteries: the derivative of the sum of their losses is the sum of their derivatives."""
    pair = [CHAINS["pieces"], dataclasses.replace(CHAINS["pieces"], numbers=numbers(15, THREE))]
    shared = {name: pair[0].numbers[name] for name in ("amplitudes", "duration")}
    numbers_each, times, edges = stacked(pair)

    def loss(shared, times):
        def one(numbers, times, edges):
            return loss_of(pair[0], jb.StateVector(), numbers | shared, times, edges, WEIGHTS)[0]

        own = {name: value for name, value in numbers_each.items() if name not in shared}
        return jax.vmap(one)(own, times, edges).sum()

    by_shared, by_time = jax.jit(jax.grad(loss, argnums=(0, 1)), compiler_options=QUICK)(shared, times)
    single = [found_by(pieces(), case) for case in pair]
    rounding = tol(float, 1e4)  # sums of hundreds of terms of size 10 or so, with phases of 10
    for name in shared:
        np.testing.assert_allclose(by_shared[name], sum(found[name] for found in single), rtol=0, atol=rounding)
    np.testing.assert_allclose(by_time, [found["times"] for found in single], rtol=0, atol=rounding)


# --- closed forms


def close(found, expected, case):
    """To the tolerance of the state times the size of what is derived."""
    charger = np.abs(case.numbers["amplitudes"]).sum() + 3 * np.abs(case.numbers["pairs"]).sum()
    scale = (N + charger) * (1 + case.moments[-1]) * (1 + charger)
    np.testing.assert_allclose(found, expected, rtol=0, atol=(8e-10 + tol(float, 1 + charger * case.moments[-1])) * scale)


def test_xxx():
    """W = 2 sum_i B_i sin^2(omega t) for any couplings."""
    omega, m = 1.3, 22
    case = Case(numbers(16, [omega] * N, factors=[1, 1, 1], field=[0.8] * N))
    found, t = found_by(constant(jb.StateVector()), case, one_weight(m, work=1.0)), TIMES[m]
    close(found["field"], 2 * np.sin(omega * t) ** 2 * np.ones(N), case)
    close(found["pairs"], np.zeros(3), case)
    close(found["amplitudes"].sum(), 2 * N * 0.8 * t * np.sin(2 * omega * t), case)
    close(found["times"][m], 2 * N * 0.8 * omega * np.sin(2 * omega * t), case)


def test_interactions_off():
    """Eq. 18: W = 2 B N sin^2(omega t) + (1 - alpha) G sin^2(2 omega t), with alpha the factor of Y and jz = 1."""
    omega, alpha, m = 1.3, 0.4, 22
    case = Case(numbers(17, omega, factors=[alpha, alpha, 1], field=0.8), interacting=False)
    found, t = found_by(compiled(case, jb.StateVector()), case, one_weight(m, work=1.0)), TIMES[m]
    total, once, twice = case.numbers["pairs"].sum(), np.sin(omega * t) ** 2, np.sin(2 * omega * t) ** 2
    close(found["field"], 2 * N * once, case)
    close(found["pairs"], (1 - alpha) * twice * np.ones(3), case)
    close(found["factors"], total * twice * np.array([0, -1, 1]), case)
    change = 2 * 0.8 * N * np.sin(2 * omega * t) + 2 * (1 - alpha) * total * np.sin(4 * omega * t)
    close(found["amplitudes"], t * change, case)
    close(found["times"][m], omega * change, case)


def test_ising_pair():
    """Physics.md 3.3 for two of the spins, which the third one neither meets nor follows."""
    m, g, omega = 22, 0.9, 1.3
    drawn = numbers(18, [omega, omega, 0], factors=[0, 0, 1], pairs=[g, 0, 0], field=[0.8] * N)
    case = Case(drawn)
    found = found_by(constant(jb.StateVector()), case, one_weight(m, work=1.0))

    def work(values):
        b, g, omega, t = (values[name] for name in ("b", "g", "omega", "t"))
        d = np.sqrt(g**2 + 4 * omega**2)
        turned = 1 - np.cos(d * t) * np.cos(g * t) - g / d * np.sin(d * t) * np.sin(g * t)
        return 2 * b * turned + 4 * g * omega**2 / d**2 * np.sin(d * t) ** 2

    at = {"b": 0.8, "g": g, "omega": omega, "t": TIMES[m]}
    expected = dense.central_differences(work, at, dict.fromkeys(at, STEP / 3))
    close(found["field"][:2].sum(), expected["b"], case)
    close(found["pairs"][0], expected["g"], case)
    close(found["amplitudes"][:2].sum(), expected["omega"], case)
    close(found["times"][m], expected["t"], case)


# --- degenerate and invalid


def test_nothing_happened_yet():
    """At t = 0 only the times matter: nothing else moves the result, and 0 / 0 of the power is 0."""
    case = dataclasses.replace(CONSTANT["random"], times=np.zeros(30))
    found = found_by(constant(jb.StateVector()), case)
    np.testing.assert_allclose(found.pop("times"), case.slopes(WEIGHTS), rtol=0, atol=tol(float, 100))
    for value in found.values():
        np.testing.assert_allclose(value, 0, atol=tol(float, 100))


def test_loss_that_counts_nothing():
    zero = jax.tree.map(np.zeros_like, WEIGHTS)
    for value in found_by(constant(jb.StateVector()), CONSTANT["random"], zero).values():
        np.testing.assert_array_equal(value, 0)


def test_invalid_results_have_no_derivative():
    """Times beyond the field, inside jit: NaN, not zero."""
    case = CHAINS["pieces"]
    (value, valid), (by_number, by_time) = pieces()(case.numbers, 2 * TIMES, 0 * TIMES, WEIGHTS)
    assert not valid
    assert np.isnan(value)
    for name, found in (by_number | {"times": by_time}).items():
        assert np.all(np.isnan(found)), name


SMALL = jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0), 0.3)


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        ("StateVector", jb.StateVector()),
        ("Collective", jb.Collective()),
        ("max_power with Spectral", jb.Spectral()),
        ("max_work with StateVector", jb.StateVector()),
    ],
)
def test_forward_mode_is_refused(name, solver):
    """With the name of what has no forward mode, and the remedy; at once, and inside jit and vmap."""

    def value(omega):
        field = jb.ConstantField(omega)
        if name.startswith("max_power"):
            return jb.max_power(SMALL, field, solver=solver).power
        if name.startswith("max_work"):
            return jb.max_work(SMALL, field, horizon=1.0, solver=solver).work
        return jb.charge(SMALL, field, jnp.array([0.3, 0.7]), solver=solver).work[1]

    words = f"{name} has first derivatives in reverse mode only; use jax.grad"
    for forward in (lambda omega: jax.jvp(value, (omega,), (omega,)), jax.jacfwd(value)):
        with pytest.raises(NotImplementedError, match=re.escape(words)):
            jax.jit(forward).lower(1.0)
        with pytest.raises(NotImplementedError, match=re.escape(words)):
            jax.jit(jax.vmap(forward)).lower(jnp.ones(2))


# --- compilation and memory


def test_new_values_compile_nothing(caplog):
    """The second call of a plain gradient, with other values of the same shapes."""

    def call(scale):
        couplings = scale * np.array([[0, 1, 0.3], [1, 0, 0.6], [0.3, 0.6, 0]])

        def loss(field, couplings, anisotropy, amplitudes, duration):
            battery = jb.SpinBattery(field, couplings, anisotropy, initial_state="down")
            times = duration * np.linspace(0, 1, 11)
            return jb.charge(battery, jb.PiecewiseField(amplitudes, duration), times, solver=jb.StateVector()).work.sum()

        return jax.grad(loss, argnums=(0, 1, 2, 3, 4))(scale, couplings, 0.3 * scale, scale * np.array([1.0, 2.0]), scale)

    assert compilations(caplog, lambda: call(1.0))
    assert compilations(caplog, lambda: call(1.5)) == []
    assert {leaf.dtype for leaf in call(0.5)} == {np.dtype(float)}


def test_memory():
    """A fixed number of states, whatever the number of pieces (16 or 256) and of output times (9 or 101).

    At N = 19, as in larger chains, it was 33 states for one output time and 47 for 9 or more, with couplings and anisotropy
    differentiated; the derivative that JAX makes by itself would hold some 2 for every application of H, thousands.
    """
    n, state = 19, 16 * 2**19

    def states(pieces, count):
        def loss(couplings, anisotropy, amplitudes, duration):
            battery = jb.SpinBattery(1.0, couplings, anisotropy)
            times = duration * jnp.linspace(0, 1, count + 1)[1:]
            return jb.charge(battery, jb.PiecewiseField(amplitudes, duration), times, solver=jb.StateVector()).work[-1]

        gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3)), compiler_options=QUICK)
        lowered = gradient.lower(jb.power_law(n, 1.0, 1.0), 0.3, jnp.ones(pieces), 2.0)
        return lowered.compile().memory_analysis().temp_size_in_bytes / state

    one, few, many = states(16, 1), states(16, 9), states(256, 101)
    assert one < 34
    assert few < 48
    # The amplitudes, times and weights themselves, a few times.
    assert abs(many - few) < 16 * 8 * (256 + 4 * 101) / state + 0.02 * few
