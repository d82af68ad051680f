"""Through ten layers of sigmoids the gradient vanishes and nothing is learnt; through ten of ReLU it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.networks import Trained, gradient_sizes, multilayer, sample, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DEPTH, WIDTH, CLASSES = 10, 32, 10
EPOCHS, BATCH = 10, 100
RATES = (0.02, 0.2)
KINDS: dict[str, tuple[Any, str]] = {
    "sigmoid": (nn.Sigmoid, "xavier_uniform"),
    "tanh": (nn.Tanh, "xavier_uniform"),
    "ReLU": (nn.ReLU, "kaiming_uniform"),
}


def made(kind: str) -> nn.Sequential:
    """Ten layers of one kind, their weights drawn as suits it."""
    activation, init = KINDS[kind]
    return multilayer((64, *[WIDTH] * DEPTH, CLASSES), activation, init)


def best(kind: str) -> Trained:
    """The training with the lowest last loss out of several learning rates."""
    runs = [trained(made(kind), cr.optim.SGD(rate, momentum=0.9), sample(), EPOCHS, BATCH) for rate in RATES]
    return min(runs, key=lambda run: run.loss)


def factor(sizes: list[float]) -> float:
    """The gradient's factor a layer on its way down, over the hidden layers: its geometric mean."""
    return float((sizes[1] / sizes[-2]) ** (1 / (len(sizes) - 3)))


def slope_at(z: Any, activation: nn.Module) -> Any:
    """dy/dz of an activation, at each z."""
    return cr.grad(lambda z: cr.sum(activation(z)))(z).numpy()


def unit_slope(model: nn.Sequential, x: Any) -> float:
    """The root mean square of the slope σ(1 − σ) over all sigmoids of a network."""
    squares = []
    for layer in model.layers:
        x = layer(x)
        if isinstance(layer, nn.Sigmoid):
            y = x.numpy().astype(np.float64)
            squares.append(np.mean((y * (1.0 - y)) ** 2))
    return float(np.sqrt(np.mean(squares)))


def measure() -> Measured:
    """Gradients by layer before training, and trainings, for three activations."""
    rows = sample()
    sizes = {kind: gradient_sizes(made(kind), rows.X[:300], rows.y[:300]) for kind in KINDS}
    runs = {kind: best(kind) for kind in KINDS}
    z = np.linspace(-10.0, 10.0, 401)
    slopes = {kind: slope_at(z, KINDS[kind][0]()) for kind in KINDS}
    figures: dict[str, Any] = {
        "largest slope of the sigmoid": float(slopes["sigmoid"].max()),
        "slope of the sigmoid at −10 and 10": [float(slopes["sigmoid"][i]) for i in (0, -1)],
        "root mean square slope of the sigmoid network's units": unit_slope(made("sigmoid"), rows.X[:300]),
    }
    slope = figures["root mean square slope of the sigmoid network's units"]
    for kind in KINDS:
        figures[f"{kind}: gradient's factor a layer, downwards"] = factor(sizes[kind])
        figures[f"{kind}: first layer's gradient / last's"] = sizes[kind][0] / sizes[kind][-1]
        figures[f"{kind}: loss after {EPOCHS} epochs (nats)"] = runs[kind].loss
        figures[f"{kind}: test accuracy"] = runs[kind].accuracy
    gain = figures["gain of ReLU over sigmoid (test accuracy)"] = runs["ReLU"].accuracy - runs["sigmoid"].accuracy
    checks = {
        "the sigmoid's slope is nowhere above 1/4, and below 10⁻⁴ at both ends": bool(slopes["sigmoid"].max() <= 0.25)
        and max(figures["slope of the sigmoid at −10 and 10"]) < 1e-4,
        "through sigmoids a layer multiplies the gradient by its slope, within a quarter of it": 0.75
        < factor(sizes["sigmoid"]) / slope
        < 1.25,
        "so the first layer's is under 10⁻⁴ of the last's": sizes["sigmoid"][0] < 1e-4 * sizes["sigmoid"][-1],
        "through ReLU with Kaiming's weights it keeps more than 2/3 a layer": factor(sizes["ReLU"]) > 2 / 3,
        "ten sigmoid layers stay at chance with the best of two rates": runs["sigmoid"].loss > 0.95 * np.log(CLASSES),
        "ten ReLU layers get more than 0.6 more of the test rows right": gain > 0.6,
    }
    return Measured(figures, checks, {"sizes": sizes, "runs": runs, "z": z, "slopes": slopes})


def draw(figure: Figure, data: Any) -> None:
    """Slopes of the activations, gradients by layer, and the trainings."""
    slopes, layers, losses = style.axes_row(figure, 3)
    style.name(slopes, "input z", "slope dy/dz", "One activation")
    style.name(
        layers, "layer, from the input", "root mean square of the\nweights' gradient (nats)", "Before training", log="y"
    )
    style.name(losses, "epoch", "training loss (nats)", "Training, best of two rates")
    for kind in KINDS:
        style.line(slopes, data["z"], data["slopes"][kind], kind)
        sizes = data["sizes"][kind]
        style.line(layers, range(1, len(sizes) + 1), sizes, kind, markevery=1)
        run = data["runs"][kind].losses
        style.line(losses, range(1, len(run) + 1), run, kind, markevery=1)
    style.level(losses, float(np.log(CLASSES)), "chance, ln 10")
    style.legend(slopes)
    style.legend(layers, loc="lower right")
    style.legend(losses, loc="center right")


LAB = Lab(
    row="H1",
    claim="A lower layer's gradient is a product of one term a layer above it. With sigmoids, whose slope is at most "
    "1/4 and almost 0 at both ends, it vanishes and a deep stack learns nothing; with ReLU it does not.",
    look="In the middle the sigmoids' gradient falls in a straight line on a logarithmic scale: each layer multiplies "
    "it by about its slope. ReLU's slope is 1 wherever it is not 0, so with weights drawn to fit, the gradient "
    "reaches the first layer. On the right the same ten layers learn or do not learn accordingly.",
    measure=measure,
    draw=draw,
)
