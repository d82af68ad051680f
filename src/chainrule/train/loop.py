"""The loop around the program: how much to do in a call, what to write down, when to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from chainrule.backends.loop import LoopProgram
from chainrule.train.feeds.feed import Feed, Load
from chainrule.train.history import History
from chainrule.train.metrics import Metric, spread
from chainrule.train.program import Batches, Span, Training
from chainrule.train.progress import Progress

RETURN_EVERY = 0.2
"""Seconds between two returns of the program to Python, about."""
AT_LEAST, AT_MOST = 8, 1.0
"""Where that would be fewer steps than these, it may be so many seconds: a call with a large state has its own cost."""


Summary = tuple[list[float], dict[str, list[float]]]
"""Losses and metrics, an epoch each."""


def steps_a_call(seconds: float) -> float:
    """How many steps to ask for at once, where one takes so many seconds."""
    return max(RETURN_EVERY / seconds, min(AT_LEAST, AT_MOST / seconds))


class Interruptible(Protocol):
    """Work that Ctrl-C may end before its time."""

    interrupted: bool


class NotFinite(Exception):  # becomes the user's NotFiniteError, where the cause is sought
    """The loss or the gradient of a step is not finite; the state is the one before that step."""

    def __init__(self, epoch: int, step: int, rows: Any, loss: float) -> None:
        super().__init__()
        self.epoch, self.step, self.rows, self.loss = epoch, step, rows, loss


@dataclass
class Loop:
    """One `fit`: the program, its data and what it writes down.

    Attributes:
        feed: gives the rows, part by part.
        data: the arrays of the part that was trained on last.
        rate: global step → learning rate.
        at_epoch_end: called after each whole epoch with the loop; returns whether to stop. None lets the program run
            over several epochs a call.
        within_epoch: called after each other call of the program.
        records: (steps, numbers) each, what the steps done in the epoch under way have recorded.
    """

    program: LoopProgram
    backend: ModuleType
    training: Training
    state: list[Any]
    feed: Feed
    metrics: Sequence[Metric]
    rate: Callable[[int], float]
    history: History
    progress: Progress
    at_epoch_end: Callable[[Loop], bool] | None
    within_epoch: Callable[[Loop], None]
    steps_a_call: float
    records: list[Any]
    summed: bool = False
    interrupted: bool = field(default=False, init=False)
    data: Sequence[Any] = field(default=(), init=False)
    _spreads: dict[tuple[int, ...], float] = field(default_factory=dict, init=False)

    @property
    def done(self) -> int:
        """The steps done in the epoch under way."""
        return sum(map(len, self.records))

    def run(self, first: int, last: int) -> None:
        """Train the epochs [first, last)."""
        steps = self.feed.steps
        epoch, step = first, self.done
        with interruptible(self):
            while epoch < last and not self.interrupted:
                load = self.feed.load(epoch, step)
                span = self._span(epoch, last, step, load)
                epoch += self._call(epoch, last, span, load)
                step = (span.stop + load.shift) % steps
                self.progress.update(self.history.epochs + step / steps, self.history)
                if step:
                    self.within_epoch(self)
                elif self.at_epoch_end is not None and self.at_epoch_end(self):
                    break
        self.history.note(self.program.unchecked)

    def _span(self, epoch: int, last: int, step: int, load: Load) -> Span:
        """What to do in the next call: whole epochs where they are short, else a part of one."""
        steps, budget = self.feed.steps, max(1, int(self.steps_a_call))
        if step or min(budget, load.stop) < steps:
            return Span(0, 1, step - load.shift, min(load.stop, step + budget) - load.shift)
        several = min(budget // steps, self.training.epochs, last - epoch)
        return Span(0, 1 if self.at_epoch_end is not None else several, 0, steps)

    def _call(self, epoch: int, last: int, span: Span, load: Load) -> int:
        """Run the program once; gives the number of epochs that are whole now."""
        orders = np.zeros((self.training.epochs, self.training.train.rows), np.int32)
        # A step that takes all rows takes no order.
        for i in range(span.last if self.feed.steps > 1 else 0):
            orders[i] = load.order(epoch + i)
        before = time.perf_counter()
        self.data = load.data
        # The program uses the state up: should it be broken off, there is none.
        leaves = len(self.state)
        state, self.state = self.state, []
        outcome = self.program(state, [*self.data, orders, *map(np.int32, span)])
        self.state, seen = outcome.outputs[:leaves], outcome.outputs[leaves:]
        if outcome.check is not None:
            self.history.checked(outcome.check)
        if load.stop - load.first == self.feed.steps > 1:
            # A compiled program may still be running; the next call's orders are drawn meanwhile.
            for later in range(epoch + span.last, min(epoch + 2 * span.last, last)):
                load.order(later)
        train = np.asarray(seen[0], np.float64)
        seconds = time.perf_counter() - before
        self._pace(seconds, span.last * (span.stop - span.start))
        evaluated = [np.asarray(records, np.float64) for records in seen[1:]]
        return self._note(epoch, span, load.shift, orders, train[: span.last, span.start : span.stop], evaluated)

    def _pace(self, seconds: float, steps: int) -> None:
        """Aim the next call at `RETURN_EVERY`, at most eightfold the last, since a short one tells little."""
        self.steps_a_call = min(steps_a_call(max(seconds, 1e-9) / steps), 8 * max(self.steps_a_call, steps))

    def _note(self, epoch: int, span: Span, shift: int, orders: Any, train: Any, evaluated: Sequence[Any]) -> int:
        """Write down the records (epochs, steps, numbers) of a call; gives the number of epochs that are whole now."""
        finite = np.isfinite(train).all(axis=2)
        fine = span.last if finite.all() else int(finite.all(axis=1).argmin())
        whole = self._whole(train[:fine], span)
        if whole is not None:
            self._write(epoch, whole, [records[: len(whole)] for records in evaluated])
        self.history.record(train[:fine, :, 0].ravel())
        if fine < span.last:
            bad, batch = int(finite[fine].argmin()), self.training.train.batch
            self.history.record(train[fine, :bad, 0])
            self.records.append(train[fine, :bad].copy())
            step = span.start + bad
            rows = orders[fine, step * batch : (step + 1) * batch]
            raise NotFinite(epoch + fine, step + shift, rows, float(train[fine, bad, 0]))
        return 0 if whole is None else len(whole)

    def _whole(self, records: Any, span: Span) -> Any:
        """The records of the epochs that are whole now, or None; those of a part are held till the rest is there."""
        if span.stop - span.start == self.feed.steps:
            return records
        self.records += [part.copy() for part in records]
        if not len(records) or span.stop < self.training.train.steps:
            return None
        whole, self.records = np.concatenate(self.records)[None], []
        return whole

    def _write(self, epoch: int, records: Any, evaluated: Sequence[Any]) -> None:
        losses, metrics = self._summarized(
            self.training.train.batch, self.feed.rows, records[..., :-1], self.feed.spread
        )
        val_losses: list[float] = []
        for phase, of_phase in zip(self.training.evaluate, evaluated, strict=True):
            val_losses, more = self._summarized(phase.batch, phase.rows, of_phase, self._spread(phase))
            metrics |= {f"val_{name}": values for name, values in more.items()}
        steps = self.feed.steps
        rates = [self.rate((epoch + i + 1) * steps - 1) for i in range(len(losses))]
        self.history.add(losses, metrics, rates, val_losses)

    def _summarized(self, batch: int, rows: int, records: Any, spread: float) -> Summary:
        return summarized(records, batch, rows, self.metrics, self.summed, spread)

    def _spread(self, phase: Batches) -> float:
        if phase.data not in self._spreads:
            self._spreads[phase.data] = spread(self.data[phase.data[1]])
        return self._spreads[phase.data]


def summarized(records: Any, batch: int, rows: int, metrics: Sequence[Metric], summed: bool, spread: float) -> Summary:
    """The losses and metrics over all rows, an epoch each, from the records (epochs, steps, numbers) of the batches.

    A mean loss of the batches is weighted by their rows; one that is a sum is summed.
    """
    sizes = np.minimum(batch, rows - batch * np.arange(records.shape[1]))
    losses = records[..., 0].sum(axis=1) if summed else records[..., 0] @ sizes / rows
    sums = records[..., 1:].sum(axis=1).T.tolist()
    found = {
        metric.name: [float(metric.finish(s, rows, spread)) for s in of_metric]
        for metric, of_metric in zip(metrics, sums, strict=True)
    }
    return losses.tolist(), found


@contextmanager
def interruptible(work: Interruptible) -> Iterator[None]:
    """Let Ctrl-C end the work after the call that is running; a second one interrupts at once.

    A program that has its own idea of Ctrl-C keeps it.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield
        return

    def stop(number: int, frame: Any) -> None:
        work.interrupted = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
