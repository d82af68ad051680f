"""NumPy's functions on tensors: the same result with its gradient, or a refusal by name; never a gradient dropped."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import TraceError

X = np.array([3.0, 4.0])
W = np.array([1.0, 2.0])

WITH_GRADIENT = {
    "sum": (lambda x: np.sum(x), [1, 1]),
    "sum over an axis": (lambda x: np.sum(x, axis=0), [1, 1]),
    "mean": (lambda x: np.mean(x), [0.5, 0.5]),
    "max": (lambda x: np.max(x), [0, 1]),
    "min": (lambda x: np.min(x), [1, 0]),
    "dot": (lambda x: np.dot(x, x), [6, 8]),
    "matmul": (lambda x: np.matmul(x, x), [6, 8]),
    "array @ tensor": (lambda x: W @ x, [1, 2]),
    "array * tensor": (lambda x: (W * x).sum(), [1, 2]),
    "array - tensor": (lambda x: (W - x).sum(), [-1, -1]),
    "exp": (lambda x: np.exp(x).sum(), np.exp(X)),
    "multiply": (lambda x: np.multiply(x, x).sum(), [6, 8]),
    "where": (lambda x: (np.where(x > 0, x, 0) * x).sum(), [6, 8]),
    "maximum": (lambda x: np.maximum(x, 3.5).sum(), [0, 1]),
    "clip": (lambda x: np.clip(x, 0.0, 3.5).sum(), [1, 0]),
    "concatenate": (lambda x: np.concatenate([x, x]).sum(), [2, 2]),
    "stack": (lambda x: (np.stack([x, x]) ** 2).sum(), [12, 16]),
    "reshape": (lambda x: (np.reshape(x, (2, 1)) ** 2).sum(), [6, 8]),
    "transpose": (lambda x: (np.transpose(x) ** 2).sum(), [6, 8]),
    "squeeze and expand_dims": (lambda x: (np.squeeze(np.expand_dims(x, 0)) ** 2).sum(), [6, 8]),
    "cumsum": (lambda x: np.cumsum(x).sum(), [2, 1]),
    "flip": (lambda x: (np.flip(x) * W).sum(), [2, 1]),
    "take": (lambda x: np.take(x, [1, 1]).sum(), [0, 2]),
    "var": (lambda x: np.var(x), [-0.5, 0.5]),
    "broadcast_to": (lambda x: np.broadcast_to(x, (3, 2)).sum(), [3, 3]),
    "a list of tensors": (lambda x: (cr.as_tensor([x[0], x[1] * 2.0]) ** 2).sum(), [6, 32]),
    "a list of tensors beside a tensor": (lambda x: (x * [x[1], 1.0]).sum(), [4, 4]),
    "zeros_like": (lambda x: (x + np.zeros_like(x)).sum(), [1, 1]),
}
REFUSED = {
    "einsum": lambda x: cr.sum(np.einsum("i,i->i", x, x)),
    "linalg.det": lambda x: np.linalg.det(x.reshape(2, 1) * x),
    "tile": lambda x: cr.sum(np.tile(x, 2)),
    "r_": lambda x: cr.sum(np.r_[x, x]),
    "the method dot of an array": lambda x: W.T.dot(x),
    "asarray": lambda x: cr.sum(np.asarray(x)),
    "array of a list": lambda x: cr.sum(np.array([x[0], x[1]])),
    "cbrt": lambda x: np.cbrt(x).sum(),
    "add.reduce": lambda x: np.add.reduce(x),
    "sum in another dtype": lambda x: np.sum(x, dtype="float32"),
    "math.exp": lambda x: math.exp(x[0]) * x[1],
    "float": lambda x: float(x[0]) * x[1],
    "cr.tensor": lambda x: cr.sum(cr.tensor(x)),
}


@pytest.mark.parametrize(("f", "expected"), WITH_GRADIENT.values(), ids=WITH_GRADIENT)
def test_a_function_that_is_ours_keeps_its_gradient(f, expected):
    np.testing.assert_allclose(cr.grad(f)(X).numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(cr.compile(cr.grad(f), backend="numpy")(X).numpy(), expected, rtol=1e-12)
    plain = f(X) if "cr." not in f.__code__.co_names else None
    if isinstance(plain, np.floating):
        assert f(cr.tensor(X)).item() == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("f", REFUSED.values(), ids=REFUSED)
def test_any_other_is_refused_where_a_gradient_is_taken(f):
    with pytest.raises(TraceError, match=r"gradient|traced"):
        cr.grad(f)(X)
    with pytest.raises(TraceError, match=r"gradient|traced"):
        cr.trace(f, X)


def test_an_element_of_an_array_is_not_written_with_a_tensor_that_has_a_gradient():
    def f(x):
        a = np.zeros(2)
        for i in range(2):
            a[i] = x[i]
        return cr.sum(a)

    with pytest.raises((TraceError, ValueError)):
        cr.grad(f)(X)


def test_an_array_is_not_added_to_in_place():
    def f(x):
        a = np.zeros(2)
        a += x
        return cr.sum(a)

    with pytest.raises(TraceError, match="add"):
        cr.grad(f)(X)


@pytest.mark.parametrize("name", ["cbrt", "arctan", "nonzero", "sort", "median", "unique"])
def test_values_without_a_history_are_arrays_to_numpy(name):
    function = getattr(np, name)
    for found, expected in zip(np.atleast_1d(function(cr.tensor(X))), np.atleast_1d(function(X)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_comparisons_of_values_may_be_asked_of_parameters():
    w = cr.tensor(X, requires_grad=True)
    assert np.allclose(w, X)
    assert np.array_equal(w, X)
    assert np.shape(w) == (2,)
    assert np.ndim(w) == 1


def test_float_of_a_loss_warns_once_that_the_gradient_ends_there():
    loss = (cr.tensor(X, requires_grad=True) ** 2).sum()
    with pytest.warns(UserWarning, match=r"has no gradient.*item\(\)"):
        assert float(loss) == 25.0
    assert f"{loss:.1f}" == "25.0"


def test_none_is_no_tensor():
    x = cr.tensor([1.0])
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711


A, B, C = np.arange(24.0).reshape(2, 3, 4), np.arange(40.0).reshape(2, 4, 5), np.arange(4.0)


@pytest.mark.parametrize(("x", "y"), [(A, B), (C, B), (A, C), (A[0], B[0]), (A[0], B), (C, C), (2.0, A)])
def test_dot_has_the_axes_of_numpys(x, y):
    np.testing.assert_allclose(np.dot(cr.tensor(x), y).numpy(), np.dot(x, y))


def test_an_axis_of_none_is_not_one_left_out():
    joined = np.concatenate([cr.tensor([[1.0, 2.0]]), cr.tensor([[3.0, 4.0]])], axis=None)
    assert joined.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_settings_of_numpys_reductions_are_kept():
    assert np.var(cr.tensor(X), ddof=1).item() == np.var(X, ddof=1)
    assert np.std(cr.tensor(X), ddof=1, keepdims=True).shape == (1,)
    assert np.sum(cr.tensor(X), dtype=None, out=None).item() == 7.0


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_norm_of_what_is_no_number_is_none(backend):
    x = np.array([[np.nan, 1.0], [0.0, np.inf], [3.0, 4.0], [0.0, 0.0]])
    found = cr.trace(lambda x: cr.linalg.norm(x, axis=1), x).run(x, backend=backend)
    np.testing.assert_array_equal(found, np.linalg.norm(x, axis=1))
    with pytest.raises(cr.ChainruleError, match="matrix norms"):
        cr.linalg.norm(x, 2)


@pytest.mark.parametrize("dtype", [complex, "S3", "nope", np.longdouble])
def test_a_dtype_that_tensors_cannot_have_is_refused(dtype):
    with pytest.raises(cr.ChainruleError, match="dtype"):
        cr.cast(cr.tensor(X), dtype)
    with pytest.raises(cr.ChainruleError, match="dtype"):
        cr.tensor(X, dtype=dtype)
