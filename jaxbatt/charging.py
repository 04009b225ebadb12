"""Charging a battery: the curve W(t), its maxima, and which solver computes them. The page to read first."""

from __future__ import annotations

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from jaxbatt._checks import check_flags, check_positive, check_scalar, check_times, concrete, known
from jaxbatt._types import Scalar, ScalarLike, Times
from jaxbatt.battery import Battery, PauliBattery, SpinBattery
from jaxbatt.frames import turned, turned_back
from jaxbatt.maxima import MAX_WINDOWS, Found, Objective, find_maximum
from jaxbatt.protocols import ConstantField, Protocol
from jaxbatt.results import ChargingCurve, Info, Peak, solving
from jaxbatt.slopes import differentiable_maximum
from jaxbatt.solvers import Carry, Collective, Record, Solver, Spectral, StateVector, check_kinds, guarded, is_uniform

_SPECTRAL_ALWAYS = 4
_SPECTRAL_LONG = 12
_LONG_PHASE = 5000.0

Result = TypeVar("Result", ChargingCurve, Peak)
Finding = TypeVar("Finding", Record, Found)


class Uncertain(ValueError):
    """The search for a maximum was given up; ``peak`` is the best that it found."""

    def __init__(self, message: str, peak: Peak) -> None:
        super().__init__(message)
        self.peak = peak


def charge(battery: Battery, protocol: Protocol, times: Times, *, solver: Solver | None = None) -> ChargingCurve:
    """Charges a battery and returns its stored work W(t) = <H_0>_t - <H_0>_0 and its power P = W / t.

    Args:
        battery: a ``SpinBattery`` or a ``PauliBattery``.
        protocol: the charging field.
        times: (T,) charging times from 0 on, not decreasing, in units of 1/B.
        solver: ``StateVector``, ``Spectral``, ``Collective`` or ``MeanField``; by default :func:`default_solver` chooses.

    Returns:
        A :class:`ChargingCurve`; its ``info.error`` bounds the error of the work.

    Raises:
        ValueError: bad times, a solver that does not apply, a state that does not fit the memory, a tolerance that
            cannot be met. Inside ``jit`` the last shows as NaN and ``info.valid == False`` instead.

    Example:
        >>> battery = SpinBattery(1.0, nearest_neighbor(4, 1.0))
        >>> charge(battery, ConstantField(4.0), jnp.linspace(0, 0.5, 200)).work.shape
        (200,)
    """
    check_kinds(battery, protocol, solver)
    check_times(times)
    times = _up_to_end("times", protocol, times)
    known_times = concrete(times)
    horizon = times[-1] if known_times is None else known_times[-1]
    solver = solver if solver is not None else default_solver(battery, protocol, horizon)
    with solving(solver):
        problem = solver.prepare(*turned(battery, protocol), horizon)
        return _checked(_charge(solver, problem, times, protocol.axis == "y"), solver)


def max_power(battery: Battery, protocol: Protocol, *, solver: Solver | None = None, first_peak: bool = False) -> Peak:
    """Finds the charging time T of the greatest average power W(T) / T, over all T > 0.

    The search ends at t > C / P_best, where C is the most work there can be: no later time can beat P_best.

    Args:
        battery: a ``SpinBattery`` or a ``PauliBattery``.
        protocol: the charging field; one of finite duration is searched to its end.
        solver: see :func:`charge`.
        first_peak: stop at the first local maximum of positive power at T > 0 instead.

    Returns:
        A :class:`Peak`; its time is accurate to about 1e-8 relative. From a state that is no eigenstate of H_0 the power
        may be greatest at once: the time is then 0 and the power its limit there. Where no work is stored at any time, all
        three are 0, or what rounding leaves, which is within ``info.error``, at any time. In single precision the derivatives of
        the time of a flat maximum may err by tens of percent, those of the power do not.

    Raises:
        ValueError: as :func:`charge`, or the search was given up before the maximum was certain.

    Source: Le et al., PRA 97, 022106 (2018), section II.
    """
    check_kinds(battery, protocol, solver)
    check_flags(first_peak=first_peak)
    return _maximum(battery, protocol, "power", bool(first_peak), jnp.inf, solver)


