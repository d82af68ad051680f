"""Losses: modules of (output, target) that return a scalar, or a value per row with `reduction="none"`."""

from __future__ import annotations

from typing import Any

from chainrule.errors import ShapeError, check_choice, check_number
from chainrule.graph import functions as F
from chainrule.graph.fused import class_labels, hits, may_ignore
from chainrule.graph.tensor import Tensor
from chainrule.nn.module import Module


class Loss(Module):
    """Base class of the losses.

    Args:
        reduction: "mean" over rows (or elements), "sum", or "none".
    """

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = check_choice("reduction", reduction, ("mean", "sum", "none"))

    def reduced(self, values: Tensor) -> Tensor:
        """The values as `reduction` says."""
        return {"mean": F.mean, "sum": F.sum, "none": F.identity}[self.reduction](values)

    def extra(self) -> str:
        """The reduction, if it is not the mean."""
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


def is_sum(loss: Module) -> bool:
    """Whether the loss of a batch is the sum over its rows, not their mean."""
    return getattr(loss, "reduction", "mean") == "sum"


def _same_shape(name: str, output: Any, target: Any) -> tuple[Tensor, Tensor]:
    output, target = F.as_tensor(output), F.as_tensor(target)
    if output.shape != target.shape:
        fits = output.size == target.size
        raise ShapeError(
            "the target does not fit the output",
            where=name,
            expected=f"a target of shape {output.shape}",
            got=target.shape,
            hint=f"reshape it: y.reshape({', '.join(['-1', *map(str, output.shape[1:])])})"
            if fits
            else "check the width of the last layer",
        )
    return output, target


class LabelLoss(Loss):
    """Base class of the losses of class labels: rows with one label that means "none" are left out.

    Args:
        reduction: "mean" over the rows that are not ignored, "sum", or "none".
        ignore_index: the label of the rows to ignore: their loss and gradient are 0.
    """

    def __init__(self, reduction: str = "mean", ignore_index: int = -100) -> None:
        super().__init__(reduction)
        self.ignore_index = check_number("ignore_index", ignore_index, integer=True)

    def of_rows(self, values: Tensor, labels: Tensor) -> Tensor:
        """The values of the rows as `reduction` says; the mean is over those that are not ignored."""
        if self.reduction != "mean" or not may_ignore(labels, self.ignore_index):
            return self.reduced(values)
        return F.sum(values) / F.cast(F.sum(F.not_equal(labels, self.ignore_index)), values.dtype)

    def extra(self) -> str:
        """The settings that differ from the defaults."""
        ignored = "" if self.ignore_index == -100 else f"ignore_index={self.ignore_index}"
        return ", ".join(filter(None, (super().extra(), ignored)))


class CrossEntropyLoss(LabelLoss):
    """C = −log softmax(logits)[label], from logits (N, K) and labels (N,) in 0…K−1.

    The gradient is fused: softmax(logits) − onehot(label). Smoothing spreads ε of the label's weight over all classes
    (Szegedy et al. 2016).

    Args:
        reduction: "mean" over the rows that are not ignored, "sum" or "none".
        label_smoothing: ε in [0, 1].
        ignore_index: the label of rows whose loss and gradient are 0.

    Raises:
        OutOfRangeError: a label that is neither in 0…K−1 nor to be ignored; it names the row.

    Example:
        >>> import chainrule as cr
        >>> round(cr.nn.CrossEntropyLoss()(cr.tensor([[0.0, 0.0]]), [1]).item(), 4)
        0.6931
    """

    def __init__(self, reduction: str = "mean", label_smoothing: float = 0.0, ignore_index: int = -100) -> None:
        super().__init__(reduction, ignore_index)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, low=0, high=1)

    def forward(self, logits: Any, labels: Any) -> Tensor:
        """The loss."""
        labels = F.as_tensor(labels)
        return self.of_rows(F.cross_entropy(logits, labels, self.label_smoothing, self.ignore_index), labels)


