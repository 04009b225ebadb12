"""Derivatives through many short pieces of a field, which are found by an integral over time."""

from typing import ClassVar

import dense
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tol

import jaxbatt as jb
from jaxbatt.propagators.adjoint import _RULES, SHORT, pull_short

N, PIECES = 4, 24
RNG = np.random.default_rng(24)
COUPLINGS = dense.random_couplings(RNG, N)


class Dense(eqx.Module):
    """A Hermitian matrix (real part, imaginary part) as the operator of an adjoint."""

    matrix: jax.Array
    pieces: ClassVar[int] = 1
    is_real: ClassVar[bool] = False

    def apply(self, rows):
        (x, y), (a, b) = rows, self.matrix
        return jnp.stack([a @ x - b @ y, a @ y + b @ x])

    def paired(self, v, w, total, weight):
        pulled = jax.grad(lambda matrix: jnp.sum(w * Dense(matrix).apply(v)))(self.matrix)
        return self.apply(v), self.apply(w), Dense(total.matrix + weight * pulled)


def complex_of(rows):
    return rows[0] + 1j * rows[1]


def random_hermitian(size, radius):
    draw = RNG.normal(size=(size, size)) + 1j * RNG.normal(size=(size, size))
    hermitian = draw + draw.conj().T
    return hermitian * (radius / np.abs(np.linalg.eigvalsh(hermitian)).max())


def pulled_short(hermitian, radius, length, end, cotangent):
    matrix = jnp.stack([jnp.asarray(hermitian.real), jnp.asarray(hermitian.imag)])

    @jax.jit
    def run(matrix, *arguments):
        return pull_short(Dense(matrix), jnp.zeros(()), *arguments)

    return run(matrix, *map(jnp.asarray, (radius, end, cotangent, length, 1e-14 / 0.9)))


@pytest.mark.parametrize("phase", [1e-3, 0.7, *(0.9999 * reach for reach in _RULES.values())])
def test_against_the_derivative_of_the_exponential(phase):
    """<lambda| d exp(-i H L) |psi> = sum_ab <lambda|a> D_ab <a|dH|b> <b|psi> with divided differences D of exp(-i E L).

    As far as each rule of Gauss reaches, too.
    """
    size, length = 16, 0.9
    hermitian = random_hermitian(size, phase / length)
    end, cotangent = RNG.normal(size=(2, 2, size))
    pulled, rate, before, carried = pulled_short(hermitian, phase / length, length, end, cotangent)
    energies, states = np.linalg.eigh(hermitian)
    back = states @ (np.exp(1j * energies * length)[:, None] * states.conj().T)
    begin = back @ complex_of(end)
    phases = np.exp(-1j * energies * length)
    gaps = energies[:, None] - energies
    divided = np.where(
        np.eye(size, dtype=bool),
        -1j * length * phases[:, None],
        (phases[:, None] - phases) / np.where(gaps == 0, 1, gaps),
    )
    left, right = states.conj().T @ complex_of(cotangent), states.conj().T @ begin
    # Re sum_jk G_jk dH_jk, and dH = dA + i dB.
    gradient = states.conj() @ (left.conj()[:, None] * divided * right) @ states.T
    # For a Hermitian dH only the symmetric part counts for dA, the antisymmetric one for dB.
    gradient = (gradient + gradient.T.conj()) / 2
    slopes = [pulled.matrix[0] + pulled.matrix[0].T, pulled.matrix[1] - pulled.matrix[1].T]
    size_of = np.abs(gradient).max()
    assert np.abs(complex_of(before) - begin).max() <= tol(np.float64, 100)
    assert np.abs(complex_of(carried) - back @ complex_of(cotangent)).max() <= tol(np.float64, 100)
    assert np.abs(slopes[0] / 2 - gradient.real).max() <= 2e-11 * size_of
    assert np.abs(slopes[1] / 2 + gradient.imag).max() <= 2e-11 * size_of
    expected = np.vdot(complex_of(cotangent), -1j * hermitian @ complex_of(end)).real
    # No matter what the rule leaves: the rate is conserved.
    sizes = np.linalg.norm(end) * np.linalg.norm(cotangent) * phase / length
    assert abs(float(rate) - expected) <= tol(np.float64, sizes)