def max_work(battery: Battery, protocol: Protocol, *, horizon: ScalarLike | None = None, solver: Solver | None = None) -> Peak:
    """Finds the charging time T of the greatest work W(T) for T <= horizon.

    Args:
        battery: a ``SpinBattery`` or a ``PauliBattery``.
        protocol: the charging field.
        horizon: longest charging time; the protocol's duration by default, and needed where it has none.
        solver: see :func:`charge`.

    Returns:
        A :class:`Peak`; its time is accurate to about 1e-8 relative. Where W(T) is never positive, it is T = 0.

    Raises:
        ValueError: as :func:`charge`, or no horizon, or one too long to be searched.
    """
    check_kinds(battery, protocol, solver)
    if horizon is None:
        horizon = protocol.edges[-1]
        if isinstance(protocol, ConstantField):
            raise ValueError("`horizon` is needed: the field never ends, and the work may have its maximum at any late time.")
    check_scalar("horizon", horizon)
    check_positive("horizon", horizon, "give the longest charging time")
    return _maximum(battery, protocol, "work", False, _up_to_end("horizon", protocol, horizon), solver)


def default_solver(battery: Battery, protocol: Protocol, horizon: ScalarLike) -> Solver:
    """The solver that ``solver=None`` stands for.

    Uniform all-to-all batteries from 5 spins on: ``Collective``. Up to 4 spins, or up to 12 and so long a time that
    stepping would take thousands of Hamiltonian applications: ``Spectral``. Else ``StateVector``. Numbers that JAX is
    tracing count as neither uniform nor long.
    """
    n = battery.n_spins
    if n > _SPECTRAL_ALWAYS and isinstance(battery, SpinBattery) and battery.start != "array" and is_uniform(battery, protocol):
        return Collective()
    if n <= _SPECTRAL_ALWAYS:
        return Spectral()
    return Spectral() if n <= _SPECTRAL_LONG and rough_phase(battery, protocol, horizon) > _LONG_PHASE else StateVector()


def rough_phase(battery: Battery, protocol: Protocol, horizon: ScalarLike) -> float:
    """||H|| t, roughly, where it is known: the number of Hamiltonian applications that stepping would take."""
    terms, factor = (battery.drift.coefficients, 1) if isinstance(battery, PauliBattery) else (battery.couplings, 0.5)
    numbers = known((terms, protocol, horizon))
    if numbers is None or not np.isfinite(numbers[2]):
        return 0.0
    terms, protocol, time = numbers
    with np.errstate(over="ignore"):
        return float((factor * np.abs(terms).sum() + battery.n_spins * np.abs(protocol.levels).max()) * time)


def _maximum(
    battery: Battery, protocol: Protocol, objective: Objective, first: bool, horizon: ScalarLike, solver: Solver | None
) -> Peak:
    solver = solver if solver is not None else default_solver(battery, protocol, horizon)
    with solving(solver):
        problem = solver.prepare(*turned(battery, protocol))
        peak = _checked(_peak(solver, problem, objective, first, jnp.asarray(horizon, float)), solver)
        return _certain(peak, objective)


@eqx.filter_jit
def _charge(solver: Solver, problem: Any, times: Times, along_y: bool) -> ChargingCurve:
    evolution = solver.evolve(problem)
    # Traced times cannot be refused.
    ordered = jnp.all(jnp.diff(times, prepend=0) >= 0)
    carry, record = evolution.curve(jnp.where(ordered, times, 0))
    carry = carry._replace(valid=carry.valid & ordered & jnp.isfinite(carry.error))
    work, magnetization = _poisoned(record, carry.valid)
    magnetization = turned_back(magnetization) if along_y else magnetization
    return ChargingCurve(times, work, work / jnp.where(times > 0, times, jnp.inf), magnetization, _info(carry, solver))


@eqx.filter_jit
def _peak(solver: Solver, problem: Any, objective: Objective, first: bool, horizon: Scalar) -> Peak:
    inputs = guarded((problem, horizon), f"max_{objective} with {type(solver).__name__}")
    best, certified, info = _best(inputs, solver=solver, objective=objective, first=first)
    value, time, work = _poisoned(best, info.valid)
    power = value if objective == "power" else work / jnp.where(time > 0, time, jnp.inf)
    return Peak(power, time, work, certified, info)


