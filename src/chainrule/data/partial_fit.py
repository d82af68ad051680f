"""What a pass through a table tells about its columns, batch by batch, in memory that does not grow with the rows.

Means, deviations and the sets of levels are exact, and what becomes of a column is decided by the rules of `columns`;
only the median of a column with very many values is that of a sample of them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.arrays import ArrayFeatures, check_finite
from chainrule.data.columns import (
    Boolean,
    Column,
    Number,
    as_text,
    category,
    finite,
    raw_moments,
    usable,
    wrong_value,
)
from chainrule.data.preprocessing import TableFeatures
from chainrule.data.sources import Source
from chainrule.data.standardize import Moments
from chainrule.data.tables import is_date_text

if TYPE_CHECKING:
    import polars as pl

MOST_LEVELS = 100_000
"""Different texts that are counted; a column with more is free text."""
SAMPLES = 2**23
"""Numbers that are kept for the medians of all columns together."""


class ColumnTally:
    """One column of features.

    Args:
        name: of the column.
        sample: numbers to keep for its median.
    """

    def __init__(self, name: str, sample: int) -> None:
        self.name = name
        self._sample = sample
        self._kind: NumberPartialFit | TextTally | BooleanTally | str | None = None
        self._missing = 0

    def add(self, column: pl.Series, rows: np.ndarray, first: int) -> None:
        """Take in some rows of a batch, the first one of which has this number."""
        if column.null_count() == len(column):
            self._missing += len(rows)
            return
        if self._kind is None:
            self._kind = self._tally(column.dtype)
        if not isinstance(self._kind, str):
            self._kind.add(column, rows, first)

    def _tally(self, dtype: Any) -> NumberPartialFit | TextTally | BooleanTally | str:
        import polars as pl

        if dtype.is_temporal():
            return "holds dates or times"
        if dtype == pl.Boolean:
            return BooleanTally()
        if dtype.is_numeric():
            return NumberPartialFit(self._sample)
        if dtype in (pl.String, pl.Categorical, pl.Enum):
            return TextTally()
        return f"holds values of type {dtype}"

    def finish(self) -> Column | str:
        """How the column is turned into numbers, or the reason why it is left out."""
        if self._kind is None:
            return "all missing"
        return self._kind if isinstance(self._kind, str) else self._kind.finish(self.name, self._missing)


class NumberPartialFit:
    """A column of numbers."""

    def __init__(self, sample: int) -> None:
        self.moments = Moments("feature")
        self.low, self.high = np.inf, -np.inf
        self._missing, self._whole = 0, True
        self._ahead = [np.inf, -np.inf]
        self._sample = Sample(sample)

    def add(self, column: pl.Series, rows: np.ndarray, first: int) -> None:
        """Take in some rows of a batch."""
        values = finite(column)[rows]
        known = values[~np.isnan(values)]
        self._missing += len(values) - len(known)
        self._whole &= column.dtype.is_integer()
        if not len(known):
            return
        self.low, self.high = min(self.low, known.min()), max(self.high, known.max())
        self.moments.merge(len(known), *raw_moments(known))
        self._sample.add(known)
        ahead = values - rows - first
        if len(known) == len(values):
            self._ahead = [min(self._ahead[0], ahead.min()), max(self._ahead[1], ahead.max())]

    def finish(self, name: str, missing: int) -> Number | str:
        """The column, or the reason why it is left out."""
        missing += self._missing
        if not self.moments.count:
            return "all missing"
        if self.low == self.high and not missing:
            return "always the same value"
        if self._whole and self.moments.count >= 20 and not missing and self._ahead[0] == self._ahead[1]:
            return "only counts the rows"
        median = float(np.median(self._sample.values))
        if missing:
            self.moments.merge(missing, median, 0.0)
        mean, sigma = float(self.moments.mean), float(self.moments.sigma)
        return Number(name, median, mean, usable(mean, sigma), missing > 0)


class TextTally:
    """A column of text."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._missing, self._dates = 0, True

    def add(self, column: pl.Series, rows: np.ndarray, first: int) -> None:
        """Take in some rows of a batch."""
        text = as_text(column[rows])
        present = text.drop_nulls()
        self._missing += len(text) - len(present)
        self._dates = self._dates and is_date_text(present)
        if len(self._counts) <= MOST_LEVELS:
            self._counts.update(dict(present.value_counts(name="rows").iter_rows()))

    def finish(self, name: str, missing: int) -> Column | str:
        """The column, or the reason why it is left out."""
        if self._dates:
            return "holds dates or times"
        if len(self._counts) > MOST_LEVELS:
            return "free text"
        return category(name, dict(self._counts), self._missing + missing)


class BooleanTally:
    """A column of true and false."""

    def __init__(self) -> None:
        self._seen: set[bool] = set()
        self._missing = 0

    def add(self, column: pl.Series, rows: np.ndarray, first: int) -> None:
        """Take in some rows of a batch."""
        seen = column[rows]
        self._missing += seen.null_count()
        self._seen.update(seen.drop_nulls().unique().to_list())

    def finish(self, name: str, missing: int) -> Boolean | str:
        """The column, or the reason why it is left out."""
        alike = len(self._seen) == 1 and not self._missing + missing
        return "always the same value" if alike else Boolean(name)


class Sample:
    """Every k-th of the values met, k being doubled whenever they become more than `size`."""

    def __init__(self, size: int) -> None:
        self.values = np.empty(0)
        self._size, self._every, self._met = size, 1, 0

    def add(self, values: np.ndarray) -> None:
        """Take in some values."""
        self.values = np.concatenate([self.values, values[-self._met % self._every :: self._every]])
        self._met += len(values)
        while len(self.values) > self._size:
            self.values = self.values[::2]
            self._every *= 2


class TablePartialFit:
    """The columns of features of a table."""

    def __init__(self, columns: list[str], target: str) -> None:
        sample = max(1024, SAMPLES // max(1, len(columns)))
        self._columns = {name: ColumnTally(name, sample) for name in columns if name != target}

    def add(self, batch: Source, rows: np.ndarray, first: int) -> None:
        """Take in some rows of a batch, the first one of which has this number."""
        assert batch.frame is not None, "a table"
        for name, fit in self._columns.items():
            fit.add(batch.frame[name], rows, first)

    def finish(self, where: str, target: str, notes: list[str]) -> TableFeatures:
        """The columns that are used; of the others `notes` tells."""
        return TableFeatures.of({n: fit.finish() for n, fit in self._columns.items()}, where, target, notes)


class ArrayPartialFit:
    """The features of an array."""

    def __init__(self) -> None:
        self._moments = Moments("feature")
        self._low: Any = np.inf
        self._high: Any = -np.inf

    def add(self, batch: Source, rows: np.ndarray, first: int) -> None:
        """Take in some rows of a batch, the first one of which has this number."""
        X = batch.array
        check_finite(X)
        if X.dtype.kind == "f" and np.isnan(X).any():
            row, column = np.argwhere(np.isnan(X))[0]
            raise wrong_value(
                str(column), row, np.nan, "a number, since gaps are filled in tables and small arrays only"
            )
        self._moments.add(X[rows])
        self._low, self._high = np.minimum(self._low, X[rows].min(axis=0)), np.maximum(self._high, X[rows].max(axis=0))

    def finish(self, where: str, target: str, notes: list[str]) -> ArrayFeatures:
        """The features."""
        return ArrayFeatures.of(self._moments, self._low == self._high, where, notes)
