"""A cold start of jaxbatt: importing it, and its first curve. Modules are imported by name here, since that is what is timed."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from typing import Any


def imports() -> Iterator[dict[str, Any]]:
    """Seconds to import JAX, and what jaxbatt adds."""
    start = time.perf_counter()
    importlib.import_module("jax")
    after = time.perf_counter()
    importlib.import_module("jaxbatt")
    yield {"jax": after - start, "jaxbatt": time.perf_counter() - after}


def curves(
    *, n: int, alpha: float, field: float, coupling: float, omega: float, end: float, points: int
) -> Iterator[dict[str, Any]]:
    """Seconds to import jaxbatt, of the first curve and of the second."""
    start = time.perf_counter()
    jb, np = importlib.import_module("jaxbatt"), importlib.import_module("numpy")
    seconds = {"import": time.perf_counter() - start}
    for name in ("first", "second"):
        start = time.perf_counter()
        battery = jb.SpinBattery(field, jb.power_law(n, coupling, 1.0), alpha)
        np.asarray(jb.charge(battery, jb.ConstantField(omega), np.linspace(0, end, points), solver=jb.StateVector()).work)
        seconds[name] = time.perf_counter() - start
    yield seconds


def platforms() -> Iterator[dict[str, Any]]:
    """The kinds of devices that JAX finds, and which it uses."""
    jax = importlib.import_module("jax")
    found = {"cpu": jax.devices("cpu")[0].device_kind}
    if jax.default_backend() == "gpu":
        found["gpu"] = jax.devices("gpu")[0].device_kind
    yield {"default": jax.default_backend(), **found}
