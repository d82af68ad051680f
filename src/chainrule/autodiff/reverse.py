"""Reversal: a graph → its gradient graph.

The adjoint of a node is ∂C/∂node. Walking the nodes from the outputs back, each node hands its adjoint, turned by its
derivative rule, to its operands; a node used several times gets the sum (fan-out). Multiplying Jacobians from the left,
1·∂C/∂ȳ·∂ȳ/∂w, is what this does, one factor at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.autodiff import fused_rules  # noqa: F401  # their rows are entered by importing them
from chainrule.autodiff.regions import Recomputed
from chainrule.autodiff.rules import RULES, Formula, Joint, NotDifferentiable, NotImplementedYet
from chainrule.errors import DerivativeError, ShapeError
from chainrule.graph import functions as F
from chainrule.graph import seams
from chainrule.graph.graph import Graph, ancestors, descendants
from chainrule.graph.mode import current, no_grad, setting
from chainrule.graph.ops import Piece, Shape
from chainrule.graph.tensor import Tensor, apply, constant, placeholder


def adjoints(outputs: Sequence[Tensor], seeds: Sequence[Tensor], wrt: Sequence[Tensor]) -> list[Tensor]:
    """∂C/∂w for each w, where C is such that ∂C/∂output is the seed; zeros where C does not depend on w."""
    nodes = ancestors(outputs)
    reached = descendants([n for n in nodes if not n.detached], wrt)
    again = Recomputed(nodes, outputs)
    found: dict[int, Any] = {}
    cut: dict[int, list[_Cut]] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        if output.id in reached:
            _collect(found, output, seed)
    wanted = {w.id for w in wrt}
    for node in reversed(nodes):
        if node.id in cut:
            _collect(found, node, _put_back(cut.pop(node.id), node.shape))
        g = found.get(node.id) if node.id in wanted else found.pop(node.id, None)
        if g is None or not node.inputs:
            continue
        again.enter(node.region, g)
        if node.op == "getitem":
            # All that was taken from a tensor is put back at once, when its turn comes: otherwise each row that is
            # read would cost as much as the whole tensor.
            if node.inputs[0].id in reached and node.dtype.kind == "f":
                operands = [again.of(x, node.region) for x in node.inputs]
                cut.setdefault(node.inputs[0].id, []).append(_Cut(g, operands, node))
            continue
        if node.module == current().module:
            _hand_back(found, node, g, reached, again)
            continue
        with setting(module=node.module):
            _hand_back(found, node, g, reached, again)
    return [found[w.id] if w.id in found else _zeros(w) for w in wrt]


class _Cut(NamedTuple):
    """What goes back to the tensor that a node takes a piece of."""

    g: Tensor
    operands: list[Tensor]
    node: Tensor


def _put_back(cuts: list[_Cut], shape: Shape) -> Tensor:
    """The adjoint of a tensor from those of the pieces that were taken of it."""
    with setting(module=cuts[0].node.module):
        if len(cuts) == 1:
            (g, operands, node), rule = cuts[0], RULES["getitem"]
            assert isinstance(rule, Formula), "indexing has a derivative"
            adjoint = rule.adjoint(0)
            assert adjoint is not None, "indexing has a derivative"
            return adjoint(g, node, *operands)
        pieces = tuple(Piece(cut.node.attrs["index"], len(cut.operands) - 1) for cut in cuts)
        arrays = [array for cut in cuts for array in cut.operands[1:]]
        return apply("put_pieces", *(cut.g for cut in cuts), *arrays, pieces=pieces, shape=shape)


def _hand_back(found: dict[int, Any], node: Tensor, g: Any, reached: set[int], again: Recomputed) -> None:
    rule, copy = RULES[node.op], again.of(node, node.region)
    if node.op == "project":
        # The node it is a part of gets the adjoints of all its parts at once, as a dict.
        gathered = found.setdefault(node.inputs[0].id, {})
        part = node.attrs["part"]
        gathered[part] = F.add(gathered[part], g) if part in gathered else g
        return
    if isinstance(rule, NotDifferentiable) or not any(x.id in reached for x in node.inputs):
        return
    node.check_unchanged()
    if isinstance(rule, Joint):
        wanted = [x.id in reached and x.dtype.kind == "f" for x in node.inputs]
        for x, given in zip(node.inputs, rule.adjoints(g, copy, wanted, adjoints), strict=True):
            if given is not None:
                _collect(found, x, given)
        return
    if isinstance(rule, NotImplementedYet):
        raise DerivativeError(f"the derivative of {node.op} is not implemented", where=node.label(), hint=rule.reason)
    operands = [again.of(x, node.region) for x in node.inputs]
    for position, x in enumerate(node.inputs):
        if x.id in reached and x.dtype.kind == "f":
            adjoint = rule.adjoint(position)
            if adjoint is not None:
                _collect(found, x, adjoint(g, copy, *operands))


def _collect(found: dict[int, Any], x: Tensor, g: Tensor) -> None:
    """Add a contribution to the adjoint of x, and name the adjoint after its forward node."""
    assert g.shape == x.shape, f"the adjoint of {x.label()} has shape {g.shape}"
    g = F.add(found[x.id], g) if x.id in found else g
    # A rule may hand back a node that already is somebody's adjoint (that of a sum's operands is the sum's own).
    if g.adjoint_of is None:
        g.adjoint_of = x
    elif g.adjoint_of is not x and (g.value is None or not x.inputs):
        # Where values are known nobody asks which node's adjoint it is, unless x is a leaf, whose gradient it becomes.
        g = F.identity(g)
        g.adjoint_of = x
    found[x.id] = g


def _zeros(like: Tensor) -> Tensor:
    return constant(np.broadcast_to(np.zeros((), like.dtype), like.shape))


def ones_seed(output: Tensor) -> Tensor:
    """The 1 that a reversal starts from."""
    return constant(np.ones(output.shape, output.dtype))


def reverse(graph: Graph, wrt: Sequence[Tensor]) -> Graph:
    """The gradient graph of a graph: the same inputs (and a seed an output, unless it has one scalar one), ∂C/∂wrt."""
    scalar = len(graph.outputs) == 1 and graph.outputs[0].size == 1
    seeds = [] if scalar else [placeholder(y.shape, y.dtype, f"gradient{i}") for i, y in enumerate(graph.outputs)]
    with setting(tracing=True):
        found = adjoints(graph.outputs, seeds or [ones_seed(graph.outputs[0])], wrt)
    gives = tree.Structure(tuple, (), (tree.LEAF,) * len(found))
    return Graph([*graph.inputs, *seeds], found, None, gives)


def backward(output: Tensor, gradient: Any = None) -> None:
    """Add the gradients of every leaf that asks for one; what `Tensor.backward` does."""
    if not output.requires_grad:
        raise DerivativeError(
            "nothing it depends on asks for a gradient",
            where=f"backward of {output.label()}",
            hint="make a leaf with requires_grad=True",
        )
    if gradient is None and output.size != 1:
        raise ShapeError(
            "an incoming gradient is needed",
            where="backward",
            expected="one element",
            got=output.shape,
            hint="sum() it first",
        )
    seed = ones_seed(output) if gradient is None else F.cast(F.as_tensor(gradient), output.dtype)
    if seed.shape != output.shape:
        raise ShapeError("the incoming gradient does not fit", where="backward", expected=output.shape, got=seed.shape)
    leaves = [node for node in ancestors([output]) if node.requires_grad and not node.inputs]
    with no_grad():
        for leaf, g in zip(leaves, adjoints([output], [seed], leaves), strict=True):
            leaf.grad = g if leaf.grad is None else F.add(leaf.grad, g)


seams.provide("reverse", reverse)
seams.provide("backward", backward)
