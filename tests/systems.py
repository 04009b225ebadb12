"""Batteries under a protocol, each beside its exact answers from the dense matrices of ``dense.py``."""

import dataclasses
import functools

import dense
import jax
import jax.numpy as jnp
import numpy as np
from conftest import tol

import jaxbatt as jb

TIMES = np.array([0.0, 0.0, 0.05, 0.3, 0.9, 0.9, 1.4, 2.1, 2.5])
"""Zero, repeated and uneven."""


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """What the package is given (battery, protocol), and the same as matrices (energy H_0, one H for each piece)."""

    name: str
    battery: object
    protocol: object
    energy: np.ndarray
    hamiltonians: list
    durations: np.ndarray | None
    initial: np.ndarray

    def states(self, times):
        if self.durations is None:
            return dense.evolve(self.hamiltonians[0], self.initial, times)
        return dense.evolve_piecewise(self.hamiltonians, self.durations, self.initial, times)

    def work(self, times):
        return dense.expectation(self.energy, self.states(times)) - dense.expectation(self.energy, self.initial[None])[0]

    def magnetization(self, times):
        """Mean <X>, <Y>, <Z>, (T, 3)."""
        return dense.magnetization(self.states(times)) / self.battery.n_spins

    @functools.cached_property
    def size(self):
        """||H_0|| + max ||H||, to which errors of the work are in proportion."""
        return np.linalg.norm(self.energy, 2) + max(np.linalg.norm(h, 2) for h in self.hamiltonians)

    def rounding(self, times, dtype=float):
        """How far two correct calculations of the work may differ."""
        return tol(dtype, self.size * (1 + self.size * np.max(times)))

    def check(self, curve, times, tolerance=1e-10):
        """Work, power and magnetization against the dense answer; the error estimate bounds the error, and the tolerance it.

        ``tolerance`` bounds the error of the state, so that of the work is at most 2 tolerance ||H_0 - H||; 8 leaves room
        for norms that are bounded, not computed.
        """
        times = np.asarray(times)
        rounding, error = self.rounding(times), float(curve.info.error)
        work = self.work(times)
        assert curve.info.valid
        assert np.max(np.abs(curve.work - work)) <= error + rounding
        assert error <= 8 * tolerance * self.size + 8 * rounding
        np.testing.assert_allclose(curve.magnetization, self.magnetization(times), rtol=0, atol=2 * tolerance + rounding)
        late = times > 0
        np.testing.assert_array_equal(curve.times, times)
        np.testing.assert_allclose(curve.power[late], curve.work[late] / times[late], rtol=tol(float, 1))
        np.testing.assert_array_equal(curve.power[~late], 0.0)


def spin(name, field, couplings, anisotropy, omega, *, durations=None, axis="x", initial=None, kept=False, interacting=True):
    """A SpinBattery with ``omega`` a scalar or (N,); with ``durations`` K equal pieces and ``omega`` (K,) or (K, N)."""
    battery = jb.SpinBattery(
        field,
        couplings,
        anisotropy,
        initial_state="down" if initial is None else initial,
        field_while_charging=kept,
        interactions_while_charging=interacting,
    )
    protocol = jb.ConstantField(omega, axis) if durations is None else jb.PiecewiseField(omega, np.sum(durations), axis)
    switches = {"axis": axis, "field_while_charging": kept, "interactions_while_charging": interacting}
    hamiltonians = [
        dense.charging_hamiltonian(field, couplings, anisotropy, level, **switches)
        for level in ([omega] if durations is None else omega)
    ]
    start = dense.all_down(len(couplings))
    if isinstance(initial, str):
        start = start if initial == "down" else start[::-1]
    elif initial is not None:
        start = np.asarray(initial, complex)
    return System(name, battery, protocol, dense.hamiltonian_0(field, couplings, anisotropy), hamiltonians, durations, start)


def dense_terms(n, terms):
    """The matrix of (letters, sites, coefficient) triples."""
    total = np.zeros((2**n, 2**n), complex)
    for letters, sites, coefficient in terms:
        factors = [dense.pauli(letter, site, n) for letter, site in zip(letters, sites, strict=True)]
        total += coefficient * functools.reduce(np.matmul, factors, np.eye(2**n))
    return total


