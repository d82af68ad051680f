"""What is kept of a column, and how it turns the column into numbers: a plain record for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from chainrule.data.clock import ClockFormat
from chainrule.data.layout import FeatureKind
from chainrule.data.notes import Notes, counted, shortened
from chainrule.data.numerals import NumberFormat
from chainrule.data.scale import is_far, scaled
from chainrule.data.unread import clock_of, numbers_of, refuse_unlike
from chainrule.data.words import as_text, found_levels

if TYPE_CHECKING:
    import polars as pl

ONE_HOT = 9
"""Levels up to which each has a column of its own; a category of more is one column of codes."""

CYCLES = {"moment": ("day", "week", "year"), "time": ("day",), "span": ()}
"""What may come round in a column of dates, of times of day, and of durations."""

Part = tuple[FeatureKind, int, int]
"""Of neighbouring columns that are made of one column: their kind, how many they are, and the levels of a code."""


_NUMBER: Part = ("number", 1, 0)
_INDICATOR: Part = ("indicator", 1, 0)


@dataclass(frozen=True)
class Number:
    """A column of numbers, scaled robustly, and a column that says where one was missing, if one was in training.

    Args:
        name: of the column.
        center, scale: what is subtracted and divided by: the median, and the quartile range.
        low, high: the range in training.
        missing: whether a value was missing in training.
        format: how the numbers are written, where they are not plain ones.
    """

    name: str
    center: float
    scale: float
    low: float
    high: float
    missing: bool
    format: NumberFormat | None = None
    kind: ClassVar[str] = "number"

    @property
    def parts(self) -> list[Part]:
        """The columns that are made of it."""
        return [_NUMBER, *[_INDICATOR] * self.missing]

    @property
    def features(self) -> list[str]:
        """Their names."""
        return [self.name, *[f"{self.name} is missing"] * self.missing]

    def encode(self, column: pl.Series, words: Sequence[str], notes: Notes) -> np.ndarray:
        """float32 (n, features); a missing value becomes the median of the training rows."""
        values = numbers_of(column, self.format, words, notes)
        absent = np.isnan(values)
        _note_values(self, values, notes)
        whole = np.where(absent, 0.0, scaled(values, self.center, self.scale))
        return np.column_stack([whole, absent] if self.missing else [whole]).astype(np.float32)


@dataclass(frozen=True)
class Moment:
    """A column of dates, times or durations: their number scaled robustly, and sine and cosine of the cycles that vary.

    Args:
        name: of the column.
        center, scale: as of a `Number`, in days since 1970, or in hours.
        low, high: the range in training.
        missing: whether a value was missing in training.
        cycles: which of "day", "week" and "year" varied in training.
        format: how they are written; None where the table has a type for them.
    """

    name: str
    center: float
    scale: float
    low: float
    high: float
    missing: bool
    cycles: list[str]
    clock: str
    format: ClockFormat | None = None
    kind: ClassVar[str] = "moment"

    @property
    def parts(self) -> list[Part]:
        """The columns that are made of it."""
        return [_NUMBER] * (1 + 2 * len(self.cycles)) + [_INDICATOR] * self.missing

    @property
    def features(self) -> list[str]:
        """Their names."""
        waves = [f"{self.name}, {wave} of the {cycle}" for cycle in self.cycles for wave in ("sine", "cosine")]
        return [self.name, *waves, *[f"{self.name} is missing"] * self.missing]

    def encode(self, column: pl.Series, words: Sequence[str], notes: Notes) -> np.ndarray:
        """float32 (n, features); where the value is missing, the median of the training rows and zeros."""
        values = clock_of(column, self.clock, self.format, words, notes)
        absent = np.isnan(values)
        _note_values(self, values, notes)
        made = [scaled(values, self.center, self.scale)]
        for cycle in self.cycles:
            angle = 2 * np.pi * phase(values, cycle, self.clock)
            made += [np.sin(angle), np.cos(angle)]
        whole = [np.where(absent, 0.0, part) for part in made]
        return np.column_stack([*whole, absent] if self.missing else whole).astype(np.float32)


@dataclass(frozen=True)
class Category:
    """A column of names: one column for two levels, one a level for a few, one of codes for many.

    Args:
        name: of the column.
        levels: seen in training, in order.
        missing: whether a value was missing in training.
    """

    name: str
    levels: list[str]
    missing: bool
    kind: ClassVar[str] = "category"

    @property
    def shape(self) -> FeatureKind:
        """How it is put into columns."""
        if len(self.levels) <= 2:
            return "binary"
        return "onehot" if len(self.levels) <= ONE_HOT else "code"

    @property
    def parts(self) -> list[Part]:
        """The columns that are made of it."""
        if self.shape == "onehot":
            return [("onehot", len(self.levels) + self.missing, 0)]
        return [("code", 1, len(self.levels)) if self.shape == "code" else ("binary", 1, 0)]

    @property
    def features(self) -> list[str]:
        """Their names."""
        if self.shape == "onehot":
            levels = [f"{self.name} = {level}" for level in self.levels]
            return [*levels, *[f"{self.name} is missing"] * self.missing]
        return [self.name if self.shape == "code" else f"{self.name} = {self.levels[-1]}"]

    def encode(self, column: pl.Series, words: Sequence[str], notes: Notes) -> np.ndarray:
        """float32 (n, features)."""
        import polars as pl

        refuse_unlike(self.name, column, ("text", "number", "boolean", "category"), "names")
        # Words for a missing value are no levels, so that they are looked for only where no level stands.
        texts = column.str.strip_chars() if column.dtype == pl.String else as_text(column, words)
        codes = found_levels(texts, self.levels, column.dtype == pl.Boolean).fill_null(-1).to_numpy()
        others = np.flatnonzero(codes < 0)
        absent = np.zeros(len(codes), bool)
        if others.size:
            gone = as_text(texts.gather(others), words).is_null().to_numpy()
            absent[others[gone]] = True
            self._note(texts, others[~gone], int(gone.sum()), notes)
        if self.shape == "binary":
            made = np.where(codes < 0, 0, 2 * codes - 1)[:, None] if len(self.levels) == 2 else (codes >= 0)[:, None]
        elif self.shape == "code":
            made = codes[:, None] + 1
        else:
            made = codes[:, None] == np.arange(len(self.levels) + self.missing)
            made[:, -1] |= absent & self.missing
        return made.astype(np.float32)

    def _note(self, texts: pl.Series, strange: np.ndarray, absent: int, notes: Notes) -> None:
        if strange.size:
            levels = texts.gather(strange).unique().sort()
            detail = f"{counted(strange.size, 'row')} with a level not seen in training ({shortened(levels)})"
            notes.add("hold levels not seen in training", self.name, f"{detail}, taken as none of those it saw")
        if absent and not self.missing:
            detail = f"{absent:,} missing, though none was in training; taken as none of the levels"
            notes.add("values are missing where none was in training", self.name, detail)


Learnt = Number | Moment | Category
KINDS: dict[str, type[Any]] = {kind.kind: kind for kind in (Number, Moment, Category)}
_FORMATS: dict[str, Any] = {"number": NumberFormat, "moment": ClockFormat}


def to_record(learnt: Learnt) -> dict[str, Any]:
    """Plain values for a JSON file."""
    return {"kind": learnt.kind, **asdict(learnt)}


def from_record(record: dict[str, Any]) -> Learnt:
    """What `to_record` wrote."""
    values = {key: value for key, value in record.items() if key != "kind"}
    if values.get("format"):
        values["format"] = _FORMATS[record["kind"]](**values["format"])
    made: Learnt = KINDS[record["kind"]](**values)
    return made


def note_missing(learnt: Number | Moment, count: int, notes: Notes) -> None:
    """Say that values are missing where none was in training."""
    if count and not learnt.missing:
        detail = f"{count:,} missing, though none was in training; the median is taken"
        notes.add("values are missing where none was in training", learnt.name, detail)


def note_far(learnt: Number | Moment, count: int, row: int, value: float, notes: Notes) -> None:
    """Say that so many values are far outside the range of training, and which the first one is."""
    span = f"the {learnt.low:g} to {learnt.high:g} of training"
    detail = f"{counted(count, 'row')} far outside {span}: {value:g} in {notes.row(row)}"
    notes.add("far outside the range of training", learnt.name, detail)


def _note_values(learnt: Number | Moment, values: np.ndarray, notes: Notes) -> None:
    note_missing(learnt, int(np.isnan(values).sum()), notes)
    far = np.flatnonzero(is_far(values, learnt.low, learnt.high))
    if far.size:
        note_far(learnt, far.size, int(far[0]), float(values[far[0]]), notes)


def phase(values: np.ndarray, cycle: str, clock: str) -> np.ndarray:
    """How much of its cycle each value has behind it, from 0 to 1; days of the week count as a whole."""
    if clock == "time":
        return values / 24 % 1
    if cycle == "week":
        # The first day of 1970 was a Thursday.
        return (np.floor(values) + 3) % 7 / 7
    return values % 1 if cycle == "day" else values / 365.2425 % 1
