"""Which metrics a training shows: those of a name, and functions of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.errors import ArgumentError, check_choice
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.nn.losses import HuberLoss, L1Loss, Loss, MSELoss
from chainrule.nn.module import Module
from chainrule.nn.named_losses import NamedLosses
from chainrule.train.metrics.classes import (
    AUC,
    F1,
    Accuracy,
    BalancedAccuracy,
    LogLoss,
    Precision,
    Recall,
    Top5,
)  # fmt: skip
from chainrule.train.metrics.metric import SCORES, Metric
from chainrule.train.metrics.numbers import MAE, MAPE, MSE, R2, RMSE


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


def metric_name(metric: Metric) -> str:
    """What a metric is called in the history."""
    name = metric.label if isinstance(metric, Function) else metric.name
    return name if metric.output is None else f"{metric.output}_{name}"


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


MetricSpec = Sequence[str | Callable[..., Any]]
"""Metrics of one output: names, and functions of one's own."""


def chosen(metrics: MetricSpec | Mapping[str, MetricSpec] | None, loss: Module) -> list[Metric]:
    """The metrics asked for; by default accuracy for a classifier, R² for a regression, none for other losses.

    Of several outputs they are by output; functions of one's own may be of all outputs.
    """
    if metrics is None and isinstance(loss, NamedLosses):
        metrics = {name: _usual(part) for name, part in loss.losses.items()}
    if isinstance(metrics, Mapping):
        found = [metric for name, wanted in metrics.items() for metric in _listed(wanted, _loss_of(name, loss), name)]
    else:
        if metrics is not None and isinstance(loss, NamedLosses) and not all(map(callable, metrics)):
            hint = f"write {{{next(iter(loss.losses))!r}: {metrics!r}}}"
            raise ArgumentError("not metrics by output", where="metrics", got=metrics, hint=hint)
        found = _listed(_usual(loss) if metrics is None else metrics, loss)
    names = [metric_name(metric) for metric in found]
    for name in names:
        if names.count(name) > 1 or name in _TAKEN or name.startswith("val_"):
            raise ArgumentError(
                "a metric needs a name of its own",
                where="metrics",
                got=repr(name),
                hint="give the function another name",
            )
    return found


def is_better_greater(metric: Metric) -> bool | None:
    """Whether more of a metric is better; None where nobody has said it of a function of one's own.

    A function says so itself, by an attribute `greater_is_better`.
    """
    if isinstance(metric, Function):
        return getattr(metric.function, "greater_is_better", None)
    return metric.greater_is_better


def by_output(metrics: Sequence[Metric]) -> list[str] | dict[str, list[str]]:
    """The names of metrics as `chosen` takes them; functions of one's own have none to be found by."""
    found: dict[str | None, list[str]] = {}
    for metric in metrics:
        own = isinstance(metric, Function)
        found.setdefault(metric.output, []).extend([] if own else [metric.name])
    return found.get(None, []) if None in found or not found else {str(name): names for name, names in found.items()}


def _loss_of(output: str, loss: Module) -> Module:
    """The loss of an output; one of the user's own is of all of them."""
    if isinstance(loss, NamedLosses):
        check_choice("metrics", output, tuple(loss.losses))
        return loss.losses[output]
    if isinstance(loss, Loss):
        raise ArgumentError(
            "metrics by output need losses by output", where="metrics", got=type(loss).__name__,
            hint=f"loss={{{output!r}: {type(loss).__name__}(), …}}",
        )  # fmt: skip
    return loss


def _listed(wanted: Any, loss: Module, output: str | None = None) -> list[Metric]:
    if isinstance(wanted, str) or callable(wanted):
        got = repr(wanted) if isinstance(wanted, str) else getattr(wanted, "__name__", "a function")
        raise ArgumentError("not a list of metrics", where="metrics", got=got, hint=f"write ({got},)")
    return [_metric(one, loss, output) for one in wanted]


def _metric(wanted: Any, loss: Module, output: str | None) -> Metric:
    scores = next((what for kind, what in SCORES.items() if isinstance(loss, kind)), "")
    if callable(wanted) and not isinstance(wanted, type):
        return Function(scores, output, wanted, getattr(wanted, "__name__", type(wanted).__name__))
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
    return kind(scores, output)
