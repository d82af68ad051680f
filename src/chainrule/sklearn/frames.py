"""What scikit-learn's users call X, as a table whose columns have names and types."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import validate_data

from chainrule.data.frames import of_objects, to_polars
from chainrule.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import polars as pl

Array = np.ndarray[Any, Any]


def is_frame(X: Any) -> bool:
    """Whether X is a frame of pandas or polars."""
    return hasattr(X, "columns") and hasattr(X, "dtypes") and not hasattr(X, "tocsr")


def table_of(estimator: Any, X: Any, *, first: bool) -> pl.DataFrame:
    """X as a table; the columns of an array are called x0, x1, …

    Args:
        estimator: learns what columns there are, or knows it.
        X: a frame, or what `np.asarray` makes two-dimensional.
        first: whether the columns are learnt.

    Raises:
        ValueError: it has no rows or columns, others than before, or an infinite number.
        TypeError: it is sparse.
    """
    import polars as pl

    if not is_frame(X):
        X = validate_data(estimator, X, reset=first, dtype=None, ensure_all_finite="allow-nan")
        return pl.DataFrame([_series(f"x{i}", column) for i, column in enumerate(X.T)])
    validate_data(estimator, X, reset=first, skip_check_array=True)
    table = to_polars(X, "X")
    for axis, what in enumerate(("rows", "columns")):
        if not table.shape[axis]:
            raise DataError(f"there are no {what}", where="X", got=f"shape {table.shape}")
    return table


def _series(name: str, column: Array) -> pl.Series:
    import polars as pl

    if column.dtype.kind in "biufU":
        return pl.Series(name, column.astype(np.float32) if column.dtype == np.float16 else column)
    return of_objects(name, column, np.array([value is None or value != value for value in column], bool))


def put_in_order(X: Any, names: Sequence[str]) -> Any:
    """A frame with these columns in this order, if it has them in another."""
    there = list(X.columns) if is_frame(X) else []
    return X[list(names)] if there != list(names) and sorted(map(str, there)) == sorted(names) else X


def named(option: str, given: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Columns that are given by name or by number.

    Raises:
        ArgumentError: there is no such column.

    Example:
        >>> named("ignore", ["size", 0], ["name", "size"])
        ('size', 'name')
    """
    found = []
    for column in [] if given is None else given:
        if isinstance(column, Integral) and not isinstance(column, bool):
            if int(column) not in range(len(names)):
                raise ArgumentError("no such column", where=option, expected=f"from 0 to {len(names) - 1}", got=column)
            column = names[int(column)]
        found.append(str(column))
    return tuple(dict.fromkeys(found))
