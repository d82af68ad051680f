"""A table that `fit` does not read as a whole: made ready as a stream, with the same parts as one in memory."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.cli.made_ready import guess, guessed
from chainrule.cli.options import Options
from chainrule.data import BUNDLED, Preprocessor, Stream, memory, stream
from chainrule.data.split import TEST, VALIDATION
from chainrule.errors import ArgumentError
from chainrule.tabular.answers import Answers, Scale
from chainrule.tabular.model import Rows, TabularModel, TimeBudget
from chainrule.tabular.network import fit_pieces
from chainrule.tabular.network import trainer as trainer_of
from chainrule.tabular.scores import Score
from chainrule.tabular.settings import Shape

Array = np.ndarray[Any, Any]
_COUNTED = 2**20
"""Targets that are counted at a time."""
_NOT_STREAMED = ("weights", "class_weight", "metric")


@dataclass(frozen=True)
class Streamed:
    """A stream made ready: its networks see the same rows, and rows that are held in memory choose when to stop.

    Args:
        stream: the rows to train on.
        model: to be fitted.
        usual: (classes,) their shares among the rows to train on; or () the mean of the numbers.
    """

    stream: Stream
    model: TabularModel
    usual: Array

    @classmethod
    def of(cls, table: str, options: Options) -> Streamed:
        """The stream of a table.

        Raises:
            ChainruleError: if the table cannot be used as it is.
        """
        for name in _NOT_STREAMED:
            if getattr(options, name) is not None:
                raise ArgumentError("not for a table that is read in chunks", where=f"--{name.replace('_', '-')}")
        if (options.folds or 1) > 1:
            raise ArgumentError("a table that is read in chunks is not dealt into folds", where="--folds")
        validation, test = _share(options, "validation", VALIDATION), _share(options, "test", TEST)
        made = stream(
            table, options.target, options.task or "auto", validation, test, options.chunk_rows,
            prepare=True, seed=options.seed or 0, reading=options.reading,
        )  # fmt: skip
        preprocessor = made.preprocessor
        assert preprocessor is not None, "a stream that was prepared"
        chosen: Any = replace(options.settings, folds=1).complete(Shape(preprocessor.task, made.rows, made.shape[0]))
        answers = Answers(preprocessor.task, chosen.members)
        if preprocessor.task == "regress":
            target = preprocessor.fitted_target
            answers = replace(answers, scales=[Scale(False, target.mean, target.sigma)], used=[True])
        outputs = len(preprocessor.classes or [None])
        trainer = trainer_of(chosen, preprocessor.task, preprocessor.layout, outputs, chosen.members)
        return cls(made, TabularModel(preprocessor, chosen, answers, trainer), _usual(made, preprocessor))

    def fit(self, **arguments: Any) -> None:
        """Train the model; arguments as `Trainer.fit` has them."""
        chosen: Any = self.model.settings
        held = self.stream.validation
        if held is not None:
            fit_pieces(self.model.trainer, held[0])
        elif chosen.bins:
            raise ArgumentError("no rows to choose pieces by", where="--bins", hint="give --validation, or --bins 0")
        budget = None if chosen.time_budget is None else TimeBudget(chosen.time_budget)
        history = self.model.trainer.fit(
            self.stream, epochs=chosen.epochs, batch_size=chosen.batch_size, validation=held,
            early_stopping=None if held is None else self.model.stopping(),
            callbacks=[] if budget is None else [budget], **arguments,
        )  # fmt: skip
        if budget is not None and budget.is_over:
            history.stopped = budget.reason

    @property
    def notes(self) -> list[str]:
        """What the user should be told."""
        return self.model.preprocessor.notes

    @property
    def fingerprint(self) -> str | None:
        """Tells one table's training rows from another's."""
        return self.stream.fingerprint

    @property
    def sizes(self) -> dict[str, int]:
        """The number of rows of each part."""
        return {
            "train": self.stream.rows,
            "validation": _count(self.stream.validation),
            "test": _count(self.stream.test),
        }

    @property
    def estimate(self) -> tuple[str, dict[str, Score], dict[str, Score]]:
        """What rows the figures are of, the figures, and those of an answer that is always the same."""
        kind, held = (
            ("test", self.stream.test) if self.stream.test is not None else ("held out", self.stream.validation)
        )
        if held is None:
            return "none", {}, {}
        judged = rows_of(self.model.preprocessor, *held)
        return kind, self.model.scores(judged), guessed(self.model.preprocessor, self.usual, judged)

    @property
    def details(self) -> dict[str, Any]:
        """Nothing else is known."""
        return {}

    @property
    def guess(self) -> Any:
        """The answer that one would give without a network: the most frequent class, or the mean."""
        return guess(self.model.preprocessor, self.usual)


def _usual(made: Stream, preprocessor: Preprocessor) -> Array:
    """The shares of the classes, or the mean; counted before the training, in case the rows cannot be read after it."""
    if preprocessor.classes is None:
        return np.asarray(preprocessor.fitted_target.mean)
    counts = np.zeros(len(preprocessor.classes))
    for first in range(0, made.rows, _COUNTED):
        found = np.empty(min(_COUNTED, made.rows - first), np.int32)
        made.y.read(first, found)
        counts += np.bincount(found, minlength=len(counts))
    return counts / made.rows


def rows_of(preprocessor: Preprocessor, X: Array, y: Array) -> Rows:
    """Rows of a stream that are held in memory."""
    return Rows(X, y if preprocessor.task == "classify" else preprocessor.decode(y), np.ones(len(X)))


def _count(held: tuple[Array, Array] | None) -> int:
    return 0 if held is None else len(held[0])


def _share(options: Options, name: str, usual: float) -> float:
    given = getattr(options, name)
    if isinstance(given, str):
        raise ArgumentError("of a stream only a share can be held out", where=f"--{name}", got=given)
    return usual if given is None else float(given)


def must_stream(table: str) -> bool:
    """Whether a table is too large for memory, or is several files.

    Raises:
        DataError: it is too large, and can only be read as a whole.
    """
    if table in BUNDLED or not os.path.isfile(table):
        return table not in BUNDLED and not os.path.exists(table) and bool(glob.has_magic(table))
    if memory.fits(table):
        return False
    if memory.only_whole(table) is not None:
        raise memory.too_large(table)
    return True
