"""What a training on a table can be stopped by, besides its loss: metrics of the rows held out, in the program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, check_choice
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.tabular.scores import LESS_IS_BETTER, figures
from chainrule.train.metrics.classes import AUC, F1, Accuracy, BalancedAccuracy

_KINDS = {kind.name: kind for kind in (Accuracy, AUC, F1, BalancedAccuracy)}


def check_metrics(names: list[str] | None, task: str) -> list[str]:
    """The metrics asked for, all of which fit the task.

    Raises:
        ArgumentError: an unknown one, or one of another task.
    """
    others = figures("regress" if task == "classify" else "classify")
    for name in names or []:
        if name in others:
            expected = f"one of {', '.join(figures(task))}"
            what = "numbers" if task == "regress" else "classes"
            raise ArgumentError(f"does not fit {what}", where="metric", expected=expected, got=repr(name))
        check_choice("metric", name, tuple(figures(task)))
    return list(names or [])


def watched(names: list[str]) -> Callable[[Any, Any], Tensor] | None:
    """The first metric as a function of outputs and targets of all members; None where the loss says the same."""
    if not names or names[0] not in _KINDS:
        return None
    kind = _KINDS[names[0]]

    def value(output: Any, target: Any) -> Tensor:
        # Each row is its own for the member that holds it out, and of no weight for the others.
        flat = F.reshape(output, (-1, output.shape[-1]))
        labels = F.reshape(target[..., 0], (-1,))
        if flat.shape[-1] == 2:
            # F1 of two classes is that of class 1, not the mean of both.
            metric, flat, labels = kind(scores="logit"), flat[:, 1:] - flat[:, :1], F.expand_dims(labels, -1)
        else:
            metric, labels = kind(scores="logits"), F.cast(labels, np.int32)
        return metric.compute(metric.update(flat, labels, F.reshape(target[..., 1], (-1,))))

    value.__name__ = names[0]
    value.greater_is_better = names[0] not in LESS_IS_BETTER  # type: ignore[attr-defined]  # as metrics have it
    return value
