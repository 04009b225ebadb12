"""What the way back is given, and what the output times put into it: a cotangent for each of their states."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxbatt._order import zero_after, zeros_after
from jaxbatt._types import Amplitudes, Magnetization, Rows, Scalar, Times
from jaxbatt.bounds import Bounds
from jaxbatt.solvers._system import System

T = TypeVar("T")


class Cotangents(NamedTuple):
    """Of a record: of the work (T,) and of the magnetization (T, 3), the latter None where nothing depends on it."""

    work: Times
    magnetization: Magnetization | None

    def where(self, mine: Bool[Array, " t"]) -> Cotangents:
        """Those of some outputs, zero for all others."""
        return jax.tree.map(lambda x: jnp.where(mine.reshape(-1, *[1] * (x.ndim - 1)), x, 0), self)


class Derivatives(NamedTuple):
    """With respect to the numbers of the system, the field on each piece, the ends of the pieces, and the output times."""

    system: Any
    levels: Amplitudes
    edges: Float[Array, " k"]
    times: Times


class Sweep(NamedTuple):
    """What the way back needs and does not change: the problem, and the outputs that matter, the earliest first."""

    system: System
    levels: Amplitudes
    edges: Float[Array, " k"]
    rate: Scalar
    times: Times
    order: Int[Array, " t"]
    cotangents: Cotangents
    fixed: tuple[Any, Bounds] | None = None
    """What :meth:`driving` gives where the field never changes."""

    def level(self, piece: Int[Array, ""]) -> Float[Array, "*n"]:
        """The field on a piece."""
        return self.levels[0] if len(self.levels) == 1 else self.levels[piece]

    def driving(self, piece: Int[Array, ""]) -> tuple[Any, Bounds]:
        """The Hamiltonian on a piece, and what encloses its spectrum."""
        if self.fixed is not None:
            return self.fixed
        level = self.level(piece)
        operator = self.system.generator(level)
        return operator, self.system.enclosed(operator, level)


class Outputs(NamedTuple):
    """Outputs of one segment: offsets from its anchor, cotangents of their records; zero where there is none."""

    positions: Int[Array, " m"]
    mine: Bool[Array, " m"]
    times: Float[Array, " m"]
    cotangents: Cotangents


def outputs_of(sweep: Sweep, first: Int[Array, ""], stop: Int[Array, ""], begin: Scalar, width: int) -> Outputs:
    """The outputs first, ..., stop - 1 that do not lie before ``begin``."""
    index = first + jnp.arange(width)
    safe = jnp.minimum(index, len(sweep.times) - 1)
    times = sweep.times[safe]
    mine = (index < stop) & (times >= begin)
    cotangents = jax.tree.map(lambda x: x[safe], sweep.cotangents)
    return Outputs(sweep.order[safe], mine, times, cotangents.where(mine))


def cotangent_states(
    sweep: Sweep, operator: Any, states: Float[Array, "2 m d"], outputs: Outputs, derivatives: Derivatives
) -> tuple[Float[Array, "2 m d"], Derivatives]:
    """Puts in place of each output's state the cotangent that its record gives it; adds what H_0 and the times gain from it.

    Those of the ``states`` that come after the outputs are left as they are.
    """
    # After the states, and after all that was measured: the way back would hold H_0 from its beginning.
    energy = late_numbers(sweep.system, states, derivatives.times).energy()
    nothing = zeros_after(energy, *jax.tree.leaves(energy))

    def one(m: Int[Array, ""], carry: tuple[Array, Any, Times]) -> tuple[Array, Any, Times]:
        states, from_energy, times = carry
        rows = states[:, m]
        work, magnetization = jax.tree.map(lambda x: x[m], outputs.cotangents)
        product, from_energy = squared(energy, rows, from_energy, work)
        cotangent = 2 * work * product
        if magnetization is not None:
            cotangent = cotangent + jax.lax.cond(
                jnp.any(magnetization != 0),
                lambda: jax.vjp(sweep.system.magnetization, rows)[1](magnetization)[0],
                lambda: jnp.zeros_like(rows),
            )
        change = jnp.where(outputs.mine[m], rate_of(operator, rows, cotangent), 0).astype(times.dtype)
        return states.at[:, m].set(cotangent), from_energy, times.at[outputs.positions[m]].add(change)

    states, from_energy, times = jax.lax.fori_loop(0, len(outputs.positions), one, (states, nothing, derivatives.times))
    pulled = jax.vjp(lambda system: system.energy(), sweep.system)[1](from_energy)[0]
    system = jax.tree.map(add, derivatives.system, pulled)
    return states, derivatives._replace(system=system, times=times)


def squared(operator: Any, rows: Rows, total: Any, weight: Scalar) -> tuple[Rows, Any]:
    """H psi, and total + weight * the derivative of <psi|H psi>; of a real H row by row, which holds half as much."""
    if not operator.is_real:
        product, _, total = operator.paired(rows, rows, total, weight)
        return product, total

    def one(r: Int[Array, ""], carry: tuple[Rows, Any]) -> tuple[Rows, Any]:
        product, total = carry
        row = jax.lax.dynamic_slice_in_dim(rows, r, 1)
        new, _, total = operator.paired(row, row, total, weight)
        return jax.lax.dynamic_update_slice_in_dim(product, new, r, 0), total

    return jax.lax.fori_loop(0, len(rows), one, (rows, total))


def late_numbers(numbers: T, *arrays: Array) -> T:
    """The same numbers, of which nothing is made before these arrays."""
    done = zero_after(*arrays)
    return jax.tree.map(lambda x: x + done.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.inexact) else x, numbers)


def add(*parts: Any) -> Any:
    return sum(parts[1:], parts[0]) if jnp.issubdtype(parts[0].dtype, jnp.inexact) else parts[0]


def rate_of(operator: Any, rows: Rows, cotangent: Rows) -> Scalar:
    """Re <cotangent| -i H psi>, how fast the result changes if the state is evolved for longer."""
    product = operator.apply(rows)
    return jnp.sum(cotangent[0] * product[1] - cotangent[1] * product[0])
