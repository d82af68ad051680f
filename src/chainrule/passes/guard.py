"""Guard a step: where its loss is not finite, the state stays what it was."""

from __future__ import annotations

from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, ancestors, replay


def guarded(graph: Graph, states: int) -> Graph:
    """A step graph (state…, data…) → (state…, record) whose new state is the old one where record[0] is not finite.

    The guard stands where each new state is made, so that what is computed from one (the weights from the moments)
    uses the guarded one. Put behind the step instead, it would make the compiler keep both and copy every state.

    Args:
        graph: the step.
        states: how many leading inputs and outputs are state.
    """
    record = graph.outputs[-1]
    known = {x.id: x for x in (*graph.inputs, *graph.captured)}
    replay(ancestors([record]), known)
    fine = F.isfinite(known[record.id][0])
    before = dict(known)
    old = {y.id: x for x, y in zip(graph.inputs[:states], graph.outputs[:states], strict=True) if y.id != x.id}
    for node in graph.nodes:
        if node.id not in known:
            replay([node], known)
            if node.id in old:
                known[node.id] = F.where(fine, known[node.id], old[node.id])
    for y_id, x in old.items():
        if y_id in before:
            known[y_id] = F.where(fine, before[y_id], x)
    return graph.replaced(known)
