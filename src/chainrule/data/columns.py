"""From a column of a table to columns of numbers: what is learnt from the training rows, and how it is applied.

Each kind of column is a plain record with `encode`; `learn` chooses the kind, or says why the column is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chainrule.data.tables import is_date_text
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

EPS = 1e-300
"""The least standard deviation that is divided by."""

FAR = 1e6
"""A standardised value is held within this many deviations, so that one absurd value cannot become infinite."""

LEVELS = 50
"""A category has at most this many columns of its own; the rarest levels share one more."""


@dataclass(frozen=True)
class Number:
    """A standardised column of numbers, and a column that says where one was missing, if one was in training."""

    name: str
    median: float
    mean: float
    sigma: float
    indicator: bool
    kind: ClassVar[str] = "number"

    @property
    def features(self) -> list[str]:
        """The names of the columns that `encode` returns."""
        return [self.name, f"{self.name} is missing"] if self.indicator else [self.name]

    def encode(self, column: pl.Series, notes: list[str]) -> np.ndarray:
        """float32 (n, features); a missing value becomes the median of the training rows."""
        values = finite(column)
        missing = np.isnan(values)
        if missing.any() and not self.indicator:
            notes.append(f"{self.name}: {missing.sum()} missing, though none was in training; the median is taken")
        filled = np.where(missing, self.median, values)
        scaled = standardise(filled, self.mean, self.sigma)
        return np.column_stack([scaled, missing.astype(np.float32)]) if self.indicator else scaled[:, None]


@dataclass(frozen=True)
class Category:
    """A one-hot column of text: a column per level, one for the rare levels if there are any, one for missing ones."""

    name: str
    levels: list[str]
    other: bool
    missing: bool
    kind: ClassVar[str] = "category"

    @property
    def features(self) -> list[str]:
        """The names of the columns that `encode` returns."""
        extra = ["other"] * self.other + ["missing"] * self.missing
        return [f"{self.name} = {level}" for level in self.levels] + [f"{self.name} is {word}" for word in extra]

    def encode(self, column: pl.Series, notes: list[str]) -> np.ndarray:
        """float32 (n, features); a level that was not seen in training is `other`, or all zeros."""
        import polars as pl

        text = as_text(column)
        codes = text.replace_strict(self.levels, list(range(len(self.levels))), default=None, return_dtype=pl.Int64)
        place = codes.fill_null(-1).to_numpy().copy()
        absent = text.is_null().to_numpy()
        strange = (place < 0) & ~absent
        width = len(self.features)
        if self.other:
            place[strange] = len(self.levels)
        elif strange.any():
            levels = text.filter(pl.Series(strange)).unique().sort()
            where = "all its columns are 0 there"
            notes.append(
                f"{self.name}: {strange.sum()} rows hold a level not seen in training ({shortened(levels)}); {where}"
            )
        if self.missing:
            place[absent] = width - 1
        encoded = np.zeros((len(place), width), dtype=np.float32)
        known = np.flatnonzero(place >= 0)
        encoded[known, place[known]] = 1
        return encoded


@dataclass(frozen=True)
class Boolean:
    """A column of 0 and 1, a half where the value is missing."""

    name: str
    kind: ClassVar[str] = "boolean"

    @property
    def features(self) -> list[str]:
        """The names of the columns that `encode` returns."""
        return [self.name]

    def encode(self, column: pl.Series, notes: list[str]) -> np.ndarray:
        """float32 (n, 1)."""
        import polars as pl

        if column.dtype == pl.String:
            column = column.str.to_lowercase().replace(["true", "false"], ["1", "0"])
        values = finite(column)
        strange = np.flatnonzero(~np.isnan(values) & (values != 0) & (values != 1))
        if strange.size:
            raise wrong_value(self.name, strange[0], column[int(strange[0])], "true or false")
        return np.where(np.isnan(values), 0.5, values).astype(np.float32)[:, None]


Column = Number | Category | Boolean
KINDS: dict[str, type[Any]] = {kind.kind: kind for kind in (Number, Category, Boolean)}


def learn(column: pl.Series, rows: np.ndarray) -> Column | str:
    """What the training `rows` of a column tell about it, or the reason why it is left out."""
    import polars as pl

    seen = column[rows]
    present = seen.drop_nulls()
    dtype = column.dtype
    if dtype.is_float():
        present = present.drop_nans()
    if present.is_empty():
        return "all missing"
    if dtype.is_temporal():
        return "holds dates or times"
    if dtype == pl.Boolean:
        return "always the same value" if present.n_unique() == 1 and not seen.null_count() else Boolean(column.name)
    if dtype.is_numeric():
        return _learn_number(column, rows)
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _learn_category(as_text(seen))
    return f"holds values of type {dtype}"


def _learn_number(column: pl.Series, rows: np.ndarray) -> Column | str:
    values = finite(column)[rows]
    missing = np.isnan(values)
    known = values[~missing]
    if known.min() == known.max() and not missing.any():
        return "always the same value"
    if column.dtype.is_integer() and len(rows) >= 20 and not missing.any() and (np.ptp(values - rows) == 0):
        return "only counts the rows"
    median = float(np.median(known))
    mean, sigma = moments(np.where(missing, median, values))
    return Number(column.name, median, mean, sigma, bool(missing.any()))


def _learn_category(text: pl.Series) -> Column | str:
    present = text.drop_nulls()
    if is_date_text(present):
        return "holds dates or times"
    counts = present.value_counts(name="rows")
    return category(text.name, dict(counts.iter_rows()), text.null_count())


def category(name: str, counts: dict[str, int], missing: int) -> Category | str:
    """A column of text by the number of rows that each level has, or the reason why it is left out."""
    if len(counts) >= 10 and len(counts) > sum(counts.values()) / 2:
        return "free text"
    if len(counts) == 1 and not missing:
        return "always the same value"
    levels = sorted(counts, key=lambda level: (-counts[level], level))
    return Category(name, sorted(levels[:LEVELS]), len(levels) > LEVELS, missing > 0)


def as_text(column: pl.Series) -> pl.Series:
    """A column as text; whole numbers that a missing value had turned into decimals are written as whole again."""
    import polars as pl

    if column.dtype.is_float():
        column = column.fill_nan(None)
        whole = column.cast(pl.Int64, strict=False)
        column = whole if (whole == column).all() else column
    return column.cast(pl.String)


def finite(column: pl.Series) -> np.ndarray:
    """A column as float64, NaN where it is missing; refuses infinity, and text where a number should be."""
    import polars as pl

    if column.dtype.is_temporal() or column.dtype.is_nested():
        raise DataError(
            "the column has another type than in training", where=column.name, expected="numbers", got=column.dtype
        )
    text = column if column.dtype == pl.String else None
    try:
        numbers = (text if text is not None else column).cast(pl.Float64, strict=False)
    except pl.exceptions.PolarsError:
        numbers = column.cast(pl.String).cast(pl.Float64, strict=False)
    wrong = numbers.is_null() & column.is_not_null()
    if wrong.any():
        row = int(wrong.arg_true()[0])
        raise wrong_value(column.name, row, column[row], "a number")
    values = numbers.fill_null(float("nan")).to_numpy()
    endless = np.flatnonzero(np.isinf(values))
    if endless.size:
        raise wrong_value(column.name, endless[0], float(values[endless[0]]), "a finite number")
    return values


class CellError(DataError):
    """One cell that cannot be used; rows are counted from 1."""

    def __init__(self, name: str, row: int, value: object, expected: str) -> None:
        self.cell = name, row, value, expected
        where = f"column {name!r}, row {row + 1}"
        super().__init__("a value that cannot be used", where=where, expected=expected, got=repr(value))

    def behind(self, rows: int) -> CellError:
        """The same where so many rows come before."""
        name, row, value, expected = self.cell
        return CellError(name, row + rows, value, expected)


def wrong_value(name: str, row: Any, value: object, expected: str) -> CellError:
    """The error about one cell."""
    return CellError(name, int(row), value, expected)


def moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, at least `EPS`; rounding noise around one value does not count as deviation."""
    mean, sigma = raw_moments(values)
    return mean, usable(mean, sigma)


def usable(mean: float, sigma: float) -> float:
    """A standard deviation to divide by: at least `EPS`, and 1 where it is only the rounding noise of one value."""
    return max(sigma, EPS) if sigma > 1e-13 * abs(mean) else 1.0


def raw_moments(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, also of very large and very small numbers."""
    size = float(np.abs(values).max(initial=0.0))
    # Squares of very large or very small numbers leave the range of float64; a power of two loses no digit.
    unit = 2.0 ** np.clip(np.frexp(size)[1], -1000, 1000) if size > 1e100 or 0 < size < 1e-100 else 1.0
    scaled = values / unit
    return float(scaled.mean()) * unit, float(scaled.std()) * unit


def standardise(values: np.ndarray, mean: Any, sigma: Any) -> np.ndarray:
    """(values − mean) / sigma as float32."""
    return np.clip((values - mean) / sigma, -FAR, FAR).astype(np.float32)


def shortened(names: Any, most: int = 5) -> str:
    """The names in one line, not more than `most` of them.

    Example:
        >>> shortened(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
