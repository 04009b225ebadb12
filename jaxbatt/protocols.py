"""Charging fields as functions of time: sum_i u_i(t) P_i along one axis, piecewise constant."""

from __future__ import annotations

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._checks import check_finite, check_positive
from jaxbatt._types import Amplitudes, Axis, PerSpin, Scalar, ScalarLike


class Protocol(eqx.Module):
    """A charging field that is constant on each of K pieces; it knows no battery."""

    axis: eqx.AbstractVar[Axis]

    @property
    @abc.abstractmethod
    def levels(self) -> Amplitudes:
        """(K,) or (K, N) field on each piece, in units of energy."""

    @property
    @abc.abstractmethod
    def edges(self) -> Float[Array, " k"]:
        """(K,) end time of each piece; infinite where the last piece never ends."""

    def __call__(self, t: ScalarLike) -> PerSpin:
        """The field at time t: a scalar, or (N,)."""
        piece = jnp.searchsorted(self.edges, jnp.asarray(t, float), side="right")
        return self.levels[jnp.minimum(piece, self.levels.shape[0] - 1)]


class ConstantField(Protocol):
    """The field V = sum_i omega_i P_i, switched on at t = 0 and never off.

    Args:
        omega: amplitude, a scalar or (N,) with one value for each spin (zeros leave a spin alone), in units of B.
        axis: "x" (the paper), "y" or "z".

    Raises:
        ValueError: omega is not finite or has more than one dimension; the axis is unknown.

    Source: Le et al., PRA 97, 022106 (2018), Eq. 3.
    """

    omega: PerSpin
    axis: Axis = eqx.field(static=True)

    def __init__(self, omega: ScalarLike | PerSpin, axis: Axis = "x") -> None:
        _check_axis(axis)
        check_finite("omega", omega)
        if np.ndim(omega) > 1:
            raise ValueError(f"`omega` must be a scalar or (N,), but its shape is {np.shape(omega)}.")
        self.omega = jnp.asarray(omega, float)
        self.axis = axis

    @property
    def levels(self) -> Amplitudes:
        return self.omega[None]

    @property
    def edges(self) -> Float[Array, " k"]:
        return jnp.full(1, jnp.inf)


class PiecewiseField(Protocol):
    """A field that takes K values in turn, each for the time duration / K.

    Args:
        amplitudes: (K,) for a uniform field or (K, N) with one value for each spin, in units of B.
        duration: total time, in units of 1/B.
        axis: "x", "y" or "z".

    Raises:
        ValueError: amplitudes not finite or of another shape; duration not positive; the axis is unknown.
    """

    amplitudes: Amplitudes
    duration: Scalar
    axis: Axis = eqx.field(static=True)

    def __init__(self, amplitudes: Amplitudes, duration: ScalarLike, axis: Axis = "x") -> None:
        _check_axis(axis)
        check_finite("amplitudes", amplitudes)
        if np.ndim(amplitudes) not in (1, 2) or np.shape(amplitudes)[0] < 1:
            raise ValueError(f"`amplitudes` must have shape (K,) or (K, N) with K >= 1, but its shape is {np.shape(amplitudes)}.")
        check_positive("duration", duration, "give the total charging time")
        self.amplitudes = jnp.asarray(amplitudes, float)
        self.duration = jnp.asarray(duration, float)
        self.axis = axis

    @property
    def levels(self) -> Amplitudes:
        return self.amplitudes

    @property
    def edges(self) -> Float[Array, " k"]:
        pieces = self.amplitudes.shape[0]
        return self.duration * (jnp.arange(1, pieces + 1) / pieces)


def _check_axis(axis: str) -> None:
    if axis not in ("x", "y", "z"):
        raise ValueError(f'`axis` must be "x", "y" or "z", but it is {axis!r}.')
