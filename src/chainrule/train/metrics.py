"""Metrics that are summed up inside the program, a few numbers a batch, and finished outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, check_choice
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.nn.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, Loss, NLLLoss
from chainrule.nn.module import Module


@dataclass(frozen=True)
class Metric:
    """A metric: sums over a batch (`width` numbers), and the metric from the sums over all rows and their number."""

    name: str
    sums: Callable[[Tensor, Tensor], list[Tensor]]
    finish: Callable[[Any, int], float]
    width: int = 1


def _hits_by_class(output: Tensor, target: Tensor) -> list[Tensor]:
    return [F.sum(F.equal(F.argmax(output, -1), F.cast(target, np.int64)))]


def _hits_above(threshold: float) -> Callable[[Tensor, Tensor], list[Tensor]]:
    # The mean over a row's outputs, so that a row counts once however many labels it has.
    return lambda output, target: [
        F.sum(F.mean(F.equal(output > threshold, target > 0.5), tuple(range(1, output.ndim))))
    ]


def _errors(output: Tensor, target: Tensor) -> list[Tensor]:
    return [F.sum(F.square(output - target)), F.sum(target), F.sum(F.square(target))]


def _r2(sums: Any, rows: int) -> float:
    squares, total, total_squares = sums
    spread = total_squares - total * total / rows
    return float(1.0 - squares / spread) if spread > 0 else float("nan")


def _width(target: Tensor) -> float:
    return float(np.prod(target.shape[1:]))


def accuracy(loss: Module) -> Metric:
    """The share of rows whose class is hit: the largest output, or for one binary output the side of one half."""
    if isinstance(loss, (BCELoss, BCEWithLogitsLoss)):
        sums = _hits_above(0.5 if isinstance(loss, BCELoss) else 0.0)
    else:
        sums = _hits_by_class
    return Metric("accuracy", sums, lambda s, rows: float(s[0] / rows))


_OTHERS = {
    "r2": Metric("r2", _errors, _r2, width=3),
    "rmse": Metric(
        "rmse", lambda o, t: [F.sum(F.square(o - t)) / _width(t)], lambda s, rows: float(np.sqrt(s[0] / rows))
    ),
    "mae": Metric("mae", lambda o, t: [F.sum(abs(o - t)) / _width(t)], lambda s, rows: float(s[0] / rows)),
}


def classifies(loss: Module) -> bool:
    """Whether a loss is that of a classifier."""
    return isinstance(loss, (CrossEntropyLoss, NLLLoss, BCELoss, BCEWithLogitsLoss))


def _usual(loss: Module) -> tuple[str, ...]:
    if classifies(loss):
        return ("accuracy",)
    return ("r2",) if isinstance(loss, Loss) else ()


def chosen(metrics: Sequence[str] | None, loss: Module) -> list[Metric]:
    """The metrics of these names; by default accuracy for a classifier, R² for a regression, none for other losses."""
    names = _usual(loss) if metrics is None else metrics
    if isinstance(names, str):
        raise ArgumentError("a list of names is wanted", where="metrics", got=repr(names), hint=f"write ({names!r},)")
    for name in names:
        check_choice("metrics", name, ("accuracy", *_OTHERS))
        if name == "accuracy" and not classifies(loss):
            raise ArgumentError(
                "accuracy is for classifiers", where="metrics", got=type(loss).__name__, hint="use r2, rmse or mae"
            )
    return [accuracy(loss) if name == "accuracy" else _OTHERS[name] for name in names]
