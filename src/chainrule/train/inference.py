"""A model used on rows, in inference mode: its outputs, its loss and metrics. The programs are kept between calls.

Compiled programs take 1, 2, 4, … up to 4,096 rows: fewer rows are filled up with copies of the last one, whose results
are left out. That is done where every row of the outputs depends on its own row alone, which the graph tells; a model
that mixes rows (x − x.mean(0)) gets all of them at once, as many as there are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from chainrule import backends, tree
from chainrule.backends.estimate import choose
from chainrule.graph.graph import Graph
from chainrule.graph.random import generator, keyed
from chainrule.graph.tensor import Tensor, placeholder
from chainrule.graph.trace import trace
from chainrule.passes import hoist_constants as hoist
from chainrule.passes.rowwise import rowwise, same_but_for_rows
from chainrule.train.forward import cost_of, output_of, spec, untouched
from chainrule.train.loop import joined
from chainrule.train.metrics import Function
from chainrule.train.precision import Place
from chainrule.train.program import Record, summary
from chainrule.train.serialize import described
from chainrule.train.step import Step

Array = np.ndarray[Any, Any]
BLOCK = 4096
"""Rows that are evaluated or predicted at once, where the model keeps rows apart."""
KEPT = 32
"""Programs that are kept: those used last."""


class _Kept(NamedTuple):
    """A program.

    Attributes:
        graph: what it computes.
        by_row: for each output whether it has a row for each row of X; None where rows are mixed.
        run: the arrays of the graph's inputs → those of its outputs.
        fingerprint: what the graph was as traced, where a part is the user's own and only tracing can tell; else None.
        backend: where it runs.
    """

    graph: Graph
    by_row: list[bool] | None
    run: Callable[[Sequence[Any]], list[Any]]
    fingerprint: Any
    backend: str

    @property
    def draws(self) -> bool:
        """Whether a model draws random numbers."""
        key = self.graph.inputs[-2]
        return any(x is key for node in self.graph.nodes for x in node.inputs)


class _Block(NamedTuple):
    """The outputs for the rows [first, last), and the program that they come from."""

    kept: _Kept
    leaves: list[Array]
    first: int
    last: int


@dataclass
class Inference:
    """The programs that predictions and evaluations of a trainer ran last."""

    _kept: OrderedDict[Any, _Kept] = field(default_factory=OrderedDict)

    def outputs(self, step: Step, place: Place, X: Array) -> Any:
        """What the model gives for every row of X (N, …), in the structure in which it gives it."""
        blocks = list(self._blocks(step, place, X))
        structure, by_row = blocks[0].kept.graph.gives.plain(), blocks[0].kept.by_row
        columns = zip(*(block.leaves for block in blocks), strict=True)
        if len(blocks) == 1 or by_row is None:
            return tree.unflatten(structure, blocks[0].leaves)
        leaves = [np.concatenate(parts) if split else parts[0] for parts, split in zip(columns, by_row, strict=True)]
        return tree.unflatten(structure, leaves)

    def output(self, step: Step, place: Place, X: Array) -> Tensor:
        """The first output for the first row of X, as far as shape and dtype go."""
        return self._forward(step, place, "numpy", (1, *X.shape[1:])).graph.outputs[0]

    def scores(self, step: Step, place: Place, X: Array, y: Array, summed: bool) -> dict[str, float]:
        """The loss and the metrics over all rows."""
        records, sizes, size = [], [], 0
        for block in self._blocks(step, place, X, (step.seed, step.drawn_at)):
            target = y[block.first : block.last]
            size = size or len(target)
            outputs = tree.unflatten(block.kept.graph.gives.plain(), block.leaves)
            scoring = self._scoring(step, place, outputs, target, -(-len(X) // size))
            record = _run(scoring, place, [*block.leaves, target])
            records.append(tree.unflatten(scoring.graph.gives.plain(), record))
            sizes.append(len(target))
        found = summary(joined(records), sizes, step.metrics, summed)
        return {name: float(value.item()) for name, value in found.items()}

    def _blocks(self, step: Step, place: Place, X: Array, key: tuple[int, int] | None = None) -> Iterator[_Block]:
        """The outputs for a block of rows after another; all rows at once where the model mixes them.

        Args:
            step: of the model.
            place: where to run.
            X: (N, …) rows, as the model takes them.
            key: what the model draws random numbers by, where it does; by default another one for each block.
        """
        size = min(len(X), BLOCK)
        backend = place.settled or self._chosen(step, place, X, size)
        tensors = [np.asarray(x.value, x.dtype) for _, x in step.named]
        first = 0
        while first < len(X):
            rows = X[first : first + size]
            padded = 1 << (len(rows) - 1).bit_length() if backend == "xla" else len(rows)
            kept = self._forward(step, place, backend, (padded, *X.shape[1:]))
            if kept.by_row is None and (padded, size) != (len(X), len(X)):
                size = padded = len(X)
                rows, kept = X, self._forward(step, place, backend, X.shape)
            drawn = np.asarray(key or (0, 0), np.uint32)
            if key is None and kept.draws:
                drawn = generator().integers(0, 2**32, 2, np.uint32)
            leaves = _run(kept, place, [*tensors, drawn, _filled(rows, padded)])
            yield _Block(kept, _cut(kept, leaves, len(rows)), first, first + len(rows))
            first += len(rows)

    def _chosen(self, step: Step, place: Place, X: Array, rows: int) -> str:
        """The backend by the size alone, so that the choice repeats."""
        graph = self._forward(step, place, "numpy", (rows, *X.shape[1:])).graph
        return place.once(graph, -(-len(X) // rows))

    def _forward(self, step: Step, place: Place, backend: str, shape: tuple[int, ...]) -> _Kept:
        def traced(rows: int) -> Graph:
            return forward(step, (rows, *shape[1:]))

        def split(graph: Graph) -> list[bool] | None:
            kept = rowwise(graph, graph.inputs[-1])
            sizes = shape[0], shape[0] + 1
            return kept if kept is not None and same_but_for_rows(graph, traced(sizes[1]), sizes) else None

        key = "forward", backend, place.device, shape, *step.settings
        return self._program(step, key, backend, described(step.model), lambda: traced(shape[0]), split)

    def _scoring(self, step: Step, place: Place, outputs: Any, target: Array, blocks: int) -> _Kept:
        leaves, structure = tree.flatten(outputs)
        types = tuple((np.shape(x), np.asarray(x).dtype) for x in (*leaves, target))
        key = "scoring", structure, types, blocks, *step.settings
        own = any(isinstance(metric, Function) for metric in step.metrics)
        parts = None if own else described(step.loss)
        return self._program(step, key, "", parts, lambda: scoring_graph(step, outputs, target), None, blocks)

    def _program(
        self,
        step: Step,
        key: Any,
        backend: str,
        parts: Any,
        traced: Callable[[], Graph],
        split: Callable[[Graph], list[bool] | None] | None,
        blocks: int = 1,
    ) -> _Kept:
        """The program kept under a key; made where there is none, or where what it is made of has changed."""
        kept, graph, fingerprint = self._kept.get((key, parts)), None, None
        if parts is None:
            graph = traced()
            fingerprint = hoist.fingerprint([graph])
        if kept is None or kept.fingerprint != fingerprint:
            graph = graph or traced()
            finished = step.finished(graph)
            name = backend or choose([finished], [blocks])
            kept = _Kept(
                finished, split and split(graph), backends.get(name).compile_graph(finished), fingerprint, name
            )
        self._kept[key, parts] = kept
        self._kept.move_to_end((key, parts))
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return kept


def forward(step: Step, shape: tuple[int, ...]) -> Graph:
    """(tensors…, key, X) → outputs, in inference mode, for X of a shape; the tensors are those of `Step.named`."""

    def run(tensors: dict[str, Tensor], key: Tensor, X: Tensor) -> Any:
        with keyed(key):
            return output_of(step.model, tensors, {}, X)[0]

    # What messages about the traced function call it.
    run.__name__ = type(step.model).__name__
    tensors = {name: spec(x, name) for name, x in step.named}
    with untouched(training=False):
        return trace(run, tensors, placeholder((2,), np.uint32, "key"), placeholder(shape, step.dtype, "X"))


def scoring_graph(step: Step, outputs: Any, y: Array) -> Graph:
    """(outputs…, y) → record…: see `Step.record`."""

    def run(outputs: Any, y: Tensor) -> Record:
        return step.record(cost_of(step.loss, outputs, y), outputs, y)

    with untouched(training=False):
        return trace(run, tree.map(lambda x: spec(np.asarray(x), "output"), outputs), spec(y, "y"))


def _run(kept: _Kept, place: Place, values: list[Any]) -> list[Any]:
    # A program that was made before this process was forked would wait for ever.
    backends.get(kept.backend)
    with place.entered():
        return kept.run(values)


def _filled(X: Array, rows: int) -> Array:
    """X with copies of its last row up to so many rows."""
    if len(X) == rows:
        return X
    return np.concatenate([X, np.broadcast_to(X[-1:], (rows - len(X), *X.shape[1:]))])


def _cut(kept: _Kept, outputs: list[Array], rows: int) -> list[Array]:
    if kept.by_row is None:
        return outputs
    return [y[:rows] if split else y for y, split in zip(outputs, kept.by_row, strict=True)]
