"""Metrics that are summed up inside the program, one number a batch, and finished outside.

R² is that of all outputs together: 1 − Σ(o − t)²/Σ(t − t̄)², each output with its own mean t̄.
"""

from __future__ import annotations

import math
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
    """A metric: a sum over a batch, and the metric from the sum over all rows, their number and the targets' spread."""

    name: str
    sum: Callable[[Tensor, Tensor], Tensor]
    finish: Callable[[float, int, float], float]


def _hits_by_class(output: Tensor, target: Tensor) -> Tensor:
    return F.sum(F.equal(F.argmax(output, -1), F.cast(target, np.int64)))


def _hits_above(threshold: float) -> Callable[[Tensor, Tensor], Tensor]:
    # The mean over a row's outputs, so that a row counts once however many labels it has.
    return lambda output, target: F.sum(F.mean(F.equal(output > threshold, target > 0.5), tuple(range(1, output.ndim))))


def spread(target: Any) -> float:
    """Σ(t − t̄)², each column about its own mean: in double precision, since t̄ may be far above the spread."""
    target = np.asarray(target, np.float64)
    return float(np.square(target - target.mean(axis=0)).sum())


def _width(target: Tensor) -> float:
    return float(np.prod(target.shape[1:]))


def accuracy(loss: Module) -> Metric:
    """The share of rows whose class is hit: the largest output, or for one binary output the side of one half."""
    if isinstance(loss, (BCELoss, BCEWithLogitsLoss)):
        hits = _hits_above(0.5 if isinstance(loss, BCELoss) else 0.0)
    else:
        hits = _hits_by_class
    return Metric("accuracy", hits, lambda hits, rows, spread: hits / rows)


_OTHERS = {
    "r2": Metric(
        "r2",
        lambda o, t: F.sum(F.square(o - t)),
        lambda squares, rows, spread: 1.0 - squares / spread if spread > 0 else math.nan,
    ),
    "rmse": Metric(
        "rmse", lambda o, t: F.sum(F.square(o - t)) / _width(t), lambda squares, rows, spread: math.sqrt(squares / rows)
    ),
    "mae": Metric("mae", lambda o, t: F.sum(abs(o - t)) / _width(t), lambda errors, rows, spread: errors / rows),
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
