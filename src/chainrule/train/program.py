"""A training as a graph: a step in a loop over batches, that in a loop over epochs; for a sweep, in one over members.

`Batches` is what one pass over rows is made of. `Training` is epochs of a pass that trains, each followed by passes
that evaluate; `Members` is whole trainings, one after another, each with its own rows, early stopping and result. Both
become one graph that either backend runs, prints and draws.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule.backends.estimate import seconds
from chainrule.backends.loop import Looping, Reading
from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, inlined
from chainrule.graph.loop import loop
from chainrule.graph.tensor import Tensor, constant, placeholder
from chainrule.graph.trace import trace
from chainrule.passes.guard import finite

LOOKS = 3
"""Interpreted steps that a check takes, about: one, and where roundings matter one or two with these redrawn."""
INDEX = np.dtype(np.int32)


@dataclass(frozen=True)
class Batches:
    """A pass over a set of rows in batches.

    Attributes:
        step: takes (state…, data…, rows) and gives (state…, record), a vector whose first number is the loss.
        last: the same for the last, smaller batch; None where the batches come out even.
        batch: rows a step.
        rows: rows in all.
        data: which of the program's data arrays this pass reads.
        states: how many leading inputs and outputs of `step` are state; 0 outputs where the pass only reads it.
    """

    step: Graph | None
    last: Graph | None
    batch: int
    rows: int
    data: tuple[int, ...]
    states: int

    @property
    def full(self) -> int:
        """The number of full batches."""
        return self.rows // self.batch

    @property
    def steps(self) -> int:
        """The number of batches, the last smaller one included."""
        return self.full + (self.last is not None)

    @property
    def graphs(self) -> list[Graph]:
        """The graphs of this pass: of a full batch, of the last one."""
        return [graph for graph in (self.step, self.last) if graph is not None]

    @property
    def graph(self) -> Graph:
        """A graph of this pass, for its types."""
        return self.graphs[0]

    @property
    def record(self) -> int:
        """How many numbers a step records."""
        return self.graph.outputs[-1].shape[0]

    @property
    def trains(self) -> bool:
        """Whether the pass gives a new state."""
        return len(self.graph.outputs) > 1

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The steps that stand for all in a check: the last one, and the first where it is of another size."""
        last = (self.steps - 1, self.steps)
        return [(0, 1), last] if len(self.graphs) > 1 else [last]

    def runs(self, times: int) -> dict[Graph, int]:
        """How often each graph runs where the pass is made so many times."""
        return {graph: n * times for graph, n in ((self.step, self.full), (self.last, 1)) if graph is not None}

    def sizes(self) -> Any:
        """The rows of each step."""
        return np.minimum(self.batch, self.rows - self.batch * np.arange(self.steps))

    def looped(
        self, state: Sequence[Tensor], data: Sequence[Tensor], order: Tensor, start: Tensor, stop: Tensor
    ) -> Pass:
        """The steps [start, stop) over the rows of an order: a loop over full batches, and one over the last.

        A step whose record is not all finite ends it, and leaves the state as it was before.
        """
        taken = [data[i] for i in self.data]
        found = []
        if self.step is not None:
            rows = F.reshape(order[: self.full * self.batch], (self.full, self.batch))
            found.append(self._steps(self.step, state, taken, rows, start, stop))
        if self.last is not None:
            rows = F.reshape(order[self.full * self.batch : self.rows], (1, self.rows - self.full * self.batch))
            first, behind = F.maximum(start - np.int32(self.full), np.int32(0)), stop - np.int32(self.full)
            if found:
                state, behind = found[0].state, F.where(found[0].ok, behind, np.int32(0))
            found.append(self._steps(self.last, state, taken, rows, first, behind))
        records = found[0].records if len(found) == 1 else F.concatenate([one.records for one in found])
        return Pass(found[-1].state, records, functools.reduce(F.logical_and, [one.ok for one in found]))

    def _steps(
        self, graph: Graph, state: Sequence[Tensor], data: Sequence[Tensor], rows: Tensor, start: Tensor, stop: Tensor
    ) -> Pass:
        if not self.trains:
            every = constant(np.bool_(True))

            def read(_: Any, now: Tensor) -> Any:
                return None, inlined(graph, [*state, *data, now])[0], every

            return Pass(list(state), *loop(read, None, rows, None, start, stop)[1:])
        body = finite(graph)

        def train(carry: list[Tensor], now: Tensor) -> Any:
            *new, record, ok = inlined(body, [*carry, *data, now])
            return new, record, ok

        return Pass(*loop(train, list(state), rows, None, start, stop))


