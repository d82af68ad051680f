"""Data frames of others, taken in with their names and types. pandas is not needed for that, only met."""

from __future__ import annotations

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
    kind = str(column.dtype)
    if kind == "category":
        texts = np.asarray(column.astype(object), dtype=object)
        return _nullable(name, [str(text) for text in texts], missing).cast(pl.Categorical)
    values = np.asarray(column.dtype.kind in "iufbmM" and column.to_numpy())  # which nullable types have as well
    if values.dtype.kind in "iufb" and values.ndim:
        return pl.Series(name, values).set(pl.Series(missing), None) if missing.any() else pl.Series(name, values)
    if values.dtype.kind in "mM":
        return pl.Series(name, values.astype(f"{values.dtype.kind}8[us]")).set(pl.Series(missing), None)
    return _of_objects(name, np.asarray(column, dtype=object), missing)


def _of_objects(name: str, values: np.ndarray, missing: np.ndarray) -> pl.Series:
    """Python's own values: all booleans or all numbers as such, everything else as text."""
    known = values[~missing]
    kinds = {type(value) for value in known}
    plain = list(values)
    if kinds and all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return _nullable(name, [bool(value) for value in plain], missing)
    if kinds and all(issubclass(kind, (int, float, np.number)) for kind in kinds):
        return _nullable(name, [None if gone else float(v) for v, gone in zip(plain, missing, strict=True)], missing)
    if kinds and all(hasattr(kind, "isoformat") for kind in kinds):
        plain = [None if gone else value.isoformat() for value, gone in zip(plain, missing, strict=True)]
    return _nullable(name, [str(value) for value in plain], missing)


def _nullable(name: str, values: list[Any], missing: np.ndarray) -> pl.Series:
    import polars as pl

    kept = [None if gone else value for value, gone in zip(values, missing, strict=True)]
    return pl.Series(name, kept, strict=False) if any(v is not None for v in kept) else pl.Series(name, kept, pl.String)
