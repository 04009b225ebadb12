"""Propagators exp(-i H t) that know nothing but how to apply H to a state."""

from jaxbatt.propagators._expansion import Kept, Seen, Used
from jaxbatt.propagators._segment import Propagator, Segment, States, check_is_propagator, reachable_tolerance
from jaxbatt.propagators.chebyshev import Chebyshev
from jaxbatt.propagators.krylov import Krylov
from jaxbatt.propagators.taylor import Taylor

__all__ = [
    "Chebyshev",
    "Kept",
    "Krylov",
    "Propagator",
    "Seen",
    "Segment",
    "States",
    "Taylor",
    "Used",
    "check_is_propagator",
    "reachable_tolerance",
]
