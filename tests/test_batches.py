"""Parts of arrays in a batch: the values of JAX's own slices, and no gather or scatter where all share the place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxbatt._batches import part_of, placed

ARRAYS = jnp.asarray(np.random.default_rng(3).normal(size=(3, 5, 7)))
PARTS = jnp.asarray(np.random.default_rng(4).normal(size=(3, 2, 4)))
STARTS = jnp.array([[0, 1], [3, 0], [2, 3]])


def cut(array, start):
    return part_of(array, tuple(start), (2, 4))


def put(array, part, start):
    return placed(array, part, tuple(start))


@pytest.mark.parametrize("shared", [True, False], ids=["one place", "many places"])
@pytest.mark.parametrize("one_array", [True, False], ids=["one array", "many arrays"])
def test_values(shared, one_array):
    array, start = ARRAYS[0] if one_array else ARRAYS, STARTS[1] if shared else STARTS
    axes = None if one_array else 0, None if shared else 0
    arrays, starts = np.broadcast_to(array, ARRAYS.shape), np.broadcast_to(start, STARTS.shape)
    if axes != (None, None):
        found = jax.vmap(cut, axes)(array, start)
        expected = [a[i : i + 2, j : j + 4] for a, (i, j) in zip(arrays, starts, strict=True)]
        np.testing.assert_array_equal(found, np.stack(expected))
    changed = np.array(arrays)
    for a, part, (i, j) in zip(changed, PARTS, starts, strict=True):
        a[i : i + 2, j : j + 4] = part
    np.testing.assert_array_equal(jax.vmap(put, (axes[0], 0, axes[1]))(array, PARTS, start), changed)


def test_batch_of_batches():
    arrays, parts = (jnp.stack([x, -x]) for x in (ARRAYS, PARTS))
    each = jax.vmap(jax.vmap(put, (0, 0, None)), (0, 0, None))(arrays, parts, STARTS[2])
    np.testing.assert_array_equal(each[..., 2:4, 3:7], parts)
    np.testing.assert_array_equal(jax.vmap(jax.vmap(cut, (0, None)), (0, None))(each, STARTS[2]), parts)


def test_a_shared_place_makes_no_gather():
    def text(function, *axes):
        values = [x if axis == 0 else x[0] for x, axis in zip((ARRAYS, PARTS, STARTS)[-len(axes) :], axes, strict=True)]
        return jax.jit(jax.vmap(function, axes)).lower(*values).as_text()

    shared, apart = text(put, 0, 0, None), text(put, 0, 0, 0)
    assert "scatter" not in shared
    assert "scatter" in apart
    looked = jax.jit(jax.vmap(cut, (0, None))).lower(ARRAYS, STARTS[0]).as_text()
    assert "gather" not in looked