class Pass(NamedTuple):
    """What a pass gives: the state after it, the records of its steps, and whether all were finite."""

    state: list[Tensor]
    records: Tensor
    ok: Tensor


class Span(NamedTuple):
    """What one call of a training's program shall do: epochs [first, last), in each the batches [start, stop)."""

    first: int
    last: int
    start: int
    stop: int


@dataclass(frozen=True)
class Training:
    """Training over `epochs` orders of the rows, each whole epoch followed by the evaluations."""

    train: Batches
    evaluate: tuple[Batches, ...]
    epochs: int

    @property
    def passes(self) -> tuple[Batches, ...]:
        """The one that trains, and those that evaluate."""
        return self.train, *self.evaluate

    def graph(self, data: Sequence[Any]) -> Graph:
        """(state…, data…, orders, first, last, start, stop) → (state…, records of training, of each evaluation).

        The records have the axes epochs, steps, numbers; those of steps that were not reached are NaN. It ends with the
        first step whose record is not all finite, in the state before it.

        Args:
            data: the arrays; only shapes and dtypes matter.
        """
        orders = placeholder((self.epochs, self.train.rows), INDEX, "orders")
        bounds = [placeholder((), INDEX, name) for name in Span._fields]
        return trace(self._run, *_inputs(self.train, data), orders, *bounds).simplify().verify()

    def _run(
        self, state: list[Tensor], data: list[Tensor], orders: Tensor,
        first: Tensor, last: Tensor, start: Tensor, stop: Tensor,
    ) -> Any:  # fmt: skip
        def epoch(state: list[Tensor], order: Tensor) -> Any:
            state, records, ok = self.train.looped(state, data, order, start, stop)
            # What would follow an epoch is left out where the span ends in the midst of it.
            whole = F.logical_and(ok, F.equal(stop, np.int32(self.train.steps)))
            seen = [_evaluated(batches, state, data, whole) for batches in self.evaluate]
            return state, (records, seen), ok

        return loop(epoch, state, orders, None, first, last, guarded=False)[:2]

    def looping(self, data: Sequence[Any]) -> Looping:
        """What a backend is asked for."""
        graph, states = self.graph(data), self.train.states
        at = len(graph.inputs) - len(Span._fields)
        trials = [dict(enumerate(map(np.int32, (0, 1, start, stop)), at)) for start, stop in self.train.spans]
        records = frozenset(range(states, len(graph.outputs)))
        reading = Reading(states, records=records, left_out=frozenset([states]))
        return Looping(graph, states, reading, tuple(trials), trial_seconds(self.train, self.evaluate))


