"""Many trainings at once: every combination of hyperparameters, over every fold, as few programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.data.split import folds as dealt
from chainrule.data.standardize import Standardizer
from chainrule.errors import ArgumentError, ChainruleError, ShapeError, check_choice, check_number
from chainrule.graph.random import seeded
from chainrule.nn.losses import CrossEntropyLoss, Loss, NLLLoss
from chainrule.nn.module import Module
from chainrule.optim.optimizer import Optimizer
from chainrule.train import checks
from chainrule.train.callbacks import EarlyStopping
from chainrule.train.metrics import classifies, is_better_greater, metric_name
from chainrule.train.prepare import monitored_value
from chainrule.train.sweep import grid as grids
from chainrule.train.sweep.layout import SweepPlan, SweepRows, config_text, in_trial, observation
from chainrule.train.sweep.result import SweepResult, Trial
from chainrule.train.sweep.run import Sweeping
from chainrule.train.trainer import Trainer

Grid = Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]]
SPLIT_SEED = 0
"""What the rows to hold out are drawn by: the same for all trials, or they could not be compared."""


class Sweep:
    """Trains a network for every combination of hyperparameters, and over every fold, at once.

    Combinations that differ only in numbers (rates, penalties, seeds, dropout) are one program, which takes the numbers
    as inputs; those of other shapes (widths, depths), or with another number inside an operation (the slope of a leaky
    ReLU, label smoothing), are programs of their own, at the price of compiling each. A trial is trained as a
    `Trainer` with its hyperparameters trains it alone, bit for bit on the NumPy backend and but for rounding when
    compiled; one that diverges, or stops early, ends alone.

    Args:
        model: a function of hyperparameters that gives a new Module.
        loss, optimizer, schedule, penalty, clip: as `Trainer` takes them, or functions of hyperparameters that give
            one. A loss may also be a function (output, target): it is taken as such if it can be called with two
            arguments and the grid does not have their names. Arguments with defaults may be left out of the grid.
        grid: the values to try by name (all combinations), or a list of combinations. A name is that of an argument of
            one of the functions, or "seed", which is what `chainrule.seed` and `Trainer(seed=…)` are given.
        metrics, normalize, precision: as `Trainer` takes them; each fold is standardised by its own training rows.
        backend: "xla", "numpy", or "auto": NumPy where the whole is estimated to take less than compiling it.

    Raises:
        ArgumentError: a name in the grid that no function takes, or an argument of a function that the grid lacks.

    Example:
        >>> import chainrule as cr
        >>> X = np.random.default_rng(0).normal(size=(90, 4)).astype("float32")
        >>> sweep = cr.Sweep(
        ...     model=lambda width: cr.nn.Sequential(cr.nn.Linear(4, width), cr.nn.ReLU(), cr.nn.Linear(width, 2)),
        ...     loss=cr.nn.CrossEntropyLoss(),
        ...     optimizer=lambda lr: cr.optim.Adam(lr),
        ...     grid={"lr": [1e-3, 1e-2], "width": [4, 8], "seed": [0, 1]},
        ...     backend="numpy",
        ... )
        >>> result = sweep.fit(X, X[:, 0] > 0, epochs=5, folds=3, progress=False)
        >>> len(result.trials), result.best["lr"]
        (24, 0.01)
    """

    def __init__(
        self,
        model: Callable[..., Module],
        loss: Any,
        optimizer: Any,
        grid: Grid,
        schedule: Any = None,
        penalty: Any = None,
        clip: Any = None,
        metrics: Sequence[str] | None = None,
        normalize: str | None = None,
        backend: str = "auto",
        precision: str = "float32",
    ) -> None:
        if isinstance(model, Module) or not callable(model):
            raise ArgumentError(
                "each trial needs a model of its own", where="model", expected="a function that makes one",
                got=f"a {type(model).__name__}", hint="write model=lambda: Sequential(…)",
            )  # fmt: skip
        self.parts = {
            "model": model, "loss": loss, "optimizer": optimizer, "schedule": schedule, "penalty": penalty,
            "clip": clip,
        }  # fmt: skip
        self.settings: dict[str, Any] = {"metrics": metrics, "normalize": normalize, "precision": precision}
        self.backend = check_choice("backend", backend, ("auto", "numpy", "xla"))
        self.configs = grids.combinations(grid)
        self._takes = grids.makers(self.parts, {name for config in self.configs for name in config})
        for config in self.configs:
            grids.check_names(config, self._takes)

    def trainer(self, config: Mapping[str, Any]) -> Trainer:
        """A `Trainer` with these hyperparameters, as each of the trials begins.

        Raises:
            ArgumentError: a hyperparameter outside its range, naming the combination.
        """
        try:
            seed = check_number("seed", config.get("seed", 0), low=0, high=2**32 - 1, integer=True)
            with seeded(seed):
                made = {
                    name: part(**{key: config[key] for key in self._takes[name] if key in config})
                    if name in self._takes
                    else part
                    for name, part in self.parts.items()
                }
                return Trainer(**made, **self.settings, backend=self.backend, seed=seed)
        except ChainruleError as error:
            raise in_trial(error, config) from None

    def fit(
        self,
        X: Any,
        y: Any,
        epochs: int = 20,
        batch_size: int | None = None,
        validation: float | tuple[Any, Any] | None = None,
        folds: int | None = None,
        shuffle: str = "epoch",
        early_stopping: int | EarlyStopping | None = None,
        progress: bool = True,
        monitor: str | None = None,
    ) -> SweepResult:
        """Train all trials.

        What is held in memory: X once, or once a fold where it is standardised; the weights and the history of each
        trial; of each combination the numbers in which it differs; the optimizers' states of those at work only.

        Args:
            X, y, epochs, batch_size, shuffle, early_stopping, monitor: as `Trainer.fit` takes them.
            validation: None, the fraction of rows to hold out (the same for all trials: those that a `Trainer` of
                seed 0 holds out), or (X, y).
            folds: train each combination so many times, each time evaluated on another part of the rows (classes dealt
                out evenly); instead of `validation`.
            progress: whether to show a bar on standard error.

        Returns:
            The result. Ctrl-C ends the sweep after the trials at work: those that were not begun are "interrupted".

        Raises:
            ArgumentError: both folds and validation, early_stopping without either, a number outside its range.
            ChainruleError: what `Trainer` and its `fit` raise, naming the combination.

        Warns:
            TrainingWarning: what the theory says cannot go well, each mistake once, before the first step.
        """
        began = time.perf_counter()
        early = checks.arguments(epochs, batch_size, shuffle, early_stopping, monitor)
        if early is not None and early.monitor.startswith("val_") and folds is None and validation is None:
            raise ArgumentError(
                "there is nothing to monitor", where="early_stopping", hint="give folds=5 or validation=0.1"
            )
        first, optimizers, observing = self._checked()
        rows = self._rows(first, X, y, validation, folds)
        if early is not None:
            monitored_value(first.metrics, len(rows.splits[0][1]) > 0, early.monitor, early.mode)
        plan = SweepPlan(
            self.configs, self.trainer, optimizers, observing, rows, epochs, batch_size, shuffle, early,
        ).on(self.backend)  # fmt: skip
        trials = [[Trial(config, split) for split in range(len(rows.splits))] for config in self.configs]
        Sweeping(plan, trials).run(progress)
        fitted = {"epochs": epochs, "batch_size": batch_size, "shuffle": shuffle}
        greater = {metric_name(metric): is_better_greater(metric) for metric in first.metrics}
        return SweepResult(self.trainer, trials, rows.standardizers, fitted, greater, time.perf_counter() - began)

    def _checked(self) -> tuple[Trainer, list[Optimizer], list[Any]]:
        """The first trainer, all optimizers, and what schedules observe; each combination is looked at beforehand."""
        first, optimizers, observing = self.trainer(self.configs[0]), [], []
        for config in self.configs:
            trainer = self.trainer(config)
            checks.something_to_train(trainer.model)
            if _task(trainer) != _task(first):
                raise ArgumentError(
                    "losses with other targets or metrics than the first combination's cannot be compared",
                    where=config_text(config), expected=f"one like {type(first.loss).__name__}",
                    got=type(trainer.loss).__name__,
                )  # fmt: skip
            optimizers.append(trainer.optimizer)
            observing.append(observation(trainer.schedule))
        return first, optimizers, observing

    def _rows(self, trainer: Trainer, X: Any, y: Any, validation: Any, folds: int | None) -> SweepRows:
        dtype = trainer.dtype
        X, y = checks.features(X, dtype), checks.targets(y, trainer.loss, dtype)
        checks.equal_lengths(X, y)
        every = np.arange(len(X))
        splits = [(every, every[:0])]
        if folds is not None:
            if validation is not None:
                raise ArgumentError("give only one of them", where="folds and validation", expected="one of them")
            splits = dealt(y, "classify" if classifies(trainer.loss) else "regress", folds)
        elif isinstance(validation, (tuple, list)) and len(validation) == 2:
            held = checks.features(validation[0], dtype, "validation X")
            wanted = checks.targets(validation[1], trainer.loss, dtype, "validation y")
            checks.equal_lengths(held, wanted, names="validation X and y")
            X, y = _joined(X, held, "validation X"), _joined(y, wanted, "validation y")
            splits = [(every, np.arange(len(every), len(X)))]
        elif validation is not None:
            splits = [checks.split(len(X), validation, SPLIT_SEED)]
        how = self.settings["normalize"]
        if how is None:
            return SweepRows([X], y, splits, [None] * len(splits))
        learnt = [Standardizer.fit(X[train], how) for train, _ in splits]
        return SweepRows([standardizer(X) for standardizer in learnt], y, splits, learnt)


def _joined(first: Any, second: Any, name: str) -> Any:
    if first.shape[1:] != second.shape[1:]:
        raise ShapeError(
            "not the columns of the training rows", where=name, expected=("rows", *first.shape[1:]), got=second.shape
        )
    return np.concatenate([first, second])


def _task(trainer: Trainer) -> Any:
    """What has to be the same for all trials: what their losses want of the targets, and the metrics."""
    loss = trainer.loss
    labels = isinstance(loss, (CrossEntropyLoss, NLLLoss))
    return labels, isinstance(loss, Loss), list(map(metric_name, trainer.metrics))
