"""``scaling``: how a quantity grows with the number of spins, at equal chargers."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import xarray
from xarray import ufuncs

Normalization: TypeAlias = Literal["field", "bandwidth", "deviation"]

_POWERS = {"power": 1, "time": -1, "work": 0}
"""y(lambda H) = lambda^k y(H), by the last part of the name of y."""


def scaling(
    dataset: xarray.Dataset, x: str = "n", y: str = "power", *, normalization: Normalization = "field", window: int = 3
) -> xarray.Dataset:
    """Local exponents d ln y / d ln x, and one power law y = prefactor * x^exponent for all points.

    The local ones are least-squares slopes over every ``window`` neighboring values of x (2: the slope between neighbors). Look
    at them first: the growth of the power is faster than N only while sum g_ij << N omega, and ends beyond, so that one fit over
    N <= 8 gives an exponent that holds nowhere, whatever its standard error says. That error takes the deviations from the law
    for noise.

    A charger is made comparable by H -> lambda H, which multiplies powers by lambda, divides times (and a horizon) by it and
    leaves works as they are: exactly, if the charging field is constant and the battery's own field off (else that is scaled
    along with it). The parallel charger is the same field on N independent cells.

        "field"      lambda = 1: the same field V for all
        "bandwidth"  lambda = parallel_bandwidth / bandwidth: H has the E_max - E_min of the parallel charger
        "deviation"  lambda = parallel_deviation / deviation: the same of sqrt(<H^2> - <H>^2) in the initial state

    These four are variables of the dataset, by these names, as ``charger_scale`` measures them. From all spins down, under
    couplings that conserve sum_i Z_i (any alpha), the deviation is that of the field and changes nothing. Normalize before you
    ``summarize``. Kac's normalization of the couplings acts before the simulation: ``power_law(n, g, p, kac=True)``.

    Args:
        dataset: a dataset of ``sweep``, or one like it.
        x: the dimension to compare along, of positive numbers; sorted here.
        y: the variable. Points where it is NaN, or where ``valid`` is False, are missing.
        normalization: of the charger. Those other than "field" need a y whose name ends in power, time or work.
        window: number of points of a local exponent, at least 2.

    Returns:
        A dataset over the other dimensions of y:

        - ``local_exponent`` (x): NaN where a point of the window is missing. The coordinate x is the geometric mean of the ends
          of the window, which are the coordinates ``first`` and ``last``.
        - ``exponent``, ``prefactor`` (of y at x = 1) and ``residual``, the root of the mean squared deviation in ln y, over
          all points that are there; NaN if fewer than 2.
        - ``exponent_stderr``: standard error of the exponent; NaN if fewer than 3 points.
        - ``count``: number of points of the fit.

    Raises:
        ValueError: no such dimension or variable; x that is not positive; y <= 0, which has no logarithm; fewer than 2 values of
            x, or fewer than the window; variables that the normalization needs are missing.

    Example:
        >>> def fn(n, p):
        ...     battery, drive = SpinBattery(1.0, power_law(n, 1.0, p)), ConstantField(4.0)
        ...     return {"power": max_power(battery, drive).power} | charger_scale(battery, drive)._asdict()
        >>> data = sweep(fn, {"n": [4, 6, 8, 10], "p": jnp.array([0.0, 1.0, 2.0])})
        >>> scaling(dataset, normalization="bandwidth").local_exponent.sel(p=1.0)

    Source: Campaioli et al., PRL 118, 150601 (2017), on what is held fixed; Le et al., PRA 97, 022106 (2018), Fig. 4 and 6.
    """
    _check(dataset, x, y, normalization, window)
    values = (dataset[y] * _factor(dataset, y, normalization)).assign_attrs(dataset[y].attrs)
    if "valid" in dataset:
        values = values.where(dataset["valid"])
    values = values.sortby(x).transpose(..., x)
    _check_positive(values, x, y)
    with np.errstate(invalid="ignore"):
        fit, local = _fit(values, x), _local(values, x, window)
    fit["prefactor"].attrs = dict(values.attrs)
    attrs = {"x": x, "y": y, "normalization": normalization, "window": window}
    return xarray.Dataset(fit | {"local_exponent": local}, attrs=attrs)


def _factor(dataset: xarray.Dataset, y: str, normalization: str) -> Any:
    """lambda^k."""
    if normalization == "field":
        return 1.0
    power = _POWERS[y.rsplit("_", 1)[-1]]
    return (dataset[f"parallel_{normalization}"] / dataset[normalization]) ** power


def _local(values: xarray.DataArray, x: str, window: int) -> xarray.DataArray:
    places = values[x].to_numpy().astype(float)
    first, last = values[x].to_numpy()[: len(places) - window + 1], values[x].to_numpy()[window - 1 :]
    logs = np.lib.stride_tricks.sliding_window_view(np.log(places), window)
    samples = np.lib.stride_tricks.sliding_window_view(np.log(values.to_numpy()), window, axis=-1)
    centered = logs - logs.mean(axis=1, keepdims=True)
    slopes = (centered * samples).sum(axis=-1) / (centered**2).sum(axis=-1)
    others = {dim: values[dim] for dim in values.dims[:-1] if dim in values.coords}
    centers = (x, np.sqrt(places[: len(first)] * places[window - 1 :]), values[x].attrs)
    return xarray.DataArray(slopes, others | {x: centers, "first": (x, first), "last": (x, last)}, values.dims)


def _fit(values: xarray.DataArray, x: str) -> dict[str, xarray.DataArray]:
    """Least squares for ln y = ln prefactor + exponent ln x over the points that are there."""
    logs: xarray.DataArray = ufuncs.log(values)
    there = logs.notnull()
    count = there.sum(x)
    enough = count.where(count > 1)
    u: xarray.DataArray = ufuncs.log(values[x].astype(float)).where(there)
    du, dv = u - u.sum(x) / enough, logs - logs.sum(x) / enough
    spread = (du**2).sum(x).where(count > 1)
    slope = (du * dv).sum(x) / spread
    squares = ((dv - slope * du) ** 2).sum(x).where(count > 1)
    prefactor = ufuncs.exp((logs.sum(x) - slope * u.sum(x)) / enough)
    error = ufuncs.sqrt(squares / (count - 2).where(count > 2) / spread)
    found = {"exponent": slope, "exponent_stderr": error, "prefactor": prefactor, "residual": ufuncs.sqrt(squares / enough)}
    return {name: v.drop_attrs() for name, v in (found | {"count": count}).items()}


def _check(dataset: xarray.Dataset, x: str, y: str, normalization: str, window: int) -> None:
    if y not in dataset.data_vars or dataset[y].dtype.kind not in "fi":
        raise ValueError(
            f"`y` must be a variable of real numbers, one of {', '.join(map(str, dataset.data_vars))}, but it is {y!r}."
        )
    if x not in dataset[y].dims or x not in dataset.coords:
        raise ValueError(
            f"`x` must be a dimension of {y!r} with values, {', '.join(map(str, dataset[y].dims))}, but it is {x!r}."
        )
    places = dataset[x]
    if places.dtype.kind not in "fiu" or not bool((places > 0).all()) or len(np.unique(places)) < len(places):
        raise ValueError(f"{x!r} must be distinct positive numbers, but its values are {places.to_numpy().tolist()}.")
    if isinstance(window, bool) or not isinstance(window, (int, np.integer)) or not 2 <= window <= len(places):
        raise ValueError(
            f"`window` must be an integer from 2 to the {len(places)} values of {x!r}, but it is {window!r}; "
            "an exponent needs two points."
        )
    _check_normalization(dataset, y, normalization)


def _check_normalization(dataset: xarray.Dataset, y: str, normalization: str) -> None:
    if normalization == "field":
        return
    if normalization not in ("bandwidth", "deviation"):
        raise ValueError(f'`normalization` must be "field", "bandwidth" or "deviation", but it is {normalization!r}.')
    if y.rsplit("_", 1)[-1] not in _POWERS:
        raise ValueError(
            f"only names that end in power, time or work can be normalized, but `y` is {y!r}; rename it, if it is one."
        )
    missing = [name for name in (normalization, f"parallel_{normalization}") if name not in dataset.data_vars]
    if missing:
        raise ValueError(
            f"the normalization by {normalization} needs the variable {missing[0]!r}; let the function of the sweep return "
            "charger_scale(battery, protocol)._asdict() along with the rest."
        )


def _check_positive(values: xarray.DataArray, x: str, y: str) -> None:
    bad = np.argwhere(values.to_numpy() <= 0)
    if len(bad):
        place = {str(dim): values[dim][i].item() for dim, i in zip(values.dims, bad[0], strict=True)}
        where = ", ".join(f"{name} = {value}" for name, value in place.items())
        raise ValueError(
            f"{y!r} must be positive, for its logarithm is taken, but it is {values.to_numpy()[tuple(bad[0])]:.6g} at {where}; "
            f"leave that {x} out with `dataset.sel` or `dataset.where`."
        )
