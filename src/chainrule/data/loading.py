"""Reading a file as a whole, or a bundled set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chainrule.data import bundled, memory
from chainrule.data.bundled import BUNDLED
from chainrule.data.sources import Source, from_arrays
from chainrule.data.tables import read_csv
from chainrule.errors import ArgumentError, DataError, nearest


def load(source: str) -> Source:
    """The rows in a CSV, Parquet or `.npz` file, or in a bundled set.

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
    if not path.is_file():
        raise _not_found(source, path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError("unknown kind of file", where=source, expected=", ".join(_READERS), got=repr(path.suffix))
    memory.check(path)
    try:
        found = reader(path)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=source) from error
    if found.rows == 0:
        raise DataError("the table is empty", where=source, expected="at least one row")
    return found


def _not_found(source: str, path: Path) -> DataError:
    if path.is_dir():
        return DataError("is a folder", where=source, expected=f"a file that ends in {', '.join(_READERS)}")
    sets = ", ".join(nearest(source, BUNDLED))
    hint = f"bundled sets: {sets}"
    if path.suffix and path.parent.is_dir():
        files = [file.name for file in path.parent.iterdir() if file.suffix.lower() in _READERS]
        near = nearest(path.name, files)[:3]
        hint = f"in that folder: {', '.join(near)}" if near else "no table is in that folder"
    return DataError("no such file or bundled set", where=source, hint=hint)


def _csv(path: Path) -> Source:
    return Source(path.stem, frame=read_csv(path))


def _parquet(path: Path) -> Source:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise DataError("not a Parquet file", where=str(path), got=str(error).splitlines()[0]) from error
    return Source(path.stem, frame=frame)


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
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _csv,
    ".parquet": _parquet,
    ".npz": _npz,
}
