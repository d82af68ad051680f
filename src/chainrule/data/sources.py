"""Where the rows come from: a file, a data frame, two arrays, or a bundled set, all seen as one `Source`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.cells import Cells, Plain, plain_of_array, plain_of_cells, plain_of_frame
from chainrule.data.frames import to_polars
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_BLOCK = 2**22
"""Numbers of an array that are widened to float64 at a time, so that bytes do not become eight times as large."""


@dataclass(frozen=True)
class Source:
    """A table, or an array of features with or without its targets.

    Args:
        name: the set or the file without folder and ending; a run is called after it.
        frame: the table, targets included, if its columns have types.
        X: otherwise the features, one row an example.
        y: the targets of `X`.
        default_target: the column to predict when none is named; None means the last one of the table.
        cells: the table, targets included, if it is text.
        decimal_comma: whether a comma within a number is likelier to be a decimal one, as where semicolons divide.
        notes: what was noticed while it was read.
    """

    name: str
    frame: pl.DataFrame | None = None
    X: np.ndarray | None = None
    y: np.ndarray | None = None
    default_target: str | None = None
    cells: Cells | None = None
    decimal_comma: bool = False
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of_frame(cls, frame: Any, name: str = "table") -> Source:
        """The rows of a pandas or polars data frame; names and types are kept.

        Raises:
            DataError: it is sparse, names a column twice, or is no data frame.

        Example:
            >>> import polars as pl
            >>> Source.of_frame(pl.DataFrame({"size": [1.5, 2.5], "kind": ["a", "b"]})).columns
            ['size', 'kind']
        """
        return cls(name, frame=to_polars(frame, name))

    @property
    def is_table(self) -> bool:
        """Whether the columns have names."""
        return self.X is None

    @property
    def rows(self) -> int:
        """How many examples there are."""
        if self.cells is not None:
            return self.cells.rows
        return self.frame.height if self.frame is not None else len(self.array)

    @property
    def array(self) -> np.ndarray:
        """The features of a source that is not a table."""
        assert self.X is not None, "a table has no array of features"
        return self.X

    @property
    def columns(self) -> list[str]:
        """The names of the columns of a table; of arrays, only the target has one."""
        if self.cells is not None:
            return self.cells.names
        if self.frame is not None:
            return self.frame.columns
        return [self.default_target] if self.default_target and self.y is not None else []

    def column(self, name: str) -> pl.Series:
        """A column of a table as it stands there, or the targets of arrays."""
        import polars as pl

        if self.cells is not None:
            return self.cells.column(self.plain.index[name])
        if self.frame is not None:
            return self.frame[name]
        assert self.y is not None, "arrays with targets"
        return pl.Series(name, self.y)

    @cached_property
    def plain(self) -> Plain:
        """The columns of a table, or of the array of features, read as plain numbers."""
        if self.cells is not None:
            return plain_of_cells(self.cells)
        return plain_of_array(self.array) if self.frame is None else plain_of_frame(self.frame)

    def parts(self) -> Iterator[tuple[int, Source]]:
        """The rows in blocks that may be read as numbers at once, each with the number of its first row."""
        if self.is_table:
            yield 0, self
            return
        size = max(1, _BLOCK // self.array.shape[1])
        for first in range(0, len(self.array), size):
            rows = slice(first, first + size)
            y = None if self.y is None else self.y[rows]
            yield first, Source(self.name, X=self.array[rows], y=y, default_target=self.default_target)


def from_arrays(X: Any, y: Any = None, name: str = "arrays", target: str = "y") -> Source:
    """A source of two arrays: `X` with one row per example (flattened if it has more axes), `y` with one value per row.

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
