"""Metrics of regressions."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.train.metrics.metric import Contributions, Mean, Metric, double, rows_of, summed, total, weighted


class _OfNumbers(Mean):
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
        errors = F.sum(weighted(F.square(output - target), weight))
        t = F.reshape(double(target), (target.shape[0], -1))
        rows = double(rows_of(target, weight))
        # A batch may have no weight at all.
        mean = total(weighted(t, weight)) / F.maximum(rows, np.finfo(np.float64).tiny)
        return {
            "errors": F.reshape(errors, (1,)),
            "rows": rows,
            "means": mean,
            "squares": total(weighted(F.square(t - mean), weight)),
        }

    def compute(self, found: Contributions) -> Tensor:
        """1 − Σ errors/Σ(squares within batches, and of their means about the mean of all)."""
        rows, means = F.reshape(found["rows"], (-1, 1)), found["means"]
        mean = F.sum(rows * means, 0) / F.sum(rows)
        spread = F.sum(found["squares"]) + F.sum(rows * F.square(means - mean))
        return F.where(spread > 0.0, 1.0 - summed(found["errors"]) / spread, np.nan)
