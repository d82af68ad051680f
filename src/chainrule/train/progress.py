"""The progress bar: epochs, loss, metric, time left; on standard error, by rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chainrule.train.callbacks import Callback

if TYPE_CHECKING:
    from chainrule.train.history import History
    from chainrule.train.trainer import Trainer


class ProgressBar(Callback):
    """A rich progress bar on standard error, below what is to be said first.

    Args:
        epochs: in all.
        steps: of an epoch.
    """

    def __init__(self, epochs: int, steps: int) -> None:
        self._epochs, self._steps = epochs, steps
        self._bar: Any = None

    def on_progress(self, trainer: Trainer) -> None:
        """Move the bar and show the newest numbers."""
        history = trainer.history
        if self._bar is None:
            self._start(history.notes)
        done = history.steps / self._steps
        self._bar.update(self._task, completed=done, epoch=int(done), numbers=_numbers(history))

    def on_train_end(self, trainer: Trainer) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()

    def _start(self, notes: Sequence[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns: list[Any] = [
            TextColumn("epoch {task.fields[epoch]}/{task.total:.0f}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        ]
        console = Console(stderr=True)
        for note in notes:
            console.print(note, soft_wrap=True, markup=False, highlight=False)
        self._bar = Progress(*columns, console=console, refresh_per_second=8, transient=False)
        self._task = self._bar.add_task("", total=self._epochs, epoch=0, numbers="starting")
        self._bar.start()


class Count:
    """A rich progress bar on standard error that counts what is done."""

    def __init__(self, total: int, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns: list[Any] = [
            TextColumn(what),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        ]
        self._bar = RichProgress(*columns, console=Console(stderr=True), refresh_per_second=8, transient=False)
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def add(self, count: int) -> None:
        """So many more are done."""
        self._bar.advance(self._task, count)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


def _numbers(history: History) -> str:
    parts = [f"loss {history.loss[-1]:.4g}"] if history.loss else []
    if not parts and history.step_loss:
        parts = [f"loss {history.step_loss[-1]:.4g}"]
    parts += [f"val_loss {history.val_loss[-1]:.4g}"] if history.val_loss else []
    names = [name for name in history.metrics if not history.val_loss or name.startswith("val_")]
    return "  ".join(parts + [f"{name} {history.metrics[name][-1]:.4g}" for name in names[:1]])
