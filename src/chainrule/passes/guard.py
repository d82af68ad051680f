"""Guard a loop's body: where the step does not count, the carry keeps its old value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, ancestors, replay
from chainrule.graph.tensor import Tensor


def with_finite_flag(step: Graph, of: Sequence[Tensor]) -> Graph:
    """A step as a loop's body, which also gives ok: whether these of its nodes are finite throughout."""
    numbers = F.concatenate([F.reshape(x, (-1,)) for x in of])
    ok = F.equal(F.sum(F.logical_not(F.isfinite(numbers))), 0)
    return Graph(step.inputs, [*step.outputs, ok])


def guarded(body: Graph, carries: int) -> Graph:
    """A body (carry…, …) → (carry…, …, ok) whose new carry is the old one unless ok is true.

    The guard is placed where each new value is made, so that what is computed from one (the weights from the moments)
    uses the guarded one. Placed after the step, it would make the compiler keep both and copy every one.

    Args:
        body: of a loop.
        carries: how many leading inputs and outputs are carried.
    """
    known = {x.id: x for x in (*body.inputs, *body.captured)}
    # What is recorded of a step is of that step, whether it counts or not.
    replay(ancestors(body.outputs[carries:]), known)
    ok = known[body.outputs[-1].id]
    pairs = list(zip(body.inputs[:carries], body.outputs[:carries], strict=True))
    shared = Counter(y.id for _, y in pairs)
    # What is made for these, is itself an input, or is the new value of two is guarded behind the step.
    inside = {y.id: x for x, y in pairs if y.id not in known and shared[y.id] == 1}
    for node in body.nodes:
        if node.id not in known:
            replay([node], known)
            if node.id in inside:
                known[node.id] = F.where(ok, known[node.id], inside[node.id])
    carry = [known[y.id] if y.id == x.id or y.id in inside else F.where(ok, known[y.id], x) for x, y in pairs]
    rest = [known[y.id] for y in body.outputs[carries:]]
    return Graph(body.inputs, [*carry, *rest], body.takes, body.gives)
