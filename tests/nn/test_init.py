import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.nn import init

OUT, IN = 300, 500


@pytest.fixture(autouse=True)
def seeded() -> None:
    cr.seed(0)


@pytest.mark.parametrize(
    ("make", "bound"),
    [
        (init.kaiming_uniform, math.sqrt(6 / IN)),
        (init.xavier_uniform, math.sqrt(6 / (IN + OUT))),
        (lambda shape: init.uniform(shape, 0.25), 0.25),
    ],
)
def test_uniform_weights_fill_their_bounds_evenly(make: Callable[..., Any], bound: float) -> None:
    w = make((OUT, IN))
    assert w.shape == (OUT, IN)
    assert w.dtype == np.float32
    assert 0.999 * bound < np.abs(w).max() <= np.float32(bound)
    assert w.var() == pytest.approx(bound**2 / 3, rel=0.02)
    assert abs(w.mean()) < 0.01 * bound


@pytest.mark.parametrize(
    ("make", "variance"),
    [
        (init.kaiming_normal, 2 / IN),
        (lambda shape: init.kaiming_normal(shape, gain=1.0), 1 / IN),
        (init.xavier_normal, 2 / (IN + OUT)),
        (init.lecun_normal, 1 / IN),
        (lambda shape: init.normal(shape, 0.1), 0.01),
    ],
)
def test_normal_weights_have_their_variance_and_tails(make: Callable[..., Any], variance: float) -> None:
    w = make((OUT, IN))
    assert w.var() == pytest.approx(variance, rel=0.02)
    assert (np.abs(w) < math.sqrt(variance)).mean() == pytest.approx(0.6827, abs=0.005)
    assert np.abs(w).max() > 3.5 * math.sqrt(variance)


@pytest.mark.parametrize(("shape", "gain"), [((20, 50), 1.0), ((50, 20), 1.5), ((30, 30), 1.0), ((8, 2, 3, 3), 2.0)])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(shape: tuple[int, ...], gain: float) -> None:
    w = init.orthogonal(shape, gain, dtype=np.float64)
    assert w.shape == shape
    flat = w.reshape(shape[0], -1)
    product = flat @ flat.T if len(flat) <= flat.shape[1] else flat.T @ flat
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-12)
    assert init.orthogonal(shape).dtype == np.float32


def test_orthogonal_weights_prefer_no_direction() -> None:
    # Without the turning of signs the first element of Q is never positive.
    first = np.array([init.orthogonal((3, 3), dtype=np.float64)[0, 0] for _ in range(400)])
    assert abs(first.mean()) < 0.1
    assert np.square(first).mean() == pytest.approx(1 / 3, abs=0.05)


def test_scaled_exponential_units_keep_mean_and_variance_through_twenty_layers() -> None:
    layers = [layer for _ in range(20) for layer in (nn.Linear(256, 256, init="lecun_normal"), nn.SELU())]
    y = nn.Sequential(*layers)(np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)).numpy()
    assert abs(y.mean()) < 0.1
    assert y.var() == pytest.approx(1.0, abs=0.25)


def test_constants_are_constant() -> None:
    assert init.zeros((2, 3)).tolist() == [[0.0] * 3] * 2
    assert init.constant((2,), 0.5).tolist() == [0.5, 0.5]


def test_the_fan_of_a_kernel_counts_its_places() -> None:
    assert init.kaiming_normal((200, 50, 3, 3)).var() == pytest.approx(2 / (50 * 9), rel=0.03)


def test_kaiming_keeps_the_variance_through_twenty_layers_of_relu() -> None:
    layers = [layer for _ in range(20) for layer in (nn.Linear(256, 256, bias=False), nn.ReLU())]
    x = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    kept = np.square(nn.Sequential(*layers)(x).numpy()).mean()
    assert 1 / 3 < kept < 3


def test_a_smaller_gain_loses_the_variance_where_kaiming_keeps_it() -> None:
    layers = [layer for _ in range(20) for layer in (nn.Linear(256, 256, init="xavier_normal"), nn.ReLU())]
    x = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    assert np.square(nn.Sequential(*layers)(x).numpy()).mean() < 1e-4


@pytest.mark.parametrize("name", init.INITIALIZERS)
def test_the_seed_fixes_the_weights_of_a_layer(name: str) -> None:
    def weight(seed: int) -> list[Any]:
        cr.seed(seed)
        return nn.Linear(4, 3, init=name).weight.tolist()

    assert weight(1) == weight(1)
    assert (weight(1) == weight(2)) == (name in ("zeros", "constant"))


def test_a_layer_starts_with_the_scale_of_its_initializer_and_a_bias_of_zero() -> None:
    layer = nn.Linear(IN, OUT)
    assert layer.weight.numpy().var() == pytest.approx(2 / IN, rel=0.02)
    assert not layer.bias.numpy().any()
