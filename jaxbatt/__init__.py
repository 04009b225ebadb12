"""jaxbatt: many-body quantum batteries, charged exactly, in JAX.

Importing it turns on 64-bit JAX, unless the environment sets JAX_ENABLE_X64, and full precision in matrix products, unless
jax_default_matmul_precision is set: by default a GPU rounds single precision to 10 bits there (TF32).
"""

import os
from typing import TYPE_CHECKING

import jax
import lazy_loader

if "JAX_ENABLE_X64" not in os.environ:
    jax.config.update("jax_enable_x64", True)
if jax.config.jax_default_matmul_precision is None:  # type: ignore[attr-defined]
    jax.config.update("jax_default_matmul_precision", "highest")

from jaxbatt import theory
from jaxbatt._version import __version__ as __version__
from jaxbatt.battery import PauliBattery, SpinBattery
from jaxbatt.charger import ChargerScale, charger_scale
from jaxbatt.charging import charge, max_power, max_work
from jaxbatt.couplings import nearest_neighbor, power_law
from jaxbatt.disorder import disordered, random_field
from jaxbatt.paulis import PauliSum
from jaxbatt.propagators import Chebyshev, Krylov, Taylor
from jaxbatt.protocols import ConstantField, FourierField, PiecewiseField
from jaxbatt.results import ChargingCurve, Info, Peak
from jaxbatt.solvers import Collective, Spectral, StateVector

if TYPE_CHECKING:
    from jaxbatt import bench, paper, plots
    from jaxbatt.optimization import End, Optimum, Penalty, optimize
    from jaxbatt.solvers.mean_field import MeanField
    from jaxbatt.sweeps import Plan, plan, scaling, seeds, summarize, sweep

# What needs diffrax, matplotlib, optax, xarray or zarr is imported on first use.
__getattr__, _, _ = lazy_loader.attach(
    __name__,
    submodules=["bench", "paper", "plots"],
    submod_attrs={
        "solvers.mean_field": ["MeanField"],
        "optimization": ["End", "Optimum", "Penalty", "optimize"],
        "sweeps": ["Plan", "plan", "scaling", "seeds", "summarize", "sweep"],
    },
)

__all__ = [
    "ChargerScale",
    "ChargingCurve",
    "Chebyshev",
    "Collective",
    "ConstantField",
    "End",
    "FourierField",
    "Info",
    "Krylov",
    "MeanField",
    "Optimum",
    "PauliBattery",
    "PauliSum",
    "Peak",
    "Penalty",
    "PiecewiseField",
    "Plan",
    "Spectral",
    "SpinBattery",
    "StateVector",
    "Taylor",
    "bench",
    "charge",
    "charger_scale",
    "disordered",
    "max_power",
    "max_work",
    "nearest_neighbor",
    "optimize",
    "paper",
    "plan",
    "plots",
    "power_law",
    "random_field",
    "scaling",
    "seeds",
    "summarize",
    "sweep",
    "theory",
]
# By default dir(jaxbatt) has only those that are imported on first use.
__dir__ = __all__.copy
