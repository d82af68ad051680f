"""A graph as one XLA program, compared with the interpreter before it is trusted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from chainrule.backends import interpreter
from chainrule.backends.agreement import Disagreement, disagreement
from chainrule.backends.cost import seconds
from chainrule.backends.verify import CheckSchedule, checked_program, warn
from chainrule.backends.xla import single_kernel
from chainrule.backends.xla.compiler import Program
from chainrule.backends.xla.lower import LoweringBuilder, function, range_checked
from chainrule.graph.graph import Graph


def compile_graph(graph: Graph) -> Callable[[Sequence[Any]], list[Any]]:
    """A function from the arrays of `graph.arrays` to the arrays of its outputs, compiled at its first call."""
    return _Checked(graph)


def run_unchecked(graph: Graph, values: Sequence[Any], rows: Mapping[str, LoweringBuilder] | None = None) -> list[Any]:
    """Compile a graph and run it, unchecked; `rows` go before the usual ones."""
    import jax

    with jax.enable_x64(True):
        return [np.asarray(y) for y in Program(function(graph, rows))(list(values))]


class _Checked:
    """The program of a graph.

    A program that is wrong is not used: what it gave is thrown away, and its values are computed otherwise.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._kind = single_kernel.program_kind(graph)
        self._program: Program | None = Program(self._traced, self._kind, graph=graph)
        self._schedule = CheckSchedule(seconds(graph, "numpy"))
        self._lock = threading.Lock()

    def _traced(self, values: list[Any]) -> Any:
        """What the program computes, as JAX traces it."""
        return range_checked(*single_kernel.lowering(self._graph, self._kind))(values)

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """The arrays of the graph's outputs."""
        program = self._program
        if program is None:
            return interpreter.compile_graph(self._graph)(values)
        if not self._schedule.pending:
            return self._arrays(program, values)
        return self._watched(program, values)

    def _watched(self, program: Program, values: Sequence[Any]) -> list[Any]:
        began = time.perf_counter()
        with self._lock:
            self._make(program, values)
            found = self._arrays(program, values)
            self._schedule.spent += time.perf_counter() - began
            return self._verified(program, values, found) if self._schedule.due() else found

    def _make(self, program: Program, values: Sequence[Any]) -> None:
        import jax

        with jax.enable_x64(True):
            made = program.make(list(values))
        if made is not None:
            warn(made.note, stacklevel=5)
            self._schedule.recall(program.entry)

    def _verified(self, program: Program, values: Sequence[Any], found: list[Any]) -> list[Any]:
        results = {id(program): found}

        def differs(made: Program) -> Disagreement | None:
            results[id(made)] = results.get(id(made)) or self._arrays(made, values)
            return disagreement(self._graph, values, results[id(made)])

        alone = partial(run_unchecked, rows=single_kernel.lowering(self._graph, self._kind)[1])
        verdict = checked_program(program, program.without_fusions, differs, alone)
        self._program = verdict.program
        self._schedule.done(verdict.note is None)
        warn(verdict.note, stacklevel=5)
        if verdict.program is None:
            return interpreter.compile_graph(self._graph)(values)
        return results[id(verdict.program)]

    def _arrays(self, program: Program, values: Sequence[Any]) -> list[Any]:
        import jax

        with jax.enable_x64(True):
            outputs, fine = program(list(values))
            if not fine:
                # Compiled code cannot raise. The interpreter comes to the same place, and says what is wrong there.
                interpreter.compile_graph(self._graph)(values)
            return [np.asarray(y) for y in outputs]
