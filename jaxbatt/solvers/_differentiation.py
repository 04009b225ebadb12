"""Clear refusals of derivatives that a solver does not have, in place of wrong numbers or of errors from far below.

They are primitives of their own: JAX drops the rules of ``custom_jvp`` from what a loop has known before it is linearized.
"""

from __future__ import annotations

from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Value = TypeVar("Value", bound=jax.Array)
Tree = TypeVar("Tree")


def first_only(value: Value, source: jax.Array, solver: str) -> Value:
    """The value as it is, which depends on the source in a way that JAX does not see.

    Raises:
        NotImplementedError: differentiation with respect to the source.
    """
    return _first_only_p.bind(value, source, solver=solver)


def reverse_only(tangents: Tree, solver: str) -> Tree:
    """The tangents as they are; computing with them raises, while transposing them, as reverse mode does, leaves no trace.

    Raises:
        NotImplementedError: forward-mode differentiation.
    """
    return jax.tree.map(lambda tangent: _reverse_only_p.bind(tangent, solver=solver), tangents)


def guarded(values: Tree, name: str) -> Tree:
    """The values as they are; a custom rule for reverse mode that is given them needs none for forward mode.

    Raises:
        NotImplementedError: forward-mode differentiation with respect to any of them, with the name of what was asked for.
    """
    return jax.tree.map(lambda x: _guarded_p.bind(x, solver=name) if eqx.is_inexact_array(x) else x, values)


def _second(primals: Any, tangents: Any, *, solver: str) -> tuple[Any, Any]:
    if not isinstance(tangents[1], ad.Zero):
        raise NotImplementedError(
            f"{solver} has no second derivatives with respect to the numbers of the Hamiltonian; "
            "take finite differences of the gradient."
        )
    return _first_only_p.bind(*primals, solver=solver), tangents[0]


_first_only_p = Primitive("first_only")
_first_only_p.def_impl(lambda value, source, *, solver: value)
_first_only_p.def_abstract_eval(lambda value, source, *, solver: value)
mlir.register_lowering(_first_only_p, mlir.lower_fun(lambda value, source, *, solver: value, multiple_results=False))
ad.primitive_jvps[_first_only_p] = _second
batching.primitive_batchers[_first_only_p] = lambda args, dims, *, solver: (_first_only_p.bind(*args, solver=solver), dims[0])


def _forward(*_: Any, solver: str) -> Any:
    raise NotImplementedError(
        f"{solver} has first derivatives in reverse mode only; use jax.grad, jax.vjp or jax.jacrev, not jax.jvp or jax.jacfwd."
    )


_reverse_only_p = Primitive("reverse_only")
_reverse_only_p.def_impl(_forward)
_reverse_only_p.def_abstract_eval(lambda tangent, *, solver: tangent)
mlir.register_lowering(_reverse_only_p, _forward)
ad.deflinear2(_reverse_only_p, lambda cotangent, _, *, solver: [cotangent])
# Tangents are transposed before they are batched; those that are not are on their way forward.
batching.primitive_batchers[_reverse_only_p] = _forward


def _guarded_derivative(primals: Any, tangents: Any, *, solver: str) -> tuple[Any, Any]:
    tangent = tangents[0]
    return _guarded_p.bind(*primals, solver=solver), tangent if isinstance(tangent, ad.Zero) else reverse_only(tangent, solver)


_guarded_p = Primitive("guarded")
_guarded_p.def_impl(lambda value, *, solver: value)
_guarded_p.def_abstract_eval(lambda value, *, solver: value)
mlir.register_lowering(_guarded_p, mlir.lower_fun(lambda value, *, solver: value, multiple_results=False))
ad.primitive_jvps[_guarded_p] = _guarded_derivative
batching.primitive_batchers[_guarded_p] = lambda args, dims, *, solver: (_guarded_p.bind(*args, solver=solver), dims[0])
