"""The objectives of scikit-learn's networks: a number a row, summed over its outputs, and the mean over rows."""

from __future__ import annotations

from typing import Any

from chainrule import nn
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor


class HalfSquaredError(nn.MSELoss):
    """C = ½ Σₖ(xₖ − tₖ)² of a row, from outputs and targets (N, K); the gradient is x − t."""

    def forward(self, output: Any, target: Any) -> Tensor:
        """The loss."""
        return self.reduced(F.sum(F.squared_error(output, target), -1) * 0.5)


class LabelwiseLogLoss(nn.BCEWithLogitsLoss):
    """C = Σₖ(log(1 + e^xₖ) − tₖ·xₖ) of a row, from logits and labels in {0, 1} (N, K); the gradient is σ(x) − t."""

    def forward(self, logits: Any, target: Any) -> Tensor:
        """The loss."""
        return self.reduced(F.sum(F.binary_cross_entropy_with_logits(logits, target), -1))


class PoissonLoss(nn.Loss):
    """C = Σₖ(e^xₖ − tₖ·xₖ + tₖ·log tₖ − tₖ) of a row, half the Poisson deviance of e^x from t ≥ 0 (N, K)."""

    def forward(self, output: Any, target: Any) -> Tensor:
        """The loss."""
        output, target = F.as_tensor(output), F.as_tensor(target)
        least = target * F.log(F.where(target > 0, target, 1.0)) - target
        return self.reduced(F.sum(F.exp(output) - target * output + least, -1))


def subset_accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of rows whose labels are all right, from logits and labels (N, K)."""
    return F.mean(F.cast(F.min(F.cast(F.equal(output > 0, target > 0.5), "float64"), -1), "float64"))


def r2_of_exp(output: Tensor, target: Tensor) -> Tensor:
    """R² of e^x, the mean over outputs (N, K)."""
    error = F.sum(F.square(target - F.exp(output)), 0)
    spread = F.sum(F.square(target - F.mean(target, 0, keepdims=True)), 0)
    return F.mean(1.0 - error / spread)


for metric in (subset_accuracy, r2_of_exp):
    metric.greater_is_better = True  # type: ignore[attr-defined]  # what early stopping asks of a metric
