"""What watches a training inside its program: early stopping with the best state, and schedules that observe the loss.

After each whole epoch one value is looked at (the validation loss, say). Where it is better than any before, the
parameters and buffers are kept; where it has not been for `patience` epochs, the training ends; and a schedule like
`ReduceOnPlateau` derives from it the factor on the learning rate. All of this is state of the program, so that it
goes on from call to call, into a checkpoint and out of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.optim.plateau import Plateau
from chainrule.optim.schedules import Schedule

FOREVER = np.int32(2**31 - 1)
"""A patience that never ends."""


@dataclass(frozen=True)
class Monitor:
    """What is watched, and what follows.

    Attributes:
        value: its name among an epoch's values.
        sign: 1 where less is better, −1 where more is.
        keeps: the leaves of the state that are kept of the best epoch.
        schedule: one that observes the loss, or None.
        factor: where in the state its factor stands.
        latest: whether the last whole epoch's leaves are kept, not the best one's; the value to beat is then the best
            so far, by however little it became it.
    """

    value: str = "val_loss"
    sign: int = 1
    keeps: tuple[int, ...] = ()
    schedule: Schedule | None = None
    factor: int | None = None
    latest: bool = False

    @property
    def key(self) -> Any:
        """What a program that contains it depends on."""
        schedule = self.schedule and (type(self.schedule), repr(self.schedule))
        return self.value, self.sign, self.keeps, schedule, self.factor, self.latest

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
            "epoch_loss": np.asarray(0.0),
            "plateau": list(_typed(seen)) if self.schedule is not None else [],
        }

    def after(
        self, watch: dict[str, Any], values: dict[str, Tensor], state: list[Tensor], whole: Tensor
    ) -> tuple[dict[str, Any], list[Tensor], Tensor]:
        """The monitor's state, the training's, and whether to go on; as before the epoch where that is not whole.

        A schedule observes the validation loss, or without validation the loss, whatever value is watched.
        """
        score = F.cast(values[self.value], np.float64) * float(self.sign)
        better = F.logical_and(whole, score < watch["best"] - watch["min_delta"])
        best = F.logical_and(whole, score < watch["best"]) if self.latest else better
        keep = whole if self.latest else better
        waited = F.where(whole, watch["waited"] + np.int32(1), watch["waited"])
        new: dict[str, Any] = {
            "best": F.where(best, score, watch["best"]),
            "waited": F.where(better, np.int32(0), waited),
            "kept": [F.where(keep, state[i], old) for i, old in zip(self.keeps, watch["kept"], strict=True)],
        }
        if self.schedule is not None and self.factor is not None:
            before = Plateau(*watch["plateau"])
            seen = _typed(self.schedule.observe(before, values.get("val_loss", values["loss"])))
            new["plateau"] = [F.where(whole, now, then) for now, then in zip(seen, before, strict=True)]
            state = list(state)
            state[self.factor] = F.cast(new["plateau"][0], state[self.factor].dtype)
        return watch | new, state, new["waited"] < watch["patience"]


def _typed(seen: Plateau) -> Plateau:
    """What a schedule has seen, in the dtypes in which the program holds it."""
    kinds = (np.float64, np.float64, np.int32, np.int32)
    if any(isinstance(x, Tensor) and x.value is None for x in seen):
        return Plateau(*(F.cast(x, kind) for x, kind in zip(seen, kinds, strict=True)))
    return Plateau(*(np.asarray(getattr(x, "value", x), kind) for x, kind in zip(seen, kinds, strict=True)))
