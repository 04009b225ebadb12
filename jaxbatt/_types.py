"""Array types shared by the public signatures: the shapes of the field's quantities, in one place.

Axis names: ``n`` spins, ``t`` output times, ``k`` pieces of a protocol, ``d`` = 2**n basis states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Complex, Float, Num

Scalar: TypeAlias = Float[Array, ""]
ScalarLike: TypeAlias = float | int | Float[Array, ""] | Float[np.ndarray, ""]
PerSpin: TypeAlias = Float[Array, "*n"]
Couplings: TypeAlias = Float[Array, "n n"]
Times: TypeAlias = Float[Array, " t"]
Magnetization: TypeAlias = Float[Array, "t 3"]
Amplitudes: TypeAlias = Float[Array, "k *n"]
Rows: TypeAlias = Float[Array, "rows d"]
"""A state as real rows: (psi,) for a real state under a real Hamiltonian, else (Re psi, Im psi)."""
State: TypeAlias = Num[Array, " d"]
DenseOperator: TypeAlias = Complex[Array, "d d"]
Axis: TypeAlias = Literal["x", "y", "z"]
InitialState: TypeAlias = Literal["down", "up"] | ArrayLike
Terms: TypeAlias = Sequence[tuple[str, Sequence[int], ScalarLike]]
