"""A table made ready to be streamed: learnt in one pass, written as plain rows of numbers in a second one.

What is read again in every epoch is then a file of rows of equal length, of which any can be had at the disk's speed,
and not a text to be parsed or columns to be unpacked. It lies in a folder for temporary files and has no name there, so
that nothing is left of it, however the process ends.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from chainrule.data.batches import ArrayBatches, Batches
from chainrule.data.learning_target import choose
from chainrule.data.memory import worded
from chainrule.data.preprocessing import Batch, Preprocessor, learn
from chainrule.data.rows import FileRows, bytes_of
from chainrule.data.sources import Source
from chainrule.data.streams import CHUNK, MOST_HELD, SplitSampler, Stream
from chainrule.data.words import Reading
from chainrule.errors import DataError, RunError, check_choice

Array = np.ndarray[Any, Any]
_TRAIN = 2
"""The number of the part that is trained on, behind validation and test."""


@dataclass
class Prepared:
    """How a table is made ready.

    Args:
        batches: of its rows.
        target: the column to predict; the last one if None.
        task: "classify", "regress" or "auto".
        shares: of the rows, to validate on and to test on.
        seed: of the choice of those rows.
        folder: for the file of rows.
        reading: how the columns are to be read, where that should not be found out.
        notes: what was noticed before.
    """

    batches: Batches
    target: str | None
    task: str
    shares: tuple[float, float]
    seed: int
    folder: Path
    reading: Reading = field(default_factory=Reading)
    notes: list[str] = field(default_factory=list)

    def stream(self, chunk_rows: int | None) -> Stream:
        """The rows, ready to be trained on.

        Raises:
            DataError: if the table cannot be used as it is.
            RunError: if the rows find no room.
        """
        check_choice("task", self.task, ("auto", "classify", "regress"))
        batches = self.batches
        default = batches.columns[-1] if isinstance(batches, ArrayBatches) else None
        name = choose(batches.columns, default, self.target, self.notes, batches.name)
        columns = batches.columns if self._is_table else None
        preprocessor = learn(self._parted, columns, name, self.task, self.reading, batches.name, self.notes)
        # What a pass notices of the file is known now.
        preprocessor.notes[:0] = batches.notes
        return self._written(preprocessor, chunk_rows)

    def _parted(self) -> Iterator[Batch]:
        """A pass over the rows: those whose labels count, and those to train on."""
        train = 0
        for first, batch, parts in self._drawn():
            rows = np.flatnonzero(parts == _TRAIN)
            train += len(rows)
            yield first, batch, np.arange(batch.rows), rows
        if not train:
            raise DataError("no rows are left to train on", where=self.batches.name)

    def _written(self, preprocessor: Preprocessor, chunk_rows: int | None) -> Stream:
        file = RowFile(self.folder, 4 * self.batches.about * (len(preprocessor.feature_names) + 1))
        held: list[list[tuple[Array, Array]]] = [[], []]
        for _, batch, parts in self._drawn():
            rows = preprocessor.labelled_rows(batch)
            X, y = preprocessor.transform(batch, rows), preprocessor.target_values(batch, rows)
            part = parts[rows]
            file.write(X[part == _TRAIN], y[part == _TRAIN])
            for number, kept in enumerate(held):
                kept.append((X[part == number], y[part == number]))
        stream = file.stream(self.batches.name, chunk_rows)
        stream.preprocessor = preprocessor
        stream.validation, stream.test = (_together(part) for part in held)
        return stream

    @property
    def _is_table(self) -> bool:
        return not isinstance(self.batches, ArrayBatches)

    def _drawn(self) -> Iterator[tuple[int, Source, Array]]:
        """The batches, each with the number of its first row and the numbers of the parts that its rows go to."""
        most = min(MOST_HELD, max(1, CHUNK // (4 * len(self.batches.columns))))
        sampler = SplitSampler(self.shares, max(1, self.batches.about), most, self.seed)
        for first, batch in self.batches.batches():
            yield first, batch, sampler.draw(batch.rows)


class RowFile:
    """A file of rows that are ready.

    Args:
        folder: for it.
        size: about how many bytes there will be.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._rows = folder, 0
        try:
            free = shutil.disk_usage(folder).free
            self._files = [_nameless(folder) for _ in "Xy"]
        except OSError as error:
            raise self._no_room(error.strerror or str(error)) from None
        if size > free:
            raise self._no_room(f"they take {worded(size)}, and {worded(free)} are free")
        self._like: list[Array] = []
        self._hash = hashlib.sha256()

    def write(self, X: Array, y: Array) -> None:
        """Add some rows."""
        self._like = [X[:0], y[:0]]
        self._rows += len(X)
        for file, rows in zip(self._files, (X, y), strict=True):
            view = bytes_of(np.ascontiguousarray(rows))
            self._hash.update(view)
            try:
                while len(view):
                    view = view[file.write(view) :]
            except OSError as error:
                raise self._no_room(error.strerror or str(error)) from None

    def stream(self, name: str, chunk_rows: int | None) -> Stream:
        """The rows that were written."""
        X, y = (
            FileRows(file, f"the rows of {name} in {self._folder}", 0, (self._rows, *like.shape[1:]), like.dtype)
            for file, like in zip(self._files, self._like, strict=True)
        )
        stream = Stream(X, y, name, chunk_rows)
        stream.fingerprint = self._hash.hexdigest()[:16]
        return stream

    def _no_room(self, why: str) -> RunError:
        hint = "name another folder: scratch=…, or the environment variable TMPDIR"
        return RunError(f"no room for the rows made ready ({why})", where=str(self._folder), hint=hint)


def scratch(folder: str | os.PathLike[str] | None) -> Path:
    """Where large temporary files go: the folder asked for, TMPDIR, /var/tmp (on a disk, as /tmp need not be)."""
    named = folder or os.environ.get("TMPDIR")
    if named:
        return Path(named)
    return Path("/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir())


def _nameless(folder: Path) -> BinaryIO:
    return tempfile.TemporaryFile(dir=folder, buffering=0)


def _together(batches: list[tuple[Array, Array]]) -> tuple[Array, Array] | None:
    X, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return (X, y) if len(X) else None
