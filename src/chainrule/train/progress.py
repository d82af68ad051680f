"""How far a training is, on standard error: a line that moves in a terminal, and a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chainrule.train.callbacks import Callback

if TYPE_CHECKING:
    from chainrule.train.history import History
    from chainrule.train.trainer import Trainer

BAR = 16
"""Columns that the bar takes."""
LOG_WIDTH = 80
"""Columns of a line in a log."""
LOG_EVERY = 10.0
"""Seconds between two lines in a log, at least; later a tenth of the time that has passed."""


class ProgressBar(Callback):
    """Epochs, loss, metric and the time left, below what is to be said first.

    Args:
        epochs: in all.
        steps: of an epoch.
    """

    def __init__(self, epochs: int, steps: int) -> None:
        self._epochs, self._steps = epochs, steps
        self._line: Line | None = None

    def on_progress(self, trainer: Trainer) -> None:
        """Show the newest numbers."""
        history = trainer.history
        if self._line is None:
            for note in history.notes:
                _say(note)
            self._line = Line("epoch", self._epochs, history.steps / self._steps)
        self._line.show(history.steps / self._steps, _numbers(history))

    def on_train_end(self, trainer: Trainer) -> None:
        """Leave the line as it stands."""
        if self._line is not None:
            self._line.close()


class Line:
    """A line that says how much of something is done, in as many columns as there are.

    Args:
        what: is counted.
        total: of it.
        done: of it, before this began.

    Attributes:
        done: of it, by now.
    """

    def __init__(self, what: str, total: int, done: float = 0.0) -> None:
        from rich.console import Console

        self._what, self._total, self._first, self.done = what, total, done, done
        self._numbers: Sequence[str] = ()
        self._began = self._logged = time.monotonic()
        console = Console(stderr=True)
        moves = console.is_jupyter or (console.is_terminal and not console.is_dumb_terminal)
        self._bar: Any = _bar(console, total) if moves else None

    def show(self, done: float, numbers: Sequence[str] = ()) -> None:
        """So much is done, and this is to be said of it, the most important first."""
        self.done, self._numbers = done, numbers
        now = time.monotonic()
        if self._bar is not None:
            self._draw(self._left(now))
        elif now - self._logged > max(LOG_EVERY, 0.1 * (now - self._began)):
            self._log(self._left(now))
            self._logged = now

    def close(self) -> None:
        """Leave the line as it stands, with the time that it took."""
        took = f"in {_clock(time.monotonic() - self._began)}"
        if self._bar is not None:
            self._draw(took)
            self._bar.stop()
        else:
            self._log(took)

    @property
    def _head(self) -> str:
        return f"{self._what} {int(self.done)}/{self._total}"

    def _left(self, now: float) -> str:
        done = self.done - self._first
        seconds = (now - self._began) * (self._total - self.done) / done if done > 0 else None
        return "starting" if seconds is None else f"{_clock(seconds)} left"

    def _draw(self, end: str) -> None:
        head = self._head
        rest = fitted([*self._numbers], end, self._bar.console.width - len(head) - BAR - 2)
        self._bar.update(self._bar.task_ids[0], completed=self.done, description=head, rest=rest)
        self._bar.start()

    def _log(self, end: str) -> None:
        head = self._head
        _say(f"{head}  {fitted(self._numbers, end, LOG_WIDTH - len(head) - 2)}")


def fitted(parts: Sequence[str], end: str, width: int) -> str:
    """As many of the parts, from the first one on, as stand in one line with the end.

    Example:
        >>> fitted(["loss 0.1", "val_loss 0.2"], "0:07 left", 24)
        'loss 0.1  0:07 left'
    """
    kept = [*parts, end]
    while len(kept) > 1 and len("  ".join(kept)) > width:
        del kept[-2]
    return "  ".join(kept)


def _bar(console: Any, total: int) -> Any:
    from rich.progress import BarColumn, Progress, TextColumn

    columns: list[Any] = [
        TextColumn("{task.description}", markup=False), BarColumn(BAR), TextColumn("{task.fields[rest]}", markup=False)
    ]  # fmt: skip
    bar = Progress(*columns, console=console, refresh_per_second=8)
    bar.add_task("", total=total, rest="")
    return bar


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are some."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _numbers(history: History) -> list[str]:
    parts = [f"loss {history.loss[-1]:.4g}"] if history.loss else []
    if not parts and history.step_loss:
        parts = [f"loss {history.step_loss[-1]:.4g}"]
    parts += [f"val_loss {history.val_loss[-1]:.4g}"] if history.val_loss else []
    names = [name for name in history.metrics if not history.val_loss or name.startswith("val_")]
    return parts + [f"{name} {history.metrics[name][-1]:.4g}" for name in names[:1]]
