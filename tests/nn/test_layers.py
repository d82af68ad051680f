from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError

rng = np.random.default_rng(0)
ROW = np.array([[-3.0, -0.5, 0.0, 1.0]])
WEIGHTS = np.array([[1.0, 2.0, 3.0, 4.0]])

# PyTorch 2.13: f(ROW), and the gradient of (f(ROW)·WEIGHTS).sum() by ROW, in float64.
GOLDEN: dict[str, tuple[nn.Module, list[float], list[float]]] = {
    "silu": (
        nn.SiLU(),
        [-0.14227761953270035, -0.1887703343990727, 0.0, 0.7310585786300049],
        [-0.08810410601516962, 0.5200776253946964, 1.5, 3.7106820474859474],
    ),
    "sigmoid": (
        nn.Sigmoid(),
        [0.04742587317756678, 0.3775406687981454, 0.5, 0.7310585786300049],
        [0.04517665973091214, 0.470007424403189, 0.75, 0.7864477329659274],
    ),
    "tanh": (
        nn.Tanh(),
        [-0.9950547536867305, -0.46211715726000974, 0.0, 0.7615941559557649],
        [0.009866037165440166, 1.5728954659318548, 3.0, 1.6798973664561045],
    ),
    "softmax": (
        nn.Softmax(),
        [0.011380943038189123, 0.13864826982984924, 0.2285923516142433, 0.6213784355177182],
        [-0.027996758866010465, -0.2024220759745947, -0.10514523070434838, 0.335564065544954],
    ),
    "log_softmax": (
        nn.LogSoftmax(),
        [-4.475814985686639, -1.975814985686639, -1.475814985686639, -0.475814985686639],
        [0.8861905696181087, 0.6135173017015074, 0.7140764838575671, -2.2137843551771823],
    ),
}


def gradient(f: Callable[[Any], Any], x: Any) -> np.ndarray:
    return cr.grad(lambda x: cr.sum(f(x)))(np.asarray(x, dtype=np.float64)).numpy()


@pytest.mark.parametrize("name", GOLDEN)
def test_an_activation_and_its_gradient_are_those_of_pytorch(name: str) -> None:
    module, value, slope = GOLDEN[name]
    assert module(ROW).numpy()[0] == pytest.approx(value, rel=1e-12, abs=1e-15)
    assert gradient(lambda x: module(x) * WEIGHTS, ROW)[0] == pytest.approx(slope, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    "module",
    [
        nn.Linear(4, 3),
        nn.Linear(4, 3, bias=False),
        nn.ReLU(),
        nn.Tanh(),
        nn.Sigmoid(),
        nn.SiLU(),
        nn.LeakyReLU(0.3),
        nn.ELU(0.7),
        nn.SELU(),
        nn.GELU(),
        nn.GELU("tanh"),
        nn.Softplus(),
        nn.Softplus(2.5),
        nn.Softmax(),
        nn.Softmax(axis=0),
        nn.LogSoftmax(),
        nn.LogSoftmax(axis=0),
        nn.Identity(),
        nn.Flatten(),
        nn.Lambda(lambda x: x * x),
        nn.Dropout(0.5).eval(),
        nn.Sequential(nn.Linear(4, 5), nn.SiLU(), nn.Linear(5, 2), nn.LogSoftmax()),
    ],
    ids=repr,
)
def test_the_rule_of_every_module_agrees_with_finite_differences(module: nn.Module) -> None:
    cr.check_grad(lambda module, x: module(x), module, rng.normal(size=(3, 4)))


@pytest.mark.parametrize("module", [nn.Add(), nn.Max()], ids=repr)
def test_the_rule_of_every_module_of_two_operands_agrees_with_finite_differences(module: nn.Module) -> None:
    cr.check_grad(module, rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))


def test_linear_is_x_times_the_weights_rows_plus_the_bias() -> None:
    layer = nn.Linear(3, 2)
    layer.load_state_dict({"weight": [[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]], "bias": [10.0, 20.0]})
    assert layer([[1.0, 1.0, 2.0]]).tolist() == [[19.0, 21.0]]
    assert layer(np.ones((2, 5, 3))).shape == (2, 5, 2)


