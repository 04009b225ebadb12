"""From a battery and a field to operators: H_0, what acts while charging, and how an operator meets a state."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxbatt._checks import concrete, known, library, real_array
from jaxbatt._types import Axis, Rows, Scalar
from jaxbatt.battery import Battery, PauliBattery, SpinBattery
from jaxbatt.bounds import Bounds
from jaxbatt.kernels import ONE_DEVICE, Kernels
from jaxbatt.paulis import PauliString, PauliStrings, PauliSum, one_body, site_string

_LARGE = 10
"""Spins from which two transforms cost half as much as N gathers."""
_SEND = 8
"""Gathers that take as long as to send all that a device holds to another in the same node (benchmarks/SCALING.md)."""


class Model(eqx.Module):
    """A battery as Pauli sums: all that the state-vector and spectral solvers know of it.

    Attributes:
        energy: H_0.
        drift: what acts while charging besides the field.
        difference: H_0 - drift. While the field is u, <drift> + <u> is conserved, so H_0 changes as difference - u
            does; for the paper's battery that is the fields alone, and the interactions need not be measured.
    """

    energy: PauliSum
    drift: PauliSum
    difference: PauliSum

    @property
    def n_spins(self) -> int:
        return self.energy.n_spins

    @property
    def measures_products(self) -> bool:
        """Whether H_0 - H has products of several spins."""
        return any(string.weight > 1 for string in self.difference.strings)

    @property
    def flips_products(self) -> bool:
        """Whether some products of several spins have no diagonal form to transform to, as XY: they are flipped one by one."""
        strings = (*self.energy.strings, *self.drift.strings)
        return any(string.weight > 1 and _kind(string) == "mixed" for string in strings)


def model_of(battery: Battery) -> Model:
    """The Pauli sums of a battery, without the strings that are known to vanish (coefficients that JAX traces are not)."""
    factors = concrete(battery.factors) if isinstance(battery, SpinBattery) else None
    letters = "XYZ" if factors is None else "".join(np.array(list("XYZ"))[factors != 0])
    numbers = known(eqx.tree_at(lambda b: b.initial_state, battery, None, is_leaf=lambda leaf: leaf is None))
    if numbers is None:
        return Model(*_traced_parts(battery, letters))
    return jax.tree.map(real_array, Model(*(part.pruned() for part in _parts(numbers, letters))))


def _parts(battery: Battery, letters: str) -> tuple[PauliSum, PauliSum, PauliSum]:
    """H_0, the drift, and their difference."""
    if isinstance(battery, PauliBattery):
        return battery.energy, battery.drift, battery.energy - battery.drift
    fields, interactions = one_body(battery.n_spins, "z", battery.field), _interactions(battery, letters)
    nothing = fields.select([])
    kept, removed = (fields, nothing) if battery.field_while_charging else (nothing, fields)
    if battery.interactions_while_charging:
        return fields + interactions, interactions + kept, removed
    return fields + interactions, kept, interactions + removed


_traced_parts = eqx.filter_jit(_parts)


def _interactions(battery: SpinBattery, letters: str) -> PauliSum:
    n, strength = battery.n_spins, -battery.couplings[np.triu_indices(battery.n_spins, 1)]
    factors = [battery.factors["XYZ".index(letter)] for letter in letters]
    parts = [factor * strength for factor in factors] or [strength[:0]]
    return PauliSum(n, _on_pairs(n, letters), library(strength).concatenate(parts))


@functools.cache
def _on_pairs(n: int, letters: str) -> PauliStrings:
    pairs = list(itertools.combinations(range(n), 2))
    return PauliStrings(site_string(n, letter, i, j) for letter in letters for i, j in pairs)


class Operator(eqx.Module):
    """A Pauli sum ready to be applied: H = D_z + W D_x W / d + s W D_y W s / d + flips, real throughout.

    D_z, D_x, D_y are real diagonals (d,) = (2**N,), W the Walsh transform, s(b) = (-1)**floor(popcount(b) / 2).
    Which strings are transformed and which are flipped is chosen by cost (:func:`_cheapest`). Strings with an odd
    number of Y are imaginary; they act between the two rows (Re psi, Im psi). A coefficient () is shared by all strings.
    """

    d_z: Float[Array, " d"]
    d_x: Float[Array, " d"] | None
    d_y: Float[Array, " d"] | None
    even: Float[Array, "*e"]
    odd: Float[Array, "*o"]
    even_strings: tuple[PauliString, ...] = eqx.field(static=True)
    odd_strings: tuple[PauliString, ...] = eqx.field(static=True)
    kernels: Kernels = eqx.field(static=True)

    @classmethod
    def of(cls, pauli_sum: PauliSum, kernels: Kernels = ONE_DEVICE) -> Operator:
        """Places the coefficients of the sum for the kernel that applies it at less cost."""
        kinds = [_kind(string) for string in pauli_sum.strings]
        return cls._placed(pauli_sum, kinds, _cheapest(pauli_sum, kinds, kernels), kernels)

    @classmethod
    def products(cls, pauli_sum: PauliSum, kernels: Kernels = ONE_DEVICE) -> Operator:
        """Placed for :meth:`paired`: whatever has products of X or of Y is transformed."""
        kinds = [_kind(string) for string in pauli_sum.strings]
        present = {kind for kind, string in zip(kinds, pauli_sum.strings, strict=True) if string.weight > 1}
        return cls._placed(pauli_sum, kinds, tuple(kind for kind in "xy" if kind in present), kernels)

    @classmethod
    def charging(cls, drift: PauliSum, axis: Axis, level: Float[Array, "*n"], kernels: Kernels = ONE_DEVICE) -> Operator:
        """drift + field, placed for :meth:`paired`.

        A field along x that is the same for all spins and flips alone keeps its one coefficient, whose derivative is one product.
        """
        placed = cls.products(drift + one_body(drift.n_spins, axis, level), kernels)
        alone = not any(string.flip for string in drift.strings)
        return eqx.tree_at(lambda op: op.even, placed, level) if level.ndim == 0 and alone and axis == "x" else placed

    @classmethod
    def _placed(cls, pauli_sum: PauliSum, kinds: list[str], transformed: tuple[str, ...], kernels: Kernels) -> Operator:
        n = pauli_sum.n_spins

        def diagonal(kind: str, scale: float = 1.0) -> Float[Array, " d"]:
            part = pauli_sum.select([k == kind for k in kinds])
            masks = np.array([string.flip | string.sign for string in part.strings], int)
            return kernels.diagonal(n, masks, scale * part.coefficients, transformed=kind != "z")

        flipped = [kind != "z" and kind not in transformed for kind in kinds]
        even = pauli_sum.select([f and s.n_y % 2 == 0 for f, s in zip(flipped, pauli_sum.strings, strict=True)])
        odd = pauli_sum.select([f and s.n_y % 2 == 1 for f, s in zip(flipped, pauli_sum.strings, strict=True)])
        d_x, d_y = (diagonal(kind, 0.5**n) if kind in transformed else None for kind in "xy")
        return cls(diagonal("z"), d_x, d_y, even.coefficients, odd.coefficients, even.strings, odd.strings, kernels)

    @property
    def pieces(self) -> int:
        """Equal pieces in which the amplitudes are held, each on a device of its own."""
        return self.kernels.pieces

    @property
    def is_real(self) -> bool:
        return not self.odd_strings

    def apply(self, rows: Rows) -> Rows:
        """H psi for a state given as real rows: one row (real psi, real H) or two (Re psi, Im psi)."""
        return self.turned(rows)[0]

    def turned(self, rows: Rows) -> tuple[Rows, Rows | None, Rows | None]:
        """H psi, and what is computed on the way: W psi and W s psi, each None where it is not."""
        turn, turn_back = self.kernels.transform, self.kernels.transform_back
        out, along_x, along_y = self.d_z * rows, None, None
        if self.d_x is not None:
            along_x = turn(rows)
            out = out + turn_back(self.d_x * along_x)
        if self.d_y is not None:
            s = y_sign(self.kernels, rows)
            along_y = turn(s * rows)
            out = out + s * turn_back(self.d_y * along_y)
        if self.even_strings:
            out = out + _flip(self.kernels, self.even_strings, self.even, rows)
        if self.odd_strings:
            out = out - times_i(_flip(self.kernels, self.odd_strings, self.odd, rows))
        return out, along_x, along_y

    def paired(self, v: Rows, w: Rows, total: Operator, weight: Scalar) -> tuple[Rows, Rows, Operator]:
        """H v, H w, and total + weight * the derivative of <w|H v> with respect to every coefficient, a pytree like the operator.

        The derivative with respect to a diagonal D after W is (W w) (W v), which H v and H w need all the same: all
        transformed strings at once, whatever their number.
        """
        d_z, d_x, d_y, even, odd = self.kernels.added(total.d_z, weight, v, w), total.d_x, total.d_y, total.even, total.odd
        hv, hw, done = self.d_z * v, self.d_z * w, d_z
        if self.d_x is not None and d_x is not None:
            along_v, along_w, d_x = self._through(self.d_x, d_x, weight, v, w, done)
            hv, hw, done = hv + along_v, hw + along_w, along_w
        if self.d_y is not None and d_y is not None:
            s = y_sign(self.kernels, v)
            sv = s * v
            along_v, along_w, d_y = self._through(self.d_y, d_y, weight, sv, sv if w is v else s * w, done)
            hv, hw = hv + s * along_v, hw + s * along_w
        if self.even_strings:
            fv, pulled = _flip_pair(self.kernels, self.even_strings, self.even, v, w)
            hv, hw, even = hv + fv, hw + _flip(self.kernels, self.even_strings, self.even, w), even + weight * pulled
        if self.odd_strings:
            # <w| -i (F v)> = <i w|F v>: the flips act on both rows alike.
            fv, pulled = _flip_pair(self.kernels, self.odd_strings, self.odd, v, times_i(w))
            hv, hw = hv - times_i(fv), hw - times_i(_flip(self.kernels, self.odd_strings, self.odd, w))
            odd = odd + weight * pulled
        return hv, hw, dataclasses.replace(total, d_z=d_z, d_x=d_x, d_y=d_y, even=even, odd=odd)

    def _through(
        self, diagonal: Float[Array, " d"], total: Float[Array, " d"], weight: Scalar, v: Rows, w: Rows, done: Array
    ) -> tuple[Rows, Rows, Float[Array, " d"]]:
        """W D W v, W D W w, and total + weight * (W w) (W v), one after the other, after what is ``done``."""
        turn, turn_back, late = self.kernels.transform, self.kernels.transform_back, self.kernels.late
        turned_v = turn(late(v, done))
        turned_w = turned_v if w is v else turn(late(w, turned_v))
        total = self.kernels.added(total, weight, turned_v, turned_w)
        along_v = turn_back(late(diagonal * turned_v, total))
        along_w = along_v if w is v else turn_back(late(diagonal * turned_w, along_v))
        return along_v, along_w, total

    def bounds(self) -> Bounds:
        """The exact ranges of the diagonals and the sizes of the flipped strings, added up."""
        size, signs = self.d_z.shape[0], np.array([[1], [-1]])
        diagonals = [(self.d_z, 1), (self.d_x, size), (self.d_y, size)]
        # Highest, and minus lowest, in one pass: center and radius would each search for both.
        ends = jnp.stack([scale * (signs * diagonal).max(axis=1) for diagonal, scale in diagonals if diagonal is not None])
        center, radius = (ends[:, 0] - ends[:, 1]).sum() / 2, ends.sum() / 2
        for coefficients, strings in ((self.even, self.even_strings), (self.odd, self.odd_strings)):
            radius = radius + jnp.abs(jnp.broadcast_to(coefficients, (len(strings),))).sum()
        return Bounds(center, radius)

    def astype(self, dtype: DTypeLike) -> Operator:
        """The operator in another real precision."""
        arrays, rest = eqx.partition(self, eqx.is_array)
        return eqx.combine(jax.tree.map(lambda x: x.astype(dtype), arrays), rest)


def y_sign(kernels: Kernels, rows: Rows) -> Float[Array, " d"]:
    """s(b) = (-1)**floor(popcount(b) / 2), which turns every even product of X into that of Y."""
    half = kernels.counts(rows.shape[-1].bit_length() - 1) >> 1
    return (1 - 2 * (half & 1)).astype(rows.dtype)


def times_i(rows: Rows) -> Rows:
    """i psi for psi = rows[0] + i rows[1]."""
    return jnp.stack([-rows[1], rows[0]])


def _flip(kernels: Kernels, strings: tuple[PauliString, ...], coefficients: Float[Array, "*k"], rows: Rows) -> Rows:
    signs = _string_signs(strings)
    if coefficients.ndim == 0:
        return coefficients * kernels.flips(strings, jnp.asarray(signs, rows.dtype), rows)
    return kernels.flips(strings, coefficients * signs, rows)


def _string_signs(strings: tuple[PauliString, ...]) -> Float[np.ndarray, " k"]:
    """(P v)[b] = (-i)**n_y (-1)**popcount(b & sign) v[b ^ flip]: the even power of -i; the odd one is left to the caller."""
    return np.array([(-1.0) ** (string.n_y // 2) for string in strings])


def _flip_pair(
    kernels: Kernels, strings: tuple[PauliString, ...], coefficients: Float[Array, "*k"], v: Rows, w: Rows
) -> tuple[Rows, Float[Array, "*k"]]:
    """sum_k c_k F_k v, and <w|F_k v> for every string, or their sum for a shared coefficient."""
    if coefficients.ndim == 0:
        # Row by row, and behind a barrier: else the gathers are done again inside the sum, one number at a time.
        one = jnp.ones_like(coefficients)
        flipped = jax.lax.optimization_barrier(jnp.concatenate([_flip(kernels, strings, one, row[None]) for row in v]))
        return coefficients * flipped, jnp.tensordot(w, flipped, 2)
    if all(string.weight == 1 and string.sign == 0 for string in strings):
        n = v.shape[-1].bit_length() - 1
        sites = np.array([n - string.flip.bit_length() for string in strings])
        return _flip(kernels, strings, coefficients, v), kernels.site_overlaps(v, w)[sites].astype(coefficients.dtype)
    pulled = kernels.overlaps(strings, v, w).astype(coefficients.dtype)
    return _flip(kernels, strings, coefficients, v), pulled * jnp.asarray(_string_signs(strings), pulled.dtype)


def _kind(string: PauliString) -> str:
    """ "z" for products of Z, "x" of X, "y" of an even number of Y, "mixed" for the rest."""
    if string.flip == 0:
        return "z"
    if string.sign == 0:
        return "x"
    return "y" if string.sign == string.flip and string.n_y % 2 == 0 else "mixed"


def _cheapest(pauli_sum: PauliSum, kinds: list[str], kernels: Kernels) -> tuple[str, ...]:
    """Which of the X and Y parts to transform: a transformed part costs two transforms, else each flip mask a gather.

    Two transforms cost as much as N gathers, or half of that from 10 spins on; measured at N = 10 to 22 on two CPU cores
    (benchmarks/NOTES.md).
    """
    n_spins, strings = pauli_sum.n_spins, pauli_sum.strings
    turned = n_spins if n_spins < _LARGE else n_spins / 2

    def cost(transformed: tuple[str, ...]) -> float:
        masks = {s.flip for s, kind in zip(strings, kinds, strict=True) if kind != "z" and kind not in transformed}
        return turned * len(transformed) + len(masks) + _SEND * kernels.sent(n_spins, len(transformed), masks)

    options: list[tuple[str, ...]] = [(), ("x",), ("y",), ("x", "y")]
    return min((o for o in options if set(o) <= set(kinds)), key=cost)
