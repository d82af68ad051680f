"""Make the record of a step say whether every index and label in it was in range."""

from __future__ import annotations

from chainrule.graph import functions as F
from chainrule.graph.graph import Graph
from chainrule.graph.tensor import Tensor, apply


def voided(graph: Graph) -> Graph:
    """A graph (…) → (…, record) whose record is NaN where an index, a label or an exponent lies outside its range.

    Compiled code cannot raise: so the guard stops the step, and rerunning it on the interpreter tells what was wrong.
    """
    checks = [node for node in graph.nodes if _has_checks(node)]
    if not checks:
        return graph
    *rest, record = graph.outputs
    record = F.add(record, apply("in_range", *checks, dtype=record.dtype.name))
    return Graph(graph.inputs, [*rest, record], graph.takes, graph.gives)


def _has_checks(node: Tensor) -> bool:
    if "body" in node.attrs:
        return any(_has_checks(inner) for inner in node.attrs["body"].nodes)
    return node.op == "within"
