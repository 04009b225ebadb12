"""Programs as they are handed to the compiler for a GPU, without one: what they ask of it, and in which precision."""

import re

import jax
import jax.numpy as jnp
import pytest

import jaxbatt as jb

N = 11
SINGLE = jb.StateVector(dtype=jnp.complex64)
LONG_RANGE, UNIFORM = (jb.power_law(N, 1.0, p) for p in (1.0, 0.0))
TIMES = jnp.linspace(0, 1, 5)


def work(alpha, protocol, solver=SINGLE, couplings=LONG_RANGE):
    return jb.charge(jb.SpinBattery(1.0, couplings, alpha), protocol, TIMES, solver=solver).work[-1]


def constant(alpha, omega):
    return work(alpha, jb.ConstantField(omega))


def pieces(alpha, omega):
    return work(alpha, jb.PiecewiseField(omega * jnp.ones(3), 1.0))


def power(alpha, omega):
    return jb.max_power(jb.SpinBattery(1.0, LONG_RANGE, alpha), jb.ConstantField(omega), solver=SINGLE).power


SINGLE_PRECISION = {
    "work": constant,
    "work, along y": lambda alpha, omega: work(alpha, jb.ConstantField(omega, axis="y")),
    "work, pieces": pieces,
    "work, batch": jax.vmap(constant, (0, None)),
    "derivative": jax.value_and_grad(constant, (0, 1)),
    "derivative, pieces": jax.value_and_grad(pieces, (0, 1)),
    "maximal power": power,
    "Krylov": lambda alpha, omega: work(alpha, jb.ConstantField(omega), jb.StateVector(jb.Krylov(), jnp.complex64)),
    "Taylor": lambda alpha, omega: work(alpha, jb.ConstantField(omega), jb.StateVector(jb.Taylor(), jnp.complex64)),
}
DOUBLE_PRECISION = {
    "Spectral": lambda alpha, omega: work(alpha, jb.ConstantField(omega), jb.Spectral()),
    "Collective": lambda alpha, omega: work(alpha, jb.ConstantField(omega), jb.Collective(), UNIFORM),
}
PROGRAMS = SINGLE_PRECISION | DOUBLE_PRECISION


@pytest.fixture(scope="module")
def lowered():
    """The text of every program, lowered for CUDA, with the choices that are made there."""
    texts = {}
    jax.clear_caches()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "default_backend", lambda: "gpu")
        for name, program in PROGRAMS.items():
            alpha = jnp.array([0.2, 0.5]) if "batch" in name else 0.5
            texts[name] = jax.jit(program).trace(alpha, 4.0).lower(lowering_platforms=("cuda",)).as_text()
    jax.clear_caches()
    return texts


@pytest.mark.parametrize("name", SINGLE_PRECISION)
def test_products_in_single_precision_keep_their_digits(lowered, name):
    """By default a GPU rounds what it multiplies to 10 bits (TF32): errors of 1e-3, and no estimate would tell."""
    products = [line for line in lowered[name].splitlines() if "dot_general" in line and "xf32>" in line]
    assert products
    assert [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_nothing_is_asked_for_that_a_gpu_lacks(lowered, name):
    """The levels of Hermitian matrices come from cuSOLVER; all else is compiled, and nothing waits for Python."""
    assert set(re.findall(r"custom_call @(\w+)", lowered[name])) <= {"cusolver_syevd_ffi"}
