"""A tensor behaves as a NumPy array does: shapes, dtypes and values."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.backends import interpreter
from chainrule.errors import ShapeError

DTYPES = ["bool", "int32", "int64", "uint8", "float16", "float32", "float64"]
SCALARS = [True, 2, -3, 0.5]


def numbers(rng, shape, dtype):
    return (rng.integers(0, 2, shape) if dtype == "bool" else rng.integers(1, 5, shape)).astype(dtype)


def assert_same(tensor, array):
    assert isinstance(tensor, cr.Tensor)
    assert tensor.dtype == np.asarray(array).dtype
    assert tensor.shape == np.shape(array)
    np.testing.assert_allclose(tensor.numpy(), array, rtol=2e-3 if tensor.dtype == np.float16 else 1e-6)


shapes = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4)


@given(
    shapes, st.sampled_from(["add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "less", "equal"])
)
def test_broadcasting_is_numpys(pair, name):
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(0.5, 2.0, shape) for shape in pair.input_shapes)
    assert_same(getattr(cr, name)(x, y), getattr(np, name)(x, y))


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("left", DTYPES)
@pytest.mark.parametrize("right", [*DTYPES, *SCALARS])
@pytest.mark.parametrize("name", ["add", "multiply", "divide", "maximum", "less", "equal"])
def test_dtypes_are_promoted_as_numpy_promotes_them(left, right, name):
    rng = np.random.default_rng(1)
    x = numbers(rng, (3,), left)
    y = numbers(rng, (3,), right) if isinstance(right, str) else right
    if left == "uint8" and right == -3:
        pytest.skip("a byte that cannot hold the number: NumPy itself decides by operation")
    ours = y if np.isscalar(y) else cr.tensor(y)
    assert_same(getattr(cr, name)(cr.tensor(x), ours), getattr(np, name)(x, y))
    if name in ("add", "multiply", "divide", "maximum"):
        assert_same(getattr(cr, name)(ours, cr.tensor(x)), getattr(np, name)(y, x))


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "sin", "cos", "expm1", "log1p", "square", "absolute"])
def test_functions_of_one_operand_give_numpys_dtype(dtype, name):
    if dtype == "bool" and name == "square":
        pytest.skip("NumPy has no square of truth values")
    x = numbers(np.random.default_rng(2), (2, 3), dtype)
    assert_same(getattr(cr, name)(cr.tensor(x)), getattr(np, name)(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (), (-1, 0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "max", "min"])
def test_reductions_are_numpys(dtype, axis, keepdims, name):
    x = numbers(np.random.default_rng(3), (2, 3, 2), dtype)
    if name in ("max", "min") and dtype == "bool":
        pytest.skip("truth values are not ordered here")
    ours = getattr(cr, name)(cr.tensor(x), axis, keepdims)
    theirs = np.asarray(getattr(np, name)(x, axis=axis, keepdims=keepdims))
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-2 if dtype == "float16" else 1e-6)


@given(st.data(), hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
def test_indexing_is_numpys(data, shape):
    x = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    theirs = x[index]
    ours = cr.tensor(x)[index]
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(ours.numpy(), theirs)


@given(st.data(), hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
def test_indexing_with_integer_arrays_is_numpys(data, shape):
    x = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    index = data.draw(hnp.integer_array_indices(shape))
    np.testing.assert_array_equal(cr.tensor(x)[index].numpy(), x[index])


MASK = np.array([[True, False, True, True], [False, False, True, False], [True, True, False, False]])
INDICES = [
    MASK,
    (MASK[:, 0],),
    (slice(None), MASK[0]),
    (MASK[:, 0], 1),
    (MASK[:, 0], slice(1, 3)),
    (..., 0),
    (None, 1, ..., None),
    ([0, 2], slice(None, None, -1)),
    (slice(None), [-1, 0, 0]),
    ([[0, 1], [2, 2]], [[3, 0], [1, 1]]),
    (np.array([0, -1]), None, np.array([1, 1])),
    (0, [1, 2]),
    np.int64(1),
    (np.int32(-1), np.uint8(2)),
    np.array(2),
    [],
    (slice(5, 1), 0),
    (slice(None, None, 2), slice(-1, None, -2)),
    np.zeros((0,), int),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_with_masks_none_ellipsis_and_lists_is_numpys(index):
    x = np.arange(12.0).reshape(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(cr.tensor(x)[index], x[index])


@pytest.mark.parametrize("index", [3, -4, (0, 4), ([0, 3],), (0, 0, 0), "a", 1.5, [0.5], MASK.T])
def test_an_index_that_does_not_fit_is_an_error_as_in_numpy(index):
    x = np.arange(12.0).reshape(3, 4)
    with pytest.raises(IndexError):
        x[index]
    with pytest.raises((ShapeError, IndexError)):
        cr.tensor(x)[index]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3, 4)),
        ((3,), (5, 3, 2)),
        ((5, 1, 2, 3), (4, 3, 2)),
        ((5, 2, 3), (3,)),
        ((1, 2, 3), (6, 3, 1)),
        ((0, 3), (3, 2)),
    ],
)
def test_matrix_products_follow_numpys_rules_for_vectors_and_batches(left, right):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=left), rng.normal(size=right)
    assert_same(cr.tensor(x) @ y, x @ y)
    assert_same(x @ cr.tensor(y), x @ y)


@pytest.mark.parametrize(("left", "right"), [((2, 3), (2, 3)), ((3,), (4,)), ((2, 2, 3), (3, 3, 2)), ((), (3,))])
def test_matrix_products_that_do_not_fit_are_refused(left, right):
    with pytest.raises(ShapeError, match="matmul"):
        cr.tensor(np.ones(left)) @ np.ones(right)


def test_operators_work_from_both_sides_with_numpy_arrays_and_numbers():
    x = np.array([1.0, 2.0])
    t = cr.tensor(x)
    for ours, theirs in [
        (2 - t, 2 - x),
        (x - t, x - x),
        (t / 4, x / 4),
        (4 / t, 4 / x),
        (2**t, 2**x),
        (t**2, x**2),
        (x @ t, x @ x),
        (-t, -x),
        (abs(-t), x),
        (t > 1, x > 1),
        (t <= 1, x <= 1),
        (x == t, x == x),
        ((t > 1) & (t < 3), (x > 1) & (x < 3)),
        ((t > 1) | True, (x > 1) | True),
        (~(t > 1), ~(x > 1)),
    ]:
        assert_same(ours, theirs)


def test_shapes_are_changed_as_numpy_changes_them():
    x = np.arange(24.0).reshape(2, 3, 4)
    t = cr.tensor(x)
    for ours, theirs in [
        (t.reshape(4, 6), x.reshape(4, 6)),
        (t.reshape((-1, 3)), x.reshape(-1, 3)),
        (t.reshape(-1), x.reshape(-1)),
        (t.T, x.T),
        (t.transpose(), x.transpose()),
        (t.transpose(1, 0, 2), x.transpose(1, 0, 2)),
        (t.transpose((2, 0, 1)), x.transpose(2, 0, 1)),
        (t.swapaxes(0, -1), x.swapaxes(0, -1)),
        (cr.expand_dims(t, -1), np.expand_dims(x, -1)),
        (cr.flip(t), np.flip(x)),
        (cr.flip(t, (0, -1)), np.flip(x, (0, -1))),
        (cr.stack([t, t], -1), np.stack([x, x], -1)),
        (cr.concatenate([t, t], 1), np.concatenate([x, x], 1)),
        (cr.squeeze(t[:1]), np.squeeze(x[:1])),
        (t.cumsum(1), x.cumsum(1)),
        (t.argmax(), x.argmax()),
        (t.argmax(1), x.argmax(1)),
        (cr.take(t, [2, 0], 1), np.take(x, [2, 0], 1)),
        (t.clip(3, 9), x.clip(3, 9)),
        (cr.where(t > 5, t, 0), np.where(x > 5, x, 0)),
        (cr.broadcast_to(t[0], (2, 3, 4)), np.broadcast_to(x[0], (2, 3, 4))),
    ]:
        assert_same(ours, theirs)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda t: t.reshape(5),
        lambda t: t.reshape(-1, 4),
        lambda t: t.sum(2),
        lambda t: t + np.ones(4),
        lambda t: cr.concatenate([t, t[0]]),
        lambda t: cr.stack([t, t[0]]),
        lambda t: t.transpose(0, 0),
        lambda t: cr.squeeze(t, 0),
        lambda t: cr.broadcast_to(t, (2,)),
        lambda t: cr.concatenate([]),
        lambda t: t[:0].max(),
    ],
)
def test_shapes_that_do_not_fit_are_refused_with_a_reason(wrong):
    with pytest.raises(ShapeError):
        wrong(cr.tensor(np.ones((2, 3))))


def test_tensors_are_made_as_numpy_makes_arrays_and_own_their_data():
    array = np.array([1.0, 2.0])
    t = cr.tensor(array)
    array[0] = 9.0
    assert t.tolist() == [1.0, 2.0]
    t.numpy()[0] = 9.0
    assert t.tolist() == [1.0, 2.0]
    assert cr.tensor([1, 2]).dtype == np.int64
    assert cr.tensor([1.0]).dtype == np.float64
    assert cr.tensor(True).dtype == bool
    assert cr.tensor([1, 2], dtype="float32").dtype == np.float32
    assert np.asarray(t, dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("data", [[[1, 2], [3]], ["a"], [1j], None, object()])
def test_what_is_not_a_block_of_real_numbers_is_refused(data):
    with pytest.raises(ShapeError, match="tensor"):
        cr.tensor(data)


def test_a_tensor_counts_iterates_and_converts():
    t = cr.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(t) == 2
    assert [row.tolist() for row in t] == [[1.0, 2.0], [3.0, 4.0]]
    assert (float(t[0, 1]), int(t[1, 0]), bool(t[0, 0] > 0)) == (2.0, 3, True)
    assert (t.ndim, t.size) == (2, 4)
    assert list(range(5))[cr.tensor(2)] == 2
    with pytest.raises(TypeError):
        len(t[0, 0])
    with pytest.raises(ShapeError, match="one element"):
        t.item()
    with pytest.raises(ValueError):
        bool(t)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.float16, np.float32, np.float64])
def test_a_number_stretched_to_a_shape_is_numpys_and_is_not_written_to(dtype):
    number = np.array(3, dtype)
    y = cr.functions.broadcast_to(cr.tensor(number), (2, 3)).value
    np.testing.assert_array_equal(y, np.broadcast_to(number, (2, 3)), strict=True)
    assert (y.strides, y.flags.writeable) == ((0, 0), False)


def test_neither_pass_tells_numpys_warnings_nor_changes_what_numpy_tells_of():
    x = cr.tensor([0.0, 1e300, -1.0], requires_grad=True)
    with warnings.catch_warnings(), np.errstate(all="warn"):
        warnings.simplefilter("error")
        ((x * x * x) / x + cr.log(x)).sum().backward()
        assert set(np.geterr().values()) == {"warn"}
    assert x.grad.tolist()[2] == -3.0


def test_an_operation_that_interrupts_another_is_as_silent():
    """A handler of signals can come in the midst of an operation, and compute something itself."""

    def interrupted(x):
        return x * interpreter.evaluate("exp", [np.array(1000.0)], {}, x.dtype)

    with np.errstate(all="raise"):
        assert interpreter._silenced(interrupted, [np.array(1e300)], np.dtype(float)) == np.inf
        assert np.isinf(cr.exp(cr.tensor(1000.0)).item())
        with pytest.raises(FloatingPointError):
            np.exp(1000.0)
