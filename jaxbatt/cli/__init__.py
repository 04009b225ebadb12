"""The command line: ``run`` is the command, ``main`` gives its exit code, ``app`` holds its verbs."""

from jaxbatt.cli.app import app as app
from jaxbatt.cli.app import main as main
from jaxbatt.cli.app import run as run
