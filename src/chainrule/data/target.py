"""What is to be predicted: classes, or a number in the user's units."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from chainrule.data.notes import shortened
from chainrule.data.numerals import NumberFormat
from chainrule.data.sources import Source
from chainrule.data.unread import numbers_of
from chainrule.data.words import Reading, as_text, found_levels
from chainrule.errors import ArgumentError, DataError, check_choice, nearest

if TYPE_CHECKING:
    import polars as pl

Task = Literal["classify", "regress"]


@dataclass(frozen=True)
class Target:
    """The column to predict, the task that it sets, and the way between its values and numbers.

    Args:
        name: of the column.
        task: "classify" or "regress".
        classes: the labels in order, as they are written in the table; the place of a label is its number.
        mean: of the training rows, for a task of regression.
        sigma: their standard deviation.
        low, high: their range.
        format: how the numbers are written, where they are not plain ones.
        words: what counts as missing.
        notes: what the user should be told.
    """

    name: str
    task: Task
    classes: list[Any] | None = None
    mean: float = 0.0
    sigma: float = 1.0
    low: float = -np.inf
    high: float = np.inf
    format: NumberFormat | None = None
    words: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

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
        from chainrule.data.learning_target import TargetTally

        notes: list[str] = []
        chosen = choose(source.columns, source.default_target, name, notes, source.name)
        tally = TargetTally(chosen, task, reading or Reading())
        rows = np.arange(source.rows) if rows is None else np.unique(rows)
        tally.add(source, rows, rows, 0)
        return tally.finish(notes)

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

        column = self._column(source)
        rows = self.labelled_rows(source) if rows is None else rows
        if self.task == "regress":
            known = numbers_of(column, self.format, self.words)[rows]
            return ((known - self.mean) / self.sigma).astype(np.float32)[:, None]
        texts = as_text(column, self.words)
        found = found_levels(texts, self._keys, column.dtype == pl.Boolean).fill_null(-1).to_numpy()[rows]
        if (found < 0).any():
            row = int(np.asarray(rows)[found.argmin()])
            expected = f"one seen in training, {shortened(self.classes or [])}"
            where = f"column {self.name!r}, row {row + 1}"
            raise DataError("an unknown class", where=where, expected=expected, got=repr(column[row]))
        return found.astype(np.int32)

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


def target_column(source: Source, name: str) -> pl.Series:
    """The column to predict; dates and lists are refused."""
    column = source.column(name)
    if column.dtype.is_temporal() or column.dtype.is_nested():
        raise DataError("cannot be predicted", where=f"column {name!r}", expected="numbers or labels", got=column.dtype)
    return column


def infer_task(values: pl.Series) -> tuple[Task, str]:
    """The task that the values of a target set, and the reason in words.

    Example:
        >>> import polars as pl
        >>> infer_task(pl.Series([1.5, 2.25, 3.0]))
        ('regress', '3 different numbers')
    """
    import polars as pl

    if not values.dtype.is_numeric():
        kind = "true or false" if values.dtype == pl.Boolean else f"{values.n_unique()} different labels"
        return "classify", kind
    numbers = values.drop_nulls().cast(pl.Float64).drop_nans().to_numpy()
    return task_of(np.unique(numbers), len(numbers))


def task_of(distinct: np.ndarray, rows: int) -> tuple[Task, str]:
    """The task that so many rows of these different numbers (ascending) set, and the reason in words."""
    few = len(distinct) <= 2 or 3 * len(distinct) <= rows
    as_counted = np.array_equal(distinct, np.arange(len(distinct))) and 10 * len(distinct) <= rows
    as_labels = len(distinct) <= 20 or as_counted
    if few and as_labels and (distinct == np.round(distinct)).all():
        return "classify", f"only {len(distinct)} different whole numbers"
    return "regress", f"{len(distinct)} different numbers"


def choose(
    columns: list[str], default: str | None, name: str | None, notes: list[str], where: str, option: str = "target"
) -> str:
    """The name of the column to predict: the one asked for, the source's own, or the last.

    A name need not repeat the spaces that its header has around it, as long as it is clear which one is meant.
    """
    if not columns:
        raise DataError("there are no targets", where=where, expected="y beside X, or labels beside images")
    if name is None:
        if default is None:
            notes.append(f"{columns[-1]}: the last column is taken as the target; --target names another")
        return default or columns[-1]
    if name in columns:
        return name
    alike = [column for column in columns if column.strip() == name.strip()]
    if len(alike) == 1:
        return alike[0]
    listed = shortened([repr(column) for column in nearest(name, columns)], most=10)
    raise ArgumentError("no such column", where=option, expected=f"one of {listed}", got=repr(name))


def target_from_dict(saved: dict[str, Any]) -> Target:
    """The target that `Target.to_dict` wrote."""
    task = cast(Task, check_choice("task", saved["task"], ("classify", "regress")))
    format_ = NumberFormat(**saved["format"]) if saved["format"] else None
    return Target(**{**saved, "task": task, "format": format_})
