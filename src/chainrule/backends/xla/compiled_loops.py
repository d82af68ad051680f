"""A graph of loops as one XLA program, its state donated from call to call."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from chainrule import resources
from chainrule.backends import interpreter
from chainrule.backends.agreement import Disagreement, disagreement
from chainrule.backends.liveness import live_bytes
from chainrule.backends.loop_program import CheckReport, CompileReport, LoopProgram, LoopResult, LoopSpec
from chainrule.backends.verify import CheckSchedule, checked_program, verify_mode
from chainrule.backends.xla import single_kernel
from chainrule.backends.xla.compiled_graph import run_unchecked
from chainrule.backends.xla.compiler import KERNEL, Program
from chainrule.backends.xla.devices import device_name
from chainrule.backends.xla.lower import function

SCRATCH = 32 * 2**20
"""Bytes for the threads that multiply matrices, of which the compiler does not tell: 20 to 45 MB were measured."""


def compile_loops(spec: LoopSpec) -> LoopProgram:
    """The program of a graph of loops, compared with the interpreter before it is trusted."""
    return _Loops(spec)


class _Loops:
    def __init__(self, spec: LoopSpec) -> None:
        self._spec, self._kind = spec, single_kernel.program_kind(spec.graph)
        self._scratch = 0 if self._kind == KERNEL or device_name() != "cpu" else SCRATCH
        self._program = Program(self._traced, self._kind, donate=(0,), graph=spec.graph)
        self._instead: LoopProgram | None = None
        self._schedule = CheckSchedule(spec.cost)
        self._lock = threading.Lock()

    def _traced(self, state: list[Any], rest: list[Any]) -> list[Any]:
        """What the program computes, as JAX traces it."""
        lowered, rows = single_kernel.lowering(self._spec.graph, self._kind)
        return function(lowered, rows)([*state, *rest])

    def make(self) -> CompileReport | None:
        """Compile, or take the program from the cache."""
        import jax

        inputs, states = self._spec.graph.inputs, self._spec.states
        with jax.enable_x64(True):
            types = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs]
            made = self._program.make(types[:states], types[states:])
        if made is not None:
            self._schedule.spent += made.seconds
            self._schedule.recall(self._program.entry)
        return made

    @property
    def extra(self) -> int:
        """What the compiler says that the program needs, and what its products need; or a check at the first call."""
        usual = self._program.extra + self._scratch
        if not (self._schedule.pending and self._schedule.cheap) or verify_mode() == "off":
            return usual
        return max(usual, self._room)

    @property
    def _room(self) -> int:
        """The bytes that a check takes: another state and what it is compared by, and an interpreted step."""
        graph = self._spec.graph
        state = sum(x.size * x.dtype.itemsize for x in graph.inputs[: self._spec.states])
        return state + live_bytes(graph, set())

    @property
    def unchecked(self) -> str | None:
        """Why the program was not compared with the interpreter so far; None where it was, or need not be."""
        return self._schedule.note

    def __call__(self, state: list[Any], rest: Sequence[Any]) -> LoopResult:
        """Run it; the first time, where that is cheap, it is checked before."""
        check = None
        began = time.perf_counter()
        if self._schedule.pending:
            with self._lock:
                check = self._checked(state, rest)
        if self._instead is not None:
            arrays = [[np.asarray(x) for x in some] for some in (state, rest)]
            return self._instead(*arrays)._replace(check=check)
        outputs = self._run(self._program, list(state), rest)
        if self._schedule.pending:
            np.asarray(outputs[-1])
            self._schedule.spent += time.perf_counter() - began
        return LoopResult(outputs, check)

    def _run(self, program: Program, state: list[Any], rest: Sequence[Any]) -> list[Any]:
        import jax

        with jax.enable_x64(True):
            outputs: list[Any] = program(state, list(rest))
            return outputs

    def _checked(self, state: Sequence[Any], rest: Sequence[Any]) -> CheckReport | None:
        """Compare the program with the interpreter from this state, where that is due; choose what runs from now on."""
        if not self._schedule.due() or not self._fits():
            return None
        began = time.perf_counter()
        differs = partial(self._differs, [np.asarray(x) for x in (*state, *rest)])
        alone = partial(run_unchecked, rows=single_kernel.ROWS if self._kind == KERNEL else {})
        verdict = checked_program(self._program, self._program.without_fusions, differs, alone)
        if verdict.program is None:
            self._instead = interpreter.compile_loops(self._spec)
        else:
            self._program = verdict.program
        self._schedule.done(verdict.note is None)
        return CheckReport(time.perf_counter() - began, verdict.note)

    def _fits(self) -> bool:
        """Whether half of the memory that is free holds what a check takes."""
        return 2 * self._room <= resources.available_memory()

    def _differs(self, values: Sequence[Any], program: Program) -> Disagreement | None:
        """What the program does wrongly for one of the check inputs, run on copies of the state."""
        import jax

        states = self._spec.states
        for trial in self._spec.check_inputs:
            given = [trial.get(i, value) for i, value in enumerate(values)]
            with jax.enable_x64(True):
                state = jax.device_put(given[:states], may_alias=False)
            found = [np.asarray(y) for y in self._run(program, list(state), given[states:])]
            wrong = disagreement(self._spec.graph, given, found, self._spec.comparison)
            if wrong is not None:
                return wrong
        return None
