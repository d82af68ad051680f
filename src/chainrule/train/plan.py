"""What a training runs: its phases on one backend, and the program made of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

from chainrule import backends
from chainrule.backends.loop import LoopProgram
from chainrule.graph.graph import Graph
from chainrule.optim.plateau import Plateau
from chainrule.passes import lift
from chainrule.train import inference, mistakes
from chainrule.train.history import History
from chainrule.train.program import Training
from chainrule.train.step import Drawn, Step

EPOCHS, ORDERS = 256, 2**18
"""Epochs in a call, and row numbers in their orders, at most."""


@dataclass
class Plan:
    """The phases of a training on a backend, and their program once there is one.

    Attributes:
        key: what the phases depend on, as far as it is plain data or ours.
        sketch: what the graphs were as traced, where a part is the user's own and only tracing can tell.
        notes: what the user should know of them.
        mistakes: what is wrong with them, by the theory.
    """

    key: Any
    backend: str
    training: Training
    sketch: Any = None
    notes: Sequence[str] = ()
    mistakes: Sequence[str] = ()
    _program: LoopProgram | None = None

    def program(self, history: History, arrays: Sequence[Any]) -> LoopProgram:
        """The program for data of these shapes, made where it has not been."""
        began = time.perf_counter()
        if self._program is None:
            self._program = backends.get(self.backend).compile_loops(self.training.looping(arrays))
            history.compile_seconds += time.perf_counter() - began
        made = self._program.make()
        if made is not None:
            history.compiled(made)
        return self._program

    def runs(self, epochs: int) -> tuple[list[Graph], list[int]]:
        """The graphs, and how often each one runs in so many epochs."""
        found = [pair for each in self.training.passes for pair in each.runs(epochs).items()]
        graphs, runs = zip(*found, strict=True)
        return list(graphs), list(runs)


@dataclass
class Plans:
    """The last plan of a trainer on each backend."""

    _kept: dict[str, Plan] = field(default_factory=dict)

    def get(
        self, backend: str, step: Step, device: str, arrays: Sequence[Any], batch: int, room: int, history: History
    ) -> Plan:
        """What to run; the last plan again where nothing that it depends on has changed.

        Where all parts are ours, what they are tells whether that is so. Anything of the user's own is traced anew.

        Args:
            backend: where.
            step: what a step is made of.
            device: where on it.
            arrays: the data; only shapes and dtypes matter.
            batch: rows a step.
            room: epochs a call.
            history: where the time is written down.
        """
        key = device, batch, room, tuple((a.shape, a.dtype) for a in arrays), *step.settings, step.described
        kept = self._kept.get(backend)
        if kept is not None and kept.key != key:
            kept = None
        if kept is not None and step.described is not None:
            return kept
        began = time.perf_counter()
        phases = drawn(step, arrays, batch)
        own = [graph for phase in phases for graph in phase[:2] if graph is not None and step.described is None]
        sketch = lift.sketch(own)
        if kept is None or kept.sketch != sketch:
            train, *evaluate = map(step.batches, phases)
            wrong = mistakes.named(step, arrays[0], arrays[1], min(batch, len(arrays[0])))
            kept = Plan(key, backend, Training(train, tuple(evaluate), room), sketch, step.notes, wrong)
            self._kept[backend] = kept
        history.trace_seconds += time.perf_counter() - began
        return kept


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


def drawn(step: Step, arrays: Sequence[Any], batch: int) -> list[Drawn]:
    """The phases as traced: training on the first two arrays in batches, evaluating the others, if any, in blocks."""
    state = step.state()
    found = [step.drawn("training", state, arrays[0], arrays[1], batch, (0, 1))]
    if len(arrays) > 2:
        block = min(inference.BLOCK, len(arrays[2]))
        found.append(step.drawn("evaluation", state, arrays[2], arrays[3], block, (2, 3)))
    return found


def room_for(rows: int, one_by_one: bool) -> int:
    """How many epochs a call has room for: what a call costs once is shared, but their orders are handed over whole."""
    return 1 if one_by_one else max(1, min(EPOCHS, ORDERS // rows))
