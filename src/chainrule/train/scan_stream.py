"""One pass through a stream before it is trained on, so that a bad row is reported before the first step."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.data.standardize import Moments
from chainrule.data.streams import Stream
from chainrule.nn.losses import CrossEntropyLoss, NLLLoss
from chainrule.train import checks
from chainrule.train.label_order import LabelOrder
from chainrule.train.metrics import regresses

SIZE = 2**22
"""Bytes that are looked through at a time."""


class Look:
    """What one pass through a stream tells, every row of it being checked.

    Attributes:
        sample: a row, as the model will get it.
        target: a target.
        moments: of the features that are trained on, if they are wanted.
        labels: the classes that occur.
        label_order: how the targets follow each other, unless they are those of a regression.
        total: the bits of all numbers that are trained on, added up (see `bits`).
    """

    def __init__(self, stream: Stream, dtype: np.dtype[Any], loss: Any, normalize: str | None) -> None:
        self.moments = None if normalize is None else Moments(normalize)
        self.labels = np.empty(0, np.int32)
        self.label_order = LabelOrder()
        self.total = 0
        size = max(1, SIZE // stream.row_bytes(dtype))
        for first in range(0, stream.X.shape[0], size):
            last = min(first + size, stream.X.shape[0])
            X = np.empty((last - first, *stream.shape), stream.X.dtype)
            y = np.empty((last - first, *stream.y.shape[1:]), stream.y.dtype)
            stream.X.read(first, X)
            stream.y.read(first, y)
            X = checks.features(X, dtype, stream.X.name, first)
            y = checks.targets(y, loss, dtype, stream.y.name, first)
            self.sample, self.target = X[:1].copy(), y[:1].copy()
            kept = stream.kept(first, last)
            if not kept.any():
                continue
            if self.moments is not None:
                self.moments.add(X[kept])
            self.total += bits(X[kept]) + bits(y[kept])
            if not regresses(loss):
                self.label_order.add(y[kept])
            if isinstance(loss, (CrossEntropyLoss, NLLLoss)):
                self.labels = np.union1d(self.labels, y)


def bits(array: np.ndarray[Any, Any]) -> int:
    """The bits of an array's numbers added up: the same in any order of the rows, as long as none changes."""
    return int(np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}").sum(dtype=np.uint64))
