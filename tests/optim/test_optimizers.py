import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.errors import ArgumentError

START = np.array([1.0, -2.0, 3.0])
CURVATURE = np.array([1.0, 10.0, 0.1])
Rate = Callable[[int], float]


def slope(w: Any) -> Any:
    """The gradient of Σ cᵢwᵢ²/2 + sin wᵢ."""
    return CURVATURE * w + np.cos(w)


def path(optimizer: optim.Optimizer, rate: Rate | None = None, steps: int = 100) -> list[np.ndarray]:
    w: Any = START
    state, found = optimizer.init(w), []
    for step in range(steps):
        gradient = slope(np.asarray(w))
        w, state = optimizer.update(gradient, state, w, None if rate is None else optimizer.lr * rate(step))
        found.append(w.numpy())
    return found


def cosine(step: int) -> float:
    return 0.1 + 0.9 * (1 + math.cos(math.pi * min(step / 100, 1))) / 2


def warm(step: int) -> float:
    return (step + 1) / 10 if step < 10 else 1.0


def falling(step: int) -> float:
    return 0.5 ** (step // 30)


# PyTorch 2.13 in float64: w after 1, 2, 10 and 100 steps from START down `slope`, the rates set by LambdaLR.
GOLDEN: dict[str, tuple[optim.Optimizer, Rate | None, list[list[float]]]] = {
    "SGD": (
        optim.SGD(0.05),
        None,
        [
            [0.922984884706593, -0.9791926581726428, 3.0344996248300222],
            [0.8466635063575044, -0.5174809721075324, 3.069040677714351],
            [0.2824553992631265, -0.10095296480019839, 3.339828313031733],
            [-0.738543435314416, -0.09950534268738784, 4.258657617758636],
        ],
    ),
    "momentum": (
        optim.SGD(0.02, momentum=0.9),
        None,
        [
            [0.9691939538826372, -1.5916770632690571, 3.013799849932009],
            [0.9107653484318701, -0.9054334231742815, 3.0400290272946537],
            [-0.1980127427148576, -0.09077552374182, 3.5626678884256204],
            [-0.7390228043349313, -0.09219602679193162, 4.264568386942018],
        ],
    ),
    "Nesterov": (
        optim.SGD(0.02, momentum=0.9, nesterov=True),
        None,
        [
            [0.9414685123770107, -1.2241864202112085, 3.026219714870817],
            [0.8583729552947301, -0.44116303049075856, 3.0636453314257324],
            [-0.3154234467537731, -0.20995456737656376, 3.633491302130729],
            [-0.7395244051375536, -0.09950521835768732, 4.268644423915379],
        ],
    ),
    "Adam": (
        optim.Adam(0.03),
        None,
        [
            [0.970000000194767, -1.9700000000146942, 3.0299999995652125],
            [0.9400025839808923, -1.9400136237204575, 3.060000886219706],
            [0.7004333890876836, -1.7017748055261703, 3.299718229948728],
            [-0.7625880355959437, -0.1709933200190184, 4.266563150755826],
        ],
    ),
    "Adam with other numbers": (
        optim.Adam(0.03, betas=(0.8, 0.95), eps=1e-3),
        None,
        [
            [0.9700194640596369, -1.970001469353198, 3.0299565841884717],
            [0.940043165491604, -1.9400246619116315, 3.059914648207966],
            [0.7008742469806578, -1.7027096358206881, 3.2991013989988516],
            [-0.7405640240651307, -0.10852069939671966, 4.271393802686207],
        ],
    ),
    "AdamW": (
        optim.AdamW(0.03, weight_decay=0.1),
        None,
        [
            [0.967000000194767, -1.9640000000146942, 3.0209999995652126],
            [0.9341018617281783, -1.9281246146349627, 3.0419377265152914],
            [0.674904624114131, -1.6469758576430675, 3.2070915744806645],
            [-0.7214153245938979, -0.11703093887923073, 4.090590065024183],
        ],
    ),
    "SGD, cosine": (
        optim.SGD(0.05),
        cosine,
        [
            [0.922984884706593, -0.9791926581726428, 3.0344996248300222],
            [0.8466804533543631, -0.5175834941880116, 3.069033007948325],
            [0.28650243484696597, -0.10104864411413715, 3.337765315411643],
            [-0.7112739636569464, -0.0995053426873885, 4.14886437910118],
        ],
    ),
    "Adam, warm-up": (
        optim.Adam(0.03),
        warm,
        [
            [0.9970000000194768, -1.9970000000014694, 3.002999999956521],
            [0.9910000486740228, -1.9910002528562467, 3.0090000267959054],
            [0.8351208466853927, -1.8355597337701306, 3.1649908348271825],
            [-0.7601696577765081, -0.21403624031256213, 4.27317676750493],
        ],
    ),
    "AdamW, falling": (
        optim.AdamW(0.03, weight_decay=0.1),
        falling,
        [
            [0.967000000194767, -1.9640000000146942, 3.0209999995652126],
            [0.9341018617281783, -1.9281246146349627, 3.0419377265152914],
            [0.674904624114131, -1.6469758576430675, 3.2070915744806645],
            [-0.43450826920780133, -0.5194453277703168, 3.9045341918935774],
        ],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_hundred_steps_are_those_of_pytorch(name: str) -> None:
    optimizer, rate, golden = GOLDEN[name]
    found = path(optimizer, rate)
    for step, w in zip((1, 2, 10, 100), golden, strict=True):
        assert np.allclose(found[step - 1], w, rtol=1e-10, atol=1e-10), step


# One test each for all optimizers, since importing the other library costs more than the comparison.
@pytest.mark.torch
def test_every_step_agrees_with_pytorch_live() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    for name, (optimizer, rate, _) in GOLDEN.items():
        w = torch.tensor(START, requires_grad=True)
        if isinstance(optimizer, optim.SGD):
            theirs = torch.optim.SGD([w], optimizer.lr, optimizer.momentum, nesterov=optimizer.nesterov)
        else:
            options = {"weight_decay": optimizer.weight_decay} if isinstance(optimizer, optim.AdamW) else {}
            kind = torch.optim.AdamW if options else torch.optim.Adam
            theirs = kind([w], optimizer.lr, optimizer.betas, optimizer.eps, **options)
        for step, ours in enumerate(path(optimizer, rate)):
            theirs.param_groups[0]["lr"] = optimizer.lr * (1.0 if rate is None else rate(step))
            w.grad = torch.tensor(slope(w.detach().numpy()))
            theirs.step()
            assert np.allclose(ours, w.detach().numpy(), rtol=1e-10, atol=1e-10), (name, step)


def test_every_step_agrees_with_optax_live() -> None:
    optax = pytest.importorskip("optax", reason="needs Optax, of the bench extra")
    import jax

    with jax.enable_x64(True):
        for name, (optimizer, rate, _) in GOLDEN.items():
            if rate is not None:
                continue
            if isinstance(optimizer, optim.SGD):
                theirs = optax.sgd(optimizer.lr, optimizer.momentum or None, nesterov=optimizer.nesterov)
            elif isinstance(optimizer, optim.AdamW):
                theirs = optax.adamw(optimizer.lr, weight_decay=optimizer.weight_decay)
            else:
                theirs = optax.adam(optimizer.lr, *optimizer.betas, eps=optimizer.eps)
            update = jax.jit(theirs.update)
            w = jax.numpy.asarray(START)
            state = theirs.init(w)
            for step, ours in enumerate(path(optimizer)):
                change, state = update(jax.numpy.asarray(slope(np.asarray(w))), state, w)
                w = w + change
                assert np.allclose(ours, np.asarray(w), rtol=1e-10, atol=1e-10), (name, step)


def test_the_learning_rate_is_inside_the_velocity() -> None:
    rates, w, v = [0.1, 0.01, 0.05, 0.02], START.copy(), np.zeros(3)
    for rate in rates:
        v = 0.9 * v - rate * slope(w)
        w = w + v
    found = path(optim.SGD(1.0, momentum=0.9), lambda step: rates[step], steps=4)
    assert np.allclose(found[-1], w, rtol=1e-14)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_nesterov_in_one_evaluation_is_the_textbooks_after_a_change_of_variable(beta: float) -> None:
    # Textbook: the gradient at w + βv. Ours moves u = w + βv itself.
    w, v = START.copy(), np.zeros(3)
    for ours in path(optim.SGD(0.02, momentum=beta, nesterov=True)):
        v = beta * v - 0.02 * slope(w + beta * v)
        w = w + v
        assert np.allclose(ours, w + beta * v, rtol=1e-10, atol=1e-12)


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adams_correction_keeps_its_digits_in_single_precision(dtype: str) -> None:
    g, w = np.array([0.5], dtype), np.array([0.0], dtype)
    adam = optim.Adam(0.1)
    moved, state = adam.update(g, adam.init(w), w)
    assert moved.dtype == dtype
    assert state["mean"].dtype == dtype
    assert moved.item() == pytest.approx(-0.1, rel=1e-6)


def test_trees_of_parameters_are_updated_each_and_keep_their_structure() -> None:
    parameters = {"a": np.ones((2, 3)), "b": {"c": np.zeros(2)}}
    gradients = {"a": np.full((2, 3), 2.0), "b": {"c": np.array([1.0, -1.0])}}
    for optimizer in (optim.SGD(0.1), optim.SGD(0.1, 0.9), optim.Adam(0.1), optim.AdamW(0.1)):
        moved, state = optimizer.update(gradients, optimizer.init(parameters), parameters)
        assert moved["a"].shape == (2, 3)
        assert moved["b"]["c"].tolist()[0] == pytest.approx(-0.1)
        again, _ = optimizer.update(gradients, state, moved)
        assert again["b"]["c"].tolist()[0] < moved["b"]["c"].tolist()[0]


def test_an_update_changes_nothing_that_it_is_given() -> None:
    w, g = np.ones(3), np.ones(3)
    adam = optim.Adam(0.1)
    state = adam.init(w)
    adam.update(g, state, w)
    assert (w == 1).all()
    assert (g == 1).all()
    assert state["step"].item() == 0
    assert not state["mean"].numpy().any()


@pytest.mark.parametrize(
    "optimizer",
    [
        optim.SGD(0.1),
        optim.SGD(0.02, 0.8),
        optim.SGD(0.02, 0.8, nesterov=True),
        optim.Adam(0.1),
        optim.AdamW(0.1, weight_decay=0.0),
    ],
    ids=repr,
)
def test_a_quadratic_is_brought_to_its_minimum(optimizer: optim.Optimizer) -> None:
    w: Any = np.array([3.0, -4.0])
    state = optimizer.init(w)
    for _ in range(500):
        w, state = optimizer.update(np.array([1.0, 8.0]) * np.asarray(w), state, w)
    assert np.abs(w.numpy()).max() < 1e-3


@pytest.mark.parametrize(
    "optimizer",
    [optim.SGD(5e-4, 0.95), optim.SGD(5e-4, 0.95, nesterov=True), optim.Adam(0.02)],
    ids=repr,
)
def test_rosenbrocks_valley_is_followed_to_its_minimum(optimizer: optim.Optimizer) -> None:
    def one(w: Any, state: Any) -> Any:
        x, y = w[0], w[1]
        gradient = cr.stack([-2.0 * (1.0 - x) - 400.0 * x * (y - x * x), 200.0 * (y - x * x)])
        return optimizer.update(gradient, state, w)

    step = cr.compile(one, backend="numpy")
    w: Any = np.array([-1.2, 1.0])
    state = optimizer.init(w)
    for _ in range(4000):
        w, state = step(w, state)
    assert w.tolist() == pytest.approx([1.0, 1.0], abs=0.02)


@pytest.mark.parametrize("lr", [0, -0.1, math.nan, math.inf, "fast", None])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_a_learning_rate_that_is_not_above_zero_is_refused(kind: type[optim.Optimizer], lr: Any) -> None:
    with pytest.raises(ArgumentError, match=r"lr.*a number above 0, got"):
        kind(lr)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.SGD(0.1, momentum=1.0), r"momentum.*in \[0, 1\), got 1\.0"),
        (lambda: optim.SGD(0.1, momentum=-0.1), r"momentum.*in \[0, 1\)"),
        (lambda: optim.SGD(0.1, nesterov=True), r"nesterov.*momentum above 0"),
        (lambda: optim.Adam(0.1, betas=(0.9, 1.0)), r"betas\[1\].*in \[0, 1\)"),
        (lambda: optim.Adam(0.1, betas=(-0.9, 0.9)), r"betas\[0\].*in \[0, 1\)"),
        (lambda: optim.Adam(0.1, betas=(0.9,)), r"betas: two numbers"),
        (lambda: optim.Adam(0.1, eps=-1.0), r"eps.*at least 0"),
        (lambda: optim.AdamW(0.1, weight_decay=-1.0), r"weight_decay.*at least 0"),
    ],
)
def test_a_bad_argument_is_refused_with_its_name_and_range(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