def pauli(name, n, energy, drift, omega, *, durations=None, axis="x", initial=None):
    """A PauliBattery from the terms of its H_0 and its drift."""
    sums = (jb.PauliSum.from_terms(n, part) for part in (energy, drift))
    battery = jb.PauliBattery(*sums, n, "down" if initial is None else initial)
    protocol = jb.ConstantField(omega, axis) if durations is None else jb.PiecewiseField(omega, np.sum(durations), axis)
    levels = [omega] if durations is None else omega
    hamiltonians = [dense_terms(n, drift) + dense.field_term(level, n, axis) for level in levels]
    start = dense.all_down(n) if initial is None else np.asarray(initial, complex)
    return System(name, battery, protocol, dense_terms(n, energy), hamiltonians, durations, start)


def random_state(rng, n):
    """A normalized complex state."""
    state = rng.normal(size=2**n) + 1j * rng.normal(size=2**n)
    return state / np.linalg.norm(state)


def random_terms(rng, n, count, letters="IXYZ"):
    """Strings with a letter on every site."""
    return [("".join(rng.choice(list(letters), n)), tuple(range(n)), rng.normal()) for _ in range(count)]


def dzyaloshinskii_moriya(n, strength):
    """strength * sum_i (X_i Y_i+1 - Y_i X_i+1): imaginary in the Z basis, and it changes sign under reflection."""
    return [(letters, (i, i + 1), sign * strength) for i in range(n - 1) for letters, sign in (("XY", 1), ("YX", -1))]


def spin_chains():
    """Three spins, every ingredient of a SpinBattery in turn."""
    rng = np.random.default_rng(2018)
    nn, lr = np.array(jb.nearest_neighbor(3, 0.9)), np.array(jb.power_law(3, 1.1, 1.0))
    any_g, one_g = dense.random_couplings(rng, 3), 0.7 * (np.ones((3, 3)) - np.eye(3))
    triple, fields, halves = (0.3, -0.8, 1.2), np.array([0.7, 1.3, 0.9]), np.array([1.25, 1.25])
    return [
        spin("nearest neighbor", 1.0, nn, 0.4, 1.3),
        spin("long range, Ising", 1.0, lr, 0.0, 2.1),
        spin("long range, one field for each spin", fields, lr, -0.6, np.array([1.2, 0.4, -0.9])),
        spin("random XYZ", fields, any_g, triple, 1.7),
        spin("end spins charged", 1.0, nn, 0.2, np.array([1.5, 0.0, 1.5])),
        spin("field kept", fields, any_g, 0.5, 1.1, kept=True),
        spin("interactions off", 1.2, lr, 0.3, 0.8, interacting=False),
        spin("field kept, interactions off", 1.2, any_g, 0.3, 0.8, kept=True, interacting=False),
        spin("field along y", 1.0, lr, 0.1, 1.4, axis="y"),
        spin("field along z, complex start", fields, any_g, triple, 0.6, axis="z", initial=random_state(rng, 3)),
        spin("complex start", 1.0, lr, 0.3, 1.4, initial=random_state(rng, 3)),
        spin("from all up", 1.0, any_g, 0.3, 1.4, initial="up"),
        spin("two pieces", 1.0, lr, 0.3, np.array([1.7, -0.9]), durations=halves),
        spin("two pieces for each spin", fields, any_g, triple, np.array([[1.7, 0, -0.9], [0.2, 1.1, 0.4]]), durations=halves),
        spin("two pieces, interactions off", fields, any_g, 0.3, np.array([1.7, -0.9]), durations=halves, interacting=False),
        spin("uniform", 1.0, one_g, 0.2, 1.6),
        spin("uniform XYZ, two pieces, field kept", 1.1, one_g, triple, np.array([1.6, 0.5]), durations=halves, kept=True),
    ]


