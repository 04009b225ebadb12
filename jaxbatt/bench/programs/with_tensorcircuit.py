"""The standard task and its gradient by TensorCircuit-NG: matrix-free products, one Krylov space of 60 vectors for all times."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorcircuit as tc
from tensorcircuit.matrixfunc import KrylovConfig, exponential_action

_KRYLOV = KrylovConfig(max_dim=60, reorthogonalization="none")


def charge(
    *, n: int, alpha: float, field: float, coupling: float, omega: float, end: float, points: int
) -> Callable[[], list[float]]:
    """<H> is conserved while charging, so the fields alone give the work."""
    _prepare()
    work = jax.jit(functools.partial(_work, n, alpha, field, coupling, np.linspace(0, end, points)))

    def run() -> list[float]:
        return np.asarray(work(omega)).tolist()

    return run


def gradient(*, n: int, alpha: float, field: float, coupling: float, omega: float, end: float) -> Iterator[dict[str, Any]]:
    """W at one time and its derivative with respect to omega: JAX's reverse mode through the Krylov space."""
    _prepare()

    def last(omega: jax.Array) -> jax.Array:
        return _work(n, alpha, field, coupling, np.array([0.0, end]), omega)[-1]

    yield {"what": "value", "program": (jax.jit(last), (jnp.asarray(omega),))}
    yield {"what": "omega", "program": (jax.jit(jax.value_and_grad(last)), (jnp.asarray(omega),))}


def _prepare() -> None:
    tc.set_backend("jax")
    tc.set_dtype("complex128")


def _work(n: int, alpha: float, field: float, coupling: float, times: np.ndarray, omega: Any) -> jax.Array:
    pairs = list(itertools.combinations(range(n), 2))
    strings = [_string(n, letter, pair) for letter in (3, 1, 2) for pair in pairs]
    strengths = [-factor * coupling / (j - i) for factor in (1.0, alpha, alpha) for i, j in pairs]
    drive, fields = ([_string(n, letter, (i,)) for i in range(n)] for letter in (1, 3))
    weights = jnp.concatenate([jnp.array(strengths), jnp.full(n, omega)])
    charger = tc.quantum.PauliStringSum2MVP(strings + drive, weights)
    gain = tc.quantum.PauliStringSum2MVP(fields + drive, jnp.concatenate([jnp.full(n, field), jnp.full(n, -omega)]))
    down = jnp.zeros(2**n, complex).at[-1].set(1)
    states = exponential_action(charger, down, -1j * jnp.asarray(times), _KRYLOV, dimension=2**n)
    gains = jax.lax.map(lambda state: jnp.vdot(state, gain(state)).real, states)
    return gains - gains[0]


def _string(n: int, letter: int, sites: tuple[int, ...]) -> list[int]:
    return [letter if i in sites else 0 for i in range(n)]
