"""The judge of every test: the battery written out as dense matrices, in NumPy alone, with no code of the package.

Conventions: Pauli operators, hbar = 1; site 0 is the leftmost Kronecker factor; bit 0 is up (Z = +1), bit 1 is down, so that
all spins up is the first basis state and all down the last. Exact by diagonalization; meant for N <= 8.
"""

import numpy as np

PAULI = {
    "i": np.eye(2, dtype=complex),
    "x": np.array([[0, 1], [1, 0]], dtype=complex),
    "y": np.array([[0, -1j], [1j, 0]], dtype=complex),
    "z": np.array([[1, 0], [0, -1]], dtype=complex),
}


def pauli(letter, site, n):
    """The Pauli operator ``letter`` ("x", "y", "z"; either case) of one of n spins, (2**n, 2**n)."""
    left, right = np.eye(2**site), np.eye(2 ** (n - site - 1))
    return np.kron(np.kron(left, PAULI[letter.lower()]), right)


def field_term(amplitude, n, axis="x"):
    """sum_i a_i A_i for a scalar amplitude or one value per spin, along one axis."""
    amplitudes = np.broadcast_to(np.asarray(amplitude, float), (n,))
    return sum(amplitudes[i] * pauli(axis, i, n) for i in range(n))


def interaction(couplings, anisotropy=0.0):
    """H_g = -sum_{i<j} g_ij (jx X_i X_j + jy Y_i Y_j + jz Z_i Z_j); a scalar alpha means (alpha, alpha, 1)."""
    couplings = np.asarray(couplings, float)
    n = len(couplings)
    factors = (anisotropy, anisotropy, 1.0) if np.ndim(anisotropy) == 0 else anisotropy
    total = np.zeros((2**n, 2**n), complex)
    for i in range(n):
        for j in range(i + 1, n):
            for letter, factor in zip("xyz", factors, strict=True):
                if factor == 0.0:
                    continue
                total -= couplings[i, j] * factor * pauli(letter, i, n) @ pauli(letter, j, n)
    return total


def hamiltonian_0(field, couplings, anisotropy=0.0):
    """The battery H_0 = sum_i B_i Z_i + H_g; field a scalar or (N,), anisotropy alpha or (jx, jy, jz)."""
    return field_term(field, len(couplings), "z") + interaction(couplings, anisotropy)


def charging_hamiltonian(
    field, couplings, anisotropy, omega, *, axis="x", field_while_charging=False, interactions_while_charging=True
):
    """What acts while charging: sum_i omega_i A_i, with H_g unless switched off, and with H_B only if asked for."""
    n = len(couplings)
    total = field_term(omega, n, axis)
    if interactions_while_charging:
        total = total + interaction(couplings, anisotropy)
    if field_while_charging:
        total = total + field_term(field, n, "z")
    return total


def all_down(n):
    """The initial state of the paper: every spin down, the last basis state."""
    state = np.zeros(2**n, complex)
    state[-1] = 1.0
    return state


def evolve(hamiltonian, state, times):
    """exp(-i H t) psi at every time, as rows (T, d)."""
    energies, vectors = np.linalg.eigh(hamiltonian)
    phases = np.exp(-1j * np.outer(times, energies))
    return (phases * (vectors.conj().T @ state)) @ vectors.T


def evolve_piecewise(hamiltonians, durations, state, times):
    """The same under ``hamiltonians[k]`` for ``durations[k]``, one piece after the other; rows (T, d)."""
    times = np.asarray(times, float)
    edges = np.concatenate([[0.0], np.cumsum(durations)])
    if np.any(times < 0) or np.any(times > edges[-1] * (1 + 1e-12)):
        raise ValueError(f"times must lie in [0, {edges[-1]}], but they reach from {times.min()} to {times.max()}")
    rows = np.zeros((len(times), len(state)), complex)
    piece_of = np.clip(np.searchsorted(edges, times, side="right") - 1, 0, len(durations) - 1)
    for piece, (hamiltonian, duration) in enumerate(zip(hamiltonians, durations, strict=True)):
        inside = piece_of == piece
        rows[inside] = evolve(hamiltonian, state, times[inside] - edges[piece])
        state = evolve(hamiltonian, state, [duration])[0]
    return rows


def states(field, couplings, anisotropy, omega, times, *, durations=None, initial=None, **switches):
    """The charged states (T, d), from all spins down or ``initial``.

    ``omega`` is a scalar or (N,). With ``durations`` (K,) the field is piecewise constant and ``omega`` is (K,) or (K, N).
    ``switches`` (axis, field_while_charging, interactions_while_charging) go to ``charging_hamiltonian``.
    """
    start = all_down(len(couplings)) if initial is None else np.asarray(initial, complex)
    if durations is None:
        return evolve(charging_hamiltonian(field, couplings, anisotropy, omega, **switches), start, times)
    pieces = [charging_hamiltonian(field, couplings, anisotropy, value, **switches) for value in omega]
    return evolve_piecewise(pieces, durations, start, times)


def expectation(operator, rows):
    """<psi|A|psi> of every row of (T, d), real, (T,)."""
    return np.einsum("td,td->t", rows.conj(), rows @ operator.T).real


def work(field, couplings, anisotropy, omega, times, *, initial=None, **options):
    """W(t) = <H_0>_t - <H_0>_0, (T,); the arguments are those of ``states``."""
    battery = hamiltonian_0(field, couplings, anisotropy)
    start = all_down(len(couplings)) if initial is None else np.asarray(initial, complex)
    rows = states(field, couplings, anisotropy, omega, times, initial=start, **options)
    return expectation(battery, rows) - expectation(battery, start[None])[0]


def magnetization(rows):
    """(sum_i <X_i>, sum_i <Y_i>, sum_i <Z_i>) of every row, (T, 3)."""
    n = int(np.log2(rows.shape[1]))
    return np.stack([expectation(field_term(1.0, n, axis), rows) for axis in "xyz"], axis=1)


def random_couplings(rng, n, low=0.3, high=1.7):
    """Symmetric couplings with zero diagonal, each uniform in [low, high)."""
    upper = np.triu(rng.uniform(low, high, (n, n)), 1)
    return upper + upper.T


def central_differences(f, numbers, steps):
    """Derivatives of f(numbers) with respect to every entry of the named arrays: {name: entries in order, each like f}.

    Sixth order. Where f has the size F and holds no angular frequency above w, the error is F w (w h)^6 / 140 from the step h,
    and twice the rounding of f over h.
    """
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    found = {}
    for name, step in steps.items():
        value = np.asarray(numbers[name], float)
        entries = []
        for index in np.ndindex(value.shape):
            total = 0.0
            for k, weight in weights.items():
                for sign in (1, -1):
                    moved = value.copy()
                    moved[index] += sign * k * step
                    total = total + sign * weight * f(numbers | {name: moved})
            entries.append(total / step)
        found[name] = np.array(entries)
    return found
