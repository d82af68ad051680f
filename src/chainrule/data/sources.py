"""Where the rows come from: a file, two arrays, or a bundled set, all seen as one `Source`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import DataError

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
