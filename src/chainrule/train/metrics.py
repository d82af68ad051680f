"""Metrics: what each batch contributes, and what follows from the contributions of all.

A batch's contribution is a tree of tensors with a leading axis. Those of all batches are laid end to end, and the
metric is computed from that once, so that it is that of all rows together: what is no mean over batches (AUC, F1, R², a
function of one's own) is exact too. Both functions are traced into the program that trains, so that a training can be
stopped by any metric without returning to Python.

A weight counts a row as if it occurred so many times. Averages over classes are unweighted ("macro").
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule.errors import ArgumentError, check_choice
from chainrule.graph import functions as F
from chainrule.graph.indexing import put_add
from chainrule.graph.tensor import Tensor
from chainrule.nn.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, L1Loss, MSELoss, NLLLoss
from chainrule.nn.module import Module

Contributions = dict[str, Tensor]
SCORES = {BCELoss: "probability", BCEWithLogitsLoss: "logit", CrossEntropyLoss: "logits", NLLLoss: "log-probabilities"}
"""What the outputs of a classifier are, by its loss."""


@dataclass(frozen=True)
class Metric:
    """A metric of outputs and targets.

    Attributes:
        scores: what a classifier's outputs are: a "probability" or a "logit" a row, or "logits" or "log-probabilities"
            of all classes; "" for other losses.
    """

    name: ClassVar[str]
    greater_is_better: ClassVar[bool] = True
    of_classes: ClassVar[bool] = True

    scores: str = ""

    def update(self, output: Any, target: Tensor, weight: Tensor | None) -> Contributions:
        """What a batch contributes; every tensor has a leading axis, along which batches are laid end to end."""
        raise NotImplementedError

    def compute(self, found: Contributions) -> Tensor:
        """The metric, a number, from the contributions of all rows."""
        raise NotImplementedError

    @property
    def binary(self) -> bool:
        """Whether there is one score a row (or a label), above half of which it is of class 1."""
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


def _weighted(values: Tensor, weight: Tensor | None) -> Tensor:
    """Values (N, …), each row's times its weight."""
    if weight is None:
        return values
    return values * F.cast(F.reshape(weight, (-1, *(1,) * (values.ndim - 1))), values.dtype)


def _total(values: Tensor) -> Tensor:
    """A sum over rows (N, …) with a leading axis of one."""
    return F.sum(values, 0, keepdims=True)


def _rows(like: Tensor, weight: Tensor | None) -> Tensor:
    """The weight of all rows, as (1,)."""
    if weight is None:
        return F.as_tensor(np.full(1, like.shape[0], np.float64))
    return F.reshape(F.sum(F.cast(weight, np.float64)), (1,))


def _double(x: Tensor) -> Tensor:
    return F.cast(x, np.float64)


def _sum(x: Tensor) -> Tensor:
    return F.sum(_double(x), 0)


class _Mean(Metric):
    """A metric that is the mean of a number for each row."""

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """(N,) the number for each row."""
        raise NotImplementedError

    def update(self, output: Any, target: Tensor, weight: Tensor | None) -> Contributions:
        """The sum over the rows, and their number."""
        return {"sum": _total(_weighted(self.each(output, target), weight)), "rows": _rows(output, weight)}

    def compute(self, found: Contributions) -> Tensor:
        """Σ/N."""
        return _sum(found["sum"]) / _sum(found["rows"])


class Accuracy(_Mean):
    """The share of rows whose class is hit: the largest output, or for one binary output the side of one half."""

    name = "accuracy"

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """1 where the class is hit."""
        fits = isinstance(output, Tensor) and output.shape[:-1] == target.shape and output.shape[-1] > 1
        if not self.scores and (not fits or target.dtype.kind not in "iu"):
            raise ArgumentError(
                "with a loss of your own, accuracy is of class labels",
                where="metrics",
                expected="labels (N,), whole numbers, and outputs (N, K) of which the largest is the class",
                got=f"{target.dtype} targets {target.shape}, outputs {getattr(output, 'shape', type(output).__name__)}",
                hint="use BCELoss or BCEWithLogitsLoss for labels of 0 and 1, or leave accuracy out",
            )
        return self.hits(output, target)


