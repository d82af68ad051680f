"""Simplify a graph: fold constants, merge equal nodes, remove no-ops.

Dead nodes vanish by themselves, since a graph holds only what its outputs depend on.
"""

from __future__ import annotations

from typing import Any

from chainrule.graph import functions as F
from chainrule.graph import seams
from chainrule.graph.graph import Graph, replay
from chainrule.graph.tensor import Tensor, apply


def simplify(graph: Graph) -> Graph:
    """The same function with fewer nodes."""
    made: dict[Any, Tensor] = {}

    def make(op: str, *inputs: Tensor, **attrs: Any) -> Tensor:
        shorter = _neutral(op, inputs, attrs)
        if shorter is not None:
            return shorter
        key = (op, tuple(_key(x) for x in inputs), tuple(attrs.items()))
        if key not in made:
            made[key] = apply(op, *inputs, **attrs)
        return made[key]

    known = {x.id: x for x in (*graph.inputs, *graph.captured)}
    return graph.replaced(replay(graph.nodes, known, make))


def _key(x: Tensor) -> Any:
    """What makes two operands the same: the node, or for a small constant its value."""
    if (
        x.op == "constant"
        and not x.is_variable
        and x.value is not None
        and (x.size <= 1 or uniform_value(x) is not None)
    ):
        return x.shape, x.dtype, x.value.flat[0].tobytes() if x.size else b""
    return x.id


def uniform_value(x: Tensor) -> float | None:
    """The one number that a constant holds in every place, if its strides show it."""
    if x.op != "constant" or x.is_variable or x.value is None or not x.size:
        return None
    return float(x.value.flat[0]) if x.size == 1 or not any(x.value.strides) else None


def _neutral(op: str, inputs: tuple[Tensor, ...], attrs: dict[str, Any]) -> Tensor | None:
    """The operand or the shorter form that an operation amounts to, if it does."""
    x = inputs[0]
    if op == "identity" or (op in ("broadcast_to", "reshape") and attrs["shape"] == x.shape):
        return x
    if op in ("sum", "max", "min") and not attrs["axes"] and x.dtype.kind == "f":
        return x
    if op in ("multiply", "divide", "add", "subtract", "adjoint_product", "adjoint_quotient"):
        return _neutral_arithmetic(op, *inputs)
    inner = x.inputs[0] if x.inputs and x.op == op else None
    if inner is None:
        return None
    if op in ("negative", "logical_not"):
        return inner
    if op in ("reshape", "broadcast_to"):
        return getattr(F, op)(inner, attrs["shape"])
    if op == "transpose":
        return F.transpose(inner, [x.attrs["axes"][a] for a in attrs["axes"]])
    return None


def _neutral_arithmetic(op: str, x: Tensor, y: Tensor) -> Tensor | None:
    neutral = 0.0 if op in ("add", "subtract") else 1.0
    if uniform_value(y) == neutral:
        return x
    if op in ("multiply", "add", "adjoint_product") and uniform_value(x) == neutral:
        return y
    return None


seams.provide("simplify", simplify)
