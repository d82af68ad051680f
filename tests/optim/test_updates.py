"""What follows from the update rules, and what they have in common: trees, precision, purity, ranges."""

import math
from typing import Any

import numpy as np
import pytest

from chainrule import optim
from chainrule.errors import ArgumentError


def test_adams_first_step_is_the_learning_rate_whatever_the_gradients_size() -> None:
    for size in (1e-3, 1.0, 1e3):
        w, _ = optim.Adam(0.1, eps=0.0).update([size, -size], optim.Adam(0.1).init([0.0, 0.0]), [0.0, 0.0])
        assert w.tolist() == pytest.approx([-0.1, 0.1], rel=1e-12)


def test_adams_mean_square_is_corrected_by_exactly_the_step_count() -> None:
    # E[g²] = μ gives E[sₜ] = μ(1 − β₂ᵗ), so a constant gradient has ŝ = g² after every step.
    adam, w = optim.Adam(0.1, betas=(0.0, 0.9), eps=0.0), np.array([0.0])
    state = adam.init(w)
    for step in range(1, 20):
        w, state = adam.update([2.0], state, w)
        assert state["square"].tolist() == pytest.approx([4 * (1 - 0.9**step)], rel=1e-12)
        assert w.tolist() == pytest.approx([-0.1 * step], rel=1e-12)


def test_adagrads_steps_shrink_like_one_over_the_root_of_their_number() -> None:
    adagrad, w = optim.AdaGrad(1.0, eps=0.0), np.array([0.0])
    state = adagrad.init(w)
    for step in range(1, 30):
        before = w
        w, state = adagrad.update([-7.0], state, w)
        assert (w - before).tolist() == pytest.approx([1 / math.sqrt(step)])


@pytest.mark.parametrize("kind", [optim.Adam, optim.Nadam, optim.Adamax, optim.RMSProp, optim.AdaGrad])
def test_the_scale_of_the_loss_changes_no_step_of_an_adaptive_optimizer(kind: type[optim.Optimizer]) -> None:
    optimizer = kind(0.01)
    paths = []
    for scale in (1.0, 1e4):
        w: Any = np.array([1.0, -2.0, 3.0])
        state = optimizer.init(w)
        for _ in range(20):
            w, state = optimizer.update(scale * np.array([1.0, 10.0, 0.1]) * w, state, w)
        paths.append(w.numpy())
    assert np.allclose(*paths, rtol=1e-6)


def test_a_steady_gradient_does_not_upset_the_centred_rmsprop_by_rounding() -> None:
    rmsprop = optim.RMSProp(1e-3, rho=0.5, centered=True)
    w: Any = np.zeros(64, np.float32)
    g = np.random.default_rng(0).normal(size=64).astype(np.float32)
    state = rmsprop.init(w)
    for _ in range(200):
        w, state = rmsprop.update(g, state, w)
    assert np.isfinite(w.numpy()).all()


# ---- trees, precision, purity

EVERY: list[optim.Optimizer] = [
    optim.SGD(0.1), optim.SGD(0.1, 0.9), optim.SGD(0.1, 0.9, nesterov=True), optim.AdaGrad(0.1),
    optim.RMSProp(0.1), optim.RMSProp(0.1, momentum=0.5, centered=True), optim.Adadelta(), optim.Adam(0.1),
    optim.AdamW(0.1), optim.Adamax(0.1), optim.Nadam(0.1), optim.LBFGS(0.1),
]  # fmt: skip


def test_every_optimizer_is_among_them():
    public = {getattr(optim, name) for name in optim.__all__}
    optimizers = {kind for kind in public if issubclass(kind, optim.Optimizer)}
    assert optimizers - {type(optimizer) for optimizer in EVERY} == {optim.Optimizer}


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_optimizer_computes_in_the_precision_of_the_parameters(optimizer: optim.Optimizer, dtype: str) -> None:
    g, w = np.array([0.5, -0.25], dtype), np.array([0.0, 1.0], dtype)
    moved, state = optimizer.update(g, optimizer.init(w), w, 0.1)
    assert moved.dtype == dtype
    assert {leaf.dtype for leaf in state.values() if leaf.dtype.kind == "f"} <= {np.dtype(dtype)}
    assert {name: leaf.dtype for name, leaf in optimizer.init(w).items()} == {n: x.dtype for n, x in state.items()}


