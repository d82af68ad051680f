"""A table made ready for `fit`: the model, and the rows it learns from, stops by and is judged by."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.cli.options import Options
from chainrule.data import Preprocessor, Reading, Source, load, split
from chainrule.data.target import Target
from chainrule.errors import ArgumentError, DataError, nearest
from chainrule.tabular.importance import importance
from chainrule.tabular.model import Rows, TabularModel, rows_that_count
from chainrule.tabular.scores import Score, calibration, confusion, scores

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Prepared:
    """A table in memory made ready.

    Attributes:
        model: to be fitted.
        rows: to train on.
        validation: rows that choose when to stop; None where folds do, or a share of the rows.
        test: rows that judge; None where there are none.
        notes: what the user should be told.
    """

    model: TabularModel
    rows: Rows
    validation: Rows | None = None
    test: Rows | None = None
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, table: str, options: Options) -> Prepared:
        """A table made ready.

        Raises:
            ChainruleError: if it cannot be used as it is.
        """
        _check_folds(options)
        source = load(table)
        weight, reading = _weights(source, options.weights), _reading(options)
        target = Target.fit(source, options.target, options.task or "auto", reading=reading)
        rows = rows_that_count(source, target, weight)
        parts = _parted(target.values(source, rows), target.task, options)
        preprocessor = Preprocessor.fit(source, target.name, target.task, rows[parts["train"]], reading)
        notes = list(dict.fromkeys([*target.notes, *preprocessor.notes]))
        made = Rows.of(preprocessor, source, rows, weight, notes)
        found = {name: made.some(places) for name, places in parts.items()}
        for name, given in (("validation", options.validation), ("test", options.test)):
            if isinstance(given, str):
                found[name] = _read(given, preprocessor, f"--{name}", options.weights, notes)
        settings = options.settings
        if "validation" in found:
            settings = dataclasses.replace(settings, folds=1)
        model = TabularModel.of(preprocessor, found["train"], settings)
        return cls(
            model, found["train"], found.get("validation"), found.get("test"), list(dict.fromkeys(notes + model.notes))
        )

    def fit(self, **arguments: Any) -> None:
        """Train the model; arguments as `TabularModel.fit` has them."""
        self.model.fit(self.rows, self.validation, **arguments)

    @property
    def fingerprint(self) -> str:
        """Tells the rows of one training from another's: those to train on, and those that choose when to stop."""
        every = self.judged
        parts = (np.ascontiguousarray(part).tobytes() for part in (every.X, every.y, every.weight))
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]

    @property
    def sizes(self) -> dict[str, int]:
        """The number of rows of each part."""
        others = {"validation": self.validation, "test": self.test}
        return {"train": len(self.rows), **{name: len(rows or []) for name, rows in others.items()}}

    @property
    def estimate(self) -> tuple[str, dict[str, Score], dict[str, Score]]:
        """What rows the figures are of, the figures, and those of an answer that is always the same."""
        preprocessor = self.model.preprocessor
        if self.test is not None:
            return "test", self.model.scores(self.test), guessed(preprocessor, self.usual, self.test)
        kind = "out of fold" if self.model.settings.folds != 1 else "held out"
        every = self.judged
        found = self.model.out_of_fold_scores(every)
        return kind, found, guessed(preprocessor, self.usual, every.some(self.model.held_out)) if found else {}

    @property
    def usual(self) -> Array:
        """(classes,) their shares among the rows to train on; or () the mean of the numbers."""
        classes, y, weight = self.model.preprocessor.classes, self.rows.y, self.rows.weight
        if classes is None:
            return np.asarray(np.average(y, weights=weight))
        return np.bincount(y, weight, len(classes)) / weight.sum()

    @property
    def details(self) -> dict[str, Any]:
        """What else the rows held out say: which columns matter; of classes, what is taken for what and how often what
        is likely comes true.
        """
        model, every = self.model, self.judged
        if not len(model.held_out):
            return {}
        found: dict[str, Any] = {
            "importance": {name: [s.value, s.error] for name, s in importance(model, every).items()}
        }
        classes = model.preprocessor.classes
        if classes is not None:
            judged = every.some(model.held_out)
            weight = None if (judged.weight == 1).all() else judged.weight
            found["confusion"] = confusion(judged.y, model.out_of_fold, len(classes), weight).tolist()
            found["calibration"] = calibration(judged.y, model.out_of_fold, weight=weight)
        return found

    @property
    def judged(self) -> Rows:
        """The rows to train on, and those that choose when to stop."""
        return self.rows if self.validation is None else self.rows.followed_by(self.validation)

    @property
    def guess(self) -> Any:
        """The answer that one would give without a network: the most frequent class, or the mean."""
        return guess(self.model.preprocessor, self.usual)


