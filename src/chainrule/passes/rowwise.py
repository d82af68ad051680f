"""Whether each row of a graph's results depends on the same row of an input alone, so that rows may be added or split.

The rows' axis is followed from the input to the results. What an operation does to it follows from its kind, or from a
rule of its own. Some are not analysed: the answer "rowwise" is always true, "mixing" may be too cautious.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.graph.graph import Graph
from chainrule.graph.ops import OPS, Kind, Slot, named_axes
from chainrule.graph.tensor import Tensor
from chainrule.passes.hoist_constants import constants

FIXED, MIXED = -1, -2
"""In place of an axis: a value without anything of the rows in it, and one in which rows are mixed."""
WHOLE = ("slice", None, None, None)


def rowwise(graph: Graph, rows: Sequence[Tensor]) -> list[bool] | None:
    """For each output whether it has a row for each row of inputs, along axis 0, or nothing of them; None where mixed.

    Args:
        graph: any graph.
        rows: those of its inputs that have rows, along axis 0.

    Example:
        >>> import chainrule as cr
        >>> kept = cr.trace(lambda x: (cr.softmax(x, 1), cr.tensor([1.0])), np.ones((5, 3)))
        >>> mixed = cr.trace(lambda x: x - x.mean(0), np.ones((5, 3)))
        >>> rowwise(kept, kept.inputs), rowwise(mixed, mixed.inputs)
        ([True, False], None)
    """
    axes: dict[int, int] = {}
    known = {x.id for x in rows}
    for node in graph.nodes:
        axes[node.id] = 0 if node.id in known else _axis(node, axes)
    found = [axes[y.id] for y in graph.outputs]
    return [axis == 0 for axis in found] if all(axis in (0, FIXED) for axis in found) else None


def same_but_for_rows(first: Graph, second: Graph, sizes: tuple[int, int]) -> bool:
    """Whether two graphs, traced for so many rows each, differ in that number alone: in shapes, and nowhere else."""
    if len(first.nodes) != len(second.nodes):
        return False
    place = {node.id: i for graph in (first, second) for i, node in enumerate(graph.nodes)}
    for x, y in zip(first.nodes, second.nodes, strict=True):
        if (x.op, x.dtype, [place[i.id] for i in x.inputs]) != (y.op, y.dtype, [place[i.id] for i in y.inputs]):
            return False
        if x.ndim != y.ndim or any(a != b and (a, b) != sizes for a, b in zip(x.shape, y.shape, strict=True)):
            return False
        if any(y.attrs.get(name) != value for name, value in x.attrs.items() if name != "shape"):
            return False
    pairs = [tuple(map(_unstretched, pair)) for pair in zip(constants(first), constants(second), strict=True)]
    return all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs)


def _unstretched(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array without the copies that make it fill its shape."""
    return value[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in value.strides)]


def _axis(node: Tensor, axes: dict[int, int]) -> int:
    given = [axes[x.id] for x in node.inputs]
    if all(axis == FIXED for axis in given):
        return FIXED
    if MIXED in given:
        return MIXED
    if node.op in _RULES:
        return _RULES[node.op](node, given)
    match OPS[node.op].kind:
        case Kind.ELEMENTWISE:
            return _together(node, given)
        case Kind.OVER_AXES:
            return _over(named_axes(node.attrs), node, given)
        case Kind.OTHER:
            assert node.op in _MIXING, node.op
            return MIXED


def _together(node: Tensor, given: Sequence[int]) -> int:
    """The axis of operands that lie side by side: one that all have, or along which the others are even."""
    [axis, *others] = {a for a in given if a != FIXED}
    if others or axis == node.attrs.get("axis"):
        return MIXED
    rest = [x for x, a in zip(node.inputs, given, strict=True) if a == FIXED]
    return axis if all(_even(x, axis - node.ndim) for x in rest) else MIXED


def _even(x: Tensor, axis: int) -> bool:
    """Whether a value is the same all along an axis, counted from the last one."""
    if -axis > x.ndim or x.shape[axis] == 1:
        return True
    if x.op == "constant":
        return x.value is not None and not x.is_variable and x.value.strides[axis] == 0
    if x.op == "broadcast_to":
        source = x.inputs[0]
        return -axis > source.ndim or source.shape[axis] == 1
    return OPS[x.op].elementwise and all(_even(y, axis) for y in x.inputs)


def _over(axes: Sequence[int], node: Tensor, given: list[int]) -> int:
    """The axis of an operation over axes of its first operand: any but these, which it may keep, at size 1 too."""
    axis = given[0]
    if axis in axes or any(a != FIXED for a in given[1:]):
        return MIXED
    return axis if node.ndim == node.inputs[0].ndim else axis - sum(a < axis for a in axes)


def _layer_norm(node: Tensor, given: list[int]) -> int:
    return _over((node.ndim - 1,), node, given)


def _cross_entropy(node: Tensor, given: list[int]) -> int:
    return given[0] if given[0] == given[1] else MIXED


def _broadcast_to(node: Tensor, given: list[int]) -> int:
    return given[0] + node.ndim - node.inputs[0].ndim


def _reshape(node: Tensor, given: list[int]) -> int:
    shape, axis = node.inputs[0].shape, given[0]
    before = math.prod(shape[:axis])
    places = (i for i, n in enumerate(node.shape) if n == shape[axis] and math.prod(node.shape[:i]) == before)
    return next(places, MIXED)


def _transpose(node: Tensor, given: list[int]) -> int:
    return int(node.attrs["axes"].index(given[0]))


def _linear(node: Tensor, given: list[int]) -> int:
    kept = given[0] != node.inputs[0].ndim - 1 and all(axis == FIXED for axis in given[1:])
    return given[0] if kept else MIXED


def _matmul(node: Tensor, given: list[int]) -> int:
    x, y = given
    batch = range(node.ndim - 2)
    if x == y:
        return x if x in batch else MIXED
    if y == FIXED and x == node.ndim - 2:
        return x
    return y if x == FIXED and y == node.ndim - 1 else MIXED


def _getitem(node: Tensor, given: list[int]) -> int:
    x, *arrays = given
    index: tuple[Any, ...] = node.attrs["index"]
    if x == FIXED:
        # Rows of a table, by their numbers: the places of the numbers are the first axes of what is found.
        first = isinstance(index[0], Slot) and all(entry == WHOLE for entry in index[1:])
        return arrays[0] if first and len(arrays) == 1 else MIXED
    if arrays or index[x : x + 1] not in ((WHOLE,), ()):
        return MIXED
    before = index[:x]
    if any(entry is None for entry in index[: x + 1]):
        return MIXED
    return x - sum(isinstance(entry, (int, np.integer)) for entry in before)


_RULES: dict[str, Callable[[Tensor, list[int]], int]] = {
    "depends_on": lambda node, given: given[0],
    "concatenate": _together,
    "cross_entropy": _cross_entropy,
    "layer_norm": _layer_norm,
    "broadcast_to": _broadcast_to,
    "reshape": _reshape,
    "transpose": _transpose,
    "linear": _linear,
    "matmul": _matmul,
    "getitem": _getitem,
}
_MIXING = frozenset(
    {
        "call", "in_range", "loop", "get_item", "put_add", "put_pieces", "random_normal", "random_permutation",
        "random_uniform", "scan",
    }
)  # fmt: skip
"""Operations that may well keep rows apart, but are not looked into."""
