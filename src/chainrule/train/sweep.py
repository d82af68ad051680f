"""Many trainings at once: every combination of hyperparameters, over every fold, as few programs."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.data.split import folds as dealt
from chainrule.data.standardize import Standardizer
from chainrule.errors import ArgumentError, check_choice, check_number, nearest
from chainrule.nn.module import Module
from chainrule.nn.random import seeded
from chainrule.train import checks
from chainrule.train.crew import Member, Plan, Rows, train_all
from chainrule.train.metrics import classifies
from chainrule.train.trainer import Trainer

Config = dict[str, Any]
PARTS = ("model", "loss", "optimizer", "schedule", "penalty", "clip")


class Sweep:
    """Trains a network for every combination of hyperparameters, and over every fold, at once.

    Members that differ only in numbers (rates, penalties, seeds, dropout) are one program, which takes the numbers as
    inputs; members of other shapes (widths, depths) are programs of their own. Each member is trained as a `Trainer`
    with its hyperparameters would train it alone; one that diverges ends alone.

    Args:
        model: a function of hyperparameters that gives a new Module.
        loss, optimizer, schedule, penalty, clip: as `Trainer` takes them, or functions of hyperparameters that give
            one.
        grid: the values to try by name (all combinations), or a list of combinations. A name is that of an argument of
            one of the functions, or "seed".
        metrics, normalize, precision: as `Trainer` takes them.
        backend: "xla", "numpy", or "auto": compiled.

    Raises:
        ArgumentError: a name in the grid that no function takes, an argument of a function that the grid lacks.

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
        >>> len(result.members), result.best["lr"]
        (24, 0.01)
    """

    def __init__(
        self,
        model: Callable[..., Module],
        loss: Any,
        optimizer: Any,
        grid: Mapping[str, Iterable[Any]] | Sequence[Mapping[str, Any]],
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
                "each member needs a model of its own", where="model", expected="a function that makes one",
                got=type(model).__name__, hint="write model=lambda: Sequential(…)",
            )  # fmt: skip
        self.parts = dict(zip(PARTS, (model, loss, optimizer, schedule, penalty, clip), strict=True))
        self.settings: dict[str, Any] = {"metrics": metrics, "normalize": normalize, "precision": precision}
        self.backend = check_choice("backend", backend, ("auto", "numpy", "xla"))
        self.configs = _combinations(grid)
        takes = {name: list(inspect.signature(part).parameters) for name, part in self.parts.items() if _makes(part)}
        known = {"seed", *itertools.chain.from_iterable(takes.values())}
        for config in self.configs:
            for name in config:
                if name not in known:
                    raise ArgumentError(
                        "no function takes it", where=f"grid, {name}", expected=", ".join(nearest(name, known))
                    )
            for part, names in takes.items():
                missing = [name for name in names if name not in config]
                if missing:
                    raise ArgumentError("a hyperparameter without values", where=f"grid, for {part}", got=missing[0])
        self._takes = takes

    def trainer(self, config: Mapping[str, Any]) -> Trainer:
        """A `Trainer` with these hyperparameters, as each of the members begins."""
        seed = check_number("seed", config.get("seed", 0), low=0, high=2**32 - 1, integer=True)
        with seeded(seed):
            made = {
                name: part(**{key: config[key] for key in self._takes[name]}) if name in self._takes else part
                for name, part in self.parts.items()
            }
        return Trainer(**made, **self.settings, backend=self.backend, seed=seed)

    def fit(
        self,
        X: Any,
        y: Any,
        epochs: int = 20,
        batch_size: int = 32,
        validation: float | tuple[Any, Any] | None = None,
        folds: int | None = None,
        shuffle: str = "epoch",
        early_stopping: int | None = None,
        progress: bool = True,
    ) -> SweepResult:
        """Train all members.

        Args:
            X, y, epochs, batch_size, validation, shuffle, early_stopping: as `Trainer.fit` takes them.
            folds: train each combination so many times, each time judged by another part of the rows (classes dealt
                out evenly); in place of `validation`.
            progress: whether to show a bar on standard error.

        Raises:
            ArgumentError: both folds and validation, early_stopping without either, or a number outside its range.
        """
        check_number("epochs", epochs, low=1, integer=True)
        check_number("batch_size", batch_size, low=1, integer=True)
        check_choice("shuffle", shuffle, ("epoch", "once", "never"))
        if early_stopping is not None:
            check_number("early_stopping", early_stopping, low=1, integer=True)
            if folds is None and validation is None:
                raise ArgumentError(
                    "nothing to judge by", where="early_stopping", hint="give folds=5 or validation=0.1"
                )
        trainers = [self.trainer(config) for config in self.configs]
        rows = self._rows(trainers[0], X, y, validation, folds)
        members = [[Member(config, split) for split in range(len(rows.splits))] for config in self.configs]
        backend = "xla" if self.backend == "auto" else self.backend
        plan = Plan(rows, epochs, batch_size, shuffle, early_stopping, backend)
        train_all(trainers, members, plan, progress)
        return SweepResult(self, [member for row in members for member in row])

    def _rows(self, trainer: Trainer, X: Any, y: Any, validation: Any, folds: int | None) -> Rows:
        dtype = np.dtype(trainer.precision)
        X, y = checks.features(X, dtype), checks.targets(y, trainer.loss, dtype)
        checks.equal_lengths(X, y)
        every = np.arange(len(X))
        splits = [(every, every[:0])]
        if folds is not None:
            if validation is not None:
                raise ArgumentError("both are given", where="folds and validation", expected="one of them")
            splits = dealt(y, "classify" if classifies(trainer.loss) else "regress", folds)
        elif isinstance(validation, (tuple, list)) and len(validation) == 2:
            held = checks.features(validation[0], dtype, "validation X")
            wanted = checks.targets(validation[1], trainer.loss, dtype, "validation y")
            checks.equal_lengths(held, wanted, names="validation X and y")
            X, y = np.concatenate([X, held]), np.concatenate([y, wanted])
            splits = [(every, np.arange(len(every), len(X)))]
        elif validation is not None:
            splits = [checks.split(X, y, validation, trainer.seed)]
        return Rows([self._standardized(X, train) for train, _ in splits], y, splits)

    def _standardized(self, X: np.ndarray[Any, Any], train: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        how = self.settings["normalize"]
        return X if how is None else Standardizer.fit(X[train], how)(X)


@dataclass
class SweepResult:
    """What a sweep found.

    Attributes:
        sweep: what was run.
        members: one for each combination and fold: `config`, `fold`, `history`, `weights`.
    """

    sweep: Sweep
    members: list[Member]
    scored_by: str = field(init=False)

    def __post_init__(self) -> None:
        history = self.members[0].history
        metrics = [name for name in history.metrics if name.startswith("val_")] or list(history.metrics)
        self.scored_by = metrics[0] if metrics else ("val_loss" if history.val_loss else "loss")

    def rows(self) -> list[dict[str, Any]]:
        """One dict a combination, best first: its hyperparameters, the mean score over the folds, and its deviation."""
        by_config: dict[int, list[float]] = {}
        for member in self.members:
            by_config.setdefault(id(member.config), []).append(member.score(self.scored_by))
        configs = {id(member.config): member.config for member in self.members}
        rows = [
            {**configs[key], self.scored_by: float(np.mean(found)), "deviation": float(np.std(found))}
            for key, found in by_config.items()
        ]
        sign = -1.0 if self._more_is_better else 1.0
        return sorted(rows, key=lambda row: sign * row[self.scored_by] if np.isfinite(row[self.scored_by]) else np.inf)

    @property
    def _more_is_better(self) -> bool:
        return self.scored_by.removeprefix("val_") in ("accuracy", "r2")

    @property
    def best(self) -> Config:
        """The combination with the best mean score."""
        return {key: value for key, value in self.rows()[0].items() if key not in (self.scored_by, "deviation")}

    @property
    def best_score(self) -> float:
        """The best mean score."""
        return float(self.rows()[0][self.scored_by])

    def refit(self, X: Any, y: Any, **arguments: Any) -> Trainer:
        """A trainer with the best combination, trained on all rows; the arguments are those of `Trainer.fit`."""
        trainer = self.sweep.trainer(self.best)
        trainer.fit(X, y, **arguments)
        return trainer


def _makes(part: Any) -> bool:
    return (
        callable(part) and not isinstance(part, Module) and not hasattr(part, "gradient") and inspect.isfunction(part)
    )


def _combinations(grid: Any) -> list[Config]:
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
                raise ArgumentError("values to try are wanted", where=f"grid, {name}", expected="a list", got=values)
        return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    configs = [dict(config) for config in grid]
    if not configs:
        raise ArgumentError("nothing to try", where="grid", expected="at least one combination")
    return configs
