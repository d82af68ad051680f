"""A learning rate that is too high kills ReLU units for good; a lower one keeps them alive, a leak wakes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.networks import multilayer, sample, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
WIDTHS, SEEDS, BATCH = (64, 64, 64, 10), (0, 1, 2), 100
RATES, LOW, HIGH = (0.3, 1.0, 2.0, 3.0), 0.3, 3.0
FIRST, AFTER = 4, 8
"""Epochs of the first training, and of the one that goes on from its weights."""
UPPER = 3
"""The place of the upper hidden layer's activation; its Linear is the one before."""


def leaky() -> nn.Module:
    """ReLU with a tenth of the slope below 0."""
    return nn.LeakyReLU(0.1)


KINDS: dict[str, Callable[[], nn.Module]] = {"ReLU": nn.ReLU, "LeakyReLU": leaky}


class Outcome(NamedTuple):
    """A trained network: the share of the upper hidden layer's units that are dead, and of test rows it gets right."""

    model: nn.Sequential
    dead: float
    accuracy: float


def dead(model: nn.Sequential) -> Array:
    """Which units of the upper hidden layer no row of the training data brings above 0."""
    h: Any = sample().X
    for layer in model.layers[: UPPER + 1]:
        h = layer(h)
    return ~(h.numpy() > 0).any(0)


def run(kind: str, seed: int, rate: float, epochs: int, weights: dict[str, Array] | None = None) -> Outcome:
    """Train a network of one kind, from fresh weights or from given ones."""
    model = multilayer(WIDTHS, KINDS[kind], seed=seed)
    if weights is not None:
        model.load_state_dict(weights)
    accuracy = trained(model, cr.optim.SGD(rate), sample(), epochs, BATCH).accuracy
    return Outcome(model, float(dead(model).mean()), accuracy)


def gradient_of_dead(kind: str, killed: nn.Sequential) -> float:
    """The largest gradient in the weights of the killed network's dead units, with one kind of activation."""
    rows = sample()
    model = multilayer(WIDTHS, KINDS[kind])
    model.load_state_dict(killed.state_dict())
    gradients = cr.grad(lambda model: nn.CrossEntropyLoss()(model(rows.X), rows.y))(model)
    return float(np.abs(gradients[f"{UPPER - 1}.weight"].numpy()[dead(killed)]).max())


def measure() -> Measured:
    """Dead units by learning rate; then networks with dead units, trained on at a rate that is known to be good."""
    sweep = {kind: [[run(kind, seed, rate, FIRST) for seed in SEEDS] for rate in RATES] for kind in KINDS}
    killed, alive = sweep["ReLU"][RATES.index(HIGH)], sweep["ReLU"][RATES.index(LOW)]
    after = {
        kind: [run(kind, s, LOW, AFTER, k.model.state_dict()) for s, k in zip(SEEDS, killed, strict=True)]
        for kind in KINDS
    }
    stages = {f"ReLU, rate {HIGH:g}": killed, f"ReLU, rate {LOW:g}": alive}
    stages |= {f"killed, then rate {LOW:g}, {kind}": outcomes for kind, outcomes in after.items()}
    shares = {name: float(np.mean([o.dead for o in outcomes])) for name, outcomes in stages.items()}
    accuracies = {name: float(np.mean([o.accuracy for o in outcomes])) for name, outcomes in stages.items()}
    gradients = {kind: [gradient_of_dead(kind, k.model) for k in killed] for kind in KINDS}
    figures: dict[str, Any] = {"networks a point": len(SEEDS), "learning rates": list(RATES)}
    for kind, outcomes in sweep.items():
        figures[f"{kind}: dead share of the upper layer by learning rate"] = _means(outcomes, "dead")
        figures[f"{kind}: test accuracy by learning rate"] = _means(outcomes, "accuracy")
        figures[f"{kind}: largest gradient in weights of the killed networks' dead units"] = max(gradients[kind])
    for name in stages:
        figures[f"{name}: dead share of the upper layer"] = shares[name]
        figures[f"{name}: test accuracy"] = accuracies[name]
    ill, well, stuck, woken = stages
    figures["gain of the lower rate from the beginning (test accuracy)"] = accuracies[well] - accuracies[ill]
    figures["gain of the leak, after the damage (test accuracy)"] = accuracies[woken] - accuracies[stuck]
    checks = {
        f"at rate {HIGH:g} more than half of the upper layer's ReLUs die": shares[ill] > 0.5,
        "no gradient reaches a dead unit's weights: it is exactly 0": max(gradients["ReLU"]) == 0.0,
        f"a lower rate, {LOW:g}, keeps all but 2 % alive and gains over 0.4 of test accuracy": shares[well] < 0.02
        and accuracies[well] - accuracies[ill] > 0.4,
        "once dead they stay so: the lower rate afterwards leaves more than half of them dead": shares[stuck]
        > 0.5 * shares[ill],
        "with a leak the gradient reaches them": min(gradients["LeakyReLU"]) > 0.0,
        "it wakes all but 20 %, and gains over 0.15 of test accuracy over going on without": shares[woken] < 0.2
        and accuracies[woken] - accuracies[stuck] > 0.15,
    }
    return Measured(figures, checks, {"sweep": sweep, "shares": shares, "accuracies": accuracies})


def _means(outcomes: list[list[Outcome]], quantity: str) -> list[float]:
    return [round(float(np.mean([getattr(o, quantity) for o in networks])), 4) for networks in outcomes]


def draw(figure: Figure, data: Any) -> None:
    """Dead share by learning rate, and what becomes of networks whose units have died."""
    left, right = style.axes_row(figure, 2)
    style.name(left, "learning rate", "dead share of the upper hidden layer", f"After {FIRST} epochs")
    for kind, outcomes in data["sweep"].items():
        style.line(left, RATES, _means(outcomes, "dead"), f"{kind}, mean of {len(SEEDS)} networks", markevery=1)
    style.legend(left, loc="upper left")
    style.name(right, "networks", "share of units, or of rows", "Prevented, or healed")
    names = [_broken(name) for name in data["shares"]]
    style.bars(right, names, list(data["shares"].values()), "dead units", n=0, of=2)
    style.bars(right, names, list(data["accuracies"].values()), "test rows right", n=1, of=2)
    right.tick_params(axis="x", labelsize=9)
    right.set_ylim(0, 1.25)
    style.legend(right, loc="upper left", ncols=2)


def _broken(name: str) -> str:
    return name.replace(", ", "\n")


LAB = Lab(
    row="H3",
    claim="A learning rate that is too high throws ReLU units so far below 0 that no row wakes them, and no gradient "
    "reaches them any more. A lower rate prevents it; once it has happened only a leak helps.",
    look="On the left the share of dead units rises with the learning rate; a leak keeps them alive, though at rate 3 "
    "that alone teaches the network nothing. On the right the killed networks go on from the same weights at a good "
    "rate: as ReLUs their units stay dead, since the slope below 0 is 0 and so is every product with it, while a slope "
    "of 0.1 lets the gradient through and wakes them.",
    measure=measure,
    draw=draw,
)
