"""Which rows each member of an ensemble is trained on, and which it holds out, as arrays that a `Trainer` takes.

All members go through the same batches; how much a row counts for a member stands beside its target, 0 where the member
holds it out. The rows that each one holds out are laid side by side, so that an evaluation computes each only for the
member that it is of: together they are the out-of-fold predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.split import folds as dealt

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Division:
    """What the members hold out.

    Attributes:
        groups: of the members, by the rows that they hold out: row numbers, ascending.
        members: how many there are of each group.
        trained: rows that are trained on by some member.
    """

    groups: list[Array]
    members: int
    trained: Array

    @classmethod
    def into_folds(cls, y: Array, task: str, folds: int, members: int, seed: int) -> Division:
        """Every row is held out by the members of one fold; classes are dealt out evenly."""
        return cls([held for _, held in dealt(y, task, folds, seed)], members, np.arange(len(y)))

    @classmethod
    def apart(cls, rows: int, held: Array, members: int) -> Division:
        """All members hold out the same rows, perhaps none."""
        return cls([held], members, np.setdiff1d(np.arange(rows), held))

    @property
    def count(self) -> int:
        """Members in all."""
        return len(self.groups) * self.members

    @property
    def evaluated(self) -> Array:
        """The rows that some member holds out, ascending."""
        return np.sort(np.concatenate(self.groups))

    def held(self, rows: int) -> Array:
        """(rows, count) whether a member holds a row out."""
        found = np.zeros((rows, self.count), bool)
        for group, held in enumerate(self.groups):
            found[held, group * self.members : (group + 1) * self.members] = True
        return found

    def training(self, X: Array, y: Array, weights: Array, batch: int) -> tuple[Array, Array]:
        """X (N, 1, …) and (N, count, 2), the target and the weight of a row for each member.

        Rows that count for nobody fill the last batch: one size of batch is half as much to compile as two.

        Args:
            X: (rows, …).
            y: (rows, count), a target for each member.
            weights: (rows,) how much a row counts.
            batch: rows a step.
        """
        rows = self.trained
        counts = np.where(self.held(len(X))[rows], 0, weights[rows, None])
        missing = -len(rows) % min(batch, len(rows))
        # The mean over the rows of a member's own is what its loss would be if it were trained alone.
        total = counts.sum(axis=0, keepdims=True)
        counts = counts * ((len(rows) + missing) / np.where(total > 0, total, 1))
        targets = np.stack([y[rows], counts], axis=-1).astype(np.float32)
        if missing:
            rows = np.concatenate([rows, np.full(missing, rows[0])])
            targets = np.concatenate([targets, np.repeat(targets[:1] * [1, 0], missing, axis=0)], dtype=np.float32)
        return X[rows, None], targets

    def evaluation(self, X: Array, y: Array, weights: Array) -> tuple[Array, Array] | None:
        """The same of the rows held out, side by side: X (N, groups' members or 1, …); None where none counts."""
        most = max(map(len, self.groups))
        if not weights[self.evaluated].any():
            return None
        alike = len(self.groups) == 1
        groups = range(1) if alike else range(self.count)
        features = np.zeros((most, len(groups), *X.shape[1:]), X.dtype)
        for member in groups:
            held = self.groups[0 if alike else member // self.members]
            features[: len(held), member] = X[held]
        targets = np.zeros((most, self.count, 2), np.float32)
        for member in range(self.count):
            held = self.groups[member // self.members]
            targets[: len(held), member, 0] = y[held, member]
            targets[: len(held), member, 1] = weights[held]
        # The mean over all rows held out, whichever member holds them out.
        targets[..., 1] *= most * self.count / targets[..., 1].sum()
        return features, targets
