"""How maxima over time move: value, time and work of max_power and max_work against polished maxima of dense matrices."""

import functools

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import systems
from conftest import tol
from test_gradients import QUICK, Case, N, numbers
from test_maxima import TIME_ACCURACY, Brute

import jaxbatt as jb

NAMES = ("power", "time", "work")
STEP = 0.001
"""Of finite differences, as a phase. The time of a flat maximum bends more than a curve does."""


class Exact:
    """The maximum of a case, refined from where it was found, as a function of its numbers."""

    def __init__(self, case, objective, found, edge=None):
        self.case, self.objective, self.found = case, objective, float(found)
        self.edge = edge
        """Fraction of the duration at which the maximum stays, where it does."""

    def brute(self, numbers):
        energy, charging = self.case.hamiltonians(numbers)
        durations = np.full(len(charging), numbers["duration"] / len(charging)) if self.case.pieces else None
        return Brute(systems.System("", None, None, energy, charging, durations, dense.all_down(N)))

    def __call__(self, numbers):
        """(power, time, work)."""
        brute = self.brute(numbers)
        if self.edge is not None:
            time = self.edge * numbers["duration"]
        else:
            time = brute.polish(self.objective, 0.98 * self.found, 1.02 * self.found)
        work = brute.work(time)[0]
        return np.array([work / time, time, work])

    def change(self, brute, time):
        """|W''|, by which the slope of the work, or that of the power times T, changes."""
        step = 1e-5 * time
        return abs(brute.work_slope(time + step) - brute.work_slope(time - step)) / (2 * step)

    def check(self, found, tolerance=1e-10):
        """``found``: {name of power, time, work: {name of a number: derivative}}.

        The time is good to TIME_ACCURACY, and a derivative at a time is off by as much as it changes until the other; that of
        the time is the one of the slope, (W' T - W) or W', over its own slope.
        """
        at, brute = self.case.numbers, self.brute(self.case.numbers)
        _, time, _ = self(at)
        np.testing.assert_allclose(self.found, time, rtol=TIME_ACCURACY)
        size = np.linalg.norm(brute.system.energy, 2) + brute.bandwidth
        units = self.case.units() | {"duration": brute.bandwidth / at["duration"]}
        units["amplitudes"] = 1.0 if np.shape(at["amplitudes"])[-1:] == (N,) else float(N)
        steps = {name: STEP / (unit * time) for name, unit in units.items()}
        expected = dense.central_differences(self, at, steps)
        allowed = 8 * tolerance + TIME_ACCURACY + tol(float, (1 + size * time) / STEP)
        for name, unit in units.items():
            work_error = allowed * size * unit * (1 + time)
            time_error = tol(float, 1 / STEP) if self.edge is not None else work_error * size / self.change(brute, time)
            slope = abs(brute.work_slope(time))
            errors = {"power": work_error / time, "time": time_error, "work": work_error + slope * time_error}
            for k, quantity in [(k, quantity) for k, quantity in enumerate(NAMES) if quantity in found]:
                np.testing.assert_allclose(
                    np.reshape(found[quantity][name], -1),
                    expected[name][:, k],
                    rtol=0,
                    atol=errors[quantity],
                    err_msg=f"{quantity} {name}",
                )


def peak_of(case, solver, objective, numbers, horizon):
    search = jb.max_power if objective == "power" else functools.partial(jb.max_work, horizon=horizon)
    return search(case.battery(numbers), case.protocol(numbers), solver=solver)


def compiled(case, solver, objective="power"):
    """(numbers, horizon) to the peak, and {quantity: derivatives with respect to the numbers, and to the horizon}."""

    def chosen(numbers, horizon, weights):
        peak = peak_of(case, solver, objective, numbers, horizon)
        return sum(weights[name] * getattr(peak, name) for name in NAMES), peak

    gradient = jax.jit(jax.grad(chosen, argnums=(0, 1), has_aux=True), compiler_options=QUICK)

    def run(numbers, horizon=1.0):
        found = {}
        for quantity in NAMES:
            found[quantity], peak = gradient(numbers, horizon, {name: float(name == quantity) for name in NAMES})
        assert peak.certified
        assert peak.info.valid
        return peak, {quantity: by for quantity, (by, _) in found.items()}, {quantity: by for quantity, (_, by) in found.items()}

    return run


@functools.cache
def constant(solver, objective="power"):
    return compiled(CONSTANT["random"], solver, objective)


SOLVERS = [jb.StateVector(), jb.Spectral()]
CONSTANT = {
    "random": Case(numbers(21, [1.7, 0.6, -1.1])),
    "Ising": Case(numbers(22, [0.3, 0.4, 0.2], factors=[0, 0, 1])),
    "equal eigenvalues": Case(numbers(23, [1.6] * 3, field=[1.0] * 3, pairs=[0.7] * 3, factors=[0.2, 0.2, 1])),
    "one fast spin of little energy": Case(numbers(24, [6.0, 0.6, 0.5], field=[0.2, 3.0, 3.0], pairs=[0.1, 0.05, 0.15])),
}


