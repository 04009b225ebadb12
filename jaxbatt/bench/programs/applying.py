"""One application of H by every choice of kernels, and a copy of memory beside it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

import jaxbatt as jb
from jaxbatt.hamiltonian import Operator, _cheapest, _kind, model_of
from jaxbatt.kernels import ONE_DEVICE
from jaxbatt.kernels.flips import _FUSED
from jaxbatt.kernels.walsh import _CACHED, _LOW, _STEP, factors
from jaxbatt.paulis import one_body

_COPIED = 25
"""Bits of the large copied vector: 256 MiB in float64, more than a cache holds."""
_STATES = tuple(itertools.product((jnp.float64, jnp.float32), (1, 2)))
"""Precision, and the rows of a real and of a complex state."""


def applications(*, n: int, chain: str, alpha: float, copied: int = _COPIED) -> Iterator[dict[str, Any]]:
    """Copies of a large vector and of every state; H on real and complex states in both precisions, by each choice of kernels."""
    yield _copy(jnp.zeros(2**copied)) | {"state": "large"}
    for dtype, rows in _STATES:
        yield _copy(_state(n, dtype, rows)) | _named(dtype, rows)
    couplings = jb.nearest_neighbor(n, 1.0) if chain == "NN" else jb.power_law(n, 1.0, 1.0)
    charger = model_of(jb.SpinBattery(1.0, couplings, alpha)).drift + one_body(n, "x", jnp.asarray(4.0))
    kinds = [_kind(string) for string in charger.strings]
    rule = _cheapest(charger, kinds, ONE_DEVICE)
    radius = float(jnp.abs(charger.coefficients).sum())
    choices = [rule, *(choice for choice in ((), ("x",), ("x", "y")) if set(choice) <= set(kinds) and choice != rule)]
    for choice in choices:
        # Divided by its greatest possible eigenvalue, so that many applications neither overflow nor need a pass to rescale.
        placed = jax.jit(lambda charger, choice=choice: Operator._placed(charger, kinds, choice, ONE_DEVICE))(charger)
        for dtype, rows in _STATES:
            operator, state = jax.tree.map(lambda x, dtype=dtype: (x / radius).astype(dtype), placed), _state(n, dtype, rows)
            yield _named(dtype, rows) | {
                "what": "apply",
                "transformed": "+".join(choice) or "nothing",
                "rule": choice == rule,
                "bytes": traffic(operator, rows),
                "times": _times(n),
                "program": (jax.jit(lambda operator, state: _repeated(operator.apply, state)), (operator, state)),
            }


def _copy(vector: jax.Array) -> dict[str, Any]:
    program = jax.jit(lambda v: _repeated(lambda v: v * 1.0000001, v))
    return {"what": "copy", "bytes": 2 * vector.nbytes, "times": _times(_bits(vector)), "program": (program, (vector,))}


def _repeated(step: Callable[[jax.Array], jax.Array], vector: jax.Array) -> jax.Array:
    """Many applications, one after the other as in a series: else the call, and fresh memory from the system, are timed."""
    return jax.lax.fori_loop(0, _times(_bits(vector)), lambda _, v: step(v), vector)


def _times(n: int) -> int:
    return min(32, 2 ** max(20 - n, 2))


def _bits(vector: jax.Array) -> int:
    return vector.shape[-1].bit_length() - 1


def _state(n: int, dtype: Any, rows: int) -> jax.Array:
    return jax.random.normal(jax.random.key(0), (rows, 2**n), dtype)


def _named(dtype: Any, rows: int) -> dict[str, Any]:
    return {"state": "real" if rows == 1 else "complex", "dtype": jnp.dtype(dtype).name}


def traffic(operator: Operator, rows: int) -> int:
    """Bytes that one application moves if every pass over a vector goes through memory.

    With s the bytes of one real vector of 2**N numbers and r its rows (1 for a real state, 2 for a complex one):

        diagonal          (1 + 2 r) s       D_z and the state are read, the result is written
        each transform    2 r s passes      read and written once a pass
        each D_x or D_y   (1 + r) s         the diagonal is read, the result so far is read to add to it
        flips             r (M + 2 F) s     M masks gather the whole vector; in F fused passes the result is read and written

    passes: one for the dense block of the lowest four bits and one for every three bits above; vectors of more than 2**18 numbers
    are transformed by parts that stay in the cache, two passes in all: by blocks, and across them. On a GPU one for each dense
    block of at most five bits. Multiplications by diagonals and signs, and joins of what a pass computes, are counted as
    fused into the passes beside them. Where gathers find in the cache what other gathers have read, it is faster than this.
    """
    size = operator.d_z.nbytes
    parts = sum(part is not None for part in (operator.d_x, operator.d_y))
    masks = [len({s.flip for s in strings}) for strings in (operator.even_strings, operator.odd_strings)]
    gathers = sum(count + 2 * math.ceil(count / _FUSED) for count in masks)
    return size * (1 + 2 * rows + parts * (2 * 2 * rows * _passes(operator.d_z.size) + 1 + rows) + rows * gathers)


def _passes(size: int) -> int:
    n_bits = size.bit_length() - 1
    if jax.default_backend() != "cpu":
        return factors(n_bits)
    return 2 if n_bits > _CACHED else 1 + math.ceil(max(n_bits - _LOW, 0) / _STEP)
