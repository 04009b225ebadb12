"""W at one time and its gradients: by jaxbatt, and by JAX's reverse mode straight through a Chebyshev series of the same H."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxbatt as jb
from jaxbatt.hamiltonian import Operator, model_of
from jaxbatt.paulis import one_body


def gradient(
    *, n: int, alpha: float, field: float, coupling: float, omega: float, end: float, pieces: int
) -> Iterator[dict[str, Any]]:
    """With respect to omega (or the amplitudes of all pieces), and to these and all g_ij."""

    def work(omega: Any, couplings: Any) -> Any:
        drive = jb.ConstantField(omega) if pieces == 1 else jb.PiecewiseField(omega, end)
        curve = jb.charge(jb.SpinBattery(field, couplings, alpha), drive, jnp.array([end]), solver=jb.StateVector())
        return curve.work[0]

    level = jnp.asarray(omega) if pieces == 1 else omega + jnp.sin(jnp.arange(pieces))
    return _rows(work, level, jb.power_law(n, coupling, 1.0))


def plain(*, n: int, alpha: float, field: float, coupling: float, omega: float, end: float) -> Iterator[dict[str, Any]]:
    """The same without a derivative of our own: ``lax.scan`` keeps what reverse mode needs."""
    operator, _ = _operators(n, alpha, field, omega, jb.power_law(n, coupling, 1.0))
    bounds = operator.bounds()
    center, radius = float(bounds.center), float(bounds.radius)
    # Bessel functions J_k(x) fall faster than any power beyond k = x; this many terms leave less than 1e-13 for x up to 1e3.
    terms = math.ceil(radius * end + 12 * (radius * end) ** (1 / 3) + 20)

    def work(omega: Any, couplings: Any) -> Any:
        operator, energy = _operators(n, alpha, field, omega, couplings)
        down = jnp.zeros((1, 2**n)).at[0, -1].set(1.0)

        def step(carry: Any, c: Any) -> Any:
            before, now, total = carry
            after = 2 * (operator.apply(now) - center * now) / radius - before
            return (now, after, total + c[:, None] * now), None

        c = _coefficients(radius * end, terms)
        first = (operator.apply(down) - center * down) / radius
        total = jax.lax.scan(step, (down, first, c[0][:, None] * down), c[1:])[0][2]
        return jnp.vdot(total, energy.apply(total)) - jnp.vdot(down, energy.apply(down))

    return _rows(work, jnp.asarray(omega), jb.power_law(n, coupling, 1.0))


def _rows(work: Callable[[Any, Any], Any], omega: jax.Array, couplings: jax.Array) -> Iterator[dict[str, Any]]:
    programs = {"value": work, "omega": jax.value_and_grad(work), "omega and g_ij": jax.value_and_grad(work, (0, 1))}
    for what, program in programs.items():
        yield {"what": what, "program": (jax.jit(program), (omega, couplings))}


def _operators(n: int, alpha: float, field: float, omega: Any, couplings: Any) -> tuple[Operator, Operator]:
    """What acts while charging, and H_0."""
    model = model_of(jb.SpinBattery(field, couplings, alpha))
    return Operator.of(model.drift + one_body(n, "x", omega)), Operator.of(model.energy)


def _coefficients(x: float, terms: int) -> jax.Array:
    """(K, 2): real and imaginary parts of c_k in exp(-i x y) = sum_k c_k T_k(y), by a cosine transform; the phase is left out."""
    theta = np.pi * (np.arange(2 * terms) + 0.5) / (2 * terms)
    waves = np.exp(-1j * x * np.cos(theta))
    c = np.cos(np.outer(np.arange(terms), theta)) @ waves / terms
    c[0] /= 2
    return jnp.stack([jnp.asarray(c.real), jnp.asarray(c.imag)], axis=-1)
