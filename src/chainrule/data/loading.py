"""Reading a file as a whole, or a bundled set."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data import bundled, memory
from chainrule.data.batches import tables
from chainrule.data.bundled import BUNDLED
from chainrule.data.cells import Cells
from chainrule.data.sources import Source, from_arrays
from chainrule.data.tables import in_order
from chainrule.data.textfile import ending
from chainrule.errors import ArgumentError, DataError, nearest


def load(source: str) -> Source:
    """The rows in a CSV, Parquet or `.npz` file, in several tables that a pattern names, or in a bundled set.

    Text may be packed (`.csv.gz`, `.csv.zst`). Its columns have no types yet: what they hold is learnt by
    `Preprocessor.fit`, and kept for prediction.

    Raises:
        DataError: if there is no such file or set, the file cannot be used as it is, or does not fit into memory.
        ArgumentError: it is not the name of one.

    Example:
        >>> iris = load("iris")
        >>> iris.rows, iris.default_target, iris.columns[0]
        (150, 'target', 'sepal length (cm)')
    """
    if not isinstance(source, (str, os.PathLike)):
        raise ArgumentError(
            "the name of a file or of a bundled set is wanted",
            where="load",
            got=f"a {type(source).__name__}",
            hint="numbers in memory go to Trainer.fit as they are; write a table to a file first (to_parquet, to_csv)",
        )
    if source in BUNDLED:
        return Source(source, frame=bundled.table(source), default_target="target")
    path = Path(source)
    if not os.path.exists(path) and glob.has_magic(str(source)):
        return _nonempty(_table(source), str(source))
    # `Path` raises where a name is too long to be one.
    if not os.path.isfile(path):
        raise _not_found(source, path)
    reader = _READERS.get(ending(path))
    if reader is None:
        raise DataError("unknown kind of file", where=source, expected=", ".join(_READERS), got=repr(path.suffix))
    memory.check(path)
    try:
        found = reader(path)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=source) from error
    return _nonempty(found, str(source))


def _nonempty(found: Source, source: str) -> Source:
    if found.rows == 0:
        raise DataError("the table is empty", where=source, expected="at least one row")
    return found


def _not_found(source: str, path: Path) -> DataError:
    if os.path.isdir(path):
        return DataError("is a folder", where=source, expected=f"a file that ends in {', '.join(_READERS)}")
    sets = ", ".join(nearest(source, BUNDLED))
    hint = f"bundled sets: {sets}"
    if path.suffix and os.path.isdir(path.parent):
        files = [file.name for file in path.parent.iterdir() if file.suffix.lower() in _READERS]
        near = nearest(path.name, files)[:3]
        hint = f"in that folder: {', '.join(near)}" if near else "no table is in that folder"
    return DataError("no such file or bundled set", where=source, hint=hint)


def _table(source: Any) -> Source:
    """All rows of a table, or of several with the same columns."""
    import polars as pl

    table = tables(source)
    parts = [part for _, part in table.batches()]
    name = Path(table.name).name.split(".")[0]
    cells = [part.cells for part in parts if part.cells is not None]
    if len(cells) == len(parts):
        ordered = [in_order(found, table.columns) for found in cells]
        texts = pl.concat([pl.Series("cells", [], pl.String), *(found.texts for found in ordered)], rechunk=True)
        spaced = any(found.spaced for found in ordered)
        together = Cells(table.columns, texts, sum(found.rows for found in ordered), spaced=spaced)
        comma = bool(parts) and parts[0].decimal_comma
        return Source(name, cells=together, decimal_comma=comma, notes=table.notes)
    frames = [part.frame.select(table.columns) for part in parts if part.frame is not None]
    if len(frames) < len(parts):
        raise DataError("text files and Parquet files do not make one table", where=table.name)
    try:
        return Source(name, frame=pl.concat(frames, how="vertical_relaxed"), notes=table.notes)
    except pl.exceptions.PolarsError as error:
        raise DataError("columns differ in type", where=table.name, got=str(error).splitlines()[0]) from None


def _npz(path: Path) -> Source:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # NumPy has no exception of its own for a file that is not one of its own.
        raise DataError("not an .npz file of plain arrays", where=str(path), got=str(error).splitlines()[0]) from error
    for features, target in (("X", "y"), ("images", "labels")):
        if features in arrays:
            return from_arrays(arrays[features], arrays.get(target), name=path.stem, target=target)
    found = ", ".join(arrays) or "nothing"
    raise DataError("the arrays are missing", where=str(path), expected="X and y, or images and labels", got=found)


_READERS: dict[str, Callable[[Path], Source]] = {
    ".csv": _table,
    ".tsv": _table,
    ".txt": _table,
    ".parquet": _table,
    ".npz": _npz,
}
