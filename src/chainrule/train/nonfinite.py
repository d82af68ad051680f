"""Where a training first stopped being finite: which step, which layer, which operation."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.backends.interpreter import first_not_finite
from chainrule.errors import ChainruleError, NotFiniteError, OutOfRangeError
from chainrule.graph.graph import Graph
from chainrule.graph.tensor import Tensor
from chainrule.train.fit_loop import Loop, NotFinite
from chainrule.train.step import TrainingStep


def not_finite_error(stop: NotFinite, loop: Loop, step: TrainingStep, steps_per_epoch: int) -> ChainruleError:
    """The error to raise: the bad step is run again, operation by operation, from the state before it.

    A step with an index or a label outside its range counts as not finite, since compiled code cannot raise.
    """
    state = loop.backend.view(loop.state)[: loop.training.train.states]
    place = f"epoch {stop.epoch + 1}, step {stop.step + 1} of {steps_per_epoch}"
    try:
        node = _first(loop, state, stop.rows)
    except OutOfRangeError as error:
        where, got = f"{place}, {error.where}", f"{error.got} of the batch"
        return OutOfRangeError(error.what, where=where, expected=error.expected, got=got)
    lost = node is not None and node.op == "input"
    what = "the gradient became infinite or NaN" if np.isfinite(stop.loss) else f"the loss became {stop.loss:g}"
    return NotFiniteError(
        f"{what} in {place}",
        where=f"step {stop.epoch * steps_per_epoch + stop.step + 1}",
        got=_described(node, step, state[0]),
        hint="lower the learning rate, clip the gradients (ClipNorm(1.0)) or check the scale of inputs and targets; "
        + ("build the model again" if lost else "the model keeps its parameters from before"),
    )


def _first(loop: Loop, state: Any, rows: Any) -> Tensor | None:
    train = loop.training.train
    graph: Graph | None = train.step if len(rows) == train.batch else train.last
    assert graph is not None, "a step without its graph"
    return first_not_finite(graph, [*state, *(np.asarray(loop.data[i]) for i in train.data), rows])


def _described(node: Tensor | None, step: TrainingStep, first_leaf: Any) -> str:
    if node is None:
        return "no operation that repeats it on the reference backend (the numbers are near overflow)"
    if node.op == "input":
        named = step.named_parameters(first_leaf) if step.packed else {}
        bad = [name for name, value in named.items() if not np.isfinite(value).all()]
        name = bad[0] if bad else (node.name or "").removeprefix("state.parameters.")
        return f"already not finite before this step, by the update of the step before: {name}"
    place = f"layer {node.module}" if node.module else "the loss or the update"
    role = " (in the gradient)" if node.adjoint_of is not None else ""
    return f"first not finite in {place}, operation {node.op}{role}"
