"""What stands on an axis: the usual names, symbols and units."""

from __future__ import annotations

from typing import NamedTuple

from xarray import Dataset


class Quantity(NamedTuple):
    """What a variable is called in a figure.

    Attributes:
        name: in words.
        symbol: in TeX, without dollars.
        units: as in the attributes of a dataset, such as "1/B"; empty for a pure number.
    """

    name: str
    symbol: str = ""
    units: str = ""


QUANTITIES = {
    "n": Quantity("Number of spins", "N"),
    "n_spins": Quantity("Number of spins", "N"),
    "alpha": Quantity("Anisotropy", r"\alpha"),
    "anisotropy": Quantity("Anisotropy", r"\alpha"),
    "omega": Quantity("Charging field", r"\omega", "B"),
    "field": Quantity("Field", "B"),
    "g": Quantity("Coupling", "g", "B"),
    "p": Quantity("Range exponent", "p"),
    "strength": Quantity("Disorder", r"\delta"),
    "field_strength": Quantity("Disorder of the field", r"\delta_B", "B"),
    "seed": Quantity("Seed"),
    "quantile": Quantity("Quantile", "q"),
    "horizon": Quantity("Horizon", r"t_{\max}", "1/B"),
    "time": Quantity("Charging time", "t", "1/B"),
    "times": Quantity("Charging time", "t", "1/B"),
    "power": Quantity("Power", "P", "B^2"),
    "work": Quantity("Work", "W", "B"),
    "magnetization": Quantity("Magnetization", r"\langle\sigma\rangle"),
    "max_power": Quantity("Max. power", r"P_{\max}", "B^2"),
    "max_power_time": Quantity("Time of max. power", "T", "1/B"),
    "max_power_work": Quantity("Work at max. power", "W", "B"),
    "max_work": Quantity("Max. work", r"W_{\max}", "B"),
    "max_work_time": Quantity("Time of max. work", "T", "1/B"),
    "max_work_power": Quantity("Power at max. work", "P", "B^2"),
    "bandwidth": Quantity("Bandwidth", r"E_{\max}-E_{\min}", "B"),
    "deviation": Quantity("Energy deviation", r"\Delta H", "B"),
    "parallel_bandwidth": Quantity("Bandwidth of the field", "", "B"),
    "parallel_deviation": Quantity("Deviation of the field", r"\Delta V", "B"),
    "local_exponent": Quantity("Local exponent"),
    "exponent": Quantity("Exponent"),
    "residual": Quantity("Residual of the fit"),
}
"""Usual axes and variables of sweeps. Units in the attributes of a dataset come before those given here."""


def quantity(dataset: Dataset, name: str) -> Quantity:
    """What the table says, else the name itself in words; with the units of the dataset."""
    known = QUANTITIES.get(name, Quantity(name.replace("_", " ")))
    units = dataset[name].attrs.get("units", known.units)
    return known._replace(units="" if units == "1" else str(units))


def label(dataset: Dataset, name: str) -> str:
    """Name, symbol and unit of a variable or a coordinate, for an axis."""
    words, symbol, units = quantity(dataset, name)
    return " ".join([words, *([f"${symbol}$"] if symbol else []), *([f"$({units})$"] if units else [])])


def symbol(name: str) -> str:
    """The symbol of a quantity in TeX, without dollars; the name in roman letters where it has none."""
    known = QUANTITIES.get(name, Quantity(name)).symbol
    return known or rf"\mathrm{{{name}}}".replace("_", r"\_")


def value(dataset: Dataset, name: str, number: object) -> str:
    """A value with its name, for a legend: p = 1, omega = 4 B; a string is its own name."""
    if isinstance(number, str):
        return number.replace("_", " ")
    units = quantity(dataset, name).units
    return rf"${symbol(name)}={number:.4g}" + (rf"\,{units}$" if units else "$")
