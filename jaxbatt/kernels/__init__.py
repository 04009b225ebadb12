"""The two ways to apply Pauli strings to amplitudes (..., 2**N) without a matrix."""

from jaxbatt.kernels.flips import FlipTable, apply_flips
from jaxbatt.kernels.walsh import walsh

__all__ = ["FlipTable", "apply_flips", "walsh"]
