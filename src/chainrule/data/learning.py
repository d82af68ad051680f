"""What is learnt of the columns of features: tallied batch by batch, and decided when all rows have been met."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chainrule.data.cells import CLOCKS, Odd, Plain
from chainrule.data.clock import find_clock
from chainrule.data.columns import Learnt, Number
from chainrule.data.deciding import Column, category, decide, is_stray, moment
from chainrule.data.notes import Notes
from chainrule.data.numerals import find_format
from chainrule.data.scale import spread
from chainrule.data.sources import Source
from chainrule.data.tallies import NumberTally, TextTally, tally_by_column
from chainrule.data.unread import Cell, Unread
from chainrule.data.words import Reading, as_text
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_FIRST_DATE, _LAST_DATE = 19000101, 21001231
_LEAST_INDEX, _LEAST_NAMING = 20, 100
"""Rows from which different whole numbers are taken for row numbers, if they have no large gaps, and for names of the
rows, if they have."""


class _Facts(NamedTuple):
    """What is known of the numbers of a column."""

    known: int
    center: float
    scale: float
    low: float
    high: float
    whole: bool


class ColumnsTally:
    """What the training rows tell about columns of features.

    Every column is met as plain numbers, in bulk, and whatever is no number by its text. That decides nearly all; the
    rest (`undecided`) need a further pass, in which all of their texts are counted.

    Args:
        names: of the columns; None for those of an array, which the first batch tells.
        reading: what the user says of them.
        counted: those whose texts are all counted.
    """

    def __init__(self, names: list[str] | None, reading: Reading, counted: Collection[str] = ()) -> None:
        self.reading, self.counted = reading, {*counted, *reading.categorical}
        self.words: list[str] = []
        self._names = names
        self._kinds: dict[int, str] = {}
        self._numbers: NumberTally | None = None
        self._coded = np.empty(0, bool)
        self._odd: dict[int, TextTally] = {}
        self._texts: dict[int, TextTally] = {}
        self._decimal_comma = self._is_typed = False

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return self._names or []

    def add(self, batch: Source, rows: np.ndarray, first: int) -> None:
        """Take in some rows of a batch, the first one of which has this number."""
        for start, part in batch.parts():
            inside = rows[(rows >= start) & (rows < start + part.rows)] - start
            if len(inside):
                self._add(part, inside, first + start)

    def _add(self, batch: Source, rows: np.ndarray, first: int) -> None:
        plain = batch.plain
        if self._names is None:
            self._names = plain.names
        if self._numbers is None:
            self._numbers, self._coded = NumberTally(len(self.names)), np.zeros(len(self.names), bool)
            self.words, self._decimal_comma = self.reading.words(batch.cells is not None), batch.decimal_comma
            self._is_typed = batch.cells is None
        place = np.array([plain.index[name] for name in self.names], dtype=int)
        self._note_kinds(plain, place, batch.name)
        everything = len(rows) == batch.rows
        same = np.array_equal(place, np.arange(len(plain.names)))
        values = plain.values if everything else plain.values[rows]
        self._numbers.add(values if same else values[:, place])
        where = np.full(len(plain.names), -1)
        where[place] = np.arange(len(place))
        chosen = np.zeros(batch.rows, bool)
        chosen[rows] = True
        self._coded[where[plain.codes[1][chosen[plain.codes[0]] & (where[plain.codes[1]] >= 0)]]] = True
        odd = plain.odd.take(chosen[plain.odd.row] & (where[plain.odd.column] >= 0))
        self._add_odd(odd, where, first)
        for number, name in enumerate(self.names):
            if name in self.counted or self._kinds.get(number) in ("boolean", "category"):
                self._count(number, batch.column(name), rows, first)

    def _note_kinds(self, plain: Plain, place: np.ndarray, where: str) -> None:
        for number, at in enumerate(place.tolist()):
            kind = plain.kinds[at]
            if kind == "nothing":
                continue
            before = self._kinds.setdefault(number, kind)
            if {before, kind} == {"text", "number"}:
                self._kinds[number] = "text"
            elif before != kind:
                raise DataError(
                    "of another type than in the files before",
                    where=f"{where}, column {self.names[number]!r}", expected=before, got=kind,
                )  # fmt: skip

    def _add_odd(self, odd: Odd, where: np.ndarray, first: int) -> None:
        marks = odd.text.is_in(self.words).to_numpy()
        if marks.any():
            odd = odd.take(~marks)
        tally_by_column(where[odd.column], odd.text, odd.row + first, self._odd)

    def _count(self, number: int, column: pl.Series, rows: np.ndarray, first: int) -> None:
        texts = as_text(column, self.words)
        rows = rows[texts.is_not_null().to_numpy()[rows]]
        tally_by_column(np.full(len(rows), number), texts.gather(rows), rows + first, self._texts)

    # ---- what it comes to

    def undecided(self) -> set[str]:
        """The columns whose texts must all be counted, in a further pass, to know what they are."""
        return {name for number, name in enumerate(self.names) if name not in self.counted and self._is_open(number)}

    def _is_open(self, number: int) -> bool:
        numbers = int(self._numbers.count[number]) if self._numbers is not None else 0
        if not numbers or self._kinds.get(number) != "text":
            return False
        if self._coded[number]:
            return self.names[number] not in self.reading.numeric
        if number not in self._odd:
            return False
        texts = self._odd[number].texts()
        if self.names[number] not in self.reading.numeric and not is_stray(texts.met, numbers + texts.met):
            return True
        readable = ~np.isnan(find_format(texts.text, texts.count, self._decimal_comma).values)
        clock = find_clock(texts.text, texts.count)
        return bool(readable.any()) or clock is not None

    def finish(self, notes: Notes) -> list[Learnt]:
        """The columns that are used; `notes` are told of the others, and of what may be a surprise."""
        if self._numbers is None:
            return []
        numbers = self._numbers
        quarters = numbers.quartiles()
        scales = spread(quarters, numbers.low, numbers.high)
        # Plain lists, since there may be tens of thousands of columns.
        facts = [a.tolist() for a in (numbers.count, quarters[1], scales, numbers.low, numbers.high, numbers.whole)]
        found: list[Learnt] = []
        for number, name in enumerate(self.names):
            made = self._learnt(number, _Facts._make(values[number] for values in facts), notes)
            if isinstance(made, str):
                notes.add(f"left out, {made}", name)
            else:
                found.append(made)
        return found

    def _learnt(self, number: int, facts: _Facts, notes: Notes) -> Learnt | str:
        assert self._numbers is not None
        kind, numbers, name = self._kinds.get(number, "nothing"), facts.known, self.names[number]
        counted = self._texts.get(number) or (None if numbers else self._odd.get(number))
        if kind not in (*CLOCKS, "text", "number", "boolean", "category", "nothing"):
            return f"holds values of type {kind}"
        if not numbers and counted is None:
            return "all missing"
        if kind in CLOCKS and name not in self.reading.categorical:
            values = self._numbers.sample[:, number]
            known = values[~np.isnan(values)]
            return moment(name, known, np.ones(len(known), int), self._numbers.rows - numbers, kind)
        if counted is None:
            return self._number(number, facts, notes)
        texts = counted.texts()
        missing = self._numbers.rows - texts.met
        if kind in ("boolean", "category"):
            return category(name, texts, missing)
        forced = next((k for k in ("categorical", "numeric") if name in getattr(self.reading, k)), None)
        return decide(Column(name, texts, missing, self._decimal_comma, bool(self._coded[number])), forced, notes)

    def _number(self, number: int, facts: _Facts, notes: Notes) -> Number | str:
        """A column of plain numbers, beside which there is hardly anything else."""
        assert self._numbers is not None
        name, count, low, high = self.names[number], facts.known, facts.low, facts.high
        missing = self._numbers.rows - count
        if low == high and not missing:
            return "always the same value"
        if not missing and facts.whole and name not in self.reading.numeric and self._counts_rows(number):
            return "only numbers the rows; --numeric keeps it"
        if not missing and facts.whole and self._is_different_everywhere(number):
            detail = "a different whole number in every row; --ignore leaves it out, if it only names them"
            notes.add("hold a different whole number in every row", name, detail)
        if facts.whole and self._are_dates(number, facts):
            notes.add(
                "numbers that look like dates", name, "numbers that look like dates; write 2024-12-31 for 20241231"
            )
        if self._is_typed and self._kinds.get(number) == "text":
            notes.add("text that holds numbers, read as such", name, "text that holds numbers, and is read as numbers")
        if number in self._odd:
            texts = self._odd[number].texts()
            first = int(texts.first.argmin())
            found = Unread(
                name, "number", Cell(int(texts.first[first]), texts.text[first]), texts.met, count + texts.met
            )
            if not is_stray(found.count, found.present) and name not in self.reading.numeric:
                raise found.refusal()
            found.say(notes)
        return Number(name, facts.center, facts.scale, low, high, missing > 0)

    def _counts_rows(self, number: int) -> bool:
        """Whether whole numbers are different in every row, and without large gaps."""
        assert self._numbers is not None
        rows = self._numbers.rows
        span = self._numbers.high[number] - self._numbers.low[number] + 1
        return _LEAST_INDEX <= rows <= span <= 3 * rows and self._is_different_everywhere(number, _LEAST_INDEX)

    def _is_different_everywhere(self, number: int, least: int = _LEAST_NAMING) -> bool:
        """Whether there are so many rows, and no number is in two of the sample."""
        assert self._numbers is not None
        seen = self._numbers.sample[:, number]
        return len(seen) >= least and len(np.unique(seen)) == len(seen)

    def _are_dates(self, number: int, facts: _Facts) -> bool:
        """Whether whole numbers are dates without marks between, as in 20241231."""
        assert self._numbers is not None
        if not (facts.low >= _FIRST_DATE and facts.high <= _LAST_DATE):
            return False
        seen = self._numbers.sample[:, number]
        seen = seen[~np.isnan(seen)]
        month, day = seen // 100 % 100, seen % 100
        return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())
