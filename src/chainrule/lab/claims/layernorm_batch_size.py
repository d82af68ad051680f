"""LayerNorm looks at one row at a time: the batch around it changes nothing, in training or in inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.networks import TrainTestRows, multilayer, sample, trained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
FEATURES, PROBES = 32, 20
SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
TRAINED, ROWS, EPOCHS = (2, 4, 16, 64), 600, 2
RATE_PER_ROW = 0.01
"""The learning rate grows with the batch, so that a network whose rows do not see each other learns alike."""
KINDS: dict[str, Callable[[int], nn.Module]] = {"LayerNorm": nn.LayerNorm, "BatchNorm": nn.BatchNorm}


def hidden() -> Array:
    """What a first linear layer makes of the digits: rows of features to normalise."""
    weights = np.random.default_rng(0).standard_normal((64, FEATURES)).astype(np.float32) / 8
    return sample().X @ weights


def changes(kind: str, rows: Array) -> list[float]:
    """By batch size, how much a row's output differs from its output among all rows: root mean square."""
    draw = np.random.default_rng(1)
    layer = KINDS[kind](FEATURES)
    among_all = layer(rows).numpy()[:PROBES]
    differences = []
    for size in SIZES:
        alone = [layer(np.vstack([rows[i : i + 1], rows[draw.choice(len(rows), size - 1)]])) for i in range(PROBES)]
        differences.append(np.sqrt(np.mean([(y.numpy()[0] - a) ** 2 for y, a in zip(alone, among_all, strict=True)])))
    return [float(d) for d in differences]


def between_modes(kind: str, rows: Array) -> float:
    """The largest difference between the outputs in training and in inference, after seeing ten batches of 32."""
    layer = KINDS[kind](FEATURES)
    for start in range(0, 320, 32):
        layer(rows[start : start + 32])
    batch = rows[320:352]
    return float(np.abs(layer.train()(batch).numpy() - layer.eval()(batch).numpy()).max())


def accuracies(kind: str) -> list[float]:
    """Test accuracy by batch size, after reading the same rows as often."""
    X, y, *test = sample()
    rows = TrainTestRows(X[:ROWS], y[:ROWS], *test)
    return [
        trained(
            multilayer((64, FEATURES, FEATURES, 10), nn.ReLU, normalized=KINDS[kind]),
            cr.optim.SGD(RATE_PER_ROW * size), rows, EPOCHS, size,
        ).accuracy
        for size in TRAINED
    ]  # fmt: skip


def measure() -> Measured:
    """One row among others, training against inference, and trainings, with both normalisations."""
    rows = hidden()
    layer = nn.LayerNorm(FEATURES)
    one = layer(rows[:1]).numpy()
    own = (rows[:1] - rows[:1].mean(1)) / np.sqrt(rows[:1].var(1) + layer.eps)
    changed = {kind: changes(kind, rows) for kind in KINDS}
    modes = {kind: between_modes(kind, rows) for kind in KINDS}
    quality = {kind: accuracies(kind) for kind in KINDS}
    alone = float(np.abs(one - layer(rows).numpy()[:1]).max())
    figures: dict[str, Any] = {
        "LayerNorm: largest difference from the row's own mean and deviation, by hand": float(np.abs(one - own).max()),
        "LayerNorm: largest difference of a row alone from itself among 1,200": alone,
        "batch sizes": list(SIZES),
        "batch sizes trained with": list(TRAINED),
    }
    for kind in KINDS:
        figures[f"{kind}: change of a row's output by batch size (root mean square)"] = [
            round(c, 7) for c in changed[kind]
        ]
        figures[f"{kind}: largest difference between training and inference"] = modes[kind]
        figures[f"{kind}: test accuracy by batch size"] = [round(a, 4) for a in quality[kind]]
    layered, batched = quality["LayerNorm"], quality["BatchNorm"]
    checks = {
        "a row is normalised by its own mean and deviation": float(np.abs(one - own).max()) < 1e-5,
        "alone it comes out as among 1,200, to rounding": alone < 1e-5,
        "so it does in batches of every size": max(changed["LayerNorm"]) < 1e-5,
        "with BatchNorm the same row changes by more than 0.05 in batches of 256, and 0.5 in batches of 2": changed[
            "BatchNorm"
        ][-1]
        > 0.05
        and changed["BatchNorm"][0] > 0.5,
        "LayerNorm does the same in training and inference, to the last bit": modes["LayerNorm"] == 0.0,
        "BatchNorm does not": modes["BatchNorm"] > 0.05,
        "LayerNorm learns alike from batches of 2 and 64, within 0.1 of test accuracy": max(layered) - min(layered)
        < 0.1,
        "and with batches of 2 gets over 0.2 more right than BatchNorm": layered[0] > batched[0] + 0.2,
    }
    return Measured(figures, checks, {"changed": changed, "quality": quality})


def draw(figure: Figure, data: Any) -> None:
    """How much the companions change a row, and the test accuracy, by batch size."""
    left, right = style.axes_row(figure, 2)
    style.name(
        left, "batch size (rows)", "change of a row's output, root mean square\n(standard deviations)",
        "The same row among other companions", log="x",
    )  # fmt: skip
    style.name(right, "batch size (rows)", "test accuracy (share of rows)", f"After {EPOCHS} epochs", log="x")
    for kind in KINDS:
        style.line(left, SIZES, data["changed"][kind], kind, markevery=1)
        style.line(right, TRAINED, data["quality"][kind], kind, markevery=1)
    right.set_ylim(0, 1)
    for axes, sizes in ((left, SIZES), (right, TRAINED)):
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
    style.legend(left, loc="upper right")
    style.legend(right, loc="lower right")


LAB = Lab(
    row="E2",
    claim="LayerNorm normalises each row by itself: its output is the same in training and inference and does not "
    "depend on the batch size, where BatchNorm's does.",
    look="On the left a row's output with LayerNorm is the same whatever rows stand beside it, while BatchNorm's "
    "changes by about 1/√(batch size): its mean and deviation are those of the batch. On the right LayerNorm therefore "
    "learns as well from batches of 2 as from 64, with a rate that grows with the batch; BatchNorm needs companions.",
    measure=measure,
    draw=draw,
)
