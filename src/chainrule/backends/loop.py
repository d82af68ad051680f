"""What a backend is asked to loop over: an epoch as data.

A `Phase` is a graph run once a batch over the rows that an order names; a `Schedule` is the training phase, and the
evaluation phases that follow each whole epoch. A backend turns a schedule into one program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from chainrule.graph.graph import Graph
from chainrule.passes.guard import finite, guarded


@dataclass(frozen=True)
class Phase:
    """A graph run over a set of rows in batches.

    Attributes:
        step: takes (state…, data…, rows) and gives (state…, record), a vector whose first number is the loss.
        last: the same for the last, smaller batch; None where the batches come out even.
        batch: rows a step.
        rows: rows in all.
        data: which of the program's data arrays this phase reads.
        states: how many leading inputs and outputs of `step` are state; 0 outputs where the phase only reads it.
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
        """The graphs of this phase: of a full batch, of the last one."""
        return [graph for graph in (self.step, self.last) if graph is not None]

    @property
    def graph(self) -> Graph:
        """A graph of this phase, for its types."""
        return self.graphs[0]

    @property
    def record(self) -> int:
        """How many numbers a step records."""
        return self.graph.outputs[-1].shape[0]

    def summary(self, rows: Any, summed: bool) -> list[Any]:
        """The loss over all rows from the records (steps, numbers) of the batches, and the sums of the other numbers.

        A mean loss of the batches is weighted by their rows; one that is a sum is summed.
        """
        sizes = np.minimum(self.batch, self.rows - self.batch * np.arange(self.steps))
        rows = rows.astype(np.float64)
        loss = rows[:, 0].sum() if summed else (rows[:, 0] * sizes).sum() / self.rows
        return [loss, *(rows[:, i].sum() for i in range(1, rows.shape[1]))]

    def stepping(self, graph: Graph) -> Graph:
        """One of the graphs as a program runs it: a step whose record is not finite leaves the state as it was."""
        if not self.changes_state:
            return graph
        body = guarded(finite(graph), self.states)
        return Graph(body.inputs, body.outputs[:-1])

    @property
    def changes_state(self) -> bool:
        """Whether the graph gives a new state."""
        return len(self.graph.outputs) > 1


@dataclass(frozen=True)
class Schedule:
    """Training over `epochs` orders of the rows, each whole epoch followed by the evaluations."""

    train: Phase
    evaluate: tuple[Phase, ...]
    epochs: int


class Span(NamedTuple):
    """What one call of the program shall do: epochs [first, last), in each the batches [start, stop)."""

    first: int
    last: int
    start: int
    stop: int


class Made(NamedTuple):
    """What making a program took: seconds, whether it was kept from an earlier process, and what to tell the user."""

    seconds: float
    cached: bool
    note: str | None = None


class Check(NamedTuple):
    """What came of comparing a program with the interpreter: the seconds it took, and what to tell the user."""

    seconds: float
    note: str | None = None


class Outcome(NamedTuple):
    """What one call has done: the new state, the records (epochs, steps, numbers) of each phase; whether it checked.

    A compiled program may still be running when it is handed over: whoever looks into the arrays waits for it.
    """

    state: list[Any]
    train: Any
    evaluate: tuple[Any, ...]
    check: Check | None = None


class LoopProgram(Protocol):
    """The program of a schedule."""

    def make(self, state: Sequence[Any], data: Sequence[Any]) -> Made | None:
        """Finish the program for arrays of these shapes and dtypes; None where there was nothing to do."""

    @property
    def extra(self) -> int:
        """The bytes of memory that a call takes at its height besides its arguments, once the program is made."""

    @property
    def unchecked(self) -> str | None:
        """Why the program was not compared with the interpreter so far; None where it was, or need not be."""

    def __call__(self, state: list[Any], data: Sequence[Any], orders: Any, span: Span) -> Outcome:
        """Run the epochs of a span, each in its row of `orders` (epochs, rows).

        The state given is used up. A step whose record is not all finite is not applied: the program ends with the
        state before it, its record the last one written; records not reached are NaN.
        """


@dataclass(frozen=True)
class Fleet:
    """One training run for many members, each with its own state, order of rows and rows to judge by.

    Attributes:
        train: the training phase; its rows are those an order names, its data X and y.
        judge: the evaluation after each epoch, over the rows that a member holds out; None where nothing is held out.
        epochs: how many, at most.
        patience: epochs without a lower loss in the judging after which a member stops and keeps its best state.
        summed: whether a loss is a sum over the rows of a batch, not their mean.
        keeps: the leaves of the state that make up a member's result: its parameters and buffers.
    """

    train: Phase
    judge: Phase | None
    epochs: int
    patience: int | None
    summed: bool
    keeps: slice


class Crew(NamedTuple):
    """Some members of a fleet, to be trained in one call. All arrays have a leading axis of places for members.

    Attributes:
        states: the leaves of the states to begin with.
        orders: (members, epochs, rows) orders of the rows to train on.
        held: (members, rows) rows to judge by.
        data: (members,) which X each one reads.
        taken: how many of the places are taken; so that one program serves any number up to all of them.
    """

    states: list[Any]
    orders: Any
    held: Any
    data: Any
    taken: int | np.int32


class Results(NamedTuple):
    """What became of a crew; only the places that were taken mean anything.

    Attributes:
        kept: the leaves of the state that `Fleet.keeps` names: of the best epoch with patience, else of the last whole
            one.
        records: (members, epochs, numbers) of the training: the loss over the epoch's rows, then the sums of the rest;
            NaN from the epoch on in which a step was not finite, and where an epoch was not reached.
        judged: the same of the judging.
        check: whether the program was compared with the interpreter in this call.
    """

    kept: list[Any]
    records: Any
    judged: Any
    check: Check | None = None


FleetProgram = Callable[[Sequence[Any], Crew], Results]
"""(data, crew) → results; data are X with a leading axis of versions (standardised for each fold), and y."""