@eqx.filter_custom_vjp
def _best(
    inputs: tuple[Any, Scalar], *, solver: Solver, objective: Objective, first: bool
) -> tuple[Found, Bool[Array, ""], Info]:
    problem, horizon = inputs
    evolution = solver.evolve(problem)
    best, certified, carry = find_maximum(evolution, objective, first, horizon)
    # A traced horizon cannot be refused; rounding is forgiven as in one that is known.
    end = evolution.edges[-1] * (1 + 4 * jnp.finfo(horizon.dtype).eps)
    allowed = (horizon > 0) & ((objective == "power") | (horizon <= end)) & jnp.isfinite(carry.error)
    return best, certified, _info(carry._replace(valid=carry.valid & allowed), solver)


@_best.def_fwd
def _best_forward(perturbed: Any, inputs: tuple[Any, Scalar], **options: Any) -> tuple[Any, Found]:
    outcome = _best(inputs, **options)
    return outcome, outcome[0]


@_best.def_bwd
def _best_backward(
    best: Found, cotangents: Any, perturbed: Any, inputs: tuple[Any, Scalar], *, solver: Solver, objective: Objective, first: bool
) -> Any:
    """Pulls back only through those of value, time and work that are asked for: the value alone costs least."""
    asked = [x is not None for x in cotangents[0]]

    def moving(inputs: tuple[Any, Scalar]) -> list[Scalar]:
        problem, horizon = inputs
        found = differentiable_maximum(solver.evolve(problem), objective, horizon, best)
        return [x for x, wanted in zip(found, asked, strict=True) if wanted]

    _, pull = eqx.filter_vjp(moving, inputs)
    return pull([x for x in cotangents[0] if x is not None])[0]


def _info(carry: Carry, solver: Solver) -> Info:
    return Info(carry.error, carry.applications, carry.valid, str(solver))


def _poisoned(found: Finding, valid: Bool[Array, ""]) -> Finding:
    """NaN for all that was found where it is not valid, and for its derivatives, so that nothing can use it unawares."""
    factor = jnp.where(valid, 1.0, jnp.nan)
    return jax.tree.map(lambda x: x * factor.astype(x.dtype), found)


def _checked(result: Result, solver: Solver) -> Result:
    """Turns the flags of a result into an exception, where they can be read."""
    valid = concrete(result.info.valid)
    if valid is None:
        return result
    if not valid:
        error = float(result.info.error)
        overflow = "" if np.isfinite(error) else "; or, if its numbers overflow, take smaller couplings, fields or times"
        raise ValueError(
            f"{solver} did not meet its tolerance: the error of the work is estimated as {error:.1e} after "
            f"{int(result.info.applications)} Hamiltonian applications; {solver.remedy}{overflow}."
        )
    return result


def _certain(peak: Peak, objective: Objective) -> Peak:
    """Refuses a maximum that the search could not make certain, where that can be read."""
    certified = concrete(peak.certified)
    if certified is None or certified:
        return peak
    search = f"the maximum is not certain: the search would take more than {MAX_WINDOWS} windows of the shortest period"
    if objective == "work":
        found = ", so that not all times up to the horizon were searched; pass a shorter horizon."
    elif not peak.work > 0:
        found = ", and found no positive work before it was given up; ask max_work for that up to a horizon."
    else:
        found = (
            f"; up to there the best is power {float(peak.power):.6g} at time {float(peak.time):.6g}. "
            "Ask for the first peak of the power (first_peak=True), or for max_work up to a horizon."
        )
    raise Uncertain(search + found, peak)


def _up_to_end(name: str, protocol: Protocol, times: Any) -> Array:
    """The times, those at the end of the protocol that are later by rounding; refuses what is later by more, where it is known.

    The rounding is that of the dtypes that times and duration were given in.
    """
    given, field = concrete(times), known(protocol)
    if isinstance(protocol, ConstantField) or given is None or field is None:
        return jnp.asarray(times, float)
    end, last = field.edges[-1], given.max()
    eps = max(jnp.finfo(jnp.result_type(x, jnp.float16)).eps for x in (given, end))
    if last > end * (1 + 4 * eps):
        raise ValueError(
            f"`{name}` must end with the protocol, but {last} is later than its duration of {end}; "
            f"shorten `{name}` or lengthen the field."
        )
    return jnp.asarray(np.minimum(given, end) if last > end else times, float)
