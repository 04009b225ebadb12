"""How state and work begin to move; of the rate at which the work rises also the derivative."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxbatt._types import Scalar
from jaxbatt.hamiltonian import times_i
from jaxbatt.solvers._system import Stretch, System, two_rows


def beginning(system: System, stretch: Stretch, work: Scalar) -> tuple[Scalar, Scalar]:
    """W''(0) = 2 <H psi|H_0|H psi> - 2 Re <H_0 psi|H**2 psi>, and the :func:`motion`; ``work`` is the most there can be."""
    energy, operator, (center, radius) = system.energy(), stretch.operator, stretch.bounds
    rows = two_rows(system.initial_rows())
    driven = operator.apply(rows)
    onset = 2 * jnp.sum(driven * energy.apply(driven) - energy.apply(rows) * operator.apply(driven))
    moves = jnp.linalg.norm(driven - jnp.sum(rows * driven) * rows)
    return onset, motion(moves, jnp.abs(center) + radius, work)


def motion(moves: Scalar, size: Scalar, work: Scalar) -> Scalar:
    """How fast a state moves, or 0 if it rests: if that is rounding of an H of this size, which is little beside the work."""
    rounding = 64 * jnp.finfo(moves.dtype).eps
    return jnp.where((moves <= rounding * size) & (rounding**0.5 * size <= work), 0, moves)


@eqx.filter_custom_vjp
def initial_rate(inputs: tuple[System, Float[Array, "*n"]]) -> Scalar:
    """W'(0) = 2 Re <i H_0 psi|H psi>, for a system and the field at the beginning."""
    system, level = inputs
    rows = two_rows(system.initial_rows())
    return 2 * jnp.sum(times_i(system.energy().apply(rows)) * system.generator(level).apply(rows))


@initial_rate.def_fwd
def _forward(perturbed: Any, inputs: tuple[System, Float[Array, "*n"]]) -> tuple[Scalar, None]:
    return initial_rate(inputs), None


@initial_rate.def_bwd
def _backward(kept: None, cotangent: Scalar, perturbed: Any, inputs: tuple[System, Float[Array, "*n"]]) -> Any:
    def parts(system: System, level: Float[Array, "*n"]) -> tuple[Any, Any, Any]:
        return system.energy(), system.generator(level), system.initial_rows()

    (energy, operator, start), pull = jax.vjp(parts, *inputs)
    rows = two_rows(start)
    # 2 <i H_0 psi|H psi> = 2 <psi|-i H_0 H psi>.
    none, one = jax.tree.map(jnp.zeros_like, (energy, operator)), jnp.ones((), rows.dtype)
    driven, back, from_operator = operator.paired(rows, 2 * cotangent * times_i(energy.apply(rows)), none[1], one)
    _, more, from_energy = energy.paired(rows, -2 * cotangent * times_i(driven), none[0], one)
    found = pull((from_energy, from_operator, (back + more)[: len(start)]))
    return jax.tree.map(lambda x, pulled: pulled if eqx.is_inexact_array(x) else None, inputs, found)
