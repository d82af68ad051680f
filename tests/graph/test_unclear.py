"""Arguments that do not make sense are refused in words; those that NumPy takes are taken."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, OutOfRangeError, ShapeError

ROWS = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint8])
def test_an_axis_may_be_any_whole_number(kind):
    assert cr.sum(ROWS, kind(1)).tolist() == [3.0, 12.0]
    assert cr.sum(ROWS, (kind(0), kind(1))).item() == 15.0
    assert cr.softmax(ROWS, kind(0)).shape == (2, 3)
    assert cr.reshape(ROWS, kind(6)).shape == (6,)
    assert cr.tensor(ROWS).reshape(kind(6)).shape == (6,)
    assert cr.argmax(ROWS, kind(1)).tolist() == [2, 2]


@pytest.mark.parametrize("axis", [(0, 1), None, "rows", 1.0])
def test_several_axes_where_one_is_wanted_are_refused(axis):
    for f in (cr.softmax, cr.log_softmax, cr.cumsum, cr.expand_dims):
        with pytest.raises(ArgumentError, match="not a single axis"):
            f(ROWS, axis)


@pytest.mark.parametrize("axis", [(0, 0), (1, -1), (0, -2, 1)])
@pytest.mark.parametrize("f", [cr.sum, cr.mean, cr.max, cr.std, cr.flip])
def test_an_axis_named_twice_is_refused(f, axis):
    with pytest.raises(ArgumentError, match="a repeated axis"):
        f(ROWS, axis)


@pytest.mark.parametrize("shape", [(-2, -3), (-1, -1), (-6,), (2, -3)])
def test_sizes_below_minus_one_are_refused_when_traced_too(shape):
    for way in (lambda: cr.reshape(ROWS, shape), lambda: cr.trace(lambda x: cr.reshape(x, shape), ROWS)):
        with pytest.raises(ShapeError, match="reshape"):
            way()


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_the_order_of_bytes_does_not_matter(backend):
    x = np.array([1.0, 2.0], ">f8")
    y = cr.compile(lambda x: x * 2, backend=backend)(x)
    assert y.tolist() == [2.0, 4.0]
    assert y.dtype.isnative
    assert cr.sum(x.astype(">i4")).item() == 3


def test_numbers_longer_than_float64_are_refused_by_name():
    x = np.ones(2, np.longdouble)
    if x.dtype.itemsize == 8:
        pytest.skip("no numbers longer than float64 here")
    for way in (lambda: cr.exp(x), lambda: cr.compile(lambda x: x * 2, backend="xla")(x)):
        with pytest.raises(ShapeError, match="wider than float64"):
            way()


def test_a_place_that_is_put_at_twice_is_refused_everywhere():
    for way in (cr.put, *(cr.compile(cr.put, backend=b) for b in ("numpy", "xla"))):
        assert way(np.zeros(3), np.array([0, 2]), np.array([1.0, 2.0])).tolist() == [1.0, 0.0, 2.0]
        with pytest.raises(OutOfRangeError, match=r"how often put names a place: .* 0…1, got 2 in position 1"):
            way(np.zeros(3), np.array([1, 1]), np.array([1.0, 2.0]))
