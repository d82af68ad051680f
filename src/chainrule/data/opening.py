"""`stream`: a file that is not read as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.batches import ArrayBatches, Batches, is_table, tables
from chainrule.data.prepared import Prepared, scratch
from chainrule.data.rows import ArrayRows, Rows, in_map, in_npy, in_npz, refuse_masked
from chainrule.data.streams import Stream
from chainrule.data.words import Reading
from chainrule.errors import ArgumentError, DataError, check_number

KINDS = ".csv, .tsv, .txt, .parquet, .npy, .npz"


def stream(
    source: Any,
    target: Any = None,
    task: str = "auto",
    validation: float = 0.0,
    test: float = 0.0,
    chunk_rows: int | None = None,
    prepare: bool = False,
    folder: str | os.PathLike[str] | None = None,
    seed: int = 0,
    reading: Reading | None = None,
) -> Stream:
    """Rows to train on that stay in their file, instead of X and y; see `Stream` for how they are shuffled.

    A table is learnt in one pass and written as rows of numbers, 4 bytes each, to a temporary file in a second one;
    arrays are read where they are. Nothing needs memory that grows with the number of rows.

    Args:
        source: a CSV or Parquet file, several of them (a list, or a pattern such as "parts/*.parquet"), an `.npz` of X
            and y that is not compressed; or X: a `.npy` file, an array, or anything with `shape`, `dtype` and rows by
            slices.
        target: the column to predict, by default the last; or y, as X.
        task: of a table, "classify", "regress" or "auto".
        validation, test: shares of the rows that are held out, drawn from the seed row by row, in `Stream.validation`
            and `Stream.test`: at most 100,000 rows each, and at most about as many as a chunk has. Nothing is learnt
            from them.
        chunk_rows: rows that are shuffled together and trained on at a time, at least a batch. Two chunks are in memory
            at once; all rows are one chunk where that is no more. By default what fits 128 MB.
        prepare: learn from arrays too how to standardise them, as from tables.
        folder: for the temporary file; by default TMPDIR, or /var/tmp.
        seed: of the rows that are held out.
        reading: of a table, how its columns are to be read, where that should not be found out.

    Raises:
        DataError: a file is missing, damaged, or can only be read as a whole.
        ArgumentError: there is no such column, or an argument is outside its range.
        RunError: the temporary file finds no room.

    Example:
        >>> import chainrule as cr
        >>> X = np.linspace(-1, 1, 1000, dtype="float32").reshape(-1, 1)
        >>> rows = cr.data.stream(X, 3 * X + 1, chunk_rows=128)
        >>> trainer = cr.Trainer(cr.nn.Linear(1, 1), cr.nn.MSELoss(), cr.optim.SGD(lr=0.1))
        >>> history = trainer.fit(rows, epochs=10, batch_size=32, progress=False)
        >>> history.notes[0]
        '1,000 rows are streamed in 8 chunks of 128; at most 2.05 kB of them in memory at a time'
    """
    for name, share in (("validation", validation), ("test", test)):
        check_number(name, share, low=0, high=1, high_open=True)
    if validation + test >= 1:
        raise ArgumentError("no rows are left to train on", where="validation and test", got=validation + test)
    if is_table(source):
        batches: Batches = tables(source)
    else:
        X, y, name = _arrays(source, target)
        if not prepare:
            rows = Stream(X, y, X.name, chunk_rows)
            left, (rows.validation, rows.test) = rows.hold_out((validation, test), seed)
            left.validation, left.test = rows.validation, rows.test
            return left
        batches, target = ArrayBatches(X, y, name), None
    return Prepared(batches, target, task, (validation, test), seed, scratch(folder), reading or Reading()).stream(
        chunk_rows
    )


def _arrays(source: Any, target: Any) -> tuple[Rows, Rows, str]:
    """X, y, and what y is called."""
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix.lower() == ".npz":
        found = in_npz(source)
        for features, labels in (("X", "y"), ("images", "labels")):
            if features in found and labels in found:
                return found[features], found[labels], labels
        listed = ", ".join(found) or "nothing"
        raise DataError(
            "the arrays are missing", where=str(source), expected="X and y, or images and labels", got=listed
        )
    X = _rows(source, "X")
    if target is None:
        raise ArgumentError("rows without targets", where="target", hint="give y, an array or a .npy file")
    return X, _rows(target, "y"), "y"


def _rows(source: Any, name: str) -> Rows:
    if isinstance(source, (str, os.PathLike)):
        if Path(source).suffix.lower() != ".npy":
            raise DataError("a kind of file that cannot be streamed", where=str(source), expected=KINDS)
        return in_npy(source)
    if isinstance(source, np.memmap) and (found := in_map(source)) is not None:
        return found
    if isinstance(source, np.ndarray):
        refuse_masked(source, name)
    if not (hasattr(source, "shape") and hasattr(source, "dtype")):
        source = np.asarray(source)
    return ArrayRows(source, name)
