"""What is turned: a point of the search space, the protocol and battery it stands for, and the way back into the bounds."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._checks import check_finite
from jaxbatt._types import Amplitudes, Scalar
from jaxbatt.battery import Battery
from jaxbatt.protocols import ConstantField, FourierField, PiecewiseField, Protocol

CouplingChoice: TypeAlias = Literal["given", "nonnegative", "signed"]

_SLACK = 1e-12
"""Relative distance that is kept from a bound which is reached by scaling, so that rounding does not cross it."""


class Point(NamedTuple):
    """One point of the search space, in units in which 1 is a large step.

    Attributes:
        field: (M, *N) the levels of the field, from -1 at the lower bound to 1 at the upper; of a FourierField its
            coefficients in the same units.
        log_time: log(T / scale).
        couplings: g_ij for i < j with root mean square 1, or None where they are given.
    """

    field: Float[Array, m * n]
    log_time: Scalar
    couplings: Float[Array, " pairs"] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """The points that are allowed.

    Args:
        template: the protocol, for its kind, axis and shape.
        low, high: bounds of its levels, of the shape of the levels.
        scale: the duration at log_time = 0.
        widest: a free duration lies between scale / widest and scale * widest; 1 holds it.
        energy: most pulse energy int sum_i u_i^2 dt, or None.
        n_spins: number of spins N.
        strength: root of the sum of g_ij^2 over pairs of the given couplings, where they are designed.
        signed: whether designed couplings may be negative.
    """

    template: Protocol
    low: Float[np.ndarray, k * n]
    high: Float[np.ndarray, k * n]
    scale: float
    widest: float
    energy: float | None
    n_spins: int
    strength: float | None = None
    signed: bool = False

    @property
    def half(self) -> Float[np.ndarray, k * n]:
        """Half the distance between the bounds."""
        return (self.high - self.low) / 2

    @property
    def middle(self) -> Float[np.ndarray, k * n]:
        return (self.high + self.low) / 2

    def time(self, point: Point) -> Scalar:
        """The duration T."""
        return self.scale * jnp.exp(point.log_time)

    def protocol(self, point: Point) -> Protocol:
        """The protocol of a point; within the bounds if the point is."""
        template, time = self.template, self.time(point)
        if isinstance(template, FourierField):
            # The bounds of a series are the same at all times.
            coefficients = self.half[0] * point.field
            cosines = coefficients[: len(template.cosines)].at[0].add(self.middle[0])
            sines = coefficients[len(template.cosines) :]
            return FourierField(cosines, sines, time, template.samples, template.axis)
        inside = self.middle + self.half * point.field
        # Rounding must not leave the bounds; the derivative is that of the line before.
        levels = inside + jax.lax.stop_gradient(jnp.clip(inside, self.low, self.high) - inside)
        if isinstance(template, ConstantField):
            return ConstantField(levels[0], template.axis)
        return PiecewiseField(levels, time, template.axis)

    def battery(self, point: Point, given: Battery) -> Battery:
        """The given battery, with the couplings of the point where they are designed."""
        if point.couplings is None:
            return given
        pairs = self._strength() * point.couplings / jnp.linalg.norm(point.couplings)
        upper = jnp.zeros((self.n_spins,) * 2).at[np.triu_indices(self.n_spins, 1)].set(pairs)
        return eqx.tree_at(lambda b: b.couplings, given, upper + upper.T)

    def project(self, point: Point) -> Point:
        """The point with everything out of bounds brought back: levels and duration one by one, series and energy by scaling."""
        limit = np.log(self.widest)
        point = point._replace(log_time=jnp.clip(point.log_time, -limit, limit))
        if isinstance(self.template, FourierField):
            size = jnp.abs(_series(self.template) @ point.field).max(axis=0)
            point = point._replace(field=point.field / jnp.maximum(1.0, size * (1 + _SLACK)))
        else:
            point = point._replace(field=jnp.clip(point.field, -1.0, 1.0))
        if self.energy is not None:
            used = pulse_energy(self.protocol(point), self.time(point), self.n_spins)
            smaller = jnp.minimum(1.0, jnp.sqrt(self.energy * (1 - _SLACK) / jnp.maximum(used, self.energy * _SLACK)))
            point = point._replace(field=self._scaled(point.field, smaller))
        if point.couplings is not None:
            pairs = point.couplings if self.signed else jnp.maximum(point.couplings, 0)
            norm = jnp.linalg.norm(pairs)
            pairs = jnp.where(norm > 0, pairs, 1.0) / jnp.where(norm > 0, norm / np.sqrt(pairs.size), 1.0)
            point = point._replace(couplings=pairs)
        return point

    def point(self, levels: Amplitudes, time: Any, couplings: Array | None = None) -> Point:
        """The allowed point nearest to a field (K, *N); (K, 1) or (1, 1) stands for equal values."""
        deviation = (jnp.broadcast_to(levels, self.low.shape) - self.middle) / np.where(self.half > 0, self.half, 1)
        if isinstance(self.template, FourierField):
            deviation = jnp.linalg.pinv(_series(self.template)) @ deviation
        return self.project(Point(deviation, jnp.log(jnp.asarray(time, float) / self.scale), couplings))

    def held(self, point: Point, slopes: Point) -> Point:
        """The slopes of a loss, without those that push a level or the duration out of bounds where it stands at one."""
        limit = np.log(self.widest)

        def inside(x: Array, slope: Array, edge: Any) -> Array:
            return jnp.where(((x >= edge) & (slope < 0)) | ((x <= -edge) & (slope > 0)), 0.0, slope)

        field = slopes.field if isinstance(self.template, FourierField) else inside(point.field, slopes.field, 1.0)
        return slopes._replace(
            field=jnp.where(self._frozen(), 0.0, field), log_time=inside(point.log_time, slopes.log_time, limit)
        )

    def _frozen(self) -> np.ndarray:
        frozen = self.half == 0
        return frozen[:1] if isinstance(self.template, FourierField) else frozen

    def _scaled(self, field: Array, factor: Scalar) -> Array:
        """The field u -> factor u, where middle + half x = u."""
        moved = self.middle / np.where(self.half > 0, self.half, 1) * (factor - 1)
        if isinstance(self.template, FourierField):
            return (factor * field).at[0].add(moved[0])
        return factor * field + moved

    def _strength(self) -> float:
        assert self.strength is not None
        return self.strength


def pulse_energy(protocol: Protocol, time: Scalar, n_spins: int) -> Scalar:
    """int_0^T sum_i u_i(t)^2 dt over all spins."""
    edges = jnp.minimum(protocol.edges, time)
    per_spin = jnp.broadcast_to(protocol.levels.reshape(len(edges), -1), (len(edges), n_spins))
    return jnp.sum(jnp.diff(edges, prepend=0.0) * jnp.sum(per_spin**2, axis=1))


def level_bounds(bounds: Any, protocol: Protocol, n_spins: int) -> tuple[np.ndarray, np.ndarray]:
    """The bounds as two arrays of the shape of the levels; refuses those that are no bounds."""
    shape = protocol.levels.shape
    try:
        low, high = bounds
    except (TypeError, ValueError):
        raise ValueError(f"`bounds` must be the pair (lowest, highest) of the field, but it is {bounds!r}.") from None
    sides = []
    for name, side in (("lowest", low), ("highest", high)):
        check_finite(f"bounds {name}", side)
        try:
            sides.append(np.broadcast_to(np.asarray(side, float), shape))
        except ValueError:
            raise ValueError(
                f"`bounds` must be numbers or arrays that fit the levels {shape} of the field, but the {name} has shape "
                f"{np.shape(side)}; a field with values for each of the {n_spins} spins takes bounds for each."
            ) from None
    if np.any(sides[0] > sides[1]):
        raise ValueError(f"`bounds` must be (lowest, highest), but {low} > {high}.")
    if isinstance(protocol, FourierField) and any(np.any(side != side[:1]) for side in sides):
        raise ValueError("`bounds` of a FourierField must be the same at all times; give a number, or one for each spin.")
    return sides[0], sides[1]


def _series(field: FourierField) -> Float[np.ndarray, "k m"]:
    """(samples, coefficients) matrix from the coefficients to the levels."""
    phase = 2 * np.pi * (np.arange(field.samples)[:, None] + 0.5) / field.samples
    return np.hstack([np.cos(phase * np.arange(len(field.cosines))), np.sin(phase * np.arange(1, len(field.sines) + 1))])
