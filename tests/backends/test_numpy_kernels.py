"""What NumPy computes in a way of its own gives the bits of the kernels that both backends share."""

import numpy as np
import pytest

from chainrule.backends.kernels import KERNELS
from chainrule.backends.numpy_kernels import OWN, select

SHAPES = [(5, 64, 64), (3, 7), (), (0, 4)]
ACTIVATIONS = [("sigmoid", {}), ("silu", {}), ("leaky_relu", {"negative_slope": 0.01}), ("elu", {"alpha": 1.3})]


def numbers(shape: tuple[int, ...], dtype: str, scale: float) -> np.ndarray:
    """Normal numbers and, where there is room, what is not finite, −0 and what is far below 0."""
    x = np.asarray(np.random.default_rng(0).normal(size=shape) * scale, dtype)
    if x.size > 8:
        x.reshape(-1)[:5] = [np.nan, -200, np.inf, -np.inf, -0.0]
    return x


def same_bits(found: object, right: object) -> None:
    found, right = np.asarray(found), np.asarray(right)
    assert found.dtype == right.dtype
    np.testing.assert_array_equal(found, right)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(right))


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_activations_are_those_of_the_shared_table(shape, dtype, scale):
    x = numbers(shape, dtype, scale)
    with np.errstate(all="ignore"):
        for name, attrs in ACTIVATIONS:
            same_bits(OWN[name](attrs)(x), KERNELS[name](np, attrs)(x))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [*SHAPES, (512, 300)])
def test_a_choice_between_numbers_is_that_of_where(shape, dtype):
    x = numbers(shape, dtype, 1.0)
    zero, minus_zero = (np.broadcast_to(np.asarray(value, dtype), shape) for value in (0.0, -0.0))
    for chosen, other in ((x, x * 2), (zero, x), (x, zero), (minus_zero, x), (x, minus_zero), (zero, zero)):
        same_bits(select(np.asarray(x > 0), chosen, other), np.where(x > 0, chosen, other))
    alone = np.asarray(2.5, dtype)
    same_bits(select(np.asarray(x > 0), alone, x), np.where(x > 0, alone, x))
