"""A model used on rows, in inference mode: its outputs, its loss and metrics, a block of rows at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import tree
from chainrule.backends.compile import program
from chainrule.backends.loop import Phase
from chainrule.train.loop import summarized
from chainrule.train.machine import Place
from chainrule.train.metrics import spread
from chainrule.train.step import Step

Array = np.ndarray[Any, Any]
BLOCK = 4096
"""Rows that are evaluated or predicted at once."""


def outputs(step: Step, place: Place, X: Array) -> Array:
    """What the model gives for every row of X."""
    blocks = []
    graphs: dict[int, Any] = {}
    for start in range(0, len(X), BLOCK):
        block = X[start : start + BLOCK]
        if len(block) not in graphs:
            graphs[len(block)] = step.prediction(block)
        graph = graphs[len(block)]
        with place.entered():
            [output] = program(graph, place.once(graph, -(-len(X) // BLOCK)))(graph.arrays([block]))
        blocks.append(output)
    return np.concatenate(blocks)


def scores(step: Step, place: Place, X: Array, y: Array, summed: bool) -> dict[str, float]:
    """The loss and the metrics over all rows."""
    state = step.state()
    phase = step.phase("evaluation", state, X, y, min(BLOCK, len(X)), (0, 1))
    records = _records(phase, place, tree.flatten(state)[0], X, y)
    [loss], found = summarized(records[None], phase.batch, len(X), step.metrics, summed, spread(y))
    return {"loss": loss, **{name: value for name, [value] in found.items()}}


def _records(phase: Phase, place: Place, state: list[Any], X: Array, y: Array) -> Array:
    records, backend = [], place.once(phase.graph, -(-len(X) // BLOCK))
    for start in range(0, len(X), phase.batch):
        rows = np.arange(start, min(start + phase.batch, len(X)), dtype=np.int32)
        graph = phase.step if len(rows) == phase.batch else phase.last
        assert graph is not None, "a batch without its graph"
        with place.entered():
            [record] = program(graph, backend)([*state, X, y, rows])
        records.append(record)
    return np.asarray(records, np.float64)
