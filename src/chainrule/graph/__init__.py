"""Tensors, operations and graphs."""

from chainrule.graph import functions, printer
from chainrule.graph.graph import Graph
from chainrule.graph.tensor import Tensor, no_grad, tensor
from chainrule.graph.trace import trace

__all__ = ["Graph", "Tensor", "functions", "no_grad", "printer", "tensor", "trace"]
