from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError

LOGITS, LABELS = [[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]], [2, 1]
P, T = [0.2, 0.9, 0.5], [1.0, 0.0, 0.3]
Z = [-1.5, 0.0, 2.0]
OUTPUT, TARGET = [[1.0, 2.0], [-1.0, 0.5]], [[0.0, 2.5], [1.0, 0.0]]
GRADIENT = [
    [0.6037488961486258, 0.030058887569574023, -0.6338077837181998],
    [0.04661262257797389, -0.06376044812349424, 0.017147825545520388],
]
SMOOTHED = [
    [0.5704155628152925, -0.00327444576375931, -0.5671411170515331],
    [0.013279289244640557, 0.002906218543172412, -0.016185507787812945],
]

# PyTorch 2.13 in float64: the loss, and the gradient of its sum by the first argument.
GOLDEN: list[tuple[nn.Loss, Any, Any, Any, Any]] = [
    (nn.CrossEntropyLoss("none"), LOGITS, LABELS, [1.0045969023422834, 0.06588390375742911], GRADIENT),
    (nn.CrossEntropyLoss("sum"), LOGITS, LABELS, 1.0704808060997124, GRADIENT),
    (nn.CrossEntropyLoss(), LOGITS, LABELS, 0.5352404030498562, np.divide(GRADIENT, 2)),
    (nn.CrossEntropyLoss("none", 0.1), LOGITS, LABELS, [1.07126356900895, 0.2992172370907624], SMOOTHED),
    (nn.CrossEntropyLoss("mean", 0.1), LOGITS, LABELS, 0.6852404030498562, np.divide(SMOOTHED, 2)),
    (nn.BCELoss("none"), P, T, [1.6094379124341003, 2.302585092994046, 0.6931471805599453], [-5.0, 10.0, 0.8]),
    (nn.BCELoss(), P, T, 1.5350567286626973, np.divide([-5.0, 10.0, 0.8], 3)),
    (nn.BCELoss("sum"), P, T, 4.605170185988092, [-5.0, 10.0, 0.8]),
    (
        nn.BCEWithLogitsLoss("none"),
        Z,
        T,
        [1.7014132779827524, 0.6931471805599453, 1.5269280110429724],
        [-0.8175744761936437, 0.5, 0.5807970779778824],
    ),
    (
        nn.BCEWithLogitsLoss(),
        Z,
        T,
        1.3071628231952233,
        [-0.2725248253978812, 0.16666666666666666, 0.19359902599262746],
    ),
    (nn.MSELoss("none"), OUTPUT, TARGET, [[1.0, 0.25], [4.0, 0.25]], [[2.0, -1.0], [-4.0, 1.0]]),
    (nn.MSELoss(), OUTPUT, TARGET, 1.375, [[0.5, -0.25], [-1.0, 0.25]]),
    (nn.MSELoss("sum"), OUTPUT, TARGET, 5.5, [[2.0, -1.0], [-4.0, 1.0]]),
]


def slope(loss: nn.Module, output: Any, target: Any) -> np.ndarray:
    return cr.grad(lambda x: cr.sum(loss(x, np.asarray(target))))(np.asarray(output, np.float64)).numpy()


@pytest.mark.parametrize(("loss", "output", "target", "value", "gradient"), GOLDEN)
def test_a_loss_and_its_gradient_are_those_of_pytorch(
    loss: nn.Loss, output: Any, target: Any, value: Any, gradient: Any
) -> None:
    assert np.allclose(loss(np.asarray(output), np.asarray(target)).numpy(), value, rtol=1e-12, atol=0)
    assert np.allclose(slope(loss, output, target), gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("loss", "output", "target", "value", "gradient"), GOLDEN)
def test_the_rule_of_every_loss_agrees_with_finite_differences(
    loss: nn.Loss, output: Any, target: Any, value: Any, gradient: Any
) -> None:
    cr.check_grad(lambda x: loss(x, np.asarray(target)), np.asarray(output))


