"""The paper's claims and slips, one by one: what was measured, by what criterion, and the verdict that follows from it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from jaxbatt._types import ScalarLike
from jaxbatt.paper.tables import Table

Verdict: TypeAlias = Literal["holds", "holds with correction", "does not hold"]


@dataclasses.dataclass(frozen=True)
class Check:
    """A measured number and the range in which it must lie.

    Args:
        what: what the number is.
        value: the number.
        low, high: the range, ends included.
    """

    what: str
    value: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def passed(self) -> bool:
        return self.low <= self.value <= self.high

    @property
    def demand(self) -> str:
        if self.low == -math.inf:
            return f"{self.what} <= {self.high:.6g}"
        if self.high == math.inf:
            return f"{self.what} >= {self.low:.6g}"
        return f"{self.what} in [{self.low:.6g}, {self.high:.6g}]"


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement of the paper and the checks that decide on it.

    Args:
        claim: what it is about.
        paper: the paper's statement, with its equation or figure.
        stated: checks of the statement as it stands.
        corrected: checks of the corrected statement, where there is one.
        correction: the corrected statement.
    """

    claim: str
    paper: str
    stated: tuple[Check, ...]
    corrected: tuple[Check, ...] = ()
    correction: str = ""

    @property
    def verdict(self) -> Verdict:
        """ "holds" if all checks of the statement pass; else "holds with correction" if there are corrected ones and all pass."""
        if all(check.passed for check in self.stated):
            return "holds"
        if self.corrected and all(check.passed for check in self.corrected):
            return "holds with correction"
        return "does not hold"

    @property
    def measured(self) -> str:
        numbers = {check.what: check.value for check in self.stated + self.corrected}
        return "; ".join(f"{what} = {value:.6g}" for what, value in numbers.items())

    @property
    def criterion(self) -> str:
        text = "; ".join(check.demand for check in self.stated)
        if self.corrected:
            text += f" -- corrected ({self.correction}): " + "; ".join(check.demand for check in self.corrected)
        return text


def claims_table(claims: Sequence[Claim]) -> Table:
    """One row for each claim: claim, paper, measured, verdict, criterion."""
    columns = ("claim", "paper", "measured", "verdict", "criterion")
    return {name: np.array([getattr(claim, name) for claim in claims]) for name in columns}


def near(what: str, value: ScalarLike, expected: float, tolerance: float) -> Check:
    """A check that a number is what is expected, up to a tolerance."""
    return Check(what, float(value), expected - tolerance, expected + tolerance)


def exponent(values: Sequence[ScalarLike], parameters: Sequence[float]) -> float:
    """d ln(value) / d ln(parameter) between two points."""
    return float(np.log(values[1] / values[0]) / np.log(parameters[1] / parameters[0]))
