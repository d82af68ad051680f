"""What a training has seen, an epoch and a step at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chainrule.backends.loop import Check, Made


@dataclass
class History:
    """The record of a training.

    Attributes:
        loss: the mean training loss of each epoch, measured on each batch before its update.
        val_loss: the validation loss after each epoch; empty without validation data.
        metrics: by name ("accuracy", "val_accuracy", …), one value an epoch.
        lr: the learning rate at the end of each epoch.
        step_loss: the loss of every step.
        seconds: how long the training took, tracing and compiling included.
        trace_seconds: how long it took to make the graphs of the step and the evaluation; 0 where they stood already.
        compile_seconds: how long it took to make a program of them, importing the compiler included.
        from_cache: whether the compiled program was kept from an earlier process; None where nothing was compiled.
        verify_seconds: how long it took to compare a new program with the interpreter; 0 where that was not done.
        memory: the peak in bytes that was stated before the training started, the `peak` of `Trainer.estimate`.
        stopped: why it ended: "finished", "early stopping" or "interrupted".
        best_epoch: the epoch (from 1) whose parameters were kept, where early stopping chose one.
        backend: "numpy" or "xla".
        notes: what the user should know, one line each.
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    lr: list[float] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)
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

    @property
    def epochs(self) -> int:
        """The number of whole epochs."""
        return len(self.loss)

    def rows(self) -> list[dict[str, Any]]:
        """One dict an epoch: what a line of `history.jsonl` holds."""
        rows = []
        for i in range(self.epochs):
            row = {"epoch": i + 1, "loss": self.loss[i], "lr": self.lr[i]}
            if self.val_loss:
                row["val_loss"] = self.val_loss[i]
            rows.append(row | {name: values[i] for name, values in self.metrics.items()})
        return rows

    def compiled(self, made: Made) -> None:
        """Write down that a program was made."""
        self.compile_seconds += made.seconds
        self.from_cache = made.cached
        self.note(made.note)

    def checked(self, check: Check) -> None:
        """Write down that a program was compared with the interpreter."""
        self.verify_seconds += check.seconds
        self.note(check.note)

    def note(self, note: str | None) -> None:
        """Write down what the user should know, once."""
        if note is not None and note not in self.notes:
            self.notes.append(note)

    def add(
        self, losses: list[float], metrics: dict[str, list[float]], rates: list[float], val_losses: list[float]
    ) -> None:
        """Write down whole epochs; `val_losses` is empty where nothing is held out."""
        self.loss += losses
        self.val_loss += val_losses
        self.lr += rates
        for name, values in metrics.items():
            self.metrics.setdefault(name, []).extend(values)
