"""Study files of sweeps: one sentence for each mistake, before any work."""

import re

import pytest

from jaxbatt.cli import main
from jaxbatt.cli.sweeping import drawing_of
from jaxbatt.study import parse_sweep

GOOD = {
    "axes": {"n_spins": [2, 3], "anisotropy": {"linspace": [-1.0, 1.0, 3]}},
    "protocol": {"omega": 4.0},
}


def study(**tables):
    """The good study with some tables replaced."""
    return parse_sweep(GOOD | tables)


BATTERY, TRIO = {"n_spins": 2}, {"n_spins": 3}
CHARGER = {"battery": TRIO, "measure": {"quantities": ["charger"]}}
REFUSALS = [
    ({"axes": {}}, "[axes] must be a table of at least one axis, but it is {}; allowed are n_spins, couplings"),
    ({"axes": {"alpah": [1]}}, "[axes] alpah is unknown; allowed are n_spins, couplings, solver, g, p"),
    ({"axes": {"omega": []}}, "[axes] omega must be a list of values, {linspace = [first, last, number]}"),
    ({"axes": {"omega": 4.0}}, "[axes] omega must be a list of values"),
    ({"axes": {"omega": {"linspace": [1, 2]}}}, "[axes] omega.linspace must be [first, last, number of values]"),
    ({"axes": {"omega": {"linspace": [1, 2, 2.5]}}}, "[axes] omega.linspace must be [first, last, number of values]"),
    ({"axes": {"omega": {"range": [1, 2, 3]}}}, "[axes] omega must be a list of values"),
    ({"axes": {"n_spins": [2.5]}}, "[axes] n_spins must be a list of integers, but it is [2.5]."),
    ({"axes": {"couplings": ["ring"]}}, "[axes] couplings must be a list of power_law, nearest_neighbor, but it is ['ring']."),
    ({"axes": {"seed": {"seeds": 0}}}, "[axes] seed must be {seeds = number} or a list of integers from 0 on"),
    ({"battery": {"n_spins": 2}}, "[battery] n_spins is an axis, too; remove one of the two."),
    ({"axes": {"omega": [1.0]}, "battery": BATTERY}, "[protocol] omega is an axis, too; remove one of the two."),
    ({"axes": {"p": [1.0]}, "battery": BATTERY | {"couplings": "nearest_neighbor"}}, "[battery] p is the exponent of power_law"),
    ({"axes": {"seed": {"seeds": 2}}, "battery": BATTERY}, "[axes] seed does nothing: there is no disorder"),
    ({"axes": {"horizon": [1.0]}, "battery": BATTERY}, "[axes] horizon does nothing: it has no effect on max_power"),
    ({"measure": {"horizon": 1.0}}, "[measure] horizon has no effect on max_power; remove it."),
    ({"measure": {"quantities": ["max_work"]}}, "[measure] horizon is missing; max_work needs a longest charging time."),
    (
        {"measure": {"quantities": ["speed"]}},
        "[measure] quantities must be a list of some of max_power, max_work, curve, charger",
    ),
    ({"measure": {"gradients": ["n_spins"]}}, "[measure] gradients must be a list of some of g, p, field"),
    ({"protocol": {"levels": [1.0]}}, "[protocol] levels (in units of omega) and duration belong together"),
    ({"measure": {"quantities": ["max_power", "max_power"]}}, "[measure] quantities names 'max_power' twice; remove one."),
    ({"run": {"batch": 1}}, "[run] batch is unknown; allowed are batch_size."),
    ({"run": {"batch_size": 0}}, "[run] batch_size must be at least 1, but it is 0."),
    ({"output": {"hdf5": True}}, "[output] hdf5 is unknown; allowed are csv, netcdf."),
    ({"axes": {"n_spins": [2, 0]}}, "the number of spins must be an integer of at least 1, but it is 0."),
    ({"axes": {"solver": ["magic"]}, "battery": BATTERY}, "[axes] solver must be a list of auto, chebyshev"),
    ({"solver": {"tol": 1e-8}}, "[solver] tol needs a kind of solver"),
    (
        {"optimize": {}},
        "[optimize] is unknown; allowed are axes, battery, protocol, disorder, solver, measure",
    ),
    ({"axes": {"strength": [-0.1]}, "battery": BATTERY}, "`strength` must"),
    ({"axes": {"omega": {"linspace": [1, 2, 10**12]}}}, "[axes] omega.linspace must hold at most 10000000 values"),
    ({"axes": {"omega": {"logspace": [0, 400, 3]}}}, "[axes] omega.logspace must give values that are finite"),
    ({"axes": {"omega": {"linspace": [0, 10**400, 3]}}}, "[axes] omega.linspace must give values that are finite"),
    ({"axes": {"omega": [10**400]}}, "[axes] omega must be finite in double precision, but it holds 1000"),
    ({"axes": {"omega": [float("nan")]}}, "[axes] omega must be finite in double precision, but it holds nan."),
    ({"axes": {"n_spins": [10**30]}}, "[axes] n_spins: the matrix of couplings of 1000"),
    ({"battery": {"n_spins": 10**9}, "axes": {"omega": [1.0]}}, "[battery] n_spins: the matrix of couplings of 1000000000 spins"),
    ({"axes": {"seed": [2**32]}}, "[axes] seed must be {seeds = number} or a list of integers from 0 on"),
    ({"axes": {"seed": {"seeds": 10**12}}}, "[axes] seed must be {seeds = number} or a list of integers from 0 on"),
    ({"axes": {"omega": [1.0, 1]}}, "[axes] omega holds the value 1.0 twice; remove one."),
    ({"axes": {"seed": [3, 3]}}, "[axes] seed holds the value 3 twice; remove one."),
    (
        {"axes": {name: {"linspace": [0.1, 0.9, 10**6]} for name in ("omega", "g", "p")}},
        "[axes] give 1000000000000000000 points; one variable on all of them needs",
    ),
    ({"disorder": {"seed": 10**23, "strength": 0.1}}, "[disorder] seed must be from 0 to 4294967295"),
    ({"measure": {"quantities": ["curve"], "horizon": 1.0, "points": 10**12}}, "[measure] points must be at most 10000000"),
    ({"protocol": {"omega": float("inf")}}, "[protocol] omega must be finite in double precision, but it is inf."),
    ({"protocol": {"levels": "1.0", "duration": 1.0}}, "[protocol] levels must be an array of numbers, but it is '1.0'."),
    (
        {"axes": {"omega": [0.5, 1.0]}, "battery": BATTERY, "protocol": {"axis": "z"}},
        "[axes] omega does nothing: a field along z leaves all spins as they are; take [protocol] axis",
    ),
    (
        {"axes": {"omega": [0.5, 1.0]}, "battery": BATTERY, "protocol": {"levels": [0.0, 0.0], "duration": 1.0}},
        "[axes] omega does nothing: the levels of the field are zero",
    ),
    ({"axes": {"p": [0.0, 1.0]}, "battery": BATTERY}, "[axes] p does nothing: two spins are one distance apart"),
    ({"axes": {"p": [0.0, 1.0]}, "battery": TRIO | {"g": 0.0}}, "[axes] p does nothing: the couplings are zero"),
    (
        {"axes": {"p": [0.0, 1.0], "couplings": ["nearest_neighbor"]}, "battery": TRIO},
        "[axes] p does nothing: it is the exponent of power_law",
    ),
    ({"axes": {"g": [0.5, 1.0]}, "battery": {"n_spins": 1}}, "[axes] g does nothing: there are no couplings"),
    (
        {"axes": {"anisotropy": [0.0, 1.0]}, "battery": BATTERY | {"couplings": [[0, 0], [0, 0]]}},
        "[axes] anisotropy does nothing: there are no couplings",
    ),
    ({"axes": {"couplings": ["power_law", "nearest_neighbor"]}, "battery": BATTERY}, "[axes] couplings does nothing: two spins"),
    ({"axes": {"seed": {"seeds": 2}, "strength": [0.0]}, "battery": BATTERY}, "[axes] seed does nothing: there is no disorder"),
    (
        {"axes": {"seed": {"seeds": 2}}, "battery": {"n_spins": 1}, "disorder": {"strength": 0.1}},
        "[axes] seed does nothing: there is no disorder",
    ),
    ({"axes": {"solver": ["spectral", "krylov"]}, **CHARGER}, "[axes] solver does nothing: the scale of a charger needs none"),
    ({"axes": {"field": [0.5, 1.0]}, **CHARGER}, "[axes] field does nothing: B is off while charging"),
    ({"axes": {"field_strength": [0.5, 1.0]}, **CHARGER}, "[axes] field_strength does nothing: B is off while charging"),
    (
        {"axes": {"g": [0.5, 1.0]}, **CHARGER, "battery": TRIO | {"interactions_while_charging": False}},
        "[axes] g does nothing: the interactions are off while charging",
    ),
    (
        {"measure": {"quantities": ["curve"], "horizon": 1.0, "gradients": ["omega"]}},
        "[measure] gradients have no effect on curve; add max_power or max_work",
    ),
    (
        {"battery": {"couplings": "nearest_neighbor"}, "measure": {"gradients": ["p"]}, "axes": {"n_spins": [2, 4]}},
        "[measure] gradients: that of p vanishes: it is the exponent of power_law",
    ),
    ({"measure": {"points": 5}}, "[measure] points has no effect on max_power; remove it."),
    (
        {"measure": {"quantities": []}},
        "[measure] quantities must name some of max_power, max_work, curve, charger, but it is [].",
    ),
    ({"measure": {"quantities": ["curve"], "horizon": -1.0}}, "[measure] horizon must be positive, but it is -1.0."),
    (
        {"measure": {"quantities": ["max_work"]}, "axes": {"n_spins": [2], "horizon": [0.0, 1.0]}},
        "[axes] horizon must be positive, but it holds 0.0.",
    ),
    ({"disorder": {"seed": 3}}, "[disorder] seed has no effect: there is no disorder"),
    ({"disorder": {"distribution": "uniform"}}, "[disorder] distribution has no effect: there is no disorder"),
    ({"disorder": {"field_strength": -0.1}}, "[disorder] field_strength must not be negative, but it is -0.1."),
    (
        {"axes": {"n_spins": [3, 2]}, "battery": {"p": 1.0}, "solver": {"kind": "collective"}},
        "[solver] kind: Collective needs the same coupling between all spins",
    ),
    (
        {"axes": {"solver": ["spectral", "collective"]}, "battery": TRIO},
        "[axes] solver = 'collective': Collective needs the same coupling",
    ),
    ({"axes": {"n_spins": [30]}, "solver": {"kind": "spectral"}}, "[solver] kind: Spectral diagonalizes sectors of at most 4096"),
    (
        {"axes": {"n_spins": [2, 3]}, "battery": {"anisotropy": 2.0}},
        "[battery] `anisotropy` is alpha = 2.0, outside |alpha| <= 1",
    ),
    (
        {"axes": {"anisotropy": [0.0, 2.0]}, "battery": BATTERY},
        "[axes] anisotropy = 2.0: `anisotropy` is alpha = 2.0, outside |alpha| <= 1",
    ),
    ({"axes": {"field": [-1.0]}, "battery": BATTERY}, "[axes] field = -1.0: `field` has the negative value"),
    ({"axes": {"g": [1.0, -1.0]}, "battery": BATTERY}, "[axes] g = -1.0: `couplings` has the negative entry"),
    ({"battery": {"g": -1.0}}, "[battery] `couplings` has the negative entry"),
    (
        {"axes": {"field": [1.0]}, "battery": BATTERY | {"couplings": [[0, 1], [2, 0]]}},
        "[battery] `couplings` must be symmetric",
    ),
    ({"axes": {"field_strength": [-0.1]}, "battery": BATTERY}, "[axes] field_strength = -0.1: `strength` must not be negative"),
    ({"protocol": {"levels": [1.0], "duration": 0.0}}, "[protocol] `duration` must be positive"),
    ({"protocol": {"levels": [[1.0, 2.0]], "duration": 1.0}}, "[protocol] levels must be a list of numbers, but its shape"),
    ({"axes": {"omega": [1.0]}, "extra": {}}, "[extra] is unknown; allowed are axes, battery, protocol"),
]


