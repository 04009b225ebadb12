"""Batteries: what stores the energy and what acts while charging. A battery contains no time."""

from __future__ import annotations

from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxbatt._checks import (
    check_couplings,
    check_finite,
    check_flags,
    check_scalar,
    check_spin_count,
    concrete,
    library,
    real_array,
    shape_of,
)
from jaxbatt._types import Couplings, InitialState, PerSpin, ScalarLike, State
from jaxbatt.paulis import PauliSum


@jax.tree_util.register_static
class _Named(str):
    """ "down" or "up", to JAX a part of the structure."""

    __slots__ = ()


class _Started:
    """What a battery says of its initial state."""

    initial_state: State | _Named | None

    @property
    def start(self) -> str:
        """Its kind: "down", "up", or "array"."""
        if self.initial_state is None:
            return "down"
        return str(self.initial_state) if isinstance(self.initial_state, str) else "array"

    @property
    def state(self) -> State | None:
        """(2**N,) where it is an array."""
        return None if self.initial_state is None or isinstance(self.initial_state, str) else self.initial_state


class SpinBattery(eqx.Module, _Started):
    """The spin-chain battery H_0 = sum_i B_i Z_i - sum_{i<j} g_ij [jz Z_i Z_j + jx X_i X_j + jy Y_i Y_j].

    While charging, the paper switches the field off and keeps the interactions: H = H_0 - sum_i B_i Z_i + V(t).

    Args:
        field: B, a scalar or (N,) with one value for each spin.
        couplings: (N, N) symmetric matrix g_ij with zero diagonal, see ``nearest_neighbor`` and ``power_law``.
        anisotropy: alpha, meaning (jx, jy, jz) = (alpha, alpha, 1); or the triple (jx, jy, jz).
        initial_state: "down" (default), "up", or a normalized array (2**N,). By default it is checked that all spins down is the
            ground state, but for numbers that JAX is tracing (under ``jit``, ``vmap``, ``grad``, ``sweep``): those are not
            looked at, and the state is "down".
        field_while_charging: keep the field B on while charging.
        interactions_while_charging: keep the interactions on while charging.

    Raises:
        ValueError: couplings that are not square, symmetric, finite, zero on the diagonal; a field or anisotropy of
            another shape or not finite; a state that is not normalized; and, without an explicit ``initial_state``, known
            parameters for which all spins down is not the ground state (negative couplings or field, |alpha| > 1).

    Source: Le et al., PRA 97, 022106 (2018), Eqs. 1 to 3.
    """

    field: PerSpin
    couplings: Couplings
    anisotropy: Float[Array, ""] | Float[Array, 3]
    initial_state: State | _Named | None
    field_while_charging: bool = eqx.field(static=True)
    interactions_while_charging: bool = eqx.field(static=True)

    def __init__(
        self,
        field: ScalarLike | PerSpin,
        couplings: Couplings,
        anisotropy: ScalarLike | tuple[ScalarLike, ScalarLike, ScalarLike] | Float[Array, 3] = 0.0,
        *,
        initial_state: InitialState | None = None,
        field_while_charging: bool = False,
        interactions_while_charging: bool = True,
    ) -> None:
        check_flags(field_while_charging=field_while_charging, interactions_while_charging=interactions_while_charging)
        check_couplings(couplings)
        n_spins, shape = shape_of("couplings", couplings)[0], shape_of("field", field)
        check_finite("field", field)
        if shape not in ((), (n_spins,)):
            raise ValueError(f"`field` must be a scalar or ({n_spins},), one value for each spin, but its shape is {shape}.")
        self.field = real_array(field)
        self.couplings = real_array(couplings)
        self.anisotropy = _checked_anisotropy(anisotropy)
        if initial_state is None:
            _check_ground_state_is_down(field, couplings, self.factors)
        self.initial_state = _checked_state(initial_state, n_spins)
        self.field_while_charging = bool(field_while_charging)
        self.interactions_while_charging = bool(interactions_while_charging)

    @property
    def n_spins(self) -> int:
        """Number of spins N."""
        return self.couplings.shape[-1]

    @property
    def factors(self) -> Float[Array, 3]:
        """(jx, jy, jz), also where alpha was given."""
        if self.anisotropy.ndim:
            return self.anisotropy
        xp = library(self.anisotropy)
        if xp is jnp and concrete(self.anisotropy) is not None:
            return real_array(np.array([self.anisotropy, self.anisotropy, 1]))
        return xp.stack([self.anisotropy, self.anisotropy, xp.ones_like(self.anisotropy)])


