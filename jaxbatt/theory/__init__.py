"""Closed forms of the spin-chain battery: exact results, limits and bounds, valid at any size.

Notation: N spins, field B, charging field omega, couplings g_ij with G = sum_{i<j} g_ij, anisotropy alpha; W(t) is the work
and P(t) = W(t)/t the average power from all spins down. hbar = 1. All functions are pure and work under ``jax.jit``,
``jax.vmap`` and ``jax.grad``; a condition on the arguments is checked where their values can be seen.

Source of the model: T. P. Le et al., Phys. Rev. A 97, 022106 (2018), arXiv:1712.03559.
"""

from jaxbatt.theory.bounds import certificate_time as certificate_time
from jaxbatt.theory.bounds import max_power_bound as max_power_bound
from jaxbatt.theory.bounds import max_power_gradient as max_power_gradient
from jaxbatt.theory.bounds import max_work_bound as max_work_bound
from jaxbatt.theory.bounds import work_bound as work_bound
from jaxbatt.theory.elliptic import JacobiFunctions as JacobiFunctions
from jaxbatt.theory.elliptic import ellipj as ellipj
from jaxbatt.theory.elliptic import ellipj_complement as ellipj_complement
from jaxbatt.theory.exact import InteractionsOffMaximum as InteractionsOffMaximum
from jaxbatt.theory.exact import independent_max_power as independent_max_power
from jaxbatt.theory.exact import independent_max_power_time as independent_max_power_time
from jaxbatt.theory.exact import independent_work as independent_work
from jaxbatt.theory.exact import interactions_off_max_work as interactions_off_max_work
from jaxbatt.theory.exact import interactions_off_work as interactions_off_work
from jaxbatt.theory.exact import ising_pair_work as ising_pair_work
from jaxbatt.theory.exact import total_coupling as total_coupling
from jaxbatt.theory.exact import work_from_magnetization as work_from_magnetization
from jaxbatt.theory.mean_field import collective_spin_length as collective_spin_length
from jaxbatt.theory.mean_field import mean_field_critical_coupling as mean_field_critical_coupling
from jaxbatt.theory.mean_field import mean_field_work as mean_field_work
from jaxbatt.theory.mean_field import mean_field_z as mean_field_z
from jaxbatt.theory.strong_coupling import EffectiveHamiltonian as EffectiveHamiltonian
from jaxbatt.theory.strong_coupling import effective_hamiltonian as effective_hamiltonian
from jaxbatt.theory.strong_coupling import fast_work as fast_work
from jaxbatt.theory.strong_coupling import half_splitting_all_to_all as half_splitting_all_to_all
from jaxbatt.theory.strong_coupling import half_splitting_nearest_neighbor as half_splitting_nearest_neighbor
from jaxbatt.theory.strong_coupling import ising_pair_slow_fast_work as ising_pair_slow_fast_work
from jaxbatt.theory.strong_coupling import ising_pair_slow_work as ising_pair_slow_work
from jaxbatt.theory.strong_coupling import slow_work as slow_work
