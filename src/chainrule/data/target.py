"""What is to be predicted: classes, or a number in the user's units."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from chainrule.data.columns import as_text, finite, moments, shortened, wrong_value
from chainrule.data.sources import Source
from chainrule.errors import ArgumentError, DataError, check_choice, nearest

if TYPE_CHECKING:
    import polars as pl

Task = Literal["classify", "regress"]
_ANOTHER = "choose another column with --target"


@dataclass(frozen=True)
class Target:
    """The column to predict, the task that it sets, and the way between its values and numbers.

    Args:
        name: of the column.
        task: "classify" or "regress".
        classes: the labels in order; the place of a label is its number.
        mean: of the training rows, for a task of regression.
        sigma: their standard deviation.
        notes: what the user should be told.
    """

    name: str
    task: Task
    classes: list[Any] | None = None
    mean: float = 0.0
    sigma: float = 1.0
    notes: list[str] = field(default_factory=list)

    @classmethod
    def fit(cls, source: Source, name: str | None = None, task: str = "auto", rows: np.ndarray | None = None) -> Target:
        """Choose the column and the task, and learn the classes, or mean and deviation, from the given rows.

        Raises:
            ArgumentError: if there is no such column.
            DataError: if the target is all missing, is the same in every row, or does not suit the task.

        Example:
            >>> from chainrule.data import load
            >>> Target.fit(load("iris")).classes
            ['setosa', 'versicolor', 'virginica']
        """
        check_choice("task", task, ("auto", "classify", "regress"))
        notes: list[str] = []
        name = choose(source.columns, source.default_target, name, notes, source.name)
        values = target_column(source, name)
        labelled = labelled_rows(source, name)
        rows = labelled if rows is None else np.intersect1d(rows, labelled)
        if not len(rows):
            raise all_missing(name)
        notes += missing_note(name, source.rows - len(labelled))
        seen = values[rows]
        if task == "auto":
            task, reason = infer_task(seen)
            notes.append(task_note(name, task, reason))
        if task == "classify":
            all_labels = labels(values)
            classes = check_classes(name, {all_labels[row] for row in rows}, len(rows), values.dtype.is_numeric())
            return cls(name, "classify", classes, notes=notes)
        known = finite(values)[rows]
        if known.min() == known.max():
            raise constant(name, seen[0])
        mean, sigma = moments(known)
        return cls(name, "regress", None, mean, sigma, notes)

    def values(self, source: Source, rows: np.ndarray | None = None) -> np.ndarray:
        """int32 (n,) class numbers, or float32 (n, 1) standardised numbers, of labelled rows."""
        import polars as pl

        column = target_column(source, self.name)
        rows = labelled_rows(source, self.name) if rows is None else rows
        if self.task == "regress":
            return ((finite(column)[rows] - self.mean) / self.sigma).astype(np.float32)[:, None]
        number = {label: i for i, label in enumerate(self.classes or [])}
        # Decimals are classes as text, although those of a few rows may all be whole.
        as_text = column.dtype.is_float() and isinstance(next(iter(number), None), str)
        labelled = column.cast(pl.String).to_list() if as_text else labels(column)
        found = [number.get(labelled[row], -1) for row in rows]
        if -1 in found:
            place = found.index(-1)
            expected = f"a class seen in training, {shortened(number)}"
            raise wrong_value(self.name, rows[place], column[int(rows[place])], expected)
        return np.array(found, dtype=np.int32)

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)


def labelled_rows(source: Source, name: str) -> np.ndarray:
    """The rows whose target is there."""
    column = target_column(source, name)
    present = column.is_not_null()
    if column.dtype.is_float():
        present &= column.is_not_nan().fill_null(False)
    return np.flatnonzero(present.to_numpy())


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
    numbers = finite(values)
    return task_of(np.unique(numbers), len(numbers))


def task_of(distinct: np.ndarray, rows: int) -> tuple[Task, str]:
    """The task that so many rows of these different numbers (ascending) set, and the reason in words."""
    few = len(distinct) <= 2 or 3 * len(distinct) <= rows
    counted = np.array_equal(distinct, np.arange(len(distinct))) and 10 * len(distinct) <= rows
    as_labels = len(distinct) <= 20 or counted
    if few and as_labels and (distinct == np.round(distinct)).all():
        return "classify", f"only {len(distinct)} different whole numbers"
    return "regress", f"{len(distinct)} different numbers"


def choose(columns: list[str], default: str | None, name: str | None, notes: list[str], where: str) -> str:
    """The name of the column to predict: the one asked for, the source's own, or the last."""
    if not columns:
        raise DataError("there are no targets", where=where, expected="y beside X, or labels beside images")
    if name is None:
        if default is None:
            notes.append(f"{columns[-1]}: the last column is taken as the target; --target names another")
        return default or columns[-1]
    if name not in columns:
        listed = shortened([repr(column) for column in nearest(name, columns)], most=10)
        raise ArgumentError("no such column", where="target", expected=f"one of {listed}", got=repr(name))
    return name


def target_column(source: Source, name: str) -> pl.Series:
    """The column to predict."""
    import polars as pl

    if source.frame is None:
        return pl.Series(name, source.y)
    column = source.frame[name]
    if column.dtype.is_temporal() or column.dtype.is_nested():
        raise DataError("cannot be predicted", where=f"column {name!r}", expected="numbers or labels", got=column.dtype)
    return column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column


def labels(column: pl.Series) -> list[Any]:
    """The values as Python ones; decimals that are all whole become whole, and those that are not become text."""
    import polars as pl

    if column.dtype.is_integer() or column.dtype in (pl.Boolean, pl.String):
        return column.to_list()
    text = as_text(column)
    whole = text.cast(pl.Int64, strict=False)
    return (whole if whole.null_count() == text.null_count() else text).to_list()


def check_classes(name: str, found: set[Any], rows: int, numbers: bool) -> list[Any]:
    """The labels found in so many rows, in order, if they can be classes."""
    if len(found) == 1:
        raise constant(name, found.pop())
    if len(found) > max(10, rows / 2):
        raise too_many_classes(name, f"{len(found)} different values in {rows} rows", numbers)
    return sorted(found)


def too_many_classes(name: str, got: str, numbers: bool) -> DataError:
    """The error about a target with nearly as many labels as rows."""
    hint = "try --task regress" if numbers else _ANOTHER
    return DataError("too many classes", where=f"column {name!r}", got=got, hint=hint)


def constant(name: str, value: object) -> DataError:
    """The error about a target that says nothing."""
    expected = "two classes or more, or numbers that differ"
    return DataError(
        "the target is the same in every row", where=f"column {name!r}", expected=expected, got=repr(value)
    )


def all_missing(name: str) -> DataError:
    """The error about a target that is nowhere."""
    return DataError("every value of the target is missing", where=f"column {name!r}", hint=_ANOTHER)


def missing_note(name: str, rows: int) -> list[str]:
    """What to tell the user where the target is missing in some rows."""
    return [f"{name}: the target is missing in {rows} rows, which are left out"] if rows else []


def task_note(name: str, task: str, reason: str) -> str:
    """What to tell the user about a task that was inferred."""
    return f"{name}: {reason}, so the task is to {task}; --task says otherwise"


def target_from_dict(saved: dict[str, Any]) -> Target:
    """The target that `Target.to_dict` wrote."""
    return Target(**{**saved, "task": cast(Task, check_choice("task", saved["task"], ("classify", "regress")))})
