"""What is learnt of the column to predict: tallied batch by batch, and decided when all rows have been met."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chainrule.data.cells import kind_of
from chainrule.data.deciding import is_stray
from chainrule.data.notes import Notes, counted, shortened
from chainrule.data.numerals import NumberFormat, find_format
from chainrule.data.scale import moments
from chainrule.data.sources import Source
from chainrule.data.standardize import Moments
from chainrule.data.tallies import Texts, TextTally, tally_by_column
from chainrule.data.unread import Cell, Unread
from chainrule.data.words import Reading, as_text
from chainrule.errors import ArgumentError, DataError, check_choice, nearest, printable

if TYPE_CHECKING:
    import polars as pl

Task = Literal["classify", "regress"]
_ANOTHER = "choose another column with --target"


@dataclass(frozen=True)
class LearntTarget:
    """What is learnt of the column to predict.

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


class TargetTally:
    """The column to predict.

    Args:
        name: of the column.
        task: "classify", "regress", or "auto" to infer it.
        reading: what the user says of the table.
    """

    def __init__(self, name: str, task: str, reading: Reading) -> None:
        self.name, self.task = name, check_choice("task", task, ("auto", "classify", "regress"))
        self.reading = reading
        self._words: list[str] = []
        self._marks: Counter[str] = Counter()
        self._rows = self._labelled = 0
        self._kind, self._decimal_comma, self._floats, self._is_typed = "nothing", False, False, False
        self._texts: dict[int, TextTally] = {}
        self._trained: dict[int, TextTally] = {}
        self._numbers = Moments("feature")
        self._range = [np.inf, -np.inf]

    def add(self, batch: Source, rows: np.ndarray, train: np.ndarray, first: int) -> np.ndarray:
        """Take in some rows of a batch; classes are learnt from all of them, mean and range from those in `train`.

        Returns:
            Those in `train` whose target is there.
        """
        import polars as pl

        column = target_column(batch, self.name)
        if not self._rows:
            self._words, self._decimal_comma = self.reading.words(batch.cells is not None), batch.decimal_comma
            self._is_typed = batch.cells is None
        kind = kind_of(column.dtype)
        self._kind = kind if kind != "nothing" else self._kind
        self._floats |= column.dtype.is_float()
        texts = as_text(column, self._words)
        self._rows += len(rows)
        known = texts.is_not_null().to_numpy()
        labelled = rows[known[rows]]
        self._labelled += len(labelled)
        if column.dtype == pl.String:
            marks = column.gather(rows[~known[rows]]).str.strip_chars()
            self._marks.update(marks.filter(marks != "").to_list())
            texts = column
        tally_by_column(np.zeros(len(labelled), int), texts.gather(labelled), labelled + first, self._texts)
        train = train[known[train]]
        self._add_numbers(column, texts, train, first)
        return train

    def _add_numbers(self, column: pl.Series, texts: pl.Series, train: np.ndarray, first: int) -> None:
        import polars as pl

        tally_by_column(np.zeros(len(train), int), texts.gather(train), train + first, self._trained)
        chosen = column.gather(train)
        if kind_of(column.dtype) not in ("text", "number"):
            return
        chosen = chosen.str.strip_chars() if chosen.dtype == pl.String else chosen
        values = chosen.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        values = values[np.isfinite(values)]
        if len(values):
            self._numbers.merge(len(values), *moments(values))
            self._range = [min(self._range[0], values.min()), max(self._range[1], values.max())]

    def finish(self, notes: list[str]) -> LearntTarget:
        """The target.

        Raises:
            DataError: it is all missing, is the same in every row, or does not suit the task.
        """
        if not self._labelled or not self._trained:
            raise DataError("every value of the target is missing", where=f"column {self.name!r}", hint=_ANOTHER)
        self._note_missing(notes)
        texts = self._texts[0].texts()
        numbers = self._as_numbers(texts)
        task = self._task(texts, numbers, notes)
        if task == "classify":
            return LearntTarget(self.name, task, self._classes(texts), words=self._words, notes=list(notes))
        return self._regression(notes)

    def _note_missing(self, notes: list[str]) -> None:
        left = self._rows - self._labelled
        if not left:
            return
        which = "which is left out" if left == 1 else "which are left out"
        said = f"{self.name}: the target is missing in {counted(left, 'row')}, {which}"
        if self._marks:
            word, count = self._marks.most_common(1)[0]
            said += f" ({word!r} counts as missing, {counted(count, 'time')}; --na '' makes a label of it)"
        notes.append(printable(said))

    def _as_numbers(self, texts: Texts) -> tuple[NumberFormat | None, np.ndarray] | None:
        """How the texts are written and what numbers they are, if they are numbers."""
        if self._kind not in ("text", "number"):
            return None
        stripped = texts.text.str.strip_chars()
        # Text of a table that has types is meant as such, and so are codes.
        as_labels = self._kind == "text" and (self._is_typed or stripped.str.contains(r"^0\d+$").any())
        if self.task == "auto" and as_labels:
            return None
        plain = stripped.cast(float, strict=False).fill_null(np.nan).to_numpy()
        if np.isfinite(plain).all():
            return None, plain
        found = find_format(stripped, texts.count, self._decimal_comma)
        return found.format, found.values

    def _task(self, texts: Texts, numbers: tuple[NumberFormat | None, np.ndarray] | None, notes: list[str]) -> Task:
        if self.task != "auto":
            return "classify" if self.task == "classify" else "regress"
        task, reason = self._inferred(texts, numbers)
        notes.append(printable(f"{self.name}: {reason}, so the task is to {task}; --task says otherwise"))
        return task

    def _inferred(self, texts: Texts, numbers: tuple[NumberFormat | None, np.ndarray] | None) -> tuple[Task, str]:
        several = f"{len(texts.text):,}" if texts.share == 1 else f"more than {len(texts.text):,}"
        if self._kind == "boolean":
            return "classify", "true or false"
        if numbers is not None:
            known = ~np.isnan(numbers[1])
            strays = texts.present - int(texts.count[known].sum())
            if texts.share < 1 and is_stray(strays, texts.present):
                return "regress", f"{several} different numbers"
            task, reason = task_of(np.unique(numbers[1][known]), self._labelled)
            if not strays or (task == "regress" and is_stray(strays, texts.present)):
                return task, reason
        return "classify", f"{several} different labels"

    def _classes(self, texts: Texts) -> list[Any]:
        """The labels, each as it is written most often."""
        order = np.argsort(-texts.count, kind="stable")
        written: dict[str, str] = {}
        for text in texts.text.gather(order):
            written.setdefault(text.strip(), text)
        found = len(written)
        if found == 1:
            raise _constant(self.name, next(iter(written.values())))
        if texts.share < 1 or found > max(10, self._labelled / 2):
            got = (
                f"{found:,} different values in {self._labelled:,} rows" if texts.share == 1 else f"more than {found:,}"
            )
            numbers = self._as_numbers(texts)
            are_numbers = numbers is not None and np.isfinite(numbers[1]).all()
            hint = "try --task regress" if are_numbers else _ANOTHER
            raise DataError("too many classes", where=f"column {self.name!r}", got=got, hint=hint)
        labels = list(written.values())
        return sorted(labels) if self._is_typed and self._kind == "text" else _typed(labels, self._kind, self._floats)

    def _regression(self, notes: list[str]) -> LearntTarget:
        texts = self._trained[0].texts()
        numbers = self._as_numbers(texts)
        if numbers is None:
            hint = "--task classify predicts labels"
            got = repr(texts.text[int(texts.first.argmin())])
            raise DataError("no numbers", where=f"column {self.name!r}", expected="numbers", got=got, hint=hint)
        format_, values = numbers
        known = np.isfinite(values)
        self._check_strays(texts, known, notes)
        if format_ is None:
            mean, sigma, (low, high) = float(self._numbers.mean), float(self._numbers.sigma), map(float, self._range)
        else:
            mean, sigma = moments(values[known], texts.count[known])
            low, high = float(values[known].min()), float(values[known].max())
        if low == high:
            raise _constant(self.name, low)
        usable = sigma if sigma > 1e-13 * abs(mean) else 1.0
        return LearntTarget(self.name, "regress", None, mean, usable, low, high, format_, self._words, list(notes))

    def _check_strays(self, texts: Texts, known: np.ndarray, notes: list[str]) -> None:
        """Name the cells that are no numbers, and refuse too many of them."""
        others = np.flatnonzero(~known)
        if not others.size:
            return
        at = int(others[texts.first[others].argmin()])
        first, count = Cell(int(texts.first[at]), texts.text[at]), int(texts.count[others].sum())
        found = Unread(self.name, "number", first, count, texts.present, "--task classify predicts labels")
        if not is_stray(count, texts.present):
            raise found.refusal()
        said = Notes()
        found.say(said)
        notes += said.lines()


def _constant(name: str, value: object) -> DataError:
    """The error about a target that says nothing."""
    expected = "two classes or more, or numbers that differ"
    return DataError(
        "the target is the same in every row", where=f"column {name!r}", expected=expected, got=repr(value)
    )


def _typed(written: list[str], kind: str, floats: bool) -> list[Any]:
    """Labels in order, of the type that they have in the table; whole numbers of a text that are written as such."""
    if kind == "boolean":
        return sorted(label == "true" for label in written)
    if kind == "number":
        return sorted(float(label) if floats else int(label) for label in written)
    if all(label.removeprefix("-").isdecimal() and str(int(label)) == label for label in written):
        return sorted(map(int, written))
    return sorted(written)


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
