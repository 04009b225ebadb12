"""The command line: ``main`` runs it, ``app`` holds its verbs."""

from jaxbatt.cli.app import app as app
from jaxbatt.cli.app import main as main
