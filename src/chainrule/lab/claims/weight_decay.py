"""L2 is a decay, w ← (1 − 2ηα)w − η ∂C/∂w, step by step; L1 sets useless weights to exactly 0, which L2 never does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chainrule.optim import Penalty

Array = np.ndarray[Any, Any]
ROWS, USEFUL, USELESS = 200, 5, 15
BIAS, NOISE = 3.0, 0.5
RATE, STEPS, ALPHA_L2, ALPHA_L1 = 0.05, 400, 0.1, 0.2


def data() -> tuple[Array, Array]:
    """Inputs of which the first few decide the target, and the others nothing."""
    draw = np.random.default_rng(0)
    X = draw.standard_normal((ROWS, USEFUL + USELESS))
    useful = np.array([2.0, -1.5, 1.0, -0.8, 0.6])
    return X, X[:, :USEFUL] @ useful[:, None] + BIAS + NOISE * draw.standard_normal((ROWS, 1))


def start() -> cr.nn.Linear:
    """The same linear model every time, with weights that are not 0."""
    cr.seed(0)
    return cr.nn.Linear(USEFUL + USELESS, 1)


def run(penalty: Penalty | None) -> Array:
    """Weights and, last, the bias after every step of full-batch gradient descent, (steps + 1, parameters)."""
    X, y = data()
    path: list[Array] = []

    def watch(trainer: cr.Trainer) -> None:
        path.append(np.append(*(p.numpy().ravel() for p in trainer.model.parameters())))

    trainer = cr.Trainer(
        start(), cr.nn.MSELoss(), cr.optim.SGD(RATE), penalty=penalty, backend="numpy", precision="float64", metrics=()
    )
    watch(trainer)
    trainer.fit(X, y, epochs=STEPS, batch_size=ROWS, callbacks=[watch], progress=False)
    return np.stack(path)


def closed_form(alpha: float) -> Array:
    """The same path by w ← (1 − 2ηα)w − η ∂C/∂w and b ← b − η ∂C/∂b, with the gradient worked out by hand."""
    X, y = data()
    model = start()
    w, b = (p.numpy().astype(np.float64).ravel() for p in model.parameters())
    path = [np.append(w, b)]
    for _ in range(STEPS):
        error = X @ w + b - y[:, 0]
        slope, slope_b = 2 * X.T @ error / ROWS, 2 * error.mean()
        w, b = (1 - 2 * RATE * alpha) * w - RATE * slope, b - RATE * slope_b
        path.append(np.append(w, b))
    return np.stack(path)


def measure() -> Measured:
    """Run both penalties and none, and the decay by hand."""
    runs = {"none": run(None), "L2": run(cr.optim.L2(ALPHA_L2)), "L1": run(cr.optim.L1(ALPHA_L1))}
    by_hand = closed_form(ALPHA_L2)
    difference = float(np.max(np.abs(runs["L2"] - by_hand)))
    final = {name: path[-1, :-1] for name, path in runs.items()}
    zeros = {name: int(np.sum(w[USEFUL:] == 0.0)) for name, w in final.items()}
    lost = int(np.sum(final["L1"][:USEFUL] == 0.0))
    norms = {name: float(np.linalg.norm(w)) for name, w in final.items()}
    everything = run(cr.optim.L2(ALPHA_L2, biases=True))[-1, -1]
    bias = {name: float(path[-1, -1]) for name, path in runs.items()}
    figures = {
        f"largest difference between the run with L2 and the closed form, {STEPS} steps": difference,
        **{f"weights that are exactly 0, of {USELESS} useless inputs, {name}": n for name, n in zeros.items()},
        f"weights that are exactly 0, of {USEFUL} useful inputs, L1": lost,
        **{f"norm of the weights, {name}": norm for name, norm in norms.items()},
        **{f"bias (in the data {BIAS}), {name}": b for name, b in bias.items()},
        "bias, L2 with biases=True": float(everything),
    }
    checks = {
        "the run with L2 is w ← (1 − 2ηα)w − η ∂C/∂w at every step (1e-12)": difference < 1e-12,
        "L1 sets at least four of five useless weights to exactly 0": zeros["L1"] >= 0.8 * USELESS,
        "and none of the useful ones": lost == 0,
        "L2 makes the weights smaller and sets none to exactly 0": zeros["L2"] == 0 and norms["L2"] < norms["none"],
        "biases are left alone: within 5 % of the data's": max(abs(bias[n] / BIAS - 1) for n in ("L1", "L2")) < 0.05,
        "unless told otherwise": bool(everything < 0.95 * BIAS),
    }
    return Measured(figures, checks, {"final": final, "run": runs["L2"], "by hand": by_hand})


def draw(figure: Figure, data: Any) -> None:
    """The final weights by input, and the path of the run over the closed form's."""
    weights, path = style.axes_row(figure, 2)
    style.name(weights, "input", "|weight| after the training", f"Inputs 1 to {USEFUL} matter, the others do not")
    for n, (name, w) in enumerate(data["final"].items()):
        places = np.arange(1, len(w) + 1) + 0.22 * (n - 1)
        weights.vlines(places, 0, np.abs(w), color=style.COLOURS[n], linewidth=2)
        weights.plot(places, np.abs(w), style.MARKERS[n], color=style.COLOURS[n], markersize=5, label=name)
    weights.axvline(USEFUL + 0.5, color="#666666", linewidth=1)
    # Below a thousandth the scale is linear, so that exactly 0 has its place and is told apart from nearly 0.
    weights.set_yscale("symlog", linthresh=1e-3)
    weights.set_yticks([0, 1e-3, 1e-2, 0.1, 1], ["exactly 0", "0.001", "0.01", "0.1", "1"])
    weights.set_ylim(-2e-4, 4)
    weights.set_xticks([1, 5, 10, 15, 20])
    style.legend(weights, loc="upper right")
    style.name(path, "step", "parameter (no unit)", "L2: the run on the closed form")
    shown = {0: "weight 1", 1: "weight 2", USEFUL + 1: f"weight {USEFUL + 2}, useless", -1: "bias"}
    for n, (place, name) in enumerate(shown.items()):
        path.plot(data["by hand"][:100, place], color=style.COLOURS[n], linewidth=1.4)
        path.plot(
            data["run"][:100, place], style.MARKERS[n], color=style.COLOURS[n], markersize=5, markevery=6, label=name
        )
    path.plot([], [], color="#444444", label="closed form")
    style.level(path, BIAS, "bias in the data")
    path.set_ylim(-1.6, 3.6)
    style.legend(path, loc="center right", bbox_to_anchor=(1, 0.475), fontsize=9)


LAB = Lab(
    row="C7",
    claim="With L2 gradient descent is w ← (1 − 2ηα)w − η ∂C/∂w: every weight decays. L1 drives useless weights to "
    "exactly 0. Both act on weights and leave biases alone.",
    look="On the left L1's marks lie on the axis for the inputs that do not matter: its pull stays as strong "
    "however small the weight, while L2's pull fades with the weight and stops short of 0. On the right the marks of "
    "the run lie on the lines of the formula, and the bias reaches its full value, since nothing pulls at it.",
    measure=measure,
    draw=draw,
)