@pytest.mark.parametrize("name", CONSTANT)
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_max_power(solver, name):
    """dP by the envelope theorem, dT by the implicit function theorem, dW by both."""
    case = CONSTANT[name]
    peak, found, _ = constant(solver)(case.numbers)
    Exact(case, "power", peak.time).check(found)


def test_max_power_in_the_ladder():
    case = Case(numbers(25, 1.6, field=1.1, pairs=0.7, factors=[0.3, 0.3, 1.2]))
    peak, found, _ = compiled(case, jb.Collective())(case.numbers)
    Exact(case, "power", peak.time).check(found)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
def test_xxx(solver):
    """P = 1.449222707553417 N omega B at omega T = 1.165561185207211, whatever the couplings are."""
    omega, field = 1.3, 0.8
    case = Case(numbers(26, [omega] * N, factors=[1, 1, 1], field=[field] * N))
    _, found, _ = constant(solver)(case.numbers)
    exact = {"power": 1.449222707553417 * N * omega * field, "time": 1.165561185207211 / omega}
    exact["work"] = exact["power"] * exact["time"]
    # The power moves with the field and with omega, the time with 1 / omega, the work with the field.
    by_field = {"power": exact["power"] / field, "time": 0, "work": exact["work"] / field}
    by_omega = {"power": exact["power"] / omega, "time": -exact["time"] / omega, "work": 0}
    for quantity in NAMES:
        error = TIME_ACCURACY * N * (field + omega + case.numbers["pairs"].sum()) ** 2
        np.testing.assert_allclose(found[quantity]["field"].sum(), by_field[quantity], rtol=0, atol=error)
        np.testing.assert_allclose(found[quantity]["amplitudes"].sum(), by_omega[quantity], rtol=0, atol=error)
        np.testing.assert_allclose(found[quantity]["pairs"], 0, atol=error)


def test_max_work():
    """A maximum before the horizon does not move with it; one at the horizon is W there."""
    case = CONSTANT["random"]
    search = constant(jb.Spectral(), "work")
    peak, found, by_horizon = search(case.numbers, 4.0)
    assert peak.time < 3.9
    Exact(case, "work", peak.time).check(found)
    np.testing.assert_array_equal(list(by_horizon.values()), 0)

    horizon = 0.5 * float(peak.time)
    peak, found, by_horizon = search(case.numbers, horizon)
    np.testing.assert_array_equal(peak.time, horizon)
    exact = Exact(case, "work", horizon, edge=horizon / case.numbers["duration"])
    # A constant field has no duration: the number of that name is where the dense matrices see the horizon.
    exact.check({quantity: by | {"duration": by_horizon[quantity] * exact.edge} for quantity, by in found.items()})


KINK = np.array([[1.2] * N, [-1.2] * N, [0.4] * N])
PIECES = {
    # name: (amplitudes, duration, fraction of the duration at which the maximum stays)
    "inside": (np.array([[0.2, 0.1, 0.0], [1.5, 1.2, 1.4], [-0.3, 0.2, 0.1]]), 0.9, None),
    "where the field turns": (KINK, 0.6, 1 / 3),
    "where the field ends": (np.full((3, N), 0.6), 0.2, 1.0),
}


def test_max_work_over_a_traced_duration():
    """Isotropic spins under u: W = 4 sin^2(u t) rises to the end of the field, so dW/dT = 4 u sin(2 u T) and dt/dT = 1."""
    battery = jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0), 1.0)
    u, duration = 0.5, 1.3

    def peak(duration):
        found = jb.max_work(battery, jb.PiecewiseField(jnp.full(2, u), duration), solver=jb.Spectral())
        return jnp.stack([found.work, found.time]), found.work

    slopes, work = jax.jit(jax.jacrev(peak, has_aux=True), compiler_options=QUICK)(duration)
    np.testing.assert_allclose(work, 4 * np.sin(u * duration) ** 2, rtol=tol(float, 10))
    np.testing.assert_allclose(slopes, [4 * u * np.sin(2 * u * duration), 1.0], rtol=tol(float, 100))
    with pytest.raises(ValueError, match="the field never ends"):
        jax.jit(lambda omega: jb.max_work(battery, jb.ConstantField(omega)).work)(1.0)


@pytest.mark.parametrize("name", PIECES)
def test_max_power_of_pieces(name):
    amplitudes, duration, edge = PIECES[name]
    case = Case(numbers(27, amplitudes, duration=duration), pieces=True)
    peak, found, _ = pieces()(case.numbers)
    Exact(case, "power", peak.time, edge).check(found)


