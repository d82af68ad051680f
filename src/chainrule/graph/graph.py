"""A Graph: inputs, outputs, and the nodes between them in an order in which they can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.errors import ArgumentError, GraphError, ShapeError, nearest
from chainrule.graph import seams
from chainrule.graph.mode import Guard, setting
from chainrule.graph.ops import OPS
from chainrule.graph.tensor import Tensor, apply, constant

LEAVES = ("input", "constant")


def ancestors(outputs: Iterable[Tensor]) -> list[Tensor]:
    """Every node that the outputs depend on, themselves included, in the order in which they were made.

    A node is made after its operands, so the order of making is a topological order and no recursion is needed.
    """
    found: dict[int, Tensor] = {}
    pending = list(outputs)
    while pending:
        node = pending.pop()
        if node.id not in found:
            found[node.id] = node
            pending.extend(node.inputs)
    return [found[key] for key in sorted(found)]


def descendants(nodes: Sequence[Tensor], sources: Iterable[Tensor]) -> set[int]:
    """The ids of those of `nodes` (in order) that depend on one of the sources, the sources included."""
    reached = {source.id for source in sources}
    for node in nodes:
        for x in node.inputs:
            if x.id in reached:
                reached.add(node.id)
                break
    return reached


def annotate(node: Tensor, like: Tensor) -> Tensor:
    """Give a node the name, place and line of another."""
    node.module, node.line, node.name, node.detached = like.module, like.line, like.name, like.detached
    return node


def replay(nodes: Sequence[Tensor], known: dict[int, Tensor], make: Callable[..., Tensor] = apply) -> dict[int, Tensor]:
    """Copy the nodes onto other operands: `known` maps ids to their stand-ins, and is filled up and returned."""
    made: set[int] = set()
    with setting(tracing=True):
        for node in nodes:
            if node.id in known:
                continue
            if not node.inputs:
                known[node.id] = node
                continue
            new = make(node.op, *(known[x.id] for x in node.inputs), **node.attrs)
            if new.op not in LEAVES and new.id not in made:
                annotate(new, node)
                made.add(new.id)
            known[node.id] = new
    for node in nodes:
        new, forward = known[node.id], node.adjoint_of
        if forward is not None and new.adjoint_of is None and new.id in made:
            new.adjoint_of = known.get(forward.id, forward)
    return known


def inlined(graph: Graph, operands: Sequence[Tensor]) -> list[Tensor]:
    """The outputs of a graph for these inputs (and captured tensors), as nodes of whatever graph is being made."""
    known = {x.id: new for x, new in zip((*graph.inputs, *graph.captured), operands, strict=True)}
    replay(graph.nodes, known)
    return [known[y.id] for y in graph.outputs]


class Graph:
    """A computation as an object: what `cr.trace` returns and what every pass takes and gives.

    Attributes:
        inputs: the placeholders, in the order of the flattened arguments.
        outputs: the results, in the order of the flattened result.
        nodes: every node the outputs depend on, and the inputs, in an order in which they can be run.
        captured: variables (parameters, buffers, arrays) that were not arguments; read again at every run.
        guards: arrays from outside that must not have changed since the graph was made.
        programs: what backends have made of it.

    Example:
        >>> import chainrule as cr
        >>> graph = cr.trace(lambda x: (x * x).sum(), cr.tensor([1.0, 2.0]))
        >>> print(graph)
        graph(x: float64[2]) -> float64[]
          %0  x         float64[2]
          %1  multiply  float64[2]  z = x·y           %0 %0
          %2  sum       float64[]   y = Σ x over axes  %1  axes=(0,)
          return %2
        >>> float(graph.run([3.0, 4.0]))
        25.0
    """

    def __init__(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        takes: tree.Structure | None = None,
        gives: tree.Structure | None = None,
        guards: Sequence[Guard] = (),
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.takes = takes or tree.Structure(tuple, (), (tree.LEAF,) * len(self.inputs))
        self.gives = gives or tree.Structure(tuple, (), (tree.LEAF,) * len(self.outputs))
        self.guards = tuple(guards)
        self.programs: dict[str, Callable[[Sequence[Any]], list[Any]]] = {}
        self.nodes = tuple(ancestors([*self.inputs, *self.outputs]))
        self.captured = tuple(n for n in self.nodes if n.is_variable)

    def __len__(self) -> int:
        return len(self.nodes)

    def replaced(self, known: Mapping[int, Tensor]) -> Graph:
        """This graph with its inputs and outputs replaced by their stand-ins."""
        inputs = [known[x.id] for x in self.inputs]
        return Graph(inputs, [known[y.id] for y in self.outputs], self.takes, self.gives, self.guards)

    def frozen(self) -> Graph:
        """This graph with what it captured as constants with their current values."""
        known = {x.id: constant(np.array(x.read())) for x in self.captured}
        return self.replaced(replay(self.nodes, known | {x.id: x for x in self.inputs})) if known else self

    def verify(self) -> Graph:
        """Check order, operands, shapes and dtypes; returns itself.

        Raises:
            GraphError: naming the node that is wrong.
        """
        seen: set[int] = set()
        given = {x.id for x in self.inputs}
        for node in self.nodes:
            if node.op == "input" and node.id not in given:
                raise GraphError("a placeholder that is not an input of this graph", where=node.label())
            if node.op not in LEAVES:
                _verify_node(node, seen)
            seen.add(node.id)
        if len(seen) != len(self.nodes):
            raise GraphError("a node appears twice")
        return self

    def simplify(self) -> Graph:
        """The same function with fewer nodes: constants folded, equal nodes merged, neutral ones removed."""
        return seams.ability("simplify")(self)

    def reverse(self, wrt: Any = None) -> Graph:
        """The gradient graph: it takes what this graph takes and returns ∂C/∂x for each requested input, as a tuple.

        Where this graph does not have one output of one element, the gradient graph takes the gradient of each
        output as further inputs. Every adjoint node names its forward node in `adjoint_of`.

        Args:
            wrt: inputs by name, position or node, or a list of them; by default all real-valued inputs.

        Raises:
            DerivativeError: where an operation on the way has no derivative.
        """
        return seams.ability("reverse")(self, self.select(wrt))

    def select(self, wrt: Any) -> list[Tensor]:
        """The inputs that `wrt` means."""
        if wrt is None:
            return [x for x in self.inputs if x.dtype.kind == "f"]
        chosen = wrt if isinstance(wrt, (list, tuple)) else [wrt]
        by_name = {str(x.name): x for x in self.inputs}
        found = []
        for choice in chosen:
            if isinstance(choice, str) and choice not in by_name:
                raise ArgumentError(
                    "no such input", where="wrt", expected=", ".join(nearest(choice, by_name)), got=choice
                )
            found.append(
                by_name[choice]
                if isinstance(choice, str)
                else choice
                if isinstance(choice, Tensor)
                else self.inputs[choice]
            )
        return found

    def run(self, *xs: Any, backend: str = "numpy") -> Any:
        """The outputs, as NumPy arrays in the traced function's structure, for arguments like its examples.

        Raises:
            ShapeError: an argument is missing, or its shape is not the one traced.
        """
        values = self.arrays(xs)
        found = [y if y.flags.writeable else y.copy() for y in seams.ability("program")(self, backend)(values)]
        return tree.unflatten(self.gives.plain(), found)

    def arrays(self, xs: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        """The arguments as arrays in the order of the inputs, checked, the captured tensors' values behind them."""
        leaves = [leaf for leaf in tree.flatten(tuple(xs))[0] if not is_static(leaf)]
        if len(leaves) != len(self.inputs):
            raise ShapeError(
                "wrong number of arguments", where="graph", expected=f"{len(self.inputs)} arrays", got=len(leaves)
            )
        values = []
        for x, leaf in zip(self.inputs, leaves, strict=True):
            value = np.asarray(
                leaf.value if isinstance(leaf, Tensor) and leaf.value is not None else leaf, dtype=x.dtype
            )
            if value.shape != x.shape:
                raise ShapeError("not the traced shape", where=f"input {x.name}", expected=x.shape, got=value.shape)
            values.append(value)
        if not all(guard.holds for guard in self.guards):
            raise GraphError(
                "a mask that selects elements has changed since the graph was traced",
                where="graph",
                hint="trace it again, or use cr.compile, which does",
            )
        return values + [captured.read() for captured in self.captured]

    def __str__(self) -> str:
        return seams.ability("text")(self)