@pytest.mark.parametrize(
    ("tables", "words"), REFUSALS, ids=[re.sub(r"[^a-z]+", " ", words)[:50].strip() for _, words in REFUSALS]
)
def test_refusals(tables, words):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        study(**tables)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "tables",
    [
        {"axes": {"n_spins": [2, 3]}, "battery": {"p": 0.0}, "solver": {"kind": "collective"}},
        {"axes": {"seed": {"seeds": 2}}, "battery": BATTERY, "measure": {"gradients": ["strength"]}},
        {"axes": {"field": [0.5, 1.0]}, "battery": BATTERY | {"g": 0.0}},
        {
            "axes": {"field": [0.5, 1.0]},
            "battery": BATTERY | {"field_while_charging": True},
            "measure": {"quantities": ["charger"]},
        },
        {"axes": {"p": [0.0, 1.0], "couplings": ["power_law", "nearest_neighbor"]}, "battery": {"n_spins": 3}},
        {"axes": {"g": [0.0, 1.0], "n_spins": [1, 2]}, "battery": {"interactions_while_charging": False}},
    ],
    ids=["all to all", "slope of disorder", "field alone", "field of a charger", "one law of two", "interactions in the work"],
)
def test_axes_that_do_something(tables):
    assert list(study(**tables).axes) == list(tables["axes"])


