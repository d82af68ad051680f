"""Tensors, operations and graphs."""

from chainrule.graph import functions, linalg, numpy_api, printer, random
from chainrule.graph.graph import Graph
from chainrule.graph.leaves import tensor
from chainrule.graph.mode import no_grad
from chainrule.graph.tensor import Tensor
from chainrule.graph.trace import trace

__all__ = [
    "Graph", "Tensor", "functions", "linalg", "no_grad", "numpy_api", "printer", "random", "tensor", "trace",
]  # fmt: skip
