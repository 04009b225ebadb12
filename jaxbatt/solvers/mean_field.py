"""The classical limit: every spin is a Bloch vector that precesses about the mean field of the others."""

from __future__ import annotations

import dataclasses
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._checks import check_positive, check_spin_count, concrete
from jaxbatt._types import Amplitudes, Couplings, PerSpin, Scalar, Times
from jaxbatt.battery import Battery, SpinBattery
from jaxbatt.protocols import Protocol
from jaxbatt.solvers._base import WINDOW_DEGREE, WINDOW_PHASE, Carry, Evolution, Limits, Record
from jaxbatt.solvers.state_vector import check_levels

_MIN_TOEPLITZ = 384
"""Spins from which a local field by FFT is cheaper than a matrix product."""
_TRUSTED = 1e-3
"""Two runs whose Bloch vectors differ by more than this say nothing about the error."""
_EVALUATIONS = diffrax.Dopri8.tableau.num_stages - 1
"""Local fields in one step; the last stage serves the next step too."""


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
    Two runs with local tolerances tol / 10 and tol / 1000 tell the error; the result is that of the second.

    Args:
        tol: error of the Bloch vectors that is aimed at; ``info.error`` estimates the error of the work that was reached.
        max_steps: most steps from one call of :func:`jaxbatt.charge` (or one window of a search) before giving up.

    Raises:
        ValueError: a PauliBattery or an array as initial state (when used); ``tol`` or ``max_steps`` not positive. A
            result is refused where the two runs end up 1e-3 apart, as they do at late times if the motion is chaotic.

    Source: Le et al., PRA 97, 022106 (2018), Eq. 21.
    """

    tol: float = 1e-10
    max_steps: int = 100_000

    def __post_init__(self) -> None:
        check_positive("tol", self.tol, "the default is 1e-10")
        check_spin_count(self.max_steps)

    def prepare(self, battery: Battery, protocol: Protocol) -> Problem:
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
        row = _first_row(battery.couplings) if battery.n_spins >= _MIN_TOEPLITZ else None
        return Problem(
            battery.field,
            battery.couplings if row is None else jnp.asarray(row),
            battery.anisotropy,
            protocol,
            battery.start,
            battery.field_while_charging,
            battery.interactions_while_charging,
        )

    def evolve(self, problem: Problem) -> BlochEvolution:
        couplings = problem.couplings
        kernel = couplings if couplings.ndim == 2 else _circulant_spectrum(couplings)
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
        stop = times[-1]
        eps = jnp.finfo(stop.dtype).eps
        finest = max(self.tol / 1000, 64 * float(eps))
        tols = jnp.array([max(self.tol / 10, 10 * finest), finest])
        edges = self._edges_between(carry.time, stop)
        # A finer run that has to halve the shortest stretch never takes the steps of the coarser one.
        shortest = jnp.minimum(stop - carry.time, jnp.diff(self.edges, prepend=0).min())
        longest = jnp.stack([jnp.full((), jnp.inf), jnp.maximum(shortest / 2, jnp.finfo(stop.dtype).tiny)])

        def run(inputs: tuple[Array, Scalar, Scalar]) -> tuple[tuple[Times, Array], Array, Int[Array, ""], Bool[Array, ""]]:
            return self._solve(*inputs, carry.time, times, edges)

        (energies, magnetizations), spins, steps, succeeded = jax.lax.map(run, (carry.state, tols, longest))
        apart = jnp.sqrt(jnp.sum((spins[1] - spins[0]) ** 2, axis=0))
        lengths = jnp.abs(self.problem.field) + self._reach()
        error = jnp.maximum(jnp.max(jnp.abs(energies[1] - energies[0])), jnp.sum(lengths * apart))
        applications = carry.applications + _EVALUATIONS * steps.sum()
        error = jnp.maximum(carry.error, error) + eps * (8 + steps[1]) * jnp.sum(jnp.broadcast_to(lengths, apart.shape))
        in_order = jnp.all(jnp.diff(times, prepend=carry.time) >= 0) & (stop <= self.edges[-1])
        met = succeeded.all() & jnp.isfinite(energies).all() & (apart.max() <= _TRUSTED)
        work = energies[1] - self._energy(self._initial())
        carry = Carry(stop, spins, jnp.where(jnp.isnan(error), jnp.inf, error), applications, carry.valid & in_order & met)
        return carry, Record(work, magnetizations[1])

    def limits(self) -> Limits:
        problem, initial = self.problem, self._initial()
        reach = jnp.broadcast_to(self._reach(), initial.shape[1:])
        pairs = reach.sum() / 2
        fields = jax.lax.map(lambda level: _lengths(self._outer_field(level)).max(), self.levels)
        bandwidth = _bandwidth(fields.max(), reach.max() if problem.interactions_while_charging else jnp.zeros_like(pairs))
        energy = jnp.sum(jnp.broadcast_to(jnp.abs(problem.field), reach.shape)) + pairs
        work = energy - self._energy(initial)
        if len(self.levels) == 1:
            # H is conserved, and H_0 - H holds no more than fields if the interactions stay on.
            gain = _along("z", problem.field, len(reach)) - self._outer_field(self.levels[0])
            most, before = _lengths(gain).sum(), jnp.sum(gain * initial)
            if not problem.interactions_while_charging:
                most, before = most + pairs, before + self._pair_energy(initial)
            work = jnp.minimum(work, most - before)
        return Limits(bandwidth, work)

    def _solve(
        self, spins: Float[Array, "3 n"], tol: Scalar, longest: Scalar, start: Scalar, times: Times, edges: Float[Array, " k"]
    ) -> tuple[tuple[Times, Float[Array, "t 3"]], Float[Array, "3 n"], Int[Array, ""], Bool[Array, ""]]:
        """One run: (energy, magnetization) at the times, the last Bloch vectors, steps taken, success."""

        def motion(time: Any, spins: Float[Array, "3 n"], _: None) -> Float[Array, "3 n"]:
            piece = jnp.searchsorted(edges, time).clip(max=len(edges) - 1)
            field = self._outer_field(self.levels[0] if len(edges) == 1 else self.levels[piece])
            if self.problem.interactions_while_charging:
                field = field - self.problem.anisotropy[:, None] * self._neighbors(spins)
            return 2 * jnp.cross(field, spins, axis=0)

        def record(_: Scalar, spins: Float[Array, "3 n"], __: None) -> tuple[Scalar, Float[Array, " 3"]]:
            return self._energy(spins), spins.mean(axis=1)

        controller = diffrax.PIDController(rtol=0.0, atol=tol, dtmax=longest, norm=_largest)
        wanted = diffrax.SubSaveAt(ts=jnp.clip(times, start, times[-1]), fn=record)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(motion),
            # A plain loop over the stages, which forward mode can differentiate, compiles in two thirds of the time.
            diffrax.Dopri8(scan_kind="lax"),
            t0=start,
            t1=times[-1],
            dt0=None,
            y0=spins,
            saveat=diffrax.SaveAt(subs=[wanted, diffrax.SubSaveAt(t1=True)]),
            stepsize_controller=diffrax.ClipStepSizeController(controller, jump_ts=edges) if len(edges) > 1 else controller,
            adjoint=diffrax.ForwardMode(),
            max_steps=self.max_steps,
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
        return _along("z", jnp.asarray(1.0 if self.problem.start == "up" else -1.0, float), n)

    def _outer_field(self, level: Float[Array, "*n"]) -> Float[Array, "3 n"]:
        n = self.problem.couplings.shape[-1]
        field = _along(self.problem.protocol.axis, level, n)
        return field + _along("z", self.problem.field, n) if self.problem.field_while_charging else field

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


def _first_row(couplings: Couplings) -> np.ndarray | None:
    """g_0j if g_ij depends on i - j only and is symmetric; None if not, or where JAX traces it."""
    matrix = concrete(couplings)
    if matrix is None:
        return None
    n = len(matrix)
    by_offset = np.concatenate([matrix[0, :0:-1], matrix[0]])
    same = all(np.array_equal(matrix[i], by_offset[n - 1 - i : 2 * n - 1 - i]) for i in range(n))
    return matrix[0] if same else None


def _circulant_spectrum(row: Float[Array, " n"]) -> Float[Array, " m"]:
    """Spectrum of the symmetric circulant matrix that starts with the Toeplitz matrix; its size is even and has small factors."""
    n = len(row)
    size = min(m << max(1, (-(-2 * n // m) - 1).bit_length()) for m in (1, 3, 5, 9, 15))
    middle = jnp.zeros(size - 2 * n + 1, row.dtype)
    return jnp.fft.rfft(jnp.concatenate([row, middle, row[:0:-1]])).real


def _bandwidth(field: Scalar, coupling: Scalar) -> Scalar:
    """The angular frequency for which a search's window (80 / bandwidth to either side, degree 128) interpolates W to 1e-12.

    For complex times |dS/dt| <= 2 (field + coupling r) r with r the length of the longest Bloch vector, so that all are
    shorter than r up to the distance y(r) from the real axis. Then |W| <= 2 r^2 (in units of the largest |H_0|) on the
    ellipse of semi-axis y about the window, and its polynomial is off by 8 r^2 rho^-128 / (rho - 1), rho > 1.24 (Trefethen,
    Approximation Theory and Approximation Practice, theorem 8.2). The best r gives the longest window.
    """
    logarithm = jnp.linspace(0.1, 64.0, 256)
    r = jnp.exp(logarithm)
    field = jnp.maximum(jnp.maximum(field, 1e-6 * coupling), jnp.finfo(r.dtype).tiny ** 0.5)
    distance = jnp.log1p(field * (r - 1) / (field + coupling * r)) / (2 * field)
    log_rho = (np.log(8 / 0.24 * 1e12) + 2 * logarithm) / WINDOW_DEGREE
    return WINDOW_PHASE / jnp.max(distance / jnp.sinh(log_rho))


def _along(axis: str, values: Float[Array, "*n"], n_spins: int) -> Float[Array, "3 n"]:
    return jnp.zeros((3, n_spins), values.dtype).at["xyz".index(axis)].set(values)


def _lengths(vectors: Float[Array, "3 n"]) -> Float[Array, " n"]:
    return jnp.sqrt(jnp.sum(vectors**2, axis=0))


def _largest(error: Float[Array, "3 n"]) -> Scalar:
    return jnp.max(jnp.abs(error))
