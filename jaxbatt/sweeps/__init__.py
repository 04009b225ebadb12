"""Sweeps: a function on a grid of parameters, compiled, in chunks, labelled, resumable."""

from jaxbatt.sweeps.axes import seeds as seeds
from jaxbatt.sweeps.planning import Plan as Plan
from jaxbatt.sweeps.planning import plan as plan
from jaxbatt.sweeps.run import sweep as sweep
from jaxbatt.sweeps.scaling import scaling as scaling
from jaxbatt.sweeps.statistics import summarize as summarize
