"""A few steps of a loop's program, run on copies, beside the same steps interpreted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule import resources
from chainrule.backends.agreement import Disagreement, Reading, disagreement
from chainrule.backends.estimate import seconds
from chainrule.backends.live import live_bytes
from chainrule.backends.loop import Crew, Fleet, Outcome, Phase, Results, Schedule, Span
from chainrule.graph.graph import Graph

LOOKS = 3
"""Interpreted steps that a check takes, about: one, and where roundings matter one or two with these redrawn."""
Call = Callable[[list[Any], Span], Outcome]
"""Runs the program on a state, which is used up."""
Bounds = tuple[int, int, int]
"""How many epochs of a fleet, and which batches [start, stop) of each."""


def cost(train: Phase, evaluate: Sequence[Phase]) -> float:
    """The seconds that a check of a program with these phases is expected to take."""
    interpreted = sum(seconds(graph, "numpy") for phase in (train, *evaluate) for graph in phase.graphs)
    return LOOKS * interpreted + sum(phase.steps * seconds(phase.graph, "xla") for phase in evaluate)


def room(train: Phase, evaluate: Sequence[Phase]) -> int:
    """The bytes that a check takes: another state and what it is compared by, and an interpreted step."""
    state = sum(x.size * x.dtype.itemsize for x in train.graph.inputs[: train.states])
    return 2 * state + max(live_bytes(graph, set()) for phase in (train, *evaluate) for graph in phase.graphs)


def fits(train: Phase, evaluate: Sequence[Phase]) -> bool:
    """Whether half of the memory that is free holds what a check takes."""
    return 2 * room(train, evaluate) <= resources.available_memory()


def spans(phase: Phase) -> list[tuple[int, int]]:
    """The steps that stand for all: the last one, which the evaluations follow, and the first where it is another."""
    last = (phase.steps - 1, phase.steps)
    return [(0, 1), last] if len(phase.graphs) > 1 else [last]


def loops_differ(
    schedule: Schedule, call: Call, state: Sequence[Any], data: Sequence[Any], orders: Any
) -> Disagreement | None:
    """What the program of a schedule does wrongly in one step from a state, or in evaluating the state after it."""
    phase = schedule.train
    for start, stop in spans(phase):
        before = [np.asarray(x) for x in state]
        outcome = call(_copied(before), Span(0, 1, start, stop))
        after = [np.asarray(x) for x in outcome.state]
        graph, rows = stepping(phase, start, orders[0])
        values = [*before, *(np.asarray(data[i]) for i in phase.data), rows]
        found = [*after, np.asarray(outcome.train)[0, start]]
        wrong = disagreement(graph, values, found, Reading(phase.states, record=True, left_out=1))
        if wrong is not None:
            return wrong
        if stop == phase.steps and np.isfinite(found[-1]).all():
            for evaluation, records in zip(schedule.evaluate, outcome.evaluate, strict=True):
                wrong = _evaluation_differs(evaluation, after, data, np.asarray(records)[0])
                if wrong is not None:
                    return wrong
    return None


def _copied(state: Sequence[Any]) -> list[Any]:
    import jax

    with jax.enable_x64(True):
        copies: list[Any] = jax.device_put(list(state), may_alias=False)
        return copies


def stepping(phase: Phase, i: int, order: Any) -> tuple[Graph, Any]:
    """The graph of a step as the program runs it, and its rows."""
    graph = phase.step if i < phase.full else phase.last
    assert graph is not None, "a batch without its graph"
    rows = np.asarray(order[i * phase.batch : min((i + 1) * phase.batch, phase.rows)])
    return phase.stepping(graph), rows


def _evaluation_differs(phase: Phase, state: Sequence[Any], data: Sequence[Any], records: Any) -> Disagreement | None:
    every = np.arange(phase.rows, dtype=np.int32)
    for i in sorted({0, phase.steps - 1}):
        graph, rows = stepping(phase, i, every)
        values = [*state, *(np.asarray(data[k]) for k in phase.data), rows]
        wrong = disagreement(graph, values, [records[i]], Reading(record=True))
        if wrong is not None:
            return wrong
    return None


def fleet_differs(
    fleet: Fleet, call: Callable[[Bounds], Results], data: Sequence[Any], crew: Crew
) -> Disagreement | None:
    """What the program of a fleet does wrongly in one step of the first member, or in judging the state after it."""
    X, y = (np.asarray(x) for x in data)
    state = [x[0] for x in crew.states]
    arrays = [X[crew.data[0]], y]
    for start, stop in spans(fleet.train):
        results = call((1, start, stop))
        graph, rows = stepping(fleet.train, start, crew.orders[0][0])
        kept = [x[0] for x in results.kept]
        record = _record(fleet, len(rows), results.records[0, 0])
        wrong = _step_differs(fleet, graph, [*state, *arrays, rows], [*kept, record])
        if wrong is not None:
            return wrong
        if fleet.judge is not None and np.isfinite(record).all() and np.isfinite(results.judged[0, 0]).all():
            after = [*state[: fleet.keeps.start], *kept, *state[fleet.keeps.stop :]]
            wrong = _judging_differs(fleet.judge, fleet.summed, after, arrays, crew.held[0], results.judged[0, 0])
            if wrong is not None:
                return wrong
    return None


def _record(fleet: Fleet, rows: int, summary: Any) -> Any:
    """A step's record, the number at its end apart, from the summary of an epoch that has no other step."""
    loss = summary[:1] if fleet.summed else summary[:1] * (fleet.train.rows / rows)
    return np.concatenate([loss, summary[1:], [0.0]])


def _step_differs(fleet: Fleet, graph: Graph, values: Sequence[Any], found: Sequence[Any]) -> Disagreement | None:
    kept = graph.outputs[fleet.keeps]
    part = Graph(graph.inputs, [*kept, graph.outputs[-1]])
    return disagreement(part, values, found, Reading(len(kept), fleet.keeps.start, record=True, left_out=1))


def _judging_differs(
    phase: Phase, summed: bool, state: Sequence[Any], data: Sequence[Any], order: Any, found: Any
) -> Disagreement | None:
    steps = [stepping(phase, i, order) for i in range(phase.steps)]

    def summary(way: Callable[[Graph, Sequence[Any]], list[Any]]) -> list[Any]:
        records = np.stack([way(graph, [*state, *data, rows])[0] for graph, rows in steps])
        return [np.asarray(phase.summary(records, summed), phase.graph.outputs[0].dtype)]

    graph, rows = steps[0]
    return disagreement(graph, [*state, *data, rows], [found], Reading(record=True), summary)
