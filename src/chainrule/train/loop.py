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

from chainrule.backends.loop import LoopProgram, Phase, Schedule, Span
from chainrule.train.feeds.feed import Feed, Load
from chainrule.train.history import History
from chainrule.train.metrics import Metric, spread
from chainrule.train.progress import Progress

RETURN_EVERY = 0.2
"""Seconds between two returns of the program to Python, about."""


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
    """

    program: LoopProgram
    backend: ModuleType
    schedule: Schedule
    state: list[Any]
    feed: Feed
    metrics: Sequence[Metric]
    rate: Callable[[int], float]
    history: History
    progress: Progress
    at_epoch_end: Callable[[Loop], bool] | None
    steps_a_call: float
    summed: bool = False
    interrupted: bool = field(default=False, init=False)
    data: Sequence[Any] = field(default=(), init=False)
    _partial: Any = field(default=None, init=False)
    _spreads: dict[tuple[int, ...], float] = field(default_factory=dict, init=False)

    def run(self, first: int, last: int) -> None:
        """Train the epochs [first, last)."""
        steps = self.feed.steps
        epoch, step = first, 0
        with interruptible(self):
            while epoch < last and not self.interrupted:
                load = self.feed.load(epoch, step)
                span = self._span(epoch, last, step, load)
                epoch += self._call(epoch, span, load)
                step = (span.stop + load.shift) % steps
                self.progress.update(self.history.epochs + step / steps, self.history)
                if step == 0 and self.at_epoch_end is not None and self.at_epoch_end(self):
                    break

    def _span(self, epoch: int, last: int, step: int, load: Load) -> Span:
        """What to do in the next call: whole epochs where they are short, else a part of one."""
        steps, budget = self.feed.steps, max(1, int(self.steps_a_call))
        if step or min(budget, load.stop) < steps:
            return Span(0, 1, step - load.shift, min(load.stop, step + budget) - load.shift)
        several = min(budget // steps, self.schedule.epochs, last - epoch)
        return Span(0, 1 if self.at_epoch_end is not None else several, 0, steps)

    def _call(self, epoch: int, span: Span, load: Load) -> int:
        """Run the program once; gives the number of epochs that are whole now."""
        orders = np.zeros((self.schedule.epochs, self.schedule.train.rows), np.int32)
        for i in range(span.last):
            orders[i] = load.order(epoch + i)
        before = time.perf_counter()
        self.data = load.data
        # The program uses the state up: should it be broken off, there is none.
        state, self.state = self.state, []
        outcome = self.program(state, self.data, orders, span)
        self.state = outcome.state
        train = np.asarray(outcome.train, np.float64)
        seconds = time.perf_counter() - before
        if outcome.made is not None:
            self.history.compiled(outcome.made)
            seconds -= outcome.made.seconds
        self._pace(seconds, (span.last - span.first) * (span.stop - span.start))
        whole = 0
        for i in range(span.first, span.last):
            self._check(epoch + i, train[i], orders[i], span, load.shift)
            self._keep(train[i], span, load.shift)
            if span.stop == self.schedule.train.steps:
                self._write(epoch + i, [np.asarray(e[i], np.float64) for e in outcome.evaluate])
                whole += 1
        return whole

    def _pace(self, seconds: float, steps: int) -> None:
        """Aim the next call at `RETURN_EVERY`, at most eightfold the last, since a short one tells little."""
        self.steps_a_call = min(RETURN_EVERY / max(seconds, 1e-9) * steps, 8 * max(self.steps_a_call, steps))

    def _check(self, epoch: int, records: Any, order: Any, span: Span, shift: int) -> None:
        losses = records[span.start : span.stop, 0]
        bad = np.flatnonzero(~np.isfinite(records[span.start : span.stop]).all(axis=1))
        if len(bad):
            step, batch = span.start + int(bad[0]), self.schedule.train.batch
            self.history.step_loss += losses[: bad[0]].tolist()
            raise NotFinite(epoch, step + shift, order[step * batch : (step + 1) * batch], float(losses[bad[0]]))
        self.history.step_loss += losses.tolist()

    def _keep(self, records: Any, span: Span, shift: int) -> None:
        """Hold the records of a part of an epoch until the rest is there."""
        if self._partial is None:
            self._partial = np.empty((self.feed.steps, records.shape[1]))
        self._partial[span.start + shift : span.stop + shift] = records[span.start : span.stop]

    def _write(self, epoch: int, evaluations: Sequence[Any]) -> None:
        assert self._partial is not None, "an epoch without records"
        records, self._partial = self._partial[:, :-1], None
        loss, metrics = self._summarized(self.schedule.train.batch, self.feed.rows, records, self.feed.spread)
        val_loss = None
        for phase, evaluation in zip(self.schedule.evaluate, evaluations, strict=True):
            val_loss, found = self._summarized(phase.batch, phase.rows, evaluation, self._spread(phase))
            metrics |= {f"val_{name}": value for name, value in found.items()}
        self.history.add(loss, metrics, self.rate((epoch + 1) * self.feed.steps - 1), val_loss)

    def _summarized(self, batch: int, rows: int, records: Any, spread: float) -> tuple[float, dict[str, float]]:
        return summarized(records, batch, rows, self.metrics, self.summed, spread)

    def _spread(self, phase: Phase) -> float:
        if phase.data not in self._spreads:
            self._spreads[phase.data] = spread(self.data[phase.data[1]])
        return self._spreads[phase.data]


def summarized(
    records: Any, batch: int, rows: int, metrics: Sequence[Metric], summed: bool, spread: float
) -> tuple[float, dict[str, float]]:
    """The loss and the metrics over all rows from the records of the batches.

    A mean loss of the batches is weighted by their rows; one that is a sum is summed.
    """
    sizes = np.minimum(batch, rows - batch * np.arange(len(records)))
    loss = float(records[:, 0].sum() if summed else records[:, 0] @ sizes / rows)
    sums = records[:, 1:].sum(axis=0)
    return loss, {metric.name: float(metric.finish(s, rows, spread)) for metric, s in zip(metrics, sums, strict=True)}


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
