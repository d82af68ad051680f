"""The columns of a table or of an array that are used, and the matrix that they are made into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chainrule.data.bulk import Met, PlainNumbers, is_plain
from chainrule.data.columns import Learnt, from_record, to_record
from chainrule.data.layout import Feature
from chainrule.data.notes import Notes, shortened
from chainrule.data.sources import Source
from chainrule.errors import DataError, ShapeError, nearest


@dataclass(frozen=True)
class Features:
    """What was learnt of the columns of features.

    Args:
        learnt: the columns that are used, in order.
        words: what counts as missing.
        width: of an array, how many columns it had; 0 for a table, whose columns have names.
    """

    learnt: list[Learnt]
    words: list[str]
    width: int = 0

    @property
    def columns(self) -> list[str]:
        """The names of the columns read."""
        return [learnt.name for learnt in self.learnt]

    @property
    def feature_names(self) -> list[str]:
        """The names of the columns that `transform` returns."""
        return [name for learnt in self.learnt for name in learnt.features]

    @cached_property
    def layout(self) -> list[Feature]:
        """What the columns that `transform` returns mean, in their order."""
        made, start = [], 0
        for learnt in self.learnt:
            for kind, width, levels in learnt.parts:
                made.append(Feature(learnt.name, kind, start, width, levels))
                start += width
        return made

    @cached_property
    def _starts(self) -> list[int]:
        """Where the columns made of each column begin, and where the last ones end."""
        widths = [sum(width for _, width, _ in learnt.parts) for learnt in self.learnt]
        return [0, *np.cumsum(widths, dtype=int).tolist()]

    @cached_property
    def _plain(self) -> PlainNumbers:
        pairs = zip(self.learnt, self._starts, strict=False)
        return PlainNumbers.of([(learnt, start) for learnt, start in pairs if is_plain(learnt)])

    def transform(self, source: Source, notes: Notes) -> np.ndarray:
        """float32 (n, features); `notes` are told of what training did not see.

        Raises:
            DataError: columns are missing, or hold something else than in training.
            ShapeError: an array has another number of columns.
        """
        self._check(source)
        out = np.empty((source.rows, self._starts[-1]), dtype=np.float32)
        met = Met(len(self._plain.learnt))
        for first, part in source.parts():
            self._plain.write(part, self.words, first, out[first : first + part.rows], met)
        met.say(self._plain.learnt, notes)
        for learnt, start, stop in zip(self.learnt, self._starts, self._starts[1:], strict=False):
            if not is_plain(learnt):
                out[:, start:stop] = learnt.encode(source.column(learnt.name), self.words, notes)
        return out

    def _check(self, source: Source) -> None:
        if source.is_table == bool(self.width):
            kinds = ("arrays", "a table") if source.is_table else ("a table", "arrays")
            raise DataError(
                "another kind of source than in training", where=source.name, expected=kinds[0], got=kinds[1]
            )
        if self.width:
            if source.array.shape[1] != self.width:
                got = source.array.shape[1]
                raise ShapeError("wrong number of features", where=source.name, expected=self.width, got=got)
            return
        there = set(source.columns)
        absent = [name for name in self.columns if name not in there]
        if absent:
            near = ", ".join(repr(name) for name in nearest(absent[0], source.columns)[:3])
            listed = shortened([repr(name) for name in absent], most=10)
            raise DataError(
                f"columns that are missing: {listed}", where=source.name, got=f"nearest to {absent[0]!r}: {near}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {"columns": [to_record(learnt) for learnt in self.learnt], "words": self.words, "width": self.width}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Features:
        """The features that `to_dict` wrote."""
        return cls([from_record(record) for record in saved["columns"]], list(saved["words"]), saved["width"])
