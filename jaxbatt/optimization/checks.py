"""Refusals of the tools that ``optimize`` is given: each would fail from far below, or late, or be taken for something else."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxbatt._checks import check_flags, concrete
from jaxbatt.optimization.objectives import End, Penalty
from jaxbatt.optimization.space import Space
from jaxbatt.solvers import check_is_solver


def check_tools(*, optimizer: Any, penalty: Any, callback: Any, solver: Any, key: Any, free_duration: Any) -> None:
    """Refuses what is of another kind; None stands for the default of each but the last."""
    kinds = (
        (
            "optimizer",
            optimizer,
            isinstance(optimizer, optax.GradientTransformation),
            "an optimizer of optax, as optax.adam(0.1)",
        ),
        ("penalty", penalty, isinstance(penalty, Penalty), "a jaxbatt.Penalty, as Penalty(energy=0.1)"),
        ("callback", callback, callable(callback), "a function of a report"),
        ("key", key, _is_key(key), "one key, as jax.random.key(0)"),
    )
    for name, value, is_right, wanted in kinds:
        if value is not None and not is_right:
            raise ValueError(f"`{name}` must be {wanted}, but it is {_shown(value)}.")
    if solver is not None:
        check_is_solver(solver)
    check_flags(free_duration=free_duration)


def check_numbers(**numbers: Any) -> None:
    """Refuses what is no single real number, unless it is None."""
    for name, value in numbers.items():
        array = concrete(value)
        if value is not None and (array is None or array.shape != () or array.dtype.kind not in "fiu"):
            raise ValueError(f"`{name}` must be one real number, but it is {_shown(value)}.")


def check_objective(objective: Any, space: Space) -> None:
    """Refuses a function of an :class:`End` that does not give one real number."""
    if not callable(objective):
        return
    try:
        value = jax.eval_shape(objective, blank_end(space))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise ValueError(
            "`objective` cannot be traced by JAX; write it in jax.numpy, without float(), NumPy or `if` on its numbers."
        ) from error
    if not (
        isinstance(value, jax.ShapeDtypeStruct) and value.shape == () and not jnp.issubdtype(value.dtype, jnp.complexfloating)
    ):
        raise ValueError(f"`objective` must return one real number, but it returns {_shown(value)}.")


def blank_end(space: Space) -> End:
    """An end of a charging curve, for its structure."""
    zero = jnp.zeros(())
    return End(zero, zero, zero, jnp.zeros(3), space.template)


def _is_key(key: Any) -> bool:
    return isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()


def _shown(value: Any) -> str:
    return " ".join(repr(value).split())
