"""What every solver gives: charging curves and their maxima, with an error estimate."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager

import equinox as eqx
import jax
from jaxtyping import Array, Bool, Int

from jaxbatt._types import Magnetization, Scalar, Times


class Info(eqx.Module):
    """How a result came about, and how far it can be trusted.

    Attributes:
        error: estimate that bounds |W - W_exact| at every time of the result, in units of energy.
        applications: number of applications of the Hamiltonian to a state.
        valid: False where the result could not be computed to the tolerance asked for; the values are then NaN.
        method: the solver, as it prints.
    """

    error: Scalar
    applications: Int[Array, ""]
    valid: Bool[Array, ""]
    method: str = eqx.field(static=True)

    def __repr__(self) -> str:
        return eqx.tree_pformat(self, short_arrays=False)


def solving(solver: object) -> AbstractContextManager[None]:
    """Names the solver in all that JAX traces meanwhile, for profiles and for :func:`solvers_in`."""
    return jax.named_scope(f"solver<{solver}>")


def solvers_in(scope: str) -> list[str]:
    """The solvers that the scope of a traced operation names."""
    return re.findall("solver<([^<>]*)>", scope)


class ChargingCurve(eqx.Module):
    """Stored work and power against charging time.

    Attributes:
        times: (T,) charging times.
        work: (T,) stored work W(t) = <H_0>_t - <H_0>_0.
        power: (T,) average power P = W(t) / t; 0 at t = 0.
        magnetization: (T, 3) mean of <X_i>, <Y_i>, <Z_i> over the spins.
        info: error estimate, Hamiltonian applications, method.
    """

    times: Times
    work: Times
    power: Times
    magnetization: Magnetization
    info: Info


class Peak(eqx.Module):
    """A maximum over the charging time.

    Attributes:
        power: average power W(T) / T at the maximum.
        time: charging time T of the maximum.
        work: stored work W(T).
        certified: whether no later time can be better (of a global maximum of power: T is beaten by no t, because
            W(t) <= C and all t up to C / P were searched; of a maximum of work: the horizon was searched).
        info: error estimate, Hamiltonian applications, method.
    """

    power: Scalar
    time: Scalar
    work: Scalar
    certified: Bool[Array, ""]
    info: Info

    def __repr__(self) -> str:
        return eqx.tree_pformat(self, short_arrays=False)
