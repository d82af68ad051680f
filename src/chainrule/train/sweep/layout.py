"""What a sweep was asked for: the combinations, the rows of each fold, and how long each training is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule.backends.cost import choose_backend
from chainrule.data.standardize import Standardizer
from chainrule.errors import ChainruleError
from chainrule.graph.graph import Graph
from chainrule.graph.random import shuffled
from chainrule.nn.normalization import SmallBatchError
from chainrule.optim.lr_schedules import Schedule
from chainrule.optim.optimizer import Optimizer
from chainrule.train import checks, inference
from chainrule.train.callbacks import EarlyStopping
from chainrule.train.step import TrainingStep
from chainrule.train.trainer import Trainer

Array = np.ndarray[Any, Any]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class SweepRows:
    """The data of a sweep.

    Attributes:
        X: as each split standardises it, or once where nothing is standardised.
        y: one target per row.
        splits: the rows to train on, and those to evaluate on.
        standardizers: what each split learnt from its rows to train on.
    """

    X: list[Array]
    y: Array
    splits: list[tuple[Array, Array]]
    standardizers: Sequence[Standardizer | None]


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep was asked for.

    Attributes:
        configs: the combinations.
        trainer: makes the trainer of a combination, anew at each call.
        optimizers: one for each combination.
        observing: for each combination what a schedule that observes the losses is, or None.
        batch_size: rows per step, or None for what suits the optimizer.
        early_stopping: what a trial is stopped by, if anything.
    """

    configs: Sequence[Config]
    trainer: Callable[[Config], Trainer]
    optimizers: Sequence[Optimizer]
    observing: Sequence[Any]
    rows: SweepRows
    epochs: int
    batch_size: int | None
    shuffle: str
    early_stopping: EarlyStopping | None
    backend: str = "numpy"

    def on(self, backend: str) -> SweepPlan:
        """The same on a backend; "auto" is NumPy where the whole is estimated to take less than compiling it."""
        if backend == "auto":
            shape = self.shape(0, 0)
            graph = self.graph(0, GraphKey("training", shape.batch, shape)).simplify()
            backend = choose_backend([graph], [self.epochs * shape.steps * len(self.configs) * len(self.rows.splits)])
        return dataclasses.replace(self, backend=backend)

    def shape(self, config: int, split: int) -> Shape:
        """How long the epochs of a combination are on a split."""
        train, validation = self.rows.splits[split]
        try:
            batch = checks.batch_size(self.batch_size, len(train), self.optimizers[config])
        except ChainruleError as error:
            raise in_trial(error, self.configs[config]) from None
        return Shape(len(train), batch, len(validation))

    def step(self, config: int, shape: Shape) -> tuple[Trainer, TrainingStep]:
        """A new trainer, and its step with the schedule bound to the length of the training."""
        trainer, steps = self.trainer(self.configs[config]), shape.steps
        schedule = None if trainer.schedule is None else trainer.schedule.bind(self.epochs * steps, steps)
        return trainer, trainer.step(self.backend, schedule)

    def graph(self, config: int, key: GraphKey) -> Graph:
        """One of the graphs of a combination, as it comes from tracing."""
        _, step = self.step(config, key.shape)
        rows, batch = key.shape.batches(key.kind)
        try:
            return step.traced(key.kind, step.state(), [self.rows.X[0], self.rows.y], key.size)
        except SmallBatchError as error:
            small = error if key.size == batch else checks.last_batch_too_small(error, rows, batch)
            raise in_trial(small, self.configs[config]) from None
        except ChainruleError as error:
            raise in_trial(error, self.configs[config]) from None

    def check_labels(self, trainer: Trainer, config: int) -> None:
        """Refuse rows that the model does not take, and labels that are not among its outputs."""
        try:
            trainer.labels_fit([self.rows.X[0]], {"y": [self.rows.X[0], self.rows.y]})
        except ChainruleError as error:
            raise in_trial(error, self.configs[config]) from None

    def order(self, seed: int, split: int, together: bool) -> Array:
        """(epochs, rows): the rows to train on, in the order of each epoch; as they lie where a step takes all."""
        train = self.rows.splits[split][0].astype(np.int32)
        every = [
            np.arange(len(train))
            if together or self.shuffle == "never"
            else shuffled(len(train), seed, epoch if self.shuffle == "epoch" else 0)
            for epoch in range(self.epochs)
        ]
        return train[np.stack(every)]


class Shape(NamedTuple):
    """How many rows a trial trains on, in which batches, and how many it is evaluated on."""

    trained: int
    batch: int
    validation: int

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-self.trained // self.batch)

    def batches(self, kind: str) -> tuple[int, int]:
        """The rows, and the rows of a full batch, of a "training" or an "evaluation"."""
        return (
            (self.trained, self.batch)
            if kind == "training"
            else (self.validation, min(inference.BLOCK, self.validation))
        )

    def graph_keys(self) -> list[GraphKey]:
        """Its graphs: training and evaluation, each of a full batch and of the smaller last one."""
        kinds = ("training", "evaluation") if self.validation else ("training",)
        sizes = {kind: (size, rows % size) for kind in kinds for rows, size in [self.batches(kind)]}
        return [GraphKey(kind, size, self) for kind in kinds for size in sizes[kind] if size]


class GraphKey(NamedTuple):
    """A graph of a training: its kind, the rows of its batch, and the lengths of the training it belongs to."""

    kind: str
    size: int
    shape: Shape


def observation(schedule: Schedule | None) -> Any:
    """What a schedule that observes the losses is, as something to compare; None for any other."""
    return None if schedule is None or not schedule.observes else (type(schedule), repr(schedule))


def as_text(value: Any) -> str:
    """A hyperparameter as it is shown."""
    return f"{value:.4g}" if isinstance(value, float) else getattr(value, "__name__", None) or str(value)


def config_text(config: Config) -> str:
    """A combination in one line.

    Example:
        >>> config_text({"lr": 0.1, "width": 8})
        'lr=0.1, width=8'
    """
    return ", ".join(f"{name}={as_text(value)}" for name, value in config.items())


def in_trial(error: ChainruleError, config: Config) -> ChainruleError:
    """The error, its place beginning with the combination that it came with."""
    where = "; ".join(part for part in (config_text(config), error.where) if part)
    return type(error)(error.what, where=where or None, expected=error.expected, got=error.got, hint=error.hint)
