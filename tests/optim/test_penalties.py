from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.errors import ArgumentError

W = np.array([3.0, -2.0, 0.5, 0.0])
G = np.array([0.1, 0.2, -0.3, 0.4])


def named(values: Any) -> dict[str, Any]:
    return {"0.weight": cr.tensor(values), "0.bias": cr.tensor(values)}


@pytest.mark.parametrize(("lr", "alpha"), [(0.1, 0.5), (0.01, 0.003), (0.5, 1.0)])
def test_l2_with_gradient_descent_shrinks_by_one_less_two_eta_alpha(lr: float, alpha: float) -> None:
    sgd, penalty = optim.SGD(lr), optim.L2(alpha)
    parameters = named(W)
    moved, _ = sgd.update(penalty.gradient(named(G), parameters), sgd.init(parameters), parameters)
    assert np.allclose(moved["0.weight"].numpy(), (1 - 2 * lr * alpha) * W - lr * G, rtol=1e-14)
    assert np.allclose(moved["0.bias"].numpy(), W - lr * G, rtol=1e-14)


def test_l1_moves_weights_towards_zero_and_never_past_it() -> None:
    after = optim.L1(2.0).after(named(W), named(np.full(4, 0.3)))
    assert np.allclose(after["0.weight"].numpy(), [2.4, -1.4, 0.0, 0.0], atol=1e-15)
    assert after["0.weight"].numpy()[2:].tolist() == [0.0, 0.0]
    assert after["0.bias"].tolist() == W.tolist()


def test_l1_drives_useless_weights_to_exactly_zero_and_keeps_the_useful_ones() -> None:
    # min (w − t)²/2 + α|w| is soft-thresholding: sign(t)·max(|t| − α, 0).
    target, alpha = np.array([2.0, -1.0, 0.3, -0.2]), 0.5
    w: Any = {"w": cr.tensor(np.ones(4))}
    for _ in range(300):
        w = optim.L1(alpha).after({"w": w["w"] - 0.1 * (w["w"] - target)}, {"w": cr.tensor(0.1)})
    assert w["w"].numpy()[:2] == pytest.approx([1.5, -0.5])
    assert w["w"].tolist()[2:] == [0.0, 0.0]


EVERY: list[tuple[optim.Optimizer, int]] = [
    (optim.SGD(0.1), 300), (optim.SGD(0.02, 0.9), 500), (optim.SGD(0.02, 0.9, nesterov=True), 500),
    (optim.AdaGrad(0.3), 500), (optim.RMSProp(0.01), 2000),
    (optim.RMSProp(5e-3, momentum=0.9, centered=True, eps=0.1), 2000), (optim.Adadelta(1.0), 4000),
    (optim.Adam(0.02), 2000), (optim.AdamW(0.02, weight_decay=0.0), 2000), (optim.Adamax(0.02), 2000),
    (optim.Nadam(0.02), 2000),
]  # fmt: skip


@pytest.mark.parametrize(("optimizer", "steps"), EVERY, ids=lambda x: repr(x)[:40])
def test_with_every_optimizer_l1_and_l2_end_where_the_objective_has_its_minimum(
    optimizer: optim.Optimizer, steps: int
) -> None:
    # min c(w − t)²/2 + α|w| + βw² is w = sign(t)·max(c|t| − α, 0)/(c + 2β), whatever the optimizer makes of a gradient.
    t, c = np.array([2.0, -1.0, 0.3, -0.2, 0.0, 4.0]), np.array([1.0, 1.0, 1.0, 2.0, 1.0, 0.2])
    l1, l2, falling = optim.L1(0.5), optim.L2(0.1), optim.Linear(steps)

    def one(w: Any, state: Any, step: Any) -> Any:
        rate = optimizer.lr * falling(step)
        g = l2.gradient({"w": (w - t) * c}, {"w": w})["w"]
        w, state = optimizer.update(g, state, w, rate)
        return l1.after({"w": w}, {"w": optimizer.rates(state, w, rate)})["w"], state

    w: Any = np.ones(6)
    state = optimizer.tracked(optimizer.init(w))
    graph = cr.trace(one, w, state, 0.0).simplify()
    for step in range(steps):
        w, state = graph.run(w, state, float(step))
    expected = np.sign(t) * np.maximum(c * abs(t) - 0.5, 0) / (c + 0.2)
    assert np.abs(w - expected).max() < 0.01
    assert [x == 0 for x in w] == [x == 0 for x in expected]


