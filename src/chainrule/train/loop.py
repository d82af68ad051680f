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
        order: epoch → the order of the rows.
        rate: global step → learning rate.
        at_epoch_end: called after each whole epoch with the loop; returns whether to stop. None lets the program run
            over several epochs a call.
    """

    program: LoopProgram
    backend: ModuleType
    schedule: Schedule
    state: list[Any]
    data: Sequence[Any]
    order: Callable[[int], Any]
    metrics: Sequence[Metric]
    rate: Callable[[int], float]
    history: History
    progress: Progress
    at_epoch_end: Callable[[Loop], bool] | None
    steps_a_call: float
    summed: bool = False
    interrupted: bool = field(default=False, init=False)
    _partial: Any = field(default=None, init=False)
    _spreads: dict[tuple[int, ...], float] = field(default_factory=dict, init=False)

    def run(self, first: int, last: int) -> None:
        """Train the epochs [first, last)."""
        steps = self.schedule.train.steps
        epoch, batch = first, 0
        with interruptible(self):
            while epoch < last and not self.interrupted:
                span = self._span(epoch, last, batch)
                done = self._call(epoch, span)
                batch = 0 if span.stop == steps else span.stop
                epoch += done
                self.progress.update(self.history.epochs + batch / steps, self.history)
                if batch == 0 and self.at_epoch_end is not None and self.at_epoch_end(self):
                    break

    def _span(self, epoch: int, last: int, batch: int) -> Span:
        """What to do in the next call: whole epochs where they are short, else a part of one."""
        steps, budget = self.schedule.train.steps, max(1, int(self.steps_a_call))
        if batch or budget < steps:
            return Span(0, 1, batch, min(steps, batch + budget))
        several = min(budget // steps, self.schedule.epochs, last - epoch)
        return Span(0, 1 if self.at_epoch_end is not None else several, 0, steps)

    def _call(self, epoch: int, span: Span) -> int:
        """Run the program once; gives the number of epochs that are whole now."""
        orders = np.zeros((self.schedule.epochs, self.schedule.train.rows), np.int32)
        for i in range(span.last):
            orders[i] = self.order(epoch + i)
        before = time.perf_counter()
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
            self._check(epoch + i, train[i], orders[i], span)
            if span.stop == self.schedule.train.steps:
                self._write(epoch + i, train[i], [np.asarray(e[i], np.float64) for e in outcome.evaluate])
                whole += 1
            else:
                self._keep(train[i], span)
        return whole

    def _pace(self, seconds: float, steps: int) -> None:
        """Aim the next call at `RETURN_EVERY`, at most eightfold the last, since a short one tells little."""
        self.steps_a_call = min(RETURN_EVERY / max(seconds, 1e-9) * steps, 8 * max(self.steps_a_call, steps))

    def _check(self, epoch: int, records: Any, order: Any, span: Span) -> None:
        losses = records[span.start : span.stop, 0]
        bad = np.flatnonzero(~np.isfinite(records[span.start : span.stop]).all(axis=1))
        if len(bad):
            step, batch = span.start + int(bad[0]), self.schedule.train.batch
            self.history.step_loss += losses[: bad[0]].tolist()
            raise NotFinite(epoch, step, order[step * batch : (step + 1) * batch], float(losses[bad[0]]))
        self.history.step_loss += losses.tolist()

    def _keep(self, records: Any, span: Span) -> None:
        """Hold the records of a part of an epoch until the rest is there."""
        if self._partial is None:
            self._partial = np.full_like(records, np.nan)
        self._partial[span.start : span.stop] = records[span.start : span.stop]

    def _write(self, epoch: int, records: Any, evaluations: Sequence[Any]) -> None:
        if self._partial is not None:
            records = np.where(np.isnan(self._partial), records, self._partial)
            self._partial = None
        train = self.schedule.train
        loss, metrics = self._summarized(train, records[:, :-1])
        val_loss = None
        for phase, evaluation in zip(self.schedule.evaluate, evaluations, strict=True):
            val_loss, found = self._summarized(phase, evaluation)
            metrics |= {f"val_{name}": value for name, value in found.items()}
        self.history.add(loss, metrics, self.rate((epoch + 1) * train.steps - 1), val_loss)

    def _summarized(self, phase: Phase, records: Any) -> tuple[float, dict[str, float]]:
        if phase.data not in self._spreads:
            self._spreads[phase.data] = spread(self.data[phase.data[1]])
        return summarized(records, phase.batch, phase.rows, self.metrics, self.summed, self._spreads[phase.data])


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
