"""Adam's second moment starts at 0 and is too small by exactly 1 − β₂ᵗ: measured over many streams of noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
STREAMS, STEPS, RATE = 20_000, 100, 0.01
MEAN, SPREAD = 0.5, 1.0
MU = MEAN**2 + 2 * SPREAD**2
"""E[g²] of the gradients, Laplace noise of variance 2·SPREAD² about MEAN."""
BETAS = ((0.9, 0.9), (0.9, 0.99), (0.9, 0.999), (0.99, 0.9))


def followed(betas: tuple[float, float]) -> dict[str, Array]:
    """Adam on streams of random gradients, all at once.

    By step: the mean of s and its error, the size of Adam's step and of the one without correction, and how far, in
    learning rates, Adam's is at most from the one by the formula.
    """
    adam = cr.optim.Adam(RATE, betas)
    update = cr.compile(adam.update, backend="numpy")
    noise = np.random.default_rng(0)
    w: Any = np.zeros(STREAMS)
    state = adam.init(w)
    rows = []
    for t in range(1, STEPS + 1):
        moved, state = update(noise.laplace(MEAN, SPREAD, STREAMS), state, w)
        m, s = state["mean"].numpy(), state["square"].numpy()
        uncorrected = RATE * m / (np.sqrt(s) + adam.eps)
        corrected = RATE * m / (1 - betas[0] ** t) / (np.sqrt(s / (1 - betas[1] ** t)) + adam.eps)
        off = np.max(np.abs(w - corrected - moved.numpy())) / RATE
        rows.append((s.mean(), s.std() / np.sqrt(STREAMS), _size(moved.numpy() - w), _size(uncorrected), off))
        w = moved.numpy()
    columns = np.array(rows).T
    return dict(zip(("square", "error", "corrected", "uncorrected", "off"), columns, strict=True))


def _size(step: Array) -> Any:
    return np.sqrt(np.mean(step**2))


def misfit(run: dict[str, Array], beta: float, exponent: Array) -> float:
    """The largest distance of the measured mean from μ(1 − βᵉ), in standard errors."""
    return float(np.max(np.abs(run["square"] - MU * (1.0 - beta**exponent)) / run["error"]))


def measure() -> Measured:
    """Follow Adam's moments for several pairs of betas."""
    t = np.arange(1, STEPS + 1)
    runs = {betas: followed(betas) for betas in BETAS}
    figures: dict[str, Any] = {"streams": STREAMS, "steps": STEPS, "μ = E[g²] of the gradients": MU}
    right, wrong, restored = [], [], []
    for betas, run in runs.items():
        second = betas[1]
        right.append(misfit(run, second, t))
        wrong.append(misfit(run, second, t - 1))
        restored.append(float(np.max(np.abs(run["square"] / (1 - second**t) / MU - 1.0))))
        ratio = run["uncorrected"] / run["corrected"]
        name = f"β = {betas}"
        figures[f"{name}: misfit of μ(1 − β₂ᵗ) (standard errors)"] = right[-1]
        figures[f"{name}: misfit of μ(1 − β₂ᵗ⁻¹) (standard errors)"] = wrong[-1]
        figures[f"{name}: uncorrected steps, least and most (times the corrected)"] = [
            round(float(x), 4) for x in (ratio.min(), ratio.max())
        ]
    off = max(float(run["off"].max()) for run in runs.values())
    figures["largest distance of Adam's step from that by the formula (learning rates)"] = off
    figures["largest relative error of ŝ = s/(1 − β₂ᵗ) against μ"] = max(restored)
    large, small = (runs[b]["uncorrected"] / runs[b]["corrected"] for b in ((0.9, 0.999), (0.99, 0.9)))
    checks = {
        "the mean of s is μ(1 − β₂ᵗ) at every step, within 5 standard errors": max(right) < 5,
        "with the exponent t − 1 it is more than 20 standard errors off": min(wrong) > 20,
        "s/(1 − β₂ᵗ) has the mean μ from the first step on, within 5 %": max(restored) < 0.05,
        "Adam's steps are those of m/(1 − β₁ᵗ) and s/(1 − β₂ᵗ), with the exponent t": off < 1e-9,
        "without correction Adam's usual betas take steps more than 3 times too large at first": bool(large[0] > 3),
        "with β₁ = 0.99 and β₂ = 0.9 the first step is less than a tenth of what it should be": bool(small[0] < 0.1),
    }
    return Measured(figures, checks, {"t": t, "runs": runs})


def draw(figure: Figure, data: Any) -> None:
    """The measured mean against both formulas, and the size of uncorrected steps."""
    left, right = style.axes_row(figure, 2)
    t, runs = data["t"], data["runs"]
    style.name(left, "step t", "mean of s over the streams / μ", "Second moment (β₁ = 0.9)", log="xy")
    for n, betas in enumerate(BETAS[:3]):
        colour = style.COLOURS[n]
        left.plot(t, 1 - betas[1] ** t, color=colour, linewidth=1.4)
        left.plot(t[1:], 1 - betas[1] ** (t[1:] - 1.0), color=colour, linewidth=1.0, linestyle=(0, (2, 2)))
        some = np.unique(np.geomspace(1, STEPS, 14).astype(int)) - 1
        left.plot(
            t[some],
            runs[betas]["square"][some] / MU,
            style.MARKERS[n],
            color=colour,
            label=f"measured, β₂ = {betas[1]}",
        )
    left.plot([], [], color="#444444", label="1 − β₂ᵗ")
    left.plot([], [], color="#444444", linestyle=(0, (2, 2)), label="1 − β₂ᵗ⁻¹ (0 at t = 1)")
    left.set_ylim(bottom=5e-5)
    style.legend(left, loc="lower right", fontsize=9)
    style.name(right, "step t", "uncorrected / corrected step size", "What is lost without the correction", log="xy")
    for n, (betas, run) in enumerate(runs.items()):
        style.line(right, t, run["uncorrected"] / run["corrected"], f"β₁ = {betas[0]}, β₂ = {betas[1]}", n=n)
    style.level(right, 1.0, "")
    style.legend(right, loc="lower right", fontsize=9)


LAB = Lab(
    row="D6",
    claim="From s₀ = 0 and E[g²] = μ follows E[sₜ] = μ(1 − β₂ᵗ), with the exponent t and not t − 1; dividing by "
    "1 − β₂ᵗ gives μ back, and without that Adam's first steps have the wrong size.",
    look="On the left the marks, measured with many streams of random gradients, lie on the full lines 1 − β₂ᵗ and not "
    "on the dashed ones: the first gradient already counts, with weight 1 − β₂. On the right, with the usual betas, "
    "steps without the correction are several times too large, since the root of s starts even smaller than m does.",
    measure=measure,
    draw=draw,
)
