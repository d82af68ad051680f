"""argsort, sort, topk and take_along_axis are NumPy's, JAX's and PyTorch's, on both backends; sort has its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.errors import ArgumentError, OutOfRangeError, ShapeError

DTYPES = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
]  # fmt: skip
RNG = np.random.default_rng(0)
X = RNG.permutation(24).reshape(2, 3, 4) / 7.0
PLACES = np.array([[[1, 0, 2, 2], [0, 0, -1, 1]], [[2, 2, 1, 0], [-3, 1, 0, 0]]])


def everywhere(f, *xs):
    """What a function gives define-by-run, interpreted and compiled."""
    for way in (f, cr.compile(f, backend="numpy"), cr.compile(f, backend="xla")):
        found = way(*map(cr.tensor, xs))
        yield tuple(y.numpy() for y in found) if isinstance(found, tuple) else found.numpy()


def drawn(dtype, shape):
    """Few different numbers, so that many are equal; among floats both zeros, infinities and NaNs."""
    x = RNG.integers(0, 4, shape).astype(dtype)
    if x.dtype.kind == "f" and x.size:
        special = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0], dtype)
        x.flat[RNG.integers(0, x.size, x.size // 2)] = special[RNG.integers(0, 6, x.size // 2)]
    return x


@pytest.mark.parametrize(("shape", "axis"), [((200,), 0), ((200,), None), ((2, 30, 3), 1), ((3, 0), -1)], ids=str)
def test_argsort_and_sort_are_numpys_stable_ones(shape, axis):
    xs = [drawn(dtype, shape) for dtype in DTYPES]
    for found in everywhere(lambda *xs: tuple(f(x, axis) for x in xs for f in (cr.argsort, cr.sort)), *xs):
        for x, places, values in zip(xs, found[::2], found[1::2], strict=True):
            assert places.dtype == np.int64
            assert values.dtype == x.dtype
            np.testing.assert_array_equal(places, np.argsort(x, axis, stable=True))
            np.testing.assert_array_equal(values, np.sort(x, axis))


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_topk_is_jaxs_whose_first_of_equals_is_the_first(dtype, axis, k):
    x = RNG.integers(0, 4, (3, 5)).astype(dtype)
    best, places = jax.lax.top_k(np.moveaxis(x, axis, -1), k)
    for values, indices in everywhere(lambda x: cr.topk(x, k, axis), x):
        assert indices.dtype == np.int64
        np.testing.assert_array_equal(values, np.moveaxis(best, -1, axis))
        np.testing.assert_array_equal(indices, np.moveaxis(places, -1, axis))


def test_topk_counts_nan_as_the_largest():
    for values, indices in everywhere(lambda x: cr.topk(x, 2), np.array([1.0, np.nan, 5.0])):
        np.testing.assert_array_equal(values, [np.nan, 5.0])
        assert indices.tolist() == [1, 2]


@settings(max_examples=60)
@given(st.data())
def test_take_along_axis_is_numpys(data):
    x = data.draw(hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4), elements=st.floats(-9, 9)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    shape = [1 if data.draw(st.booleans()) else n for n in x.shape]
    shape[axis] = data.draw(st.integers(0, 5))
    reach = x.shape[axis]
    places = data.draw(hnp.arrays(np.int64, shape, elements=st.integers(-reach, reach - 1)))
    expected = np.take_along_axis(x, places, axis)
    np.testing.assert_array_equal(cr.take_along_axis(x, places, axis).numpy(), expected)
    flat = data.draw(hnp.arrays(np.int8, 3, elements=st.integers(-x.size, x.size - 1)))
    np.testing.assert_array_equal(cr.take_along_axis(x, flat, None).numpy(), np.take_along_axis(x, flat, None))


def test_indices_of_values_that_are_computed_are_taken_along_an_axis_on_every_backend():
    expected = np.take_along_axis(X, PLACES, 1)
    for found in everywhere(lambda x, places: cr.take_along_axis(x, places, 1), X, PLACES):
        np.testing.assert_array_equal(found, expected)


def test_what_does_not_fit_is_refused():
    for f in (cr.argsort, cr.sort, lambda x: cr.topk(x, 1)):
        with pytest.raises(ShapeError, match="no such axis"):
            f(cr.tensor(1.0))
    with pytest.raises(ShapeError, match="no such axis"):
        cr.sort(X, 3)
    with pytest.raises(ArgumentError, match=r"an integer in 0…4"):
        cr.topk(X, 5)
    with pytest.raises(ShapeError, match="integers"):
        cr.take_along_axis(X, X, 0)
    with pytest.raises(ShapeError, match="3 axes"):
        cr.take_along_axis(X, [0, 1], 0)
    for backend in ("numpy", "xla"):
        with pytest.raises(OutOfRangeError, match=r"-3…2"):
            cr.compile(lambda x, places: cr.take_along_axis(x, places, 1), backend=backend)(X, PLACES + 1)


def weighed(lib, y):
    """A cost in which every place of y counts differently."""
    return lib.sum(y * y * np.cos(np.arange(float(np.prod(y.shape)))).reshape(y.shape))


WITH_GRADIENT = {
    "sort": (lambda x: cr.sort(x, 1), lambda x: jnp.sort(x, 1)),
    "sort all": (lambda x: cr.sort(x, None), lambda x: jnp.sort(x, None)),
    "topk": (lambda x: cr.topk(x, 2)[0], lambda x: jax.lax.top_k(x, 2)[0]),
    "median": (lambda x: cr.sort(x, 0)[0], lambda x: jnp.sort(x, 0)[0]),
    "take_along_axis": (
        lambda x: cr.take_along_axis(x, PLACES, 1),
        lambda x: jnp.take_along_axis(x, jnp.asarray(PLACES), 1),
    ),
    "the order of others": (
        lambda x: cr.take_along_axis(x, cr.argsort(cr.sin(x), 2), 2),
        lambda x: jnp.take_along_axis(x, jnp.argsort(jnp.sin(x), 2), 2),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), WITH_GRADIENT.values(), ids=WITH_GRADIENT)
def test_gradients_are_jaxs_and_finite_differences(ours, theirs):
    with jax.enable_x64(True):
        expected = jax.grad(lambda x: weighed(jnp, theirs(x)))(X)
    for found in everywhere(cr.grad(lambda x: weighed(cr, ours(x))), X):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    cr.check_grad(lambda x: weighed(cr, ours(x)), X)


@pytest.mark.parametrize(("ours", "theirs"), WITH_GRADIENT.values(), ids=WITH_GRADIENT)
def test_a_batch_is_sorted_example_by_example(ours, theirs):
    many = RNG.permutation(5 * X.size).reshape(5, *X.shape) / 50.0
    found = cr.per_example_grad(lambda w, x: weighed(cr, ours(w * x)), (0, 1), batch=(1,))(X, many)
    one_by_one = [cr.grad(lambda w, x: weighed(cr, ours(w * x)), (0, 1))(X, x) for x in many]
    for i in (0, 1):
        np.testing.assert_allclose(found[i].numpy(), [g[i].numpy() for g in one_by_one], rtol=1e-12, atol=1e-14)


def test_an_order_has_no_gradient_of_its_own():
    assert cr.grad(lambda x: (cr.argsort(x) * 1.0 + x).sum())(cr.tensor([3.0, 1.0])).tolist() == [1.0, 1.0]


def test_each_step_of_a_loop_can_sort():
    def last(x):
        return cr.scan(lambda c, row: (cr.sort(c + row), c), x[0], x[1:])[0]

    expected = X[0, 0]
    for row in X[0, 1:]:
        expected = np.sort(expected + row)
    for found in everywhere(last, X[0]):
        np.testing.assert_array_equal(found, expected)
    for found in everywhere(cr.grad(lambda x: last(x).sum()), X[0]):
        np.testing.assert_array_equal(found, np.ones(X[0].shape))


def test_numpys_functions_are_these_and_keep_the_gradient():
    for f in (
        lambda x: np.sort(x, 1),
        lambda x: np.sort(x, axis=1, kind="stable"),
        lambda x: np.take_along_axis(x, np.argsort(x, 1), 1),
    ):
        np.testing.assert_array_equal(f(cr.tensor(X)).numpy(), np.sort(X, 1))
        found = cr.grad(lambda x, f=f: weighed(cr, f(x)))(X)
        np.testing.assert_allclose(found.numpy(), cr.grad(lambda x: weighed(cr, cr.sort(x, 1)))(X).numpy())


def test_the_methods_are_the_functions():
    x = cr.tensor(X)
    np.testing.assert_array_equal(x.argsort(0).numpy(), X.argsort(0, stable=True))
    np.testing.assert_array_equal(x.topk(1)[0].numpy(), X.max(-1, keepdims=True))


def test_an_order_is_printed():
    assert "indices that sort x" in str(cr.trace(cr.argsort, X))
