"""Charging fields as functions of time: sum_i u_i(t) P_i along one axis, piecewise constant."""

from __future__ import annotations

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._checks import check_finite, check_positive, check_scalar, real_array, shape_of
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
        shape = shape_of("omega", omega)
        if len(shape) > 1:
            raise ValueError(f"`omega` must be a scalar or (N,), but its shape is {shape}.")
        self.omega = real_array(omega)
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
        ValueError: amplitudes not finite or of another shape; duration not one positive number; the axis is unknown.
    """

    amplitudes: Amplitudes
    duration: Scalar
    axis: Axis = eqx.field(static=True)

    def __init__(self, amplitudes: Amplitudes, duration: ScalarLike, axis: Axis = "x") -> None:
        _check_axis(axis)
        check_finite("amplitudes", amplitudes)
        shape = shape_of("amplitudes", amplitudes)
        if len(shape) not in (1, 2) or shape[0] < 1:
            raise ValueError(f"`amplitudes` must have shape (K,) or (K, N) with K >= 1, but its shape is {shape}.")
        check_scalar("duration", duration)
        check_positive("duration", duration, "give the total charging time")
        self.amplitudes, self.duration = real_array(amplitudes), real_array(duration)
        self.axis = axis

    @property
    def levels(self) -> Amplitudes:
        return self.amplitudes

    @property
    def edges(self) -> Float[Array, " k"]:
        return _equal_edges(self.duration, self.amplitudes.shape[0])


class FourierField(Protocol):
    """A short Fourier series, u(t) = sum_n a_n cos(2 pi n t / T) + sum_n b_n sin(2 pi n t / T), as a waveform generator plays it.

    Each of ``samples`` equal intervals holds the value of the series at its middle, so every solver evolves it exactly.

    Args:
        cosines: (M,) coefficients a_0 to a_(M-1) of a uniform field or (M, N) with one column for each spin, in units of B.
        sines: (L,) or (L, N) coefficients b_1 to b_L; L may be 0.
        duration: total time T, in units of 1/B.
        samples: number of intervals, more than twice the highest n.
        axis: "x", "y" or "z".

    Raises:
        ValueError: coefficients not finite or of shapes that do not belong together; duration not one positive number; too few
            samples; the axis is unknown.

    Example:
        >>> FourierField([1.0, 0.5], [0.0], duration=2.0, samples=4).levels.round(3).tolist()
        [1.354, 0.646, 0.646, 1.354]
    """

    cosines: Amplitudes
    sines: Amplitudes
    duration: Scalar
    samples: int = eqx.field(static=True)
    axis: Axis = eqx.field(static=True)

    def __init__(self, cosines: Amplitudes, sines: Amplitudes, duration: ScalarLike, samples: int = 64, axis: Axis = "x") -> None:
        _check_axis(axis)
        check_finite("cosines", cosines)
        check_finite("sines", sines)
        check_scalar("duration", duration)
        check_positive("duration", duration, "give the total charging time")
        shape, other = shape_of("cosines", cosines), shape_of("sines", sines)
        if len(shape) not in (1, 2) or shape[0] < 1 or len(other) != len(shape) or other[1:] != shape[1:]:
            raise ValueError(
                f"`cosines` and `sines` must have shapes (M,) and (L,), or (M, N) and (L, N), with M >= 1, "
                f"but their shapes are {shape} and {other}."
            )
        order = max(shape[0] - 1, other[0])
        if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples <= 2 * order:
            raise ValueError(
                f"`samples` must be an integer above {2 * order}, twice the highest frequency, but it is {samples!r}."
            )
        self.cosines, self.sines, self.duration = real_array(cosines), real_array(sines), real_array(duration)
        self.samples = int(samples)
        self.axis = axis

    @property
    def levels(self) -> Amplitudes:
        phase = 2 * np.pi * (np.arange(self.samples)[:, None] + 0.5) / self.samples
        m, n = len(self.cosines), len(self.sines)
        return jnp.cos(phase * np.arange(m)) @ self.cosines + jnp.sin(phase * np.arange(1, n + 1)) @ self.sines

    @property
    def edges(self) -> Float[Array, " k"]:
        return _equal_edges(self.duration, self.samples)


def _equal_edges(duration: Scalar, pieces: int) -> Float[Array, " k"]:
    # The quotients are numbers before compilation: as a product with 1 / pieces the last could miss the duration.
    return duration * (np.arange(1, pieces + 1) / pieces)


def _check_axis(axis: str) -> None:
    if axis not in ("x", "y", "z"):
        raise ValueError(f'`axis` must be "x", "y" or "z", but it is {axis!r}.')
