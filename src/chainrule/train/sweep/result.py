"""What a sweep found: its trials, and the ranking of the combinations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.standardize import Standardizer
from chainrule.errors import ArgumentError, check_choice
from chainrule.train.callbacks import EarlyStopping
from chainrule.train.history import History
from chainrule.train.sweep.layout import as_text
from chainrule.train.trainer import Trainer

if TYPE_CHECKING:
    import polars

Array = np.ndarray[Any, Any]
SHOWN = 10
"""Combinations that the text of a result shows."""
LOSSES = ("loss", "val_loss")
RESERVED = ("score", "deviation", "scores")
"""What a row says beside the hyperparameters."""
PLAIN = (bool, int, float, str, type(None), np.number)


@dataclass
class Trial:
    """One training of a sweep.

    Attributes:
        config: its hyperparameters.
        fold: the split of the rows that it was evaluated on.
        weights: its parameters and buffers by path: of the best epoch with early stopping, else of the last one; where
            it diverged, of the last whole epoch before. Empty where Ctrl-C came first.
        steps: the batches that it trained on.
        history: what it saw, an epoch at a time (`step_loss` and `seconds` are not kept); `stopped` is "finished",
            "early stopping", "not finite" where it diverged, or "interrupted".
    """

    config: dict[str, Any]
    fold: int
    weights: dict[str, Array] = field(default_factory=dict, repr=False)
    steps: int = 0
    history: History = field(default_factory=lambda: History(stopped="interrupted"), repr=False)

    def values(self) -> dict[str, list[float]]:
        """What can be scored by, an epoch each."""
        return self.history.values()

    def score(self, name: str) -> float:
        """A metric, or "loss" or "val_loss": at the best epoch where early stopping chose one, else at the last.

        NaN where it diverged or was interrupted.
        """
        values = self.values().get(name)
        if not values or self.history.stopped in ("not finite", "interrupted"):
            return float("nan")
        return values[-1 if self.history.best_epoch is None else self.history.best_epoch - 1]

    def ended(self, epochs: int, early: EarlyStopping | None, *, greater_is_better: bool) -> None:
        """Say in the history how the training ended."""
        history, waited = self.history, 0
        if early is not None:
            best, waited = early.judged(history.values().get(early.monitor, []), greater_is_better)
            history.best_epoch = best or None if early.restore_best else None
        history.stopped = "finished"
        if early is not None and waited >= early.patience:
            history.stopped = "early stopping"
        elif history.epochs < epochs:
            history.stopped = "not finite"


class SweepResult:
    """What a sweep found: `print` it for the best combinations, `frame()` for all of them.

    Attributes:
        scored_by: what the combinations are ranked by: the first metric on the rows held out of which it is known which
            way is better (a function of your own says so by its attribute `greater_is_better`), else "val_loss"; on
            the training rows where none are held out. It may be set to another name.
        seconds: how long it took, tracing and compiling included.
    """

    def __init__(
        self,
        made: Callable[[Mapping[str, Any]], Trainer],
        trials: Sequence[Sequence[Trial]],
        standardizers: Sequence[Standardizer | None],
        fitted: Mapping[str, Any],
        greater: Mapping[str, bool | None],
        seconds: float,
    ) -> None:
        self._made, self._trials, self._standardizers, self._fitted = made, trials, standardizers, fitted
        self._greater, self.seconds = greater, seconds
        names = self._names()
        held = [name for name in names if name.startswith("val_")] or names
        clear = [name for name in held if name not in LOSSES and self._greater_is_better(name) is not None]
        self.scored_by = next(iter(clear), held[0] if held else "loss")

    def _greater_is_better(self, name: str) -> bool | None:
        return False if name in LOSSES else self._greater.get(name.removeprefix("val_"))

    @property
    def trials(self) -> list[Trial]:
        """One for each combination and fold, the folds of a combination together."""
        return list(itertools.chain.from_iterable(self._trials))

    def _names(self) -> list[str]:
        return list(dict.fromkeys(n for trial in self.trials for n, values in trial.values().items() if values))

    # ---- the ranking

    def rows(self) -> list[dict[str, Any]]:
        """One dict per combination, best first.

        Its hyperparameters; "score", the mean over its folds; "deviation", their standard deviation; "scores", one a
        fold. A combination of which a trial diverged or was interrupted has the score NaN, and comes last.
        """
        return [
            {**fold[0].config, "score": float(np.mean(scores)), "deviation": float(np.std(scores)), "scores": scores}
            for fold, scores in self._ranked()
        ]

    def _ranked(self) -> list[tuple[Sequence[Trial], list[float]]]:
        if names := self._names():
            check_choice("scored_by", self.scored_by, names)
        greater = self._greater_is_better(self.scored_by)
        if greater is None:
            raise ArgumentError(
                "no direction is known for it", where="scored_by", got=repr(self.scored_by),
                hint="say so: f.greater_is_better = True, or False, of the function before it is given as a metric",
            )  # fmt: skip
        sign = -1.0 if greater else 1.0
        found = [(folds, [trial.score(self.scored_by) for trial in folds]) for folds in self._trials]
        return sorted(found, key=lambda pair: float(np.nan_to_num(sign * np.mean(pair[1]), nan=np.inf)))

    def frame(self) -> polars.DataFrame:
        """The rows as a table: a column each for hyperparameters, "score" and "deviation", "fold 0", "fold 1", …"""
        import polars

        rows = self.rows()
        for row in rows:
            scores = row.pop("scores")
            row.update({f"fold {i}": score for i, score in enumerate(scores)} if len(scores) > 1 else {})
        plain = [{key: x if isinstance(x, PLAIN) else str(x) for key, x in row.items()} for row in rows]
        return polars.DataFrame(plain, infer_schema_length=None, strict=False)

    @property
    def best(self) -> dict[str, Any]:
        """The hyperparameters of the combination with the best mean score."""
        return dict(self._ranked()[0][0][0].config)

    @property
    def best_score(self) -> float:
        """The best mean score; NaN where none came to an end."""
        return float(np.mean(self._ranked()[0][1]))

    def __repr__(self) -> str:
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row if name not in RESERVED))
        several = len(self._trials[0]) > 1
        table = [[*names, self.scored_by]] + [
            [*(as_text(row.get(name, "")) for name in names), _spread(row, several)] for row in rows[:SHOWN]
        ]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        folds = f" × {len(self._trials[0])} folds" if several else ""
        lines.insert(0, f"{len(rows)} combinations{folds} in {self.seconds:.1f} s, best first:")
        return "\n".join(lines + ([f"… and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []))

    # ---- what was trained

    def trainer(self, trial: Trial) -> Trainer:
        """A trainer with a trial's weights, ready to predict; trained on, its optimizer begins anew."""
        if not trial.weights:
            raise ArgumentError("this trial was not trained", where="trial", got=trial.history.stopped)
        trainer = self._made(trial.config)
        trainer.model.load_state_dict(trial.weights)
        trainer.standardizer, trainer.history = self._standardizers[trial.fold], trial.history
        trainer.steps, trainer.epochs = trial.steps, trial.history.epochs
        return trainer

    def refit(self, X: Any, y: Any, **arguments: Any) -> Trainer:
        """A trainer with the best combination, trained anew on all of these rows.

        Args:
            X, y: as `Trainer.fit` takes them.
            arguments: of `Trainer.fit`; epochs, batch_size and shuffle are by default those of the sweep. After early
                stopping epochs are the mean over the folds of the best one.
        """
        folds = self._ranked()[0][0]
        chosen = [trial.history.best_epoch for trial in folds if trial.history.best_epoch is not None]
        fitted = {**self._fitted, **({"epochs": round(float(np.mean(chosen)))} if chosen else {}), **arguments}
        trainer = self._made(folds[0].config)
        trainer.fit(X, y, **fitted)
        return trainer


def _spread(row: Mapping[str, Any], several: bool) -> str:
    return f"{row['score']:.4g}" + (f" ± {row['deviation']:.2g}" if several else "")
