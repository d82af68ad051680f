"""How much memory the interpreter needs for a graph: the values that are alive at once, at the worst moment.

The interpreter frees each value after its last use, so its plan tells what is alive when. A view takes no memory of its
own, but keeps its base alive. A kernel may hold arrays of its own besides its result.
"""

from __future__ import annotations

import math

import numpy as np

from chainrule.backends.kernels import cost_of
from chainrule.graph.graph import LEAVES, Graph
from chainrule.graph.ops import TUPLE, Slot, parts
from chainrule.graph.tensor import Tensor

ROUNDED_WORKSPACE = 6.5
"""The workspace of a product whose operands are rounded, in arrays of the size of its largest one."""
NEGLIGIBLE_BYTES = 2**20
"""Bytes of all values of a graph together below which it is not worth finding out which are alive at once."""


def live_bytes(graph: Graph, viewed: set[int]) -> int:
    """The most bytes that are alive at once while a graph is interpreted, its inputs and constants not counted.

    Args:
        graph: any graph.
        viewed: nodes whose result is a view, besides those of the operations that always give one.
    """
    total = sum(nbytes(node) + _workspace_bytes(node) for node in graph.nodes if node.op not in LEAVES)
    if total < NEGLIGIBLE_BYTES:
        return total
    holder, sizes = holders(graph, viewed)
    last = {holder[x.id]: node.id for node in graph.nodes for x in node.inputs}
    outputs = {holder[y.id] for y in graph.outputs}
    freed: dict[int, int] = {}
    for held, user in last.items():
        if held in sizes and held not in outputs:
            freed[user] = freed.get(user, 0) + sizes[held]
    now = most = 0
    for node in graph.nodes:
        now += sizes.get(node.id, 0)
        most = max(most, now + _workspace_bytes(node))
        now -= freed.get(node.id, 0)
    return most


def holders(graph: Graph, viewed: set[int]) -> tuple[dict[int, int], dict[int, int]]:
    """For each node the one whose memory holds its result, and how many bytes the holders made on the way take."""
    holder: dict[int, int] = {}
    sizes: dict[int, int] = {}
    scattered: set[int] = set()
    for node in graph.nodes:
        if node.op in LEAVES:
            holder[node.id] = node.id
            continue
        x = node.inputs[0]
        copies = node.op == "reshape" and x.id in scattered
        if node.id in viewed or (_is_view(node) and not copies):
            holder[node.id] = holder[x.id]
            if x.id in scattered or _scatters(node):
                scattered.add(node.id)
        else:
            holder[node.id], sizes[node.id] = node.id, nbytes(node)
    return holder, sizes


def _is_view(node: Tensor) -> bool:
    whole = node.op == "getitem" and not any(isinstance(entry, Slot) for entry in node.attrs["index"])
    return whole or cost_of(node.op).view


def _scatters(node: Tensor) -> bool:
    """Whether a view's elements do not lie one after the other, so that a reshape of it has to copy them."""
    if node.op == "getitem":
        first, *rest = node.attrs["index"]
        return any(e != ("slice", None, None, None) for e in rest) or (
            isinstance(first, tuple) and first[3] is not None
        )
    return node.op in ("broadcast_to", "transpose", "flip")


def nbytes(node: Tensor) -> int:
    """The bytes of a node's value."""
    if node.dtype == TUPLE:
        return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in parts(node.attrs))
    return node.size * node.dtype.itemsize


def _handed_to_inner_loop(node: Tensor) -> int:
    """The bytes of a loop's carry that its body hands to a loop within and no longer holds: they are that one's."""
    body, count = node.attrs["body"], node.attrs.get("carries", 0)
    if node.op != "loop" or node.attrs["guarded"]:
        return 0
    users = {x.id: [n for n in body.nodes if any(y is x for y in n.inputs)] for x in body.inputs[:count]}
    inside = [x for x in body.inputs[:count] if [n.op for n in users[x.id]] == ["loop"]]
    return sum(map(nbytes, inside))


def _workspace_bytes(node: Tensor) -> int:
    if "body" in node.attrs:
        return live_bytes(node.attrs["body"], set()) - _handed_to_inner_loop(node)
    times = ROUNDED_WORKSPACE if node.attrs.get("precision") else cost_of(node.op).workspace
    return int(times * max(nbytes(x) for x in (node, *node.inputs))) if times else 0
