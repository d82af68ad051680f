"""Rows repeat each other: a few of them say nearly what all of them say, so many small steps beat few exact ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.samples import digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
SIZES = 2 ** np.arange(9)
DRAWS = 100
TRAINED = {8: (0.05, 0.1, 0.2), 64: (0.2, 0.4, 0.8), 512: (0.4, 0.8, 1.6), 1797: (0.4, 0.8, 1.6)}
"""Batch sizes, each with learning rates to choose the best of."""
EPOCHS = 4


def network() -> cr.nn.Sequential:
    """The same untrained network every time."""
    cr.seed(0)
    return cr.nn.Sequential(cr.nn.Linear(64, 24), cr.nn.ReLU(), cr.nn.Linear(24, 10))


def single_gradients() -> Array:
    """The gradient of every digit's own loss at the untrained network, (rows, parameters)."""
    X, y = digits()

    def cost(model: cr.nn.Module, x: cr.Tensor, label: cr.Tensor) -> cr.Tensor:
        return cr.cross_entropy(model(x), label)

    found = cr.per_example_grad(cost)(network(), X, y)
    return np.concatenate([g.numpy().reshape(len(X), -1) for g in found.values()], axis=1)


def noise(gradients: Array) -> Array:
    """By batch size: the rms distance of a batch's gradient from the full one, over the full one's norm."""
    draw = np.random.default_rng(0)
    full = gradients.mean(0)
    found = []
    for size in SIZES:
        batches = [draw.choice(len(gradients), size, replace=False) for _ in range(DRAWS)]
        away = [np.sum((gradients[rows].mean(0) - full) ** 2) for rows in batches]
        found.append(np.sqrt(np.mean(away)) / np.linalg.norm(full))
    return np.array(found)


def expected_noise(gradients: Array) -> Array:
    """σ/√B, with the factor √((N − B)/(N − 1)) for rows drawn without putting any back."""
    rows, full = len(gradients), gradients.mean(0)
    sigma = np.sqrt(np.mean(np.sum((gradients - full) ** 2, axis=1))) / np.linalg.norm(full)
    return np.asarray(sigma / np.sqrt(SIZES) * np.sqrt((rows - SIZES) / (rows - 1)))


def trained(batch: int, rate: float) -> Array:
    """Loss on all rows before training and after each epoch."""
    X, y = digits()
    trainer = cr.Trainer(network(), cr.nn.CrossEntropyLoss(), cr.optim.SGD(rate), backend="numpy", metrics=())
    before = trainer.evaluate(X, y)["loss"]
    history = trainer.fit(X, y, epochs=EPOCHS, batch_size=batch, validation=(X, y), progress=False)
    return np.array([before, *history.val_loss])


def measure() -> Measured:
    """Measure the noise of minibatch gradients, and what the same reading of the data buys with each batch size."""
    rows = len(digits()[1])
    gradients = single_gradients()
    full = gradients.mean(0)
    measured, expected = noise(gradients), expected_noise(gradients)
    slope = float(np.polyfit(np.log(SIZES[:7]), np.log(measured[:7]), 1)[0])
    tenths = np.stack([part.mean(0) for part in np.array_split(gradients, 10)])
    cosine = float(np.mean(tenths @ full / np.linalg.norm(tenths, axis=1) / np.linalg.norm(full)))
    losses = {batch: min((trained(batch, rate) for rate in rates), key=np.mean)
              for batch, rates in TRAINED.items()}  # fmt: skip
    final = [float(run[-1]) for run in losses.values()]
    figures = {
        "slope of log noise against log batch size, B from 1 to 64": slope,
        "noise of one row's gradient (times the full gradient's norm)": float(measured[0]),
        "noise of 64 rows' gradient (times the full gradient's norm)": float(measured[6]),
        "cosine of the angle between a tenth of the rows' gradient and the full one, on average": cosine,
        **{f"loss after {EPOCHS} epochs, batch size {batch} (nats)": loss
           for batch, loss in zip(TRAINED, final, strict=True)},
        f"rows read by batch size 8 to reach what all {rows} rows a step reach in {EPOCHS} epochs":
            int(np.argmax(losses[8] <= final[-1])) * rows,
    }  # fmt: skip
    checks = {
        "the noise falls as 1/√B: slope −1/2 within 0.05": abs(slope + 0.5) < 0.05,
        "and has the size that the spread of single rows foretells, within 15 %": bool(
            np.max(np.abs(measured / expected - 1)) < 0.15
        ),
        "half the noise costs four times the arithmetic": bool(abs(measured[0] / measured[2] - 2) < 0.3),
        "a tenth of the rows points nearly where all do (cosine above 0.85)": cosine > 0.85,
        "for the same reading of the data, smaller batches reach a lower loss": final == sorted(final),
        "batches of 8 reach in one epoch what full batches do not reach in four": bool(losses[8][1] < final[-1]),
    }
    return Measured(figures, checks, {"measured": measured, "expected": expected, "losses": losses})


def draw(figure: Figure, data: Any) -> None:
    """Noise by batch size, and loss by rows read."""
    left, right = style.axes_row(figure, 2)
    style.name(left, "batch size B (rows); arithmetic per step ∝ B", "noise of the gradient / norm of the gradient",
               "How exact a batch's gradient is", log="xy")  # fmt: skip
    style.line(left, SIZES, data["expected"], "foretold, σ/√B", marker="")
    style.line(left, SIZES, data["measured"], f"measured, {DRAWS} batches each", n=1, linestyle="", markersize=7)
    style.level(left, 1.0, "as large as the gradient")
    left.set_yticks([0.5, 1, 2, 5], ["0.5", "1", "2", "5"])
    left.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
    left.minorticks_off()
    style.legend(left, loc="lower left")
    style.name(right, "rows read (thousands)", "loss on all rows (nats)", "What the same reading buys", log="y")
    rows = np.arange(EPOCHS + 1) * len(digits()[0]) / 1000
    for batch, losses in data["losses"].items():
        label = f"B = {batch}" if batch < len(digits()[0]) else f"B = {batch}, all rows"
        style.line(right, rows, losses, label)
    right.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    right.minorticks_off()
    style.legend(right, loc="lower left")


LAB = Lab(
    row="C3",
    claim="Rows are redundant, so a minibatch's gradient is nearly the full one: its noise falls only as 1/√B while "
    "its cost grows as B. For the same reading of the data, minibatches therefore reach a lower loss.",
    look="On the left the measured noise lies on a line of slope −1/2: four times the arithmetic buys half the noise, "
    "and with fewer than 100 rows it is already smaller than the gradient itself. On the right every curve has read "
    "the same rows as often, each with the best of three learning rates: small batches made more steps of it.",
    measure=measure,
    draw=draw,
)
