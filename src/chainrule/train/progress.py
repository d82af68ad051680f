"""The progress bar: epochs, loss, metric, time left; on standard error, by rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from chainrule.train.history import History


class Progress(Protocol):
    """What the loop tells while it runs."""

    def update(self, epochs_done: float, history: History) -> None:
        """So many epochs are done (a fraction counts)."""

    def close(self) -> None:
        """The training is over."""


class Silent:
    """Says nothing."""

    def update(self, epochs_done: float, history: History) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Bar:
    """A rich progress bar on standard error, below what is to be said first."""

    def __init__(self, epochs: int, notes: Sequence[str] = ()) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

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
        self._bar = RichProgress(*columns, console=console, refresh_per_second=8, transient=False)
        self._task = self._bar.add_task("", total=epochs, epoch=0, numbers="compiling")
        self._bar.start()

    def update(self, epochs_done: float, history: History) -> None:
        """Move the bar and show the newest numbers."""
        self._bar.update(self._task, completed=epochs_done, epoch=int(epochs_done), numbers=_numbers(history))

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()


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
