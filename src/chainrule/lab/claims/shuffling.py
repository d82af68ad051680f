"""Rows sorted by label and never shuffled: the network learns which class is being shown, and forgets the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.samples import digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
CLASSES, BATCH, RATE, EPOCHS, FOLLOWED = 10, 32, 0.1, 8, 2


def sorted_digits() -> tuple[Array, Array]:
    """All zeros, then all ones, …, then all nines."""
    X, y = digits()
    order = np.argsort(y, kind="stable")
    return X[order], y[order]


def new_trainer() -> cr.Trainer:
    """The same untrained network every time."""
    cr.seed(0)
    model = cr.nn.Sequential(cr.nn.Linear(64, 32), cr.nn.ReLU(), cr.nn.Linear(32, CLASSES))
    return cr.Trainer(model, cr.nn.CrossEntropyLoss(), cr.optim.SGD(RATE), backend="numpy")


def last_bias(trainer: cr.Trainer) -> Array:
    """The bias of the last layer."""
    return dict(trainer.model.named_parameters())["2.bias"].numpy()


def compared() -> dict[str, dict[str, Array]]:
    """Accuracy on all rows and the reported loss by epoch, by how the sorted rows are shuffled."""
    X, y = sorted_digits()
    found = {}
    for shuffle in ("never", "once", "epoch"):
        trainer = new_trainer()
        called: list[Array] = []

        def watch(trainer: cr.Trainer, called: list[Array] = called) -> None:
            called.append(trainer.predict(X).argmax(1))

        history = trainer.fit(
            X, y, epochs=EPOCHS, batch_size=BATCH, shuffle=shuffle, validation=(X, y), progress=False,
            callbacks=[watch],
        )  # fmt: skip
        found[shuffle] = {
            "accuracy": np.array(history.metrics["val_accuracy"]),
            "reported": np.array(history.metrics["accuracy"]),
            "last class": np.array([np.mean(c == CLASSES - 1) for c in called]),
        }
    return found


def followed(order: Array) -> tuple[Array, Array]:
    """The last bias after every batch of an epoch, from a trained epoch on, and the batches' labels (most frequent)."""
    X, y = sorted_digits()
    X, y = X[order], y[order]
    trainer, biases, shown = new_trainer(), [], []
    for _ in range(FOLLOWED):
        for start in range(0, len(X) - BATCH, BATCH):
            rows = slice(start, start + BATCH)
            trainer.fit(X[rows], y[rows], epochs=1, batch_size=BATCH, shuffle="never", progress=False)
            biases.append(last_bias(trainer))
            shown.append(np.bincount(y[rows], minlength=CLASSES).argmax())
    return np.array(biases), np.array(shown)


def risen_most(biases: Array, shown: Array) -> Array:
    """For each block of a class, whether its own bias rose most while it was shown."""
    before = np.concatenate([np.zeros((1, CLASSES)), biases])
    return np.array([np.argmax(before[b[-1] + 1] - before[b[0]]) == shown[b[0]] for b in _runs(shown)])


def _runs(shown: Array) -> list[Array]:
    """The places of each run of batches that show one class."""
    return np.split(np.arange(len(shown)), np.flatnonzero(np.diff(shown)) + 1)


