"""What watches a training inside its program: early stopping with the best state, and schedules that observe the loss.

After each whole epoch a value is looked at (the validation loss, or any metric). Where it is better than any before,
the parameters and buffers are kept; where it has not been for `patience` epochs, the training ends; and a schedule like
`ReduceOnPlateau` derives from one the factor on the learning rate. All of this is state of the program, so that it
goes on from call to call, into a checkpoint and out of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.optim.lr_schedules import Schedule
from chainrule.optim.plateau import Plateau

FOREVER = np.int32(2**31 - 1)
"""A patience that never ends."""


class Monitored(NamedTuple):
    """A value that is looked at: its name among an epoch's, and 1 where less of it is better, −1 where more is."""

    name: str = "val_loss"
    sign: int = 1

    @property
    def of_training(self) -> bool:
        """Whether it is of the rows that are trained on."""
        return not self.name.startswith("val_")


@dataclass(frozen=True)
class Monitor:
    """What is monitored, and what follows.

    Attributes:
        judged: what makes an epoch better than another; None where every whole epoch counts as better than the one
            before.
        keeps: the leaves of the state that are kept of the best epoch.
        observed: the value that a schedule observes, or None.
        schedule: that one.
        factor: where in the state its factor stands.
        latest: whether the last whole epoch's leaves are kept, not the best one's; the value to beat is then the best
            so far, by however little it became it.
    """

    judged: Monitored | None = None
    keeps: tuple[int, ...] = ()
    observed: Monitored | None = None
    schedule: Schedule | None = None
    factor: int | None = None
    latest: bool = False

    @property
    def key(self) -> Any:
        """What a program that contains it depends on."""
        schedule = self.schedule and (type(self.schedule), repr(self.schedule))
        return self.judged, self.keeps, self.observed, schedule, self.factor, self.latest

    @property
    def of_training(self) -> list[str]:
        """The names of the values of the rows that are trained on which have to be known of whole epochs."""
        return [value.name for value in (self.judged, self.observed) if value is not None and value.of_training]

    def begin(self, state: Sequence[Any], patience: int | None, min_delta: float, seen: Plateau) -> dict[str, Any]:
        """The state of the monitor before the first epoch.

        Args:
            state: the leaves of the training's state; those that are kept are its first ones.
            patience: epochs without a better value after which the training ends; None for any number.
            min_delta: by how much a value must be better.
            seen: what the schedule knows already.
        """
        return {
            "best": np.asarray(math.inf),
            "waited": np.asarray(0, np.int32),
            "patience": np.asarray(FOREVER if patience is None else patience, np.int32),
            "min_delta": np.asarray(min_delta, np.float64),
            "kept": [state[i] for i in self.keeps],
            "plateau": list(_typed(seen)) if self.schedule is not None else [],
        }

    def after(
        self, watch: dict[str, Any], values: dict[str, Tensor], state: list[Tensor], whole: Tensor
    ) -> tuple[dict[str, Any], list[Tensor], Tensor]:
        """The monitor's state, the training's, and whether to go on; as before the epoch where that is not whole."""
        best, better, keep = watch["best"], whole, whole
        if self.judged is not None:
            score = _signed(values, self.judged)
            better = F.logical_and(whole, score < best - watch["min_delta"])
            keep = whole if self.latest else better
            best = F.where(F.logical_and(whole, score < best) if self.latest else better, score, best)
        waited = F.where(whole, watch["waited"] + np.int32(1), watch["waited"])
        new: dict[str, Any] = {
            "best": best,
            "waited": F.where(better, np.int32(0), waited),
            "kept": [F.where(keep, state[i], old) for i, old in zip(self.keeps, watch["kept"], strict=True)],
        }
        if self.schedule is not None and self.observed is not None and self.factor is not None:
            before = Plateau(*watch["plateau"])
            seen = _typed(self.schedule.observe(before, _signed(values, self.observed)))
            new["plateau"] = [F.where(whole, now, then) for now, then in zip(seen, before, strict=True)]
            state = list(state)
            state[self.factor] = F.cast(new["plateau"][0], state[self.factor].dtype)
        return watch | new, state, new["waited"] < watch["patience"]


def _signed(values: dict[str, Tensor], of: Monitored) -> Tensor:
    """A value of which less is better."""
    return F.cast(values[of.name], np.float64) * float(of.sign)


def _typed(seen: Plateau) -> Plateau:
    """What a schedule has seen, in the dtypes in which the program holds it."""
    kinds = (np.float64, np.float64, np.int32, np.int32)
    if any(isinstance(x, Tensor) and x.value is None for x in seen):
        return Plateau(*(F.cast(x, kind) for x, kind in zip(seen, kinds, strict=True)))
    return Plateau(*(np.asarray(getattr(x, "value", x), kind) for x, kind in zip(seen, kinds, strict=True)))
