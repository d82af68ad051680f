"""What one `fit` was asked for, and what it gives back: the state between calls, the last one, the best parameters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import tree
from chainrule.graph.random import shuffled
from chainrule.optim.plateau import Plateau
from chainrule.train import prepare
from chainrule.train.callbacks import Callbacks, Due, EarlyStopping
from chainrule.train.fit_loop import Loop, joined
from chainrule.train.plan import Plan
from chainrule.train.state import Best, Position, TrainState
from chainrule.train.step import TrainingStep

if TYPE_CHECKING:
    from chainrule.train.setup import Setup


@dataclass(frozen=True)
class FitConfig:
    """The arguments of a `fit`."""

    epochs: int
    batch_size: int
    shuffle: str
    early_stopping: EarlyStopping | None
    callbacks: Callbacks
    checkpoint: str | os.PathLike[str] | None
    monitor: str | None = None

    def layout(self, rows: int, seed: int) -> dict[str, Any]:
        """What the order of the steps follows from, by the name of the argument, as plain values."""
        return {"X": f"{rows:,} rows", "batch_size": self.batch_size, "shuffle": self.shuffle, "seed": seed}

    def order(self, rows: int, seed: int, epoch: int, part: int = 0) -> np.ndarray[Any, Any]:
        """The order of the rows in an epoch, or in a part of it."""
        if self.shuffle == "never":
            return np.arange(rows, dtype=np.int32)
        return shuffled(rows, seed, (epoch if self.shuffle == "epoch" else 0) + (part << 40))


@dataclass
class FitSession:
    """Puts states back into the model, calls callbacks and adopts what they change.

    Attributes:
        step: what a step is made of, as long as callbacks change nothing; `plan` likewise.
        begun: the epochs that were done before this fit.
        start: the steps that were.
        offset: by how many steps the schedule is further than this fit.
        layout: what the order of the steps follows from; see `Position`.
    """

    config: FitConfig
    setup: Setup
    state: TrainState
    step: TrainingStep
    plan: Plan
    begun: int
    start: int
    offset: int
    layout: dict[str, Any]
    lr: float = field(init=False)

    def __post_init__(self) -> None:
        self.lr = self.step.optimizer.lr

    def rate(self, step: int, factor: float = 1.0) -> float:
        """The learning rate at a step of this training, times the factor of a schedule that observes the losses."""
        schedule = self.step.schedule
        return float(self.lr * factor * (1.0 if schedule is None else float(schedule(step + self.offset))))

    def notes(self, steps: int) -> list[str]:
        """What the user should know of the schedule, for epochs of so many steps."""
        schedule = self.setup.schedule
        if schedule is None:
            return []
        if schedule.spans_fit and self.begun:
            return [f"the schedule starts afresh: {schedule!r} has no length of its own, so it spans each fit"]
        rates = [self.rate(step) for step in (0, self.config.epochs * steps - 1)]
        ended = f"{schedule!r} is at its end: the learning rate is 0 in all of this training; give it more steps"
        return [] if any(rates) else [ended]

    def after_call(self, loop: Loop, epoch_end: bool) -> bool:
        """Make the calls that are due after a call of the program; whether to stop."""
        callbacks = self.config.callbacks
        due = callbacks.due(loop.history.epochs * loop.loader.steps + loop.done, epoch_end)
        stop = bool(due) and self._is_called_off(loop, due)
        callbacks.progress()
        return stop

    def _is_called_off(self, loop: Loop, due: Due) -> bool:
        """Whether a callback wants the training to stop; what callbacks change counts from here on."""
        before = loop.current(loop.backend.get)
        self.put_back(before)
        with self._standing_at(self._position(loop)):
            stop = self.config.callbacks.call(due)
        if not due.read_only:
            self.follow(loop, self.step.tensors(before[0]))
        if stop:
            self.state.history.stopped = "callback"
        return stop

    @contextmanager
    def _standing_at(self, position: Position | None) -> Iterator[None]:
        """A block within which callbacks find where the training stands; its arrays are the program's own."""
        self.state.position = position
        try:
            yield
        finally:
            self.state.position = None

    def _position(self, loop: Loop) -> Position | None:
        """Where the training stands; None where a second Ctrl-C came before what the last call did was noted."""
        if self.state.steps != self.start + self.state.history.epochs * loop.loader.steps + loop.done:
            return None
        return Position(self._best(loop), tree.flatten(joined(loop.records))[0] if loop.done else [], self.layout)

    def follow(self, loop: Loop, before: dict[str, Any]) -> None:
        """Go on with other weights, another rate or another program, where callbacks have changed them."""
        history = self.state.history
        step, plan = prepare.planned(self.setup, history.backend, loop.loader, self.config, history)
        same = plan is self.plan and all(np.array_equal(before[name], x.read()) for name, x in step.named_tensors)
        if same and self.setup.optimizer.lr == self.lr:
            self.step = step
            return
        state = prepare.starting_state(self.setup, self.state, step, self.start - self.offset, history)
        record = joined(loop.records) if loop.done else None
        watch = prepare.watched(self.state, step, plan, state, self.config, self._best(loop), record)
        self.step, self.plan, self.lr = step, plan, self.setup.optimizer.lr
        leaves, loop.structure = tree.flatten((state, watch))
        loop.program = plan.program(history, loop.loader.arrays)
        loop.training, loop.gives = plan.training, plan.gives
        loop.state = loop.backend.put(leaves)

    def _best(self, loop: Loop) -> Best:
        """The best epoch so far, where early stopping looks for one."""
        watch, monitor = loop.watch, loop.training.monitor
        early = self.config.early_stopping
        if early is None or not early.restore_best:
            return Best()
        if watch is None or monitor is None or not monitor.judged or not np.isfinite(watch["best"]):
            return Best()
        epoch = self.state.history.epochs - int(watch["waited"])
        kept = self.step.tensors(self.step.kept_state(list(map(np.asarray, watch["kept"]))))
        return Best(float(watch["best"]) * monitor.judged.sign, epoch, early.monitor, kept)

    def put_back(self, current: tuple[dict[str, Any], Any]) -> None:
        """Give the model and the trainer a state of the loop."""
        state, watch = current
        self.step.put_back(state)
        self.state.optimizer = self.step.named_optimizer(state["optimizer"])
        self.state.optimized = {name: self.step.parameters[name] for name in self.step.trained}
        self.state.steps = int(state["step"])
        self.state.epochs = self.begun + self.state.history.epochs
        if watch is not None and watch["plateau"]:
            self.state.plateau = Plateau(*(np.asarray(x).item() for x in watch["plateau"]))

    def finish(self, loop: Loop) -> None:
        """The last state into the model; after the callbacks the best parameters, where there are better ones.

        Where a second Ctrl-C broke the program off there is no last state: the model keeps what it was last given.
        """
        position = None
        if loop.state:
            self.put_back(loop.current(loop.backend.view))
            position = self._position(loop)
            if loop.interrupted:
                self.state.history.stopped = "interrupted"
        with self._standing_at(position):
            self.config.callbacks.train_end()
        best = self._best(loop) if loop.state else Best()
        if best.epoch:
            self.state.history.best_epoch = best.epoch
            self.setup.model.load_state_dict(best.parameters)
