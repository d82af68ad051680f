"""Reversal: a graph → its gradient graph.

The adjoint of a node is ∂C/∂node. Walking the nodes from the outputs back, each node passes its adjoint, transformed by
its derivative rule, to its operands; a node used several times gets the sum (fan-out). Multiplying Jacobians from the
left, 1·∂C/∂ȳ·∂ȳ/∂w, is what this does, one factor at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.autodiff import fused_rules  # noqa: F401  # their rows are entered by importing them
from chainrule.autodiff.rematerialize import Rematerializer
from chainrule.autodiff.rules import RULES, Formula, Joint, NotImplementedYet
from chainrule.errors import DerivativeError, ShapeError
from chainrule.graph import functions as F
from chainrule.graph import seams
from chainrule.graph.graph import Graph, ancestors, descendants
from chainrule.graph.mode import current, no_grad, setting
from chainrule.graph.ops import Piece, Shape
from chainrule.graph.tensor import Tensor, apply, constant, placeholder


def adjoints(outputs: Sequence[Tensor], seeds: Sequence[Tensor], wrt: Sequence[Tensor]) -> list[Tensor]:
    """∂C/∂w for each w, where C is such that ∂C/∂output is the seed; zeros where C does not depend on w."""
    return _walked(ancestors(outputs), outputs, seeds, wrt)


def _walked(
    nodes: Sequence[Tensor], outputs: Sequence[Tensor], seeds: Sequence[Tensor], wrt: Sequence[Tensor]
) -> list[Tensor]:
    """The adjoints, from the outputs and all that they depend on."""
    walk = _Walk(nodes, outputs, wrt)
    # NumPy's warnings are silenced once: for every node it would take as long as arithmetic on small arrays does.
    with setting(quiet=True), np.errstate(all="ignore"):
        for output, seed in zip(outputs, seeds, strict=True):
            if output.id in walk.reached:
                _collect(walk.found, output, seed)
        walk.go()
    return [walk.found[w.id] if w.id in walk.found else _zeros(w) for w in wrt]


class _Cut(NamedTuple):
    """What goes back to the tensor that a node takes a piece of."""

    g: Tensor
    operands: Sequence[Tensor]
    node: Tensor


class _Walk:
    """One reversal: from the last node to the first, each hands its adjoint on to its operands.

    Attributes:
        found: by a node's id, the adjoint that it has not handed on yet, or that was asked for.
        reached: the ids of the nodes that depend on what derivatives are taken by.
    """

    def __init__(self, nodes: Sequence[Tensor], outputs: Sequence[Tensor], wrt: Sequence[Tensor]) -> None:
        self.found: dict[int, Any] = {}
        self._nodes = nodes
        self.reached = descendants([n for n in nodes if not n.detached], wrt)
        self._wanted = {w.id for w in wrt}
        self._again = Rematerializer(nodes, outputs)
        self._cuts: dict[int, list[_Cut]] = {}

    def go(self) -> None:
        """Walk back through all nodes."""
        found, wanted, cuts, module = self.found, self._wanted, self._cuts, current().module
        for node in reversed(self._nodes):
            if node.id in cuts:
                _collect(found, node, _put_back(cuts.pop(node.id), node.shape))
            g = found.get(node.id) if node.id in wanted else found.pop(node.id, None)
            if g is None or not node.inputs or (node.id in wanted and not self._goes_on(node)):
                continue
            if node.module == module:
                self._hand_back(node, g)
                continue
            with setting(module=node.module):
                self._hand_back(node, g)

    def _goes_on(self, node: Tensor) -> bool:
        """Whether a node depends on something else that we differentiate with respect to."""
        return any(x.id in self.reached for x in node.inputs)

    def _hand_back(self, node: Tensor, g: Any) -> None:
        copy, operands = (node, node.inputs) if node.region is None else self._again.stand_ins(node, g)
        rule, reached = RULES[node.op], self.reached
        if node.op == "getitem":
            self._cut(node, g, operands)
        elif isinstance(rule, Formula):
            for position, x in enumerate(node.inputs):
                if x.changed > node.id:
                    node.check_unchanged()
                if x.id in reached and x.dtype.kind == "f":
                    adjoint = rule.adjoint(position)
                    if adjoint is not None:
                        _collect(self.found, x, adjoint(g, copy, *operands))
        else:
            self._hand_back_jointly(node, g, copy)

    def _hand_back_jointly(self, node: Tensor, g: Any, copy: Tensor) -> None:
        rule = RULES[node.op]
        if node.op == "get_item":
            self._gather(node, g)
        elif isinstance(rule, Joint):
            node.check_unchanged()
            needed = [x.id in self.reached and x.dtype.kind == "f" for x in node.inputs]
            for x, given in zip(node.inputs, rule.adjoints(g, copy, needed, adjoints), strict=True):
                if given is not None:
                    _collect(self.found, x, given)
        elif isinstance(rule, NotImplementedYet):
            raise DerivativeError(
                f"the derivative of {node.op} is not implemented", where=node.label(), hint=rule.reason
            )

    def _cut(self, node: Tensor, g: Tensor, operands: Sequence[Tensor]) -> None:
        """Note what goes back to the tensor that a piece was taken of.

        All that was taken from it is put back at once, when its turn comes: otherwise each row that is read would cost
        as much as the whole tensor.
        """
        whole = node.inputs[0]
        if whole.id in self.reached and node.dtype.kind == "f":
            node.check_unchanged(node.inputs[1:])
            self._cuts.setdefault(whole.id, []).append(_Cut(g, operands, node))

    def _gather(self, node: Tensor, g: Tensor) -> None:
        """Note the adjoint of a part: the node it is a part of gets those of all its parts at once, as a dict."""
        gathered = self.found.setdefault(node.inputs[0].id, {})
        part = node.attrs["part"]
        gathered[part] = F.add(gathered[part], g) if part in gathered else g


def _collect(found: dict[int, Any], x: Tensor, g: Tensor) -> None:
    """Add a contribution to the adjoint of x, and name the adjoint after its forward node."""
    assert g.shape == x.shape, f"the adjoint of {x.label()} has shape {g.shape}"
    if x.id in found:
        g = F.add(found[x.id], g)
    # A rule may hand back a node that already is somebody's adjoint (that of a sum's operands is the sum's own).
    if g.adjoint_of is None:
        g.adjoint_of = x
    elif g.adjoint_of is not x and (g.value is None or not x.inputs):
        # Where values are known nobody asks which node's adjoint it is, unless x is a leaf, whose gradient it becomes.
        g = F.identity(g)
        g.adjoint_of = x
    found[x.id] = g


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


def _zeros(like: Tensor) -> Tensor:
    return constant(np.broadcast_to(np.zeros((), like.dtype), like.shape))


def ones_seed(output: Tensor) -> Tensor:
    """The seed 1 that a reversal starts from."""
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
    """Add the gradients of every leaf that requires one; what `Tensor.backward` does."""
    if not output.requires_grad:
        raise DerivativeError(
            "nothing it depends on requires a gradient",
            where=f"backward of {output.label()}",
            hint="make a leaf with requires_grad=True",
        )
    if gradient is None and output.size != 1:
        raise ShapeError(
            "a tensor of several elements needs an incoming gradient",
            where="backward",
            expected="one element",
            got=output.shape,
            hint="sum() it first",
        )
    seed = ones_seed(output) if gradient is None else F.cast(F.as_tensor(gradient), output.dtype)
    if seed.shape != output.shape:
        raise ShapeError("the incoming gradient does not fit", where="backward", expected=output.shape, got=seed.shape)
    nodes = ancestors([output])
    leaves = [node for node in nodes if node.requires_grad and not node.inputs]
    with no_grad():
        for leaf, g in zip(leaves, _walked(nodes, [output], [seed], leaves), strict=True):
            leaf.grad = g if leaf.grad is None else F.add(leaf.grad, g)


seams.provide("reverse", reverse)
seams.provide("backward", backward)
