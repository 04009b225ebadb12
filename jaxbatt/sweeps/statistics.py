"""``summarize``: a dataset over samples, reduced to means, standard errors and quantiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray
from xarray import ufuncs

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def summarize(dataset: xarray.Dataset, over: str = "seed", *, quantiles: Sequence[float] = _QUANTILES) -> xarray.Dataset:
    """Statistics over the samples along one dimension.

    Of M valid samples x_k of a variable ``v``, at each other point: ``v`` = (1/M) sum_k x_k, ``v_stderr`` = s / sqrt(M) with
    s^2 = sum_k (x_k - v)^2 / (M - 1), and ``v_quantile``, interpolated linearly between the samples. A sample is left out where
    ``valid`` is False or any variable of it is NaN.

    Args:
        dataset: a dataset of ``sweep``, or one like it.
        over: the dimension of the samples.
        quantiles: in [0, 1]; the values of the dimension "quantile".

    Returns:
        A dataset without the dimension: the three variables for each variable of real numbers that has it, with its attributes;
        ``count`` = M; ``valid``, False where M = 0. With one sample ``v_stderr`` is NaN, without any all three are. Variables
        without the dimension are kept; flags, integers and strings with it are left out.

    Raises:
        ValueError: there is no such dimension, or no variable to summarize; quantiles outside [0, 1]; a dataset that has been
            summarized.

    Example:
        >>> data = sweep(fn, {"strength": jnp.linspace(0, 1, 11), "seed": seeds(200)})
        >>> summarize(data).power_stderr.max()
    """
    floats = {str(name): v for name, v in dataset.data_vars.items() if over in v.dims and v.dtype.kind == "f"}
    _check(dataset, over, floats, quantiles)
    good = _good(dataset, over, floats)
    kept = dataset.drop_vars([name for name, v in dataset.variables.items() if over in v.dims])
    found = {"count": good.sum(over), "valid": good.any(over)}
    for name, variable in floats.items():
        found |= _statistics(name, variable.where(good), over, quantiles)
    named = {name: v.reset_coords(drop=True).variable for name, v in found.items()}
    return kept.assign(named).assign_coords(quantile=np.asarray(quantiles, float))


def _check(dataset: xarray.Dataset, over: str, floats: dict[str, xarray.DataArray], quantiles: Sequence[float]) -> None:
    if not isinstance(over, str) or over not in dataset.dims:
        raise ValueError(f"`over` must be a dimension of the dataset, {', '.join(map(str, dataset.dims))}, but it is {over!r}.")
    if not floats:
        raise ValueError(f"no variable of real numbers has the dimension {over!r}; there is nothing to summarize.")
    if not np.ndim(quantiles) or not len(quantiles) or not all(0 <= q <= 1 for q in quantiles):
        raise ValueError(f"`quantiles` must be a list of numbers in [0, 1], at least one, but they are {quantiles}.")
    made = ["quantile", "count", *(f"{name}_{kind}" for name in floats for kind in ("stderr", "quantile"))]
    clashing = [name for name in made if name in dataset.variables or name in dataset.dims]
    if clashing:
        raise ValueError(
            f"the dataset has {clashing[0]!r} already, as after another summary; drop or rename it, or stack the dimensions "
            "of all samples into one."
        )


def _good(dataset: xarray.Dataset, over: str, floats: dict[str, xarray.DataArray]) -> xarray.DataArray:
    """Which samples count: over the dimensions of ``valid``, or those that all variables share."""
    shared = set.intersection(*(set(v.dims) for v in floats.values()))
    flag = dataset["valid"] if "valid" in dataset and over in dataset["valid"].dims else None
    grid = shared if flag is None else set(flag.dims)
    numbers = [v.notnull().all([dim for dim in v.dims if dim not in grid]) for v in floats.values()]
    good = numbers[0] if flag is None else flag & numbers[0]
    for other in numbers[1:]:
        good = good & other
    return good


def _statistics(name: str, samples: xarray.DataArray, over: str, quantiles: Sequence[float]) -> dict[str, xarray.DataArray]:
    """Mean, standard error and quantiles of samples that are NaN where they do not count."""
    count = samples.notnull().sum(over)
    mean = samples.sum(over) / count.where(count > 0)
    square = ((samples - mean) ** 2).sum(over)
    error = ufuncs.sqrt(square / (count - 1).where(count > 1) / count)
    # Where no sample counts, zeros stand in for them, as NumPy warns of empty quantiles.
    level = samples.where(count > 0, 0.0).quantile(list(quantiles), over).where(count > 0)
    level = level.transpose(*mean.dims, "quantile")
    found = {name: mean, f"{name}_stderr": error, f"{name}_quantile": level}
    return {key: value.astype(samples.dtype).assign_attrs(samples.attrs) for key, value in found.items()}
