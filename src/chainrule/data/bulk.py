"""Columns of plain numbers, scaled all at once: a table may have tens of thousands of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.cells import Odd, Plain
from chainrule.data.columns import Learnt, Number, note_far, note_missing
from chainrule.data.notes import Notes
from chainrule.data.scale import is_far, scaled
from chainrule.data.sources import Source
from chainrule.data.unread import Cell, Unread, refuse_unlike

_BLOCK = 2**20
"""Numbers that are scaled at a time."""


def is_plain(learnt: Learnt) -> bool:
    """Whether a column is scaled in bulk."""
    return isinstance(learnt, Number) and learnt.format is None


class Met:
    """What is met in columns of plain numbers, to be said when all rows have been.

    Args:
        width: how many columns there are.
    """

    def __init__(self, width: int) -> None:
        self.missing, self.present, self.far, self.unread = (np.zeros(width, np.int64) for _ in range(4))
        self._first_far: dict[int, tuple[int, float]] = {}
        self._first_unread: dict[int, Cell] = {}

    def add(self, values: np.ndarray, far: np.ndarray, first: int) -> None:
        """Take in some rows, the first one of which has this number, and which of their values are far outside."""
        absent = np.isnan(values).sum(axis=0)
        self.missing += absent
        self.present += len(values) - absent
        for at in np.flatnonzero(far.any(axis=0)).tolist():
            row = int(far[:, at].argmax())
            self._first_far.setdefault(at, (row + first, float(values[row, at])))
        self.far += far.sum(axis=0)

    def add_unread(self, odd: Odd, first: int) -> None:
        """Take in cells that are no numbers."""
        columns, starts, counts = np.unique(odd.column, return_index=True, return_counts=True)
        self.unread[columns] += counts
        for column, start in zip(columns.tolist(), starts.tolist(), strict=True):
            self._first_unread.setdefault(column, Cell(int(odd.row[start]) + first, odd.text[start]))

    def say(self, learnt: list[Number], notes: Notes) -> None:
        """Tell the notes.

        Raises:
            DataError: most of a column is no number.
        """
        for at in np.flatnonzero(self.unread).tolist():
            count = int(self.unread[at])
            found = Unread(learnt[at].name, "number", self._first_unread[at], count, int(self.present[at]) + count)
            if found.is_most:
                raise found.refusal()
            found.say(notes)
        for at in np.flatnonzero(self.missing).tolist():
            note_missing(learnt[at], int(self.missing[at]), notes)
        for at in np.flatnonzero(self.far).tolist():
            note_far(learnt[at], int(self.far[at]), *self._first_far[at], notes)


@dataclass(frozen=True)
class PlainNumbers:
    """The columns of plain numbers.

    Args:
        learnt: the columns.
        center, scale, low, high: theirs.
        numbers: the column of X that each becomes.
        holed, indicators: those that have an indicator, and the column of X that it is.
    """

    learnt: list[Number]
    center: np.ndarray
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray
    numbers: np.ndarray
    holed: np.ndarray
    indicators: np.ndarray

    @classmethod
    def of(cls, chosen: list[tuple[Any, int]]) -> PlainNumbers:
        """Columns, each with the first column of X that it becomes."""
        learnt = [number for number, _ in chosen]
        of = [np.array([getattr(n, key) for n in learnt], float) for key in ("center", "scale", "low", "high")]
        numbers = np.array([start for _, start in chosen], int)
        holed = np.flatnonzero([number.missing for number in learnt])
        return cls(learnt, of[0], of[1], of[2], of[3], numbers, holed, numbers[holed] + 1)

    def write(self, source: Source, words: list[str], first: int, out: np.ndarray, met: Met) -> None:
        """Write the columns of some rows, the first one of which has this number, into their places."""
        if not self.learnt:
            return
        plain = source.plain
        place = np.array([plain.index[number.name] for number in self.learnt])
        self._refuse_unlike(source, plain, place)
        where = np.full(len(plain.names), -1)
        where[place] = np.arange(len(place))
        odd = plain.odd.take((where[plain.odd.column] >= 0) & ~plain.odd.text.is_in(words).to_numpy())
        met.add_unread(Odd(odd.row, where[odd.column], odd.text), first)
        size = max(1, _BLOCK // len(place))
        for start in range(0, len(out), size):
            rows = slice(start, start + size)
            values = plain.values[rows][:, place]
            met.add(values, is_far(values, self.low, self.high), first + start)
            absent = np.isnan(values)
            out[rows, self.numbers] = np.where(absent, 0.0, scaled(values, self.center, self.scale))
            out[rows, self.indicators] = absent[:, self.holed]

    def _refuse_unlike(self, source: Source, plain: Plain, place: np.ndarray) -> None:
        for number, at in zip(self.learnt, place.tolist(), strict=True):
            if plain.kinds[at] not in ("number", "text", "boolean", "nothing"):
                refuse_unlike(number.name, source.column(number.name), ("number", "text", "boolean"), "numbers")
