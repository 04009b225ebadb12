"""What all suites are told, and the standard task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

from jaxbatt.bench.timer import REPEATS

Row: TypeAlias = dict[str, Any]
Report: TypeAlias = Callable[[Row], None]
"""Told every row as soon as it is measured."""

TASK = {"alpha": 0.5, "field": 1.0, "coupling": 1.0, "omega": 4.0, "end": 0.4, "points": 101}
"""Long range p = 1, g = B, omega = 4 B, open chain, all spins down; W at 101 times up to 0.4 / B."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to measure.

    Attributes:
        spins: numbers of spins; those of the suite by default.
        systems: names of the systems to compare, or first words of names; all by default.
        quick: only see that everything runs: few spins, few repeats, jaxbatt and QuTiP.
        budget: seconds for one system at one number of spins; one that needs more is left out at larger ones.
        repeats: timed runs of each.
        platform: "cpu" or "gpu"; what JAX chooses by default.
    """

    spins: tuple[int, ...] | None = None
    systems: tuple[str, ...] | None = None
    quick: bool = False
    budget: float = 600.0
    repeats: int = REPEATS
    platform: str | None = None

    def sizes(self, usual: tuple[int, ...], quick: tuple[int, ...] = (3,)) -> tuple[int, ...]:
        return self.spins or (quick if self.quick else usual)

    def wanted(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The systems to run out of those that a suite knows."""
        chosen = self.systems or (("jaxbatt", "qutip", "plain") if self.quick else names)
        return tuple(name for name in names if any(is_called(name, word) for word in chosen))


def is_called(name: str, word: str) -> bool:
    """Whether a system is meant by its name or by the first word of it: qutip stands for all solvers of QuTiP."""
    return word in (name, name.split()[0])
