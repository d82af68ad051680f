"""Where the rows come from: a file, two arrays, or a bundled set, all seen as one `Source`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data import bundled
from chainrule.data.bundled import BUNDLED
from chainrule.data.tables import read_csv
from chainrule.errors import ArgumentError, DataError, nearest

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Source:
    """A table, or an array of features with or without its targets.

    Args:
        name: the set or the file without folder and ending; a run is called after it.
        frame: the table, targets included, if there is one.
        X: otherwise the features, one row an example.
        y: the targets of `X`.
        default_target: the column to predict when none is named; None means the last one of the table.
    """

    name: str
    frame: pl.DataFrame | None = None
    X: np.ndarray | None = None
    y: np.ndarray | None = None
    default_target: str | None = None

    @property
    def rows(self) -> int:
        """How many examples there are."""
        return self.frame.height if self.frame is not None else len(self.array)

    @property
    def array(self) -> np.ndarray:
        """The features of a source that is not a table."""
        assert self.X is not None, "a table has no array of features"
        return self.X

    @property
    def columns(self) -> list[str]:
        """The names of the columns of a table; of arrays, only the target has one."""
        if self.frame is not None:
            return self.frame.columns
        return [self.default_target] if self.default_target and self.y is not None else []


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
    # What knows how large a file is in memory knows how it is read in batches, which are sources again.
    from chainrule.data import memory

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


def from_arrays(X: Any, y: Any = None, name: str = "arrays", target: str = "y") -> Source:
    """A source of two arrays: `X` with one row an example (flattened if it has more axes), `y` with one value a row.

    Example:
        >>> from_arrays(np.zeros((5, 8, 8)), np.arange(5)).array.shape
        (5, 64)
    """
    X = np.asarray(X)
    if X.dtype.kind not in "biuf" or X.ndim == 0:
        raise DataError("not an array of numbers", where=f"{name}, X", got=f"{X.dtype}, shape {X.shape}")
    if y is not None:
        y = np.asarray(y)
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        if y.ndim != 1:
            raise DataError("one value a row is needed", where=f"{name}, {target}", got=f"shape {y.shape}")
        if len(y) != len(X):
            raise DataError("X and y differ in length", where=name, got=f"{len(X)} rows and {len(y)} targets")
    width = int(np.prod(X.shape[1:]))
    if width == 0:
        raise DataError("there are no features", where=f"{name}, X", got=f"shape {X.shape}")
    return Source(name, X=X.reshape(len(X), width), y=y, default_target=target)


_READERS: dict[str, Callable[[Path], Source]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _csv,
    ".parquet": _parquet,
    ".npz": _npz,
}