def guess(preprocessor: Preprocessor, usual: Array) -> Any:
    """The most frequent class by the shares of all, or the mean."""
    classes = preprocessor.classes
    return float(usual) if classes is None else classes[int(usual.argmax())]


def guessed(preprocessor: Preprocessor, usual: Array, judged: Rows) -> dict[str, Score]:
    """The figures of an answer that is always the same: the shares of the classes in training, or the mean."""
    found = np.broadcast_to(usual, (len(judged), *usual.shape))
    return scores(preprocessor.task, judged.y, found, judged.weight)


def _parted(y: Array, task: str, options: Options) -> dict[str, Array]:
    """Row numbers to train on and, where shares are given, to stop by and to judge by."""
    shares = {
        name: given for name, given in (("validation", options.validation), ("test", options.test))
        if isinstance(given, float)
    }  # fmt: skip
    found = split(y, task, shares.get("validation", 0.0), shares.get("test", 0.0), options.seed or 0)
    return {"train": found.train, **{name: getattr(found, name) for name in shares}}


def _weights(source: Source, column: str | None) -> Array | None:
    """What stands in the column of weights, if there is one."""
    import polars as pl

    if column is None:
        return None
    if not source.is_table or column not in source.columns:
        near = f"one of {', '.join(map(repr, nearest(column, source.columns)[:5]))}" if source.is_table else "a table"
        raise ArgumentError("no such column", where="--weights", expected=near, got=repr(column))
    values = source.column(column)
    numbers = values.cast(pl.Float64, strict=False)
    if numbers.null_count():
        row = int(numbers.is_null().arg_max() or 0)
        where = f"--weights, column {column!r}, row {row + 1}"
        raise DataError("not a number", where=where, got=repr(values[row]))
    return numbers.to_numpy()


def _reading(options: Options) -> Reading:
    """How the columns are to be read: that of the weights is none to learn from."""
    reading = options.reading
    return (
        reading if options.weights is None else dataclasses.replace(reading, ignore=(*reading.ignore, options.weights))
    )


def _read(table: str, preprocessor: Preprocessor, where: str, weights: str | None, notes: list[str]) -> Rows:
    """The rows of another table, which has the columns of the first."""
    source = load(table)
    weight = _weights(source, weights)
    if source.is_table and preprocessor.target not in source.columns:
        raise DataError(f"has no column {preprocessor.target!r}, the target", where=f"{where} {table}")
    rows = rows_that_count(source, preprocessor.fitted_target, weight)
    if not len(rows):
        raise DataError("no row has a target", where=f"{where} {table}")
    return Rows.of(preprocessor, source, rows, weight, notes)


def _check_folds(options: Options) -> None:
    """Folds and rows that stand apart both choose when to stop."""
    if options.validation is not None and (options.folds or 1) > 1:
        raise ArgumentError("cannot be used together", where="--folds and --validation")


def plain(found: Mapping[str, Score]) -> tuple[dict[str, float], dict[str, float | None]]:
    """Figures and their errors as plain values."""
    return {name: score.value for name, score in found.items()}, {name: score.error for name, score in found.items()}