def test_linear_has_the_gradients_of_the_exercise_sheet() -> None:
    W, X, G = rng.normal(size=(2, 3)), rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    _, pullback = cr.vjp(lambda X, W, b: cr.linear(X, W, b), X, W, np.zeros(2))
    dX, dW, db = pullback(G)
    assert np.allclose(dX.numpy(), G @ W, rtol=1e-13)
    assert np.allclose(dW.numpy(), G.T @ X, rtol=1e-13)
    assert np.allclose(db.numpy(), G.sum(0), rtol=1e-13)


def test_linear_of_another_width_is_refused_naming_the_layer_and_the_mend() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(9, 3))
    with pytest.raises(ShapeError, match=r"layer 2, linear.*expected \(…, 9\), got \(5, 8\).*in_features=8"):
        model(np.ones((5, 4)))


@pytest.mark.parametrize("bad", [0, -1, 2.5, "3", None])
def test_a_width_that_is_not_a_count_is_refused_by_name(bad: Any) -> None:
    with pytest.raises(ArgumentError, match=r"in_features.*at least 1"):
        nn.Linear(bad, 2)
    with pytest.raises(ArgumentError, match=r"out_features.*at least 1"):
        nn.Linear(2, bad)


def test_an_unknown_initializer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ArgumentError, match=r"init: unknown value: expected one of 'kaiming_normal'"):
        nn.Linear(2, 2, init="kaiming_norml")


def test_relu_passes_the_gradient_at_exactly_zero() -> None:
    assert nn.ReLU()([-1.0, 0.0, 2.0]).tolist() == [0.0, 0.0, 2.0]
    assert gradient(nn.ReLU(), [-1.0, -0.0, 0.0, 2.0]).tolist() == [0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("module", [nn.LeakyReLU(0.2), nn.ELU(0.5), nn.SELU()], ids=repr)
def test_the_slope_at_exactly_zero_is_that_of_the_positive_side(module: nn.Module) -> None:
    _, at_zero, above = gradient(module, [-1.0, 0.0, 1.0])
    assert at_zero == above


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LeakyReLU(-0.1), "negative_slope.*of at least 0"),
        (lambda: nn.LeakyReLU(float("nan")), "negative_slope.*of at least 0"),
        (lambda: nn.ELU(-1.0), "ELU alpha.*of at least 0"),
        (lambda: nn.Softplus(0.0), "beta.*above 0"),
        (lambda: nn.GELU("tan"), "approximate.*'tanh', 'none', got 'tan'"),
    ],
)
def test_settings_of_activations_outside_their_range_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


def test_leaky_relu_without_a_slope_is_relu_and_a_sharp_softplus_nearly() -> None:
    x = rng.normal(size=100)
    np.testing.assert_array_equal(nn.LeakyReLU(0.0)(x).numpy(), nn.ReLU()(x).numpy())
    np.testing.assert_allclose(nn.Softplus(1000.0)(x).numpy(), nn.ReLU()(x).numpy(), atol=1e-3)


def test_relu_is_scale_equivariant() -> None:
    x = rng.normal(size=100)
    assert np.array_equal(nn.ReLU()(4.0 * x).numpy(), 4.0 * nn.ReLU()(x).numpy())