def is_static(leaf: Any) -> bool:
    """Whether an argument is part of the structure (a bool, an int, a string, a function) rather than data."""
    return isinstance(leaf, (bool, int, str, bytes)) or (callable(leaf) and not hasattr(leaf, "__array__"))


def _verify_node(node: Tensor, seen: set[int]) -> None:
    for x in node.inputs:
        if x.id not in seen:
            raise GraphError(f"the operand {x.label()} comes after it or is missing", where=node.label())
    op = OPS.get(node.op)
    if op is None:
        raise GraphError("an unknown operation", where=node.label())
    shape, dtype = op.infer(*node.inputs, **node.attrs)
    if (shape, dtype) != (node.shape, node.dtype):
        raise GraphError(
            "the shape is not what its operands give", where=node.label(), expected=f"{dtype}{list(shape)}"
        )
    if "body" in node.attrs:
        node.attrs["body"].verify()
    if op.elementwise and any(x.shape != node.shape for x in node.inputs):
        raise GraphError(
            "an elementwise operation over unequal shapes", where=node.label(), got=[x.shape for x in node.inputs]
        )
    if op.elementwise and len({x.dtype for x in node.inputs[node.op == "where" :]}) > 1:
        raise GraphError(
            "an elementwise operation over unequal dtypes", where=node.label(), got=[x.dtype for x in node.inputs]
        )
