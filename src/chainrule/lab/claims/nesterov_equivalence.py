"""Nesterov's gradient at w + βv, and the usual form that evaluates it where it stands: one path, two variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.samples import irises

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
Slope = Callable[[Array, int], Array]
BETA, RATE, STEPS = 0.9, 8e-3, 300
INPUTS, UNITS, CLASSES, BATCH = 4, 8, 3, 16


def valley_slope() -> Slope:
    """The gradient of a bent valley, (1 − x)² + 10(y − x²)²."""

    def valley(w: cr.Tensor) -> cr.Tensor:
        x, y = w[0], w[1]
        return (1.0 - x) ** 2 + 10.0 * (y - x**2) ** 2

    slope = cr.compile(cr.grad(valley), backend="numpy")
    return lambda w, step: slope(w).numpy()


def network_slope() -> Slope:
    """The gradient of a network on iris, its parameters one vector, on another minibatch every step."""
    X, y = irises()
    rows = np.random.default_rng(0).integers(0, len(X), (STEPS, BATCH))

    def cost(w: cr.Tensor, x: cr.Tensor, labels: cr.Tensor) -> cr.Tensor:
        first, second = w[: UNITS * (INPUTS + 1)], w[UNITS * (INPUTS + 1) :]
        hidden = cr.tanh(x @ first[UNITS:].reshape(INPUTS, UNITS) + first[:UNITS])
        logits = hidden @ second[CLASSES:].reshape(UNITS, CLASSES) + second[:CLASSES]
        return cr.mean(cr.cross_entropy(logits, labels))

    slope = cr.compile(cr.grad(cost), backend="numpy")
    return lambda w, step: slope(w, X[rows[step]], y[rows[step]]).numpy()


def looking_ahead(slope: Slope, start: Array, rate: float) -> Array:
    """The path of w by v ← βv − η∇L(w + βv), w ← w + v, as the lecture writes it."""
    w, v = start, np.zeros_like(start)
    path = [w]
    for step in range(STEPS):
        v = BETA * v - rate * slope(w + BETA * v, step)
        w = w + v
        path.append(w)
    return np.stack(path)


def where_it_stands(slope: Slope, start: Array, rate: float, nesterov: bool = True) -> tuple[Array, Array]:
    """What `cr.optim.SGD` does, with the gradient at its own parameters θ; θ and v at every step."""
    sgd = cr.optim.SGD(rate, momentum=BETA, nesterov=nesterov)
    update = cr.compile(sgd.update, backend="numpy")
    w, state = start, sgd.init(start)
    path, velocities = [w], [np.zeros_like(start)]
    for step in range(STEPS):
        moved, state = update(slope(w, step), state, w)
        w = moved.numpy()
        path.append(w)
        velocities.append(state["velocity"].numpy())
    return np.stack(path), np.stack(velocities)


def apart(path: Array, other: Array) -> Array:
    """Distance at every step, as a share of the first path's extent."""
    extent = np.linalg.norm(np.ptp(path, axis=0))
    return np.linalg.norm(path - other, axis=1) / extent


def compared(slope: Slope, start: Array, rate: float) -> dict[str, Array]:
    """Both paths from one start, and how far they are apart."""
    w = looking_ahead(slope, start, rate)
    theta, v = where_it_stands(slope, start, rate)
    plain, plain_v = where_it_stands(slope, start, rate, nesterov=False)
    return {
        "w": w,
        "theta": theta,
        "changed": theta - BETA * v,
        "with change": apart(w, theta - BETA * v),
        "without change": apart(w, theta),
        "plain momentum": apart(w, plain - BETA * plain_v),
    }


def measure() -> Measured:
    """Run both forms on a valley and on a network."""
    start = np.random.default_rng(1).normal(0, 0.5, UNITS * (INPUTS + 1) + CLASSES * (UNITS + 1))
    runs = {
        "valley": compared(valley_slope(), np.array([-0.6, 2.0]), RATE),
        "network": compared(network_slope(), start, 0.02),
    }
    figures: dict[str, Any] = {"steps": STEPS}
    checks = {}
    for name, run in runs.items():
        same, other, plain = (float(run[k].max()) for k in ("with change", "without change", "plain momentum"))
        figures[f"{name}: largest distance with the change of variable (share of the path's extent)"] = same
        figures[f"{name}: largest distance without it (share of the path's extent)"] = other
        figures[f"{name}: plain momentum's, with the same change (share of the path's extent)"] = plain
        checks[f"{name}: with w = θ − βv the two forms agree to rounding over {STEPS} steps"] = same < 1e-11
        checks[f"{name}: read without the change they differ by more than 1 % of the path"] = other > 0.01
        checks[f"{name}: plain momentum is not made Nesterov's by that change"] = plain > 0.01
    return Measured(figures, checks, runs)


def draw(figure: Figure, data: Any) -> None:
    """The valley's two paths, and the distances step by step."""
    left, right = style.axes_row(figure, 2)
    _draw_paths(left, data["valley"])
    style.name(right, "step", "largest distance so far\n(share of the path's extent)", "How far apart", log="y")
    for n, name in enumerate(data):
        for k, (kind, label) in enumerate((("without change", "θ against w"), ("with change", "θ − βv against w"))):
            distances = np.maximum.accumulate(data[name][kind])[1:]
            style.line(right, range(1, STEPS + 1), distances, f"{name}: {label}", n=2 * k + n)
    right.set_ylim(1e-17, 10.0)
    style.legend(right, loc="center right", fontsize=9)


def _draw_paths(axes: Any, run: dict[str, Array]) -> None:
    x, y = np.meshgrid(np.linspace(-1.5, 1.3, 120), np.linspace(-0.5, 2.2, 120))
    height = (1 - x) ** 2 + 10 * (y - x**2) ** 2
    axes.contour(x, y, height, levels=np.geomspace(0.05, 60, 10), colors="#bbbbbb", linewidths=0.8)
    style.name(axes, "x (parameter, no unit)", "y (parameter, no unit)", "On a bent valley, first 40 steps")
    w, theta, changed = (run[key][:41] for key in ("w", "theta", "changed"))
    style.line(axes, w[:, 0], w[:, 1], "w: gradient at w + βv", n=0, marker="")
    style.line(axes, theta[:, 0], theta[:, 1], "θ: gradient where it stands", n=1, markevery=2, linewidth=1.0)
    axes.plot(changed[::2, 0], changed[::2, 1], "o", color="black", markerfacecolor="none", label="θ − βv")
    style.legend(axes, loc="upper right", fontsize=9)


LAB = Lab(
    row="D3",
    claim="Nesterov's momentum, with its gradient at w + βv, and the usual form that evaluates the gradient at its own "
    "parameters θ are the same method: with w = θ − βv their paths agree.",
    look="On the left the circles θ − βv lie on the line of w, while the squares θ run ahead of it: θ is the place at "
    "which the lecture's form asks for the gradient. On the right the distance falls to rounding, about 10⁻¹⁶, once "
    "the change of variable is made. It is a change of name, θ = w + βv, so every step of one is a step of the other.",
    measure=measure,
    draw=draw,
)
