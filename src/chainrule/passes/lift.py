"""Many graphs that differ only in numbers → one graph that takes those numbers as inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, replay
from chainrule.graph.tensor import Tensor, placeholder
from chainrule.passes.simplify import uniform

Array = np.ndarray[Any, Any]


def outline(graph: Graph) -> Any:
    """What a graph is apart from the values of its constants: equal outlines differ in nothing else. Hashable."""
    number = {node.id: i for i, node in enumerate(graph.nodes)}
    return (
        tuple(
            (n.op, n.shape, n.dtype, tuple(number[x.id] for x in n.inputs), tuple(n.attrs.items()), uniform(n) is None)
            for n in graph.nodes
        ),
        tuple(number[x.id] for x in (*graph.inputs, *graph.outputs)),
    )


def differing(graphs: Sequence[Graph]) -> list[int]:
    """The places of the constants that are not the same in all of these graphs, whose outlines must be equal."""
    places = [i for i, node in enumerate(graphs[0].nodes) if node.op == "constant"]
    return [i for i in places if len({_value(graph, i).tobytes() for graph in graphs}) > 1]


def values(graph: Graph, places: Sequence[int]) -> list[Array]:
    """What a graph has in these places: a number where it is the same throughout the constant, else the array."""
    return [_value(graph, i) for i in places]


def _value(graph: Graph, place: int) -> Array:
    node = graph.nodes[place]
    assert node.value is not None, "a constant without its value"
    return node.value if uniform(node) is None else np.asarray(node.value.flat[0])


def lifted(graph: Graph, numbers: Mapping[int, Tensor], given: Sequence[Tensor], passed_on: bool) -> Graph:
    """The graph with the constants in some places taken from further inputs, which come before its own.

    Args:
        graph: any graph.
        numbers: for each place the input that stands for its constant.
        given: all further inputs, those of `numbers` among them.
        passed_on: whether the further inputs are given back, before the graph's own outputs.
    """
    known = {x.id: x for x in (*graph.inputs, *graph.captured)}
    for place, x in numbers.items():
        node = graph.nodes[place]
        known[node.id] = x if x.shape == node.shape else F.broadcast_to(x, node.shape)
    replay(graph.nodes, known)
    outputs = [*(given if passed_on else ()), *(known[y.id] for y in graph.outputs)]
    return Graph([*given, *graph.inputs], outputs).simplify().verify()


def matches(graph: Graph, other: Graph) -> bool:
    """Whether two graphs are the same but for shapes and constants, so that a place means the same in both."""
    return [(n.op, len(n.inputs)) for n in graph.nodes] == [(n.op, len(n.inputs)) for n in other.nodes]


def inputs(found: Sequence[Array]) -> list[Tensor]:
    """A placeholder for each of these values."""
    return [placeholder(value.shape, value.dtype, f"number{i}") for i, value in enumerate(found)]
