"""A constant learning rate stops at a floor of noise as high as the rate; one that decreases goes on below it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.samples import digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chainrule.optim import Schedule

Array = np.ndarray[Any, Any]
RUNS, STEPS, PER_EPOCH, RATE, START = 4000, 240, 40, 0.5, 10.0
SMALLER = (0.25, 0.125)
"""Constant rates as shares of `RATE`."""
EPOCHS, BATCH, DIGITS_RATE, WRONG = 4, 4, 0.5, 0.2


def decreasing() -> dict[str, Schedule]:
    """The schedules that decrease the rate."""
    optim = cr.optim
    return {
        "Step": optim.Step(every=2, gamma=0.2),
        "Exponential": optim.Exponential(0.5),
        "Linear": optim.Linear(),
        "Cosine": optim.Cosine(),
        "OneCycle": optim.OneCycle(),
        "Warmup, then Cosine": optim.Warmup(optim.Cosine()),
    }


def factors(schedule: Schedule) -> Array:
    """The schedule's factor at each step."""
    return np.asarray(schedule.bind(STEPS, PER_EPOCH)(np.arange(STEPS)).numpy())


def descended(rates: Array) -> Array:
    """Loss ½w² by step, averaged over many runs of SGD whose gradient is w plus noise of variance 1."""
    sgd = cr.optim.SGD(RATE)
    draw = np.random.default_rng(0)
    w: Any = np.full(RUNS, START)
    losses = [np.mean(w**2) / 2]
    for rate in rates:
        w = sgd.update(w + draw.standard_normal(RUNS), {}, w, lr=rate).parameters.numpy()
        losses.append(np.mean(w**2) / 2)
    return np.array(losses)


def foretold(rates: Array) -> Array:
    """The same in expectation: E[w²] ← (1 − η)²·E[w²] + η²."""
    square, losses = START**2, [START**2 / 2]
    for rate in rates:
        square = (1 - rate) ** 2 * square + rate**2
        losses.append(square / 2)
    return np.array(losses)


def floor(rate: float) -> float:
    """Where the loss of a constant rate stays: ½·η/(2 − η), about η/4."""
    return 0.5 * rate / (2.0 - rate)


def trained(schedule: Schedule | None) -> float:
    """Loss of a linear classifier on digits, some of which are labelled at random, so that gradients stay noisy."""
    X, y = digits()
    draw = np.random.default_rng(0)
    y = np.where(draw.random(len(y)) < WRONG, draw.integers(0, 10, len(y)), y)
    cr.seed(0)
    sgd = cr.optim.SGD(DIGITS_RATE)
    trainer = cr.Trainer(cr.nn.Linear(64, 10), cr.nn.CrossEntropyLoss(), sgd, schedule, backend="numpy", metrics=())
    trainer.fit(X, y, epochs=EPOCHS, batch_size=BATCH, progress=False)
    return trainer.evaluate(X, y)["loss"]


def measure() -> Measured:
    """Follow constant and decreasing rates on a noisy parabola, and train a classifier of digits with them."""
    rates = {f"constant {RATE:g}": np.full(STEPS, RATE)}
    rates |= {f"constant {RATE * share:g}": np.full(STEPS, RATE * share) for share in SMALLER}
    constants = list(rates)
    rates |= {name: RATE * factors(schedule) for name, schedule in decreasing().items()}
    losses = {name: descended(rate) for name, rate in rates.items()}
    late = {name: float(np.mean(losses[name][-STEPS // 4 :])) for name in constants}
    final = {name: float(losses[name][-1]) for name in rates if name not in constants}
    errors = [late[name] / floor(float(rates[name][0])) - 1 for name in constants]
    classifiers = {"constant": trained(None), **{name: trained(schedule) for name, schedule in decreasing().items()}}
    gap = max(float(np.max(np.abs(losses[n] / np.maximum(foretold(rates[n]), 1e-6) - 1))) for n in rates)
    figures = {
        **{f"parabola, {name}: loss it stays at": loss for name, loss in late.items()},
        **{f"parabola, {name}: loss at the end": loss for name, loss in final.items()},
        "parabola: largest departure from E[w²] ← (1 − η)²E[w²] + η² (share)": gap,
        **{f"digits, {name}: loss on all rows (nats)": loss for name, loss in classifiers.items()},
    }
    checks = {
        "a constant rate stays at the floor ½η/(2 − η), within 10 %": max(map(abs, errors)) < 0.1,
        "so the floor is about proportional to the rate: a quarter of it, a fifth to a quarter of the floor":
            0.18 < late[constants[1]] / late[constants[0]] < 0.25,
        "every decreasing schedule ends below a fifth of the floor of its first rate":
            max(final.values()) < late[constants[0]] / 5,
        "a rate small from the beginning is still behind after 10 steps, tenfold and more":
            bool(losses[constants[-1]][10] > 10 * losses[constants[0]][10]),
        "every run follows the recursion of its mean square, within 15 %": gap < 0.15,
        "a classifier of digits ends at least 3 % lower with every decreasing schedule":
            max(loss for name, loss in classifiers.items() if name != "constant") < 0.97 * classifiers["constant"],
    }  # fmt: skip
    data = {"rates": rates, "losses": losses, "digits": classifiers, "constants": constants}
    return Measured(figures, checks, data)


def draw(figure: Figure, data: Any) -> None:
    """Rates, losses on the parabola, and the losses on digits."""
    rate, loss, end = style.axes_row(figure, 3)
    style.name(rate, "step", "learning rate (no unit)", "The rate")
    style.name(loss, "step", "loss ½w², mean of 4,000 runs", "A parabola with noisy gradients", log="y")
    shown = [*data["constants"][:2], "Step", "Exponential", "Linear", "Cosine", "OneCycle"]
    for n, name in enumerate(shown):
        style.line(rate, np.arange(STEPS), data["rates"][name], name, n=n)
        style.line(loss, np.arange(STEPS + 1), data["losses"][name], name, n=n)
    for name in data["constants"][:2]:
        style.level(loss, floor(float(data["rates"][name][0])), "")
    style.name(end, "schedule", "loss on all rows (nats)", f"Digits, a linear classifier, batches of {BATCH}")
    names = [name.replace(", then ", "\n+ ") for name in data["digits"]]
    style.bars(end, names, list(data["digits"].values()))
    end.tick_params(axis="x", rotation=60)
    style.legend(loss, loc="upper right", fontsize=9)


LAB = Lab(
    row="C6",
    claim="With a constant learning rate the loss stops at a floor of noise that grows with the rate. A schedule that "
    "decreases the rate starts as fast and ends below the floor.",
    look="In the middle the constant rates level off on the grey lines ½η/(2 − η): each step adds noise in proportion "
    "to η², and takes off error in proportion to η. A small constant rate has a lower floor but arrives late; the "
    "decreasing ones have both, whichever way they decrease. On the right the same on digits, "
    "a fifth of them labelled at random.",
    measure=measure,
    draw=draw,
)
