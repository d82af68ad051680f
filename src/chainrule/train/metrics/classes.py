"""Metrics of classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.graph import functions as F
from chainrule.graph.indexing import put_add
from chainrule.graph.tensor import Tensor
from chainrule.train.metrics.metric import Contributions, Mean, Metric, double, rows_of, summed, total, weighted


class Accuracy(Mean):
    """The share of rows whose class is hit: the largest output, or for one binary output the side of one half."""

    name = "accuracy"

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """1 where the class is hit."""
        fits = isinstance(output, Tensor) and output.shape[:-1] == target.shape and output.shape[-1] > 1
        if not self.scores and (not fits or target.dtype.kind not in "iu"):
            raise ArgumentError(
                "with a loss of your own, accuracy is of class labels",
                where="metrics",
                expected="integer labels (N,), and outputs (N, K) of which the largest is the class",
                got=f"{target.dtype} targets {target.shape}, outputs {getattr(output, 'shape', type(output).__name__)}",
                hint="use BCELoss or BCEWithLogitsLoss for labels of 0 and 1, or leave accuracy out",
            )
        return self.hits(output, target)


class Top5(Mean):
    """The share of rows whose class is among the five largest outputs (a tie counts as a hit)."""

    name = "top5"

    def each(self, output: Tensor, target: Tensor) -> Tensor:
        """1 where fewer than five outputs are larger than the target's."""
        if self.binary or output.shape[-1] <= 5:
            raise ArgumentError("top5 is for more than five classes", where="metrics", got=f"outputs {output.shape}")
        own = F.equal(F.expand_dims(F.cast(target, np.int64), -1), np.arange(output.shape[-1]))
        score = F.sum(F.where(own, output, np.zeros((), output.dtype)), -1, keepdims=True)
        return F.cast(F.sum(output > score, -1) < 5, output.dtype)


class LogLoss(Mean):
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
        found = {name: total(weighted(F.cast(x, np.float64), weight)) for name, x in counts.items()}
        return found | {"rows": rows_of(output, weight)}

    def compute(self, found: Contributions) -> Tensor:
        """The mean over the classes that occur among targets or predictions."""
        both, predicted, true = (summed(found[name]) for name in ("both", "predicted", "true"))
        value, counts = self.of_counts(both, predicted, true, summed(found["rows"]))
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
        scores, positives = found["scores"], double(found["true"])
        negatives = 1.0 - positives
        if "weights" in found:
            positives, negatives = positives * double(found["weights"]), negatives * double(found["weights"])
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
