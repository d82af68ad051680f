"""What a training runs: its phases on one backend, and the program made of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from chainrule import backends, tree
from chainrule.backends.loop import LoopProgram, Schedule
from chainrule.graph.graph import Graph
from chainrule.optim.plateau import Plateau
from chainrule.train.history import History
from chainrule.train.step import Step

EPOCHS, ORDERS = 256, 2**18
"""Epochs in a call, and row numbers in their orders, at most."""


@dataclass
class Plan:
    """The phases of a training on a backend, and their program once there is one.

    Attributes:
        key: all that the phases depend on.
    """

    key: Any
    backend: str
    schedule: Schedule
    _program: LoopProgram | None = None

    def program(self, history: History, state: Any, arrays: Sequence[Any]) -> LoopProgram:
        """The program for a state and data of these shapes, made where it has not been."""
        began = time.perf_counter()
        if self._program is None:
            self._program = backends.get(self.backend).compile_schedule(self.schedule)
            history.compile_seconds += time.perf_counter() - began
        made = self._program.make(tree.flatten(state)[0], arrays)
        if made is not None:
            history.compiled(made)
        return self._program

    def runs(self, epochs: int) -> tuple[list[Graph], list[int]]:
        """The graphs, and how often each one runs in so many epochs."""
        found = [
            (graph, epochs * times)
            for phase in (self.schedule.train, *self.schedule.evaluate)
            for graph, times in ((phase.step, phase.full), (phase.last, 1))
            if graph is not None
        ]
        graphs, runs = zip(*found, strict=True)
        return list(graphs), list(runs)


class Prepared(NamedTuple):
    """What runs a training.

    Attributes:
        name: of the backend.
        backend: itself.
        step: what a step is made of.
        seen: what the schedule has made of the losses so far.
        plan: the phases.
        program: made of them.
    """

    name: str
    backend: ModuleType
    step: Step
    seen: Plateau
    plan: Plan
    program: LoopProgram


def scheduled(
    step: Step, state: Any, arrays: Sequence[np.ndarray[Any, Any]], batch: int, block: int, room: int
) -> Schedule:
    """The phases: training on the first two arrays in batches, evaluating the other two, if any, in blocks."""
    train = step.phase("training", state, arrays[0], arrays[1], batch, (0, 1))
    held = []
    if len(arrays) > 2:
        held.append(step.phase("evaluation", state, arrays[2], arrays[3], min(block, len(arrays[2])), (2, 3)))
    return Schedule(train, tuple(held), room)


def room_for(rows: int, one_by_one: bool) -> int:
    """How many epochs a call has room for: what a call costs once is shared, but their orders are handed over whole."""
    return 1 if one_by_one else max(1, min(EPOCHS, ORDERS // rows))
