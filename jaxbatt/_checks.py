"""Refusals: every bad input becomes one sentence with the offending value and the remedy, before any long work.

Values that JAX is tracing cannot be looked at; every check lets them pass, and what they compute is judged
inside the computation instead (the ``valid`` flag of a result).
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

Tree = TypeVar("Tree")


def concrete(value: Any) -> np.ndarray | None:
    """Returns ``value`` as a NumPy array, or None where JAX is tracing it, or a number in a list."""
    if isinstance(value, jax.core.Tracer) or (isinstance(value, (list, tuple)) and known(value) is None):
        return None
    return np.asarray(value)


def known(tree: Tree) -> Tree | None:
    """The same with NumPy arrays, on which nothing has to be compiled, or None where JAX is tracing any of its numbers."""
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))
    return None if traced else jax.tree.map(np.asarray, tree)


def library(*arrays: Any) -> Any:
    """NumPy where all arrays are NumPy's, else jax.numpy."""
    return np if all(isinstance(array, (np.ndarray, np.generic)) for array in arrays) else jnp


def real_array(value: Any) -> jax.Array:
    """Returns ``value`` as a real JAX array; where it is known, so is the array, even while JAX traces something else.

    What is known to vanish costs nothing: strings without a coefficient are left out of the Hamiltonian.
    """
    if concrete(value) is None:
        return jnp.asarray(value, float)
    with jax.ensure_compile_time_eval():
        # What is no array of JAX yet is converted by NumPy: nothing is compiled for it.
        return jnp.asarray(value if isinstance(value, jax.Array) else np.asarray(value, jnp.result_type(float)), float)


def shape_of(name: str, value: Any) -> tuple[int, ...]:
    """The shape of an array or of nested lists, also where JAX is tracing it; refuses lists of rows that differ in length."""
    if isinstance(value, (list, tuple)):
        blank = jax.tree.map(lambda x: np.zeros(x.shape) if isinstance(x, jax.core.Tracer) else x, value)
    else:
        blank = value
    try:
        return np.shape(blank)
    except ValueError as error:
        raise ValueError(f"`{name}` must have rows of equal length, but it is {value!r}.") from error


def check_scalar(name: str, value: Any, remedy: str = "vmap over several") -> None:
    """Refuses what is not a single real number; the shape of one that JAX is tracing is known."""
    shape = shape_of(name, value)
    if shape != ():
        raise ValueError(f"`{name}` must be a scalar, but its shape is {shape}; {remedy}.")
    check_finite(name, value)


def check_finite(name: str, value: Any) -> None:
    """Refuses NaN, infinities and values that are not real numbers."""
    shape_of(name, value)
    array = concrete(value)
    if array is None:
        return
    if array.dtype.kind not in "fiu":
        raise ValueError(f"`{name}` must be real numbers, but it has dtype {array.dtype}.")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        index = tuple(int(i) for i in bad[0])
        place = f"{name}{list(index)}" if index else name
        raise ValueError(f"`{name}` must be finite, but {place} = {array[index]}; replace it by a number.")


def check_couplings(couplings: Any) -> None:
    """Refuses couplings that are not a finite symmetric (N, N) matrix with zero diagonal."""
    shape = shape_of("couplings", couplings)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] < 1:
        raise ValueError(
            f"`couplings` must be an (N, N) matrix g_ij with N >= 1, but its shape is {shape}; "
            "see jaxbatt.nearest_neighbor and jaxbatt.power_law."
        )
    check_finite("couplings", couplings)
    array = concrete(couplings)
    if array is None:
        return
    diagonal = np.flatnonzero(np.diagonal(array))
    if len(diagonal):
        i = int(diagonal[0])
        raise ValueError(
            f"`couplings` must have a zero diagonal, but couplings[{i}, {i}] = {array[i, i]}; a spin does not couple to itself."
        )
    if not np.array_equal(array, array.T):
        i, j = (int(k) for k in np.argwhere(array != array.T)[0])
        raise ValueError(
            f"`couplings` must be symmetric, but couplings[{i}, {j}] = {array[i, j]} and couplings[{j}, {i}] = {array[j, i]}; "
            "pass (g + g.T) / 2."
        )


