"""Every update rule against PyTorch's numbers, Optax's, and the papers' equations written out in NumPy."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim

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