def measure() -> Measured:
    """Train on sorted digits with and without shuffling, and follow the last layer's bias batch by batch."""
    runs = compared()
    rows = len(digits()[1])
    biases, shown = followed(np.arange(rows))
    mixed, _ = followed(np.random.default_rng(0).permutation(rows))
    own = risen_most(biases, shown)
    second = slice(len(biases) // FOLLOWED, None)
    swing, calm = (float(np.mean(np.ptp(b[second], axis=0))) for b in (biases, mixed))
    figures = {
        **{f"accuracy on all rows after {EPOCHS} epochs, shuffle={how!r}": float(run["accuracy"][-1])
           for how, run in runs.items()},
        f"accuracy reported during epoch {EPOCHS}, shuffle='never'": float(runs["never"]["reported"][-1]),
        "accuracy on all rows after the first epoch, shuffle='never'": float(runs["never"]["accuracy"][0]),
        "rows called 9, the class seen last, after the first epoch (share)": float(runs["never"]["last class"][0]),
        "blocks of one class in which that class's bias rose most (share)": float(own.mean()),
        "swing of a bias within the second epoch, sorted (logits)": swing,
        "swing of a bias within the second epoch, shuffled (logits)": calm,
    }  # fmt: skip
    never, reported, epoch = runs["never"]["accuracy"], runs["never"]["reported"], runs["epoch"]["accuracy"]
    checks = {
        "while a class is shown, its own bias rises most (in at least 90 % of the blocks)": bool(own.mean() >= 0.9),
        "the biases swing more than 3 times as far as with shuffled rows": swing > 3 * calm,
        "after the first epoch most rows are called by the class seen last": bool(runs["never"]["last class"][0] > 0.5),
        f"after {EPOCHS} epochs never shuffling is at least 15 points of accuracy behind": bool(
            epoch[-1] - never[-1] > 0.15
        ),
        "the accuracy reported in training hides it: it is at least 20 points too high": bool(
            reported[-1] - never[-1] > 0.2
        ),
        "shuffling once is nearly as good as every epoch here (within 5 points)": bool(
            epoch[-1] - runs["once"]["accuracy"][-1] < 0.05
        ),
    }
    return Measured(figures, checks, {"runs": runs, "biases": biases, "mixed": mixed, "shown": shown})


def draw(figure: Figure, data: Any) -> None:
    """The biases of four classes batch by batch, sorted and shuffled, and the accuracy by epoch."""
    followed_sorted, followed_mixed, accuracy = style.axes_row(figure, 3)
    batches = np.arange(1, len(data["shown"]) + 1)
    for axes, biases, title in (
        (followed_sorted, data["biases"], "Sorted: each bias follows its class"),
        (followed_mixed, data["mixed"], "Shuffled: the biases stay calm"),
    ):
        style.name(axes, f"batch ({FOLLOWED} epochs)", "bias of the last layer (logits)", title)
        for n, label in enumerate((0, 3, 6, 9)):
            style.line(axes, batches, biases[:, label], f"class {label}", n=n)
        axes.set_ylim(-0.3, 0.3)
    for block in _runs(data["shown"]):
        followed_sorted.axvline(block[-1] + 1.5, 0, 0.06, color="#666666", linewidth=1)
        followed_sorted.annotate(str(data["shown"][block[0]]), (block.mean() + 1, -0.293), ha="center", fontsize=9)
    followed_sorted.annotate("class shown:", (0, -0.262), fontsize=9)
    style.legend(followed_mixed, ncols=2, loc="upper center")
    style.name(accuracy, "epoch", "accuracy on all rows (share)", "What is learnt from sorted rows")
    for how, run in data["runs"].items():
        style.line(accuracy, range(1, EPOCHS + 1), run["accuracy"], f'shuffle="{how}"')
    style.line(accuracy, range(1, EPOCHS + 1), data["runs"]["never"]["reported"], '"never", as reported in training')
    style.level(accuracy, 1 / CLASSES, "chance")
    accuracy.set_ylim(0, 1.02)
    style.legend(accuracy, loc="center right", bbox_to_anchor=(1, 0.57), fontsize=9)


LAB = Lab(
    row="C4",
    claim="Rows must be shuffled. Sorted by label, the last layer's bias follows the class that is being shown, and "
    "each class undoes what was learnt of the others.",
    look="On the left each bias rises while the batches are of its own class and falls afterwards: always to answer "
    "the class of the day is the quickest way to a small loss. In the middle the same rows, shuffled, leave the biases "
    "nearly in place, so the weights have to learn. On the right the accuracy this costs, which the accuracy "
    "reported in training hides: each batch is judged just after others of its class.",
    measure=measure,
    draw=draw,
)
