"""Give a computation a leading batch axis: one pass over many examples instead of a loop.

An elementwise operation and one over axes need no row: their kind says how they change when operands have a new axis
0. For any other a row does. A row gets the operands (all of them batched, unless it is listed under "some"), the
batch size and the attributes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import DerivativeError
from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, ancestors, annotate, descendants
from chainrule.graph.ops import OPS, OVER_AXES, Slot, split_pieces
from chainrule.graph.tensor import Tensor, apply, constant, placeholder


def batched(outputs: Sequence[Tensor], examples: Sequence[Tensor], batches: Sequence[Tensor]) -> list[Tensor]:
    """The outputs for a whole batch: each of `examples` replaced by its batch, which has one more, leading axis.

    Nodes that do not depend on the examples are used as they are, so that they keep their history.
    """
    nodes = ancestors(outputs)
    reached = descendants(nodes, examples)
    size = batches[0].shape[0]
    known = {example.id: batch for example, batch in zip(examples, batches, strict=True)}
    for node in nodes:
        if node.id in reached and node.id not in known:
            operands = [known[x.id] if x.id in reached else x for x in node.inputs]
            flags = [x.id in reached for x in node.inputs]
            known[node.id] = annotate(_batched_node(node, operands, flags, size), node)
    return [known[y.id] if y.id in reached else _repeat(y, size) for y in outputs]


def _repeat(x: Tensor, size: int) -> Tensor:
    return F.broadcast_to(x, (size, *x.shape))


def _batched_node(node: Tensor, operands: list[Tensor], flags: list[bool], size: int) -> Tensor:
    if node.op in _SOME:
        return _SOME[node.op](node, operands, flags, size)
    everything = [x if flag else _repeat(x, size) for x, flag in zip(operands, flags, strict=True)]
    if OPS[node.op].elementwise:
        return apply(node.op, *everything, **node.attrs)
    if OPS[node.op].kind is OVER_AXES:
        return _axes_up(node, everything)
    if node.op not in _ALL:
        raise DerivativeError(f"{node.op} cannot be batched", where=node.label(), hint="loop over the examples")
    return _ALL[node.op](node, everything, size)


BatchRule = Callable[[Tensor, list[Tensor], int], Tensor]
SomeRow = Callable[[Tensor, list[Tensor], list[bool], int], Tensor]


def _shifted(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


def _axes_up(node: Tensor, xs: list[Tensor]) -> Tensor:
    attrs = dict(node.attrs)
    if "axis" in attrs:
        attrs["axis"] += 1
    if "axes" in attrs:
        attrs["axes"] = _shifted(attrs["axes"])
    return apply(node.op, *xs, **attrs)


def _broadcast_to(node: Tensor, xs: list[Tensor], size: int) -> Tensor:
    x, shape = xs[0], node.attrs["shape"]
    new = len(shape) - (x.ndim - 1)
    return F.broadcast_to(F.reshape(x, (size, *(1,) * new, *x.shape[1:])), (size, *shape))


def _own_rows(array: Tensor, size: int, ndim: int) -> Tensor:
    """0…size−1 along the batch axis, shaped to broadcast with the index arrays."""
    return constant(np.arange(size).reshape(size, *(1,) * (ndim - 1)))


def _indexed(node: Tensor, xs: list[Tensor], size: int) -> Tensor:
    """Indexing of every example by its own index arrays: the batch axis becomes one more index array."""
    x, arrays = xs[0], xs[1:]
    attrs = dict(node.attrs)
    if "shape" in attrs:
        attrs["shape"] = (size, *attrs["shape"])
    if not arrays:
        return apply(node.op, x, **{**attrs, "index": (("slice", None, None, None), *attrs["index"])})
    ndim = max(a.ndim for a in arrays)
    lifted = [F.reshape(a, (size, *(1,) * (ndim - a.ndim), *a.shape[1:])) for a in arrays]
    index = tuple(Slot(e.position + 1) if isinstance(e, Slot) else e for e in attrs["index"])
    places = [i for i, e in enumerate(index) if isinstance(e, (Slot, int)) and e is not None]
    if places[-1] - places[0] != len(places) - 1 or any(e is None or isinstance(e, tuple) for e in index[: places[0]]):
        raise DerivativeError(
            "an index with arrays after slices cannot be batched", where=node.label(), hint="index axis 0 by the array"
        )
    return apply(node.op, x, _own_rows(lifted[0], size, ndim), *lifted, **{**attrs, "index": (Slot(0), *index)})


def _getitem(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    if flags[0] and not any(flags[1:]):
        # The same places in every example.
        return _same_places(node, xs[0], xs[1:], {}, size)
    return _indexed(node, [x if flag else _repeat(x, size) for x, flag in zip(xs, flags, strict=True)], size)


def _put_add(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    if flags[0] and not any(flags[1:]):
        return _same_places(node, xs[0], xs[1:], {"shape": (size, *node.attrs["shape"])}, size)
    return _indexed(node, [x if flag else _repeat(x, size) for x, flag in zip(xs, flags, strict=True)], size)


def _put_pieces(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    """The sum of the pieces, each put by itself: some of them may be the same in every example."""
    pieces, shape = node.attrs["pieces"], node.attrs["shape"]
    whole = zip(pieces, *(split_pieces(each, pieces) for each in (node.inputs, xs, flags)), strict=True)
    put = []
    for piece, (old, places), (x, arrays), (flag, varies) in whole:
        if flag or any(varies):
            alone = apply("put_add", old, *places, index=piece.index, shape=shape)
            put.append(_put_add(alone, [x, *arrays], [flag, *varies], size))
        else:
            put.append(_repeat(apply("put_add", x, *arrays, index=piece.index, shape=shape), size))
    return functools.reduce(F.add, put)


def _same_places(node: Tensor, x: Tensor, arrays: list[Tensor], more: dict[str, Any], size: int) -> Tensor:
    index = node.attrs["index"]
    slots = [i for i, e in enumerate(index) if isinstance(e, (Slot, int)) and not isinstance(e, bool)]
    apart = bool(slots) and slots[-1] - slots[0] != len(slots) - 1 and any(isinstance(e, Slot) for e in index)
    attrs = {**node.attrs, **more, "index": (("slice", None, None, None), *index)}
    if not apart:
        return apply(node.op, x, *arrays, **attrs)
    # Index arrays with a slice between them put their axes in front of all others, of the new one too.
    lead = max(a.ndim for a in arrays)
    if node.op == "put_add":
        inward = (*range(1, lead + 1), 0, *range(lead + 1, x.ndim))
        return apply(node.op, F.transpose(x, inward), *arrays, **attrs)
    y = apply(node.op, x, *arrays, **attrs)
    return F.transpose(y, (lead, *range(lead), *range(lead + 1, y.ndim)))


def _linear(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    x, weight = xs[:2]
    if not any(flags[1:]):
        return apply("linear", x, weight, *xs[2:], **node.attrs)
    x = x if flags[0] else _repeat(x, size)
    weight = weight if flags[1] else _repeat(weight, size)
    rows = F.reshape(x, (size, math.prod(x.shape[1:-1]), x.shape[-1]))
    y = apply("matmul", rows, F.swapaxes(weight, 1, 2), **node.attrs)
    y = F.reshape(y, (size, *node.shape))
    if len(xs) < 3:
        return y
    bias = xs[2] if flags[2] else _repeat(xs[2], size)
    return F.add(y, F.reshape(bias, (size, *(1,) * (len(node.shape) - 1), bias.shape[-1])))


def _layer_norm(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    if not any(flags[1:]):
        return apply("layer_norm", *xs, **node.attrs)
    x = xs[0] if flags[0] else _repeat(xs[0], size)
    scale, shift = (
        F.reshape(v, (size, *(1,) * (x.ndim - 2), v.shape[-1])) if flag else v
        for v, flag in zip(xs[1:], flags[1:], strict=True)
    )
    return F.standardize(x, -1, node.attrs["eps"]) * scale + shift


def _scan(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    """Carries get the new axis first; sequences get it after that of the steps, so they are still cut into steps."""
    body, count = node.attrs["body"], node.attrs["carries"]
    last = count + node.attrs["sequences"]
    wide = [flag or position < count for position, flag in enumerate(flags)]
    inner = [placeholder((size, *x.shape), x.dtype, x.name) if w else x for x, w in zip(body.inputs, wide, strict=True)]
    chosen = [(old, new) for old, new in zip(body.inputs, inner, strict=True) if old is not new]
    outputs = batched(body.outputs, [old for old, _ in chosen], [new for _, new in chosen])
    operands = [
        x if flag or position >= count else _repeat(x, size)
        for position, (x, flag) in enumerate(zip(xs, flags, strict=True))
    ]
    operands = [F.swapaxes(x, 0, 1) if count <= i < last and flags[i] else x for i, x in enumerate(operands)]
    return apply("scan", *operands, **{**node.attrs, "body": Graph(inner, outputs).simplify()})


def _loop(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    """Examples that have stopped keep their carry while the others continue; one more carry says which still run."""
    *operands, start, stop = xs
    if any(flags[len(operands) :]):
        hint = "loop over the examples"
        raise DerivativeError("a loop whose bounds differ cannot be batched", where=node.label(), hint=hint)
    body, count = node.attrs["body"], node.attrs["carries"]
    last = count + node.attrs["sequences"]
    wide = [flag or position < count for position, flag in enumerate(flags[: len(operands)])]
    alive = placeholder((size,), np.dtype(np.bool_), "alive")
    inner = [placeholder((size, *x.shape), x.dtype, x.name) if w else x for x, w in zip(body.inputs, wide, strict=True)]
    chosen = [(old, new) for old, new in zip(body.inputs, inner, strict=True) if old is not new]
    *given, ok = batched(body.outputs, [old for old, _ in chosen], [new for _, new in chosen])
    on = F.logical_and(alive, ok)
    counts = on if node.attrs["guarded"] else alive
    carry = [_where(counts, new, old) for new, old in zip(given[:count], inner, strict=False)]
    records = [_where(alive, x, np.nan if x.dtype.kind == "f" else x.dtype.type(0)) for x in given[count:]]
    turned = Graph([alive, *inner], [on, *carry, *records, F.greater(F.sum(on), 0)]).simplify()
    begin = constant(np.ones(size, np.bool_))
    operands = [x if flags[i] or i >= count else _repeat(x, size) for i, x in enumerate(operands)]
    operands = [F.swapaxes(x, 0, 1) if count <= i < last and flags[i] else x for i, x in enumerate(operands)]
    attrs = {**node.attrs, "body": turned, "carries": count + 1, "guarded": False}
    return apply("loop", begin, *operands, start, stop, **attrs)


def _where(chosen: Tensor, x: Tensor, other: Any) -> Tensor:
    """For each example x, or the other."""
    return F.where(F.broadcast_to(F.reshape(chosen, (-1, *(1,) * (x.ndim - 1))), x.shape), x, other)


def _call(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    body = node.attrs["body"]
    pairs = zip(body.inputs, flags, strict=True)
    inner = [placeholder((size, *x.shape), x.dtype, x.name) if flag else x for x, flag in pairs]
    chosen = [(old, new) for old, new in zip(body.inputs, inner, strict=True) if old is not new]
    outputs = batched(body.outputs, [old for old, _ in chosen], [new for _, new in chosen])
    return apply("call", *xs, **{**node.attrs, "body": Graph(inner, outputs).simplify()})


def _depends_on(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    return apply("depends_on", xs[0] if flags[0] else _repeat(xs[0], size), xs[1])


def _get_item(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    if xs[0].op == "loop":
        return _project_loop(node, xs[0])
    part = apply("get_item", xs[0], **node.attrs)
    return part if xs[0].op == "call" or node.attrs["part"] < xs[0].attrs["carries"] else F.swapaxes(part, 0, 1)


def _project_loop(node: Tensor, loop: Tensor) -> Tensor:
    """One of the results of a batched loop, whose first carry is each example's ok."""
    carries, place = loop.attrs["carries"], node.attrs["part"] + 1
    if place == len(loop.attrs["body"].outputs) - 1:
        return apply("get_item", loop, part=0)
    part = apply("get_item", loop, part=place)
    return part if place < carries else F.swapaxes(part, 0, 1)


def _in_range(node: Tensor, xs: list[Tensor], flags: list[bool], size: int) -> Tensor:
    return _repeat(apply("in_range", *xs, **node.attrs), size)


_SOME: dict[str, SomeRow] = {
    "in_range": _in_range,
    "getitem": _getitem,
    "put_add": _put_add,
    "put_pieces": _put_pieces,
    "linear": _linear,
    "layer_norm": _layer_norm,
    "call": _call,
    "scan": _scan,
    "loop": _loop,
    "get_item": _get_item,
    "depends_on": _depends_on,
}
_ALL: dict[str, BatchRule] = {
    "broadcast_to": _broadcast_to,
    "reshape": lambda node, xs, size: F.reshape(xs[0], (size, *node.shape)),
    "transpose": lambda node, xs, size: F.transpose(xs[0], (0, *_shifted(node.attrs["axes"]))),
    "matmul": lambda node, xs, size: apply("matmul", *xs, **node.attrs),
    "cross_entropy": lambda node, xs, size: apply("cross_entropy", *xs, **node.attrs),
    **dict.fromkeys(
        ("random_uniform", "random_normal", "random_permutation"),
        lambda node, xs, size: apply(node.op, *xs, **node.attrs),
    ),
}
