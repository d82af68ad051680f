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
