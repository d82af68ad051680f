"""Lower precision where it pays: the products of matrices, whose operands are rounded and whose sums are not.

Everything else (weights, optimizer state, losses, reductions, statistics) stays float32: Micikevicius et al. (2018),
"Mixed precision training". Their scaling of the loss is not needed here: it keeps small gradients from vanishing in
float16, and bfloat16 and TF32 have float32's range of exponents.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.graph.graph import Graph, replay
from chainrule.graph.tensor import Tensor, apply


def lower_precision(graph: Graph, precision: str) -> Graph:
    """The same graph with every product of float32 matrices, forward and backward alike, taken in lower precision.

    Args:
        graph: as it was reversed; loops' bodies are lowered too.
        precision: "bfloat16" (8 bits of mantissa, the leading 1 included) or "tf32" (11 bits).

    Example:
        >>> import chainrule as cr
        >>> graph = cr.trace(lambda x, w: cr.linear(x, w).sum(), *np.ones((2, 3, 3), np.float32))
        >>> print(cr.passes.lower_precision(graph, "bfloat16"))
        graph(x: float32[3, 3], w: float32[3, 3]) -> float32[]
          %0  x       float32[3, 3]
          %1  w       float32[3, 3]
          %2  linear  float32[3, 3]  Y = X·Wᵀ + b      %0 %1  precision=bfloat16
          %3  sum     float32[]      y = Σ x over axes  %2     axes=(0, 1)
          return %3
    """

    def make(op: str, *inputs: Tensor, **attrs: Any) -> Tensor:
        if op in ("linear", "matmul") and inputs[0].dtype == np.float32:
            attrs["precision"] = precision
        elif "body" in attrs:
            attrs["body"] = lower_precision(attrs["body"], precision)
        return apply(op, *inputs, **attrs)

    known = {x.id: x for x in (*graph.inputs, *graph.captured)}
    return graph.replaced(replay(graph.nodes, known, make))
