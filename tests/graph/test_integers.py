"""Whole numbers and booleans are NumPy's, define-by-run, interpreted and compiled; what reaches outside is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.errors import ChainruleError, OutOfRangeError, ShapeError

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
EDGES = [0, 1, 2, 5, -1, -2, 127, -128, 255, 2**15, -(2**15), 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**64 - 1]


def edges(dtype):
    """Numbers at the ends of a dtype and near 0."""
    if dtype == "bool":
        return np.array([True, False, True, True])
    info = np.iinfo(dtype)
    return np.array([n for n in EDGES if info.min <= n <= info.max], dtype)


def every_way(f, *xs):
    """What f gives define-by-run, interpreted and compiled; an error of ours in place of a value."""
    ways = [f, cr.compile(f, backend="numpy"), cr.compile(f, backend="xla")]
    found = []
    for way in ways:
        try:
            found.append(way(*map(cr.tensor, xs)).numpy())
        except ChainruleError as error:
            found.append(error)
    return found


def assert_numpys(f, theirs, *xs):
    try:
        with np.errstate(all="ignore"):
            expected = np.asarray(theirs(*xs))
    except (TypeError, ValueError):
        assert all(isinstance(y, ChainruleError) for y in every_way(f, *xs))
        return
    for y in every_way(f, *xs):
        assert not isinstance(y, ChainruleError), y
        assert y.dtype == expected.dtype
        # A quotient is a real number, which a compiler may round otherwise in the last place.
        np.testing.assert_allclose(y, expected, rtol=4e-16 if expected.dtype.kind == "f" else 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["min", "max", "argmin", "argmax", "sum", "cumsum"])
def test_reductions_at_the_ends_of_the_range(name, dtype):
    x = edges(dtype)
    axis = {"axis": 0} if name == "cumsum" else {}
    assert_numpys(lambda x: getattr(cr, name)(x, **axis), lambda x: getattr(np, name)(x, **axis), x)
    rows = np.stack([x, x[::-1]])
    assert_numpys(lambda x: getattr(cr, name)(x, axis=1), lambda x: getattr(np, name)(x, axis=1), rows)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["negative", "absolute", "sign", "square", "bitwise_not"])
def test_functions_of_one_operand_wrap_as_numpys_do(name, dtype):
    assert_numpys(getattr(cr, name), getattr(np, name), edges(dtype))


BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "greater_equal", "equal"]
BITWISE = ["bitwise_and", "bitwise_or", "bitwise_xor"]


@pytest.mark.parametrize("left", ["bool", "int8", "uint8", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("right", ["bool", "int8", "uint8", "int64"])
@pytest.mark.parametrize("name", BINARY + BITWISE)
def test_functions_of_two_operands_wrap_as_numpys_do(name, left, right):
    x, y = edges(left)[:, None], edges(right)[None, :]
    if {left, right} & {"uint64"} and np.result_type(x, y).kind == "f":
        pytest.skip("integers whose common dtype is float64")
    assert_numpys(getattr(cr, name), getattr(np, name), x, y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_operators_are_bitwise_on_whole_numbers_and_logical_on_booleans(dtype):
    x = edges(dtype)
    for f in (lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: ~x):
        assert_numpys(f, f, x, x[::-1].copy())


def test_real_numbers_have_no_bits():
    for f in (lambda x: x & x, lambda x: ~x, lambda x: x ^ 1):
        with pytest.raises(ShapeError, match="bitwise operations need integers or booleans"):
            f(cr.tensor([1.0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_whole_numbers(dtype):
    x, y = edges(dtype)[:, None], np.array([0, 1, 2, 3], dtype if dtype != "bool" else "int8")[None, :]
    assert_numpys(cr.power, np.power, x, y)
    assert_numpys(lambda x: x**2, lambda x: np.power(x, 2), edges(dtype))


def test_a_negative_power_of_a_whole_number_is_refused():
    for y in every_way(cr.power, np.array([2, 3]), np.array([1, -1])):
        assert isinstance(y, OutOfRangeError)
        assert "exponent of an integer" in str(y)
        assert "got -1 in position 1" in str(y)


@given(st.data(), st.sampled_from(DTYPES))
@settings(max_examples=60, deadline=None)
def test_the_smallest_and_the_largest_of_any_whole_numbers(data, dtype):
    x = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    for name in ("min", "max", "argmin", "argmax"):
        ours = getattr(cr, name)(cr.tensor(x), axis)
        np.testing.assert_array_equal(ours.numpy(), getattr(np, name)(x, axis))


# ---- what reaches outside


def gather(x, places):
    return x[places]


@pytest.mark.parametrize("place", [5, -6, 10**6, -(10**9)])
@pytest.mark.parametrize("f", [gather, lambda x, i: cr.take(x, i), lambda x, i: x[1, i] if x.ndim > 1 else x[i]])
def test_an_index_beyond_an_axis_is_refused_everywhere(f, place):
    for y in every_way(f, np.arange(5.0), np.array([0, place])):
        assert isinstance(y, OutOfRangeError)
        assert f"index of axis 0: outside its range: expected -5…4, got {place} in position 1" in str(y)


def test_a_place_to_put_beyond_an_axis_is_refused_everywhere():
    for y in every_way(lambda x, i: cr.put(x, i, 1.0), np.zeros((3, 4)), np.array([3])):
        assert isinstance(y, OutOfRangeError)
    with pytest.raises(ShapeError):
        cr.put(np.zeros(3), 3, 1.0)


def test_the_error_names_the_axis_and_the_layer():
    class Lookup(cr.nn.Module):
        def forward(self, x, i):
            return x[:, i]

    class Net(cr.nn.Module):
        def __init__(self):
            self.table = Lookup()

        def forward(self, x, i):
            return self.table(x, i)

    net = Net()
    for y in every_way(lambda x, i: net(x, i), np.zeros((2, 3)), np.array([[0], [3]])):
        assert "layer table, index of axis 1" in str(y)
        assert "got 3 in position 1, 0" in str(y)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_short_whole_numbers_index_long_axes(dtype):
    x = np.arange(1000.0)
    places = np.array([-100 if dtype != "uint8" else 200, 100, 0], dtype)
    for f in (gather, lambda x, i: cr.put(x, i, -1.0), lambda x, i: x[None][0, i]):
        expected = f(cr.tensor(x), places.astype(np.int64)).numpy()
        for y in every_way(f, x, places):
            np.testing.assert_array_equal(y, expected)


def test_a_check_inside_a_recurrence_is_looked_at_too():
    def look_up(table, places):
        return cr.scan(lambda c, i: (c + table[i], None), cr.tensor(0.0), places)[0]

    for y in every_way(look_up, np.arange(4.0), np.array([1, 2])):
        assert y == 3.0
    for y in every_way(look_up, np.arange(4.0), np.array([1, 4])):
        assert isinstance(y, OutOfRangeError)


def test_a_mask_must_have_the_shape_of_its_axes():
    x = np.arange(6.0).reshape(2, 3)
    for mask in (np.array([True]), np.array([True, False, False]), np.ones((2, 2), bool)):
        with pytest.raises(IndexError):
            x[mask]
        with pytest.raises(ShapeError, match="the mask does not fit"):
            cr.tensor(x)[mask]


def test_a_number_that_the_other_dtype_cannot_hold_is_refused():
    with pytest.raises(ChainruleError, match="out of range"):
        cr.tensor(np.array([1], np.uint8)) + 300