@pytest.mark.torch
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_losses_agree_with_pytorch_live(reduction: str) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    rng = np.random.default_rng(0)
    x, labels, t = rng.normal(size=(20, 5)) * 4, rng.integers(0, 5, 20), rng.uniform(size=(20, 5))
    p, F = 1 / (1 + np.exp(-x)), torch.nn.functional
    for ours, theirs, output, target in (
        (nn.CrossEntropyLoss(reduction), F.cross_entropy, x, labels),
        (
            nn.CrossEntropyLoss(reduction, 0.2),
            lambda *a, reduction: F.cross_entropy(*a, reduction=reduction, label_smoothing=0.2),
            x,
            labels,
        ),
        (nn.BCELoss(reduction), F.binary_cross_entropy, p, t),
        (nn.BCEWithLogitsLoss(reduction), F.binary_cross_entropy_with_logits, x, t),
        (nn.MSELoss(reduction), F.mse_loss, x, t),
    ):
        z = torch.tensor(output, requires_grad=True)
        value = theirs(z, torch.tensor(target), reduction=reduction)
        value.sum().backward()
        assert np.allclose(ours(output, target).numpy(), value.detach().numpy(), rtol=1e-11)
        assert np.allclose(slope(ours, output, target), z.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_log_likelihood_of_log_probabilities_is_cross_entropy_of_logits() -> None:
    x = cr.log_softmax(np.array(LOGITS))
    assert nn.NLLLoss()(x, LABELS).item() == pytest.approx(0.5352404030498562, rel=1e-12)
    assert nn.NLLLoss("none")(x, LABELS).tolist() == pytest.approx([1.0045969023422834, 0.06588390375742911])
    composed = slope(nn.Lambda(lambda x, y: nn.NLLLoss("sum")(cr.log_softmax(x), y)), LOGITS, LABELS)
    assert np.allclose(composed, GRADIENT, rtol=1e-12, atol=1e-15)


def test_the_gradient_of_cross_entropy_is_probability_less_one_hot() -> None:
    p = nn.Softmax()(np.array(LOGITS)).numpy()
    assert np.allclose(slope(nn.CrossEntropyLoss("sum"), LOGITS, LABELS), p - np.eye(3)[LABELS], atol=1e-15)


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes() -> None:
    assert nn.CrossEntropyLoss()(np.zeros((4, 7)), [0, 1, 2, 6]).item() == pytest.approx(np.log(7))


def test_smoothing_over_everything_forgets_the_label() -> None:
    loss = nn.CrossEntropyLoss("none", label_smoothing=1.0)
    logits = np.array([LOGITS[0], LOGITS[0]])
    first, second = loss(logits, [0, 2]).tolist()
    assert first == pytest.approx(second)
    assert first == pytest.approx(-nn.LogSoftmax()(logits).numpy()[0].mean())


@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_stay_finite_for_extreme_outputs(size: float, dtype: Any) -> None:
    x = np.array([[size, -size, 0.0], [-size, size, 0.0]], dtype)
    for loss in (nn.CrossEntropyLoss("none"), nn.CrossEntropyLoss("none", 0.1)):
        value, gradient = loss(x, [1, 0]).numpy(), cr.grad(lambda x, f=loss: cr.sum(f(x, [1, 0])))(x).numpy()
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
    assert nn.CrossEntropyLoss("none")(x, [1, 0]).numpy() == pytest.approx([2 * size, 2 * size], rel=1e-6)
    z, t = np.array([size, -size, size], dtype), np.array([0.0, 1.0, 1.0], dtype)
    assert nn.BCEWithLogitsLoss("none")(z, t).numpy() == pytest.approx([size, size, 0.0], rel=1e-6)
    assert cr.grad(lambda z: cr.sum(nn.BCEWithLogitsLoss("none")(z, t)))(z).tolist() == [1.0, -1.0, 0.0]


def test_binary_cross_entropy_of_certainty_is_held_at_a_hundred_as_in_pytorch() -> None:
    p, t = [0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]
    assert nn.BCELoss("none")(p, t).tolist() == [100.0, 100.0, 0.0, 0.0]
    assert np.isfinite(slope(nn.BCELoss(), p, t)).all()


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(), nn.BCELoss(), nn.BCEWithLogitsLoss()], ids=repr
)
def test_a_target_that_would_broadcast_is_refused_with_the_mend(loss: nn.Loss) -> None:
    name = type(loss).__name__
    with pytest.raises(ShapeError, match=rf"{name}.*\(4, 1\), got \(4,\); reshape it: y\.reshape\(-1, 1\)"):
        loss(np.zeros((4, 1)), np.zeros(4))
    with pytest.raises(ShapeError, match=rf"{name}.*\(4,\), got \(4, 1\); reshape it: y\.reshape\(-1\)"):
        loss(np.zeros(4), np.zeros((4, 1)))
    with pytest.raises(ShapeError, match=rf"{name}.*width of the last layer"):
        loss(np.zeros((4, 2)), np.zeros((4, 3)))


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.NLLLoss()], ids=repr)
def test_labels_that_are_not_one_a_row_are_refused(loss: nn.Loss) -> None:
    with pytest.raises(ShapeError, match=r"labels do not fit.*got \(4, 3\)"):
        loss(np.zeros((4, 3)), np.zeros((4, 3), int))


@pytest.mark.parametrize("delta", [0.0, -1.0, float("inf"), "1"])
def test_a_huber_loss_needs_a_delta_above_zero(delta: Any) -> None:
    with pytest.raises(ArgumentError, match=r"delta.*above 0"):
        nn.HuberLoss(delta=delta)


def test_huber_is_squared_error_within_delta_and_absolute_error_far_outside() -> None:
    x, t = np.array([0.1, -0.4, 1e6]), np.zeros(3)
    assert nn.HuberLoss("none", 0.5)(x[:2], t[:2]).tolist() == pytest.approx((x[:2] ** 2 / 2).tolist())
    assert nn.HuberLoss("none", 0.5)(x, t).numpy()[2] / 0.5 == pytest.approx(
        nn.L1Loss("none")(x, t).numpy()[2], rel=1e-6
    )
    assert slope(nn.HuberLoss("sum", 0.5), x, t).tolist() == [0.1, -0.4, 0.5]
    assert slope(nn.L1Loss("sum"), [2.0, 3.0, -1.0], [2.0, 1.0, 1.0]).tolist() == [0.0, 1.0, -1.0]


def test_an_unknown_reduction_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ArgumentError, match=r"reduction.*'mean'.*got 'meen'"):
        nn.MSELoss("meen")


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_smoothing_outside_zero_to_one_is_refused(bad: float) -> None:
    with pytest.raises(ArgumentError, match=r"label_smoothing.*in \[0, 1\]"):
        nn.CrossEntropyLoss(label_smoothing=bad)
