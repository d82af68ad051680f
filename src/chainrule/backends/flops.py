"""How many floating-point operations a step takes, and whether the compiled backend can run it as a single kernel."""

from __future__ import annotations

import math

from chainrule.backends.kernels import is_fusible
from chainrule.graph.graph import LEAVES, Graph
from chainrule.graph.ops import Slot
from chainrule.graph.tensor import Tensor

MAX_FLOPS = 1e7
"""Floating-point operations a step up to which one thread without waiting beats two that wait for each other."""


def fits_single_kernel(graph: Graph) -> bool:
    """Whether a step is small and made of operations that a single kernel can hold."""
    plain = [node for node in graph.nodes if node.op != "loop"]
    return sum(map(_flops, plain)) <= MAX_FLOPS and all(map(fits_single_kernel, bodies(graph)))


def bodies(graph: Graph) -> list[Graph]:
    """The bodies of the loops directly in a graph."""
    return [node.attrs["body"] for node in graph.nodes if node.op == "loop"]


def all_bodies(graph: Graph) -> list[Graph]:
    """A graph and the bodies of all loops in it, at any depth."""
    return [graph, *(inner for body in bodies(graph) for inner in all_bodies(body))]


def product_flops(node: Tensor) -> float:
    """The floating-point operations of a product of matrices; 0 for any other operation."""
    return 2.0 * node.size * node.inputs[0].shape[-1] if node.op in ("linear", "matmul") else 0.0


def _flops(node: Tensor) -> float:
    """The floating-point operations of a node; infinite where it cannot be part of one kernel."""
    if node.op in LEAVES:
        return 0.0
    if node.attrs.get("precision"):
        # Rounding to a lower precision and back pays only in a library's products.
        return math.inf
    scatters = node.op == "put_pieces" or (
        node.op == "put_add" and any(isinstance(entry, Slot) for entry in node.attrs["index"])
    )
    batched = node.op in ("linear", "matmul") and node.inputs[1].ndim != 2
    if scatters or batched or not is_fusible(node.op):
        return math.inf
    if node.op in ("linear", "matmul"):
        return product_flops(node)
    return float(node.size if node.op == "getitem" else max(x.size for x in (node, *node.inputs)))
