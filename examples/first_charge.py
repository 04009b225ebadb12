"""Charge a chain of 12 spins, find its best charging time, and compare with spins that do not interact."""

import jax
import jax.numpy as jnp

import jaxbatt as jb

drive = jb.ConstantField(4.0)


def best(alpha: float) -> jb.Peak:
    """The greatest charging power of the long-range chain of 12 spins."""
    return jb.max_power(jb.SpinBattery(1.0, jb.power_law(12, 1.0, 1.0), alpha), drive)


curve = jb.charge(jb.SpinBattery(1.0, jb.power_law(12, 1.0, 1.0)), drive, jnp.linspace(0, 0.5, 200))
print(f"work after 0.5/B: {curve.work[-1]:.6f} B, with an error below {curve.info.error:.0e} B")

peak = best(0.0)
alone = jb.theory.independent_max_power(12, 1.0, 4.0)
print(f"greatest power: {peak.power:.4f} B^2 at T = {peak.time:.6f}/B, {peak.power / alone:.3f} times that of independent spins")

alphas = jnp.linspace(-1.0, 1.0, 5)
print("alpha, gain:", [(float(a), round(float(p / alone), 4)) for a, p in zip(alphas, jax.vmap(best)(alphas).power, strict=True)])
