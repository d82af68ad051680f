"""Metrics: what each batch contributes, and what follows from the contributions of all.

A batch's contribution is a tree of tensors with a leading axis. Those of all batches are laid end to end, and the
metric is computed from that once, so that it is that of all rows together: what is no mean over batches (AUC, F1, R², a
function of one's own) is exact too. Both functions are traced into the program that trains, so that a training can be
stopped by any metric without returning to Python.

A weight counts a row as if it occurred so many times. Averages over classes are unweighted ("macro").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.nn.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, NLLLoss

Contributions = dict[str, Tensor]
SCORES = {BCELoss: "probability", BCEWithLogitsLoss: "logit", CrossEntropyLoss: "logits", NLLLoss: "log-probabilities"}
"""What the outputs of a classifier are, by its loss."""


@dataclass(frozen=True)
class Metric:
    """A metric of outputs and targets.

    Attributes:
        scores: what a classifier's outputs are: a "probability" or a "logit" a row, or "logits" or "log-probabilities"
            of all classes; "" for other losses.
        output: which of several outputs it is of; None for the only one, or all.
    """

    name: ClassVar[str]
    greater_is_better: ClassVar[bool] = True
    of_classes: ClassVar[bool] = True

    scores: str = ""
    output: str | None = None

    def picked(self, output: Any, target: Any) -> tuple[Any, Any]:
        """The output and the target that it is of."""
        if self.output is None:
            return output, target
        for what, given in (("outputs of the model", output), ("targets", target)):
            if not isinstance(given, dict) or self.output not in given:
                got = list(given) if isinstance(given, dict) else type(given).__name__
                raise ArgumentError(f"not among the {what}", where="metrics", expected=repr(self.output), got=got)
        return output[self.output], target[self.output]

    def update(self, output: Any, target: Tensor, weight: Tensor | None) -> Contributions:
        """What a batch contributes; every tensor has a leading axis, along which batches are laid end to end."""
        raise NotImplementedError

    def compute(self, found: Contributions) -> Tensor:
        """The metric, a number, from the contributions of all rows."""
        raise NotImplementedError

    @property
    def binary(self) -> bool:
        """Whether there is one score per row (or label), above half of which it is of class 1."""
        return self.scores in ("probability", "logit")

    def hits(self, output: Tensor, target: Tensor) -> Tensor:
        """The share of a row's labels that the outputs hit: 0 or 1 where it has one."""
        if not self.binary:
            return F.cast(F.equal(F.argmax(output, -1), F.cast(target, np.int64)), output.dtype)
        half = 0.5 if self.scores == "probability" else 0.0
        # The mean over a row's outputs, so that a row counts once however many labels it has.
        return F.mean(F.equal(output > half, target > 0.5), tuple(range(1, output.ndim)))

    def by_class(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(N, K) truth values: which class is predicted, and which is the target's. Class 1 alone where binary."""
        if self.binary:
            half = 0.5 if self.scores == "probability" else 0.0
            return F.reshape(output > half, (output.shape[0], -1)), F.reshape(target > 0.5, (target.shape[0], -1))
        classes = np.arange(output.shape[-1])
        predicted = F.expand_dims(F.argmax(output, -1), -1)
        return F.equal(predicted, classes), F.equal(F.expand_dims(F.cast(target, np.int64), -1), classes)

    def log_probabilities(self, output: Tensor) -> Tensor:
        """(N, K) ln p of each class."""
        if self.scores == "log-probabilities":
            return output
        if self.scores == "logits":
            return F.log_softmax(output, -1)
        if self.scores == "logit":
            return F.stack([F.logsigmoid(-output), F.logsigmoid(output)], -1)
        tiny = np.finfo(output.dtype).tiny
        return F.log(F.maximum(F.stack([1 - output, output], -1), tiny))


def weighted(values: Tensor, weight: Tensor | None) -> Tensor:
    """Values (N, …), each row's times its weight."""
    if weight is None:
        return values
    return values * F.cast(F.reshape(weight, (-1, *(1,) * (values.ndim - 1))), values.dtype)


def total(values: Tensor) -> Tensor:
    """A sum over rows (N, …) with a leading axis of one."""
    return F.sum(values, 0, keepdims=True)


def rows_of(like: Tensor, weight: Tensor | None) -> Tensor:
    """The weight of all rows, as (1,)."""
    if weight is None:
        return F.as_tensor(np.full(1, like.shape[0]))
    return F.reshape(F.sum(F.cast(weight, np.float64)), (1,))


def double(x: Tensor) -> Tensor:
    """In double precision."""
    return F.cast(x, np.float64)


def summed(x: Tensor) -> Tensor:
    """The sum over the first axis, in double precision."""
    return F.sum(double(x), 0)


class Mean(Metric):
    """A metric that is the mean of a number for each row."""

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """(N,) the number for each row."""
        raise NotImplementedError

    def update(self, output: Any, target: Tensor, weight: Tensor | None) -> Contributions:
        """The sum over the rows, and their number."""
        return {"sum": total(weighted(self.each(output, target), weight)), "rows": rows_of(output, weight)}

    def compute(self, found: Contributions) -> Tensor:
        """Σ/N."""
        return summed(found["sum"]) / summed(found["rows"])
