"""The classical limit: every spin is a Bloch vector that precesses about the mean field of the others."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._checks import check_integer, positive_number
from jaxbatt._types import Amplitudes, Couplings, PerSpin, Scalar, ScalarLike, Times
from jaxbatt.battery import Battery, SpinBattery
from jaxbatt.protocols import Protocol
from jaxbatt.solvers._base import Carry, Evolution, Limits, Record
from jaxbatt.solvers._bloch import along, bandwidth, circulant_spectrum, first_row, largest, lengths
from jaxbatt.solvers._differentiation import first_only, reverse_only
from jaxbatt.solvers._pauli import check_levels

_MIN_TOEPLITZ = 384
"""Spins from which a local field by FFT is cheaper than a matrix product."""
_TRUSTED = 1e-3
"""Two runs whose Bloch vectors differ by more than this say nothing about the error."""
_EVALUATIONS = diffrax.Dopri8.tableau.num_stages - 1
"""Local fields in one step; the last stage serves the next step too."""
_EXACT = 32
"""Output times, evenly spread, to which the coarser run steps; more of them would take longer than all else."""
_CHECKPOINTS = 64
"""Bloch vectors held for the derivative; up to 64 steps are taken once more, and up to 2000 twice more."""


class Problem(eqx.Module):
    """A spin battery and its protocol, with g_ij as a matrix, or as its first row where it depends on i - j only."""

    field: PerSpin
    couplings: Couplings | Float[Array, " n"]
    anisotropy: Float[Array, " 3"]
    protocol: Protocol
    start: str = eqx.field(static=True)
    field_while_charging: bool = eqx.field(static=True)
    interactions_while_charging: bool = eqx.field(static=True)


@dataclasses.dataclass(frozen=True)
class MeanField:
    """Evolves N Bloch vectors by the mean-field equations dS_m/dt = 2 (dH/dS_m) x S_m, for N up to 1e5.

    H is the charging Hamiltonian with S_m for the Pauli operators of spin m; the work is H_0 of the product state. Couplings
    that depend on the distance only (``power_law``, ``nearest_neighbor``) cost O(N log N), unless JAX traces them.
    Two runs with local tolerances tol / 10 and tol / 1000 tell the error; the result is that of the second. The first steps to
    the output times, up to 32 of them evenly spread, where the second interpolates: so the error of that is seen, too. The
    derivatives are those of the steps that the second took, in reverse mode only (``jax.grad``).

    Args:
        tol: error of the Bloch vectors that is aimed at; ``info.error`` estimates the error of the work that was reached.
        max_steps: most steps from one call of :func:`jaxbatt.charge` (or one window of a search) before giving up.

    Raises:
        ValueError: a PauliBattery or an array as initial state (when used); ``tol`` or ``max_steps`` not positive. A
            result is refused where the two runs end up 1e-3 apart, as they do at late times if the motion is chaotic.

    Source: Le et al., PRA 97, 022106 (2018), Eq. 21.
    """

    remedy: ClassVar[str] = "shorten the times, raise `max_steps`, or change `tol`"
    tol: float = 1e-10
    max_steps: int = 100_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "tol", positive_number("tol", self.tol, "the default is 1e-10"))
        check_integer("max_steps", self.max_steps)

    def prepare(self, battery: Battery, protocol: Protocol, horizon: ScalarLike = np.inf) -> Problem:
        if not isinstance(battery, SpinBattery):
            raise ValueError(
                f"MeanField needs a SpinBattery, not a {type(battery).__name__}: its Bloch equations hold fields and couplings "
                "of pairs along x, y, z only; state it as a SpinBattery, or use StateVector()."
            )
        if battery.state is not None:
            raise ValueError(
                "MeanField starts from Bloch vectors, but `initial_state` is an array of amplitudes, which may be entangled; "
                'pass initial_state="down" or "up", or use StateVector().'
            )
        check_levels(protocol, battery.n_spins)
        row = first_row(battery.couplings) if battery.n_spins >= _MIN_TOEPLITZ else None
        return Problem(
            battery.field,
            battery.couplings if row is None else jnp.asarray(row),
            battery.factors,
            protocol,
            battery.start,
            battery.field_while_charging,
            battery.interactions_while_charging,
        )

    def evolve(self, problem: Problem) -> BlochEvolution:
        couplings = problem.couplings
        kernel = couplings if couplings.ndim == 2 else circulant_spectrum(couplings)
        return BlochEvolution(problem.protocol.edges, problem.protocol.levels, problem, kernel, self.tol, self.max_steps)


class BlochEvolution(Evolution):
    """The Bloch vectors (3, N) of a coarser and a finer run, stacked to (2, 3, N)."""

    edges: Float[Array, " k"]
    levels: Amplitudes
    problem: Problem
    kernel: Float[Array, " ..."]
    """g_ij, or the spectrum of its circulant embedding."""
    tol: float = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    def start(self) -> Carry:
        spins = self._initial()
        return Carry(
            jnp.zeros(()), jnp.stack([spins, spins]), jnp.zeros(()), jnp.zeros((), int), jnp.isfinite(self._energy(spins))
        )

    def sample(self, carry: Carry, times: Times) -> tuple[Carry, Record]:
        runs = _two_runs(self, carry.state, carry.time, times)
        work = runs.energies[1] - self._energy(self._initial())
        error, met = jax.lax.stop_gradient(self._judged(runs, carry.error))
        applications = carry.applications + _EVALUATIONS * runs.steps.sum()
        in_order = jnp.all(jnp.diff(times, prepend=carry.time) >= 0) & (times[-1] <= self.edges[-1])
        carry = Carry(times[-1], runs.spins, error, applications, carry.valid & in_order & met)
        return carry, Record(work, runs.magnetizations[1])

    def limits(self) -> Limits:
        problem, initial = self.problem, self._initial()
        reach = jnp.broadcast_to(self._reach(), initial.shape[1:])
        pairs = reach.sum() / 2
        fields = jax.lax.map(lambda level: lengths(self._outer_field(level)).max(), self.levels)
        highest = bandwidth(fields.max(), reach.max() if problem.interactions_while_charging else jnp.zeros_like(pairs))
        energy = jnp.sum(jnp.broadcast_to(jnp.abs(problem.field), reach.shape)) + pairs
        work = energy - self._energy(initial)
        if len(self.levels) == 1:
            # H is conserved, and H_0 - H holds no more than fields if the interactions stay on.
            gain = along("z", problem.field, len(reach)) - self._outer_field(self.levels[0])
            most, before = lengths(gain).sum(), jnp.sum(gain * initial)
            if not problem.interactions_while_charging:
                most, before = most + pairs, before + self._pair_energy(initial)
            work = jnp.minimum(work, most - before)
        return Limits(highest, work)

    def _judged(self, runs: _Runs, error: Scalar) -> tuple[Scalar, Bool[Array, ""]]:
        """The error so far, from how far two runs are apart, and whether they can be trusted."""
        eps = jnp.finfo(error.dtype).eps
        apart = jnp.sqrt(jnp.sum((runs.spins[1] - runs.spins[0]) ** 2, axis=0))
        lever = jnp.broadcast_to(jnp.abs(self.problem.field) + self._reach(), apart.shape)
        difference = jnp.maximum(jnp.max(jnp.abs(runs.energies[1] - runs.energies[0])), jnp.sum(lever * apart))
        # Twice: where both err alike, the difference is less than the error of one.
        error = jnp.maximum(error, 2 * difference) + eps * (8 + runs.steps[1]) * jnp.sum(lever)
        met = runs.succeeded.all() & jnp.isfinite(runs.energies).all() & (apart.max() <= _TRUSTED)
        return jnp.where(jnp.isnan(error), jnp.inf, error), met

    def _controls(self, start: Scalar, stop: Scalar) -> tuple[Float[Array, " 2"], Float[Array, " 2"]]:
        """Local tolerance and longest step of the two runs."""
        eps = float(jnp.finfo(stop.dtype).eps)
        finest = max(self.tol / 1000, 64 * eps)
        # A finer run that has to halve the shortest stretch never takes the steps of the coarser one.
        shortest = jnp.minimum(stop - start, jnp.diff(self.edges, prepend=0).min())
        longest = jnp.stack([jnp.full((), jnp.inf), jnp.maximum(shortest / 2, jnp.finfo(stop.dtype).tiny)])
        return jnp.array([max(self.tol / 10, 10 * finest), finest]), longest

    def _solve(
        self,
        spins: Float[Array, "3 n"],
        control: tuple[Scalar, Scalar],
        start: Scalar,
        times: Times,
        adjoint: diffrax.AbstractAdjoint,
        stops: Float[Array, " s"] | None = None,
    ) -> tuple[tuple[Times, Float[Array, "t 3"]], Float[Array, "3 n"], Int[Array, ""], Bool[Array, ""]]:
        """One run that steps to ``stops``: (energy, magnetization) at the times, the last Bloch vectors, steps taken, success."""
        edges = self._edges_between(start, times[-1])

        def motion(time: Any, spins: Float[Array, "3 n"], _: None) -> Float[Array, "3 n"]:
            piece = jnp.searchsorted(edges, time).clip(max=len(edges) - 1)
            field = self._outer_field(self.levels[0] if len(edges) == 1 else self.levels[piece])
            if self.problem.interactions_while_charging:
                field = field - self.problem.anisotropy[:, None] * self._neighbors(spins)
            return 2 * jnp.cross(field, spins, axis=0)

        def record(_: Scalar, spins: Float[Array, "3 n"], __: None) -> tuple[Scalar, Float[Array, " 3"]]:
            return self._energy(spins), spins.mean(axis=1)

        tol, longest = control
        controller: Any = _Controller(rtol=0.0, atol=tol, dtmax=longest, norm=largest)
        if stops is not None or len(edges) > 1:
            controller = diffrax.ClipStepSizeController(controller, stops, edges if len(edges) > 1 else None)
        # Not jnp.clip, which halves the derivative where a time equals a limit.
        inside = (times >= start) & (times <= times[-1])
        wanted = diffrax.SubSaveAt(ts=jnp.where(inside, times, jnp.clip(times, start, times[-1])), fn=record)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(motion),
            diffrax.Dopri8(),
            t0=start,
            t1=times[-1],
            dt0=None,
            y0=spins,
            saveat=diffrax.SaveAt(subs=[wanted, diffrax.SubSaveAt(t1=True)]),
            stepsize_controller=controller,
            adjoint=adjoint,
            max_steps=self.max_steps + (0 if stops is None else len(stops)),
            throw=False,
        )
        (records, last), steps = solution.ys, solution.stats["num_steps"]
        return records, last[0], steps, solution.result == diffrax.RESULTS.successful

    def _edges_between(self, start: Scalar, stop: Scalar) -> Float[Array, " k"]:
        """The edges inside (start, stop), the others at infinity: a step that ends on an edge belongs to the piece before."""
        slack = 256 * jnp.finfo(stop.dtype).eps * stop
        later = jnp.where(self.edges >= stop - slack, jnp.inf, self.edges)
        return jnp.where(self.edges <= start + slack, -jnp.inf, later)

    def _initial(self) -> Float[Array, "3 n"]:
        n = self.problem.couplings.shape[-1]
        return along("z", jnp.asarray(1.0 if self.problem.start == "up" else -1.0, float), n)

    def _outer_field(self, level: Float[Array, "*n"]) -> Float[Array, "3 n"]:
        n = self.problem.couplings.shape[-1]
        field = along(self.problem.protocol.axis, level, n)
        return field + along("z", self.problem.field, n) if self.problem.field_while_charging else field

    def _neighbors(self, spins: Float[Array, "3 n"]) -> Float[Array, "3 n"]:
        """sum_j g_ij S_j."""
        if self.kernel.ndim == 2:
            return spins @ self.kernel
        n = spins.shape[1]
        size = 2 * (len(self.kernel) - 1)
        return jnp.fft.irfft(jnp.fft.rfft(spins, size) * self.kernel, size)[:, :n]

    def _energy(self, spins: Float[Array, "3 n"]) -> Scalar:
        """H_0 of the product state."""
        return jnp.sum(self.problem.field * spins[2]) + self._pair_energy(spins)

    def _pair_energy(self, spins: Float[Array, "3 n"]) -> Scalar:
        return -jnp.sum(self.problem.anisotropy[:, None] * spins * self._neighbors(spins)) / 2

    def _reach(self) -> Float[Array, " n"]:
        """The longest that the mean field of the others can be, for each spin."""
        strengths = jnp.abs(self.problem.couplings)
        if strengths.ndim == 1:
            reached = jnp.cumsum(strengths)
            sums = reached + reached[::-1]
        else:
            sums = strengths.sum(axis=0)
        return jnp.max(jnp.abs(self.problem.anisotropy)) * sums


class _Controller(diffrax.PIDController):
    """Steps are constants to JAX unless they end on an edge: after a step that an edge cut short, those that follow grow
    tenfold each, and the derivatives of their ends with them."""

    def adapt_step_size(self, *args: Any, **kwargs: Any) -> Any:
        keep, start, stop, *rest = super().adapt_step_size(*args, **kwargs)
        return keep, start, jax.lax.stop_gradient(stop), *rest


class _Runs(NamedTuple):
    """The coarser and the finer run: energies (2, T), magnetizations (2, T, 3), last Bloch vectors (2, 3, N)."""

    energies: Float[Array, "2 t"]
    magnetizations: Float[Array, "2 t 3"]
    spins: Float[Array, "2 3 n"]
    steps: Int[Array, " 2"]
    succeeded: Bool[Array, " 2"]


@eqx.filter_custom_jvp
def _two_runs(evolution: BlochEvolution, spins: Float[Array, "2 3 n"], start: Scalar, times: Times) -> _Runs:
    """Both runs; the derivative is that of the finer one."""
    controls = evolution._controls(start, times[-1])
    exact = times[np.linspace(0, len(times) - 1, min(len(times), _EXACT)).round().astype(int)]
    stops = jnp.stack([jnp.clip(exact, start, times[-1]), jnp.broadcast_to(times[-1], exact.shape)])

    def run(inputs: tuple[Array, tuple[Scalar, Scalar], Array]) -> Any:
        spins, control, stops = inputs
        return evolution._solve(spins, control, start, times, diffrax.ForwardMode(), stops)

    (energies, magnetizations), last, steps, succeeded = jax.lax.map(run, (spins, controls, stops))
    return _Runs(energies, magnetizations, last, steps, succeeded)


@_two_runs.def_jvp
def _derivative_of_finer(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[_Runs, _Runs]:
    def finer(
        evolution: BlochEvolution, spins: Float[Array, "2 3 n"], start: Scalar, times: Times
    ) -> tuple[Times, Float[Array, "t 3"], Float[Array, "3 n"]]:
        control = jax.tree.map(lambda x: jax.lax.stop_gradient(x[1]), evolution._controls(start, times[-1]))
        adjoint = diffrax.RecursiveCheckpointAdjoint(_CHECKPOINTS)
        (energies, magnetizations), last, *_ = evolution._solve(spins[1], control, start, times, adjoint)
        return energies, magnetizations, last

    runs = _two_runs(*primals)
    once = jax.tree.map(lambda x: first_only(x, x, "MeanField"), primals)
    derivatives = eqx.filter_jvp(finer, once, reverse_only(tangents, "MeanField"))[1]
    energies, magnetizations, last = (jnp.stack([jnp.zeros_like(d), d]) for d in derivatives)
    nothing: Any = None
    return runs, _Runs(energies, magnetizations, last, nothing, nothing)