@pytest.mark.parametrize("kind", [optim.Adam, optim.Adamax, optim.Nadam])
def test_the_correction_keeps_its_digits_in_single_precision(kind: Any) -> None:
    g, w = np.array([0.5], np.float32), np.array([0.0], np.float32)
    optimizer = kind(0.1)
    moved, _ = optimizer.update(g, optimizer.init(w), w)
    wide, _ = optimizer.update(g.astype(float), optimizer.init(w.astype(float)), w.astype(float))
    assert moved.item() == pytest.approx(wide.item(), rel=1e-6)


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
def test_a_tree_is_updated_leaf_by_leaf_and_keeps_its_structure(optimizer: optim.Optimizer) -> None:
    rng = np.random.default_rng(0)
    parameters = {"a": rng.normal(size=(2, 3)), "b": {"c": rng.normal(size=2)}}
    packed: Any = np.concatenate([parameters["a"].ravel(), parameters["b"]["c"]])
    tree: Any = parameters
    state, packed_state = optimizer.init(tree), optimizer.init(packed)
    for _ in range(3):
        tree, state = optimizer.update(tree, state, tree)
        packed, packed_state = optimizer.update(packed, packed_state, packed)
    assert tree["a"].shape == (2, 3)
    assert np.allclose(np.concatenate([tree["a"].numpy().ravel(), tree["b"]["c"].numpy()]), packed.numpy(), rtol=1e-14)


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
def test_an_update_changes_nothing_that_it_is_given(optimizer: optim.Optimizer) -> None:
    w, g = np.ones(3), np.ones(3)
    state = optimizer.init(w)
    before = {name: leaf.numpy().copy() for name, leaf in state.items()}
    optimizer.update(g, state, w)
    assert (w == 1).all()
    assert (g == 1).all()
    assert all((leaf.numpy() == before[name]).all() for name, leaf in state.items())


def test_trees_of_other_structure_are_refused() -> None:
    for optimizer in EVERY:
        with pytest.raises(ArgumentError, match="update: the trees differ"):
            optimizer.update({"a": [1.0]}, optimizer.init({"a": [1.0], "b": [1.0]}), {"a": [1.0], "b": [1.0]})


# ---- numbers outside their range


@pytest.mark.parametrize("lr", [0, -0.1, math.nan, math.inf, "fast", None, True])
@pytest.mark.parametrize("kind", sorted({type(optimizer) for optimizer in EVERY}, key=lambda kind: kind.__name__))
def test_a_learning_rate_that_is_not_above_zero_is_refused(kind: type[optim.Optimizer], lr: Any) -> None:
    with pytest.raises(ArgumentError, match=r"lr.*a number above 0, got"):
        kind(lr)


WRONG: list[tuple[type[optim.Optimizer], dict[str, Any], str]] = [
    *((kind, {"betas": (0.9, 1.0)}, r"betas\[1\].*in \[0, 1\), got 1\.0") for kind in (optim.Adam, optim.Nadam)),
    *((kind, {"betas": (-0.9, 0.9)}, r"betas\[0\].*in \[0, 1\)") for kind in (optim.AdamW, optim.Adamax)),
    *((optim.Adam, {"betas": betas}, r"betas: two numbers") for betas in ((0.9,), 0.9, "ab"[:1])),
    *((kind, {"eps": -1.0}, r"eps.*at least 0") for kind in (optim.Adam, optim.Nadam, optim.AdaGrad, optim.RMSProp)),
    *((kind, {"eps": 0.0}, r"eps.*above 0") for kind in (optim.Adamax, optim.Adadelta)),
    *((kind, {"rho": rho}, r"rho.*in \[0, 1\)") for kind in (optim.RMSProp, optim.Adadelta) for rho in (1.0, -0.1)),
    *((kind, {"momentum": 1.0}, r"momentum.*in \[0, 1\), got 1\.0") for kind in (optim.SGD, optim.RMSProp)),
    (optim.SGD, {"momentum": -0.1}, r"momentum.*in \[0, 1\)"),
    (optim.SGD, {"nesterov": True}, r"nesterov.*momentum above 0"),
    (optim.AdaGrad, {"initial_accumulator_value": -1.0}, r"initial_accumulator_value.*at least 0"),
    (optim.AdamW, {"weight_decay": -1.0}, r"weight_decay.*at least 0"),
    (optim.Nadam, {"momentum_decay": -1.0}, r"momentum_decay.*at least 0"),
]


@pytest.mark.parametrize(("kind", "arguments", "message"), WRONG)
def test_a_bad_argument_is_refused_with_its_name_and_range(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        kind(0.1, **arguments)
