"""Which backend a job should run on: what each would cost, from a stated estimate.

Interpreting costs an overhead a node and then the arithmetic; compiling costs a fixed time and some more a node, once,
and then a small overhead a node and the same arithmetic. The numbers below were measured on a 2-core x86 machine; they
need to be right only near the crossover, where either choice costs about the same.
"""

from __future__ import annotations

import math

from chainrule.graph.graph import LEAVES, Graph
from chainrule.graph.tensor import Tensor

NUMPY_NODE = 1.6e-6
XLA_NODE = 0.15e-6
COMPILE = 0.25
COMPILE_NODE = 2.5e-3
IMPORT_JAX = 0.6
FLOP = 1 / 5e10
ROUNDING = 2e-9
ELEMENT = {"numpy": 0.5e-9, "xla": 0.1e-9}


def seconds(graph: Graph, backend: str) -> float:
    """The estimated time of one run of a graph, compiling apart."""
    node = NUMPY_NODE if backend == "numpy" else XLA_NODE
    return sum(node + _work(n, backend) for n in graph.nodes if n.op not in LEAVES)


def _work(node: Tensor, backend: str) -> float:
    if node.op == "scan":
        return node.attrs["length"] * seconds(node.attrs["body"], backend)
    if node.op in ("matmul", "linear"):
        inner = node.inputs[0].shape[-1]
        # XLA rounds the operands of a product on their way into it.
        rounding = ROUNDING if backend == "numpy" and node.attrs.get("precision") else 0.0
        return 2 * node.size * inner * FLOP + rounding * (node.inputs[0].size + node.inputs[1].size)
    # Threefry makes some hundred operations of every number it draws.
    return node.size * ELEMENT[backend] * (60 if node.op == "random_uniform" else 1)


def compile_seconds(graphs: list[Graph]) -> float:
    """The estimated time of importing JAX and compiling; as if for the first time, so that the choice repeats."""
    return IMPORT_JAX + COMPILE + COMPILE_NODE * sum(len(g) for g in graphs)


def choose(graphs: list[Graph], runs: list[int]) -> str:
    """The backend, "numpy" or "xla", for graphs that are each run so many times."""
    plain, compiled = (
        math.fsum(n * seconds(g, b) for g, n in zip(graphs, runs, strict=True)) for b in ("numpy", "xla")
    )
    return "numpy" if plain <= compiled + compile_seconds(graphs) else "xla"