class NLLLoss(LabelLoss):
    """C = −x[label], from log-probabilities (N, K), as LogSoftmax gives them, and labels (N,) in 0…K−1.

    Args:
        reduction: "mean" over the rows that are not ignored, "sum" or "none".
        ignore_index: the label of rows whose loss and gradient are 0.

    Raises:
        OutOfRangeError: a label that is neither in 0…K−1 nor to be ignored; it names the row.
        ShapeError: labels that do not fit, or are not integers.

    Example:
        >>> NLLLoss("none")([[-0.5, -1.0], [-2.0, -0.1]], [1, -100]).tolist()
        [1.0, 0.0]
    """

    def forward(self, log_probabilities: Any, labels: Any) -> Tensor:
        """The loss."""
        x, labels = F.as_tensor(log_probabilities), F.as_tensor(labels)
        if labels.shape != x.shape[:-1]:
            raise ShapeError("the labels do not fit", where="NLLLoss", expected=x.shape[:-1], got=labels.shape)
        if labels.dtype.kind not in "iu":
            raise ShapeError("labels are not integers", where="NLLLoss", got=labels.dtype)
        hit = hits(class_labels(labels, x.shape[-1], self.ignore_index), x.shape[-1])
        if may_ignore(labels, self.ignore_index):
            hit = F.logical_and(hit, F.expand_dims(F.not_equal(labels, self.ignore_index), -1))
        # Chosen and not multiplied, or the 0 of another class would make NaN of a log-probability of −∞.
        return self.of_rows(F.sum(F.where(hit, -x, 0.0), -1), labels)


class BCELoss(Loss):
    """C = −t·ln p − (1−t)·ln(1−p), from probabilities p and targets t of one shape; logarithms are held at −100."""

    def forward(self, probabilities: Any, target: Any) -> Tensor:
        """The loss."""
        return self.reduced(F.binary_cross_entropy(*_same_shape("BCELoss", probabilities, target)))


class BCEWithLogitsLoss(Loss):
    """C = log(1 + eˣ) − t·x, the binary cross-entropy of σ(x), from logits and targets of one shape."""

    def forward(self, logits: Any, target: Any) -> Tensor:
        """The loss."""
        return self.reduced(F.binary_cross_entropy_with_logits(*_same_shape("BCEWithLogitsLoss", logits, target)))


class MSELoss(Loss):
    """C = (x − t)², from outputs and targets of one shape."""

    def forward(self, output: Any, target: Any) -> Tensor:
        """The loss."""
        return self.reduced(F.squared_error(*_same_shape("MSELoss", output, target)))


class L1Loss(Loss):
    """C = |x − t|, from outputs and targets of one shape; ∂C/∂x = sign(x − t), 0 where they are equal."""

    def forward(self, output: Any, target: Any) -> Tensor:
        """The loss."""
        return self.reduced(F.absolute_error(*_same_shape("L1Loss", output, target)))


class HuberLoss(Loss):
    """C = (x − t)²/2 where |x − t| ≤ δ, else δ·(|x − t| − δ/2), from outputs and targets of one shape. Huber (1964).

    Its gradient is x − t held to ±δ, so that an outlier pulls no harder than a difference of δ. PyTorch's
    `SmoothL1Loss` is this divided by δ.

    Args:
        reduction: "mean", "sum" or "none".
        delta: δ, above 0.

    Raises:
        ArgumentError: δ not above 0.

    Example:
        >>> HuberLoss("none", delta=2.0)([1.0, 10.0], [0.0, 0.0]).tolist()
        [0.5, 18.0]
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = check_number("delta", delta, low=0, low_open=True)

    def extra(self) -> str:
        """The reduction and δ, if they differ from the defaults."""
        return ", ".join(filter(None, (super().extra(), "" if self.delta == 1 else f"delta={self.delta}")))

    def forward(self, output: Any, target: Any) -> Tensor:
        """The loss."""
        return self.reduced(F.huber(*_same_shape("HuberLoss", output, target), self.delta))
