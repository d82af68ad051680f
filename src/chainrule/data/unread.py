"""Cells read as what their column holds; those that hold something else are named, and count as missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chainrule.data.cells import kind_of, of_clock
from chainrule.data.clock import ClockFormat
from chainrule.data.notes import Notes, counted
from chainrule.data.numerals import NumberFormat
from chainrule.data.words import as_text
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl


_ISO = {
    "moment": [ClockFormat("moment", f"%Y-%m-%d{time}") for time in ("", " %H:%M:%S%.f", "T%H:%M:%S%.f")],
    "time": [ClockFormat("time", "%H:%M:%S%.f")],
    "span": [ClockFormat("span", "%H:%M:%S")],
}
"""How texts are read where a table with types had the column in training."""
NOUNS = {"moment": "date", "time": "time of day", "span": "duration"}
"""What the cells of dates, times and durations are called."""


@dataclass(frozen=True)
class Cell:
    """A cell that could not be read; rows are counted from 0."""

    row: int
    text: str


@dataclass
class Unread:
    """Cells that hold something else than the column does.

    Args:
        name: of the column.
        noun: what the column holds.
        first: the first such cell.
        count: how many there are.
        present: how many cells hold anything.
    """

    name: str
    noun: str
    first: Cell
    count: int
    present: int
    hint: str = ""

    def say(self, notes: Notes) -> None:
        """Say that they count as missing."""
        said = "is no" if self.count == 1 else "are no"
        detail = f"{counted(self.count, 'cell')} {said} {self.noun}: {self.first.text!r} in {notes.row(self.first.row)}"
        which = "it counts" if self.count == 1 else "they count"
        notes.add(f"cells that are no {self.noun} count as missing", self.name, f"{detail}; {which} as missing")

    @property
    def is_most(self) -> bool:
        """Whether they are several, and more than half of what the column holds."""
        return self.count > 1 and 2 * self.count > self.present

    def refusal(self) -> DataError:
        """The error about a column that holds too many of them."""
        return DataError(
            f"{self.count:,} of {self.present:,} cells are no {self.noun}",
            where=f"column {self.name!r}",
            got=f"{self.first.text!r} in row {self.first.row + 1:,}",
            hint=self.hint or None,
        )


def numbers_of(
    column: pl.Series, format: NumberFormat | None, words: Sequence[str], notes: Notes | None = None
) -> np.ndarray:
    """A column as float64, NaN where it is missing or holds no finite number, of which `notes` are told."""
    import polars as pl

    refuse_unlike(column.name, column, ("text", "number", "boolean", "category"), "numbers")
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        texts = column
        values = column.cast(pl.Float64).fill_null(np.nan).to_numpy()
    else:
        texts = as_text(column.cast(pl.String), words)
        read = texts.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        values = read if format is None else format.read(texts)
    values = np.where(np.isfinite(values), values, np.nan)
    if notes is not None:
        _note_unread(column.name, "number", texts, values, notes)
    return values


def clock_of(
    column: pl.Series, clock: str, format: ClockFormat | None, words: Sequence[str], notes: Notes
) -> np.ndarray:
    """A column as days since 1970 or as hours, NaN where it is missing or is neither, of which `notes` are told."""
    refuse_unlike(column.name, column, ("text", clock), f"a {NOUNS[clock]} a row")
    if kind_of(column.dtype) == clock:
        return of_clock(column)
    texts = as_text(column, words)
    values = np.full(len(column), np.nan)
    for written in _ISO[clock] if format is None else (format,):
        values = np.where(np.isnan(values), written.read(texts), values)
    _note_unread(column.name, NOUNS[clock], texts, values, notes)
    return values


def _note_unread(name: str, noun: str, texts: pl.Series, values: np.ndarray, notes: Notes) -> None:
    known = texts.is_not_null().to_numpy()
    if texts.dtype.is_float():
        known = known & texts.is_not_nan().fill_null(False).to_numpy()
    unread = np.flatnonzero(known & np.isnan(values))
    if unread.size:
        first = Cell(int(unread[0]), str(texts[int(unread[0])]))
        found = Unread(name, noun, first, unread.size, int(known.sum()))
        if found.is_most:
            raise found.refusal()
        found.say(notes)


def refuse_unlike(name: str, column: pl.Series, kinds: tuple[str, ...], expected: str) -> None:
    """Refuse a column whose type cannot be what it was in training."""
    if kind_of(column.dtype) not in (*kinds, "nothing"):
        raise DataError(
            "of another type than in training", where=f"column {name!r}", expected=expected, got=column.dtype
        )
