"""Uniform all-to-all batteries in the ladder of N + 1 Dicke states."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxbatt import protocols
from jaxbatt._checks import known
from jaxbatt._types import Axis, Rows, Scalar, ScalarLike
from jaxbatt.battery import Battery, SpinBattery
from jaxbatt.bounds import Bounds
from jaxbatt.hamiltonian import times_i
from jaxbatt.propagators import Krylov, Propagator, check_is_propagator, reachable_tolerance
from jaxbatt.solvers._pauli import check_levels
from jaxbatt.solvers._stepping import SteppedEvolution
from jaxbatt.solvers._system import Generator, Stretch, System

_WINDOW = 8
"""States computed with each segment: few, because strong coupling makes many short segments, each with its own."""


class CollectiveProblem(eqx.Module):
    """A uniform battery: one coupling, one field, one amplitude."""

    field: Scalar
    coupling: Scalar
    anisotropy: Float[Array, 3]
    levels: Float[Array, " k"]
    edges: Float[Array, " k"]
    uniform: Bool[Array, ""]
    n_spins: int = eqx.field(static=True)
    axis: Axis = eqx.field(static=True)
    start: str = eqx.field(static=True)
    field_while_charging: bool = eqx.field(static=True)
    interactions_while_charging: bool = eqx.field(static=True)


@dataclasses.dataclass(frozen=True)
class Collective:
    """Evolves the N + 1 symmetric states of a battery whose couplings, field and protocol are the same for all spins.

    With S_a = sum_i sigma_a,i: sum_{i<j} Z_i Z_j = (S_z**2 - N) / 2, so H has at most five diagonals; N = 10,000 is easy.

    Args:
        propagator: ``Krylov`` (default: at strong coupling the state stays near the end of the ladder, which a Krylov
            space follows and a bound of the whole spectrum does not), ``Chebyshev`` or ``Taylor``. The tolerance of the
            default is 1e-10, or 1e-4 where JAX runs in single precision.

    Raises:
        ValueError: couplings, field or protocol are not uniform, or the initial state is an array (when used); the propagator
            is none.

    Source: Le et al., PRA 97, 022106 (2018), section V.
    """

    remedy: ClassVar[str] = "shorten the times, or change `tol`"
    propagator: Propagator = None  # type: ignore[assignment]  # made when the precision is known

    def __post_init__(self) -> None:
        if self.propagator is None:
            object.__setattr__(self, "propagator", Krylov(reachable_tolerance(jnp.result_type(float))))
        check_is_propagator(self.propagator)

    def prepare(self, battery: Battery, protocol: protocols.Protocol, horizon: ScalarLike = np.inf) -> CollectiveProblem:
        if not isinstance(battery, SpinBattery):
            raise ValueError(f"Collective needs a SpinBattery, but it got a {type(battery).__name__}; use StateVector().")
        if battery.start == "array":
            raise ValueError('Collective starts from "down" or "up", but `initial_state` is an array; use StateVector().')
        check_levels(protocol, battery.n_spins)
        if is_uniform(battery, protocol) is False:
            raise ValueError(
                "Collective needs the same coupling between all spins and the same field on each of them, but they differ; "
                "use StateVector(), or power_law(n, g, 0)."
            )
        levels = protocol.levels if protocol.levels.ndim == 1 else jax.vmap(_shared)(protocol.levels)
        return CollectiveProblem(
            field=_shared(battery.field.reshape(-1)),
            coupling=_shared(battery.couplings[np.triu_indices(battery.n_spins, 1)]),
            anisotropy=battery.factors,
            levels=levels,
            edges=protocol.edges,
            uniform=_uniformity(battery, protocol),
            n_spins=battery.n_spins,
            axis=protocol.axis,
            start=battery.start,
            field_while_charging=battery.field_while_charging,
            interactions_while_charging=battery.interactions_while_charging,
        )

    def evolve(self, problem: CollectiveProblem) -> SteppedEvolution:
        return SteppedEvolution(
            edges=problem.edges,
            levels=problem.levels,
            system=CollectiveSystem(problem),
            propagator=self.propagator,
            held=_WINDOW,
            trusted=problem.uniform,
        )


class CollectiveSystem(System):
    """The Dicke ladder: state k has k spins down, S_z = N - 2 k."""

    solver: ClassVar[str] = "Collective"
    problem: CollectiveProblem

    def initial_rows(self) -> Rows:
        n = self.problem.n_spins
        return jnp.zeros((2, n + 1)).at[0, n if self.problem.start == "down" else 0].set(1)

    def stretch(self, level: Float[Array, ""]) -> Stretch:
        p, generator = self.problem, self.generator(level)
        missing = jnp.zeros(()) if p.interactions_while_charging else p.coupling
        gain = LadderOperator(p.n_spins, jnp.zeros(3).at[2].set(p.field) - generator.fields, missing * p.anisotropy)
        return Stretch(generator, gain, self.enclosed(generator, level))

    def generator(self, level: Float[Array, ""]) -> LadderOperator:
        p, none = self.problem, jnp.zeros(())
        drive = jnp.zeros(3).at["xyz".index(p.axis)].set(level)
        fields = drive.at[2].add(p.field if p.field_while_charging else none)
        return LadderOperator(p.n_spins, fields, (p.coupling if p.interactions_while_charging else none) * p.anisotropy)

    def enclosed(self, operator: Generator, level: Float[Array, ""]) -> Bounds:
        return operator.bounds()

    def energy(self) -> LadderOperator:
        p = self.problem
        return LadderOperator(p.n_spins, jnp.zeros(3).at[2].set(p.field), p.coupling * p.anisotropy)

    def magnetization(self, rows: Rows) -> Float[Array, 3]:
        nothing = LadderOperator(self.problem.n_spins, jnp.zeros(3), jnp.zeros(3))
        return nothing.measure(rows)[1]


class LadderOperator(eqx.Module):
    """sum_a h_a S_a - sum_a (j_a / 2) S_a**2 on the ladder, less a constant.

    With R |k> = sqrt(k (N - k + 1)) |k - 1>: S_x = R + R^T, S_y = -i (R - R^T), S_x**2 - S_y**2 = 2 (R**2 + R^T**2), and
    S_x**2 + S_y**2 = N (N + 2) - S_z**2 is diagonal. The constant makes the ends of the ladder, where S_z**2 = N**2, exact zeros.
    """

    pieces: ClassVar[int] = 1
    is_real: ClassVar[bool] = False
    """A field along y is imaginary, and which fields there are is known only when it is applied."""
    n_spins: int = eqx.field(static=True)
    fields: Float[Array, 3]
    couplings: Float[Array, 3]

    def apply(self, rows: Rows) -> Rows:
        x, y, _ = self.fields
        lowered, raised = self._lower(rows), self._raise(rows)
        out = self._diagonal() * rows + x * (lowered + raised)
        out = out - times_i(y * (lowered - raised))
        skew = (self.couplings[1] - self.couplings[0]) / 2
        return out + skew * (self._lower(lowered) + self._raise(raised))

    def turned(self, rows: Rows) -> tuple[Rows, None, None]:
        return self.apply(rows), None, None

    def paired(self, v: Rows, w: Rows, total: LadderOperator, weight: Scalar) -> tuple[Rows, Rows, LadderOperator]:
        """H v, H w, and total + weight * the derivative of <w|H v> with respect to fields and couplings."""
        hv, pull = jax.vjp(lambda operator: operator.apply(v), self)
        return hv, self.apply(w), jax.tree.map(lambda old, x: old + weight * x, total, pull(w)[0])

    def bounds(self) -> Bounds:
        n, diagonal = self.n_spins, self._diagonal()
        skew = jnp.abs(self.couplings[1] - self.couplings[0]) / 4
        radius = (diagonal.max() - diagonal.min()) / 2 + n * jnp.hypot(self.fields[0], self.fields[1]) + skew * n**2
        return Bounds((diagonal.max() + diagonal.min()) / 2, radius)

    def measure(self, rows: Rows) -> tuple[Scalar, Float[Array, 3]]:
        """The expectation value, and those of S_x, S_y, S_z over N."""
        lowered = self._lower(rows)
        x = 2 * jnp.sum(rows * lowered)
        y = 2 * jnp.sum(rows[0] * lowered[1] - rows[1] * lowered[0])
        z = jnp.sum(rows**2 * self._s_z())
        return jnp.sum(rows * self.apply(rows)), jnp.stack([x, y, z]) / self.n_spins

    @property
    def forms(self) -> None:
        """None: the field may have a part along y, which is imaginary."""

    def _s_z(self) -> Float[Array, " d"]:
        return self.n_spins - 2.0 * jnp.arange(self.n_spins + 1)

    def _diagonal(self) -> Float[Array, " d"]:
        s_z, n = self._s_z(), self.n_spins
        transverse = (self.couplings[0] + self.couplings[1]) / 2
        return self.fields[2] * s_z - (self.couplings[2] - transverse) / 2 * (s_z - n) * (s_z + n)

    def _steps(self) -> Float[Array, " n"]:
        k = jnp.arange(1.0, self.n_spins + 1)
        return jnp.sqrt(k * (self.n_spins - k + 1))

    def _lower(self, rows: Rows) -> Rows:
        return jnp.pad(rows[:, 1:] * self._steps(), ((0, 0), (0, 1)))

    def _raise(self, rows: Rows) -> Rows:
        return jnp.pad(rows[:, :-1] * self._steps(), ((0, 0), (1, 0)))


def is_uniform(battery: SpinBattery, protocol: protocols.Protocol) -> bool | None:
    """Whether couplings, field and protocol are the same for all spins; None where JAX is tracing them."""
    numbers = known((battery, protocol))
    return None if numbers is None else bool(_uniformity(*numbers))


def _uniformity(battery: SpinBattery, protocol: protocols.Protocol) -> Bool[Array, ""]:
    coupling = _first_coupling(battery)
    strange = (battery.couplings != coupling).sum()
    levels, field = protocol.levels, battery.field.reshape(-1)
    per_level = levels.reshape(len(levels), -1)
    return (strange == (coupling != 0) * battery.n_spins) & (field == field[0]).all() & (per_level == per_level[:, :1]).all()


def _first_coupling(battery: SpinBattery) -> Scalar:
    return battery.couplings[0, 1] if battery.n_spins > 1 else jnp.zeros(())


def _shared(values: Float[Array, " m"]) -> Scalar:
    """The value of them all; its derivative is shared out evenly, as it is between spins and pairs that are all alike."""
    if not values.size:
        return jnp.zeros(())
    mean = values.mean()
    return jax.lax.stop_gradient(values[0] - mean) + mean
