"""The fits of a grid search as the trials of a sweep: which of them share a program, and what becomes of each."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from chainrule.sklearn.classifier import MLPClassifier
from chainrule.sklearn.mlp import BaseMLP, Rows, Targets
from chainrule.sklearn.recipe import job
from chainrule.sklearn.regressor import MLPRegressor
from chainrule.train import checks
from chainrule.train.inference import Inference
from chainrule.train.sweep.layout import SweepPlan, SweepRows, observation
from chainrule.train.sweep.result import Trial
from chainrule.train.sweep.run import Sweeping

Array = np.ndarray[Any, Any]
Candidate = Mapping[str, Any]


class Fold(NamedTuple):
    """One split of the rows.

    Attributes:
        train: the rows to train on.
        steps: the transformers before the network, fitted on them.
        X, y: those rows, transformed.
    """

    train: Array
    steps: list[tuple[str, Any]]
    X: Any
    y: Any


@dataclass
class Fit:
    """One candidate on one fold.

    Attributes:
        estimator: which has learnt from its rows what they are; after `train` it is fitted.
        rows: all that `fit` is given.
        train, held: which of them it trains on, and validates on.
        seed: of everything random.
        done: whether it is fitted.
    """

    candidate: int
    fold: int
    estimator: BaseMLP
    rows: Rows
    train: Array
    held: Array
    seed: int
    done: bool = False

    @property
    def key(self) -> Any:
        """What fits that can be trials of one sweep have in common."""
        estimator, X = self.estimator, self.rows.X
        problem, rows = estimator.problem, len(self.train)
        classes = getattr(estimator, "classes_", np.zeros(0)).tolist()
        drawn = self.seed if len(self.held) else None
        # The rate of this schedule falls with the rows.
        length = rows if estimator.learning_rate == "invscaling" else None
        return (
            job(estimator, problem, rows), length, X.shape[1], X.dtype, type(problem.loss), problem.outputs,
            tuple(classes), drawn, estimator.backend, estimator.precision,
        )  # fmt: skip


@dataclass
class Packing:
    """All fits of a grid search.

    Attributes:
        last: the name of the network's step in a pipeline, or None.
        fits: by candidate and fold; None where one cannot be packed.
        seconds: what training took, for each fit that was packed.
        notes: why some could not be, one line each.
    """

    estimator: Any
    candidates: Sequence[Candidate]
    last: str | None
    folds: list[Fold | None] = field(default_factory=list)
    fits: dict[tuple[int, int], Fit | None] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def packed(self) -> int:
        """How many fits were trained as trials."""
        return sum(fit is not None and fit.done for fit in self.fits.values())

    def train(self, X: Any, y: Any, splits: Sequence[tuple[Array, Array]]) -> None:
        """Train all that can be packed."""
        began = time.perf_counter()
        self.folds = [self._fold(X, y, train) for train, _ in splits]
        for candidate, given in enumerate(self.candidates):
            for fold in range(len(splits)):
                self.fits[candidate, fold] = self._prepared(candidate, given, fold)
        for group in self._groups():
            _train(group, len(y), self.folds, versions=self.last is not None)
        self.seconds = (time.perf_counter() - began) / max(self.packed, 1)
        fits = [fit for fit in self.fits.values() if fit is not None and fit.done]
        slow = sum(fit.estimator.trainer_.history.stopped == "finished" for fit in fits)
        if slow:
            warnings.warn(
                f"{slow} of {len(fits)} trainings had not converged after max_iter iterations; increase it, or tol",
                ConvergenceWarning, stacklevel=4,
            )  # fmt: skip

    def fitted(self, candidate: int, fold: int) -> Any:
        """The fitted estimator of a cell, or None."""
        fit, of = self.fits[candidate, fold], self.folds[fold]
        if fit is None or not fit.done or of is None:
            return None
        return fit.estimator if self.last is None else Pipeline([*of.steps, (self.last, fit.estimator)])

    def cells(self) -> Iterator[tuple[Candidate, Any]]:
        """Each candidate with its fitted estimator (or None), fold by fold, in the order in which a search fits."""
        for candidate, given in enumerate(self.candidates):
            for fold in range(len(self.folds)):
                yield given, self.fitted(candidate, fold)

    def _fold(self, X: Any, y: Any, train: Array) -> Fold | None:
        inputs, targets = _safe_indexing(X, train), _safe_indexing(y, train)
        if self.last is None or len(self.estimator.steps) == 1:
            return Fold(train, [], inputs, targets)
        before = clone(Pipeline(self.estimator.steps[:-1]))
        try:
            return Fold(train, before.steps, before.fit_transform(inputs, targets), targets)
        except Exception as error:  # whatever a transformer raises, the search scores it as it was told to
            self._note(f"a transformer could not be fitted: {error}")
            return None

    def _prepared(self, candidate: int, given: Candidate, place: int) -> Fit | None:
        fold = self.folds[place]
        if fold is None:
            return None
        network = self.estimator if self.last is None else self.estimator.steps[-1][1]
        prefix = "" if self.last is None else f"{self.last}__"
        try:
            estimator = clone(network).set_params(
                **{k.removeprefix(prefix): clone(v, safe=False) for k, v in given.items()}
            )
            estimator.check_parameters()
            rows, seed = estimator.rows(fold.X, fold.y, None, Targets.LEARN, first=True), estimator.seed()
            train, held = estimator.split(rows, seed)
        except (ValueError, TypeError) as error:
            self._note(f"{dict(given)} cannot be fitted: {error}")
            return None
        if rows.weight is not None:
            self._note("class_weight weighs rows, which the trials of a sweep have in common")
            return None
        return Fit(candidate, place, estimator, rows, train, held, seed)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _groups(self) -> list[list[Fit]]:
        """Fits in groups, each of which is every one of some candidates on every one of some folds."""
        alike: dict[Any, dict[int, list[Fit]]] = {}
        for fit in self.fits.values():
            if fit is not None:
                alike.setdefault(fit.key, {}).setdefault(fit.candidate, []).append(fit)
        groups: dict[Any, list[Fit]] = {}
        for key, by_candidate in alike.items():
            for fits in by_candidate.values():
                groups.setdefault((key, tuple(fit.fold for fit in fits)), []).extend(fits)
        return list(groups.values())


def _train(group: list[Fit], rows: int, folds: Sequence[Fold | None], *, versions: bool) -> None:
    """Train a group as a sweep, and give each fit its network."""
    places = list(dict.fromkeys(fit.fold for fit in group))
    first = {fit.candidate: fit for fit in reversed(group)}
    configs: list[dict[str, Any]] = [{"candidate": candidate} for candidate in sorted(first)]

    def trainer(config: Mapping[str, Any]) -> Any:
        fit = first[config["candidate"]]
        return fit.estimator.trainer(fit.rows.taken(fit.train), fit.seed)

    of_fold = {fit.fold: fit for fit in group}
    example, how = trainer(configs[0]), job(group[0].estimator, group[0].estimator.problem, len(group[0].train))
    data = _data(example, [(of_fold[place], folds[place]) for place in places], rows, versions=versions)
    made = [trainer(config) for config in configs]
    optimizers, observing = [one.optimizer for one in made], [observation(one.schedule) for one in made]
    plan = SweepPlan(
        configs, trainer, optimizers, observing, data, how.epochs, how.batch_size, how.shuffle, how.early_stopping
    )
    trials = [[Trial(config, split) for split in range(len(places))] for config in configs]
    sweeping = Sweeping(plan.on(group[0].estimator.backend), trials)
    sweeping.run(progress=False)
    if sweeping.interrupted:
        raise KeyboardInterrupt
    by_cell = {(fit.candidate, fit.fold): fit for fit in group}
    inference = Inference()
    for config, some in zip(configs, trials, strict=True):
        for place, trial in zip(places, some, strict=True):
            _take(by_cell[config["candidate"], place], trial, inference)


def _data(trainer: Any, folds: Sequence[tuple[Fit, Any]], rows: int, *, versions: bool) -> SweepRows:
    """The rows of all folds in one array, or one a fold where each has transformed them in its own way."""
    fit = folds[0][0]
    X = [np.zeros((rows, fit.rows.X.shape[1]), trainer.dtype) for _ in (folds if versions else folds[:1])]
    y = np.zeros((rows, *fit.rows.y.shape[1:]), fit.rows.y.dtype)
    splits = []
    for i, (fit, fold) in enumerate(folds):
        X[i if versions else 0][fold.train] = checks.features(fit.rows.X, trainer.dtype)
        y[fold.train] = fit.rows.y
        splits.append((fold.train[fit.train], fold.train[fit.held]))
    return SweepRows(X, checks.targets(y, trainer.loss, trainer.dtype), splits, [None] * len(splits))


def _take(fit: Fit, trial: Trial, inference: Inference) -> None:
    """Make the fit's estimator what its own `fit` would have made of it."""
    if trial.history.stopped == "not finite":
        return
    estimator = fit.estimator
    trainer = estimator.trainer(fit.rows.taken(fit.train), fit.seed)
    trainer.model.load_state_dict(trial.weights)
    trainer.history, trainer.steps, trainer.epochs = trial.history, trial.steps, trial.history.epochs
    # The programs that predict are the same for all of a group.
    trainer.inference = inference
    estimator.begin()
    estimator.take(trainer, trial.history, len(fit.train))
    fit.done = True


def recognised(estimator: Any, candidates: Sequence[Candidate]) -> tuple[str | None, str | None]:
    """The name of the network's step in a pipeline (None where there is none), and why a search cannot be packed."""
    kinds = (MLPClassifier, MLPRegressor)
    if type(estimator) in kinds:
        return None, None
    if type(estimator) is not Pipeline or type(estimator.steps[-1][1]) not in kinds:
        return None, f"{type(estimator).__name__} is not one of chainrule's networks, nor a Pipeline that ends in one"
    name = estimator.steps[-1][0]
    others = sorted({key for given in candidates for key in given if not key.startswith(f"{name}__")})
    return name, f"the grid searches other steps too: {', '.join(others)}" if others else None
