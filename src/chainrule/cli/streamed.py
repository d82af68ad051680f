"""A table that `fit` does not read as a whole: made ready as a stream, with the same parts as one in memory."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.cli.options import Options
from chainrule.data import BUNDLED, Preprocessor, Stream, memory, stream
from chainrule.data.split import TEST, VALIDATION

_COUNTED = 2**20
"""Targets that are counted at a time."""


@dataclass(frozen=True)
class Streamed:
    """A stream made ready.

    Args:
        stream: the rows to train on.
        preprocessor: that has made them.
        guess: what one would guess without a network: the number of the most frequent class, or the mean.
    """

    stream: Stream
    preprocessor: Preprocessor
    guess: float

    @classmethod
    def of(cls, table: str, options: Options) -> Streamed:
        """The stream of a table.

        Raises:
            ChainruleError: if the table cannot be used as it is.
        """
        made = stream(
            table, options.target, options.task or "auto", VALIDATION, TEST, options.chunk_rows,
            prepare=True, seed=options.seed or 0, reading=options.reading,
        )  # fmt: skip
        assert made.preprocessor is not None, "a stream that was prepared"
        return cls(made, made.preprocessor, _guess(made, made.preprocessor))

    @property
    def notes(self) -> list[str]:
        """What the user should be told."""
        return self.preprocessor.notes

    @property
    def inputs(self) -> int:
        """The width of the network's first layer."""
        return self.stream.shape[0]

    @property
    def fingerprint(self) -> str | None:
        """Tells one table's training rows from another's."""
        return self.stream.fingerprint

    @property
    def sizes(self) -> dict[str, int]:
        """The number of rows of each part."""
        return {"train": self.stream.rows, **{part: len(self.rows(part)[0]) for part in ("validation", "test")}}

    @property
    def training(self) -> dict[str, Any]:
        """What `Trainer.fit` is to train on."""
        return {"X": self.stream}

    def rows(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """The features and targets of a part that is held in memory."""
        held: tuple[np.ndarray, np.ndarray] | None = getattr(self.stream, part)
        nothing = np.empty((0, self.inputs), np.float32), np.empty(0, np.int32)
        return nothing if held is None else held


def _guess(rows: Stream, preprocessor: Preprocessor) -> float:
    classes = preprocessor.classes
    if classes is None:
        return preprocessor.fitted_target.mean
    counts = np.zeros(len(classes), np.int64)
    for first in range(0, rows.rows, _COUNTED):
        y = np.empty(min(_COUNTED, rows.rows - first), np.int32)
        rows.y.read(first, y)
        counts += np.bincount(y, minlength=len(classes))
    return int(counts.argmax())


def must_stream(table: str) -> bool:
    """Whether a table is too large for memory, or is several files.

    Raises:
        DataError: it is too large, and can only be read as a whole.
    """
    if table in BUNDLED or not Path(table).is_file():
        return table not in BUNDLED and not Path(table).exists() and bool(glob.has_magic(table))
    if memory.fits(table):
        return False
    if memory.only_whole(table) is not None:
        raise memory.too_large(table)
    return True
