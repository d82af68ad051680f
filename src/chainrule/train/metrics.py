"""Metrics that are summed up inside the program, one number a batch, and finished outside.

R² is that of all outputs together: 1 − Σ(o − t)²/Σ(t − t̄)², each output with its own mean t̄.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, check_choice
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.nn.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, L1Loss, MSELoss, NLLLoss
from chainrule.nn.module import Module


@dataclass(frozen=True)
class Metric:
    """A metric: a sum over a batch, and the metric from the sum over all rows, their number and the targets' spread."""

    name: str
    sum: Callable[[Tensor, Tensor], Tensor]
    finish: Callable[[float, int, float], float]


def _hits_by_class(output: Tensor, target: Tensor) -> Tensor:
    return F.sum(F.equal(F.argmax(output, -1), F.cast(target, np.int64)))


def _hits_above(output: Tensor, target: Tensor, threshold: float) -> Tensor:
    # The mean over a row's outputs, so that a row counts once however many labels it has.
    return F.sum(F.mean(F.equal(output > threshold, target > 0.5), tuple(range(1, output.ndim))))


def _hits_of_labels(output: Any, target: Tensor) -> Tensor:
    fits = isinstance(output, Tensor) and output.shape[:-1] == target.shape and output.shape[-1] > 1
    if not fits or target.dtype.kind not in "iu":
        raise ArgumentError(
            "with a loss of your own, accuracy is of class labels",
            where="metrics",
            expected="labels (N,), whole numbers, and outputs (N, K) of which the largest is the class",
            got=f"{target.dtype} targets {target.shape} and outputs {getattr(output, 'shape', type(output).__name__)}",
            hint="use BCELoss or BCEWithLogitsLoss for labels of 0 and 1, or leave accuracy out",
        )
    return _hits_by_class(output, target)


def spread(target: Any) -> float:
    """Σ(t − t̄)², each column about its own mean: in double precision, since t̄ may be far above the spread."""
    target = np.asarray(target, np.float64)
    return float(np.square(target - target.mean(axis=0)).sum())


def _width(target: Tensor) -> float:
    return float(np.prod(target.shape[1:]))


def _share(hits: float, rows: int, spread: float) -> float:
    return hits / rows


def _squares(output: Tensor, target: Tensor) -> Tensor:
    return F.sum(F.square(output - target))


def _r2(squares: float, rows: int, spread: float) -> float:
    return 1.0 - squares / spread if spread > 0 else math.nan


def _mean_squares(output: Tensor, target: Tensor) -> Tensor:
    return _squares(output, target) / _width(target)


def _root(squares: float, rows: int, spread: float) -> float:
    return math.sqrt(squares / rows)


def _mean_errors(output: Tensor, target: Tensor) -> Tensor:
    return F.sum(abs(output - target)) / _width(target)


def accuracy(loss: Module) -> Metric:
    """The share of rows whose class is hit: the largest output, or for one binary output the side of one half."""
    hits: Callable[[Tensor, Tensor], Tensor] = _hits_by_class if classifies(loss) else _hits_of_labels
    if isinstance(loss, (BCELoss, BCEWithLogitsLoss)):
        hits = functools.partial(_hits_above, threshold=0.5 if isinstance(loss, BCELoss) else 0.0)
    return Metric("accuracy", hits, _share)


_OTHERS = {
    "r2": Metric("r2", _squares, _r2),
    "rmse": Metric("rmse", _mean_squares, _root),
    "mae": Metric("mae", _mean_errors, _share),
}


def classifies(loss: Module) -> bool:
    """Whether a loss is that of a classifier."""
    return isinstance(loss, (CrossEntropyLoss, NLLLoss, BCELoss, BCEWithLogitsLoss))


def regresses(loss: Module) -> bool:
    """Whether a loss is that of a regression."""
    return isinstance(loss, (MSELoss, L1Loss, HuberLoss))


def _usual(loss: Module) -> tuple[str, ...]:
    if classifies(loss):
        return ("accuracy",)
    return ("r2",) if regresses(loss) else ()


def chosen(metrics: Sequence[str] | None, loss: Module) -> list[Metric]:
    """The metrics of these names; by default accuracy for a classifier, R² for a regression, none for other losses."""
    names = _usual(loss) if metrics is None else metrics
    if isinstance(names, str):
        raise ArgumentError("a list of names is wanted", where="metrics", got=repr(names), hint=f"write ({names!r},)")
    for name in names:
        check_choice("metrics", name, ("accuracy", *_OTHERS))
        if name == "accuracy" and regresses(loss):
            raise ArgumentError(
                "accuracy is for classifiers", where="metrics", got=type(loss).__name__, hint="use r2, rmse or mae"
            )
    return [accuracy(loss) if name == "accuracy" else _OTHERS[name] for name in names]
