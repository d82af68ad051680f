"""A loss that takes logits, handed probabilities: it takes their softmax again, cannot reach 0, and hardly pulls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.samples import digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES, EPOCHS, RATE, HELD_OUT = 10, 12, 0.1, 397
FLOOR = math.log(math.e + CLASSES - 1) - 1.0
"""The log loss of softmax(p) where p is exactly the right answer, one 1 and nine 0."""
WAYS = {
    "logits → CrossEntropyLoss": (cr.nn.Identity, cr.nn.CrossEntropyLoss),
    "LogSoftmax → NLLLoss": (cr.nn.LogSoftmax, cr.nn.NLLLoss),
    "LogSoftmax → CrossEntropyLoss": (cr.nn.LogSoftmax, cr.nn.CrossEntropyLoss),
    "Softmax → CrossEntropyLoss": (cr.nn.Softmax, cr.nn.CrossEntropyLoss),
}
LOGITS, LOG_PROBABILITIES, TWICE, MISTAKE = WAYS
MARGINS = np.linspace(-10.0, 10.0, 81)


def trained(way: str) -> dict[str, Any]:
    """Loss and test accuracy by epoch of one network, the same start and order for every way."""
    X, y = digits()
    last, loss = WAYS[way]
    cr.seed(0)
    model = cr.nn.Sequential(cr.nn.Linear(64, 32), cr.nn.ReLU(), cr.nn.Linear(32, CLASSES), last())
    trainer = cr.Trainer(model, loss(), cr.optim.SGD(RATE), backend="numpy", precision="float64")
    history = trainer.fit(
        X[HELD_OUT:], y[HELD_OUT:], epochs=EPOCHS, validation=(X[:HELD_OUT], y[:HELD_OUT]), progress=False
    )
    return {"loss": np.array(history.loss), "accuracy": np.array(history.metrics["val_accuracy"])}


def pull(way: str) -> Any:
    """‖∂C/∂logits‖ of one example, by how far the right class's logit is above the others."""
    last, loss = (kind() for kind in WAYS[way])
    logits = np.zeros((len(MARGINS), CLASSES))
    logits[:, 0] = MARGINS
    labels = np.zeros(len(MARGINS), np.int64)
    gradient = cr.grad(lambda s: loss(last(s), labels) * len(MARGINS))(logits)
    return np.linalg.norm(gradient.numpy(), axis=1)


def measure() -> Measured:
    """Train the same network with each way of joining it to its loss, and measure the gradients they give."""
    runs = {way: trained(way) for way in WAYS}
    pulls = {way: pull(way) for way in (LOGITS, MISTAKE)}
    right, wrong = runs[LOGITS], runs[MISTAKE]
    same = max(float(np.max(np.abs(runs[way]["loss"] - right["loss"]))) for way in (LOG_PROBABILITIES, TWICE))
    needed = int(np.argmax(right["accuracy"] >= wrong["accuracy"][-1])) + 1
    worst, best = pulls[MISTAKE][0], pulls[LOGITS][0]
    figures = {
        "floor of the mistaken loss, ln(e + 9) − 1 (nats)": FLOOR,
        f"{MISTAKE}: training loss after {EPOCHS} epochs (nats)": wrong["loss"][-1],
        f"{LOGITS}: training loss after {EPOCHS} epochs (nats)": right["loss"][-1],
        f"{MISTAKE}: test accuracy after the first epoch": wrong["accuracy"][0],
        f"{LOGITS}: test accuracy after the first epoch": right["accuracy"][0],
        f"{MISTAKE}: test accuracy after {EPOCHS} epochs": wrong["accuracy"][-1],
        f"{LOGITS}: test accuracy after {EPOCHS} epochs": right["accuracy"][-1],
        f"epochs in which logits reach what the mistake reaches in {EPOCHS}": needed,
        "gradient at a clear error (margin −10), by logits": best,
        "gradient at a clear error (margin −10), by the mistake": worst,
        "largest difference of the losses of the three right ways (nats)": same,
    }
    figures = {name: value if isinstance(value, int) else float(value) for name, value in figures.items()}
    checks = {
        "the mistaken loss never goes below its floor": bool(wrong["loss"].min() > FLOOR),
        "the right loss goes far below it, under a third": bool(right["loss"][-1] < FLOOR / 3),
        "after the first epoch the mistake is at least 20 points of accuracy behind": bool(
            right["accuracy"][0] - wrong["accuracy"][0] > 0.2
        ),
        f"with logits half the epochs are enough for what the mistake reaches in {EPOCHS}": needed <= EPOCHS // 2,
        "at a clear error the mistake's gradient is more than 1,000 times smaller": bool(worst < best / 1000),
        "log-softmax before NLLLoss, or even before CrossEntropyLoss, trains like logits (1e-9)": same < 1e-9,
    }
    return Measured(figures, checks, {"runs": runs, "pulls": pulls})


def draw(figure: Figure, data: Any) -> None:
    """Loss and accuracy by epoch, and the gradient's size by how wrong the network is."""
    loss, accuracy, gradient = style.axes_row(figure, 3)
    style.name(loss, "epoch", "training loss (nats)", "The loss that is reported")
    style.name(accuracy, "epoch", "accuracy on held-out digits (share)", "What is learnt")
    style.name(gradient, "margin of the right logit", "‖∂C/∂logits‖ (nats)", "Pull on one example", log="y")
    shown = (LOGITS, LOG_PROBABILITIES, MISTAKE)
    for n, way in enumerate(shown):
        epochs = range(1, EPOCHS + 1)
        style.line(loss, epochs, data["runs"][way]["loss"], way, n=n, markersize=9 - 2 * n)
        style.line(accuracy, epochs, data["runs"][way]["accuracy"], way, n=n, markersize=9 - 2 * n)
        if way in data["pulls"]:
            style.line(gradient, MARGINS, data["pulls"][way], way, n=n)
    style.level(loss, FLOOR, "floor of the mistake, ln(e + 9) − 1")
    loss.set_ylim(0, 2.4)
    accuracy.set_ylim(0, 1)
    gradient.set_ylim(1e-6, 3.0)
    gradient.annotate("← clearly wrong", (0.02, 0.03), xycoords="axes fraction", fontsize=9)
    gradient.annotate("clearly right →", (0.98, 0.03), xycoords="axes fraction", fontsize=9, ha="right")
    style.legend(accuracy, loc="lower right", fontsize=9)


LAB = Lab(
    row="C2",
    claim="A log loss wants log-probabilities or logits. Handed probabilities, it takes a softmax of a softmax: its "
    "loss has a floor far above 0, its gradients are smaller, and the network learns more slowly.",
    look="On the left the mistaken loss stays above its floor, because a softmax of numbers between 0 and 1 can never "
    "be sure of anything; no error is raised, and it still falls a little. On the right the reason for the slowness: "
    "where the network is clearly wrong, logits pull with full strength, while the inner softmax is flat and lets "
    "almost nothing through.",
    measure=measure,
    draw=draw,
)