class Top5(_Mean):
    """The share of rows whose class is among the five largest outputs (a tie counts as a hit)."""

    name = "top5"

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """1 where fewer than five outputs are larger than the target's."""
        if self.binary or output.shape[-1] <= 5:
            raise ArgumentError("top5 is for more than five classes", where="metrics", got=f"outputs {output.shape}")
        own = F.equal(F.expand_dims(F.cast(target, np.int64), -1), np.arange(output.shape[-1]))
        score = F.sum(F.where(own, output, np.zeros((), output.dtype)), -1, keepdims=True)
        return F.cast(F.sum(output > score, -1) < 5, output.dtype)


class LogLoss(_Mean):
    """−ln p of the target's class, on average."""

    name = "log_loss"
    greater_is_better = False

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """−ln p, on average over a row's labels."""
        p = self.log_probabilities(output)
        own = F.equal(F.expand_dims(F.cast(target, np.int64), -1), np.arange(p.shape[-1]))
        found = -F.sum(F.where(own, p, np.zeros((), p.dtype)), -1)
        return F.mean(found, tuple(range(1, found.ndim)))


class _Counted(Metric):
    """A metric of the numbers of true and false positives and negatives of each class."""

    def update(self, output: Any, target: Tensor, weight: Tensor | None) -> Contributions:
        """The counts, (1, K) each: predicted and true, predicted, true; and the rows."""
        predicted, true = self.by_class(output, target)
        counts = {"both": F.logical_and(predicted, true), "predicted": predicted, "true": true}
        found = {name: _total(_weighted(F.cast(x, np.float64), weight)) for name, x in counts.items()}
        return found | {"rows": _rows(output, weight)}

    def compute(self, found: Contributions) -> Tensor:
        """The mean over the classes that occur among targets or predictions."""
        both, predicted, true = (_sum(found[name]) for name in ("both", "predicted", "true"))
        value, counts = self.of_counts(both, predicted, true, _sum(found["rows"]))
        return F.sum(F.where(counts, value, 0.0)) / F.sum(F.cast(counts, np.float64))

    def of_counts(self, both: Tensor, predicted: Tensor, true: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(K,) the metric of each class, and whether the class counts."""
        raise NotImplementedError


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part/whole, 0 where there is nothing to divide by, as scikit-learn has it."""
    return part / F.maximum(whole, np.finfo(np.float64).tiny)


class Precision(_Counted):
    """TP/(TP + FP) of class 1, or the mean over the classes; 0 where nothing is predicted to be of it."""

    name = "precision"

    def of_counts(self, both: Tensor, predicted: Tensor, true: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Precision by class."""
        return _ratio(both, predicted), predicted + true > (-1.0 if self.binary else 0.0)


class Recall(_Counted):
    """TP/(TP + FN) of class 1, or the mean over the classes; 0 where nothing is of it."""

    name = "recall"

    def of_counts(self, both: Tensor, predicted: Tensor, true: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Recall by class."""
        return _ratio(both, true), predicted + true > (-1.0 if self.binary else 0.0)


class F1(_Counted):
    """2·TP/(2·TP + FP + FN) of class 1, or the mean over the classes."""

    name = "f1"

    def of_counts(self, both: Tensor, predicted: Tensor, true: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """F1 by class."""
        return _ratio(2.0 * both, predicted + true), predicted + true > (-1.0 if self.binary else 0.0)


class BalancedAccuracy(_Counted):
    """The mean over the classes that occur of the share of their rows that is hit."""

    name = "balanced_accuracy"

    def of_counts(self, both: Tensor, predicted: Tensor, true: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Recall by class, class 0 included."""
        if self.binary:
            # What is neither predicted nor true is a hit of class 0.
            both = F.concatenate([both, rows - predicted - true + both])
            true = F.concatenate([true, rows - true])
        return _ratio(both, true), true > 0.0


class AUC(Metric):
    """The area under the ROC curve: how often a row of a class has a greater score than one that is not; ties are half.

    Of class 1, or the mean over the classes of each against the rest. NaN where there is but one class.
    """

    name = "auc"

    def update(self, output: Any, target: Tensor, weight: Tensor | None) -> Contributions:
        """Every row's scores, labels and weight: what the area is made of."""
        _, true = self.by_class(output, target)
        if self.binary:
            scores = F.reshape(output, (output.shape[0], -1))
        else:
            p = self.log_probabilities(output)
            # Of two classes the difference says the same, and does not round to 1.
            scores = p[:, 1:] - p[:, :1] if p.shape[-1] == 2 else F.exp(p)
            true = true[:, 1:] if p.shape[-1] == 2 else true
        found = {"scores": scores, "true": F.cast(true, np.float32)}
        return found if weight is None else found | {"weights": F.reshape(weight, (-1, 1))}

    def compute(self, found: Contributions) -> Tensor:
        """Σ over scores, from low to high, of the positives that have it times the negatives below, ties half."""
        scores, positives = found["scores"], _double(found["true"])
        negatives = 1.0 - positives
        if "weights" in found:
            positives, negatives = positives * _double(found["weights"]), negatives * _double(found["weights"])
        areas = [_area(scores[:, k], positives[:, k], negatives[:, k]) for k in range(scores.shape[1])]
        return F.mean(F.stack(areas))


def _area(scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    order = F.argsort(scores)
    scores, positives, negatives = scores[order], positives[order], negatives[order]
    first = F.concatenate([np.ones(1, np.bool_), F.not_equal(scores[1:], scores[:-1])])
    # Rows of one score share a number, by which their negatives are summed.
    group = F.cumsum(F.cast(first, np.int64), 0) - 1
    tied = put_add(negatives, group, scores.shape)
    below = F.cumsum(tied, 0) - 0.5 * tied
    return F.sum(positives * below[group]) / (F.sum(positives) * F.sum(negatives))


class _OfNumbers(_Mean):
    """A metric of outputs that are numbers: a mean over rows, and over a row's outputs."""

    of_classes = False
    greater_is_better = False

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """The error of each number."""
        raise NotImplementedError

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """The mean error of a row."""
        found = self.error(output, target)
        return F.sum(found, tuple(range(1, found.ndim))) / float(np.prod(found.shape[1:]))


class MSE(_OfNumbers):
    """The mean of the squared errors."""

    name = "mse"

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """(o − t)²."""
        return F.square(output - target)


class RMSE(MSE):
    """The root of the mean of the squared errors."""

    name = "rmse"

    def compute(self, found: Contributions) -> Tensor:
        """√(Σ/N)."""
        return F.sqrt(super().compute(found))


class MAE(_OfNumbers):
    """The mean of the absolute errors."""

    name = "mae"

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """|o − t|."""
        return abs(output - target)


class MAPE(_OfNumbers):
    """The mean of |o − t|/|t|, a share and not in percent, as scikit-learn has it; huge where a target is 0."""

    name = "mape"

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """|o − t|/max(|t|, ε), ε of double precision."""
        return abs(output - target) / F.maximum(abs(target), np.asarray(np.finfo(np.float64).eps, target.dtype))


class R2(Metric):
    """1 − Σ(o − t)²/Σ(t − t̄)² over all outputs together, each output with its own mean t̄; NaN without spread."""

    name = "r2"
    of_classes = False

    def update(self, output: Any, target: Tensor, weight: Tensor | None) -> Contributions:
        """The squared errors, and the weight, mean and squared distances from it of the batch's targets.

        Means and squares by batch are put together without the cancellation of Σt² − (Σt)²/N (Chan, Golub and LeVeque,
        1979): t̄ may be far above the spread.
        """
        errors = F.sum(_weighted(F.square(output - target), weight))
        t = F.reshape(_double(target), (target.shape[0], -1))
        rows = _rows(target, weight)
        # A batch may have no weight at all.
        mean = _total(_weighted(t, weight)) / F.maximum(rows, np.finfo(np.float64).tiny)
        return {
            "errors": F.reshape(errors, (1,)),
            "rows": rows,
            "means": mean,
            "squares": _total(_weighted(F.square(t - mean), weight)),
        }

    def compute(self, found: Contributions) -> Tensor:
        """1 − Σ errors/Σ(squares within batches, and of their means about the mean of all)."""
        rows, means = F.reshape(found["rows"], (-1, 1)), found["means"]
        mean = F.sum(rows * means, 0) / F.sum(rows)
        spread = F.sum(found["squares"]) + F.sum(rows * F.square(means - mean))
        return F.where(spread > 0.0, 1.0 - _sum(found["errors"]) / spread, np.nan)


@dataclass(frozen=True)
class Function(Metric):
    """A function of one's own of the outputs and targets of all rows; it gives a number as a `Tensor`.

    Attributes:
        function: (output, target), or (output, target, sample_weight) where it has an argument of that name.
        label: its name in the history.
    """

    function: Callable[..., Any] | None = None
    label: str = ""

    @property
    def weighs(self) -> bool:
        """Whether the function takes weights."""
        return "sample_weight" in inspect.signature(self.function).parameters  # type: ignore[arg-type]  # always given

    def update(self, output: Any, target: Tensor, weight: Tensor | None) -> Any:
        """Every row as it is."""
        found = {"output": output, "target": target}
        return found | ({"sample_weight": weight} if self.weighs and weight is not None else {})

    def compute(self, found: Any) -> Tensor:
        """What the function gives for all rows."""
        assert self.function is not None, "a metric without its function"
        value = F.as_tensor(self.function(found.pop("output"), found.pop("target"), **found))
        if value.size != 1:
            raise ArgumentError("a metric is one number", where=f"metrics, {self.label}", got=value.label())
        return F.reshape(value, ())


_KINDS: dict[str, type[Metric]] = {
    kind.name: kind
    for kind in (
        Accuracy, AUC, F1, Precision, Recall, BalancedAccuracy, LogLoss, Top5, R2, RMSE, MSE, MAE, MAPE,
    )
}  # fmt: skip
NAMES = tuple(_KINDS)
"""The metrics that are known by name."""
_TAKEN = ("loss", "lr", "epoch")


def named(metric: Metric) -> str:
    """What a metric is called in the history."""
    return metric.label if isinstance(metric, Function) else metric.name


def classifies(loss: Module) -> bool:
    """Whether a loss is that of a classifier."""
    return isinstance(loss, tuple(SCORES))


def regresses(loss: Module) -> bool:
    """Whether a loss is that of a regression."""
    return isinstance(loss, (MSELoss, L1Loss, HuberLoss))


def _usual(loss: Module) -> tuple[str, ...]:
    if classifies(loss):
        return ("accuracy",)
    return ("r2",) if regresses(loss) else ()


def chosen(metrics: Sequence[str | Callable[..., Any]] | None, loss: Module) -> list[Metric]:
    """The metrics asked for; by default accuracy for a classifier, R² for a regression, none for other losses."""
    wanted = _usual(loss) if metrics is None else metrics
    if isinstance(wanted, str) or callable(wanted):
        got = repr(wanted) if isinstance(wanted, str) else getattr(wanted, "__name__", "a function")
        raise ArgumentError("a list of metrics is wanted", where="metrics", got=got, hint=f"write ({got},)")
    found = [_metric(one, loss) for one in wanted]
    names = [named(metric) for metric in found]
    for name in names:
        if names.count(name) > 1 or name in _TAKEN or name.startswith("val_"):
            raise ArgumentError(
                "a metric needs a name of its own",
                where="metrics",
                got=repr(name),
                hint="give the function another name",
            )
    return found


def _metric(wanted: Any, loss: Module) -> Metric:
    scores = next((what for kind, what in SCORES.items() if isinstance(loss, kind)), "")
    if callable(wanted) and not isinstance(wanted, type):
        return Function(scores, wanted, getattr(wanted, "__name__", type(wanted).__name__))
    check_choice("metrics", wanted, NAMES)
    kind = _KINDS[wanted]
    if kind.of_classes and (regresses(loss) or (not scores and kind is not Accuracy)):
        raise ArgumentError(
            f"{wanted} is for classifiers", where="metrics", got=type(loss).__name__,
            hint="use r2, rmse, mae or mape, or a function of your own",
        )  # fmt: skip
    if not kind.of_classes and scores:
        raise ArgumentError(
            f"{wanted} is for regression",
            where="metrics",
            got=type(loss).__name__,
            hint="use accuracy, auc or log_loss",
        )
    return kind(scores)
