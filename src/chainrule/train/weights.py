"""Weights of rows: how much each one counts in the loss and in the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, DataError
from chainrule.nn.losses import Loss, is_sum
from chainrule.nn.module import Module
from chainrule.nn.named_losses import NamedLosses
from chainrule.train.as_numbers import numbers
from chainrule.train.metrics import classifies

Array = np.ndarray[Any, Any]


def of_rows(given: Any, rows: int, loss: Module, name: str = "sample_weight") -> Array:
    """Weights (N,) as given, checked.

    Raises:
        DataError: not one finite weight of at least 0 a row, or all of them 0.
        ArgumentError: a loss of the user's own, of which no row can be weighted.
    """
    _can_be_weighted(loss, name)
    weights = numbers(given, name).astype(np.float64)
    if weights.shape != (rows,):
        raise DataError("not one weight per row", where=name, expected=f"({rows},)", got=weights.shape)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise DataError(
            "a weight is a finite number of at least 0", where=name, got=f"{weights[bad[0]]} in row {bad[0]}"
        )
    if not weights.any():
        raise DataError("all weights are 0", where=name)
    return weights


def of_classes(given: Any, y: Array, loss: Module) -> Array:
    """The weight (N,) of each row's class: "balanced" (N/(K·rows of the class), as scikit-learn has it) or a dict.

    Raises:
        ArgumentError: neither, or a loss that is not of classes.
        DataError: a class has no weight.
    """
    _can_be_weighted(loss, "class_weight")
    if isinstance(loss, NamedLosses):
        raise ArgumentError(
            "class weights need one class per row, and there are several targets", where="class_weight",
            got=[*loss.losses], hint="use sample_weight",
        )  # fmt: skip
    if not classifies(loss) or (y.ndim != 1 and y.size != len(y)):
        raise ArgumentError(
            "class weights need one class per row", where="class_weight",
            got=f"{type(loss).__name__}, targets {y.shape}", hint="use sample_weight",
        )  # fmt: skip
    classes, place, counts = np.unique(y.reshape(-1), return_inverse=True, return_counts=True)
    if isinstance(given, str) and given == "balanced":
        found = len(y) / (len(classes) * counts)
    elif isinstance(given, Mapping):
        missing = [label for label in classes.tolist() if label not in given]
        if missing:
            raise DataError(
                "a class has no weight", where="class_weight", expected=f"one for each of {classes.tolist()}",
                got=sorted(given), hint=f"add {missing[0]!r}: 1.0",
            )  # fmt: skip
        found = of_rows([given[label] for label in classes.tolist()], len(classes), loss, "class_weight")
    else:
        raise ArgumentError(
            "not class weights", where="class_weight", expected='"balanced" or {class: weight}', got=given
        )
    weights: Array = found[place]
    return weights


def scaled(weights: Array, loss: Module, dtype: np.dtype[Any]) -> Array:
    """The weights as the program takes them: for a mean loss their mean is 1, so that the rate need not change."""
    return np.asarray(weights if is_sum(loss) else weights / weights.mean(), dtype)


def _can_be_weighted(loss: Module, name: str) -> None:
    parts = loss.losses.values() if isinstance(loss, NamedLosses) else [loss]
    if not all(isinstance(part, Loss) for part in parts):
        raise ArgumentError(
            "a loss of your own gives one number for all rows, so single rows cannot be weighted", where=name,
            got=type(loss).__name__, hint="weight the rows within the loss, or use a loss of chainrule.nn",
        )  # fmt: skip
