"""What a backend is asked to loop over: an epoch as data.

A `Phase` is a graph run once a batch over the rows that an order names; a `Schedule` is the training phase, and the
evaluation phases that follow each whole epoch. A backend turns a schedule into one program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from chainrule.graph.graph import Graph


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


class Outcome(NamedTuple):
    """What one call has done: the new state, and the records (epochs, steps, numbers) of each phase."""

    state: list[Any]
    train: Any
    evaluate: tuple[Any, ...]


LoopProgram = Callable[[list[Any], Sequence[Any], Any, Span], Outcome]
"""(state, data, orders (epochs, rows), span) → outcome. The state given is used up. A step whose record is not all
finite is not applied: the program ends with the state before it, its record the last one written; records not reached
are NaN."""
