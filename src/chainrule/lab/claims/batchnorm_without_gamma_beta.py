"""Without γ and β, a network with BatchNorm can bend at one place only; with them, wherever the data want it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
UNITS, POINTS, SEEDS, STEPS, RATE = 32, 200, (0, 1, 2), 300, 0.1
X = np.linspace(-2.0, 2.0, POINTS, dtype=np.float32)[:, None]
Y = np.sin(3.0 * X + 1.0)
COUNTED = {20: 460, 10: 260}
"""Inputs of a Linear to 20 followed by BatchNorm: parameters, 20·(inputs + 1 + 2)."""


def bound() -> float:
    """The lowest mean square error of any weights without γ and β, in closed form.

    A unit is ReLU of ±(x − mean)/σ, whatever its weight and bias were: the network is c + a·ReLU(z) + b·ReLU(−z).
    """
    z = (X.astype(np.float64) - X.mean(dtype=np.float64)) / X.std(dtype=np.float64)
    basis = np.hstack([np.ones_like(z), np.maximum(z, 0), np.maximum(-z, 0)])
    best = np.linalg.lstsq(basis, Y, rcond=None)[0]
    return float(np.mean((basis @ best - Y) ** 2))


def fitted(affine: bool, seed: int) -> tuple[list[float], Array]:
    """The loss step by step on all points at once, and the function that was learnt."""
    cr.seed(seed)
    model = nn.Sequential(nn.Linear(1, UNITS), nn.BatchNorm(UNITS, affine=affine), nn.ReLU(), nn.Linear(UNITS, 1))
    trainer = cr.Trainer(model, nn.MSELoss(), cr.optim.Adam(RATE), metrics=(), backend="numpy", seed=seed)
    history = trainer.fit(X, Y, epochs=STEPS, batch_size=POINTS, progress=False)
    # By the statistics that it was trained with: those of all points.
    return history.loss, model.train()(X).numpy()


def counted(inputs: int, affine: bool = True) -> int:
    """Parameters of Linear(inputs → 20) and BatchNorm, as `summary` counts them."""
    return nn.Sequential(nn.Linear(inputs, 20), nn.BatchNorm(20, affine=affine)).summary((2, inputs)).total


def measure() -> Measured:
    """Fit a wave with and without γ and β, and count parameters."""
    least = bound()
    runs = {name: [fitted(affine, seed) for seed in SEEDS] for name, affine in KINDS.items()}
    reached = {name: [min(losses) for losses, _ in outcomes] for name, outcomes in runs.items()}
    counts = {inputs: counted(inputs) for inputs in COUNTED}
    figures: dict[str, Any] = {
        "variance of the target (mean square error of a constant)": float(Y.var()),
        "lowest possible mean square error without γ, β (closed form)": least,
        **{f"{name}: mean square error reached, a seed each": losses for name, losses in reached.items()},
        **{f"parameters of Linear({inputs}→20) + BatchNorm": total for inputs, total in counts.items()},
        "parameters of Linear(20→20) + BatchNorm without γ, β": counted(20, affine=False),
    }
    with_them, without = reached.values()
    checks = {
        "without γ and β no seed gets below the closed form's bound": min(without) > 0.999 * least,
        "every seed reaches it to 1 %: more training would not help": max(without) < 1.01 * least,
        "with γ and β every seed gets below half of that bound": max(with_them) < 0.5 * least,
        "they cost two parameters a unit: 20·(20+1+2) = 460 and 20·(10+1+2) = 260": counts == COUNTED
        and counted(20, affine=False) == 460 - 40,
    }
    return Measured(figures, checks, {"bound": least, "runs": runs, "reached": reached})


KINDS = {"with γ, β": True, "without γ, β": False}


def draw(figure: Figure, data: Any) -> None:
    """The learnt functions, and the losses with the bound."""
    left, right = style.axes_row(figure, 2)
    style.name(left, "input x", "output", f"Learnt functions, best of {len(SEEDS)} seeds")
    left.plot(X[:, 0], Y[:, 0], color="#999999", linewidth=4, label="target, sin(3x + 1)")
    style.name(right, "step", "mean square error", "A curve a seed; dashes: bound without γ, β", log="y")
    for n, (name, outcomes) in enumerate(data["runs"].items()):
        best = int(np.argmin(data["reached"][name]))
        style.line(left, X[:, 0], outcomes[best][1][:, 0], name, n=n)
        for i, (losses, _) in enumerate(outcomes):
            style.line(right, range(1, STEPS + 1), losses, name if i == 0 else "", n=n)
    style.level(right, data["bound"], "")
    left.set_ylim(-1.4, 2.4)
    style.legend(left, loc="upper left", ncols=2)
    style.legend(right, loc="center right")


LAB = Lab(
    row="E4",
    claim="Without γ and β a network with batch normalisation loses expressive power, and no training brings it back.",
    look="On the left the network without γ and β makes one bend, at the mean of the data: normalising takes away both "
    "the bias and the size of a unit's weight, so that all its ReLUs bend in that one place. On the right its loss "
    "comes down onto the bound that follows from this and stays there; β moves the bends, γ their steepness.",
    measure=measure,
    draw=draw,
)
