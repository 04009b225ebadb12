"""The two ways to apply Pauli strings to amplitudes (..., 2**N) without a matrix, on one device or on many."""

from jaxbatt.kernels.flips import FlipTable, apply_flips, flip_overlaps, site_overlaps
from jaxbatt.kernels.gram import gram, mirrored_gram
from jaxbatt.kernels.sharded import Sharded
from jaxbatt.kernels.walsh import walsh
from jaxbatt.kernels.whole import ONE_DEVICE, Kernels, Whole

__all__ = [
    "ONE_DEVICE",
    "FlipTable",
    "Kernels",
    "Sharded",
    "Whole",
    "apply_flips",
    "flip_overlaps",
    "gram",
    "mirrored_gram",
    "site_overlaps",
    "walsh",
]
