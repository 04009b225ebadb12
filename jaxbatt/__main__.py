"""``python -m jaxbatt``: the command line."""

import sys

from jaxbatt.cli import main

sys.exit(main())
