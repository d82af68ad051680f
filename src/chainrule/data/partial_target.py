"""What a pass through a table tells about the column to predict, in memory that does not grow with the rows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from chainrule.data.columns import usable
from chainrule.data.partial_fit import MOST_LEVELS, NumberPartialFit
from chainrule.data.sources import Source
from chainrule.data.target import (
    Target,
    all_missing,
    check_classes,
    constant,
    labels,
    missing_note,
    target_column,
    task_note,
    task_of,
    too_many_classes,
)


class TargetPartialFit:
    """The column to predict.

    Args:
        name: of the column.
        task: "classify", "regress", or "auto" to infer it.
    """

    def __init__(self, name: str, task: str) -> None:
        self.name, self.task = name, task
        self._rows = self._labelled = 0
        self._counts: Counter[Any] | None = Counter()
        self._numbers = NumberPartialFit(1)
        self._dtype: Any = None

    def add(self, batch: Source, labelled: np.ndarray, train: np.ndarray) -> None:
        """Take in a batch, of which these rows have a target, and these are to be trained on."""
        column = target_column(batch, self.name)
        self._rows += batch.rows
        self._labelled += len(labelled)
        if not len(labelled):
            return
        self._dtype = column.dtype
        known = column[labelled]
        if self._counts is not None and (known.n_unique() > MOST_LEVELS or len(self._counts) > MOST_LEVELS):
            self._counts = None
        if self._counts is not None:
            self._counts.update(dict(known.value_counts(name="rows").iter_rows()))
        if self.task == "regress" or (self.task == "auto" and column.dtype.is_numeric()):
            self._numbers.add(column, train, 0)

    def finish(self, notes: list[str]) -> Target:
        """The target.

        Raises:
            DataError: it is all missing, is the same in every row, or does not suit the task.
        """
        if not self._labelled:
            raise all_missing(self.name)
        notes += missing_note(self.name, self._rows - self._labelled)
        task = self.task
        if task == "auto":
            task, reason = self._inferred()
            notes.append(task_note(self.name, task, reason))
        if task == "classify":
            return Target(self.name, "classify", self._classes(), notes=list(notes))
        if self._numbers.low == self._numbers.high:
            raise constant(self.name, self._numbers.low)
        mean, sigma = float(self._numbers.moments.mean), float(self._numbers.moments.sigma)
        return Target(self.name, "regress", None, mean, usable(mean, sigma), list(notes))

    def _inferred(self) -> tuple[str, str]:
        import polars as pl

        if not self._dtype.is_numeric():
            several = f"more than {MOST_LEVELS:,}" if self._counts is None else str(len(self._counts))
            return "classify", "true or false" if self._dtype == pl.Boolean else f"{several} different labels"
        if self._counts is None:
            return "regress", f"more than {MOST_LEVELS:,} different numbers"
        return task_of(np.sort(np.array(list(self._counts), float)), self._labelled)

    def _classes(self) -> list[Any]:
        import polars as pl

        if self._counts is None:
            raise too_many_classes(self.name, f"more than {MOST_LEVELS:,}", self._dtype.is_numeric())
        found = labels(pl.Series(self.name, list(self._counts), self._dtype))
        return check_classes(self.name, set(found), self._labelled, self._dtype.is_numeric())
