"""One application of H by every choice of kernels, and a copy of memory beside it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

import jaxbatt as jb
from jaxbatt.hamiltonian import Operator, _cheapest, _kind, model_of
from jaxbatt.kernels.flips import _FUSED
from jaxbatt.kernels.walsh import _CACHED, _LOW, _STEP
from jaxbatt.paulis import one_body

_COPIED = 25
"""Bits of the copied vector: 256 MiB in float64, more than a cache holds."""


def applications(*, n: int, chain: str, alpha: float, copied: int = _COPIED) -> Iterator[dict[str, Any]]:
    """A copy, then H on a real and on a complex state in both precisions, by each choice of what is transformed."""
    vector = jnp.zeros(2**copied)
    yield {"what": "copy", "bytes": 2 * vector.nbytes, "program": (jax.jit(lambda v: v * 1.0000001), (vector,))}
    del vector
    couplings = jb.nearest_neighbor(n, 1.0) if chain == "NN" else jb.power_law(n, 1.0, 1.0)
    charger = model_of(jb.SpinBattery(1.0, couplings, alpha)).drift + one_body(n, "x", jnp.asarray(4.0))
    kinds = [_kind(string) for string in charger.strings]
    rule = _cheapest(n, kinds, charger.strings)
    choices = [choice for choice in ((), ("x",), ("x", "y")) if set(choice) <= set(kinds)]
    for choice in choices:
        placed = jax.jit(lambda charger, choice=choice: Operator._placed(charger, kinds, choice))(charger)
        for dtype, rows in itertools.product((jnp.float64, jnp.float32), (1, 2)):
            operator = placed.astype(dtype)
            state = jax.random.normal(jax.random.key(0), (rows, 2**n), dtype)
            yield {
                "what": "apply",
                "state": "real" if rows == 1 else "complex",
                "dtype": jnp.dtype(dtype).name,
                "transformed": "+".join(choice) or "nothing",
                "rule": choice == rule,
                "bytes": traffic(operator, rows),
                "program": (jax.jit(lambda operator, state: operator.apply(state)), (operator, state)),
            }


def traffic(operator: Operator, rows: int) -> int:
    """Bytes that one application moves if every pass over a vector goes through memory.

    With s the bytes of one real vector of 2**N numbers and r its rows (1 for a real state, 2 for a complex one):

        diagonal          (1 + 2 r) s       D_z and the state are read, the result is written
        each transform    2 r s passes      read and written once a pass
        each D_x or D_y   (1 + r) s         the diagonal is read, the result so far is read to add to it
        flips             r (M + 2 F) s     M masks gather the whole vector; in F fused passes the result is read and written

    passes: one for the dense block of the lowest four bits and one for every two bits above; on a CPU the lowest 18 bits are
    transformed in blocks that stay in the cache, which is one pass together. Multiplications by diagonals and signs are counted
    as fused into the passes beside them. Vectors that fit a cache, and gathers that find a part of it there, are faster than this
    bound.
    """
    size = operator.d_z.nbytes
    parts = sum(part is not None for part in (operator.d_x, operator.d_y))
    masks = [len({s.flip for s in strings}) for strings in (operator.even_strings, operator.odd_strings)]
    gathers = sum(count + 2 * math.ceil(count / _FUSED) for count in masks)
    return size * (1 + 2 * rows + parts * (2 * 2 * rows * _passes(operator.d_z.size) + 1 + rows) + rows * gathers)


def _passes(size: int) -> int:
    n_bits = size.bit_length() - 1
    low = _CACHED if n_bits > _CACHED and jax.default_backend() == "cpu" else _LOW
    return 1 + math.ceil(max(n_bits - low, 0) / _STEP)
