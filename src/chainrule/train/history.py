"""What a training has seen, an epoch and a step at a time."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.backends.loop_program import CheckReport, CompileReport

MOST = 2**20
"""Losses of steps that are kept: 8 MB."""


@dataclass
class History:
    """The record of a training.

    Attributes:
        loss: the mean training loss of each epoch, measured on each batch before its update.
        val_loss: the validation loss after each epoch; empty without validation data.
        metrics: by name ("accuracy", "val_accuracy", …), one value per epoch.
        lr: the learning rate at the end of each epoch.
        step_loss: the loss of every step, 8 bytes each. Of more than 1,048,576 steps it is every second one, every
            fourth one and so on, so that there are never more: `loss_steps` says of which.
        step_loss_every: how many steps lie between two of these.
        steps: how many steps there were.
        seconds: how long the training took, tracing and compiling included.
        trace_seconds: how long it took to make the graphs of the step and the evaluation; 0 where they stood already.
        compile_seconds: how long it took to make a program of them, importing the compiler included.
        from_cache: whether the compiled program was kept from an earlier process; None where nothing was compiled.
        verify_seconds: how long it took to compare a new program with the interpreter; 0 where that was not done.
        memory: the peak in bytes that was stated before the training started, the `peak` of `Trainer.estimate`.
        stopped: why it ended: "finished", "early stopping", "callback" or "interrupted".
        best_epoch: the epoch (from 1) whose parameters were kept, where early stopping chose one.
        backend: "numpy" or "xla".
        notes: what the user should know, one line each.
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    lr: list[float] = field(default_factory=list)
    step_loss: array[float] = field(default_factory=lambda: array("d"))
    step_loss_every: int = 1
    steps: int = 0
    seconds: float = 0.0
    trace_seconds: float = 0.0
    compile_seconds: float = 0.0
    from_cache: bool | None = None
    verify_seconds: float = 0.0
    memory: int = 0
    stopped: str = "finished"
    best_epoch: int | None = None
    backend: str = ""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.step_loss = array("d", self.step_loss)

    @property
    def loss_steps(self) -> range:
        """The steps that the losses in `step_loss` are of, counted from 1.

        Example:
            >>> history = History()
            >>> history.record([0.5, 0.25])
            >>> list(zip(history.loss_steps, history.step_loss))
            [(1, 0.5), (2, 0.25)]
        """
        return range(1, 1 + self.step_loss_every * len(self.step_loss), self.step_loss_every)

    def record(self, losses: Sequence[float] | np.ndarray[Any, Any]) -> None:
        """Write down the losses of the steps that follow."""
        due = -self.steps % self.step_loss_every
        self.step_loss.extend(array("d", losses[due :: self.step_loss_every]))
        self.steps += len(losses)
        while len(self.step_loss) > MOST:
            self.step_loss = self.step_loss[::2]
            self.step_loss_every *= 2

    @property
    def epochs(self) -> int:
        """The number of whole epochs."""
        return len(self.loss)

    @property
    def watched(self) -> list[float]:
        """The loss that a schedule observes, an epoch each: that of the validation, or else of the training."""
        return self.val_loss or self.loss

    def values(self) -> dict[str, list[float]]:
        """The loss, the validation loss and the metrics by name, a value an epoch."""
        return {"loss": self.loss, "val_loss": self.val_loss, **self.metrics}

    def rows(self) -> list[dict[str, Any]]:
        """One dict per epoch: what a line of `history.jsonl` holds."""
        rows = []
        for i in range(self.epochs):
            row = {"epoch": i + 1, "loss": self.loss[i], "lr": self.lr[i]}
            if self.val_loss:
                row["val_loss"] = self.val_loss[i]
            rows.append(row | {name: values[i] for name, values in self.metrics.items()})
        return rows

    def note(self, text: str | None) -> None:
        """Write down what the user should know, if anything, once."""
        if text is not None and text not in self.notes:
            self.notes.append(text)

    def compiled(self, made: CompileReport) -> None:
        """Write down that a program was made."""
        self.compile_seconds += made.seconds
        self.from_cache = made.cached
        self.note(made.note)

    def checked(self, check: CheckReport) -> None:
        """Write down that a program was compared with the interpreter."""
        self.verify_seconds += check.seconds
        self.note(check.note)

    def add(
        self, losses: list[float], metrics: dict[str, list[float]], rates: list[float], val_losses: list[float]
    ) -> None:
        """Write down whole epochs; `val_losses` is empty where nothing is held out."""
        self.loss += losses
        self.val_loss += val_losses
        self.lr += rates
        for name, values in metrics.items():
            self.metrics.setdefault(name, []).extend(values)
