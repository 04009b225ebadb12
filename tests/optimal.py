"""What the tests of ``optimize`` share: small batteries, shapes of fields, and search spaces."""

import jax.numpy as jnp

import jaxbatt as jb
from jaxbatt.optimization.space import Space, level_bounds

PAIR = jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0))
XXX = jb.SpinBattery(1.0, jb.nearest_neighbor(2, 1.0), 1.0)
PULSE = jb.PiecewiseField(jnp.zeros(4), 1.0)
SERIES = jb.FourierField(jnp.zeros(4), jnp.zeros(3), 1.0, samples=16)


def space(template, low, high, n_spins=2, scale=1.0, widest=16.0, **more):
    return Space(
        template, *level_bounds((low, high), template, n_spins), scale, widest, more.pop("energy", None), n_spins, **more
    )
