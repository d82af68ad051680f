"""Every update rule against PyTorch's numbers, Optax's, and the papers' equations written out in NumPy."""

import json
import math
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.errors import ArgumentError

GOLDEN = Path(__file__).parent / "golden"
THEIRS = json.loads((GOLDEN / "optimizers.json").read_text())
MAKE = runpy.run_path(str(GOLDEN / "make.py"))
START, CHECKED, RATES = np.array(MAKE["START"]), MAKE["CHECKED"], MAKE["RATES"]
slope: Callable[[Any], Any] = MAKE["slope"]
Rate = Callable[[int], float]

# What each case of the golden numbers is called here; PyTorch's weight_decay=0.2 is L2(0.1).
CASES: dict[str, optim.Optimizer] = {
    "SGD": optim.SGD(0.05),
    "SGD, cosine": optim.SGD(0.05),
    "SGD, L2": optim.SGD(0.05),
    "momentum": optim.SGD(0.02, momentum=0.9),
    "momentum, L2": optim.SGD(0.02, momentum=0.9),
    "Nesterov": optim.SGD(0.02, momentum=0.9, nesterov=True),
    "Nesterov, L2": optim.SGD(0.02, momentum=0.9, nesterov=True),
    "AdaGrad": optim.AdaGrad(0.3),
    "AdaGrad with other numbers, L2": optim.AdaGrad(0.2, eps=0.01, initial_accumulator_value=0.5),
    "RMSProp": optim.RMSProp(0.03),
    "RMSProp, warm, L2": optim.RMSProp(0.02, rho=0.8, eps=0.1),
    "RMSProp, momentum, falling": optim.RMSProp(0.01, momentum=0.7),
    "RMSProp, centred": optim.RMSProp(0.01, rho=0.95, centered=True, eps=1e-2),
    "RMSProp, centred, momentum": optim.RMSProp(0.005, rho=0.95, centered=True, momentum=0.5, eps=1e-2),
    "Adadelta": optim.Adadelta(),
    "Adadelta with other numbers, L2": optim.Adadelta(0.5, rho=0.8, eps=1e-3),
    "Adam": optim.Adam(0.03),
    "Adam, warm": optim.Adam(0.03),
    "Adam with other numbers, L2": optim.Adam(0.03, betas=(0.8, 0.95), eps=1e-3),
    "AdamW": optim.AdamW(0.03, weight_decay=0.1),
    "AdamW, falling": optim.AdamW(0.03, weight_decay=0.1),
    "Adamax": optim.Adamax(0.05),
    "Adamax with other numbers, L2": optim.Adamax(0.05, betas=(0.8, 0.95), eps=1e-2),
    "Nadam": optim.Nadam(0.03),
    "Nadam with other numbers, cosine, L2": optim.Nadam(0.03, betas=(0.8, 0.95), eps=1e-3, momentum_decay=0.1),
    "LBFGS": optim.LBFGS(0.05, line_search=None),
    "LBFGS, short history, falling": optim.LBFGS(0.05, history_size=2, line_search=None),
}
PLAIN = {name: optimizer for name, optimizer in CASES.items() if MAKE["OPTIMIZERS"][name][2] is None}


def path(
    optimizer: optim.Optimizer, rate: Rate | None = None, steps: int = 100, penalty: optim.Penalty | None = None
) -> list[np.ndarray]:
    """The weights after each step down `slope`, by one traced update."""

    def one(w: Any, g: Any, state: Any, lr: Any) -> Any:
        g = g if penalty is None else penalty.gradient({"w": g}, {"w": w})["w"]
        return optimizer.update(g, state, w, lr)

    update, w, found = cr.compile(one, backend="numpy"), START, []
    state = optimizer.init(w)
    for step in range(steps):
        w, state = update(w, slope(w), state, optimizer.lr * (1.0 if rate is None else rate(step)))
        w = w.numpy()
        found.append(w)
    return found


