"""Weights twice too large make the gradient explode layer by layer; three cures, and what each gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule import nn, optim
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.networks import Trained, multilayer, sample, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTH, WIDTH, CLASSES, ROWS = 6, 32, 10, 300
SCALES, TOO_LARGE = (1.0, 2.0, 3.0), 2.0
RATE, LOW_RATE, EPOCHS, BATCH = 0.1, 0.001, 15, 100


def made(scale: float, normalized: bool = False) -> nn.Sequential:
    """ReLU layers with Kaiming's weights, those of the hidden layers times `scale`."""
    model = multilayer((64, *[WIDTH] * DEPTH, CLASSES), nn.ReLU, normalized=nn.BatchNorm if normalized else None)
    for layer in model.layers[:-1]:
        if isinstance(layer, nn.Linear):
            layer.weight.value = layer.weight.numpy() * np.float32(scale)
    return model


def adjoint_sizes(model: nn.Sequential) -> list[float]:
    """The root mean square of ∂C/∂y for the outputs y of each hidden layer, from the input upwards."""
    X, y = sample().X[:ROWS], sample().y[:ROWS]

    def cost(added: list[cr.Tensor]) -> cr.Tensor:
        h: Any = X
        offsets = iter(added)
        for layer in model.layers:
            h = layer(h)
            if isinstance(layer, nn.ReLU):
                # The gradient in what is added to y is the gradient in y.
                h = h + next(offsets)
        return nn.CrossEntropyLoss()(h, y)

    adjoints = cr.grad(cost)([np.zeros((ROWS, WIDTH), np.float32) for _ in range(DEPTH)])
    return [float(np.sqrt(np.mean(a.numpy().astype(np.float64) ** 2))) for a in adjoints]


def factor(sizes: list[float]) -> float:
    """The gradient's factor a layer, on its way down."""
    return float((sizes[0] / sizes[-1]) ** (1 / (len(sizes) - 1)))


def trainings() -> dict[str, Trained]:
    """The network whose weights are too large, untreated and with each cure."""

    def run(rate: float, normalized: bool = False, clip: optim.Clip | None = None) -> Trained:
        sgd = optim.SGD(rate, momentum=0.9)
        return trained(made(TOO_LARGE, normalized), sgd, sample(), EPOCHS, BATCH, clip)

    return {
        "untreated": run(RATE),
        f"learning rate {LOW_RATE:g}": run(LOW_RATE),
        "gradients clipped": run(RATE, clip=optim.ClipNorm(1.0)),
        "batch normalisation": run(RATE, normalized=True),
    }


def measure() -> Measured:
    """Gradients by layer for three scales of the weights, and trainings with and without cures."""
    sizes = {f"weights × {scale:g}": adjoint_sizes(made(scale)) for scale in SCALES}
    sizes |= {f"× {scale:g}, batch norm": adjoint_sizes(made(scale, normalized=True)) for scale in (1.0, TOO_LARGE)}
    factors = {name: factor(values) for name, values in sizes.items()}
    runs = trainings()
    untreated, *cures = runs.values()
    gains = {name: run.accuracy - untreated.accuracy for name, run in runs.items()}
    worst = max(untreated.losses, default=np.inf)
    figures: dict[str, Any] = {f"{name}: gradient's factor a layer, downwards": f for name, f in factors.items()}
    figures[f"untreated at rate {RATE:g}: largest loss of an epoch (nats)"] = float(worst)
    for name, run in runs.items():
        figures[f"{name}: loss of epoch {EPOCHS} (nats)"] = run.loss
        figures[f"{name}: test accuracy"] = run.accuracy
        figures[f"{name}: gain (test accuracy)"] = gains[name]
    *grown, plain, enlarged = factors.values()
    checks = {
        "a layer multiplies the gradient by about the scale of its weights, within a fifth": all(
            0.8 < f / scale < 1.2 for f, scale in zip(grown, SCALES, strict=True)
        ),
        f"batch normalisation takes the scale out: weights × {TOO_LARGE:g} have the factor of weights × 1, within "
        "0.02, and it is below 1.5": abs(enlarged - plain) < 0.02 and enlarged < 1.5,
        "untreated, the loss explodes to over 100 nats": bool(worst > 100),
        "and the network ends at chance": untreated.accuracy < 0.2,
        "a lower learning rate gains over 0.25 of test accuracy": gains[f"learning rate {LOW_RATE:g}"] > 0.25,
        "clipping gains over 0.5": gains["gradients clipped"] > 0.5,
        "batch normalisation gains over 0.7": gains["batch normalisation"] > 0.7,
        "no cured training broke off": all(run.finite for run in cures),
    }
    return Measured(figures, checks, {"sizes": sizes, "runs": runs})


def draw(figure: Figure, data: Any) -> None:
    """Gradients by layer, the trainings, and how well they end."""
    layers, losses, ends = style.axes_row(figure, 3)
    style.name(
        layers, "hidden layer, from the input", "root mean square of ∂C/∂y (nats)", "Gradient before training", log="y"
    )
    for name, sizes in data["sizes"].items():
        style.line(layers, range(1, DEPTH + 1), sizes, name, markevery=1)
    style.legend(layers, loc="upper right", fontsize=9)
    style.name(losses, "epoch", "training loss (nats)", f"Weights × {TOO_LARGE:g}: training", log="y")
    for name, run in data["runs"].items():
        style.line(losses, range(1, len(run.losses) + 1), run.losses, name, markevery=1)
    losses.set_xticks(range(1, EPOCHS + 1, 2))
    style.legend(losses, loc="upper right", fontsize=9)
    style.name(ends, "treatment", "test accuracy (share of rows)", "After training (dashes: chance)")
    style.bars(ends, [name.replace(" ", "\n", 1) for name in data["runs"]], [r.accuracy for r in data["runs"].values()])
    style.level(ends, 1 / CLASSES, "")
    ends.tick_params(axis="x", labelsize=8)


LAB = Lab(
    row="H2",
    claim="Large weights make the gradient explode: every layer multiplies it by about their scale, and training "
    "breaks. Batch normalisation, a lower learning rate and clipping cure it.",
    look="On the left the gradient grows towards the input in a straight line on a logarithmic scale, doubled by every "
    "layer where the weights are twice too large; batch normalisation divides each layer by its own spread, and with "
    "it by the weights' scale. In the middle the first steps throw the untreated network so far that it "
    "never comes back; clipping and a low rate keep those steps short, the low rate at the price of slowness after.",
    measure=measure,
    draw=draw,
)
