"""No NaN and no infinity where the mathematical result is finite, on both backends."""

import numpy as np
import pytest

import chainrule as cr

EXTREME = [-1e300, -1e30, -1e4, -745.0, -30.0, -1e-300, 0.0, 1e-300, 30.0, 710.0, 1e4, 1e30, 1e300]


def on_both(f, *xs):
    graph = cr.trace(f, *xs)
    return [graph.run(*xs, backend=backend) for backend in ("numpy", "xla")]


def with_slope(f):
    """f's values and its gradient by the first operand."""

    def both(x, *rest):
        return f(x, *rest), cr.grad(lambda x: f(x, *rest).sum())(x)

    return both


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "silu", "gelu", "elu", "leaky_relu", "tanh", "relu"])
def test_activations_and_their_slopes_are_finite_for_any_finite_input(name):
    x = np.array(EXTREME)
    for y, slope in on_both(with_slope(getattr(cr, name)), x):
        assert np.isfinite(y).all()
        assert np.isfinite(slope).all()
        if name not in ("sigmoid", "tanh"):
            np.testing.assert_allclose(y[-4:], x[-4:])
            np.testing.assert_allclose(slope[-3:], 1.0)
            np.testing.assert_allclose(slope[:3], 0.01 if name == "leaky_relu" else 0.0, atol=1e-300)


def test_softplus_keeps_its_digits_in_both_tails():
    for y in on_both(cr.softplus, np.array([-40.0, -700.0, 40.0])):
        np.testing.assert_allclose(y, [np.exp(-40.0), np.exp(-700.0), 40.0 + np.exp(-40.0)], rtol=1e-12)


@pytest.mark.parametrize("size", [1e30, 1e300])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_soft_maxima_are_finite_for_any_finite_row(size, name):
    rows = size * np.array([[1.0, -1.0, 0.0], [1.0, 1.0, -1.0], [-1.0, -1.0, -1.0], [0.0, 1e-300, 0.5]])
    weights = np.arange(12.0).reshape(4, 3)
    f = getattr(cr, name)
    for y, slope in on_both(with_slope(lambda x: f(x) * weights), rows):
        assert np.isfinite(y).all()
        assert np.isfinite(slope).all()
    for y in on_both(cr.softmax, rows):
        np.testing.assert_allclose(y[:3], [[1, 0, 0], [0.5, 0.5, 0], [1 / 3] * 3])


@pytest.mark.parametrize("size", [1e30, 1e300])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_finite_for_any_finite_logits(size, smoothing):
    rows, labels = size * np.array([[1.0, -0.5, 0.0], [1.0, -0.5, 0.0], [0.0, 0.0, 0.0]]), np.array([0, 1, 2])
    for y, slope in on_both(with_slope(lambda x, t: cr.cross_entropy(x, t, label_smoothing=smoothing)), rows, labels):
        assert np.isfinite(y).all()
        assert np.isfinite(slope).all()
        assert y[2] == pytest.approx(np.log(3.0))
        if not smoothing:
            np.testing.assert_allclose(y[:2], [0.0, 1.5 * size])
            np.testing.assert_allclose(slope[1], [1.0, -1.0, 0.0])


def test_binary_cross_entropy_with_logits_is_finite_for_any_finite_logit():
    x = np.array(EXTREME)
    for target in (0.0, 1.0):
        for y, slope in on_both(with_slope(cr.binary_cross_entropy_with_logits), x, np.full(x.shape, target)):
            assert np.isfinite(y).all()
            assert np.isfinite(slope).all()
            assert (y >= 0.0).all()


def test_second_derivatives_are_finite_for_any_finite_input():
    x = np.array(EXTREME)
    for name in ("sigmoid", "softplus", "silu", "gelu", "elu", "tanh"):
        f = getattr(cr, name)
        for curvature in on_both(cr.grad(lambda x, f=f: cr.grad(lambda x: f(x).sum())(x).sum()), x):
            assert np.isfinite(curvature).all(), name
