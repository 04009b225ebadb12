"""Optimal charging: fields, durations and couplings found by gradients from many starts. ``optimize`` is the way in."""

from jaxbatt.optimization.objectives import End as End
from jaxbatt.optimization.objectives import Penalty as Penalty
from jaxbatt.optimization.optimum import Baseline as Baseline
from jaxbatt.optimization.optimum import Optimum as Optimum
from jaxbatt.optimization.search import optimize as optimize
