"""All spins coupled alike, |u| <= 4B: from 16 spins on a field that switches its sign beats every constant one."""

import jax.numpy as jnp
import matplotlib

import jaxbatt as jb

sizes = [8, 16, 32, 64]
found = []
for n in sizes:
    battery = jb.SpinBattery(1.0, jb.power_law(n, 1.0, 0.0))
    best = jb.optimize(battery, jb.PiecewiseField(jnp.zeros(32), 1.0), bounds=(-4.0, 4.0), starts=4, steps=100)
    found.append(best)
    print(f"N = {n}: P = {best.power:.2f} B^2, {best.gain:.3f} times that of the best constant field")

left, right = jb.plots.axes(1, 2, width=7.0)[0]
with matplotlib.rc_context(jb.plots.STYLE):
    left.plot(sizes, [best.constant.power / best.battery.n_spins for best in found], "s--", color="0.55", label="constant field")
    left.plot(sizes, [best.power / best.battery.n_spins for best in found], "o-", color="black", label="optimum")
    left.set(xlabel="Spins $N$", ylabel=r"Power for each spin $P / N$ $(B^2)$", ylim=(0, None))
    left.legend()
    right.set_title(f"The field that charges {sizes[-1]} spins best", fontsize=9)
jb.plots.field(found[-1].protocol, float(found[-1].time), right)
jb.paper.write_png(jb.plots.figure_of(left), "collective_advantage.png")
