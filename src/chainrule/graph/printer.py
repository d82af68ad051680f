"""A graph as text: one line per node, with its number, operation, type, formula, operands and place."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.graph import seams
from chainrule.graph.graph import LEAVES, Graph
from chainrule.graph.ops import OPS, TUPLE, Shape, parts
from chainrule.graph.tensor import Tensor


def signature(node: Tensor) -> str:
    """Dtype and shape: "float32[32, 64]"; for a node of several results, those of each in brackets."""
    if node.dtype == TUPLE:
        return f"({', '.join(_signature(*part) for part in parts(node.attrs))})"
    return _signature(node.shape, node.dtype)


def _signature(shape: Shape, dtype: Any) -> str:
    return f"{dtype}[{', '.join(map(str, shape))}]"


def graph_text(graph: Graph) -> str:
    """The whole graph, columns aligned."""
    number = {node.id: f"%{i}" for i, node in enumerate(graph.nodes)}
    takes = ", ".join(f"{x.name}: {signature(x)}" for x in graph.inputs)
    gives = ", ".join(signature(y) for y in graph.outputs)
    rows = [_row(node, number) for node in graph.nodes]
    single = [row for node, row in zip(graph.nodes, rows, strict=True) if node.dtype != TUPLE]
    widths = [max((len(row[i]) for row in single), default=0) for i in range(4)]
    lines = []
    for node, row in zip(graph.nodes, rows, strict=True):
        cells = [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), *row[4:]]
        lines.append("  " + "  ".join(cells).rstrip())
        if "body" in node.attrs:
            lines += [
                "    " + line for line in graph_text(node.attrs["body"]).replace("graph(", "body(", 1).splitlines()
            ]
    return "\n".join(
        [f"graph({takes}) -> {gives}", *lines, "  return " + " ".join(number[y.id] for y in graph.outputs)]
    )


def _row(node: Tensor, number: dict[int, str]) -> list[str]:
    if node.op in LEAVES:
        return [number[node.id], node.name or node.op, signature(node), "" if node.value is None else _value(node)]
    notes = [" ".join(number[x.id] for x in node.inputs)]
    notes += [f"{key}={value}" for key, value in node.attrs.items() if key != "body" and value not in (False, None)]
    if node.adjoint_of is not None:
        notes.append(f"∂C/∂{number.get(node.adjoint_of.id, node.adjoint_of.op)}")
    notes += [f"in {node.module}"] if node.module else []
    notes += [f"at {node.line}"] if node.line else []
    return [number[node.id], node.op, signature(node), OPS[node.op].formula, *notes]


def _value(node: Tensor) -> str:
    assert node.value is not None
    if node.size == 1 or (node.size and not any(node.value.strides)):
        return f"= {node.value.flat[0]:.6g}"
    return "= " + np.array2string(node.value, threshold=6, precision=4).replace("\n", " ") if node.size <= 6 else "= …"


seams.provide("text", graph_text)
