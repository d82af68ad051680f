"""How many units in the last place our functions are off, against extended precision; sums against math.fsum."""

import math

import numpy as np
import pytest

import chainrule as cr

pytestmark = pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="no numbers longer than float64 here")
ENDS = {"float32": 100.0, "float64": 700.0}


def points(dtype):
    """From one end to the other, and more near 0."""
    end = ENDS[dtype]
    near = np.random.default_rng(0).normal(size=20_000) * np.repeat([1.0, 1e-3, 10.0, 30.0], 5000)
    return np.concatenate([np.linspace(-end, end, 40_001), near]).astype(dtype)


def parts(x):
    """σ(x) and σ(−x) in extended precision."""
    e = np.exp(-np.abs(x))
    large, small = 1 / (1 + e), e / (1 + e)
    return np.where(x < 0, small, large), np.where(x < 0, large, small)


def true_softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


TRUE = {
    "sigmoid": lambda x: (parts(x)[0], parts(x)[0] * parts(x)[1]),
    "softplus": lambda x: (true_softplus(x), parts(x)[0]),
    "logsigmoid": lambda x: (-true_softplus(-x), parts(x)[1]),
    "silu": lambda x: (x * parts(x)[0], parts(x)[0] * (1 + x * parts(x)[1])),
}


def units(found, true, size):
    """The difference in units in the last place of a number of this size."""
    return np.abs(found.astype(np.longdouble) - true) / np.spacing(size.astype(found.dtype)).astype(np.longdouble)


@pytest.mark.parametrize("dtype", ENDS)
@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("name", TRUE)
def test_the_logistic_functions_and_their_slopes_are_exact_to_four_units(name, backend, dtype):
    x = points(dtype)
    f = getattr(cr, name)
    graph = cr.trace(lambda x: (f(x), cr.grad(lambda x: f(x).sum())(x)), x)
    for order, (y, true) in enumerate(
        zip(graph.run(x, backend=backend), TRUE[name](x.astype(np.longdouble)), strict=True)
    ):
        size = np.abs(true)
        if name == "silu" and order == 1:
            # Around its zero the slope is the difference of σ(x) and −x·σ(x)·σ(−x); it is exact to units of these.
            one, other = parts(x.astype(np.longdouble))
            size = np.maximum.reduce([size, one, np.abs(x * one * other)])
        off = units(y, true, size)
        if backend == "xla":
            # Compiled code has no numbers below the smallest normal one: they are 0, σ(x) among them.
            off = off[(size > np.finfo(dtype).tiny) & (parts(x.astype(np.longdouble))[0] > np.finfo(dtype).tiny)]
        assert off.max() <= (5.0 if (name, order) == ("silu", 1) else 4.0)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_the_logarithm_of_a_sigmoid_has_its_slope_where_the_sigmoid_is_small(backend):
    x = np.array([-80.0, -30.0, -20.0, 0.0, 20.0], np.float32)
    ours = cr.trace(lambda x: (cr.log(cr.sigmoid(x)), cr.grad(lambda x: cr.log(cr.sigmoid(x)).sum())(x)), x)
    y, slope = ours.run(x, backend=backend)
    np.testing.assert_allclose(y[:4], [-80.0, -30.0, -20.0, -math.log(2.0)], rtol=1e-6)
    np.testing.assert_allclose(slope, [1.0, 1.0, 1.0, 0.5, math.exp(-20.0)], rtol=1e-5)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_the_gradient_of_binary_cross_entropy_with_logits_keeps_its_digits(backend):
    x = np.array([-30.0, -60.0], np.float32)
    slope = cr.trace(cr.grad(lambda x: cr.binary_cross_entropy_with_logits(x, 0.0).sum()), x).run(x, backend=backend)
    np.testing.assert_allclose(slope, np.exp(x.astype(float)), rtol=1e-6)


# ---- reductions


def on_each(f, x):
    """What f gives define-by-run, interpreted, and compiled."""
    return [f(cr.tensor(x)).numpy(), *(cr.trace(f, x).run(x, backend=backend) for backend in ("numpy", "xla"))]


HALVES = np.random.default_rng(1).normal(3.0, 1.0, 100_000).astype(np.float16)


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (cr.mean, np.full(10**6, 0.1, np.float16), 0.1),
        (lambda x: cr.sum(x, 1)[0], np.full((2, 20_000), 0.1, np.float16), 2000.0),
        (lambda x: cr.sum(x, 0)[0], np.full((20_000, 2), 0.1, np.float16), 2000.0),
        (cr.mean, HALVES, HALVES.astype(float).mean()),
        (cr.var, HALVES, HALVES.astype(float).var()),
        (cr.std, HALVES, HALVES.astype(float).std()),
        (lambda x: cr.std(x, ddof=1), HALVES, HALVES.astype(float).std(ddof=1)),
        (cr.linalg.norm, HALVES, np.linalg.norm(HALVES.astype(float))),
        (lambda x: cr.softmax(x).sum(), HALVES, 1.0),
        (lambda x: cr.cross_entropy(x, 0), np.zeros(60_000, np.float16), math.log(60_000)),
        (lambda x: cr.std(cr.layer_norm(x, np.ones_like(HALVES), np.zeros_like(HALVES))), HALVES, 1.0),
    ],
)
def test_float16_is_summed_in_float32(f, x, expected):
    for y in on_each(f, x):
        assert y.dtype == np.float16
        assert float(y) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("layout", ["along rows", "down columns", "turned", "all"])
