"""Settings of the whole suite, and the one tolerance.

Warnings are errors (pyproject.toml). Tests marked ``slow`` run with ``--slow`` only, tests marked ``gpu`` where there is one.
"""

import os

# Threads of OpenBLAS cost more than they gain on the small matrices of the suite, and far more on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import numpy as np
import pytest

import jaxbatt  # noqa: F401, turns on 64 bits before any array is made


def tol(dtype, work):
    """The rounding that is allowed: 16 eps of ``dtype`` for every unit of ``work``.

    ``work`` says how much was computed: the sum of the sizes of the numbers that were added up, and for an evolution the
    size of what is measured times the phase ||H|| t that was turned through. 16 leaves room for a dozen roundings in a row.
    Errors that are no rounding (the tolerance of a propagator, the next order of a series) are never hidden in here.
    """
    return 16 * float(np.finfo(dtype).eps) * float(work)


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled_programs():
    """Frees what a file has compiled: each program holds memory maps, of which Linux allows a process 65,530."""
    yield
    jax.clear_caches()


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")


def pytest_collection_modifyitems(config, items):
    unavailable = {}
    if not config.getoption("--slow"):
        unavailable["slow"] = "takes minutes; run with --slow"
    if jax.default_backend() != "gpu":
        unavailable["gpu"] = f"needs a GPU, but JAX runs on {jax.default_backend()}"
    for item in items:
        for mark, reason in unavailable.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))
