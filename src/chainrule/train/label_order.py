"""Whether labels are sorted, told from a chunk of them at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class LabelOrder:
    """How labels follow one another.

    Attributes:
        rows: that have been looked at.
        changes: how often a label is another one than that before it.
        classes: the labels that occur.
        may_be: whether all that has been seen may be sorted labels. Where it may not, nothing more is looked at, so
            that of numbers that are no classes few are held.

    Example:
        >>> order = LabelOrder()
        >>> order.add([0, 0, 0]), order.add([1, 1])
        (None, None)
        >>> order.are_sorted
        True
    """

    rows: int = 0
    changes: int = 0
    classes: np.ndarray[Any, Any] = field(default_factory=lambda: np.empty(0))
    may_be: bool = True
    _last: Any = None

    def add(self, y: Any) -> None:
        """See the labels of the next rows, (N,) or (N, 1)."""
        if not self.may_be or not len(y):
            return
        labels = np.asarray(y).reshape(len(y), -1)
        if labels.shape[1] != 1:
            self.may_be = False
            return
        self.changes += int(np.count_nonzero(labels[1:] != labels[:-1]))
        self.changes += self._last is not None and bool(labels[0, 0] != self._last)
        self.classes = np.union1d(self.classes, labels)
        self.rows, self._last = self.rows + len(labels), labels[-1, 0]
        classes = len(self.classes)
        # One row more: a chunk may be of one.
        self.may_be = self.changes == classes - 1 and self.rows + 1 >= 2 * classes

    @property
    def are_sorted(self) -> bool:
        """Whether there are several classes, each of which is one run of rows, of two rows on average at least."""
        return self.may_be and 1 < len(self.classes) <= self.rows / 2
