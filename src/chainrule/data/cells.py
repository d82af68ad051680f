"""Columns in bulk: the cells of a table, and what they are when they are read as plain numbers.

All cells of a text are one series, which is read at once: a table may have tens of thousands of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["text", "number", "boolean", "category", "moment", "time", "span", "nothing"]
"""What a table says of a column's values; "text" says nothing, "nothing" that no value is there."""
CLOCKS = ("moment", "time", "span")
"""The kinds of dates (with or without a time of day), of times of day, and of durations."""
DAY = 86_400_000_000
"""Microseconds."""


@dataclass(frozen=True)
class Cells:
    """Some columns of text, all cells in one series.

    Args:
        names: of the columns.
        texts: their cells, row after row or column after column; null where nothing stands.
        rows: how many there are.
        by_row: whether the cells lie row after row.
        spaced: whether there may be spaces around what stands in them.
    """

    names: list[str]
    texts: pl.Series
    rows: int
    by_row: bool = True
    spaced: bool = True

    @cached_property
    def stripped(self) -> pl.Series:
        """The cells without the spaces around them."""
        return self.texts.str.strip_chars() if self.spaced else self.texts

    def column(self, number: int) -> pl.Series:
        """One column, as it stands in the table."""
        width = len(self.names)
        column = self.texts[number:].gather_every(width) if self.by_row else self._slice(number)
        return column.alias(self.names[number])

    def _slice(self, number: int) -> pl.Series:
        return self.texts.slice(number * self.rows, self.rows)

    def place(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of cells by their positions in the series."""
        if self.by_row:
            return tuple(np.divmod(positions, max(1, len(self.names))))  # type: ignore[return-value]
        column, row = np.divmod(positions, max(1, self.rows))
        return row, column

    def shaped(self, values: np.ndarray) -> np.ndarray:
        """One value a cell, as (rows, columns)."""
        width = len(self.names)
        return values.reshape(self.rows, width) if self.by_row else values.reshape(width, self.rows).T


@dataclass(frozen=True)
class Odd:
    """Cells that hold something, yet no finite number.

    Args:
        row, column: where they are.
        text: what stands there.
    """

    row: np.ndarray
    column: np.ndarray
    text: pl.Series

    def take(self, chosen: np.ndarray) -> Odd:
        """Some of them."""
        return Odd(self.row[chosen], self.column[chosen], self.text.gather(np.flatnonzero(chosen)))


@dataclass(frozen=True)
class Plain:
    """Columns read as plain numbers.

    Args:
        names: of the columns.
        kinds: what the table says of each.
        values: float64 (rows, columns); NaN where a cell is empty, or holds no finite number. True is 1; moments are
            days since 1970, times of day and durations are hours.
        odd: the cells of columns of text and of numbers that hold something else than a finite number.
        codes: rows and columns of the cells that hold a whole number which begins with a zero.
    """

    names: list[str]
    kinds: list[Kind | str]
    values: np.ndarray
    odd: Odd
    codes: tuple[np.ndarray, np.ndarray]

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of a column by its name."""
        return {name: i for i, name in enumerate(self.names)}


@dataclass
class _Parts:
    """What is put together to `Plain`."""

    values: np.ndarray
    width: int
    codes: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    row: list[np.ndarray] = field(default_factory=list)
    column: list[np.ndarray] = field(default_factory=list)
    text: list[pl.Series] = field(default_factory=list)


def plain_of_cells(cells: Cells) -> Plain:
    """Columns of text, read as plain numbers."""
    parts = _Parts(np.empty((0, 0)), len(cells.names))
    _read_cells(cells, np.arange(len(cells.names)), parts)
    return _put_together(cells.names, ["text"] * len(cells.names), parts)


def plain_of_array(X: np.ndarray) -> Plain:
    """An array of numbers, whose columns are called by their numbers."""
    values = X.astype(np.float64)
    parts = _Parts(values, X.shape[1])
    if X.dtype.kind == "f":
        _set_infinite_aside(np.arange(X.shape[1]), parts)
    return _put_together([str(i) for i in range(X.shape[1])], ["number"] * X.shape[1], parts)


def plain_of_frame(frame: pl.DataFrame) -> Plain:
    """The columns of a data frame, read as plain numbers."""
    import polars as pl

    kinds = [kind_of(dtype) for dtype in frame.dtypes]
    parts = _Parts(np.full((frame.height, frame.width), np.nan), frame.width)
    numbers = [i for i, kind in enumerate(kinds) if kind in ("number", "boolean")]
    if numbers:
        # By place: a name may look like a pattern for names.
        chosen = frame[:, numbers]
        parts.values[:, numbers] = chosen.cast(pl.Float64).fill_null(np.nan).to_numpy()
        _set_infinite_aside(np.array(numbers), parts)
    for i, kind in enumerate(kinds):
        if kind in CLOCKS:
            parts.values[:, i] = of_clock(frame.to_series(i))
    texts = [i for i, kind in enumerate(kinds) if kind == "text"]
    if texts:
        names = [frame.columns[i] for i in texts]
        together = pl.concat([frame.to_series(i).alias("text") for i in texts])
        _read_cells(Cells(names, together, frame.height, by_row=False), np.array(texts), parts)
    return _put_together(frame.columns, kinds, parts)


def kind_of(dtype: Any) -> Kind | str:
    """What a type of a data frame says of a column; its name if nothing can be made of it."""
    import polars as pl

    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_numeric():
        return "number"
    if dtype in (pl.Categorical, pl.Enum):
        return "category"
    if dtype in (pl.Date, pl.Datetime):
        return "moment"
    return {pl.String: "text", pl.Null: "nothing", pl.Time: "time", pl.Duration: "span"}.get(
        dtype.base_type(), str(dtype)
    )


def of_clock(column: pl.Series) -> np.ndarray:
    """Dates and moments as days since 1970, times of day and durations as hours; float64, NaN where one is missing."""
    import polars as pl

    if column.dtype in (pl.Date, pl.Datetime):
        micros, unit = column.cast(pl.Datetime("us")).cast(pl.Int64), DAY
    elif column.dtype == pl.Duration:
        micros, unit = column.dt.total_microseconds(), DAY // 24
    else:
        micros, unit = column.cast(pl.Int64) // 1000, DAY // 24
    return (micros.cast(pl.Float64) / unit).fill_null(np.nan).to_numpy()


def _read_cells(cells: Cells, columns: np.ndarray, parts: _Parts) -> None:
    import polars as pl

    texts = cells.stripped
    read = texts.cast(pl.Float64, strict=False)
    values = cells.shaped(read.fill_null(np.nan).to_numpy())
    odd = ((read.is_null() & (texts != "")) | read.is_infinite()).fill_null(False)
    positions = odd.arg_true().to_numpy()
    row, column = cells.place(positions)
    values = np.where(np.isinf(values), np.nan, values) if np.isinf(values).any() else values
    parts.row.append(row)
    parts.column.append(columns[column])
    parts.text.append(texts.gather(positions))
    zero = texts.str.starts_with("0").fill_null(False).arg_true()
    row, column = cells.place(zero.filter(texts.gather(zero).str.contains(r"^0\d+$")).to_numpy())
    parts.codes.append((row, columns[column]))
    if len(columns) == parts.width:
        parts.values = values
    else:
        parts.values[:, columns] = values


def _set_infinite_aside(columns: np.ndarray, parts: _Parts) -> None:
    import polars as pl

    endless = np.isinf(parts.values[:, columns])
    if not endless.any():
        return
    row, column = np.nonzero(endless)
    parts.row.append(row)
    parts.column.append(columns[column])
    parts.text.append(pl.Series([str(v) for v in parts.values[row, columns[column]]], dtype=pl.String))
    parts.values[row, columns[column]] = np.nan


def _put_together(names: list[str], kinds: Sequence[Kind | str], parts: _Parts) -> Plain:
    import polars as pl

    none = np.empty(0, dtype=np.int64)
    text = pl.concat([pl.Series("text", [], pl.String), *(t.alias("text") for t in parts.text)])
    odd = Odd(np.concatenate([none, *parts.row]), np.concatenate([none, *parts.column]), text)
    row, column = (np.concatenate([none, *(places[axis] for places in parts.codes)]) for axis in (0, 1))
    return Plain(names, list(kinds), parts.values, odd, (row, column))
