"""A derivation as plain numbers and lists."""

from __future__ import annotations

from typing import Any

from chainrule import tree
from chainrule.explain.typeset import key
from chainrule.explain.worked import Iteration, NodeValue, Worked
from chainrule.graph.ops import TUPLE


def values(worked: Worked) -> list[dict[str, Any]]:
    """What `Derivation.values` holds."""
    return [_step(worked, iteration) for iteration in worked.iterations]


def _step(worked: Worked, iteration: Iteration) -> dict[str, Any]:
    shared = [given for given in worked.update.lines if not given.name.prime]
    return {
        "loss": iteration.loss,
        "parameters": _plain(iteration.before),
        "samples": [_sample(worked, value) for value in iteration.samples],
        "update": {
            "gradient": _plain(iteration.gradient),
            "intermediate": {key(g.name): iteration.inner(g.line.node).tolist() for g in shared},
            "state": _plain(iteration.state),
            "parameters": _plain(iteration.after),
            "buffers": _plain(iteration.buffers),
        },
    }


def _sample(worked: Worked, value: NodeValue) -> dict[str, Any]:
    sample, names = worked.sample, worked.names
    forward = {
        key(names.by_node[line.node.id]): value(line.node).tolist()
        for line in worked.forward
        if line.node.dtype != TUPLE
    }
    parameters = {node.id: path for path, node in sample.parameters.items()}
    adjoints = {
        f"dC/d{parameters.get(node.id) or key(names.by_node[node.id])}": value(sample.gradients[node.id]).tolist()
        for node in sample.adjoined
    }
    return forward | adjoints


def _plain(arrays: Any) -> Any:
    return tree.map(lambda array: array.tolist(), arrays)
