"""How a maximum over time moves with the numbers of the problem: the envelope theorem and the implicit function theorem.

With F(T, theta) = T**2 dP/dT = W' T - W (of the power) or W' (of the work), an inner maximum has F = 0, so that
dT/dtheta = -(dF/dtheta) / (dF/dT), while dP/dtheta is that at fixed T. A maximum where the search ends, or where the
field jumps, moves with that time.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxbatt._types import Scalar
from jaxbatt.maxima import Found, Objective
from jaxbatt.solvers import Evolution


def differentiable_maximum(evolution: Evolution, objective: Objective, horizon: Scalar, found: Found) -> Found:
    """The maximum that was found, as a differentiable function of the evolution and the horizon.

    A maximum of the power at T = 0 is the slope W'(0), or 0 where no work is ever stored, whatever the numbers nearby. The time
    has derivative 0 where nothing fixes it (W = 0 throughout).
    """
    at = jax.lax.stop_gradient(found.time)
    edge, bound = _bound(evolution, horizon, at)
    fixed = jnp.where(bound, edge, at)
    work = evolution.curve(fixed[None])[1].work[0]
    rate, curvature = evolution.rates(at)
    if objective == "power":
        # A branch that is not taken costs nothing: most often one time is enough for the derivative of the power.
        at_once = (at == 0) & (jax.lax.stop_gradient(found.value) > 0)
        later = jnp.where(at > 0, work / jnp.where(at > 0, fixed, 1), 0)
        value = jax.lax.cond(at_once, lambda: evolution.initial_rate(), lambda: later)
        slope, change = rate * at - work, curvature * at
    else:
        value, slope, change = work, rate, curvature
    change = jax.lax.stop_gradient(change)
    moves = (at > 0) & ~bound & (change != 0)
    step = jnp.where(moves, -slope / jnp.where(moves, change, 1), 0)
    step = step - jax.lax.stop_gradient(step)
    return Found(value, fixed + step, work + jax.lax.stop_gradient(rate) * step)


def _bound(evolution: Evolution, horizon: Scalar, at: Scalar) -> tuple[Scalar, Array]:
    """The end of the search or of a piece at which the maximum lies, and whether it does."""
    last = evolution.edges[-1]
    # The horizon first, which bounds the search where it equals an edge, too. Not jnp.minimum, which halves the derivative there.
    ends = jnp.append(jnp.where(horizon <= last, horizon, last), evolution.edges)
    near = jnp.abs(ends - at) <= 64 * jnp.finfo(at.dtype).eps * at
    return ends[jnp.argmax(near)], near.any()
