"""A Hermitian matrix in its eigenbasis, with a derivative of exp(-iHt) that levels may cross without harm.

Eigenvectors have no derivative where levels meet, but exp(-iHt) has one (Daleckii and Krein; Higham, Functions of Matrices,
SIAM 2008, theorem 3.11). So levels E and eigenvectors V are constants to JAX, and a third matrix, zero in value, carries the
derivative: H = V (E + tilt) V^+. The rule for exp(-i (E + tilt) t) is linear in the tangents, and JAX transposes it by itself.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Complex, Float, Inexact, Int

from jaxbatt._linalg import eigh
from jaxbatt._types import Scalar
from jaxbatt.solvers._differentiation import first_only

_NEAR = 0.01
"""Largest (E_a - E_b) t / 2 of a pair of levels whose divided difference is summed as a series."""
_SERIES = (1.0, -1 / 6, 1 / 120)
"""sin(x) / x in powers of x**2; at 0.01 the next term is 2e-16."""


class Frame(eqx.Module):
    """H = V (E + tilt) V^+.

    Attributes:
        levels: (S,) E, in ascending order; no derivative.
        vectors: (S, S) V, one eigenvector in each column; no derivative.
        tilt: (S, S) zeros, with the derivative V^+ dH V.
    """

    levels: Float[Array, " s"]
    vectors: Inexact[Array, "s s"]
    tilt: Inexact[Array, "s s"]

    @classmethod
    def of(cls, block: Inexact[Array, "s s"]) -> Frame:
        """Diagonalizes a Hermitian block."""
        levels, vectors = eigh(jax.lax.stop_gradient(block))
        return cls(levels, vectors, vectors.conj().T @ (block - jax.lax.stop_gradient(block)) @ vectors)

    def amplitudes(self, state: Complex[Array, " s"]) -> Complex[Array, " s"]:
        """V^+ psi."""
        return _product(self.vectors.conj().T, state)

    def state(self, amplitudes: Complex[Array, " s"]) -> Complex[Array, " s"]:
        """V c."""
        return _product(self.vectors, amplitudes)

    def evolve(self, amplitudes: Complex[Array, " s"], times: Float[Array, "*t"]) -> Complex[Array, "*t s"]:
        """exp(-i (E + tilt) t) c at one time t >= 0 or at many.

        First derivatives with respect to H, c and t hold at any gap between the levels, zero included, to about
        200 eps (1 + ||H|| t) of t ||dH||; second ones too, but for those with respect to H twice.

        Raises:
            NotImplementedError: a second derivative with respect to H; inside a loop, also one with respect to t and then H.
        """
        longest = jax.lax.stop_gradient(jnp.max(times))

        def evolved(time: Scalar) -> Complex[Array, " s"]:
            return _evolved(self.tilt, self.levels, amplitudes, longest, time)

        return jax.vmap(evolved)(times) if times.ndim else evolved(times)


def states_at(
    frames: Frame,
    amplitudes: Complex[Array, "k s"],
    begins: Float[Array, " k"],
    pieces: Int[Array, " m"],
    times: Float[Array, " m"],
) -> Complex[Array, "m s"]:
    """The states at times that lie in the given ones of K pieces, from the amplitudes at the beginning of each piece."""

    def states_on(frame: Frame, amplitudes: Complex[Array, " s"], elapsed: Float[Array, " m"]) -> Complex[Array, "m s"]:
        return jax.vmap(frame.state)(frame.evolve(amplitudes, elapsed))

    if len(begins) == 1:
        return states_on(jax.tree.map(lambda x: x[0], frames), amplitudes[0], times)

    def piece(states: Complex[Array, "m s"], inputs: tuple[Array, Scalar, Frame, Array]) -> tuple[Complex[Array, "m s"], None]:
        index, begin, frame, amplitudes = inputs
        here = pieces == index

        def replaced() -> Complex[Array, "m s"]:
            return jnp.where(here[:, None], states_on(frame, amplitudes, jnp.where(here, times - begin, 0)), states)

        return jax.lax.cond(here.any(), replaced, lambda: states), None

    nothing = jnp.zeros((len(times), amplitudes.shape[1]), amplitudes.dtype)
    return jax.lax.scan(piece, nothing, (jnp.arange(len(begins)), begins, frames, amplitudes))[0]


@jax.custom_jvp
def _evolved(
    tilt: Inexact[Array, "s s"], levels: Float[Array, " s"], amplitudes: Complex[Array, " s"], longest: Scalar, time: Scalar
) -> Complex[Array, " s"]:
    """exp(-i (E + tilt) t) c for tilt = 0 and 0 <= t <= ``longest``; vmap over times takes the products with them together."""
    return jnp.exp(-1j * first_only(levels, tilt, "Spectral") * time) * amplitudes


def _evolved_jvp(primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    tilt, levels, amplitudes, longest, time = primals
    d_tilt, _, d_amplitudes, _, d_time = tangents
    out = _evolved(*primals)
    d_out = jnp.zeros_like(out)
    if not isinstance(d_amplitudes, SymbolicZero):
        d_out += _evolved(tilt, levels, d_amplitudes, longest, time)
    if not isinstance(d_time, SymbolicZero):
        d_out -= 1j * d_time * (levels * out + _product(tilt, out))
    if not isinstance(d_tilt, SymbolicZero):
        d_out += _tilted(d_tilt, first_only(levels, tilt, "Spectral"), amplitudes, longest, time)
    return out, d_out


_evolved.defjvp(_evolved_jvp, symbolic_zeros=True)


def _tilted(
    tilt: Inexact[Array, "s s"], levels: Float[Array, " s"], amplitudes: Complex[Array, " s"], longest: Scalar, time: Scalar
) -> Complex[Array, " s"]:
    """sum_b Phi_ab tilt_ab c_b with Phi_ab = (e_a - e_b) / (E_a - E_b), e_a = exp(-i E_a t): d exp(-iHt) in the eigenbasis.

    No S x S matrix depends on t. Far pairs, |E_a - E_b| longest / 2 > 0.01, use the formula as it stands, with e - 1 for e:
    where t is short the differences are as accurate as where it is long. For near pairs Phi_ab is
    -i t exp(-i (E_a + E_b) t / 2) sin(x) / x with x = (E_a - E_b) t / 2, a series in x**2.
    """
    gaps = levels[:, None] - levels
    x = gaps * longest / 2
    near = jnp.abs(x) <= _NEAR
    half = jnp.exp(-0.5j * levels * time)
    rise = -2j * jnp.sin(levels * time / 2) * half
    far_tilt = jnp.where(near, 0, tilt) / jnp.where(near, 1, gaps)
    total = rise * _product(far_tilt, amplitudes) - _product(far_tilt, rise * amplitudes)
    near_tilt, part = jnp.where(near, tilt, 0), time / jnp.where(longest > 0, longest, 1)
    for power, coefficient in enumerate(_SERIES):
        total -= 1j * time * coefficient * part ** (2 * power) * half * _product(near_tilt, half * amplitudes)
        near_tilt = near_tilt * x**2
    return total


def _product(matrix: Inexact[Array, "s s"], vector: Complex[Array, " s"]) -> Complex[Array, " s"]:
    """matrix @ vector, in real arithmetic where the matrix is real."""
    if jnp.iscomplexobj(matrix):
        return matrix @ vector
    return jax.lax.complex(matrix @ vector.real, matrix @ vector.imag)
