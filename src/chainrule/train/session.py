"""What one `fit` was asked for, and what it keeps: the best parameters, checkpoints, the final state."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import tree
from chainrule.errors import RunError
from chainrule.graph.random import shuffled
from chainrule.optim.plateau import Plateau
from chainrule.train import checkpoint as files
from chainrule.train import prepare
from chainrule.train.callbacks import Callbacks, EarlyStopping
from chainrule.train.loop import Loop, joined
from chainrule.train.plan import Plan
from chainrule.train.step import Step

if TYPE_CHECKING:
    from chainrule.train.setup import Setup
    from chainrule.train.state import TrainState

CHECKPOINT_EVERY = 10.0
"""Seconds between two checkpoints, at least."""


@dataclass(frozen=True)
class FitConfig:
    """The arguments of a `fit`."""

    epochs: int
    batch_size: int
    shuffle: str
    early_stopping: EarlyStopping | None
    callbacks: Callbacks
    checkpoint: str | os.PathLike[str] | None

    def layout(self, rows: int, seed: int) -> dict[str, Any]:
        """What the order of the steps follows from, by the name of the argument, as plain values."""
        return {"X": f"{rows:,} rows", "batch_size": self.batch_size, "shuffle": self.shuffle, "seed": seed}

    def order(self, rows: int, seed: int, epoch: int, part: int = 0) -> np.ndarray[Any, Any]:
        """The order of the rows in an epoch, or in a part of it."""
        if self.shuffle == "never":
            return np.arange(rows, dtype=np.int32)
        return shuffled(rows, seed, (epoch if self.shuffle == "epoch" else 0) + (part << 40))

    @property
    def watches(self) -> bool:
        """Whether Python has something to do after every epoch."""
        return bool(self.callbacks or self.checkpoint is not None)


@dataclass
class FitSession:
    """Puts states back into the model, calls the user's callbacks and writes checkpoints.

    Attributes:
        step: what a step is made of, as long as callbacks change nothing; `plan` likewise.
        begun: the epochs that were done before this fit.
        start: the steps that were.
        offset: by how many steps the schedule is further than this fit.
        position: where the training stands.
    """

    config: FitConfig
    setup: Setup
    state: TrainState
    step: Step
    plan: Plan
    begun: int
    start: int
    offset: int
    position: files.Position
    written: float = field(default_factory=time.monotonic)
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
            return [f"the schedule begins anew: {schedule!r} spans each fit, its length being left out"]
        rates = [self.rate(step) for step in (0, self.config.epochs * steps - 1)]
        ended = f"{schedule!r} is at its end: the learning rate is 0 in all of this training; give it more steps"
        return [] if any(rates) else [ended]

    def at_epoch_end(self, loop: Loop) -> bool:
        """Whether to stop after this epoch."""
        stop = bool(self.config.callbacks) and self._is_called_off(loop, loop.history.epochs * loop.loader.steps, True)
        # What cannot be gone on with within an epoch has no other time for a checkpoint.
        self._checkpoint_if_due(loop, always=not loop.loader.resumable)
        return stop

    def within_epoch(self, loop: Loop) -> bool:
        """Whether to stop within an epoch; checkpoints are written there too."""
        steps = loop.history.epochs * loop.loader.steps + loop.done
        stop = self.config.callbacks.due(steps) and self._is_called_off(loop, steps, False)
        if loop.loader.resumable:
            self._checkpoint_if_due(loop)
        return stop

    def _is_called_off(self, loop: Loop, steps: int, whole: bool) -> bool:
        """Whether a callback wants the training to stop; what callbacks change counts from here on."""
        callbacks = self.config.callbacks
        before = loop.current(loop.backend.get)
        self.put_back(before)
        stop = callbacks.step(steps) if callbacks.due(steps) else False
        stop = callbacks.epoch() or stop if whole else stop
        self.follow(loop, self.step.tensors(before[0]))
        if stop:
            self.state.history.stopped = "callback"
        return stop

    def follow(self, loop: Loop, before: dict[str, Any]) -> None:
        """Go on with other weights, another rate or another program, where callbacks have changed them."""
        history = self.state.history
        step, plan = prepare.planned(self.setup, history.backend, loop.loader, self.config, history)
        now = dict(self.setup.model.named_parameters()) | dict(self.setup.model.named_buffers())
        same = plan is self.plan and all(np.array_equal(before[name], x.read()) for name, x in now.items())
        if same and self.setup.optimizer.lr == self.lr:
            return
        state = prepare.starting_state(self.setup, self.state, step, self.start - self.offset, history)
        best, before_epoch = self._best(loop), loop.watch
        watch = prepare.watched(self.state, step, plan, state, self.config, best)
        if watch is not None and before_epoch is not None:
            watch["epoch_loss"] = np.asarray(before_epoch["epoch_loss"])
        self.step, self.plan, self.lr = step, plan, self.setup.optimizer.lr
        leaves, loop.structure = tree.flatten((state, watch))
        loop.program = plan.program(history, loop.loader.arrays)
        loop.training, loop.gives = plan.training, plan.gives
        loop.state = loop.backend.put(leaves)

    def _checkpoint_if_due(self, loop: Loop, always: bool = False) -> None:
        """Write a checkpoint where one is wanted and the last one is old enough, within an epoch too."""
        due = always or time.monotonic() - self.written > CHECKPOINT_EVERY
        if self.config.checkpoint is not None and due:
            self.put_back(loop.current(loop.backend.get))
            self._write(loop)

    def _best(self, loop: Loop) -> files.Best:
        """The best epoch so far, where early stopping looks for one."""
        watch, monitor = loop.watch, loop.training.monitor
        early = self.config.early_stopping
        if early is None or not early.restore_best:
            return files.Best()
        if watch is None or monitor is None or not np.isfinite(watch["best"]):
            return files.Best()
        epoch = self.state.history.epochs - int(watch["waited"])
        kept = self.step.tensors(self.step.kept_state(list(map(np.asarray, watch["kept"]))))
        return files.Best(float(watch["best"]) * monitor.sign, epoch, early.monitor, kept)

    def put_back(self, current: tuple[dict[str, Any], Any]) -> None:
        """Give the model and the trainer a state of the loop."""
        state, watch = current
        self.setup.model.load_state_dict(self.step.tensors(state))
        self.state.optimizer = self.step.named_optimizer(state["optimizer"])
        named = dict(self.setup.model.named_parameters())
        self.state.optimized = {name: named[name] for name in self.step.trained}
        self.state.steps = int(state["step"])
        self.state.epochs = self.begun + self.state.history.epochs
        if watch is not None and watch["plateau"]:
            self.state.plateau = Plateau(*(np.asarray(x).item() for x in watch["plateau"]))

    def finish(self, loop: Loop) -> None:
        """The last state into the model and the checkpoint; then the best parameters, where there are better ones.

        Where a second Ctrl-C broke the program off there is no last state: the model keeps what it was last given.
        """
        if not loop.state:
            return
        self.put_back(loop.current(loop.backend.view))
        history = self.state.history
        if loop.interrupted:
            history.stopped = "interrupted"
        if self.config.checkpoint is not None and (loop.loader.resumable or not loop.done):
            self._write(loop)
        best = self._best(loop)
        if best.epoch:
            history.best_epoch = best.epoch
            self.setup.model.load_state_dict(best.parameters)

    def _write(self, loop: Loop) -> None:
        assert self.config.checkpoint is not None, "no place to write to"
        if self.state.steps != self.start + self.state.history.epochs * loop.loader.steps + loop.done:
            # A second Ctrl-C came between a call and the noting of its records; the checkpoint before is whole.
            return
        self.position.record = tree.flatten(joined(loop.records))[0] if loop.done else []
        self.position.best = self._best(loop)
        try:
            files.save_training(self.config.checkpoint, self.setup, self.state, self.position)
        except RunError as error:
            # A full disk must not end a training that can still be saved elsewhere.
            note = f"the checkpoint was not written: {error}"
            if note not in self.state.history.notes:
                self.state.history.notes.append(note)
                warnings.warn(note, RuntimeWarning, stacklevel=2)
        self.written = time.monotonic()
