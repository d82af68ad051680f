"""What one `fit` was asked for, and what it keeps: the best parameters, checkpoints, the final state."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import tree
from chainrule.errors import RunError
from chainrule.graph.random import shuffled
from chainrule.optim.plateau import Plateau
from chainrule.optim.schedules import Schedule as LearningRate
from chainrule.train import checkpoint as files
from chainrule.train import prepare
from chainrule.train.loop import Loop
from chainrule.train.plan import Plan
from chainrule.train.step import Step

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer

CHECKPOINT_EVERY = 10.0
"""Seconds between two checkpoints, at least."""


@dataclass(frozen=True)
class Fitting:
    """The arguments of a `fit`."""

    epochs: int
    batch_size: int
    shuffle: str
    early_stopping: int | None
    callbacks: tuple[Callable[[Trainer], Any], ...]
    checkpoint: str | os.PathLike[str] | None

    def layout(self, rows: int, seed: int) -> dict[str, Any]:
        """What the order of the steps follows from, by the name of the argument, as plain values."""
        return {"X": f"{rows:,} rows", "batch_size": self.batch_size, "shuffle": self.shuffle, "seed": seed}

    def order(self, rows: int, seed: int, epoch: int, part: int = 0) -> np.ndarray[Any, Any]:
        """The order of the rows in an epoch, or in a part of it."""
        if self.shuffle == "never":
            return np.arange(rows, dtype=np.int32)
        return shuffled(rows, seed, (epoch if self.shuffle == "epoch" else 0) + (part << 40))

    def watches(self, schedule: LearningRate | None) -> bool:
        """Whether Python has something to do after every epoch."""
        observes = schedule is not None and schedule.observes
        return bool(observes or self.early_stopping is not None or self.callbacks or self.checkpoint is not None)


@dataclass
class Keeper:
    """Puts states back into the model, keeps the best one and writes checkpoints.

    Attributes:
        step: what a step is made of, as long as callbacks change nothing; `plan` likewise.
        begun: the epochs that were done before this fit.
        start: the steps that were.
        offset: by how many steps the schedule is further than this fit.
        position: where the training stands.
        seen: what the schedule has made of the losses so far, where it observes them.
    """

    fitting: Fitting
    trainer: Trainer
    step: Step
    plan: Plan
    structure: tree.Structure
    begun: int
    start: int
    offset: int
    position: files.Position
    seen: Plateau
    written: float = field(default_factory=time.monotonic)
    lr: float = field(init=False)

    def __post_init__(self) -> None:
        self.lr = self.step.optimizer.lr

    @property
    def watches(self) -> bool:
        """Whether Python has something to do after every epoch."""
        return self.fitting.watches(self.step.schedule)

    def rate(self, step: int) -> float:
        """The learning rate at a step of this training, as long as its epoch is not over."""
        schedule = self.step.schedule
        factor = 1.0 if schedule is None else float(schedule(step + self.offset))
        return float(self.lr * self.seen.factor * factor)

    def notes(self, steps: int) -> list[str]:
        """What the user should know of the schedule, for epochs of so many steps."""
        schedule = self.trainer.schedule
        if schedule is None:
            return []
        if schedule.spans_fit and self.begun:
            return [f"the schedule begins anew: {schedule!r} spans each fit, its length being left out"]
        rates = [self.rate(step) for step in (0, self.fitting.epochs * steps - 1)]
        ended = f"{schedule!r} is at its end: the learning rate is 0 in all of this training; give it more steps"
        return [] if any(rates) else [ended]

    def at_epoch_end(self, loop: Loop) -> bool:
        """Whether to stop after this epoch."""
        self._observe(loop)
        stop = self._stops_early(loop) if self.fitting.early_stopping is not None else False
        if self.fitting.callbacks:
            stop = self._is_called_off(loop) or stop
        self.checkpoint_if_due(loop)
        return stop

    def _is_called_off(self, loop: Loop) -> bool:
        """Whether a callback wants the training to stop; what callbacks change counts from here on."""
        before = self._state(loop)
        self.put_back(before)
        answers = [callback(self.trainer) for callback in self.fitting.callbacks]
        self._follow(loop, self._tensors(before))
        if True in answers:
            self.trainer.history.stopped = "callback"
        return True in answers

    def _follow(self, loop: Loop, before: dict[str, Any]) -> None:
        """Go on with other weights, another rate or another program, where callbacks have changed them."""
        trainer, history = self.trainer, self.trainer.history
        step, plan = prepare.planned(trainer, history.backend, loop.feed, self.fitting, history)
        now = dict(trainer.model.named_parameters()) | dict(trainer.model.named_buffers())
        same = plan is self.plan and all(np.array_equal(before[name], x.read()) for name, x in now.items())
        if same and trainer.optimizer.lr == self.lr:
            return
        state = prepare.starting_state(trainer, step, self.start - self.offset, self.seen.factor, history)
        self.step, self.plan, self.lr = step, plan, trainer.optimizer.lr
        leaves, self.structure = tree.flatten(state)
        loop.program = plan.program(history, loop.feed.arrays)
        loop.training, loop.metrics, loop.summed = plan.training, trainer.metrics, trainer.summed
        loop.state = loop.backend.put(leaves)

    def checkpoint_if_due(self, loop: Loop) -> None:
        """Write a checkpoint where one is wanted and the last one is old enough, in the midst of an epoch too."""
        if self.fitting.checkpoint is not None and time.monotonic() - self.written > CHECKPOINT_EVERY:
            self.put_back(self._state(loop))
            self._write(loop)

    def _observe(self, loop: Loop) -> None:
        """Let the schedule see the epoch's loss, and tell the program what it makes of it."""
        if self.step.schedule is None:
            return
        before, self.seen = self.seen, self.step.schedule.observe(self.seen, self.trainer.history.watched[-1])
        if self.seen.factor != before.factor:
            state = tree.unflatten(self.structure, loop.state)
            [state["factor"]] = loop.backend.put([np.asarray(self.seen.factor, self.step.dtype)])
            loop.state = tree.flatten(state)[0]

    def _stops_early(self, loop: Loop) -> bool:
        history = self.trainer.history
        if history.val_loss[-1] < self.position.best.loss:
            state = self._state(loop)
            self.position.best = files.Best(history.val_loss[-1], history.epochs, self._tensors(state))
        return self._out_of_patience()

    def _out_of_patience(self) -> bool:
        history, patience = self.trainer.history, self.fitting.early_stopping
        stop = patience is not None and history.epochs - self.position.best.epoch >= patience
        if stop:
            history.stopped = "early stopping"
        return stop

    def has_ended(self) -> bool:
        """Whether the training that is resumed had already stopped early."""
        return self.position.best.epoch > 0 and self._out_of_patience()

    def _state(self, loop: Loop) -> dict[str, Any]:
        return tree.unflatten(self.structure, list(loop.backend.get(loop.state)))

    def _last_state(self, loop: Loop) -> dict[str, Any]:
        return tree.unflatten(self.structure, list(loop.backend.view(loop.state)))

    def _tensors(self, state: dict[str, Any]) -> dict[str, Any]:
        return self.step.tensors(state)

    def put_back(self, state: dict[str, Any]) -> None:
        """Give the model and the trainer a state of the loop."""
        self.trainer.model.load_state_dict(self._tensors(state))
        self.trainer.optimizer_state = self.step.named_optimizer(state["optimizer"])
        named = dict(self.trainer.model.named_parameters())
        self.trainer.optimized = {name: named[name] for name in self.step.trained}
        self.trainer.steps = int(state["step"])
        self.trainer.epochs = self.begun + self.trainer.history.epochs

    def finish(self, loop: Loop) -> None:
        """The last state into the model and the checkpoint; then the best parameters, where there are better ones.

        Where a second Ctrl-C broke the program off there is no last state: the model keeps what it was last given.
        """
        if not loop.state:
            return
        self.put_back(self._last_state(loop))
        history = self.trainer.history
        if loop.interrupted:
            history.stopped = "interrupted"
        if self.fitting.checkpoint is not None:
            self._write(loop)
        if self.position.best.epoch:
            history.best_epoch = self.position.best.epoch
            self.trainer.model.load_state_dict(self.position.best.parameters)

    def _write(self, loop: Loop) -> None:
        assert self.fitting.checkpoint is not None, "no place to write to"
        if self.trainer.steps != self.start + self.trainer.history.epochs * loop.feed.steps + loop.done:
            # A second Ctrl-C came between a call and the noting of its records; the checkpoint before is whole.
            return
        self.position.records = np.concatenate(loop.records) if loop.done else np.empty((0, 0))
        try:
            files.save_training(self.fitting.checkpoint, self.trainer, self.position)
        except RunError as error:
            # A full disk must not end a training that can still be saved elsewhere.
            note = f"the checkpoint was not written: {error}"
            if note not in self.trainer.history.notes:
                self.trainer.history.notes.append(note)
                warnings.warn(note, RuntimeWarning, stacklevel=2)
        self.written = time.monotonic()
