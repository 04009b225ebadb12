"""Solvers: each evolves a battery under a protocol in its own space, and records work and magnetization."""

from jaxbatt.solvers._base import (
    WINDOW_DEGREE,
    WINDOW_PHASE,
    Carry,
    Evolution,
    Limits,
    Record,
    Solver,
    check_is_solver,
    check_kinds,
)
from jaxbatt.solvers._differentiation import guarded
from jaxbatt.solvers.collective import Collective, is_uniform
from jaxbatt.solvers.spectral import Spectral
from jaxbatt.solvers.state_vector import StateVector

__all__ = [
    "WINDOW_DEGREE",
    "WINDOW_PHASE",
    "Carry",
    "Collective",
    "Evolution",
    "Limits",
    "Record",
    "Solver",
    "Spectral",
    "StateVector",
    "check_is_solver",
    "check_kinds",
    "guarded",
    "is_uniform",
]
