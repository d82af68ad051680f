"""The schedule that is not a function of the step: it lowers the rate when the loss stays level."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from chainrule.errors import check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.optim.lr_schedules import Constant, Schedule

__all__ = ["ReduceOnPlateau"]


class Plateau(NamedTuple):
    """What a schedule that observes the losses has seen.

    Attributes:
        factor: on the learning rate.
        best: the least loss.
        waited: epochs without a better one.
        resting: epochs to come that do not count.
    """

    factor: Any = 1.0
    best: Any = math.inf
    waited: Any = 0
    resting: Any = 0


class ReduceOnPlateau(Schedule):
    """The rate is multiplied by `factor` when the loss has not improved for more than `patience` epochs.

    Better is less than best − threshold·|best|. The loss is the validation's where there is one, else the training's.
    As PyTorch's `ReduceLROnPlateau` with mode="min", except that the lower bound is one on the factor (PyTorch's on the
    rate) and that a loss below 0 must become better too. In `Warmup(ReduceOnPlateau())` the epochs of the rise count.

    Args:
        factor: in (0, 1).
        patience: epochs without a better loss that are tolerated, at least 0.
        threshold: the share by which a loss must be better, in [0, 1).
        cooldown: epochs after a reduction that do not count, at least 0.
        min_factor: what the product of the reductions stays above, in [0, 1].

    Example:
        >>> schedule, seen = ReduceOnPlateau(factor=0.5, patience=1), Plateau()
        >>> for loss in (3.0, 2.0, 2.0, 2.0, 1.0):
        ...     seen = schedule.observe(seen, loss)
        ...     print(seen.factor, end=" ")
        1.0 1.0 1.0 0.5 0.5
    """

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_factor: float = 0.0,
    ) -> None:
        self.factor = check_number("factor", factor, low=0, high=1, low_open=True, high_open=True)
        self.patience = check_number("patience", patience, low=0, integer=True)
        self.threshold = check_number("threshold", threshold, low=0, high=1, high_open=True)
        self.cooldown = check_number("cooldown", cooldown, low=0, integer=True)
        self.min_factor = check_number("min_factor", min_factor, low=0, high=1)

    def __call__(self, step: Any) -> Tensor:
        """1: the steps change nothing."""
        return Constant()(step)

    @property
    def observes(self) -> bool:
        """Always."""
        return True

    def observe(self, seen: Plateau, loss: Any) -> Plateau:
        """What is known after an epoch of this loss: numbers, or tensors where it is the loss of a traced epoch."""
        factor, best, waited, resting = (x if isinstance(x, Tensor) else F.as_tensor(np.asarray(x)) for x in seen)
        value = loss if isinstance(loss, Tensor) else F.as_tensor(np.float64(loss))
        better = value < best - self.threshold * F.where(F.isfinite(best), abs(best), 0.0)
        waited = F.where(resting > 0, 0, F.where(better, 0, waited + 1))
        due = waited > self.patience
        now = Plateau(
            F.where(due, F.maximum(factor * self.factor, self.min_factor), factor),
            F.where(better, value, best),
            F.where(due, 0, waited),
            F.where(due, self.cooldown, F.maximum(resting - 1, 0)),
        )
        return now if isinstance(loss, Tensor) else Plateau(*(x.item() for x in now))