def pauli_batteries():
    """Three spins, Hamiltonians that are no SpinBattery: imaginary ones, strings of many and mixed letters."""
    rng = np.random.default_rng(1712)
    fields = [("Z", (i,), 1.0 + 0.1 * i) for i in range(3)]
    chain = [("ZZ", (0, 1), -0.8), ("ZZ", (1, 2), -0.5), ("XX", (0, 2), 0.3)]
    moriya, halves = dzyaloshinskii_moriya(3, 0.4), np.array([1.25, 1.25])
    return [
        pauli("Dzyaloshinskii-Moriya", 3, fields + chain + moriya, chain + moriya, 1.2),
        pauli("Dzyaloshinskii-Moriya, field along y", 3, fields, chain + moriya, np.array([1.2, 0.0, 0.7]), axis="y"),
        pauli("collective charging", 3, fields, [("XXX", (0, 1, 2), 0.9), ("I", (0,), 0.4)], 0.0),
        pauli("mixed strings", 3, random_terms(rng, 3, 9), random_terms(rng, 3, 9), 0.5, initial=random_state(rng, 3)),
        pauli("mixed strings, two pieces", 3, random_terms(rng, 3, 9), random_terms(rng, 3, 9), np.array([0.5, -1.0]),
              durations=halves),
    ]  # fmt: skip


def clusters(rng, sizes, times, *, scale=1.0):
    """Many spins that fall into small groups without couplings between them, at sites in random order.

    Returns field (N,), couplings (N, N), anisotropy, omega (N,), and the exact work (T,) and mean magnetization (T, 3):
    sums of those of the groups. An answer at a size that dense matrices do not reach.
    """
    n, anisotropy = sum(sizes), (0.3, -0.4, 1.1)
    sites, groups = rng.permutation(n), np.split(np.arange(n), np.cumsum(sizes)[:-1])
    field, omega, couplings = rng.uniform(0.6, 1.4, n), rng.uniform(-1.5, 1.5, n), np.zeros((n, n))
    work, magnetization = 0.0, 0.0
    for group in groups:
        inside = sites[group]
        couplings[np.ix_(inside, inside)] = scale * dense.random_couplings(rng, len(inside))
        one = spin("group", field[inside], couplings[np.ix_(inside, inside)], anisotropy, omega[inside])
        work = work + one.work(times)
        magnetization = magnetization + dense.magnetization(one.states(times)) / n
    return field, couplings, anisotropy, omega, work, magnetization


@functools.cache
def traced_charge(solver, axis="x", *, kept=False, interacting=True, pieces=False, start="down"):
    """jit(charge) as a function of every number of a SpinBattery and its field; one compilation serves them all.

    Arguments: field (N,), couplings (N, N), factors (3,), amplitudes ((N,) or (K, N)), duration, times.
    """

    def run(field, couplings, factors, amplitudes, duration, times):
        battery = jb.SpinBattery(
            field, couplings, factors, initial_state=start, field_while_charging=kept, interactions_while_charging=interacting
        )
        protocol = jb.PiecewiseField(amplitudes, duration, axis) if pieces else jb.ConstantField(amplitudes, axis)
        return jb.charge(battery, protocol, times, solver=solver)

    return jax.jit(run)


def numbers(system, times):
    """The arguments of ``traced_charge`` for a system."""
    battery, protocol = system.battery, system.protocol
    n = battery.n_spins
    levels = protocol.levels if protocol.levels.ndim == 2 else jnp.repeat(protocol.levels[:, None], n, axis=1)
    pieces = system.durations is not None
    duration = jnp.asarray(np.sum(system.durations) if pieces else 1.0)
    field = jnp.broadcast_to(battery.field, (n,))
    return field, battery.couplings, battery.factors, levels if pieces else levels[0], duration, jnp.asarray(times)


# --- derivatives

N, PAIRS = 3, np.triu_indices(3, 1)
STEP = 0.005
"""Of finite differences, as the phase by which it turns the state: with six points the error is (2 STEP)^6 / 140 = 7e-15."""


def _many_times():
    rng = np.random.default_rng(1905)
    times = np.sort(np.concatenate([np.zeros(10), rng.uniform(0.1, 2.4, 6), np.full(10, 0.8), [1.2, 1.2, 2.2, 2.4]]))
    weights = {"work": rng.normal(size=30), "power": rng.normal(size=30), "magnetization": rng.normal(size=(30, 3))}
    for weight in weights.values():
        weight[[3, 12, 20]] = 0.0
    return times, weights