@functools.cache
def pieces():
    return compiled(Case(numbers(27, KINK), pieces=True), jb.Spectral())


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, -1e-4, -1e-2])
def test_maximum_beside_an_edge(distance):
    """The pieces of this field are alike, so that nothing depends on where one ends; not the accuracy either."""
    omega = 1.3
    time = 1.165561185207211 / omega
    case = Case(numbers(28, np.full((3, N), omega), factors=[1, 1, 1], duration=3 * time * (1 + distance)), pieces=True)
    peak, found, _ = pieces()(case.numbers)
    np.testing.assert_allclose(peak.time, time, rtol=TIME_ACCURACY)
    np.testing.assert_allclose(found["time"]["amplitudes"].sum(), -time / omega, rtol=1e3 * TIME_ACCURACY)
    np.testing.assert_allclose(found["time"]["duration"], 0, atol=1e3 * TIME_ACCURACY)


# --- T = 0, and no field


@pytest.mark.parametrize("solver", [jb.Spectral(), jb.StateVector()], ids=["Spectral", "StateVector"])
def test_power_that_is_greatest_at_once(solver):
    """<Z> = sin(2 omega t) from (up + i down) / sqrt(2), so that P is at most W'(0) = 2 B omega, at T = 0."""

    def chosen(field, omega, weights):
        energy, nothing = jb.PauliSum.from_terms(1, [("Z", (0,), field)]), jb.PauliSum.from_terms(1, [])
        battery = jb.PauliBattery(energy, nothing, 1, initial_state=np.array([1, 1j]) / np.sqrt(2))
        peak = jb.max_power(battery, jb.ConstantField(omega), solver=solver)
        return sum(weights[k] * getattr(peak, quantity) for k, quantity in enumerate(NAMES)), peak

    gradient = jax.jit(jax.grad(chosen, argnums=(0, 1), has_aux=True), compiler_options=QUICK)
    by, peak = gradient(0.8, 1.3, np.array([1.0, 0, 0]))
    assert peak.time == 0
    error = TIME_ACCURACY
    np.testing.assert_allclose([peak.power, *by], [2 * 0.8 * 1.3, 2 * 1.3, 2 * 0.8], rtol=error)
    for weights in (np.array([0, 1.0, 0]), np.array([0, 0, 1.0])):
        np.testing.assert_allclose(gradient(0.8, 1.3, weights)[0], 0, atol=tol(float, 10))


@pytest.mark.parametrize("first", [False, True], ids=["greatest", "first"])
@pytest.mark.parametrize("solver", [jb.Spectral(), jb.StateVector()], ids=["Spectral", "StateVector"])
def test_power_that_is_never_positive(solver, first):
    """<Z> = sin(2 omega t) < 0 with omega < 0 up to the end of the field: P = 0 there and nearby, though W'(0) is not."""

    def power(field, omega, duration):
        battery = jb.SpinBattery(field, np.zeros((1, 1)), initial_state=np.array([1, 1j]) / np.sqrt(2))
        protocol = jb.PiecewiseField(jnp.stack([omega, 1.1 * omega]), duration)
        return jb.max_power(battery, protocol, solver=solver, first_peak=first).power

    value, by = jax.jit(jax.value_and_grad(power, argnums=(0, 1, 2)), compiler_options=QUICK)(0.8, -1.3, 0.5)
    np.testing.assert_array_equal([value, *by], 0)


def test_without_a_field():
    """P = 0 whatever the battery is; with |omega| it grows on either side, and 0 lies between the slopes."""
    peak, found, _ = constant(jb.Spectral())(numbers(29, np.zeros(3), factors=[0.4, 0.4, 1]))
    np.testing.assert_allclose([peak.power, peak.work], 0, atol=tol(float, 10))
    for quantity, by in found.items():
        for name, value in by.items():
            np.testing.assert_allclose(value, 0, atol=TIME_ACCURACY, err_msg=f"{quantity} {name}")


# --- batches


def powers(solver, numbers):
    return peak_of(CONSTANT["random"], solver, "power", numbers, None).power


@pytest.mark.parametrize("order", ["vmap of grad", "grad of vmap"])
def test_batches(order):
    """A search that takes one window beside one that takes many; the power alone is differentiated."""
    drawn = jax.tree.map(lambda *x: jnp.stack(x), *(case.numbers for case in CONSTANT.values()))
    one = functools.partial(powers, jb.StateVector() if order == "vmap of grad" else jb.Spectral())
    if order == "vmap of grad":
        gradient = jax.vmap(jax.value_and_grad(one))
    else:
        gradient = jax.grad(lambda numbers: (lambda x: (x.sum(), x))(jax.vmap(one)(numbers)), has_aux=True)
    found = jax.jit(gradient, compiler_options=QUICK)(drawn)
    found = found[1] if order == "vmap of grad" else found[0]
    for i, case in enumerate(CONSTANT.values()):
        time = jb.max_power(case.battery(case.numbers), case.protocol(case.numbers), solver=jb.Spectral()).time
        Exact(case, "power", time).check({"power": {key: value[i] for key, value in found.items()}})