FILE = """
[axes]
g = [1.0]
n_spins = [2, 3]
omega = {linspace = [1.0, 4.0, 3]}
seed = {seeds = 2}

[disorder]
strength = 0.1
"""


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('x = "p"', "[plot] x must be one of the axes"),
        ('heat = "beta"', "[plot] heat must be one of the axes"),
        ('y = "speed"', "[plot] y must be one of"),
        ('x = "seed"', "[plot] x must be one of n_spins, omega, but it is 'seed', of which the mean is drawn."),
        ('hue = "g"', "[plot] hue must be one of n_spins, omega, but it is 'g', which has one value only."),
        ('x = "omega"\nhue = "omega"', "[plot] hue must be another axis than x, but it is 'omega'; remove it."),
        ('x = "omega"\nheat = "omega"', "[plot] heat must be another axis than x, but it is 'omega'; remove it."),
        ('hue = "n_spins"\nheat = "omega"', "[plot] hue and heat exclude each other"),
    ],
)
def test_a_plot_that_cannot_be_drawn(tmp_path, capsys, table, words):
    file = tmp_path / "study.toml"
    file.write_text(FILE + f"\n[plot]\n{table}\n")
    assert main(["sweep", str(file), "--out", str(tmp_path / "out"), "--plot"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("chosen", "drawing"),
    [
        ({}, {"x": "anisotropy", "hue": "n_spins"}),
        ({"hue": "anisotropy"}, {"x": "n_spins", "hue": "anisotropy"}),
        ({"heat": "anisotropy"}, {"x": "n_spins", "heat": "anisotropy"}),
        ({"x": "n_spins", "y": "max_power_time"}, {"x": "n_spins", "hue": "anisotropy", "y": "max_power_time"}),
    ],
)
def test_what_is_drawn(chosen, drawing):
    assert drawing_of(study(plot=chosen)) == {"y": "max_power", "hue": None, "heat": None} | drawing
