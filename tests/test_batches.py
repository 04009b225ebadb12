"""Decisions that a whole batch takes together."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxbatt._batches import any_of_batch, largest_of_batch, where_in_batch


def test_one_and_many():
    """Alone, in a batch, and in a batch of batches: one number for all, in which a loop may run its length."""
    counts = jnp.array([[1, 4, 2], [0, 3, 1]])

    def steps(count):
        return jax.lax.fori_loop(0, largest_of_batch(count), lambda _, x: x + 1, jnp.zeros((), int))

    assert largest_of_batch(jnp.array(3)) == 3
    np.testing.assert_array_equal(jax.vmap(steps)(counts[1]), [3, 3, 3])
    np.testing.assert_array_equal(jax.jit(jax.vmap(jax.vmap(steps)))(counts), np.full((2, 3), 4))
    np.testing.assert_array_equal(jax.vmap(jax.vmap(steps), in_axes=1, out_axes=1)(counts), np.full((2, 3), 4))


def test_a_branch_is_taken_by_all_or_none():
    """A branch under vmap stays one: it may do what must not be done for nothing."""
    taken = []

    def one(flag):
        return jax.lax.cond(any_of_batch(flag), lambda: jax.debug.callback(lambda: taken.append(1)), lambda: None)

    for flags, expected in (([False, False], 0), ([False, True], 1)):
        taken.clear()
        jax.jit(jax.vmap(one))(jnp.array(flags))
        jax.effects_barrier()
        assert bool(taken) == bool(expected)


def test_each_of_a_batch_has_its_own():
    """What only some need is computed for all, and taken by those that need it; not computed where none does."""
    computed = []

    def then():
        jax.debug.callback(lambda: computed.append(1))
        return jnp.ones(2), jnp.zeros((), int)

    def one(flag):
        return where_in_batch(flag, then, (jnp.zeros(2), jnp.ones((), int)))

    for flags in ([False, False], [False, True], [True, True]):
        computed.clear()
        ones, zeros = jax.jit(jax.vmap(one))(jnp.array(flags))
        jax.effects_barrier()
        np.testing.assert_array_equal(ones, np.repeat(flags, 2).reshape(2, 2))
        np.testing.assert_array_equal(zeros, np.logical_not(flags))
        assert bool(computed) == any(flags)