def case(name: str) -> list[np.ndarray]:
    """The path of a case of the golden numbers."""
    rate = MAKE["OPTIMIZERS"][name][2]
    return path(CASES[name], RATES[rate] if rate else None, penalty=optim.L2(0.1) if "L2" in name else None)


@pytest.mark.parametrize("name", CASES)
def test_a_hundred_steps_are_those_of_pytorch(name: str) -> None:
    found = case(name)
    for step, w in zip(CHECKED, THEIRS[name], strict=True):
        assert np.allclose(found[step - 1], w, rtol=1e-10, atol=1e-10), step


def test_every_case_of_the_golden_numbers_is_tried() -> None:
    assert set(CASES) == set(THEIRS) == set(MAKE["OPTIMIZERS"])


# One test for all optimizers, since importing the other library costs more than the comparison.
@pytest.mark.torch
def test_every_step_agrees_with_pytorch_live() -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    for name in CASES:
        for step, (ours, theirs) in enumerate(zip(case(name), MAKE["trajectory"](name), strict=True)):
            assert np.allclose(ours, theirs, rtol=1e-10, atol=1e-10), (name, step)


def test_every_step_agrees_with_optax_live() -> None:
    optax = pytest.importorskip("optax", reason="needs Optax, of the bench extra")
    import jax

    rules: dict[type, Callable[[Any], Any]] = {
        optim.SGD: lambda o: optax.sgd(o.lr, o.momentum or None, nesterov=o.nesterov),
        optim.Adam: lambda o: optax.adam(o.lr, *o.betas, eps=o.eps),
        optim.AdamW: lambda o: optax.adamw(o.lr, weight_decay=o.weight_decay),
        optim.Adadelta: lambda o: optax.adadelta(o.lr, o.rho, o.eps),
    }
    with jax.enable_x64(True):
        for name, optimizer in PLAIN.items():
            if type(optimizer) not in rules or "L2" in name:
                continue
            theirs = rules[type(optimizer)](optimizer)
            update = jax.jit(theirs.update)
            w = jax.numpy.asarray(START)
            state = theirs.init(w)
            for step, ours in enumerate(path(optimizer)):
                change, state = update(jax.numpy.asarray(slope(w)), state, w)
                w = w + change
                assert np.allclose(ours, np.asarray(w), rtol=1e-10, atol=1e-10), (name, step)


# ---- the equations as the papers have them, for a rate that differs from step to step


def momentum(w: Any, g: Any, s: dict[str, Any], lr: float, t: int) -> Any:
    s["v"] = 0.9 * s.get("v", 0.0) - lr * g
    return w + s["v"]


def adagrad(w: Any, g: Any, s: dict[str, Any], lr: float, t: int) -> Any:
    s["r"] = s.get("r", 0.0) + g**2
    return w - lr * g / (np.sqrt(s["r"]) + 1e-10)


def rmsprop(w: Any, g: Any, s: dict[str, Any], lr: float, t: int) -> Any:
    s["r"] = 0.9 * s.get("r", 0.0) + 0.1 * g**2
    return w - lr * g / (np.sqrt(s["r"]) + 1e-8)


def rmsprop_with_momentum(w: Any, g: Any, s: dict[str, Any], lr: float, t: int) -> Any:
    s["r"] = 0.9 * s.get("r", 0.0) + 0.1 * g**2
    s["v"] = 0.7 * s.get("v", 0.0) + g / (np.sqrt(s["r"]) + 1e-8)
    return w - lr * s["v"]


def adadelta(w: Any, g: Any, s: dict[str, Any], lr: float, t: int) -> Any:
    s["r"] = 0.9 * s.get("r", 0.0) + 0.1 * g**2
    step = -np.sqrt(s.get("u", 0.0) + 1e-6) / np.sqrt(s["r"] + 1e-6) * g
    s["u"] = 0.9 * s.get("u", 0.0) + 0.1 * step**2
    return w + lr * step


