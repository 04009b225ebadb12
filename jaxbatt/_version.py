"""The version of jaxbatt, which pyproject.toml reads here: known where the package runs without having been installed, too."""

__version__ = "0.1.0"