def check_times(times: Any) -> None:
    """Refuses times that are empty, negative, decreasing or not finite."""
    shape = shape_of("times", times)
    if len(shape) != 1 or shape[0] < 1:
        raise ValueError(f"`times` must be a vector (T,) with T >= 1, but its shape is {shape}; pass jnp.linspace(0, T, 200).")
    check_finite("times", times)
    array = concrete(times)
    if array is None:
        return
    if array[0] < 0:
        raise ValueError(f"`times` must not be negative, but times[0] = {array[0]}; charging starts at t = 0.")
    drops = np.flatnonzero(np.diff(array) < 0)
    if len(drops):
        i = int(drops[0])
        raise ValueError(f"`times` must not decrease, but times[{i + 1}] = {array[i + 1]} < times[{i}] = {array[i]}; sort them.")


def check_positive(name: str, value: Any, remedy: str) -> None:
    """Refuses a number that is not finite and positive."""
    check_finite(name, value)
    array = concrete(value)
    if array is not None and not np.all(array > 0):
        raise ValueError(f"`{name}` must be positive, but it is {value}; {remedy}.")


def positive_number(name: str, value: Any, remedy: str) -> float:
    """The value as a plain number, which programs are compiled for; refuses one that is not positive, or that JAX is tracing."""
    check_scalar(name, value, "pass one number")
    check_positive(name, value, remedy)
    if concrete(value) is None:
        raise ValueError(
            f"`{name}` must be a plain number, which programs are compiled for, but JAX is tracing it; fix its value."
        )
    return float(value)


def check_instance(name: str, value: Any, kind: type, wanted: str) -> None:
    """Refuses what is not of a kind, such as its name, or its class in place of a value."""
    if isinstance(value, type) or not isinstance(value, kind):
        shown = value.__name__ if isinstance(value, type) else repr(value)
        raise ValueError(f"`{name}` must be {wanted}, but it is {shown}.")


def check_flags(**flags: Any) -> None:
    """Refuses what is neither True nor False: any word, "no" too, would be taken for True."""
    for name, flag in flags.items():
        if not isinstance(flag, (bool, np.bool_)):
            raise ValueError(f"`{name}` must be True or False, but it is {flag!r}.")


def check_integer(name: str, value: Any, least: int = 1) -> None:
    """Refuses what is no integer of at least ``least``."""
    _require_integer(f"`{name}`", value, least)


def check_spin_count(n_spins: Any) -> None:
    """Refuses a number of spins that is not an integer of at least one."""
    _require_integer("the number of spins", n_spins, 1)


def _require_integer(what: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        shown = repr(value)
        if isinstance(value, jax.core.Tracer):
            shown = f"a {value.dtype} that JAX is tracing; pass a Python integer, and integers as the axis of a sweep"
        raise ValueError(f"{what} must be an integer of at least {least}, but it is {shown}.")


def check_room_for_couplings(n_spins: int) -> None:
    """Refuses so many spins that the matrix of their couplings does not fit the memory, of which four are held at once."""
    require_memory(4 * 8 * n_spins**2, f"the matrix of couplings of {n_spins} spins", "take fewer")


def checked_mesh(mesh: Any) -> Mesh:
    """The mesh with its one axis left to the compiler; refuses what is no mesh, or has several axes."""
    if not isinstance(mesh, Mesh):
        raise ValueError(
            f'`mesh` must be a jax.sharding.Mesh, but it is {mesh!r}; pass jax.make_mesh((jax.device_count(),), ("devices",)).'
        )
    if len(mesh.axis_names) != 1:
        raise ValueError(
            f'`mesh` must have one axis, but it has {dict(mesh.shape)}; pass jax.make_mesh(({mesh.size},), ("devices",)).'
        )
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,))


def available_memory() -> int:
    """Bytes that the default device (or, on a CPU, the machine) can still give."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    try:
        with open("/proc/meminfo", encoding="ascii") as meminfo:
            fields = dict(line.split(":", 1) for line in meminfo)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return total_memory()


def total_memory() -> int:
    """Bytes of the default device (or, on a CPU, of the machine), free or not: the same in every run."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def peak_memory() -> int:
    """Bytes that this process has held at its peak; 0 where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 0


def require_memory(n_bytes: int, what: str, remedy: str) -> None:
    """Refuses work that cannot fit the memory, with the numbers, instead of leaving it to the system's killer."""
    available = available_memory()
    if n_bytes > available:
        # More than a float holds is a power of two.
        needed = f"{n_bytes / 2**30:.3g}" if n_bytes < 2**1000 else f"2**{n_bytes.bit_length() - 31}"
        raise ValueError(f"{what} needs {needed} GiB, but {available / 2**30:.3g} GiB are available; {remedy}.")
