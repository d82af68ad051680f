"""Matrices of a step's state, held transposed: a small product then reads all its operands as they lie in memory.

A layer is X·Wᵀ, its weights' gradient (∂C/∂Y)ᵀ·X. With Wᵀ in the state these are X·(Wᵀ) and Xᵀ·∂C/∂Y, which as sums of
rank-one updates go along rows of Wᵀ, of ∂C/∂Y and of the result. Held as W, each step would transpose two.
"""

from __future__ import annotations

from collections.abc import Callable

from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, replay
from chainrule.graph.mode import setting
from chainrule.graph.ops import OPS
from chainrule.graph.tensor import Tensor, apply, placeholder
from chainrule.passes.simplify import uniform_value

NARROW = 16
"""Outputs of a layer below which the rows of Wᵀ would be too short to be worth it."""


def to_transpose(graph: Graph, states: int) -> frozenset[int]:
    """The places of the state's matrices to hold transposed: weights, and what goes with them in the update."""
    chosen = {x.id for x in graph.inputs[:states]} & {
        node.inputs[1].id
        for node in graph.nodes
        if node.op == "linear" and node.inputs[0].ndim == 2 and node.shape[-1] >= NARROW
    }
    for node in graph.nodes:
        if node.op == "loop":
            chosen |= {node.inputs[i].id for i in to_transpose(node.attrs["body"], node.attrs["carries"])}
    chosen &= {x.id for x in graph.inputs[:states]}
    pairs = list(zip(graph.inputs[:states], graph.outputs[:states], strict=True))
    while True:
        wanted = _wanted(graph, [y for x, y in pairs if x.id in chosen])
        more = {x.id for x, _ in pairs} & wanted - chosen
        if not more:
            return frozenset(i for i, (x, _) in enumerate(pairs) if x.id in chosen)
        chosen |= more


def with_transposed(graph: Graph, places: frozenset[int], states: int) -> Graph:
    """The graph with the inputs at these places, and the outputs at those that are state, transposed.

    Args:
        graph: any graph.
        places: of matrices among its inputs.
        states: how many leading outputs are the new values of the leading inputs.

    Example:
        >>> import chainrule as cr, numpy as np
        >>> graph = cr.trace(lambda w, x: cr.linear(x, w), *np.ones((2, 3, 3), np.float32))
        >>> print(with_transposed(graph, frozenset([0]), 0))
        graph(w: float32[3, 3], x: float32[3, 3]) -> float32[3, 3]
          %0  x       float32[3, 3]
          %1  w       float32[3, 3]
          %2  matmul  float32[3, 3]  Z = X·Y  %0 %1
          return %2
    """
    return _rewritten(graph, places, states, lambda body: False)


def transposed_state(graph: Graph, holds: Callable[[Graph], bool]) -> Graph:
    """The graph, its loops holding transposed what is faster to read that way; its inputs and outputs stay as they are.

    Args:
        graph: any graph.
        holds: whether a loop with this body should do so.
    """
    return _rewritten(graph, frozenset(), 0, holds)


def _rewritten(graph: Graph, places: frozenset[int], states: int, holds: Callable[[Graph], bool]) -> Graph:
    taken = [placeholder(x.shape[::-1], x.dtype, x.name) if i in places else x for i, x in enumerate(graph.inputs)]
    state = [y for i, y in enumerate(graph.outputs[:states]) if i in places]
    known = {x.id: x for x in (*graph.inputs, *graph.captured)}
    across = {graph.inputs[i].id: taken[i] for i in places}
    with setting(tracing=True):
        known |= {key: F.transpose(x) for key, x in across.items()}
        wanted, held = _wanted(graph, state), dict[int, frozenset[int]]()
        for node in graph.nodes:
            if node.op == "loop":
                known[node.id], held[node.id] = _loop(node, known, across, holds)
                continue
            if node.op == "get_item" and node.attrs["part"] in held.get(node.inputs[0].id, ()):
                across[node.id] = apply("get_item", known[node.inputs[0].id], **node.attrs)
                known[node.id] = F.transpose(across[node.id])
                continue
            if node.id in wanted and node.id not in across:
                across[node.id] = _across(node, known, across)
            if node.id in known:
                continue
            if node.op == "matmul" and node.id in across:
                known[node.id] = F.transpose(across[node.id])
            elif _is_layer(node) and node.inputs[1].id in across:
                known[node.id] = _layer(node, known, across)
            else:
                replay([node], known)
    outputs = [across[y.id] if i in places and i < states else known[y.id] for i, y in enumerate(graph.outputs)]
    return Graph(taken, outputs, graph.takes, graph.gives).simplify().verify()


def _is_layer(node: Tensor) -> bool:
    return node.op == "linear" and node.inputs[0].ndim == 2


def _wanted(graph: Graph, outputs: list[Tensor]) -> set[int]:
    """The nodes whose transposes are needed, these outputs among them."""
    wanted = {y.id for y in outputs}
    for node in reversed(graph.nodes):
        if node.id in wanted and OPS[node.op].elementwise:
            wanted |= {x.id for x in node.inputs}
        if node.id in wanted and node.op == "get_item" and node.inputs[0].op == "loop":
            wanted.add(node.inputs[0].inputs[node.attrs["part"]].id)
    return wanted


def _loop(
    node: Tensor, known: dict[int, Tensor], across: dict[int, Tensor], holds: Callable[[Graph], bool]
) -> tuple[Tensor, frozenset[int]]:
    """A loop over what is already transposed or is to be held so, and which of its operands are."""
    body, count = node.attrs["body"], node.attrs["carries"]
    cut = range(count, count + node.attrs["sequences"])
    operands = list(enumerate(node.inputs[: len(body.inputs)]))
    places = {i for i, x in operands if x.id in across and i not in cut}
    if holds(body):
        places |= to_transpose(body, count)
        inner = with_transposed(body, frozenset(places), count)
    else:
        inner = _rewritten(body, frozenset(places), count, holds)
    given = [_turned(x, known, across) if i in places else known[x.id] for i, x in operands]
    bounds = [known[x.id] for x in node.inputs[len(body.inputs) :]]
    return apply("loop", *given, *bounds, **{**node.attrs, "body": inner}), frozenset(places)


def _across(node: Tensor, known: dict[int, Tensor], across: dict[int, Tensor]) -> Tensor:
    """A matrix transposed: computed so where that costs nothing, else by transposing what there is."""
    if node.op == "constant" and uniform_value(node) is not None:
        assert node.value is not None, "a constant without its value"
        return Tensor("constant", (), {}, node.shape[::-1], node.dtype, node.value.T)
    if OPS[node.op].elementwise:
        return apply(node.op, *(across[x.id] for x in node.inputs), **node.attrs)
    if node.op == "matmul":
        x, y = node.inputs
        return apply("matmul", _turned(y, known, across), _turned(x, known, across), **node.attrs)
    if node.op == "broadcast_to" and node.inputs[0].size == 1:
        return F.broadcast_to(F.reshape(known[node.inputs[0].id], ()), node.shape[::-1])
    replay([node], known)
    return _turned(node, known, across)


def _turned(x: Tensor, known: dict[int, Tensor], across: dict[int, Tensor]) -> Tensor:
    return across[x.id] if x.id in across else F.transpose(known[x.id])


def _layer(node: Tensor, known: dict[int, Tensor], across: dict[int, Tensor]) -> Tensor:
    x, weight, *bias = node.inputs
    y = apply("matmul", known[x.id], across[weight.id], **node.attrs)
    return y + F.broadcast_to(known[bias[0].id], y.shape) if bias else y
