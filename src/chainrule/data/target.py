"""What is to be predicted: classes, or a number in the user's units."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from chainrule.data.learning_target import LearntTarget, TargetTally, Task, choose, target_column
from chainrule.data.notes import shortened
from chainrule.data.numerals import NumberFormat
from chainrule.data.sources import Source
from chainrule.data.unread import numbers_of
from chainrule.data.words import Reading, as_text, found_levels
from chainrule.errors import DataError, check_choice

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Target(LearntTarget):
    """The column to predict, the task that it sets, and the way between its values and numbers."""

    @classmethod
    def fit(
        cls,
        source: Source,
        name: str | None = None,
        task: str = "auto",
        rows: np.ndarray | None = None,
        reading: Reading | None = None,
    ) -> Target:
        """Choose the column and the task, and learn the classes, or mean and deviation, from the given rows.

        Raises:
            ArgumentError: if there is no such column.
            DataError: if the target is all missing, is the same in every row, or does not suit the task.

        Example:
            >>> from chainrule.data import load
            >>> Target.fit(load("iris")).classes
            ['setosa', 'versicolor', 'virginica']
        """
        notes: list[str] = []
        chosen = choose(source.columns, source.default_target, name, notes, source.name)
        tally = TargetTally(chosen, task, reading or Reading())
        rows = np.arange(source.rows) if rows is None else np.unique(rows)
        tally.add(source, rows, rows, 0)
        return cls(**vars(tally.finish(notes)))

    def labelled_rows(self, source: Source) -> np.ndarray:
        """The rows whose target is there."""
        column = self._column(source)
        if self.task == "classify":
            return np.flatnonzero(as_text(column, self.words).is_not_null().to_numpy())
        return np.flatnonzero(~np.isnan(numbers_of(column, self.format, self.words)))

    def values(self, source: Source, rows: np.ndarray | None = None) -> np.ndarray:
        """int32 (n,) class numbers, or float32 (n, 1) standardised numbers, of labelled rows.

        Raises:
            DataError: a label that was not seen in training.
        """
        import polars as pl

        rows = self.labelled_rows(source) if rows is None else rows
        if self.task == "regress":
            return ((self.numbers(source, rows) - self.mean) / self.sigma).astype(np.float32)[:, None]
        column = self._column(source)
        texts = as_text(column, self.words)
        found = found_levels(texts, self._keys, column.dtype == pl.Boolean).fill_null(-1).to_numpy()[rows]
        if (found < 0).any():
            row = int(np.asarray(rows)[found.argmin()])
            expected = f"one seen in training, {shortened(self.classes or [])}"
            where = f"column {self.name!r}, row {row + 1}"
            raise DataError("an unknown class", where=where, expected=expected, got=repr(column[row]))
        return found.astype(np.int32)

    def numbers(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """float64 (n,) numbers in the user's units, of labelled rows; for regression."""
        return numbers_of(self._column(source), self.format, self.words)[rows]

    def decode(self, outputs: Any) -> np.ndarray:
        """What the outputs of a network say: labels from scores or class numbers, numbers in the user's units.

        Example:
            >>> Target("kind", "classify", ["cat", "dog"]).decode([[0.2, 1.5], [3.0, 0.1]]).tolist()
            ['dog', 'cat']
        """
        outputs = np.asarray(outputs)
        if self.task == "regress":
            return outputs.reshape(len(outputs)).astype(np.float64) * self.sigma + self.mean
        numbers = outputs.argmax(axis=1) if outputs.ndim == 2 else outputs.astype(int)
        return np.array(self.classes)[numbers]

    def predicted(self, outputs: Any) -> np.ndarray:
        """As `decode`, numbers being held within the range that training saw.

        Example:
            >>> Target("price", "regress", mean=5.0, sigma=2.0, low=1.0, high=9.0).predicted([[0.5], [-7.0]]).tolist()
            [6.0, 1.0]
        """
        found = self.decode(outputs)
        return np.clip(found, self.low, self.high) if self.task == "regress" else found

    @property
    def _keys(self) -> list[str]:
        """The labels as text, without spaces around them."""
        import polars as pl

        return as_text(pl.Series(self.classes or [], strict=False), ()).to_list()

    def _column(self, source: Source) -> pl.Series:
        return target_column(source, self.name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        saved = asdict(self)
        if self.task == "classify":
            del saved["low"], saved["high"]
        return saved


def target_from_dict(saved: dict[str, Any]) -> Target:
    """The target that `Target.to_dict` wrote."""
    task = cast(Task, check_choice("task", saved["task"], ("classify", "regress")))
    format_ = NumberFormat(**saved["format"]) if saved["format"] else None
    return Target(**{**saved, "task": task, "format": format_})
