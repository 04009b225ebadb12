"""The two ways to apply Pauli strings to amplitudes (..., 2**N) without a matrix."""

from jaxbatt.kernels.flips import FlipTable, apply_flips, site_overlaps
from jaxbatt.kernels.walsh import walsh

__all__ = ["FlipTable", "apply_flips", "site_overlaps", "walsh"]
