"""Benchmarks: an honest timer, suites, result files by machine, and tables and pictures made from these alone."""

from jaxbatt.bench.pictures import picture as picture
from jaxbatt.bench.running import SUITES as SUITES
from jaxbatt.bench.running import SYSTEMS as SYSTEMS
from jaxbatt.bench.running import missing as missing
from jaxbatt.bench.running import result_of as result_of
from jaxbatt.bench.running import run as run
from jaxbatt.bench.settings import Row as Row
from jaxbatt.bench.settings import Settings as Settings
from jaxbatt.bench.settings import is_called as is_called
from jaxbatt.bench.tables import table as table
