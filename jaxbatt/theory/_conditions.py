"""The conditions under which the closed forms hold, refused where the values can be seen (traced values pass)."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxbatt._checks import check_finite, concrete


def check_spins(n: Any, minimum: int = 1) -> None:
    """Refuses numbers of spins that are not integers of at least ``minimum``; arrays of them are welcome."""
    array = concrete(n)
    if array is not None and (array.dtype.kind not in "iu" or not np.all(array >= minimum)):
        raise ValueError(f"`n` must be an integer number of spins of at least {minimum}, but it is {n!r}; pass N >= {minimum}.")


def check_not_negative(name: str, value: Any, remedy: str) -> None:
    """Refuses numbers below zero."""
    check_finite(name, value)
    array = concrete(value)
    if array is not None and not np.all(array >= 0):
        raise ValueError(f"`{name}` must not be negative, but it is {value}; {remedy}.")
