"""What can be set about the training on a table, and the recipe: what each setting is where nothing is said.

`benchmarks/tables.py` measures the recipe; docs/tables.md tells what each part of it gains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from chainrule.tabular.choices import OPTIMIZERS

STEPS = 2000
"""About how many updates a network of this size needs; small tables are gone through more often for it."""
LEAST_EPOCHS, MOST_EPOCHS = 30, 200
PATIENCE = 16
"""Epochs without a better loss on the rows held out before the training stops."""
FOLDS = 5
FEW_ROWS = 4000
"""Below so many rows pieces of numbers fit their noise."""
MANY_ROWS = 10_000
"""From so many rows wider networks learn more than they cost."""
MANY_COLUMNS = 32
"""From so many columns a first layer of 64 leaves out what matters (digits)."""
WIDE = 512
"""More columns than this pieces do not make."""
HELD_OUT = 0.15
"""The share of rows that choose when to stop, where there are no folds."""


@dataclass(frozen=True)
class Shape:
    """What the recipe looks at.

    Args:
        task: "classify" or "regress".
        rows: to train on.
        columns: of the matrix that the network is fed.
    """

    task: str
    rows: int
    columns: int


Chosen = Mapping[str, Any]
Default = Callable[[Chosen, Shape], Any]


def batch_size(chosen: Chosen, shape: Shape) -> int:
    """32 for small tables, all rows of tiny ones, up to 256 of many; all for what reads curvature from its steps.

    Example:
        >>> [batch_size({"optimizer": "adam"}, Shape("classify", rows, 8)) for rows in (1000, 50_000, 10**7)]
        [32, 256, 256]
    """
    if _full_batch(chosen):
        return shape.rows
    return min(max(2 ** round(math.log2(max(shape.rows, 1) / 128)), 32), 256, shape.rows)


def epochs(chosen: Chosen, shape: Shape) -> int:
    """As many as make about `STEPS` updates."""
    steps = math.ceil(shape.rows / min(chosen["batch_size"], shape.rows))
    return min(max(math.ceil(STEPS / steps), LEAST_EPOCHS), MOST_EPOCHS)


def rate(chosen: Chosen, shape: Shape) -> float:
    """The optimizer's own."""
    return OPTIMIZERS[chosen["optimizer"]].rate


def schedule(chosen: Chosen, shape: Shape) -> str:
    """Down to nothing along a cosine; what finds its own step length is left alone."""
    return "constant" if _full_batch(chosen) else "cosine"


def layers(chosen: Chosen, shape: Shape) -> list[int]:
    """Two of 64 for small tables; wider ones where there are many columns, or rows enough to use them."""
    if shape.rows >= MANY_ROWS:
        return [128, 128]
    return [128, 64] if shape.columns >= MANY_COLUMNS else [64, 64]


def bins(chosen: Chosen, shape: Shape) -> int:
    """Pieces of each number: none where there are few rows, or very many columns."""
    return 0 if shape.rows < FEW_ROWS or 16 * shape.columns > WIDE else 16


def folds(chosen: Chosen, shape: Shape) -> int:
    """5, or as many as there are rows for two each."""
    return max(1, min(FOLDS, shape.rows // 2))


def _full_batch(chosen: Chosen) -> bool:
    return bool(chosen["optimizer"] == "lbfgs")


@dataclass(frozen=True)
class Settings:
    """Settings of the training on a table; None stands for what the recipe says, `RECIPE`.

    Attributes:
        layers: widths of the hidden layers, from 0 of them.
        activation, optimizer, schedule: names in `chainrule.tabular.choices`.
        batch_size: rows a step, from 1.
        epochs: passes over the rows, at most, from 1.
        lr: the learning rate, above 0.
        dropout: the share of hidden units dropped, in [0, 1].
        bins: pieces into which the range of each number is cut, from 0.
        l1, l2: strengths of penalties, from 0.
        folds: parts into which the rows are dealt; each is held out by the networks of its own. 1 for none.
        members: networks on each fold, from 1.
        patience: epochs without a better loss on the rows held out before the training stops, from 1.
        metric: names of `chainrule.tabular.scores`, the first of which is optimised; None for the loss: log-loss, or
            the squared error.
        class_weight: "balanced", a number for each class in order, or None for every row counting as much.
        time_budget: seconds after which the training ends, with the best so far; None for none.
        backend, precision, device, seed: as `Trainer` has them.

    Example:
        >>> chosen = Settings(lr=0.01).complete(Shape("classify", 1000, 8))
        >>> chosen.lr, chosen.layers, chosen.batch_size, chosen.epochs
        (0.01, [64, 64], 32, 63)
    """

    layers: list[int] | None = None
    activation: str | None = None
    optimizer: str | None = None
    batch_size: int | None = None
    epochs: int | None = None
    lr: float | None = None
    schedule: str | None = None
    dropout: float | None = None
    bins: int | None = None
    l1: float | None = None
    l2: float | None = None
    folds: int | None = None
    members: int | None = None
    patience: int | None = None
    metric: list[str] | None = None
    class_weight: str | list[float] | None = None
    time_budget: float | None = None
    backend: str | None = None
    precision: str | None = None
    device: str | None = None
    seed: int | None = None

    def given(self) -> dict[str, Any]:
        """Those that are not None."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def complete(self, shape: Shape) -> Settings:
        """These, and what the recipe says for each that is None."""
        chosen: dict[str, Any] = {}
        for entry in fields(self):
            value, default = getattr(self, entry.name), RECIPE.get(entry.name)
            if value is None:
                value = default(chosen, shape) if callable(default) else default
            chosen[entry.name] = value
        return Settings(**chosen)


RECIPE: dict[str, Any] = {
    "layers": layers, "activation": "silu", "optimizer": "adam", "batch_size": batch_size, "epochs": epochs,
    "lr": rate, "schedule": schedule, "dropout": 0.0, "bins": bins, "l1": 0.0, "l2": 0.0, "folds": folds,
    "members": 1, "patience": PATIENCE, "backend": "auto", "precision": "float32", "device": "auto", "seed": 0,
}  # fmt: skip
"""Each is a value, or a function of what was chosen before it and of the shape of the table."""
