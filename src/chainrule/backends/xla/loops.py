"""A graph of loops as one XLA program, its state donated from call to call."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from chainrule import resources
from chainrule.backends import numpy as interpreter
from chainrule.backends.agreement import Disagreement, disagreement
from chainrule.backends.liveness import live_bytes
from chainrule.backends.loop import Check, Looping, LoopProgram, Made, Outcome
from chainrule.backends.verify import Watch, judged, setting
from chainrule.backends.xla import single_kernel
from chainrule.backends.xla.compiler import KERNEL, Program
from chainrule.backends.xla.devices import device_name
from chainrule.backends.xla.graphs import run_unchecked
from chainrule.backends.xla.lower import function

SCRATCH = 32 * 2**20
"""Bytes for the threads that multiply matrices, of which the compiler does not tell: 20 to 45 MB were measured."""


def compile_loops(looping: Looping) -> LoopProgram:
    """The program of a graph of loops, compared with the interpreter before it is trusted."""
    return _Loops(looping)


class _Loops:
    def __init__(self, looping: Looping) -> None:
        self._looping, self._kind = looping, single_kernel.program_kind(looping.graph)
        self._scratch = 0 if self._kind == KERNEL or device_name() != "cpu" else SCRATCH
        self._program = Program(self._traced, self._kind, donate=(0,), graph=looping.graph)
        self._instead: LoopProgram | None = None
        self._watch = Watch(looping.cost)
        self._turn = threading.Lock()

    def _traced(self, state: list[Any], rest: list[Any]) -> list[Any]:
        """What the program computes, as JAX traces it."""
        lowered, rows = single_kernel.lowering(self._looping.graph, self._kind)
        return function(lowered, rows)([*state, *rest])

    def make(self) -> Made | None:
        """Compile, or take the program from the cache."""
        import jax

        inputs, states = self._looping.graph.inputs, self._looping.states
        with jax.enable_x64(True):
            types = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs]
            made = self._program.make(types[:states], types[states:])
        if made is not None:
            self._watch.spent += made.seconds
            self._watch.recall(self._program.entry)
        return made

    @property
    def extra(self) -> int:
        """What the compiler says that the program needs, and what its products need; or a check at the first call."""
        usual = self._program.extra + self._scratch
        if not (self._watch.pending and self._watch.cheap) or setting() == "off":
            return usual
        return max(usual, self._room)

    @property
    def _room(self) -> int:
        """The bytes that a check takes: another state and what it is compared by, and an interpreted step."""
        graph = self._looping.graph
        state = sum(x.size * x.dtype.itemsize for x in graph.inputs[: self._looping.states])
        return state + live_bytes(graph, set())

    @property
    def unchecked(self) -> str | None:
        """Why the program was not compared with the interpreter so far; None where it was, or need not be."""
        return self._watch.note

    def __call__(self, state: list[Any], rest: Sequence[Any]) -> Outcome:
        """Run it; the first time, where that is cheap, it is checked before."""
        check = None
        began = time.perf_counter()
        if self._watch.pending:
            with self._turn:
                check = self._checked(state, rest)
        if self._instead is not None:
            arrays = [[np.asarray(x) for x in some] for some in (state, rest)]
            return self._instead(*arrays)._replace(check=check)
        outputs = self._run(self._program, list(state), rest)
        if self._watch.pending:
            np.asarray(outputs[-1])
            self._watch.spent += time.perf_counter() - began
        return Outcome(outputs, check)

    def _run(self, program: Program, state: list[Any], rest: Sequence[Any]) -> list[Any]:
        import jax

        with jax.enable_x64(True):
            outputs: list[Any] = program(state, list(rest))
            return outputs

    def _checked(self, state: Sequence[Any], rest: Sequence[Any]) -> Check | None:
        """Compare the program with the interpreter from this state, where that is due; choose what runs from now on."""
        if not self._watch.due() or not self._fits():
            return None
        began = time.perf_counter()
        differs = partial(self._differs, [np.asarray(x) for x in (*state, *rest)])
        alone = partial(run_unchecked, rows=single_kernel.ROWS if self._kind == KERNEL else {})
        verdict = judged(self._program, self._program.without_fusions, differs, alone)
        if verdict.program is None:
            self._instead = interpreter.compile_loops(self._looping)
        else:
            self._program = verdict.program
        self._watch.done(verdict.note is None)
        return Check(time.perf_counter() - began, verdict.note)

    def _fits(self) -> bool:
        """Whether half of the memory that is free holds what a check takes."""
        return 2 * self._room <= resources.available_memory()

    def _differs(self, values: Sequence[Any], program: Program) -> Disagreement | None:
        """What the program does wrongly in one of the trials, which run on copies of the state."""
        import jax

        states = self._looping.states
        for trial in self._looping.trials:
            given = [trial.get(i, value) for i, value in enumerate(values)]
            with jax.enable_x64(True):
                state = jax.device_put(given[:states], may_alias=False)
            found = [np.asarray(y) for y in self._run(program, list(state), given[states:])]
            wrong = disagreement(self._looping.graph, given, found, self._looping.reading)
            if wrong is not None:
                return wrong
        return None
