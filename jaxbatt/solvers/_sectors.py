"""Bases of the states that symmetries leave among themselves, and Hamiltonians in them."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int

from jaxbatt.paulis import PauliSum


@dataclasses.dataclass(frozen=True, eq=False)
class Sector:
    """Basis states that belong to one symmetry sector: column k of the isometry has amplitude q_b on each b with index_b = k."""

    representatives: Int[np.ndarray, " s"]
    index: Int[np.ndarray, " d"]
    amplitude: Float[np.ndarray, " d"]


def dense(hamiltonian: PauliSum, sector: Sector) -> Inexact[Array, "s s"]:
    """The block of a sector: <k'|H|k> = <k'|H|b_k> / <b_k|k> with b_k the representative of k."""
    representatives = jnp.asarray(sector.representatives, jnp.int32)
    index, amplitude = jnp.asarray(sector.index), jnp.asarray(sector.amplitude)
    columns = jnp.arange(len(representatives))
    flips = jnp.array([s.flip for s in hamiltonian.strings], jnp.int32)
    signs = jnp.array([s.sign for s in hamiltonian.strings], jnp.int32)
    dtype = float if hamiltonian.is_real else complex
    phases = jnp.array([(1j**s.n_y).real if hamiltonian.is_real else 1j**s.n_y for s in hamiltonian.strings], dtype)

    def add(block: Array, string: tuple[Array, Array, Array]) -> tuple[Array, None]:
        flip, sign, weight = string
        target = representatives ^ flip
        parity = 1 - 2 * (jax.lax.population_count(representatives & sign) & 1)
        values = weight * parity * amplitude[target] / amplitude[representatives]
        return block.at[index[target], columns].add(values), None

    zero = jnp.zeros((len(representatives),) * 2, dtype)
    block = jax.lax.scan(add, zero, (flips, signs, phases * hamiltonian.coefficients))[0]
    return (block + block.conj().T) / 2


@functools.cache
def sectors_of(n_spins: int, parity: bool, reflection: bool) -> tuple[Sector, ...]:
    """The sectors of the group of both symmetries; of the reflection only the even one, where the state lives."""
    basis = np.arange(2**n_spins)
    mirror = np.bitwise_or.reduce([((basis >> bit) & 1) << (n_spins - 1 - bit) for bit in range(n_spins)])
    permutations = [basis]
    if parity:
        permutations += [basis ^ (2**n_spins - 1)]
    if reflection:
        permutations += [mirror[p] for p in permutations]
    images = np.stack(permutations)
    representatives, orbit = np.unique(images.min(axis=0), return_inverse=True)
    found = []
    for character in (1, -1) if parity else (1,):
        signs = np.array([character if parity and i % 2 else 1 for i in range(len(permutations))])
        amplitude = np.zeros(2**n_spins)
        for image, sign in zip(images, signs, strict=True):
            amplitude[image[representatives]] += sign
        norms = np.sqrt(np.bincount(orbit, amplitude**2))
        alive = norms > 0
        amplitude = np.where(alive[orbit], amplitude / np.where(alive, norms, 1)[orbit], 0)
        position = np.cumsum(alive) - 1
        index = np.where(alive[orbit], position[orbit], 0)
        if alive.any():
            found.append(Sector(representatives[alive], index, amplitude))
    return tuple(found)
