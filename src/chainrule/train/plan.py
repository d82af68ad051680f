"""What a training runs: its passes over rows on one backend, and the program made of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from chainrule import backends, tree
from chainrule.backends.loop_program import LoopProgram
from chainrule.graph.graph import Graph
from chainrule.nn.losses import is_sum
from chainrule.passes import hoist_constants as hoist
from chainrule.train import inference, mistakes
from chainrule.train.history import History
from chainrule.train.monitor import Monitor, Monitored
from chainrule.train.program import Batches, Training
from chainrule.train.step import TrainingStep

if TYPE_CHECKING:
    from chainrule.train.loaders.data_loader import DataLoader

KEPT = ("parameters", "frozen", "buffers")
"""The parts of a state that are kept of the best epoch: the model."""


@dataclass
class Plan:
    """The passes of a training on a backend, and their program once there is one.

    Attributes:
        key: what the passes depend on, as far as it is plain data or ours.
        fingerprint: what the graphs were as traced, where a part is the user's own and only tracing can tell.
        notes: what the user should know of them.
        mistakes: what is wrong with them, by the theory.
        step: what a step is made of.
        gives: what the program gives besides the new state, once it is made.
    """

    key: Any
    backend: str
    training: Training
    step: TrainingStep
    fingerprint: Any = None
    notes: Sequence[str] = ()
    mistakes: Sequence[str] = ()
    gives: tree.Structure = tree.LEAF
    _program: LoopProgram | None = None

    def program(self, history: History, arrays: Sequence[Any]) -> LoopProgram:
        """The program for data of these shapes, made where it has not been."""
        began = time.perf_counter()
        if self._program is None:
            looping = self.training.looping(arrays)
            self.gives = tree.Structure(tuple, (), looping.graph.gives.plain().children[1:])
            self._program = backends.get(self.backend).compile_loops(looping)
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
        self,
        backend: str,
        step: TrainingStep,
        device: str,
        loader: DataLoader,
        batch: int,
        room: int,
        goals: Goals,
        history: History,
    ) -> Plan:
        """What to run; the last plan again where nothing that it depends on has changed.

        Where all parts are ours, what they are tells whether that is so, and with the same tensors the last step serves
        too, with what it knows of its optimizer. Anything of the user's own is traced anew.

        Args:
            backend: where.
            step: what a step is made of.
            device: where on it.
            loader: the rows; only shapes and dtypes matter.
            batch: rows per step.
            room: epochs per call.
            goals: what the training is monitored by.
            history: where the time is written down.
        """
        arrays, monitor = loader.arrays, monitored(step, goals)
        shapes = tuple((a.shape, a.dtype) for a in arrays)
        key = (
            device,
            batch,
            room,
            shapes,
            loader.width,
            loader.rows,
            monitor and monitor.key,
            *step.settings,
            step.described,
        )
        kept = self._kept.get(backend)
        if kept is not None and kept.key != key:
            kept = None
        if kept is not None and step.described is not None:
            kept.step = kept.step if step.is_of(kept.step) else step
            return kept
        began = time.perf_counter()
        phases = drawn(step, loader, batch)
        own = [graph for phase in phases if phase for graph in phase.graphs if step.described is None]
        fingerprint = hoist.fingerprint(own)
        if kept is None or kept.fingerprint != fingerprint:
            train, evaluate = (phase and step.batches(phase) for phase in phases)
            assert train is not None, "a training without its pass"
            training = Training(train, evaluate, room, loader.rows, tuple(step.metrics), is_sum(step.loss), monitor)
            wrong = mistakes.find(step, arrays[: loader.width], min(batch, len(arrays[0])))
            kept = Plan(key, backend, training, step, fingerprint, step.notes, wrong)
            self._kept[backend] = kept
        kept.step = step
        history.trace_seconds += time.perf_counter() - began
        return kept


class Goals(NamedTuple):
    """What a training is to be monitored by.

    Attributes:
        judged: the value that early stopping goes by, or None.
        observed: the value that a schedule goes by which observes one, or None.
        latest: whether the model keeps its last parameters, not those of the best epoch.
    """

    judged: Monitored | None
    observed: Monitored | None
    latest: bool = False


def monitored(step: TrainingStep, goals: Goals) -> Monitor | None:
    """The monitor of a training; None where nothing is to be monitored."""
    if goals.judged is None and goals.observed is None:
        return None
    names = tree.names(step.state())
    keeps = goals.judged is not None and not goals.latest
    kept = tuple(i for i, name in enumerate(names) if keeps and name.split(".")[0] in KEPT)
    if goals.observed is None:
        return Monitor(goals.judged, kept, latest=goals.latest)
    return Monitor(goals.judged, kept, goals.observed, step.schedule, names.index("factor"), goals.latest)


class PreparedTraining(NamedTuple):
    """What runs a training.

    Attributes:
        name: of the backend.
        backend: itself.
        step: what a step is made of.
        plan: the passes.
        program: made of them.
    """

    name: str
    backend: ModuleType
    step: TrainingStep
    plan: Plan
    program: LoopProgram


def drawn(step: TrainingStep, loader: DataLoader, batch: int) -> tuple[Batches, Batches | None]:
    """The passes as traced: training on the first arrays in batches, evaluating the others, if any, in blocks."""
    state, arrays, width = step.state(), loader.arrays, loader.width
    train = step.drawn("training", state, arrays[:width], batch, tuple(range(width)))
    if len(arrays) == width:
        return train, None
    block = min(inference.BLOCK, len(arrays[width]))
    return train, step.drawn("evaluation", state, arrays[width:], block, tuple(range(width, len(arrays))))
