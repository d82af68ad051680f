"""Many graphs that differ only in numbers → one graph that takes those numbers as inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, replay
from chainrule.graph.tensor import Tensor
from chainrule.passes.simplify import uniform_value

Array = np.ndarray[Any, Any]


def structural_hash(graph: Graph) -> Any:
    """A graph apart from the values of its constants, hashable: equal structures differ in nothing else."""
    number = {node.id: i for i, node in enumerate(graph.nodes)}
    return (
        tuple(
            (n.op, n.shape, n.dtype, tuple(number[x.id] for x in n.inputs), _settings(n), uniform_value(n) is None)
            for n in graph.nodes
        ),
        tuple(number[x.id] for x in (*graph.inputs, *graph.outputs)),
    )


def _settings(node: Tensor) -> Any:
    # The graph inside a loop stays as it is, so its constants count too.
    return tuple(
        (
            key,
            (structural_hash(value), tuple(x.tobytes() for x in constants(value)))
            if isinstance(value, Graph)
            else value,
        )
        for key, value in node.attrs.items()
    )


def constants(graph: Graph) -> list[Array]:
    """The constants of a graph in order: one number where a constant is the same throughout, else the array."""
    return [_value(node) for node in graph.nodes if node.op == "constant"]


def _value(node: Tensor) -> Array:
    assert node.value is not None, "a constant without its value"
    return node.value if uniform_value(node) is None else np.asarray(node.value.flat[0])


def fingerprint(graphs: Sequence[Graph]) -> Any:
    """What distinguishes graphs: their structures, and a digest of their constants. Equal ones compute the same."""
    digest = hashlib.blake2b()
    for value in (value for graph in graphs for value in constants(graph)):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return [structural_hash(graph) for graph in graphs], digest.digest()


def hoisted(graph: Graph, numbers: Mapping[int, Tensor], given: Sequence[Tensor], passed_on: bool) -> Graph:
    """The graph with some of its constants taken from further inputs, which come before its own.

    Args:
        graph: any graph.
        numbers: by a constant's place among the constants, the input that stands for it.
        given: all further inputs, those of `numbers` among them.
        passed_on: whether the further inputs are returned, before the graph's own outputs.
    """
    known = {x.id: x for x in (*graph.inputs, *graph.captured)}
    nodes = [node for node in graph.nodes if node.op == "constant"]
    for place, x in numbers.items():
        node = nodes[place]
        known[node.id] = x if x.shape == node.shape else F.broadcast_to(x, node.shape)
    replay(graph.nodes, known)
    outputs = [*(given if passed_on else ()), *(known[y.id] for y in graph.outputs)]
    return Graph([*given, *graph.inputs], outputs).simplify().verify()
