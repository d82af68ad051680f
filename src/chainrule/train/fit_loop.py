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

from chainrule import tree
from chainrule.backends.loop_program import LoopProgram
from chainrule.train.callbacks import Callbacks
from chainrule.train.history import History
from chainrule.train.loaders.data_loader import Chunk, DataLoader
from chainrule.train.program import Record, Span, Training, batch_sizes, summary

RETURN_EVERY = 0.2
"""Seconds between two returns of the program to Python, about."""
AT_LEAST, AT_MOST = 8, 1.0
"""Where that would be fewer steps than these, it may be so many seconds: a call with a large state has its own cost."""


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
        gives: what the program gives besides the new state.
        structure: of the state of the training and of what watches it.
        loader: gives the rows, part by part.
        data: the arrays of the part that was trained on last.
        rate: (step, factor of a schedule that observes) → learning rate.
        callbacks: say how often the program returns.
        after_call: (this loop, whether at an epoch's end) → whether to stop; called after each call of the program.
        records: what the steps done in the epoch under way have recorded, a call's each, laid end to end.
    """

    program: LoopProgram
    backend: ModuleType
    training: Training
    gives: tree.Structure
    structure: tree.Structure
    state: list[Any]
    loader: DataLoader
    rate: Callable[[int, float], float]
    history: History
    callbacks: Callbacks
    after_call: Callable[[Loop, bool], bool]
    steps_a_call: float
    records: list[Record]
    interrupted: bool = field(default=False, init=False)
    data: Sequence[Any] = field(default=(), init=False)

    @property
    def done(self) -> int:
        """The steps done in the epoch under way."""
        return sum(len(record["loss"]) for record in self.records)

    def current(self, read: Callable[[Sequence[Any]], list[Any]]) -> tuple[dict[str, Any], Any]:
        """The state of the training, and that of the monitor (None where nothing is watched), as arrays to be had."""
        state, watch = tree.unflatten(self.structure, list(read(self.state)))
        return state, watch

    @property
    def watch(self) -> dict[str, Any] | None:
        """The state of the monitor; None where nothing is watched."""
        return None if self.training.monitor is None else tree.unflatten(self.structure, self.state)[1]

    def run(self, first: int, last: int) -> None:
        """Train the epochs [first, last)."""
        steps = self.loader.steps
        epoch, step = first, self.done
        with interruptible(self):
            self.callbacks.progress()
            while epoch < last and not self.interrupted and not self._out_of_patience():
                chunk = self.loader.chunk(epoch, step)
                span = self._span(epoch, last, step, chunk)
                epoch += self._call(epoch, last, span, chunk)
                step = (span.stop + chunk.shift) % steps
                if self.after_call(self, not step):
                    break
        self.history.note(self.program.unchecked)

    def _out_of_patience(self) -> bool:
        """Whether early stopping has ended the training, now or before it was broken off."""
        watch = self.watch
        out = watch is not None and int(watch["waited"]) >= int(watch["patience"])
        if out:
            self.history.stopped = "early stopping"
            monitor = self.training.monitor
            if watch is not None and not np.isfinite(watch["best"]) and monitor is not None and monitor.judged:
                name = monitor.judged.name
                self.history.note(f"early stopping: {name} was NaN or infinite in every epoch, so none is the best")
        return out

    def _span(self, epoch: int, last: int, step: int, chunk: Chunk) -> Span:
        """What to do in the next call: whole epochs where they are short, else a part of one."""
        steps, budget = self.loader.steps, max(1, int(self.steps_a_call))
        cadence = self.callbacks.cadence
        if cadence is not None:
            budget = min(budget, cadence - (epoch * steps + step) % cadence)
        if step or min(budget, chunk.stop) < steps:
            return Span(0, 1, step - chunk.shift, min(chunk.stop, step + budget) - chunk.shift)
        several = min(budget // steps, self.training.epochs, last - epoch)
        return Span(0, 1 if self.callbacks.each_epoch else several, 0, steps)

    def _call(self, epoch: int, last: int, span: Span, chunk: Chunk) -> int:
        """Run the program once; gives the number of epochs that are whole now."""
        orders = np.zeros((self.training.epochs, self.training.train.rows), np.int32)
        # A step that takes all rows takes no order.
        for i in range(span.last if self.loader.steps > 1 else 0):
            orders[i] = chunk.order(epoch + i)
        before = time.perf_counter()
        self.data = chunk.data
        # The program uses the state up: should it be broken off, there is none.
        leaves = len(self.state)
        state, self.state = self.state, []
        outcome = self.program(state, [*self.data, orders, *map(np.int32, span)])
        self.state = outcome.outputs[:leaves]
        reached, values, records = tree.unflatten(self.gives, outcome.outputs[leaves:])
        if outcome.check is not None:
            self.history.checked(outcome.check)
        if chunk.stop - chunk.first == self.loader.steps > 1:
            # A compiled program may still be running; the next call's orders are drawn meanwhile.
            for later in range(epoch + span.last, min(epoch + 2 * span.last, last)):
                chunk.order(later)
        ran = int(np.isfinite(np.asarray(reached)).sum())
        seconds = time.perf_counter() - before
        self._pace(seconds, max(ran, 1) * (span.stop - span.start))
        records = tree.map(np.asarray, records)
        values = {name: np.asarray(value)[:ran] for name, value in values.items()}
        return self._note(epoch, span, chunk.shift, orders, ran, values, records)

    def _pace(self, seconds: float, steps: int) -> None:
        """Aim the next call at `RETURN_EVERY`, at most eightfold the last, since a short one tells little."""
        self.steps_a_call = min(steps_a_call(max(seconds, 1e-9) / steps), 8 * max(self.steps_a_call, steps))

    def _note(
        self, epoch: int, span: Span, shift: int, orders: Any, ran: int, values: dict[str, Any], records: list[Record]
    ) -> int:
        """Write down what a call has given for the epochs it began; gives the number of epochs that are whole now."""
        losses, probes = (_of_steps(records, name)[:ran, span.start : span.stop] for name in ("loss", "finite_probe"))
        finite = np.isfinite(losses) & np.isfinite(probes)
        fine = ran if finite.all() else int(finite.all(axis=1).argmin())
        whole = self._whole(values, records, span, fine)
        if whole is not None:
            self._write(epoch, whole)
        self.history.record(losses[:fine].ravel())
        if fine < ran:
            bad, batch = int(finite[fine].argmin()), self.training.train.batch
            self.history.record(losses[fine, :bad])
            self.records.append(_of_span(records, fine, span.start, span.start + bad))
            step = span.start + bad
            rows = orders[fine, step * batch : (step + 1) * batch]
            raise NotFinite(epoch + fine, step + shift, rows, float(losses[fine, bad]))
        return 0 if whole is None else len(whole["loss"])

    def _whole(self, values: dict[str, Any], records: list[Record], span: Span, fine: int) -> dict[str, Any] | None:
        """The values of the epochs that are whole now, or None; what a part records is held till the rest is there."""
        if span.stop - span.start == self.loader.steps:
            return {name: value[:fine] for name, value in values.items()}
        self.records += [_of_span(records, i, span.start, span.stop) for i in range(fine)]
        if not fine or span.stop < self.training.train.steps:
            return None
        record, self.records = joined(self.records), []
        training = self.training
        sizes = batch_sizes(self.loader.rows, training.train.batch, len(record["loss"]))
        found = summary(record, sizes, training.metrics, training.summed)
        return values | {name: np.reshape(value.numpy(), 1) for name, value in found.items()}

    def _write(self, epoch: int, values: dict[str, Any]) -> None:
        columns = {name: value.tolist() for name, value in values.items()}
        losses, steps = columns.pop("loss"), self.loader.steps
        factors = columns.pop("factor", [1.0] * len(losses))
        rates = [self.rate((epoch + i + 1) * steps - 1, factor) for i, factor in enumerate(factors)]
        self.history.add(losses, columns, rates, columns.pop("val_loss", []))


def _of_steps(records: Sequence[Record], name: str) -> Any:
    """(epochs, steps) a number that each step records, from the records of the loops."""
    return np.concatenate([record[name].reshape(len(record[name]), -1) for record in records], axis=1)


def _of_span(records: Sequence[Record], epoch: int, start: int, stop: int) -> Record:
    """What the steps [start, stop) of an epoch have recorded, laid end to end."""
    parts, first = [], 0
    for record in records:
        steps = record["loss"].shape[1]
        inside = slice(max(start - first, 0), max(stop - first, 0))
        parts.append(tree.map(lambda x, cut=inside: x[epoch, cut].reshape(-1, *x.shape[3:]), record))
        first += steps
    return joined(parts)


def joined(records: Sequence[Record]) -> Record:
    """Records laid end to end, one behind the other."""
    columns = zip(*(tree.flatten(record)[0] for record in records), strict=True)
    return tree.unflatten(tree.flatten(records[0])[1], [np.concatenate(column) for column in columns])


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
