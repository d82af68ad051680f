"""Where a softmax is certain and wrong, no gradient comes back through it; through log-softmax it always does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.numeric import Array, relative_error
from chainrule.lab.samples import irises

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAPS = np.arange(0, 801)
"""By how much the wrong class's logit is above the right one's (nats)."""
START, RATE, STEPS = 200.0, 2.0, 300
LOST: dict[str, Any] = {"marker": "x", "markersize": 11, "markeredgewidth": 2.5, "color": "black", "zorder": 5}
"""How a place is marked at which the gradient ends."""
Cost = Callable[[cr.Tensor, Array], cr.Tensor]


def chosen(y: cr.Tensor, labels: Array) -> cr.Tensor:
    """The label's entry of each row."""
    return y[np.arange(len(labels)), labels]


WAYS: dict[str, Cost] = {
    "log-softmax": lambda z, labels: -chosen(cr.log_softmax(z), labels),
    "softmax, then log": lambda z, labels: -cr.log(chosen(cr.softmax(z), labels)),
    "softmax, squared error": lambda z, labels: cr.square(1.0 - chosen(cr.softmax(z), labels)),
}


@dataclass(frozen=True)
class Found:
    """By way: the gradient's size for each gap in float32, and the loss of each step of a training."""

    sizes: dict[str, Array]
    losses: dict[str, list[float]]


def gradients(way: str, dtype: str) -> Array:
    """∂C/∂z of two logits (0, gap) whose right class is the first, a row a gap."""
    z = np.stack([np.zeros(len(GAPS)), GAPS], 1).astype(dtype)
    labels = np.zeros(len(GAPS), int)
    with np.errstate(all="ignore"):
        return cr.grad(lambda z: cr.sum(WAYS[way](z, labels)))(cr.tensor(z)).numpy()


def first(lost: Any) -> int:
    """The first gap at which something is lost, or −1."""
    return int(GAPS[lost][0]) if lost.any() else -1


def one_value() -> float:
    """How far the log-softmax of (s, 0) and its slope are from log σ(s) = s − log(1 + eˢ) and 1 − σ(s)."""
    s = np.linspace(-50, 50, 201)

    def log_sigmoid(s: cr.Tensor) -> cr.Tensor:
        return cr.log_softmax(cr.stack([s, 0.0 * s], 1))[:, 0]

    slope = cr.grad(lambda s: cr.sum(log_sigmoid(s)))(cr.tensor(s)).numpy()
    return max(
        relative_error(log_sigmoid(cr.tensor(s)).numpy(), s - np.logaddexp(0, s)),
        relative_error(slope, 1 / (1 + np.exp(s))),
    )


def huge_is_finite() -> bool:
    """Whether both are finite for inputs up to 10³⁰, in value and gradient."""
    z = cr.tensor([[1e30, -1e30, 3.0], [1e30, 1e30, 1e30], [-1e30, 0.0, 1e-30]], dtype="float32")
    with np.errstate(all="ignore"):
        found = [f(z).numpy() for f in (cr.softmax, cr.log_softmax)]
        found += [cr.grad(lambda z, f=f: cr.sum(f(z)[:, 0]))(z).numpy() for f in (cr.softmax, cr.log_softmax)]
    return all(bool(np.isfinite(value).all()) for value in found)


def training(way: str) -> tuple[list[float], float]:
    """Gradient descent on the irises from a start that is certain of the last class: loss by step, last accuracy."""
    X, y = irises()
    X = np.hstack([X, np.ones((len(X), 1))]).astype(np.float32)
    w = np.zeros((5, 3), np.float32)
    w[4, 2] = START

    def cost(w: cr.Tensor) -> tuple[cr.Tensor, cr.Tensor]:
        z = cr.tensor(X) @ w
        return cr.mean(WAYS[way](z, y)), cr.mean(WAYS["log-softmax"](z, y))

    slope = cr.compile(cr.grad(lambda w: cost(w)[0]), backend="numpy")
    loss = cr.compile(lambda w: cost(w)[1], backend="numpy")
    losses = [float(loss(w))]
    with np.errstate(all="ignore"):
        while len(losses) <= STEPS and np.isfinite(losses[-1]):
            w = w - np.float32(RATE) * slope(w).numpy()
            losses.append(float(loss(w)))
    return losses, float(np.mean(np.argmax(X @ w, 1) == y))


def run_figures(way: str, losses: list[float], accuracy: float) -> dict[str, Any]:
    """What a training came to."""
    broke = not np.isfinite(losses[-1])
    figures: dict[str, Any] = {
        f"training by {way}: steps until it breaks off": len(losses) - 1 if broke else "never",
        f"training by {way}: first loss (nats)": losses[0],
        f"training by {way}: last finite loss (nats)": losses[-2] if broke else losses[-1],
    }
    if not broke:
        figures[f"training by {way}: accuracy at the end"] = accuracy
    return figures


