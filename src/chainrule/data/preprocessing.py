"""From a source to the arrays that a network trains on, and back from its outputs to the user's values.

Everything is learnt from the training rows, is written as plain JSON values, and gives the same bits when read back:
a row is made into the same numbers whatever stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.data.features import Features
from chainrule.data.layout import Feature
from chainrule.data.learning import ColumnsTally
from chainrule.data.learning_target import TargetTally, choose
from chainrule.data.notes import Notes
from chainrule.data.repeats import repeats
from chainrule.data.sources import Source
from chainrule.data.target import Target, target_from_dict
from chainrule.data.words import Reading
from chainrule.errors import ArgumentError, DataError, printable

Batch = tuple[int, Source, np.ndarray, np.ndarray]
"""The number of a batch's first row, the batch, the rows whose labels are learnt, and those of them to train on."""


@dataclass(frozen=True)
class Preprocessor:
    """The way from a source to features and targets, learnt from training rows.

    Example:
        >>> from chainrule.data import load
        >>> wine = load("wine")
        >>> preprocessor = Preprocessor.fit(wine, rows=np.arange(0, 178, 2))
        >>> preprocessor.task, preprocessor.transform(wine).shape
        ('classify', (178, 13))
    """

    features: Features
    fitted_target: Target
    notes: list[str] = field(default_factory=list)

    @classmethod
    def fit(
        cls,
        source: Source,
        target: str | None = None,
        task: str = "auto",
        rows: Any = None,
        reading: Reading | None = None,
    ) -> Preprocessor:
        """Learn from the given rows of a source; rows without a target are passed over.

        Args:
            source: what `load` returned.
            target: the column to predict; the source's own default, or the last column, if None.
            task: "classify", "regress", or "auto" to infer it from the target.
            rows: row numbers; all of them if None.
            reading: how the columns are to be read, where that should not be found out.

        Raises:
            ArgumentError: if there is no such column.
            DataError: if a value, the target, or every column cannot be used.
        """
        chosen = np.arange(source.rows) if rows is None else np.unique(rows)
        notes = list(source.notes)
        name = choose(source.columns, source.default_target, target, notes, source.name)
        columns = source.columns if source.is_table else None
        batches: list[Batch] = [(0, source, chosen, chosen)]
        return learn(lambda: batches, columns, name, task, reading or Reading(), source.name, notes)

    @property
    def task(self) -> str:
        """What is done with the target, "classify" or "regress"."""
        return self.fitted_target.task

    @property
    def target(self) -> str:
        """The name of the target column."""
        return self.fitted_target.name

    @property
    def classes(self) -> list[Any] | None:
        """The labels in the order of their numbers, as the table has them; None for regression."""
        return self.fitted_target.classes

    @property
    def columns(self) -> list[str]:
        """The columns of the source that are used."""
        return self.features.columns

    @property
    def feature_names(self) -> list[str]:
        """The names of the columns that `transform` returns."""
        return self.features.feature_names

    @property
    def layout(self) -> list[Feature]:
        """What the columns that `transform` returns mean, in their order.

        Example:
            >>> from chainrule.data import load
            >>> Preprocessor.fit(load("iris")).layout[1]
            Feature(column='sepal width (cm)', kind='number', start=1, width=1, levels=0)
        """
        return self.features.layout

    def transform(self, source: Source, rows: Any = None, notes: list[str] | None = None, first: int = 0) -> np.ndarray:
        """The features, float32 (n, features); what the user should be told is added to `notes`.

        Args:
            source: the rows.
            rows: the numbers of those that are wanted; all of them if None.
            notes: what the user should be told is added to it.
            first: the number of the source's first row, where it is a batch of a table.

        Raises:
            DataError: if columns are missing or hold something else than in training.
            ShapeError: if an array has another number of features than in training.
        """
        said = Notes(first)
        # All rows are encoded even when few are wanted, so that a note counts rows as the file does.
        encoded = self.features.transform(source, said)
        if notes is not None:
            notes += [*source.notes, *said.lines()]
        return encoded if rows is None else encoded[np.asarray(rows)]

    def target_values(self, source: Source, rows: Any = None) -> np.ndarray:
        """int32 (n,) class numbers, or float32 (n, 1) standardised numbers; all labelled rows if `rows` is None."""
        return self.fitted_target.values(source, None if rows is None else np.asarray(rows))

    def labelled_rows(self, source: Source) -> np.ndarray:
        """The rows whose target is there."""
        return self.fitted_target.labelled_rows(source)

    def decode(self, outputs: Any) -> np.ndarray:
        """Labels from scores or class numbers; numbers in the user's units from standardised ones."""
        return self.fitted_target.decode(outputs)

    def predicted(self, outputs: Any) -> np.ndarray:
        """As `decode`, numbers being held within the range that training saw."""
        return self.fitted_target.predicted(outputs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file, from which `from_dict` restores every bit."""
        return {
            "features": self.features.to_dict(),
            "target": self.fitted_target.to_dict(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Preprocessor:
        """The preprocessor that `to_dict` wrote."""
        return cls(Features.from_dict(saved["features"]), target_from_dict(saved["target"]), list(saved["notes"]))


class PartialFit:
    """Learns a `Preprocessor` from rows that come batch by batch.

    Args:
        columns: of the table; None for arrays.
        target: the column to predict.
        task: "classify", "regress" or "auto".
        reading: how the columns are to be read, where that should not be found out.
        counted: columns of which a pass before has found that their texts must all be counted.

    Raises:
        ArgumentError: `reading` names a column that is not there, or the target.
    """

    def __init__(
        self, columns: list[str] | None, target: str, task: str, reading: Reading, counted: Collection[str] = ()
    ) -> None:
        reading = _checked(reading, columns, target)
        chosen = None if columns is None else [c for c in columns if c != target and c not in reading.ignore]
        self._target = TargetTally(target, task, reading)
        self._columns = ColumnsTally(chosen, reading, counted)
        self._is_table = columns is not None
        self._repeats: list[str] = []

    def partial_fit(self, batch: Source, rows: np.ndarray, train: np.ndarray, first: int = 0) -> None:
        """Take in a batch.

        Args:
            batch: of rows, with the target.
            rows: the numbers of those whose labels are learnt.
            train: the numbers of those of them that everything else is learnt from.
            first: the number of the batch's first row in the table.
        """
        labelled = self._target.add(batch, rows, train, first)
        self._columns.add(batch, labelled, first)
        if first == 0 and batch.is_table:
            self._repeats = repeats(batch, self._target.name, self._columns.names, labelled)

    def undecided(self) -> set[str]:
        """The columns whose texts must all be counted, in a pass through the rows, to know what they are."""
        return self._columns.undecided()

    def finish(self, name: str, notes: list[str]) -> Preprocessor:
        """The preprocessor.

        Args:
            name: of the table.
            notes: what was noticed before.

        Raises:
            DataError: a value, the target, or every column cannot be used.
        """
        notes = list(notes)
        target = Target(**vars(self._target.finish(notes)))
        said = Notes()
        learnt = self._columns.finish(said)
        for repeated in self._repeats:
            detail = f"says exactly what {target.name} says; --ignore leaves it out, as nobody knows it in advance"
            said.add("say exactly what the target says", repeated, detail)
        if not learnt:
            why = "; ".join(said.lines()) or f"{target.name!r} is the only one"
            raise DataError("no column is left to learn from", where=name, got=why)
        width = 0 if self._is_table else len(self._columns.names)
        notes = [printable(note) for note in notes] + said.lines()
        return Preprocessor(Features(learnt, self._columns.words, width), target, notes)


def learn(
    batches: Callable[[], Iterable[Batch]], columns: list[str] | None, target: str, task: str, reading: Reading,
    name: str, notes: list[str],
) -> Preprocessor:  # fmt: skip
    """The preprocessor of rows that can be had batch by batch as often as wanted: once, mostly.

    Args:
        batches: begins a pass over the rows.
        columns, target, task, reading: as of a `PartialFit`.
        name: of the table.
        notes: what was noticed before.

    Raises:
        ArgumentError: `reading` names a column that is not there, or the target.
        DataError: a value, the target, or every column cannot be used.
    """
    counted: set[str] = set()
    while True:
        fit = PartialFit(columns, target, task, reading, counted)
        for first, batch, rows, train in batches():
            fit.partial_fit(batch, rows, train, first)
        found = fit.undecided()
        if not found:
            return fit.finish(name, notes)
        counted |= found


def _checked(reading: Reading, columns: list[str] | None, target: str) -> Reading:
    """The reading with the names as they stand in the table."""
    found: dict[str, tuple[str, ...]] = {}
    for option in ("ignore", "categorical", "numeric"):
        if columns is None:
            if getattr(reading, option):
                raise ArgumentError("the columns of an array have no names", where=option)
            continue
        names = [choose(columns, None, name, [], option, option) for name in getattr(reading, option)]
        if target in names:
            raise ArgumentError("names the target", where=option, got=repr(target), hint="leave it out")
        found[option] = tuple(names)
    for first, second in (("ignore", "categorical"), ("ignore", "numeric"), ("categorical", "numeric")):
        both = sorted({*found.get(first, ())} & {*found.get(second, ())})
        if both:
            raise ArgumentError("names a column twice", where=f"{first} and {second}", got=", ".join(map(repr, both)))
    return replace(reading, **found)