class PauliBattery(eqx.Module, _Started):
    """A battery with any Hamiltonian H_0 = ``energy``, on which H = ``drift`` + V(t) acts while charging.

    Args:
        energy: H_0, which defines the stored work.
        drift: what acts while charging besides the field of the protocol.
        n_spins: number of spins N; by default that of ``energy``.
        initial_state: "down" (default), "up", or a normalized array (2**N,).

    Raises:
        ValueError: a sum on another number of spins; a state that is not normalized or of another shape.
    """

    energy: PauliSum
    drift: PauliSum
    initial_state: State | _Named | None

    def __init__(
        self, energy: PauliSum, drift: PauliSum, n_spins: int | None = None, initial_state: InitialState = "down"
    ) -> None:
        if n_spins is not None:
            check_spin_count(n_spins)
        for name, part in (("energy", energy), ("drift", drift)):
            if not isinstance(part, PauliSum):
                raise ValueError(f"`{name}` must be a PauliSum, not of type {type(part).__name__}; see PauliSum.from_terms.")
            n_spins = part.n_spins if n_spins is None else n_spins
            if part.n_spins != n_spins:
                raise ValueError(f"`{name}` acts on {part.n_spins} spins, but n_spins = {n_spins}.")
        self.energy, self.drift = energy, drift
        self.initial_state = _checked_state(initial_state, energy.n_spins)

    @property
    def n_spins(self) -> int:
        """Number of spins N."""
        return self.energy.n_spins


Battery: TypeAlias = SpinBattery | PauliBattery


def _checked_anisotropy(anisotropy: Any) -> Float[Array, ""] | Float[Array, 3]:
    if isinstance(anisotropy, (tuple, list)):
        for name, factor in zip(("jx", "jy", "jz"), anisotropy, strict=False):
            check_scalar(f"anisotropy {name}", factor)
    check_finite("anisotropy", anisotropy)
    shape = shape_of("anisotropy", anisotropy)
    if shape not in ((), (3,)):
        raise ValueError(f"`anisotropy` must be alpha or the triple (jx, jy, jz), but its shape is {shape}.")
    return real_array(anisotropy)


def _check_ground_state_is_down(field: Any, couplings: Any, factors: Float[Array, 3]) -> None:
    remedy = 'so all spins down need not be the ground state; pass initial_state="down" to start there all the same, or a state'
    strength = concrete(couplings)
    if strength is not None and strength.min(initial=0.0) < 0:
        raise ValueError(f"`couplings` has the negative entry {strength.min()}, {remedy}.")
    values = concrete(field)
    if values is not None and values.min() < 0:
        raise ValueError(f"`field` has the negative value {values.min()}, {remedy}.")
    triple = concrete(factors)
    if triple is not None and (triple[0] != triple[1] or abs(triple[0]) > triple[2]):
        shown = (
            f"alpha = {triple[0]}" if triple[0] == triple[1] and triple[2] == 1 else f"(jx, jy, jz) = {tuple(triple.tolist())}"
        )
        raise ValueError(f"`anisotropy` is {shown}, outside |alpha| <= 1, {remedy}.")


def _checked_state(initial_state: InitialState | None, n_spins: int) -> State | _Named | None:
    if initial_state is None:
        return None
    if isinstance(initial_state, str):
        if initial_state not in ("down", "up"):
            raise ValueError(f'`initial_state` must be "down", "up" or an array (2**N,), but it is {initial_state!r}.')
        return _Named(initial_state)
    shape = shape_of("initial_state", initial_state)
    values = concrete(initial_state)
    state: Any = (
        initial_state if isinstance(initial_state, jax.Array) else jnp.asarray(initial_state) if values is None else values
    )
    if not jnp.issubdtype(state.dtype, jnp.number):
        raise ValueError(f"`initial_state` must be numbers, but it has dtype {state.dtype}.")
    if shape != (2**n_spins,):
        raise ValueError(f"`initial_state` must have shape ({2**n_spins},) for {n_spins} spins, but its shape is {shape}.")
    if values is not None:
        norm = float(np.linalg.norm(values))
        rounding = np.finfo(np.result_type(values, np.float32)).eps * (16 + np.sqrt(values.size))
        if not abs(norm - 1) <= rounding:
            raise ValueError(f"`initial_state` must be normalized, but its norm is {norm}; divide it by its norm.")
    return jnp.asarray(state, jnp.promote_types(jnp.result_type(state), float))
