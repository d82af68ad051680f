"""Guard a step: where its record is not finite, the state stays what it was."""

from __future__ import annotations

from collections import Counter

from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, ancestors, replay


def guarded(graph: Graph, states: int) -> Graph:
    """A step graph (state…, data…) → (state…, record) whose new state is the old one unless the record is all finite.

    The guard stands where each new state is made, so that what is computed from one (the weights from the moments)
    uses the guarded one. Put behind the step instead, it would make the compiler keep both and copy every state.

    Args:
        graph: the step.
        states: how many leading inputs and outputs are state.
    """
    record = graph.outputs[-1]
    known = {x.id: x for x in (*graph.inputs, *graph.captured)}
    replay(ancestors([record]), known)
    fine = F.equal(F.sum(F.logical_not(F.isfinite(known[record.id]))), 0)
    pairs = list(zip(graph.inputs[:states], graph.outputs[:states], strict=True))
    shared = Counter(y.id for _, y in pairs)
    # What is made before the record, is itself an input, or is two states' new value is guarded behind the step.
    inside = {y.id: x for x, y in pairs if y.id not in known and shared[y.id] == 1}
    for node in graph.nodes:
        if node.id not in known:
            replay([node], known)
            if node.id in inside:
                known[node.id] = F.where(fine, known[node.id], inside[node.id])
    state = [known[y.id] if y.id == x.id or y.id in inside else F.where(fine, known[y.id], x) for x, y in pairs]
    rest = [known[y.id] for y in graph.outputs[states:]]
    return Graph(graph.inputs, [*state, *rest], graph.takes, graph.gives)