MANY_TIMES, WEIGHTS = _many_times()
"""Ten times zero and ten times 0.8: more than the 8 outputs of a segment; and the weights of the loss, of which some are zero."""


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A SpinBattery and its field as plain numbers, and the exact derivatives of the loss.

    Attributes:
        numbers: what is differentiated: field () or (N,), pairs () or (3,) of g_ij with i < j, factors (3,), amplitudes ()
            or (N,), or with ``pieces`` (K,) or (K, N), duration, and where the battery does not start from ``start`` its
            state, (d,) or, as real and imaginary part, (2, d).
        times: (30,) output times, but for
        edges: (30,) what is added to them, in units of the duration: k / K to lie on an edge, and move with it.
    """

    numbers: dict
    axis: str = "x"
    kept: bool = False
    interacting: bool = True
    start: str = "down"
    pieces: bool = False
    times: np.ndarray = dataclasses.field(default_factory=lambda: MANY_TIMES)
    edges: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(30))

    def hamiltonians(self, numbers):
        """H_0, and H on every piece."""
        couplings = np.zeros((N, N))
        couplings[PAIRS] = numbers["pairs"]
        parts = numbers["field"], couplings, numbers["factors"]
        switches = {"axis": self.axis, "field_while_charging": self.kept, "interactions_while_charging": self.interacting}
        levels = numbers["amplitudes"] if self.pieces else [numbers["amplitudes"]]
        return dense.hamiltonian_0(*parts), [dense.charging_hamiltonian(*parts, level, **switches) for level in levels]

    def units(self):
        """Bounds of what a unit of each number adds to a Hamiltonian."""
        strength = np.abs(np.broadcast_to(self.numbers["pairs"], 3)).sum()
        return {
            "field": 1.0 if np.ndim(self.numbers["field"]) else float(N),
            "pairs": np.abs(self.numbers["factors"]).sum() * (1.0 if np.ndim(self.numbers["pairs"]) else 3.0),
            "factors": max(strength, 1.0),
        }

    def battery(self, numbers):
        pairs = numbers["pairs"]
        if np.ndim(pairs) == 0:
            couplings = jb.power_law(N, pairs, 0.0)
        elif isinstance(pairs, np.ndarray):  # known, not traced
            couplings = np.zeros((N, N))
            couplings[PAIRS] = couplings.T[PAIRS] = pairs
        else:
            couplings = jnp.zeros((N, N)).at[PAIRS].set(pairs)
            couplings = couplings + couplings.T
        return jb.SpinBattery(
            numbers["field"],
            couplings,
            numbers["factors"],
            initial_state=self.initial(numbers),
            field_while_charging=self.kept,
            interactions_while_charging=self.interacting,
        )

    # The rest holds for any battery.

    def initial(self, numbers):
        if "state" not in numbers:
            return self.start
        state = numbers["state"]
        return state if state.ndim == 1 else state[0] + 1j * state[1]

    def protocol(self, numbers):
        if self.pieces:
            return jb.PiecewiseField(numbers["amplitudes"], numbers["duration"], self.axis)
        return jb.ConstantField(numbers["amplitudes"], self.axis)

    @property
    def moments(self):
        return self.times + self.edges * self.numbers["duration"]

    def evolved(self, numbers):
        """Times, H_0, the H of every piece, the states, and the work."""
        energy, charging = self.hamiltonians(numbers)
        start = dense.all_down(N) if self.start == "down" else dense.all_down(N)[::-1]
        if "state" in numbers:  # a state of another norm stands for its direction
            start = self.initial(numbers) / np.linalg.norm(self.initial(numbers))
        times = self.times + self.edges * numbers["duration"]
        if self.pieces:
            durations = np.full(len(charging), numbers["duration"] / len(charging))
            rows = dense.evolve_piecewise(charging, durations, start, times)
        else:
            rows = dense.evolve(charging[0], start, times)
        return times, energy, charging, rows, dense.expectation(energy, rows) - dense.expectation(energy, start[None])[0]

    def loss(self, weights, numbers):
        times, _, _, rows, work = self.evolved(numbers)
        power = np.divide(work, times, where=times > 0, out=np.zeros_like(work))
        spin = np.sum(weights["magnetization"] * dense.magnetization(rows)) / N
        return np.sum(weights["work"] * work) + np.sum(weights["power"] * power) + spin

    def slopes(self, weights, *, after=False):
        """Derivatives with respect to the times: i <[H, A]> with the H before, or after, a jump of the field."""
        times, energy, charging, rows, work = self.evolved(self.numbers)
        ends = self.numbers["duration"] / len(charging) * np.arange(1, len(charging))
        pieces = np.searchsorted(ends, times * (1 + (1e-12 if after else -1e-12)))
        found = np.zeros(30)
        for m, t in enumerate(times):
            h = charging[pieces[m]]
            weight = weights["work"][m] + (weights["power"][m] / t if t > 0 else 0)
            spins = sum(w * dense.field_term(1 / N, N, x) for w, x in zip(weights["magnetization"][m], "xyz", strict=True))
            operator = weight * energy + spins
            found[m] = dense.expectation(1j * (h @ operator - operator @ h), rows[m : m + 1])[0]
            found[m] -= weights["power"][m] * work[m] / t**2 if t > 0 else 0
        return found

    def check(self, found, tolerance=1e-10, dtype=float, weights=WEIGHTS):
        """Every derivative in ``found``, a dict by the names of the numbers, and "times".

        The state and its cotangent are each carried with an error of at most ``tolerance``, and each of the four series that
        meet in a derivative may add it; twice that is allowed, for norms that are bounded, not computed. Errors at different
        times have no common sign.
        """
        _, energy, charging, _, _ = self.evolved(self.numbers)
        charger, last, late = max(np.linalg.norm(h, 2) for h in charging), self.moments[-1], self.moments > 0
        size = np.linalg.norm(energy, 2) + charger
        units = self.units() | {"duration": charger / self.numbers["duration"], "state": 2 / last}
        units["amplitudes"] = 1.0 if np.shape(self.numbers["amplitudes"])[-1:] == (N,) else float(N)
        units = {name: unit for name, unit in units.items() if name in found}
        steps = {name: STEP / (unit * last) for name, unit in units.items()}
        expected = dense.central_differences(functools.partial(self.loss, weights), self.numbers, steps)
        per_time = np.where(late, weights["power"], 0) / np.where(late, self.moments, 1)
        heavy = np.sqrt(sum(np.sum(w**2) for w in (*weights.values(), per_time)))
        allowed = 8 * tolerance + tol(dtype, 1 + size * last)
        for name, unit in units.items():
            value = np.asarray(found[name])
            if name == "state":  # along the directions that keep the norm
                value = value - np.sum(value * self.numbers["state"]) * self.numbers["state"]
            differences = tol(float, (1 + size * last) * unit * last / STEP) + unit * last * (2 * STEP) ** 6 / 140
            error = heavy * size * (allowed * unit * (1 + last) + differences)
            np.testing.assert_allclose(value.reshape(-1), expected[name], rtol=0, atol=error, err_msg=name)
        # At an edge either side is right.
        before, after = self.slopes(weights), self.slopes(weights, after=True)
        error = heavy * size**2 * allowed
        np.testing.assert_allclose(found["times"], np.clip(found["times"], np.minimum(before, after), np.maximum(before, after)),
                                   rtol=0, atol=error, err_msg="times")  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class PauliCase(Case):
    """The same for a PauliBattery: energy and drift are the coefficients of their strings, (letters, sites)."""

    energy: tuple = ()
    drift: tuple = ()

    def hamiltonians(self, numbers):
        levels = numbers["amplitudes"] if self.pieces else [numbers["amplitudes"]]
        energy, drift = (dense_terms(N, terms) for terms in self.terms(numbers))
        return energy, [drift + dense.field_term(level, N, self.axis) for level in levels]

    def units(self):
        return {"energy": 1.0, "drift": 1.0}

    def battery(self, numbers):
        return jb.PauliBattery(*(jb.PauliSum.from_terms(N, terms) for terms in self.terms(numbers)), N, self.initial(numbers))

    def terms(self, numbers):
        pairs = ((self.energy, numbers["energy"]), (self.drift, numbers["drift"]))
        return [[(*string, value[k]) for k, string in enumerate(strings)] for strings, value in pairs]


def sampler(solver, system, window=None, horizon=np.inf):
    """times -> (carry, record) of a solver's evolution, compiled afresh; optionally with a smaller window of states.

    It may be told the last of the times.
    """

    @jax.jit
    def run(problem, times):
        evolution = solver.evolve(problem)
        evolution = evolution if window is None else dataclasses.replace(evolution, held=window)
        return evolution.sample(evolution.start(), times)

    return functools.partial(run, solver.prepare(system.battery, system.protocol, horizon))
