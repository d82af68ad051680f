"""A model of a table: networks side by side, each of which holds out rows, and their mean as the answer."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.data import Preprocessor, Reading, Source, split
from chainrule.data.target import Target
from chainrule.errors import ArgumentError, DataError, ShapeError, check_number
from chainrule.tabular.answers import Answers
from chainrule.tabular.folds import Division
from chainrule.tabular.metrics import check_metrics, watched
from chainrule.tabular.network import fit_pieces
from chainrule.tabular.network import trainer as trainer_of
from chainrule.tabular.scores import Score, log_loss, scores
from chainrule.tabular.settings import HELD_OUT, Settings, Shape
from chainrule.train.callbacks import Callback, EarlyStopping
from chainrule.train.history import History
from chainrule.train.trainer import Trainer

Array = np.ndarray[Any, Any]
FEWEST = 10
"""Rows below which none are held out."""
BALANCED = "class_weight: probabilities are as if all classes had equally many rows; the log-loss is of the real shares"
"""What to know of balanced classes."""


@dataclass(frozen=True)
class Rows:
    """Rows made ready.

    Attributes:
        X: (n, columns) float32.
        y: (n,) class numbers, or numbers in the user's units.
        weight: (n,) how much each row counts, at least 0.
    """

    X: Array
    y: Array
    weight: Array

    @classmethod
    def of(
        cls,
        preprocessor: Preprocessor,
        source: Source,
        rows: Array,
        weight: Array | None = None,
        notes: list[str] | None = None,
    ) -> Rows:
        """Rows of a source, as `rows_that_count` gives them; what the user should be told of them goes to `notes`.

        Raises:
            DataError: a value that cannot be used.
        """
        classes = preprocessor.task == "classify"
        # Numbers as they stand: standardised float32 would blur the smallest of a wide range.
        target = preprocessor.fitted_target
        y = target.values(source, rows) if classes else target.numbers(source, rows)
        counts = np.ones(len(rows)) if weight is None else weight[rows].astype(np.float64)
        return cls(preprocessor.transform(source, rows, notes), y, counts / counts.mean())

    def __len__(self) -> int:
        return len(self.X)

    def some(self, rows: Array) -> Rows:
        """Some of them."""
        return Rows(self.X[rows], self.y[rows], self.weight[rows])

    def followed_by(self, others: Rows) -> Rows:
        """These, and others after them."""
        pairs = zip((self.X, self.y, self.weight), (others.X, others.y, others.weight), strict=True)
        return Rows(*(np.concatenate(pair) for pair in pairs))


def rows_that_count(source: Source, target: Target, weight: Array | None = None) -> Array:
    """The rows that have a target and a weight above 0: others are as if they were not there.

    Args:
        source: the table.
        target: what is to be predicted.
        weight: (n,) how much each row of the table counts; None for all the same.

    Raises:
        ShapeError: not one weight for each row.
        DataError: a weight that is negative or not finite, or none above 0.
    """
    rows = target.labelled_rows(source)
    if weight is None:
        return rows
    if weight.shape != (source.rows,):
        raise ShapeError("not one for each row", where="weights", expected=(source.rows,), got=weight.shape)
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(bad):
        got = f"{weight[bad[0]]:g} in row {bad[0] + 1}"
        raise DataError("a weight is a finite number of at least 0", where="weights", got=got)
    if not weight[rows].any():
        raise DataError("no row with a target has a weight above 0", where="weights")
    return rows[weight[rows] > 0]


class TabularModel:
    """What `chainrule fit` makes of a table.

    The rows are dealt into folds, each held out by networks of its own. All networks are trained as one program, until
    the loss on the rows that each holds out is no longer better; the answer is their mean. So every row is trained on,
    and the out-of-fold predictions tell how good the answers are, without rows to test on.

    Args:
        preprocessor: learnt from the rows to train on.
        settings: complete.
        answers: what the outputs mean.
        trainer: of the networks.

    Attributes:
        held_out: the rows that some network held out, as numbers of `fit`'s rows; empty before `fit`, and after
            loading.
        out_of_fold: what the networks that held them out say of those: (n, classes) probabilities or (n,) numbers.
        notes: what the user should know of the settings.

    Example:
        >>> from chainrule.data import load
        >>> model, rows = TabularModel.prepare(load("iris"), settings=Settings(epochs=20, backend="numpy"))
        >>> _ = model.fit(rows, progress=False)
        >>> model.predict(load("iris"))[:2].tolist()
        ['setosa', 'setosa']
    """

    def __init__(self, preprocessor: Preprocessor, settings: Settings, answers: Answers, trainer: Trainer) -> None:
        self.preprocessor, self.settings, self.answers, self.trainer = preprocessor, settings, answers, trainer
        self.held_out: Array = np.empty(0, int)
        self._held: Array = np.empty((0, 0), bool)
        self.out_of_fold: Array = np.empty(0)
        self.notes: list[str] = []

    @classmethod
    def prepare(
        cls,
        source: Source,
        target: str | None = None,
        task: str = "auto",
        settings: Settings | None = None,
        sample_weight: Array | None = None,
        reading: Reading | None = None,
    ) -> tuple[TabularModel, Rows]:
        """A model to be fitted, and the rows to fit it to.

        Args:
            source: the table.
            target: the column to predict; the last one if None.
            task: "classify", "regress" or "auto".
            settings: None in them is what the recipe says.
            sample_weight: (n,) how much each row of the table counts.
            reading: how the columns are to be read, where that should not be found out.

        Raises:
            ChainruleError: the table cannot be used as it is.
        """
        weight = None if sample_weight is None else np.asarray(sample_weight)
        counted = rows_that_count(source, Target.fit(source, target, task, reading=reading), weight)
        preprocessor = Preprocessor.fit(source, target, task, counted, reading)
        rows = Rows.of(preprocessor, source, counted, weight)
        return cls.of(preprocessor, rows, settings or Settings()), rows

    @classmethod
    def of(cls, preprocessor: Preprocessor, rows: Rows, settings: Settings) -> TabularModel:
        """A model to be fitted to rows that are ready.

        Raises:
            ArgumentError: a setting that does not fit the task.
        """
        task = preprocessor.task
        if settings.class_weight is not None and task != "classify":
            raise ArgumentError("a number has no classes", where="class_weight", hint="weigh the rows instead")
        chosen: Any = settings.complete(Shape(task, len(rows), rows.X.shape[1]))
        check_metrics(chosen.metric, task)
        # Between n rows there are n - 1 pieces at most: more would take memory and never be used.
        check_number("bins", chosen.bins, low=0, high=max(len(rows) - 1, 0), integer=True)
        answers = Answers.of_numbers(rows.y, chosen.members) if task == "regress" else Answers(task, chosen.members)
        outputs = len(preprocessor.classes or [None])
        trainer = trainer_of(chosen, task, preprocessor.layout, outputs, answers.group * chosen.folds)
        model = cls(preprocessor, chosen, answers, trainer)
        model.notes = _lonely_classes(preprocessor, rows)
        if chosen.class_weight == "balanced":
            model.notes.append(BALANCED)
        return model

    @property
    def networks(self) -> int:
        """How many networks there are."""
        chosen: Any = self.settings
        return int(self.answers.group * chosen.folds)

    @property
    def width(self) -> int:
        """The outputs of each network: as many as classes, or one."""
        return len(self.preprocessor.classes or [None])

    # ---- training

    def fit(
        self,
        rows: Rows,
        validation: Rows | None = None,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> History:
        """Train the networks.

        Args:
            rows: to train on.
            validation: rows that choose when to stop, in place of those that folds hold out.
            progress, callbacks, checkpoint, resume: as `Trainer.fit` has them.

        Returns:
            The history of the training.
        """
        chosen: Any = self.settings
        division = self._divided(rows, validation)
        every = rows if validation is None else rows.followed_by(validation)
        targets = self.answers.targets(every.y, len(division.groups))
        weight = every.weight * self._class_weights(every.y)
        fit_pieces(self.trainer, every.X[division.trained])
        held = division.evaluation(every.X, targets, every.weight)
        budget = None if chosen.time_budget is None else TimeBudget(chosen.time_budget)
        if budget is not None:
            callbacks = [*callbacks, budget]
        # What needs all rows in each step is refused any other batch, and should hear how many rows there are.
        batch = len(every) if self.trainer.optimizer.full_batch else chosen.batch_size
        X, y = division.training(every.X, targets, weight, batch)
        history = self.trainer.fit(
            X, y, epochs=chosen.epochs, batch_size=chosen.batch_size, validation=held,
            early_stopping=None if held is None else self.stopping(), progress=progress, callbacks=callbacks,
            checkpoint=checkpoint, resume=resume,
        )  # fmt: skip
        if budget is not None and budget.is_over:
            history.stopped = budget.reason
        self._calibrate(every, division)
        return history

    def stopping(self) -> EarlyStopping:
        """What the training is stopped by: the first metric asked for, else the loss."""
        chosen: Any = self.settings
        metric = watched(chosen.metric or [])
        if metric is None:
            return EarlyStopping(chosen.patience)
        return EarlyStopping(chosen.patience, f"val_{metric.__name__}", "max")

    def _divided(self, rows: Rows, validation: Rows | None) -> Division:
        chosen: Any = self.settings
        members, n = self.answers.group, len(rows)
        if validation is not None:
            return Division.apart(n + len(validation), np.arange(n, n + len(validation)), members * chosen.folds)
        if chosen.folds > 1:
            return Division.into_folds(rows.y, self.preprocessor.task, chosen.folds, members, chosen.seed)
        share = HELD_OUT if n >= FEWEST else 0.0
        parts = split(rows.y, self.preprocessor.task, share, 0.0, chosen.seed)
        return Division.apart(n, parts.validation, members)

    def _class_weights(self, y: Array) -> Array:
        """(n,) what rows count for their class: N/(K·rows of it), as scikit-learn has it, where they are balanced."""
        given = self.settings.class_weight
        if given is None:
            return np.ones(len(y))
        if given != "balanced":
            return np.asarray(given, np.float64)[y]
        counts = np.bincount(y, minlength=len(self.preprocessor.classes or []))
        present = counts > 0
        return (len(y) / (present.sum() * np.where(present, counts, 1)))[y]

    def _calibrate(self, rows: Rows, division: Division) -> None:
        """Choose by the rows held out which scales are asked, and keep what is said of those rows."""
        self.held_out = division.evaluated
        self._held = division.held(len(rows))
        if not len(self.held_out):
            return
        some, counted = rows.some(self.held_out), self.counted(self.held_out)
        outputs = self.outputs(some.X)
        candidates = list(self._candidates())
        losses = [self._loss(candidate, outputs, counted, some) for candidate in candidates]
        self.answers = candidates[int(np.argmin(losses))]
        self.out_of_fold = self.answers.mean(self.answers.of_members(outputs), counted)

    def _candidates(self) -> Sequence[Answers]:
        if self.answers.task == "classify":
            return [self.answers]
        count = len(self.answers.scales)
        masks = [[True] * count, *([i == j for j in range(count)] for i in range(count))] if count > 1 else [[True]]
        return [replace(self.answers, used=mask) for mask in masks]

    def _loss(self, answers: Answers, outputs: Array, counted: Array, rows: Rows) -> float:
        found = answers.mean(answers.of_members(outputs), counted)
        if answers.task == "classify":
            return log_loss(rows.y, found, rows.weight)
        return float(np.average((found - rows.y) ** 2, weights=rows.weight))

    # ---- using it

    def outputs(self, X: Array) -> Array:
        """(n, members, K) what each network says of rows made ready."""
        found: Array = self.trainer.predict(X[:, None])
        return found

    def answer(self, X: Array) -> Array:
        """(n, classes) probabilities, or (n,) numbers, for rows made ready."""
        return self.answers.mean(self.answers.of_members(self.outputs(X)))

    def predict(self, source: Source, notes: list[str] | None = None) -> Array:
        """A label or a number for each row of a table.

        Args:
            source: a table with the columns that the model was trained on.
            notes: what the user should be told of it is added here.

        Raises:
            ChainruleError: columns are missing, or a value cannot be used.
        """
        found = self.answer(self.preprocessor.transform(source, notes=notes))
        return found if self.preprocessor.classes is None else self.labels(found)

    def predict_proba(self, source: Source, notes: list[str] | None = None) -> Array:
        """(n, classes) probabilities, in the order of `preprocessor.classes`; as `predict` otherwise."""
        if self.preprocessor.classes is None:
            raise DataError("a number has no classes", where="predict_proba", hint="use predict")
        return self.answer(self.preprocessor.transform(source, notes=notes))

    def labels(self, chances: Array) -> Array:
        """The likeliest label of each row."""
        return np.asarray(self.preprocessor.classes)[chances.argmax(axis=1)]

    def counted(self, rows: Array) -> Array:
        """(n, members) which networks held out some of the rows of `fit`."""
        held: Array = self._held[rows]
        return held

    def out_of_fold_scores(self, rows: Rows) -> dict[str, Score]:
        """How good the out-of-fold predictions are; empty where no rows were held out."""
        if not len(self.held_out):
            return {}
        some = rows.some(self.held_out)
        return scores(self.preprocessor.task, some.y, self.out_of_fold, some.weight)

    def scores(self, rows: Rows) -> dict[str, Score]:
        """How good the answers are for other rows."""
        return scores(self.preprocessor.task, rows.y, self.answer(rows.X), rows.weight)


class TimeBudget(Callback):
    """Ends a training after so many seconds.

    Attributes:
        is_over: whether it has.
    """

    every = 64
    reason = "time budget"

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self.is_over = False

    def on_step_end(self, trainer: Trainer) -> bool:
        """Whether the time is over."""
        self.is_over = time.monotonic() >= self._until
        return self.is_over

    on_epoch_end = on_step_end


def _lonely_classes(preprocessor: Preprocessor, rows: Rows) -> list[str]:
    if preprocessor.task != "classify":
        return []
    classes = preprocessor.classes or []
    counts = np.bincount(rows.y, minlength=len(classes))
    return [
        f"{preprocessor.target}: only one row is of class {classes[i]!r}; no estimate says how well it is found"
        for i in np.flatnonzero(counts == 1)
    ]
