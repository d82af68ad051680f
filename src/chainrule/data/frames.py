"""Data frames of others, taken in with their names and types. pandas is not needed for that, only met."""

from __future__ import annotations

import datetime
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def to_polars(frame: Any, name: str) -> pl.DataFrame:
    """A polars or pandas data frame as a polars one.

    Raises:
        DataError: it is sparse, names a column twice, or is no data frame.
    """
    import polars as pl

    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if hasattr(frame, "tocsr"):
        hint = "give a dense array, such as X.toarray()"
        raise DataError("sparse input is not taken", where=name, got=type(frame).__name__, hint=hint)
    if not hasattr(frame, "columns") or not hasattr(frame, "iloc"):
        raise DataError("not a data frame", where=name, expected="one of pandas or polars", got=type(frame).__name__)
    names = [str(column) for column in frame.columns]
    twice = [column for column, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError("column names that occur twice", where=name, got=", ".join(map(repr, twice)))
    return pl.DataFrame([_series(names[i], frame.iloc[:, i]) for i in range(len(names))])


def _series(name: str, column: Any) -> pl.Series:
    """A column of a pandas data frame; what is missing there is null."""
    import polars as pl

    missing = np.asarray(column.isna(), dtype=bool)
    kind = getattr(column.dtype, "kind", "O")
    if str(column.dtype) == "category":
        texts = [str(text) for text in np.asarray(column, dtype=object)]
        return _nullable(name, texts, missing).cast(pl.Categorical)
    if kind in "mM":
        zoned = getattr(column.dtype, "tz", None) is not None
        clock = column.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else column
        return pl.Series(name, clock.to_numpy().astype(f"{kind}8[us]")).set(pl.Series(missing), None)
    if kind in "iufb":
        values = np.asarray(column.fillna(False if kind == "b" else 0) if missing.any() else column)
        if values.dtype.kind in "iufb":
            small = values.astype(np.float32) if values.dtype == np.float16 else values
            return pl.Series(name, small).set(pl.Series(missing), None)
    return of_objects(name, np.asarray(column, dtype=object), missing)


def of_objects(name: str, values: np.ndarray, missing: np.ndarray) -> pl.Series:
    """Python's own values: truths, numbers and dates as such, anything else as text."""
    import polars as pl

    kinds = {type(value) for value in values[~missing]}
    if not kinds:
        return pl.Series(name, [None] * len(values), dtype=pl.Null)
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return _nullable(name, [bool(value) for value in np.where(missing, False, values)], missing)
    if all(issubclass(kind, (int, float, np.number)) and not issubclass(kind, bool) for kind in kinds):
        return _nullable(name, list(values), missing)
    if all(issubclass(kind, datetime.date) for kind in kinds):
        return pl.Series(
            name, [None if gone else v for v, gone in zip(values, missing, strict=True)], pl.Datetime("us")
        )
    return _nullable(name, [str(value) for value in values], missing)


def _nullable(name: str, values: list[Any], missing: np.ndarray) -> pl.Series:
    import polars as pl

    kept = [None if gone else value for value, gone in zip(values, missing, strict=True)]
    return pl.Series(name, kept, strict=False)
