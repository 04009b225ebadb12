"""Sums of Pauli strings with static masks and differentiable real coefficients."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from jaxbatt._checks import check_scalar, check_spin_count, concrete, library
from jaxbatt._types import DenseOperator, ScalarLike, State, Terms

_LETTERS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.array([[1, 0], [0, -1]]),
}


class PauliString(tuple[int, int]):
    """A product of Pauli matrices as (flip mask, sign mask): X sets the flip bit, Z the sign bit, Y both.

    Site 0 is the most significant of the ``n_spins`` bits of a basis index; bit 0 is spin up.
    The action is P|b> = i**n_y (-1)**popcount(b & sign) |b ^ flip>.
    """

    __slots__ = ()

    @property
    def flip(self) -> int:
        return self[0]

    @property
    def sign(self) -> int:
        return self[1]

    @property
    def n_y(self) -> int:
        """Number of Y letters."""
        return (self[0] & self[1]).bit_count()

    @property
    def weight(self) -> int:
        """Number of letters other than the identity."""
        return (self[0] | self[1]).bit_count()


class PauliStrings(tuple[PauliString, ...]):
    """A tuple that JAX takes for one value: of a plain one each string is looked at whenever a sum is made."""

    __slots__ = ()


class PauliSum(eqx.Module):
    """A Hermitian operator sum_k c_k P_k: Pauli strings (static) with real coefficients (differentiable).

    Build one with :meth:`from_terms` and combine with ``+``, ``-``, ``*`` (real numbers) and ``@`` (on a state).

    Attributes:
        n_spins: number of spins N.
        strings: the distinct strings, as :class:`PauliString`.
        coefficients: (M,) real coefficients.
    """

    n_spins: int = eqx.field(static=True)
    strings: tuple[PauliString, ...] = eqx.field(static=True, converter=PauliStrings)
    coefficients: Float[Array, " m"]

    @classmethod
    def from_terms(cls, n_spins: int, terms: Terms) -> PauliSum:
        """Builds the sum from (letters, sites, coefficient) triples; equal strings are added up.

        Args:
            n_spins: number of spins N >= 1.
            terms: for example ``[("XX", (0, 1), -1.0), ("Z", (2,), 0.3)]``: one letter of I, X, Y, Z for each site.

        Raises:
            ValueError: unknown letters, sites out of range or repeated, a coefficient that is not a finite real number.
        """
        check_spin_count(n_spins)
        strings = []
        for k, term in enumerate(terms):
            _check_term(f"terms[{k}]", term)
            letters, sites, coefficient = term
            strings.append(_string(n_spins, letters, tuple(sites), f"terms[{k}]"))
            check_scalar(f"terms[{k}] coefficient", coefficient)
        values = [jnp.asarray(coefficient, float) for _, _, coefficient in terms]
        return cls.collect(n_spins, strings, jnp.stack(values) if values else jnp.zeros(0))

    @classmethod
    def collect(cls, n_spins: int, strings: Sequence[PauliString], coefficients: Float[Array, " m"]) -> PauliSum:
        """Builds the sum from strings that may repeat; equal strings are added up."""
        distinct, target = _merged(tuple(strings))
        if len(distinct) == len(strings):
            return cls(n_spins, distinct, coefficients)
        if isinstance(coefficients, np.ndarray):
            return cls(n_spins, distinct, np.bincount(target, coefficients).astype(coefficients.dtype))
        return cls(n_spins, distinct, jnp.zeros(len(distinct), coefficients.dtype).at[target].add(coefficients))

    @property
    def is_real(self) -> bool:
        """Whether the matrix is real in the Z basis: every string has an even number of Y."""
        return all(string.n_y % 2 == 0 for string in self.strings)

    def pruned(self) -> PauliSum:
        """The same operator without the strings whose coefficient is known to be zero; traced coefficients all stay."""
        values = concrete(self.coefficients)
        if values is None or np.all(values != 0):
            return self
        keep = np.flatnonzero(values)
        return PauliSum(self.n_spins, tuple(self.strings[k] for k in keep), library(self.coefficients).asarray(values[keep]))

    def select(self, keep: Sequence[bool]) -> PauliSum:
        """The part of the sum whose strings are marked in ``keep``."""
        index = np.flatnonzero(np.asarray(keep, bool))
        return PauliSum(self.n_spins, PauliStrings(self.strings[k] for k in index), self.coefficients[index])

    def __add__(self, other: PauliSum) -> PauliSum:
        if not isinstance(other, PauliSum):
            return NotImplemented
        if other.n_spins != self.n_spins:
            raise ValueError(f"both sums must act on the same spins, but they have {self.n_spins} and {other.n_spins}.")
        merged = library(self.coefficients, other.coefficients).concatenate([self.coefficients, other.coefficients])
        return PauliSum.collect(self.n_spins, self.strings + other.strings, merged)

    def __mul__(self, factor: ScalarLike) -> PauliSum:
        if isinstance(factor, PauliSum):
            raise TypeError("a PauliSum cannot be multiplied by another: the product need not be Hermitian.")
        if np.iscomplexobj(factor):
            raise ValueError(f"a PauliSum is Hermitian and takes real factors only, but the factor is {factor}.")
        check_scalar("factor", factor)
        return PauliSum(self.n_spins, self.strings, self.coefficients * factor)

    __rmul__ = __mul__

    def __neg__(self) -> PauliSum:
        return self * -1.0

    def __sub__(self, other: PauliSum) -> PauliSum:
        return self + (-other)

    def __matmul__(self, state: State) -> Complex[Array, " d"]:
        """Applies the operator to a state (2**N,), string by string."""
        state = jnp.asarray(state)
        if state.shape != (2**self.n_spins,):
            raise ValueError(f"the state must have shape ({2**self.n_spins},), but its shape is {state.shape}.")
        return _apply_strings(self, state)

    def to_dense(self) -> DenseOperator:
        """The (2**N, 2**N) complex matrix by Kronecker products, site 0 leftmost (the order of QuTiP).

        This is the slow and obvious definition that judges every kernel.
        """
        total = jnp.zeros((2**self.n_spins, 2**self.n_spins), complex)
        for string, coefficient in zip(self.strings, self.coefficients, strict=True):
            total = total + coefficient * functools.reduce(
                np.kron, [_LETTERS[letter] for letter in letters_of(string, self.n_spins)]
            )
        return total


@functools.lru_cache(maxsize=256)
def _merged(strings: tuple[PauliString, ...]) -> tuple[PauliStrings, Int[np.ndarray, " m"]]:
    """The distinct strings, and which of them each is."""
    position = {string: k for k, string in enumerate(dict.fromkeys(strings))}
    return PauliStrings(position), np.array([position[string] for string in strings], int)


def letters_of(string: PauliString, n_spins: int) -> str:
    """The letters of a string, site 0 first, for example "IXZ"."""
    bits = range(n_spins - 1, -1, -1)
    return "".join("IXZY"[(string.flip >> bit & 1) + 2 * (string.sign >> bit & 1)] for bit in bits)


def site_string(n_spins: int, letter: str, *sites: int) -> PauliString:
    """The string with the same letter on every one of ``sites``."""
    mask = functools.reduce(operator.or_, (1 << (n_spins - 1 - site) for site in sites), 0)
    return PauliString((mask if letter in "XY" else 0, mask if letter in "YZ" else 0))


def one_body(n_spins: int, letter: str, values: Float[Array, "*n"]) -> PauliSum:
    """sum_i h_i P_i for one letter P; ``values`` is a scalar or (N,)."""
    return PauliSum(n_spins, _on_sites(n_spins, letter.upper()), library(values).broadcast_to(values, (n_spins,)))


@functools.cache
def _on_sites(n_spins: int, letter: str) -> PauliStrings:
    return PauliStrings(site_string(n_spins, letter, site) for site in range(n_spins))


@jax.jit
def _apply_strings(pauli_sum: PauliSum, state: State) -> Complex[Array, " d"]:
    basis = jnp.arange(2**pauli_sum.n_spins)
    flips = jnp.array([s.flip for s in pauli_sum.strings], basis.dtype)
    signs = jnp.array([s.sign for s in pauli_sum.strings], basis.dtype)
    phases = jnp.array([1j**s.n_y for s in pauli_sum.strings], complex)

    def add(total: State, string: tuple[Array, ...]) -> tuple[State, None]:
        flip, sign, weight = string
        source = basis ^ flip
        parity = 1 - 2 * (jax.lax.population_count(source & sign) & 1)
        return total + weight * parity * state[source], None

    zero = jnp.zeros(state.shape, complex)
    return jax.lax.scan(add, zero, (flips, signs, phases * pauli_sum.coefficients))[0]


def _check_term(where: str, term: Any) -> None:
    if not isinstance(term, Sequence) or len(term) != 3 or not isinstance(term[0], str) or np.ndim(term[1]) != 1:
        raise ValueError(f'{where} must be (letters, sites, coefficient), as ("XX", (0, 1), -1.0), but it is {term!r}.')


def _string(n_spins: int, letters: str, sites: tuple[int, ...], where: str) -> PauliString:
    unknown = [letter for letter in letters if letter not in _LETTERS]
    if unknown:
        raise ValueError(f"{where} has the unknown Pauli letter {unknown[0]!r} in {letters!r}; use I, X, Y, Z.")
    if len(letters) != len(sites):
        raise ValueError(
            f"{where} has {len(letters)} letters {letters!r} for {len(sites)} sites {sites}; give one letter for each site."
        )
    if len(set(sites)) != len(sites):
        raise ValueError(f"{where} names a site twice: {sites}; multiply the letters of a site into one.")
    for site in sites:
        if not isinstance(site, (int, np.integer)) or not 0 <= site < n_spins:
            raise ValueError(f"{where} acts on site {site}, but the {n_spins} sites are 0 to {n_spins - 1}.")
    flip = sign = 0
    for letter, site in zip(letters, sites, strict=True):
        part = site_string(n_spins, letter, site) if letter != "I" else PauliString((0, 0))
        flip, sign = flip | part.flip, sign | part.sign
    return PauliString((flip, sign))
