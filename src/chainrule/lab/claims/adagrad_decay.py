"""AdaGrad's learning rate only shrinks, as 1/√t while gradients keep their size; RMSProp's follows the gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
RATE, WEIGHTS, STEPS = 0.1, 200, 2000
CALM, QUIETER = 1000, 0.1
"""From this step on the gradients are smaller by this factor."""
FAR, LONG, PACE = 50.0, 3000, 0.5


def optimizers(rate: float) -> dict[str, cr.optim.Optimizer]:
    """The two that are compared."""
    return {"AdaGrad": cr.optim.AdaGrad(rate), "RMSProp": cr.optim.RMSProp(rate, rho=0.9)}


def effective_rates(optimizer: cr.optim.Optimizer) -> Array:
    """What each weight's gradient was multiplied by, (steps, weights): the move divided by the gradient."""
    update = cr.compile(optimizer.update, backend="numpy")
    noise = np.random.default_rng(0).standard_normal((STEPS, WEIGHTS))
    noise[CALM:] *= QUIETER
    # From 0 each time, so that the move is the whole result and keeps all its digits.
    here = np.zeros(WEIGHTS)
    state, rates = optimizer.init(here), []
    for gradient in noise:
        moved, state = update(gradient, state, here)
        rates.append(-moved.numpy() / gradient)
    return np.array(rates)


def walk(optimizer: cr.optim.Optimizer) -> Array:
    """The distance to the minimum of √(1 + x²), step by step: far away its slope is 1 everywhere."""

    def step(x: cr.Tensor, state: Any) -> Any:
        gradient = cr.grad(lambda x: cr.sqrt(1.0 + x**2))(x)
        return optimizer.update(gradient, state, x)

    step_once = cr.compile(step, backend="numpy")
    x: Any = np.array(FAR)
    state, distances = optimizer.init(x), [FAR]
    for _ in range(LONG):
        x, state = step_once(x, state)
        distances.append(abs(x.item()))
    return np.array(distances)


def exponent(rates: Array) -> float:
    """The power of t that the mean rate falls with, while the gradients keep their size."""
    t = np.arange(20, CALM)
    return float(np.polyfit(np.log(t + 1), np.log(rates.mean(1)[t]), 1)[0])


def arrived(distances: Array) -> int:
    """The first step within 1 of the minimum; one more than were made if none is."""
    within = np.flatnonzero(distances < 1.0)
    return int(within[0]) if len(within) else LONG + 1


def measure() -> Measured:
    """Rates under noise whose size changes once, and a long way down an even slope."""
    rates = {name: effective_rates(optimizer) for name, optimizer in optimizers(RATE).items()}
    walks = {name: walk(optimizer) for name, optimizer in optimizers(PACE).items()}
    grown = {name: float(np.max(r[1:] / r[:-1])) for name, r in rates.items()}
    after = {name: float(r[-1].mean() / r[CALM - 1].mean()) for name, r in rates.items()}
    powers = {name: exponent(r) for name, r in rates.items()}
    steps = {name: arrived(distances) for name, distances in walks.items()}
    ways = {name: float((FAR - distances[80]) / (FAR - distances[20])) for name, distances in walks.items()}
    figures: dict[str, Any] = {}
    for name in rates:
        figures[f"{name}: largest factor of any weight's rate from one step to the next"] = grown[name]
        figures[f"{name}: power of t that the rate falls with"] = powers[name]
        figures[f"{name}: rate's factor after the gradients became {QUIETER} of what they were"] = after[name]
        figures[f"{name}: way made in 80 steps / in 20 steps"] = ways[name]
        figures[f"{name}: steps to come within 1 of the minimum"] = steps[name]
    checks = {
        "no weight's rate ever grows with AdaGrad": grown["AdaGrad"] <= 1 + 1e-12,
        "with RMSProp rates do grow, by more than 1 % in a step": grown["RMSProp"] > 1.01,
        "AdaGrad's rate falls as 1/√t, the power within 0.05 of −1/2": abs(powers["AdaGrad"] + 0.5) < 0.05,
        "RMSProp's keeps its level, the power within 0.1 of 0": abs(powers["RMSProp"]) < 0.1,
        "when gradients become ten times smaller RMSProp's rate grows more than fivefold": after["RMSProp"] > 5,
        "AdaGrad's goes on shrinking": after["AdaGrad"] < 1,
        "four times the steps take AdaGrad about twice as far, and RMSProp more than 2.8 times": 1.7
        < ways["AdaGrad"]
        < 2.5
        and ways["RMSProp"] > 2.8,
        "down an even slope AdaGrad stalls: it takes more than 5 times as many steps": steps["AdaGrad"]
        > 5 * steps["RMSProp"],
    }
    return Measured(figures, checks, {"rates": rates, "walks": walks})


def draw(figure: Figure, data: Any) -> None:
    """Mean rates with the range over the weights, and the way that is left."""
    left, right = style.axes_row(figure, 2)
    t = np.arange(1, STEPS + 1)
    style.name(left, "step t", "effective learning rate (weight / gradient)", "Under random gradients", log="xy")
    for n, (name, rates) in enumerate(data["rates"].items()):
        low, high = np.percentile(rates, (5, 95), axis=1)
        left.fill_between(t, low, high, color=style.COLOURS[n], alpha=0.2, linewidth=0)
        some = np.unique(np.geomspace(1, STEPS, 60).astype(int)) - 1
        style.line(left, t[some], rates.mean(1)[some], f"{name}, mean of {WEIGHTS} weights", n=n)
    left.plot(t, 1.3 * RATE / np.sqrt(t), color="#444444", linewidth=1.0, linestyle=(0, (2, 2)), label="slope −1/2")
    left.axvline(CALM, color="#666666", linewidth=1.0)
    left.annotate("gradients\nten times\nsmaller from here", (CALM * 0.9, 6), fontsize=9, ha="right", va="top")
    left.set_ylim(2e-4, 10)
    style.legend(left, loc="lower left", fontsize=9)
    style.name(right, "step", "distance to the minimum (units of x)", "Down an even slope, to within 1")
    for name, distances in data["walks"].items():
        way = distances[: arrived(distances) + 1]
        style.line(right, range(len(way)), way, f"{name}: {arrived(distances):,} steps")
    style.legend(right)


LAB = Lab(
    row="D5",
    claim="AdaGrad's effective learning rate only shrinks, as 1/√t while gradients keep their size, so that progress "
    "stalls; RMSProp, which forgets, keeps its rate.",
    look="On the left AdaGrad's rate follows the dotted line of slope −1/2, and stays down when the gradients "
    "become ten times smaller, while RMSProp's rises to meet them. AdaGrad divides by the root of a sum that only "
    "grows, RMSProp by the root of a mean over about the last 10 steps. On the right the same is seen as a way: "
    "twice as far takes AdaGrad four times as long.",
    measure=measure,
    draw=draw,
)