def adam(w: Any, g: Any, s: dict[str, Any], lr: float, t: int) -> Any:
    s["m"] = 0.9 * s.get("m", 0.0) + 0.1 * g
    s["s"] = 0.999 * s.get("s", 0.0) + 0.001 * g**2
    return w - lr * (s["m"] / (1 - 0.9**t)) / (np.sqrt(s["s"] / (1 - 0.999**t)) + 1e-8)


def adamax(w: Any, g: Any, s: dict[str, Any], lr: float, t: int) -> Any:
    s["m"] = 0.9 * s.get("m", 0.0) + 0.1 * g
    s["u"] = np.maximum(0.999 * s.get("u", 0.0), abs(g))
    return w - lr / (1 - 0.9**t) * s["m"] / s["u"]


def nadam(w: Any, g: Any, s: dict[str, Any], lr: float, t: int) -> Any:
    mu, ahead = (0.9 * (1 - 0.5 * 0.96 ** (i / 250)) for i in (t, t + 1))
    s["Π"] = s.get("Π", 1.0) * mu
    s["m"] = 0.9 * s.get("m", 0.0) + 0.1 * g
    s["s"] = 0.999 * s.get("s", 0.0) + 0.001 * g**2
    mean = (1 - mu) * g / (1 - s["Π"]) + ahead * s["m"] / (1 - s["Π"] * ahead)
    return w - lr * mean / (np.sqrt(s["s"] / (1 - 0.999**t)) + 1e-8)


PAPERS: list[tuple[optim.Optimizer, Callable[..., Any]]] = [
    (optim.SGD(0.02, momentum=0.9), momentum),
    (optim.AdaGrad(0.3), adagrad),
    (optim.RMSProp(0.03), rmsprop),
    (optim.RMSProp(0.01, momentum=0.7), rmsprop_with_momentum),
    (optim.Adadelta(), adadelta),
    (optim.Adam(0.03), adam),
    (optim.Adamax(0.05, eps=1e-14), adamax),
    (optim.Nadam(0.03), nadam),
]


@pytest.mark.parametrize(("optimizer", "rule"), PAPERS, ids=lambda x: getattr(x, "__name__", ""))
def test_a_hundred_steps_follow_the_equations_of_the_paper(optimizer: optim.Optimizer, rule: Any) -> None:
    rate, w, state = RATES["cosine"], START, {}
    for step, ours in enumerate(path(optimizer, rate)):
        w = rule(w, slope(w), state, optimizer.lr * rate(step), step + 1)
        assert np.allclose(ours, w, rtol=1e-11, atol=1e-11), step


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_nesterov_in_one_evaluation_is_the_textbooks_after_a_change_of_variable(beta: float) -> None:
    # Textbook: the gradient at w + βv. Ours moves u = w + βv itself.
    w, v = START.copy(), np.zeros(3)
    for ours in path(optim.SGD(0.02, momentum=beta, nesterov=True)):
        v = beta * v - 0.02 * slope(w + beta * v)
        w = w + v
        assert np.allclose(ours, w + beta * v, rtol=1e-10, atol=1e-12)


# ---- what follows from the equations


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
        w: Any = START
        state = optimizer.init(w)
        for _ in range(20):
            w, state = optimizer.update(scale * slope(w), state, w)
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
    optim.AdamW(0.1), optim.Adamax(0.1), optim.Nadam(0.1),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_optimizer_computes_in_the_precision_of_the_parameters(optimizer: optim.Optimizer, dtype: str) -> None:
    g, w = np.array([0.5, -0.25], dtype), np.array([0.0, 1.0], dtype)
    moved, state = optimizer.update(g, optimizer.init(w), w, 0.1)
    assert moved.dtype == dtype
    assert {leaf.dtype for name, leaf in state.items() if name != "step"} <= {np.dtype(dtype)}
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
