"""Study files: TOML to batteries, protocols, solvers, and the options of ``optimize`` and ``sweep``."""

from jaxbatt.study.models import METHODS as METHODS
from jaxbatt.study.models import solver_named as solver_named
from jaxbatt.study.optimizing import OptimalStudy as OptimalStudy
from jaxbatt.study.optimizing import parse_optimal as parse_optimal
from jaxbatt.study.optimizing import read_optimal as read_optimal
from jaxbatt.study.sweeping import SweepStudy as SweepStudy
from jaxbatt.study.sweeping import parse_sweep as parse_sweep
from jaxbatt.study.sweeping import read_sweep as read_sweep
