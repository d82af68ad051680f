"""Which backend a job should run on: what each would cost, from a stated estimate.

A step costs a start for each operation, then its arithmetic: so much per floating-point operation of a product, so much
per element of anything else. The compiled backend has two sets of costs, since small steps are one kernel and start
nothing, and a price to be paid once: importing the compiler, and compiling. The numbers were fitted by
`benchmarks/crossover.py`, which prints them beside what it measures; they need to be right only near the crossover,
where either choice costs about the same, and what makes a machine faster or slower as a whole cancels.
"""

from __future__ import annotations

import math
from typing import NamedTuple
from weakref import WeakKeyDictionary

from chainrule.backends.flops import fits_single_kernel, product_flops
from chainrule.backends.kernels import cost_of
from chainrule.graph.graph import LEAVES, Graph


class Costs(NamedTuple):
    """For starting an operation, for a floating-point operation of a product, for an element of another operation."""

    node: float
    flop: float
    element: float


UNIT_COSTS = {
    "numpy": Costs(2.4e-6, 0.7e-11, 0.4e-9),
    "xla": Costs(0.3e-6, 0.7e-11, 0.1e-9),
    "one kernel": Costs(0.05e-6, 0.8e-11, 0.05e-9),
}
"""Interpreted; compiled; compiled as one kernel, on one thread."""
COMPILE_SECONDS, COMPILE_SECONDS_PER_NODE = 0.6, 7e-3
"""Seconds for importing JAX and compiling anything, and more for each node."""
ROUNDING_SECONDS = 2e-9
"""Seconds for rounding a number to a lower precision, which the interpreter does bit by bit."""


_known: WeakKeyDictionary[Graph, dict[str, float]] = WeakKeyDictionary()
"""What was estimated for a graph, by backend: a short training asks about as long as it runs."""


def seconds(graph: Graph, backend: str) -> float:
    """The estimated time of one run of a graph within a loop, compiling apart."""
    known = _known.setdefault(graph, {})
    if backend not in known:
        kind = cost_kind(graph, backend)
        starts_and_work = zip(counts(graph), UNIT_COSTS[kind], strict=True)
        known[backend] = math.fsum(n * cost for n, cost in starts_and_work) + _rounding(graph, kind)
    return known[backend]


def cost_kind(graph: Graph, backend: str) -> str:
    """Which of the costs hold for a graph in a loop on a backend."""
    return "one kernel" if backend == "xla" and fits_single_kernel(graph) else backend


def counts(graph: Graph) -> Costs:
    """How many operations a graph has, how many floating-point operations in products, how many elements in others."""
    nodes, flops, elements = 0.0, 0.0, 0.0
    for node in graph.nodes:
        if node.op in LEAVES:
            continue
        if "body" in node.attrs:
            inner, times = counts(node.attrs["body"]), node.attrs.get("length", 1)
            nodes, flops, elements = (
                nodes + times * inner.node,
                flops + times * inner.flop,
                elements + times * inner.element,
            )
            continue
        nodes += 1
        flops += product_flops(node)
        elements += 0 if product_flops(node) else node.size * cost_of(node.op).element
    return Costs(nodes, flops, elements)


def _rounding(graph: Graph, kind: str) -> float:
    # XLA rounds the operands of a product on their way into it.
    if kind != "numpy":
        return 0.0
    return ROUNDING_SECONDS * sum(
        x.size for node in graph.nodes if node.attrs.get("precision") for x in node.inputs[:2]
    )


def compile_seconds(graphs: list[Graph]) -> float:
    """The estimated time of importing JAX and compiling; as if for the first time, so that the choice repeats."""
    return COMPILE_SECONDS + COMPILE_SECONDS_PER_NODE * sum(len(g) for g in graphs)


def choose_backend(graphs: list[Graph], runs: list[int]) -> str:
    """The backend, "numpy" or "xla", for graphs that are each run so many times."""
    plain, compiled = (
        math.fsum(n * seconds(g, b) for g, n in zip(graphs, runs, strict=True)) for b in ("numpy", "xla")
    )
    return "numpy" if plain <= compiled + compile_seconds(graphs) else "xla"
