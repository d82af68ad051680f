"""A graph as one XLA program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.backends.numpy import compile_graph as interpreted
from chainrule.backends.verify import tell
from chainrule.backends.xla.compiler import Program
from chainrule.backends.xla.lower import checked
from chainrule.graph.graph import Graph


def compile_graph(graph: Graph) -> Callable[[Sequence[Any]], list[Any]]:
    """A function from the arrays of `graph.arrays` to the arrays of its outputs, compiled at its first call."""
    import jax

    program = Program(checked(graph))

    def run(values: Sequence[Any]) -> list[Any]:
        with jax.enable_x64(True):
            made = program.make(list(values))
            if made is not None:
                tell(made.note)
            outputs, fine = program(list(values))
            if not fine:
                # Compiled code cannot raise. The interpreter comes to the same place, and says what is wrong there.
                interpreted(graph)(values)
            return [np.asarray(y) for y in outputs]

    return run
