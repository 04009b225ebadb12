"""Drawings of results in the style of a journal: data and axes in, axes out. Nothing here simulates."""

from jaxbatt.plots.curves import charging as charging
from jaxbatt.plots.curves import field as field
from jaxbatt.plots.curves import maximum as maximum
from jaxbatt.plots.curves import optimum as optimum
from jaxbatt.plots.curves import power as power
from jaxbatt.plots.curves import work as work
from jaxbatt.plots.grids import exponent as exponent
from jaxbatt.plots.grids import heat_map as heat_map
from jaxbatt.plots.grids import lines as lines
from jaxbatt.plots.style import COLUMN_WIDTH as COLUMN_WIDTH
from jaxbatt.plots.style import STYLE as STYLE
from jaxbatt.plots.style import axes as axes
from jaxbatt.plots.style import figure_of as figure_of