def test_max_gives_the_gradient_to_the_larger_and_in_a_tie_to_the_second() -> None:
    _, pullback = cr.vjp(nn.Max(), [1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    first, second = pullback(np.array([10.0, 20.0, 30.0]))
    assert first.tolist() == [0.0, 0.0, 30.0]
    assert second.tolist() == [10.0, 20.0, 0.0]


def test_add_gives_the_gradient_to_both() -> None:
    _, pullback = cr.vjp(nn.Add(), [1.0, 2.0], [3.0, 4.0])
    assert [g.tolist() for g in pullback(np.array([5.0, 6.0]))] == [[5.0, 6.0], [5.0, 6.0]]


def test_duplicate_sums_the_gradients_of_its_branches() -> None:
    branches = nn.Duplicate(3)(cr.tensor([1.0, 2.0]))
    assert [b.tolist() for b in branches] == [[1.0, 2.0]] * 3
    factors = (1.0, 10.0, 100.0)
    summed = gradient(
        lambda x: cr.concatenate([b * f for b, f in zip(nn.Duplicate(3)(x), factors, strict=True)]), [7.0]
    )
    assert summed.tolist() == [111.0]


def test_duplicate_into_no_branch_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"n: .*at least 1"):
        nn.Duplicate(0)


def test_flatten_keeps_the_rows() -> None:
    assert nn.Flatten()(np.zeros((5, 2, 3, 4))).shape == (5, 24)
    assert nn.Flatten()(np.zeros((5,))).shape == (5, 1)


def test_softmax_along_another_axis_sums_to_one_there() -> None:
    y = nn.Softmax(axis=0)(rng.normal(size=(3, 4))).numpy()
    assert y.sum(axis=0) == pytest.approx(np.ones(4))


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_soft_maxima_stay_finite_for_extreme_inputs(size: float) -> None:
    for dtype in (np.float32, np.float64):
        x = np.array([[size, -size, 0.0]], dtype)
        assert nn.Softmax()(x).tolist() == [[1.0, 0.0, 0.0]]
        assert nn.LogSoftmax()(x).numpy()[0] == pytest.approx([0.0, -2 * size, -size], rel=1e-6)
        for module in (nn.Sigmoid(), nn.Tanh(), nn.SiLU(), nn.LogSoftmax()):
            assert np.isfinite(module(x).numpy()).all()
            assert np.isfinite(cr.grad(lambda x, m=module: cr.sum(m(x)))(x).numpy()).all()


def test_sequential_takes_only_modules_and_says_how_to_mend_it() -> None:
    with pytest.raises(ArgumentError, match=r"position 1.*function.*Lambda"):
        nn.Sequential(nn.ReLU(), cr.relu)


def test_sequential_counts_and_gives_its_layers() -> None:
    layers = [nn.Linear(2, 3), nn.ReLU()]
    model = nn.Sequential(*layers)
    assert len(model) == 2
    assert model[0] is layers[0]
    assert model[-1] is layers[1]


# ---- dropout


def test_dropout_of_nothing_is_the_identity() -> None:
    x = rng.normal(size=(4, 5))
    assert np.array_equal(nn.Dropout(0.0)(x).numpy(), x)
    assert gradient(nn.Dropout(0), x).tolist() == np.ones((4, 5)).tolist()


def test_dropout_of_everything_is_zero_without_a_gradient_and_never_nan() -> None:
    x = np.array([1.0, -1e30, 0.0])
    assert nn.Dropout(1.0)(x).tolist() == [0.0, 0.0, 0.0]
    assert gradient(nn.Dropout(1), x).tolist() == [0.0, 0.0, 0.0]


def test_dropout_keeps_the_mean_in_training_and_drops_the_share_asked_for() -> None:
    cr.seed(3)
    y = nn.Dropout(0.3)(np.ones(200_000)).numpy()
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.005)
    assert y.mean() == pytest.approx(1.0, abs=0.01)
    assert y.max() == pytest.approx(1 / 0.7)


def test_dropout_passes_the_gradient_where_it_passed_the_value() -> None:
    cr.seed(0)
    layer = nn.Dropout(0.5)
    y, pullback = cr.vjp(lambda x: layer(x), np.ones(50))
    assert np.array_equal(pullback(np.ones(50))[0].numpy(), y.numpy())


def test_dropout_is_off_in_inference() -> None:
    x = rng.normal(size=100)
    assert np.array_equal(nn.Dropout(0.9).eval()(x).numpy(), x)


def test_dropout_draws_anew_at_every_call_and_the_seed_repeats_it() -> None:
    layer, x = nn.Dropout(0.5), np.ones(64)
    cr.seed(5)
    first, second = layer(x).tolist(), layer(x).tolist()
    cr.seed(5)
    assert first != second
    assert layer(x).tolist() == first


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan"), "half"])
def test_dropout_outside_zero_to_one_is_refused(p: Any) -> None:
    with pytest.raises(ArgumentError, match=r"dropout p.*in \[0, 1\]"):
        nn.Dropout(p)
