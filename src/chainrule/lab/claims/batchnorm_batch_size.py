"""Small batches make BatchNorm's statistics noisy, and training with it worse; a batch of one cannot teach at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.networks import TrainTestRows, multilayer, sample, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
FEATURES, DRAWS, EPS = 32, 100, 1e-5
SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 512)
TRAINED, ROWS, EPOCHS = (2, 4, 8, 16, 64), 600, 2
RATE_PER_ROW = 0.01
"""The learning rate grows with the batch, so that without normalisation every batch size learns alike."""


def statistics_noise() -> dict[str, Array]:
    """By batch size, how far a batch's mean and standard deviation are from those of all rows, in units of the latter.

    Root mean squares over draws and features; a BatchNorm with momentum 1 remembers just the last batch.
    """
    draw = np.random.default_rng(0)
    hidden = sample().X @ draw.standard_normal((64, FEATURES)).astype(np.float32) / 8
    mean, deviation = hidden.mean(0), hidden.std(0)
    noise: dict[str, list[float]] = {"mean": [], "standard deviation": []}
    for size in SIZES:
        layer = nn.BatchNorm(FEATURES, momentum=1.0)
        means, deviations = [], []
        for _ in range(DRAWS):
            layer(hidden[draw.integers(0, len(hidden), size)])
            means.append((layer.running_mean.numpy() - mean) / deviation)
            deviations.append(np.sqrt(layer.running_var.numpy()) / deviation - 1)
        noise["mean"].append(float(np.sqrt(np.mean(np.square(means)))))
        noise["standard deviation"].append(float(np.sqrt(np.mean(np.square(deviations)))))
    return {name: np.array(values) for name, values in noise.items()}


def accuracies(normalized: Any) -> list[float]:
    """Test accuracy by batch size, after reading the same rows as often."""
    X, y, *test = sample()
    rows = TrainTestRows(X[:ROWS], y[:ROWS], *test)
    models = (multilayer((64, FEATURES, FEATURES, 10), nn.ReLU, normalized=normalized) for _ in TRAINED)
    return [
        trained(model, cr.optim.SGD(RATE_PER_ROW * size), rows, EPOCHS, size).accuracy
        for model, size in zip(models, TRAINED, strict=True)
    ]


def elementary(x: Any, gamma: Any, beta: Any) -> cr.Tensor:
    """Batch normalisation in elementary operations."""
    centred = x - cr.mean(x, 0)
    return gamma * centred / cr.sqrt(cr.mean(centred**2, 0) + EPS) + beta


def of_rows(rows: int) -> tuple[float, float]:
    """For a batch of so many rows: the largest |output − β|, and the largest gradient in the inputs and in γ.

    The larger of what elementary operations and the fused one give.
    """
    draw = np.random.default_rng(1)
    x, gamma, beta = draw.normal(3, 2, (rows, 4)), draw.normal(1, 0.2, 4), draw.normal(0, 1, 4)
    pull = draw.standard_normal((rows, 4))
    away, gradients = [], []
    for normalised in (elementary, cr.batch_norm):
        away.append(np.abs(normalised(x, gamma, beta).numpy() - beta).max())
        slopes = cr.grad(lambda x, gamma, f=normalised: cr.sum(pull * f(x, gamma, beta)), argnums=(0, 1))(x, gamma)
        gradients += [np.abs(slope.numpy()).max() for slope in slopes]
    return float(max(away)), float(max(gradients))


def refusal() -> str:
    """What a training with batches of one row is told."""
    try:
        X, y, *test = sample()
        trained(
            multilayer((64, 8, 10), nn.ReLU, normalized=nn.BatchNorm),
            cr.optim.SGD(0.1),
            TrainTestRows(X[:4], y[:4], *test),
            1,
            1,
        )
    except cr.ChainruleError as error:
        return str(error)
    return ""


def measure() -> Measured:
    """Noise of the statistics, trainings with and without BatchNorm, and what a batch of one gives."""
    noise = statistics_noise()
    powers = {name: float(np.polyfit(np.log(SIZES), np.log(values), 1)[0]) for name, values in noise.items()}
    quality = {"BatchNorm": accuracies(nn.BatchNorm), "no normalisation": accuracies(None)}
    (from_beta, pull), (_, pull_of_two) = of_rows(1), of_rows(2)
    said = refusal()
    off = float(np.max(np.abs(noise["mean"] * np.sqrt(SIZES) - 1)))
    normal, plain = quality["BatchNorm"], quality["no normalisation"]
    figures: dict[str, Any] = {
        "batch sizes": list(SIZES),
        "noise of the mean by batch size (standard deviations)": [round(float(v), 4) for v in noise["mean"]],
        "largest relative difference of that from 1/√B": off,
        "noise of the standard deviation (share of it)": [round(float(v), 4) for v in noise["standard deviation"]],
        **{f"power of B that the noise of the {name} falls with": power for name, power in powers.items()},
        "batch sizes trained with": list(TRAINED),
        **{f"{name}: test accuracy by batch size": [round(a, 4) for a in values] for name, values in quality.items()},
        "batch of 1: largest |output − β|": from_beta,
        "batch of 1: largest gradient in inputs and γ": pull,
        "batch of 2: largest gradient in inputs and γ": pull_of_two,
        "batch of 1: what training is told": said,
    }
    checks = {
        "the noise of a batch's mean is 1/√B standard deviations, within 15 %": off < 0.15,
        "the noise of its standard deviation falls with a power of B between −0.65 and −0.35": -0.65
        < powers["standard deviation"]
        < -0.35,
        "training with BatchNorm gains over 0.2 of test accuracy from batches of 64 in place of 2": normal[-1]
        > normal[0] + 0.2,
        "without it, the same change of the batch size changes less than 0.1": max(plain) - min(plain) < 0.1,
        "a batch of 1 gives exactly β": from_beta == 0.0,
        "and passes no gradient to the inputs nor to γ, where a batch of 2 does": pull == 0.0 and pull_of_two > 1e-6,
        "it is refused, by the layer's name": "layer 1, BatchNorm" in said and "batch of 1" in said,
    }
    return Measured(figures, checks, {"noise": noise, "quality": quality})


def draw(figure: Figure, data: Any) -> None:
    """The noise of the statistics, and the test accuracy, by batch size."""
    left, right = style.axes_row(figure, 2)
    style.name(
        left, "batch size B (rows)", "root mean square error\n(standard deviations of the feature)",
        "Statistics of one batch", log="xy",
    )  # fmt: skip
    for name, values in data["noise"].items():
        style.line(left, SIZES, values, name, markevery=1)
    left.plot(SIZES, 1 / np.sqrt(SIZES), color="#444444", linewidth=1.0, linestyle=(0, (2, 2)), label="1/√B")
    style.name(right, "batch size B (rows)", "test accuracy (share of rows)", f"After {EPOCHS} epochs", log="x")
    for name, values in data["quality"].items():
        style.line(right, TRAINED, values, name, markevery=1)
    right.set_ylim(0, 1)
    for axes, sizes in ((left, SIZES), (right, TRAINED)):
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
    left.set_yticks((0.03, 0.1, 0.3, 1.0), ("0.03", "0.1", "0.3", "1"))
    style.legend(left)
    style.legend(right, loc="lower right")


LAB = Lab(
    row="E1",
    claim="BatchNorm's statistics are noisier the smaller the batch, as 1/√B, and training suffers from it. With a "
    "batch of 1 the output is β, no gradient passes, and nothing can be learnt; chainrule refuses it.",
    look="On the left the error of a batch's mean lies on the line 1/√B, as that of any mean of B independent rows. On "
    "the right the rate grows with the batch, so that the plain network learns alike from all of them; BatchNorm falls "
    "off to the left, since each row is normalised by its few companions in training and by all rows afterwards.",
    measure=measure,
    draw=draw,
)