def test_a_piece_of_no_length():
    """The result changes with its length as the end of the state does; nothing else matters."""
    hermitian, (end, cotangent) = random_hermitian(16, 2.0), RNG.normal(size=(2, 2, 16))
    pulled, rate, before, carried = pulled_short(hermitian, 2.0, 0.0, end, cotangent)
    expected = np.vdot(complex_of(cotangent), -1j * hermitian @ complex_of(end)).real
    assert abs(float(rate) - expected) <= tol(np.float64, 16 * 2)
    assert np.abs(before - end).max() <= tol(np.float64, 1)
    assert np.abs(carried - cotangent).max() <= tol(np.float64, 1)
    assert np.abs(pulled.matrix).max() < 1e-100


def reference(couplings, alpha, amplitudes, field, duration, axis):
    """W at the end by products of dense exponentials, through which JAX differentiates."""
    pairs = [(i, j) for i in range(N) for j in range(i + 1, N)]

    def couple(letter):
        return sum(couplings[i, j] * (dense.pauli(letter, i, N) @ dense.pauli(letter, j, N)) for i, j in pairs)

    interaction = -(couple("z") + alpha * (couple("x") + couple("y")))
    energy = interaction + field * sum(dense.pauli("z", i, N) for i in range(N))
    state = jnp.asarray(dense.all_down(N), complex)
    initial = jnp.vdot(state, energy @ state).real
    drives = jnp.stack([jnp.asarray(dense.pauli(axis, i, N)) for i in range(N)])

    def step(state, level):
        drive = jnp.einsum("i,ijk->jk", jnp.broadcast_to(level, (N,)), drives)
        return jax.scipy.linalg.expm(-1j * (interaction + drive) * duration / len(amplitudes)) @ state, None

    state, _ = jax.lax.scan(step, state, amplitudes)
    return jnp.vdot(state, energy @ state).real - initial


@pytest.mark.parametrize(("alpha", "shape", "axis"), [(0.0, (PIECES,), "x"), (0.4, (PIECES, N), "x"), (0.4, (PIECES,), "y")])
def test_many_pieces(alpha, shape, axis):
    """Couplings, anisotropy, amplitudes, battery field and duration at once."""
    amplitudes, duration = jnp.asarray(RNG.normal(1, 1, shape)), 0.8

    def work(couplings, alpha, amplitudes, field, duration):
        drive = jb.PiecewiseField(amplitudes, duration, axis=axis)
        battery = jb.SpinBattery(field, couplings, alpha)
        return jb.charge(battery, drive, duration[None], solver=jb.StateVector(jb.Chebyshev(1e-13))).work[0]

    problem = jb.StateVector().prepare(jb.SpinBattery(1.3, COUPLINGS, alpha), jb.PiecewiseField(amplitudes, duration, axis=axis))
    evolution = jb.StateVector().evolve(problem)
    assert float(evolution.limits().bandwidth) / 2 * duration / PIECES < SHORT
    values = (jnp.asarray(COUPLINGS), jnp.asarray(alpha), amplitudes, jnp.asarray(1.3), jnp.asarray(duration))
    found = jax.jit(jax.grad(work, argnums=(0, 1, 2, 3, 4)))(*values)
    expected = jax.jit(jax.grad(lambda *a: reference(*a, axis), argnums=(0, 1, 2, 3, 4)))(*values)
    upper = np.triu_indices(N, 1)
    found, expected = ([np.asarray((x[0] + x[0].T)[upper]), *map(np.asarray, x[1:])] for x in (found, expected))
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(ours - theirs).max() <= 1e-10 * max(1, np.abs(theirs).max())