@dataclass(frozen=True)
class Members:
    """Trainings of one kind, each with its own state, order of rows and rows to judge by.

    Attributes:
        train: the pass that trains; its rows are those an order names, its data X and y.
        judge: the evaluation after each epoch, over the rows that a member holds out; None where nothing is held out.
        epochs: how many, at most.
        patience: epochs without a lower loss in the judging after which a member stops and keeps its best state.
        summed: whether a loss is a sum over the rows of a batch, not their mean.
        keeps: the leaves of the state that make up a member's result: its parameters and buffers.
    """

    train: Batches
    judge: Batches | None
    epochs: int
    patience: int | None
    summed: bool
    keeps: slice

    def graph(self, places: int, data: Sequence[Any]) -> Graph:
        """(states…, X, y, orders, held, versions, taken, epochs, start, stop) → (kept…, records, judged).

        All but the data and the last four have a leading axis of places for members, of which `taken` are taken; X has
        a leading axis of versions (standardised for each fold). The results are for each member: the leaves `keeps` of
        the best epoch's state with patience, else of the last whole one's; for each epoch the loss over its rows and
        the sums of the other numbers, of training and of judging. NaN from the epoch on in which a step was not
        finite, and where an epoch was not reached.
        """
        states, arrays = _inputs(self.train, data)
        judged = 0 if self.judge is None else self.judge.rows
        each = [
            [placeholder((places, *x.shape), x.dtype, x.name) for x in states],
            placeholder((places, self.epochs, self.train.rows), INDEX, "orders"),
            placeholder((places, judged), INDEX, "held"),
            placeholder((places,), INDEX, "versions"),
        ]
        bounds = [placeholder((), INDEX, name) for name in ("taken", "epochs", "start", "stop")]
        return trace(self._run, each, arrays, *bounds).simplify().verify()

    def _run(
        self, each: list[Any], data: list[Tensor], taken: Tensor, epochs: Tensor, start: Tensor, stop: Tensor
    ) -> Any:
        X, y = data

        def member(_: Any, own: list[Any]) -> Any:
            state, orders, held, version = own
            # A single version of the data is used as it lies, not copied.
            mine = [X[0] if X.shape[0] == 1 else X[version], y]
            return None, self._alone(state, orders, held, mine, (epochs, start, stop)), constant(np.bool_(True))

        return loop(member, None, each, None, 0, taken).records

    def _alone(
        self, state: list[Tensor], orders: Tensor, held: Tensor, data: list[Tensor], bounds: tuple[Tensor, ...]
    ) -> Any:
        epochs, start, stop = bounds

        def epoch(carry: Any, order: Tensor) -> Any:
            state, kept, best, waited = carry
            state, records, ok = self.train.looped(state, data, order, start, stop)
            batch = constant(np.arange(self.train.steps, dtype=INDEX))
            reached = F.logical_and(batch >= start, batch < stop)
            numbers = F.where(F.broadcast_to(F.reshape(reached, (-1, 1)), records.shape), records, 0.0)[:, :-1]
            row = self._summary(self.train, numbers)
            if self.judge is None:
                seen = constant(np.full(row.shape, np.nan))
            else:
                seen = self._summary(self.judge, _evaluated(self.judge, state, data, ok, held))
            row, seen = F.where(ok, row, np.nan), F.where(ok, seen, np.nan)
            better = ok if self.patience is None else F.logical_and(ok, seen[0] < best)
            kept = [F.where(better, new, old) for new, old in zip(state[self.keeps], kept, strict=True)]
            best, waited = F.where(better, seen[0], best), F.where(better, np.int32(0), waited + np.int32(1))
            going_on = ok if self.patience is None else F.logical_and(ok, waited < np.int32(self.patience))
            return (state, kept, best, waited), (row, seen), going_on

        begin = state, state[self.keeps], constant(np.float64(np.inf)), constant(np.int32(0))
        (_, kept, _, _), records, _ = loop(epoch, begin, orders, None, 0, epochs, guarded=False)
        return kept, *records

    def _summary(self, batches: Batches, records: Tensor) -> Tensor:
        """The loss over all rows from the records (steps, numbers) of the batches, and the sums of the other numbers.

        A mean loss of the batches is weighted by their rows; one that is a sum is summed.
        """
        numbers = F.cast(records, np.float64)
        losses = numbers[:, 0]
        sizes = constant(batches.sizes().astype(np.float64))
        loss = F.sum(losses) if self.summed else F.sum(losses * sizes) / np.float64(batches.rows)
        return F.concatenate([F.reshape(loss, (1,)), F.sum(numbers[:, 1:], axis=0)])

    def looping(self, places: int, data: Sequence[Any]) -> Looping:
        """What a backend is asked for."""
        graph = self.graph(places, data)
        kept, at = len(range(*self.keeps.indices(self.train.states))), len(graph.inputs) - 4
        trials = [dict(enumerate(map(np.int32, (1, 1, start, stop)), at)) for start, stop in self.train.spans]
        reading = Reading(kept, self.keeps.start, frozenset([kept, kept + 1]))
        evaluate = [] if self.judge is None else [self.judge]
        return Looping(graph, 0, reading, tuple(trials), trial_seconds(self.train, evaluate))


def _inputs(train: Batches, data: Sequence[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Placeholders for the state of a step and for the data."""
    state = [placeholder(x.shape, x.dtype, x.name) for x in train.graph.inputs[: train.states]]
    return state, [placeholder(x.shape, x.dtype, f"data{i}") for i, x in enumerate(data)]


def _evaluated(
    batches: Batches, state: Sequence[Tensor], data: Sequence[Tensor], ok: Tensor, order: Tensor | None = None
) -> Tensor:
    """The records of a pass that only reads the state, over all rows or those of an order; blank where not ok."""
    rows = constant(np.arange(batches.rows, dtype=INDEX)) if order is None else order
    stop = F.where(ok, np.int32(batches.steps), np.int32(0))
    return batches.looped(state, data, rows, constant(np.int32(0)), stop).records


def trial_seconds(train: Batches, evaluate: Sequence[Batches]) -> float:
    """The seconds that checking a program of these passes is expected to take."""
    step = sum(seconds(graph, "numpy") for graph in train.graphs)
    whole = sum(n * seconds(graph, "numpy") for each in evaluate for graph, n in each.runs(1).items())
    return LOOKS * (step + whole)