@pytest.mark.parametrize("nesterov", [False, True])
def test_the_rates_of_momentum_are_how_far_a_steady_gradient_moves_a_weight(nesterov: bool) -> None:
    sgd, w, g = optim.SGD(0.1, 0.8, nesterov), np.zeros(2), np.array([1.0, -2.0])
    state = sgd.tracked(sgd.init(w))
    for lr in (0.1, 0.1, 0.3, 0.01, 0.002):
        moved, state = sgd.update(g, state, w, lr)
        assert np.allclose((w - moved).numpy(), sgd.rates(state, moved, lr).numpy() * g, rtol=1e-12)
        w = moved.numpy()
    for _ in range(200):
        w, state = sgd.update(g, state, w)
    assert sgd.rates(state, w).tolist() == pytest.approx([0.5, 0.5])
    assert sgd.rates({"velocity": w}, w).tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("kind", [optim.L1, optim.L2])
def test_the_value_of_a_penalty_has_its_gradient(kind: type[optim.Penalty]) -> None:
    parameters, penalty = named([3.0, -2.0, 0.5]), kind(0.3)
    value, gradients = cr.value_and_grad(penalty.value)(parameters)
    w = np.array([3.0, -2.0, 0.5])
    expected, slope = (0.3 * 5.5, 0.3 * np.sign(w)) if kind is optim.L1 else (0.3 * 13.25, 0.6 * w)
    assert value.item() == pytest.approx(expected)
    assert np.allclose(gradients["0.weight"].numpy(), slope)
    assert gradients["0.bias"].tolist() == [0.0, 0.0, 0.0]
    nothing = {name: cr.tensor(np.zeros(3)) for name in parameters}
    if kind is optim.L2:
        assert penalty.gradient(nothing, parameters)["0.weight"].tolist() == pytest.approx(slope.tolist())


@pytest.mark.parametrize("kind", [optim.L1, optim.L2])
def test_biases_are_penalised_only_when_asked_for(kind: type[optim.Penalty]) -> None:
    assert [kind(1.0).applies(path) for path in ("0.weight", "0.bias", "bias", "scale", "bias.weight")] == [
        True, False, False, True, True,
    ]  # fmt: skip
    assert kind(1.0, biases=True).applies("0.bias")


@pytest.mark.parametrize("kind", [optim.L1, optim.L2])
def test_a_strength_of_zero_changes_nothing(kind: type[optim.Penalty]) -> None:
    penalty = kind(0.0)
    assert penalty.gradient(named(G), named(W))["0.weight"].tolist() == G.tolist()
    assert penalty.after(named(W), named(np.full(4, 0.1)))["0.weight"].tolist() == W.tolist()


# ---- clipping


def test_clipping_the_norm_scales_all_gradients_together_to_exactly_the_norm() -> None:
    gradients = {"a": cr.tensor([3.0, 0.0]), "b": cr.tensor([[0.0], [4.0]])}
    clipped = optim.ClipNorm(1.0)(gradients)
    assert clipped["a"].tolist() == pytest.approx([0.6, 0.0])
    assert clipped["b"].numpy().ravel().tolist() == pytest.approx([0.0, 0.8])


def test_clipping_leaves_gradients_within_the_bound_as_they_are() -> None:
    gradients = {"a": cr.tensor([3.0, 0.0]), "b": cr.tensor([[0.0], [4.0]])}
    for clip in (optim.ClipNorm(5.0), optim.ClipNorm(7.0), optim.ClipValue(4.0)):
        assert {k: v.tolist() for k, v in clip(gradients).items()} == {"a": [3.0, 0.0], "b": [[0.0], [4.0]]}


def test_clipping_a_gradient_of_zero_gives_zero() -> None:
    assert optim.ClipNorm(1.0)({"a": cr.tensor([0.0, 0.0])})["a"].tolist() == [0.0, 0.0]


def test_clipping_values_holds_each_element() -> None:
    clipped = optim.ClipValue(1.5)({"a": cr.tensor([-2.0, -1.0, 0.0, 1.5, 9.0])})
    assert clipped["a"].tolist() == [-1.5, -1.0, 0.0, 1.5, 1.5]


@pytest.mark.parametrize("clip", [optim.ClipNorm(0.5), optim.ClipValue(0.5)])
def test_clipping_keeps_the_precision(clip: optim.Clip) -> None:
    assert clip({"a": cr.tensor([1.0, 2.0], "float32")})["a"].dtype == np.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.L1(-1.0), "L1 alpha.*at least 0"),
        (lambda: optim.L2(float("nan")), "L2 alpha.*at least 0"),
        (lambda: optim.ClipNorm(0.0), "ClipNorm c.*above 0"),
        (lambda: optim.ClipValue(-1.0), "ClipValue c.*above 0"),
        (lambda: optim.ClipNorm(float("inf")), "ClipNorm c.*above 0"),
    ],
)
def test_a_bad_argument_is_refused_with_its_name_and_range(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