def measure() -> Measured:
    """Gradients against the gap, and trainings from a wrong start."""
    single = {way: gradients(way, "float32") for way in WAYS}
    double = gradients("softmax, then log", "float64")
    p = np.exp(-np.logaddexp(0, GAPS))
    stays = relative_error(single["log-softmax"], np.stack([p - 1, 1 - p], 1))
    runs = {way: training(way) for way in WAYS}
    lost = ~np.isfinite(single["softmax, then log"]).all(1)
    zero = (single["softmax, squared error"] == 0).all(1)
    squared = np.abs(single["softmax, squared error"][:, 0])
    identity = one_value()
    decay = float(np.log(squared[10] / squared[40]) / 30)
    figures: dict[str, Any] = {
        "softmax, then log: first gap without a gradient, float32 (nats)": first(lost),
        "softmax, then log: first gap without a gradient, float64 (nats)": first(~np.isfinite(double).all(1)),
        "softmax, squared error: first gap with a gradient of exactly 0, float32 (nats)": first(zero),
        "softmax, squared error: decay of the gradient a unit of the gap": decay,
        "log-softmax: distance from p − onehot over all gaps, float32 (relative)": stays,
        "log σ(s) = s − log(1 + eˢ), value and slope (relative error)": identity,
        "largest gap tried (nats)": int(GAPS[-1]),
    }
    for way, (losses, accuracy) in runs.items():
        figures |= run_figures(way, losses, accuracy)
    checks = {
        "through softmax and a logarithm the gradient is lost at some gap, in float32 and later in float64": bool(
            0 < first(lost) < first(~np.isfinite(double).all(1))
        ),
        "through softmax into a squared error it falls as e⁻ᵍᵃᵖ, and to exactly 0": abs(decay - 1) < 0.01
        and bool(zero[-1]),
        "through log-softmax it is p − onehot for every gap": stays < 1e-6,
        "log σ(s) = s − log(1 + eˢ) is its one-value case": identity < 1e-12,
        "softmax and log-softmax are finite for inputs up to 10³⁰": huge_is_finite(),
        "from a certain and wrong start log-softmax learns": runs["log-softmax"][1] > 0.9,
        "and the others do not": not np.isfinite(runs["softmax, then log"][0][-1])
        and runs["softmax, squared error"][1] < 0.5,
    }
    sizes = {way: np.abs(gradient[:, 0]) for way, gradient in single.items()}
    return Measured(figures, checks, Found(sizes, {way: losses for way, (losses, _) in runs.items()}))


def draw(figure: Figure, data: Found) -> None:
    """Gradient against gap; loss against step."""
    left, right = style.axes_row(figure, 2)
    style.name(left, "gap: wrong logit above right logit (nats)", "|∂C/∂z| of the right logit", "Gradient", log="y")
    style.name(right, "step", "loss by log-softmax (nats)", "Training from a certain, wrong start")
    shown = GAPS <= 130
    for n, way in enumerate(WAYS):
        sizes = np.where(data.sizes[way] > 0, data.sizes[way], np.nan)
        style.line(left, GAPS[shown], sizes[shown], way, n=n)
        losses = np.array(data.losses[way])
        style.line(right, range(len(losses)), losses, way, n=n)
        if not np.isfinite(losses[-1]):
            right.plot(0, losses[0], **LOST)
            right.annotate(f"{way}:\nNaN in the first step", (0, losses[0]), (60, 110), arrowprops={"arrowstyle": "->"})
        end = np.flatnonzero(np.isfinite(sizes[shown]))[-1]
        if end < shown.sum() - 1:
            left.plot(GAPS[end], sizes[end], **LOST)
            left.annotate("lost here", (GAPS[end], sizes[end]), (8, -18), textcoords="offset points")
    left.set_ylim(1e-55, 1e4)
    right.set_ylim(0, None)
    style.legend(left, loc="lower left")
    style.legend(right, loc="center right", fontsize=9)


LAB = Lab(
    row="B6, B7, H1",
    claim="A softmax saturates: where it is certain and wrong, the gradient through it vanishes, and a logarithm "
    "behind it only helps until the probability is too small for the computer. Log-softmax never saturates: its "
    "gradient stays p − onehot.",
    look="On the left the squared error's gradient falls with the gap, as the probability does, and the logarithm's is "
    "lost where that probability is too small to divide by; log-softmax stays at 1. It never forms the probability: "
    "the exponential and the logarithm that would undo it are not computed. On the right only that way learns.",
    measure=measure,
    draw=draw,
)
