"""The scale of a charging Hamiltonian: what a comparison of chargers is normalized by."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._checks import require_memory
from jaxbatt._linalg import eigh
from jaxbatt._types import Rows, Scalar
from jaxbatt.battery import Battery
from jaxbatt.frames import turned
from jaxbatt.hamiltonian import Operator
from jaxbatt.paulis import PauliSum, one_body
from jaxbatt.protocols import Protocol
from jaxbatt.solvers import check_kinds
from jaxbatt.solvers._pauli import Problem, charging_hamiltonian, initial_rows, problem_of

_BLOCK, _MOST = 32, 192
"""Applications of H between two looks at the residuals, and in all."""

_TOL = 1e-10
"""Residuals of the extreme levels, in units of the bandwidth, with which the search is content."""

_SAFETY = 10
"""A residual bounds the distance to some level. The random start makes that the extreme one, unless another is as close as the
residual; then the bound is missed by the ratio of two random amplitudes."""

_VECTORS = 16
"""Real vectors of 2**N numbers that are held: the recurrence, two rows each, the diagonals."""


class ChargerScale(NamedTuple):
    """How strong a charger is, in units of energy; the variables of a sweep whose function returns it have these names.

    Attributes:
        bandwidth: E_max - E_min of the charging Hamiltonian H, from below: it is never greater than the exact one, but for
            rounding.
        bandwidth_error: the exact bandwidth is at most bandwidth + bandwidth_error (an estimate from the residuals).
        deviation: sqrt(<H^2> - <H>^2) in the initial state, exact.
        parallel_bandwidth: that of the field alone, N independent cells: 2 sum_i |omega_i|, which is 2 omega N if uniform.
        parallel_deviation: that of the field alone in the initial state: omega sqrt(N) from all spins down or up, if uniform
            and along x or y.
    """

    bandwidth: Scalar
    bandwidth_error: Scalar
    deviation: Scalar
    parallel_bandwidth: Scalar
    parallel_deviation: Scalar


def charger_scale(battery: Battery, protocol: Protocol) -> ChargerScale:
    """Measures bandwidth and standard deviation of the charging Hamiltonian H = drift + V, and of V alone.

    H -> lambda H turns times into t / lambda and powers into lambda P, and nothing else. A power is thus compared at equal
    bandwidth, or at equal standard deviation, by the ratio of these numbers; see ``scaling``.

    The levels are the extreme Ritz values of Lanczos from a random start, which has a part in every symmetry sector, without
    reorthogonalization: three vectors and 32 to 192 applications of H, until both residuals are below 1e-10 of the bandwidth.
    What they are by then goes into ``bandwidth_error``. The deviation is ||(H - <H>) psi||. ``jax.jit`` and ``jax.vmap`` go
    through; derivatives do not.

    Args:
        battery: a ``SpinBattery`` or a ``PauliBattery``.
        protocol: a field that is constant in time.

    Returns:
        A :class:`ChargerScale`.

    Raises:
        ValueError: a field that changes in time, or has values for another number of spins; vectors that do not fit the memory.

    Example:
        >>> scale = charger_scale(SpinBattery(1.0, nearest_neighbor(4, 0.0)), ConstantField(2.0))
        >>> round(float(scale.bandwidth), 9), round(float(scale.deviation), 9)
        (16.0, 4.0)

    Source: Binder, Vinjanampathy, Modi, Goold, New J. Phys. 17, 075015 (2015), and Campaioli et al., PRL 118, 150601 (2017),
    on these two constraints; Paige, J. Inst. Maths Applics 18, 341 (1976), on Lanczos without reorthogonalization.
    """
    check_kinds(battery, protocol)
    if protocol.levels.shape[0] != 1:
        raise ValueError(
            f"`protocol` must be constant in time, but it has {protocol.levels.shape[0]} pieces; "
            "measure a ConstantField for each of them."
        )
    n, dtype = battery.n_spins, jnp.zeros(()).dtype
    require_memory(_VECTORS * 2**n * dtype.itemsize, f"charger_scale with {n} spins", "take fewer spins")
    return _scale(problem_of(*turned(battery, protocol)), str(dtype))


@eqx.filter_jit
def _scale(problem: Problem, dtype: str) -> ChargerScale:
    model, axis, level = problem.model, problem.protocol.axis, problem.protocol.levels[0]
    whole, alone = charging_hamiltonian(model, axis, level), one_body(model.n_spins, axis, level)
    bandwidth, error = _bandwidth(whole, dtype)
    state = initial_rows(problem.start, problem.state, model.n_spins, dtype)
    parallel = 2 * jnp.sum(jnp.abs(jnp.broadcast_to(level, (model.n_spins,)))).astype(dtype)
    return ChargerScale(bandwidth, error, _deviation(whole, state), parallel, _deviation(alone, state))


def _deviation(hamiltonian: PauliSum, rows: Rows) -> Scalar:
    """||(H - <H>) psi||, which loses no digits where <H^2> and <H>^2 are large and close."""
    operator = Operator.of(hamiltonian).astype(rows.dtype)
    if not operator.is_real and len(rows) == 1:
        rows = jnp.concatenate([rows, jnp.zeros_like(rows)])
    turned = operator.apply(rows)
    square = jnp.sum((turned - jnp.sum(rows * turned) * rows) ** 2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


class _Search(NamedTuple):
    """Where Lanczos stands: the last two vectors, the tridiagonal matrix, and what its extreme levels say."""

    before: Rows
    vector: Rows
    diagonal: Float[Array, " m"]
    beside: Float[Array, " m"]
    done: Int[Array, ""]
    bandwidth: Scalar
    residual: Scalar

    @property
    def is_over(self) -> Bool[Array, ""]:
        return (self.residual <= _TOL * self.bandwidth) | (self.done >= _MOST)


def _bandwidth(hamiltonian: PauliSum, dtype: DTypeLike) -> tuple[Scalar, Scalar]:
    """E_max - E_min from below, and how far it can be off.

    Where H is not real it acts on (Re psi, Im psi), a real symmetric matrix with every level twice.
    """
    n, operator = hamiltonian.n_spins, Operator.of(hamiltonian).astype(dtype)
    start = jax.random.normal(jax.random.key(0), (1 if operator.is_real else 2, 2**n), dtype)
    size = jnp.sum(jnp.abs(hamiltonian.coefficients)).astype(dtype)
    eps = jnp.finfo(dtype).eps
    tiny = 64 * eps * jnp.maximum(size, jnp.finfo(dtype).tiny ** 0.5)
    zeros, zero = jnp.zeros(_MOST, dtype), jnp.zeros((), dtype)
    vector = start / jnp.linalg.norm(start)
    first = _Search(jnp.zeros_like(start), vector, zeros, zeros, jnp.zeros((), int), zero, zero + jnp.inf)

    def block(search: _Search) -> _Search:
        return _looked_at(jax.lax.fori_loop(0, _BLOCK, lambda _, s: _step(operator, s, tiny), search))

    found = jax.lax.while_loop(lambda search: ~search.is_over, block, first)
    return found.bandwidth, _SAFETY * found.residual + 16 * n * eps * size


def _step(operator: Operator, search: _Search, tiny: Scalar) -> _Search:
    """One application of H. A vector that vanishes ends the Krylov space; those after it change no level."""
    k, v = search.done, search.vector
    w = operator.apply(v) - jnp.where(k > 0, search.beside[k - 1], 0) * search.before
    projection = jnp.sum(v * w)
    w = w - projection * v
    norm = jnp.linalg.norm(w)
    alive = norm > tiny
    following = jnp.where(alive, w / jnp.where(alive, norm, 1), 0)
    level = jnp.where(jnp.any(v != 0), projection, search.diagonal[0])
    diagonal, beside = search.diagonal.at[k].set(level), search.beside.at[k].set(jnp.where(alive, norm, 0))
    return search._replace(before=v, vector=following, diagonal=diagonal, beside=beside, done=k + 1)


def _looked_at(search: _Search) -> _Search:
    """The extreme levels of the tridiagonal matrix, filled up with a level inside, and their residuals beta |s_m|."""
    k = search.done
    filled = jnp.where(jnp.arange(_MOST) < k, search.diagonal, search.diagonal[0])
    beside = jnp.where(jnp.arange(_MOST) < k - 1, search.beside, 0)[:-1]
    levels, vectors = eigh(jnp.diag(filled) + jnp.diag(beside, 1) + jnp.diag(beside, -1))
    last = jnp.abs(vectors[k - 1, 0]) + jnp.abs(vectors[k - 1, -1])
    return search._replace(bandwidth=levels[-1] - levels[0], residual=search.beside[k - 1] * last)
