"""Through 50 layers a factor a layer becomes its fiftieth power: only the right initial scale keeps the signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.nn import init

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
LAYERS, WIDTH, ROWS = 50, 256, 64
SHAPE = (WIDTH, WIDTH)
SCALES: dict[str, Callable[[], Array]] = {
    "too small": lambda: init.normal(SHAPE, 0.5 / WIDTH**0.5, np.float64),
    "too large": lambda: init.normal(SHAPE, 3.0 / WIDTH**0.5, np.float64),
    "Xavier": lambda: init.xavier_normal(SHAPE, dtype=np.float64),
    "Kaiming": lambda: init.kaiming_normal(SHAPE, dtype=np.float64),
}
ACTIVATIONS = {"ReLU": cr.relu, "tanh": cr.tanh}


def passed_through(activation: Callable[[Any], cr.Tensor], weights: Callable[[], Array]) -> dict[str, Any]:
    """Variance of every layer's output on the way up, mean square of the gradient there on the way down."""
    cr.seed(0)
    draw = np.random.default_rng(0)
    h: Any = draw.standard_normal((ROWS, WIDTH))
    forward, pullbacks = [], []
    for layer in range(LAYERS):
        w = weights()

        def step(x: Any, w: Array = w, inner: bool = layer > 0) -> cr.Tensor:
            return cr.linear(activation(x) if inner else x, w)

        h, pullback = cr.vjp(step, h)
        pullbacks.append(pullback)
        forward.append(float(h.numpy().var()))
    gradient: Any = draw.standard_normal((ROWS, WIDTH))
    backward = [float(np.mean(gradient**2))]
    for pullback in reversed(pullbacks[1:]):
        (gradient,) = pullback(gradient)
        backward.append(float(np.mean(gradient.numpy() ** 2)))
    flat = float(np.mean(np.abs(np.tanh(h.numpy())) > 0.9))
    return {"forward": np.array(forward), "backward": np.array(backward[::-1]), "flat": flat}


def measure() -> Measured:
    """Send a signal up and a gradient down through 50 layers, for two activations and four scales."""
    runs = {a: {s: passed_through(f, w) for s, w in SCALES.items()} for a, f in ACTIVATIONS.items()}
    up = {(a, s): float(run["forward"][-1] / run["forward"][0]) for a, of in runs.items() for s, run in of.items()}
    down = {(a, s): float(run["backward"][0] / run["backward"][-1]) for a, of in runs.items() for s, run in of.items()}
    figures = {
        **{f"{a}, {s}: variance after layer {LAYERS} / after layer 1": ratio for (a, s), ratio in up.items()},
        **{f"{a}, {s}: mean square gradient at layer 1 / at layer {LAYERS}": r for (a, s), r in down.items()},
        "tanh, too large: units above 0.9 or below −0.9 in the last layer (share)": runs["tanh"]["too large"]["flat"],
    }
    halved = np.log2(up["ReLU", "Xavier"]) / (LAYERS - 1)
    small, large = (("ReLU", "too small"), ("tanh", "too small")), ("ReLU", "too large")
    checks = {
        "ReLU, Kaiming: variance and gradient stay within a factor of 10 over all layers": max(
            abs(np.log10(x["ReLU", "Kaiming"])) for x in (up, down)
        ) < 1,
        "ReLU, Xavier: the variance halves with every layer, since ReLU lets half through": bool(abs(halved + 1) < 0.1),
        "too small: signal and gradient shrink by more than 10²⁰": max(x[s] for x in (up, down) for s in small) < 1e-20,
        "ReLU, too large: both grow by more than 10²⁰": min(up[large], down[large]) > 1e20,
        "tanh, too large: two fifths of the units or more are flat, and the gradient grows by more than 10⁴":
            runs["tanh"]["too large"]["flat"] > 0.4 and down["tanh", "too large"] > 1e4,
        "tanh, Xavier: variance and gradient lose or gain less than a factor of 1,000": max(
            abs(np.log10(x["tanh", "Xavier"])) for x in (up, down)
        ) < 3,
    }  # fmt: skip
    return Measured(figures, {name: bool(held) for name, held in checks.items()}, runs)


def draw(figure: Figure, data: Any) -> None:
    """Variance and gradient by layer, on a logarithmic scale."""
    panels = style.axes_row(figure, 2, rows=2)
    kinds = (("forward", "variance of the layer's output"), ("backward", "mean square of the gradient"))
    cells = [(kind, what, activation) for kind, what in kinds for activation in data]
    for axes, (kind, what, activation) in zip(panels, cells, strict=True):
        way = "signal upwards" if kind == "forward" else "gradient downwards"
        style.name(axes, "layer", what, f"{activation}: {way}", log="y")
        for name, run in data[activation].items():
            style.line(axes, np.arange(1, LAYERS + 1), run[kind], name)
    style.legend(panels[0], loc="lower left")


LAB = Lab(
    row="C8",
    claim="Initial weights must keep a layer's output variance near that of its input. Through 50 layers too small a "
    "scale loses signal and gradient, too large a one blows them up; Kaiming keeps both for ReLU, Xavier for tanh.",
    look="The scale is logarithmic, so a straight slope is one factor repeated in every layer. For ReLU only Kaiming "
    "is level: its √2 makes up for the half that ReLU cuts off, and Xavier, without it, halves the variance in each "
    "layer. Tanh cannot blow up, but too large weights drive most units flat, and through the others the gradient "
    "grows (below right).",
    measure=measure,
    draw=draw,
)
