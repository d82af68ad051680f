"""ReLU has no scale of its own: relu(a·x) = a·relu(x) for a > 0, and so has a whole network of it without biases."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
X = np.linspace(-4.0, 4.0, 1601)
POWERS_OF_TWO = 2.0 ** np.arange(-20, 21)
ANY = np.geomspace(1e-3, 1e3, 41)
FACTORS = np.geomspace(1 / 16, 16, 33)
CURVED = ("Tanh", "Sigmoid", "SiLU", "GELU", "ELU", "SELU", "Softplus")
IN_NETWORKS = ("Tanh", "Sigmoid", "SiLU")
WIDTHS = (8, 32, 32, 32, 5)


def departure(f: Any, x: Array, a: float) -> float:
    """How far f(a·x) is from a·f(x): the largest difference, as a share of the largest of |f(a·x)| + |a·f(x)|."""
    a = x.dtype.type(a)
    scaled, outside = f(a * x).numpy(), a * f(x).numpy()
    return float(np.max(np.abs(scaled - outside)) / np.max(np.abs(scaled) + np.abs(outside)))


def network(activation: str, bias: bool = False) -> cr.nn.Sequential:
    """A stack of linear layers with an activation between them, without biases or with random ones."""
    cr.seed(0)
    layers: list[cr.nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(WIDTHS):
        layer = cr.nn.Linear(fan_in, fan_out, bias=bias)
        if layer.bias is not None:
            layer.bias.value = cr.nn.init.normal((fan_out,), 0.5)
        layers += [layer, getattr(cr.nn, activation)()]
    return cr.nn.Sequential(*layers[:-1])


def turned(model: cr.nn.Module, x: Array, a: float) -> float:
    """The share of inputs whose largest output is another one when the input is multiplied by a."""
    return float(np.mean(model(a * x).numpy().argmax(1) != model(x).numpy().argmax(1)))


def measure() -> Measured:
    """Compare f(a·x) with a·f(x), for single activations and for networks of them."""
    relu, leaky = cr.nn.ReLU(), cr.nn.LeakyReLU()
    exact = all(departure(relu, x, a) == 0.0 for x in (X, X.astype("float32")) for a in (*POWERS_OF_TWO, *ANY))
    by_factor = {name: [departure(getattr(cr.nn, name)(), X, a) for a in FACTORS] for name in ("ReLU", *CURVED)}
    kinked = max(departure(leaky, X, a) for a in (*POWERS_OF_TWO, *ANY))
    inputs = np.random.default_rng(0).standard_normal((500, WIDTHS[0])).astype("float32")
    models = {
        "ReLU, no biases": network("ReLU"),
        "ReLU, with biases": network("ReLU", bias=True),
        **{f"{name}, no biases": network(name) for name in IN_NETWORKS},
    }
    nets = {name: [departure(model, inputs, a) for a in FACTORS] for name, model in models.items()}
    powers = max(departure(models["ReLU, no biases"], inputs, a) for a in POWERS_OF_TWO)
    changed = {name: turned(model, inputs, 1 / 16) for name, model in models.items()}
    others = {name: values for name, values in nets.items() if name != "ReLU, no biases"}
    checks = {
        "relu(a·x) = a·relu(x) bit for bit, for powers of two and any other a > 0, in both precisions": exact,
        "LeakyReLU, two straight lines that meet at 0 as well, has it to rounding": kinked < 1e-15,
        f"for {', '.join(CURVED)} the two differ by more than 10 %": min(max(by_factor[f]) for f in CURVED) > 0.1,
        "a ReLU network without biases has it too: bit for bit for powers of two": powers == 0.0,
        "and to rounding for any other a": max(nets["ReLU, no biases"]) < 1e-5,
        "with biases, or with a curved activation, a network loses it (more than 10 %)": min(map(max, others.values()))
        > 0.1,
        "so the largest output stays the largest when the input is made 16 times smaller": changed["ReLU, no biases"]
        == 0.0,
    }
    figures = {
        **{f"{name}: largest |f(ax) − a·f(x)| (share of their size)": max(v) for name, v in by_factor.items()},
        **{f"network of {name}: largest |f(ax) − a·f(x)| (share)": max(v) for name, v in nets.items()},
        **{f"network of {name}: decisions changed at a = 1/16 (share)": v for name, v in changed.items()},
    }
    return Measured(figures, checks, {"activations": by_factor, "networks": nets})


def draw(figure: Figure, data: Any) -> None:
    """f(a·x)/a for three factors, and the departures by factor."""
    shapes = style.axes_row(figure, 2, rows=2)
    for axes, f in zip(shapes, (cr.nn.ReLU(), cr.nn.Tanh()), strict=False):
        style.name(axes, "x (no unit)", "f(a·x)/a (no unit)", f"{type(f).__name__}, seen at three scales")
        for n, a, width in ((0, 0.25, 6.0), (1, 1.0, 3.0), (4, 4.0, 1.5)):
            style.line(axes, X, f(a * X).numpy() / a, f"a = {a:g}", n=n, linewidth=width, marker="")
        style.legend(axes, loc="upper left")
    for axes, kind, title in zip(shapes[2:], data, ("One activation", "A network of three hidden layers"), strict=True):
        style.name(axes, "factor a (no unit)", "|f(ax) − a·f(x)|, share of their size", title, log="x")
        for name, values in data[kind].items():
            if name != "SELU":  # ELU's shape, twice in one picture
                style.line(axes, FACTORS, values, name)
        axes.set_ylim(-0.05, 1.05)
        axes.set_xticks([1 / 16, 1 / 4, 1, 4, 16], ["1/16", "1/4", "1", "4", "16"])
        axes.minorticks_off()
        style.legend(axes, fontsize=9)


LAB = Lab(
    row="C1",
    claim="ReLU is scale-equivariant: relu(a·x) = a·relu(x) for every a > 0, and so is a whole network of ReLUs "
    "without biases; activations that are curved (tanh, sigmoid, SiLU and the like) are not.",
    look="Above, ReLU seen at three scales is one and the same curve, since a straight line with one kink at 0 looks "
    "alike from near and far; tanh bends at ±1 and therefore looks different at each scale. Below, ReLU's line stays "
    "at 0 for every factor, alone and in a network. A bias has a scale and so takes the property away.",
    measure=measure,
    draw=draw,
)