def test_long_sums_of_float32_are_as_exact_as_sums_in_pairs(layout):
    numbers = np.abs(np.random.default_rng(2).normal(size=(3, 400_001))).astype(np.float32)
    x, axis = {
        "along rows": (numbers, 1),
        "down columns": (np.ascontiguousarray(numbers.T), 0),
        "turned": (numbers.T, 0),
        "all": (numbers, None),
    }[layout]
    rows = numbers if axis is not None else numbers.reshape(1, -1)
    expected = np.array([math.fsum(row.astype(float)) for row in rows])
    for y in on_each(lambda x: cr.sum(x, axis), x):
        np.testing.assert_allclose(np.ravel(y), expected, rtol=1e-6)


def test_ten_million_float32_are_summed_and_averaged():
    x = np.random.default_rng(3).random(10**7, np.float32)
    total = math.fsum(x.astype(float))
    for f, expected in ((cr.sum, total), (cr.mean, total / 10**7)):
        for y in on_each(f, x):
            assert float(y) == pytest.approx(expected, rel=2e-7)


def test_a_variance_about_a_large_mean_keeps_its_digits():
    x = (1e4 + np.random.default_rng(4).normal(size=10**6)).astype(np.float32)
    for f, expected in ((cr.var, x.astype(float).var()), (cr.std, x.astype(float).std())):
        for y in on_each(f, x):
            assert float(y) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("ddof", [0, 1, 2])
def test_variances_of_a_sample_are_numpys(ddof):
    x = np.random.default_rng(5).normal(size=(3, 4))
    for name in ("var", "std"):
        for axis in (None, 0, 1, (0, 1)):
            ours = getattr(cr, name)(x, axis, ddof=ddof).numpy()
            np.testing.assert_allclose(ours, getattr(np, name)(x, axis=axis, ddof=ddof), rtol=1e-13)
    assert np.isnan(cr.var([1.0], ddof=1).item())
    assert np.isnan(cr.std([1.0], ddof=1).item())
    cr.check_grad(lambda x: cr.std(x, 0, ddof=1), x)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("ddof", [1, 3, 5, 0.5])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_variances_of_too_few_are_numpys(ddof, backend):
    for x in ([1.0], [2.0, 2.0], [1.0, 2.0, 4.0], [[1.0, 1.0, 1.0], [1.0, 2.0, 4.0]], np.zeros((2, 0))):
        for name in ("var", "std"):
            ours = cr.compile(lambda x, name=name: getattr(cr, name)(x, -1, ddof=ddof), backend=backend)(np.array(x))
            np.testing.assert_allclose(ours.numpy(), getattr(np, name)(x, axis=-1, ddof=ddof), rtol=1e-14)


@pytest.mark.parametrize("f", [cr.mean, cr.var, cr.std])
def test_the_mean_and_the_spread_of_nothing_are_nan(f):
    for y in on_each(f, np.zeros((0,))):
        assert np.isnan(y)
    for y in on_each(lambda x: f(x, 1), np.zeros((0, 3))):
        assert y.shape == (0,)


@pytest.mark.parametrize("f", [cr.std, cr.var])
def test_one_element_has_no_spread_to_second_order(f):
    assert f([2.0]).item() == 0.0
    assert cr.grad(f)(cr.tensor([2.0])).tolist() == [0.0]
    assert cr.hessian(f)(np.array([2.0])).tolist() == [[0.0]]


def test_no_rows_are_normalised_and_differentiated_twice():
    x, w = np.zeros((0, 3)), np.ones(3)
    for f in (lambda x: cr.layer_norm(x, w, w), lambda x: cr.std(x, 1), lambda x: cr.standardize(x, 1)):
        slope = cr.grad(lambda x, f=f: (f(x) ** 2).sum())
        assert cr.grad(lambda x, slope=slope: slope(x).sum())(cr.tensor(x)).shape == (0, 3)


@pytest.mark.parametrize("rows", [1, 2, 128, 512, 513, 5000])
@pytest.mark.parametrize("keepdims", [False, True])
def test_a_batch_is_summed_as_accurately_as_numpy_sums_it_however_many_rows_it_has(rows, keepdims):
    x = (np.random.default_rng(rows).normal(size=(rows, 40)) + 1).astype(np.float32)
    found = cr.compile(lambda x: cr.sum(x, axis=0, keepdims=keepdims), backend="xla")(x).numpy()
    right = x.astype(np.float64).sum(axis=0, keepdims=keepdims)
    assert found.shape == right.shape
    assert np.abs(found - right).max() <= 1e-6 * np.abs(x).sum(axis=0).max()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_in_a_batch_stays_so_in_its_column_alone(bad):
    x = np.ones((9, 3), np.float32)
    x[4, 1] = bad
    found = cr.compile(lambda x: cr.sum(x, axis=0), backend="xla")(x).numpy()
    np.testing.assert_array_equal(found, [9, bad, 9])
