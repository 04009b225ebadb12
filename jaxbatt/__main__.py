"""``python -m jaxbatt``: the command line."""

from jaxbatt.cli import run

run()
