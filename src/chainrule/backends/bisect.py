"""Which node of a graph a compiler gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule.backends.agreement import Disagreement, disagreement, interpreted
from chainrule.graph.graph import LEAVES, Graph, ancestors
from chainrule.graph.ops import TUPLE
from chainrule.graph.tensor import Tensor


def locate(found: Disagreement, compiled: Callable[[Graph, Sequence[Any]], list[Any]]) -> Disagreement | None:
    """The first node at which a compiler goes wrong: it does so for the node alone, and not for its operands.

    Where that is a loop, the first node in its body.

    Args:
        found: an output that is wrong.
        compiled: compiles a graph and runs it.

    Returns:
        None where every output alone is right: the program is wrong only as a whole, since what a compiler fuses
        depends on which outputs are requested.
    """
    first = _located(found, compiled)
    return first and (_within(first, compiled) or first)


def _located(found: Disagreement, compiled: Callable[[Graph, Sequence[Any]], list[Any]]) -> Disagreement | None:
    graph, values = found.graph, found.values

    def wrong(*outputs: Tensor) -> Disagreement | None:
        part = Graph(graph.inputs, outputs)
        given = _values(graph, part, values)
        return disagreement(part, given, compiled(part, given))

    # Where the fault is in a node and not in what was put together, one look at all of them finds it.
    first = wrong(*_inner(ancestors([found.node])))
    if first is not None:
        return first
    alone = next(filter(None, map(wrong, _inner([found.node, *graph.outputs]))), None)
    if alone is None:
        return None
    nodes = _inner(ancestors([alone.node]))
    low, high = 0, len(nodes) - 1
    while low < high:
        middle = (low + high) // 2
        seen = wrong(nodes[middle])
        alone, low, high = (seen, low, middle) if seen is not None else (alone, middle + 1, high)
    return _first(alone, wrong)


def _within(found: Disagreement, compiled: Callable[[Graph, Sequence[Any]], list[Any]]) -> Disagreement | None:
    """Where what is wrong is a loop's result, and its first step is wrong: the first node in that."""
    loop = found.node.inputs[0] if found.node.op == "get_item" else found.node
    if loop.op != "loop":
        return None
    part = Graph(found.graph.inputs, loop.inputs)
    *operands, start, stop = interpreted(part, _values(found.graph, part, found.values))
    first, body, count = int(start), loop.attrs["body"], loop.attrs["carries"]
    if not 0 <= first < min(int(stop), loop.attrs["length"]):
        return None
    cut = range(count, count + loop.attrs["sequences"])
    given = [x[first] if i in cut else x for i, x in enumerate(operands)]
    wrong = disagreement(body, given, compiled(body, given))
    return None if wrong is None else locate(wrong, compiled)


def _first(found: Disagreement, wrong: Callable[[Tensor], Disagreement | None]) -> Disagreement:
    """Walk back through operands that are wrong themselves, which bisection may have skipped."""
    while True:
        earlier = next(filter(None, map(wrong, _inner(found.node.inputs))), None)
        if earlier is None:
            return found
        found = earlier


def _inner(nodes: Sequence[Tensor]) -> list[Tensor]:
    """Those of the nodes, each once, that are computed and can be an output."""
    distinct = {node.id: node for node in nodes}.values()
    return [node for node in distinct if node.op not in LEAVES and node.dtype != TUPLE]


def _values(graph: Graph, part: Graph, values: Sequence[Any]) -> list[Any]:
    """The values that a part of a graph takes, out of those of the whole."""
    held = {x.id: v for x, v in zip((*graph.inputs, *graph.captured), values, strict=True)}
    return [held[x.id] for x in (*part.inputs, *part.captured)]
