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
from chainrule.backends.cost import choose_backend
from chainrule.graph.graph import Graph
from chainrule.graph.random import generator, keyed
from chainrule.graph.tensor import Tensor, placeholder
from chainrule.graph.trace import trace
from chainrule.passes import hoist_constants as hoist
from chainrule.passes.rowwise import rowwise, same_but_for_rows
from chainrule.train.fit_loop import joined
from chainrule.train.forward import cost_of, output_of, spec, untouched
from chainrule.train.metrics import Function
from chainrule.train.placement import Place
from chainrule.train.program import Record, summary
from chainrule.train.serialize import described
from chainrule.train.step import TrainingStep
from chainrule.train.structures import labels

Array = np.ndarray[Any, Any]
Types = tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
"""The shapes and dtypes of the arrays of X."""
BLOCK = 4096
"""Rows that are evaluated or predicted at once, where the model keeps rows apart."""
KEPT = 32
"""Programs that are kept: those used last."""


class _Kept(NamedTuple):
    """A program.

    Attributes:
        graph: what it computes.
        by_row: for each output whether it has a row for each row of X; None where rows are mixed.
        inputs: how many of the graph's inputs X is: the last ones, behind the key.
        run: the arrays of the graph's inputs → those of its outputs.
        fingerprint: what the graph was as traced, where a part is the user's own and only tracing can tell; else None.
        backend: where it runs.
    """

    graph: Graph
    by_row: list[bool] | None
    run: Callable[[Sequence[Any]], list[Any]]
    fingerprint: Any
    backend: str
    inputs: int

    @property
    def draws(self) -> bool:
        """Whether a model draws random numbers."""
        key = self.graph.inputs[-1 - self.inputs]
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

    def outputs(self, step: TrainingStep, place: Place, X: Sequence[Array]) -> Any:
        """What the model gives for every row of the arrays of X, in the structure in which it gives it."""
        blocks = list(self._blocks(step, place, X))
        structure, by_row = blocks[0].kept.graph.gives.plain(), blocks[0].kept.by_row
        columns = zip(*(block.leaves for block in blocks), strict=True)
        if len(blocks) == 1 or by_row is None:
            return tree.unflatten(structure, blocks[0].leaves)
        leaves = [np.concatenate(parts) if split else parts[0] for parts, split in zip(columns, by_row, strict=True)]
        return tree.unflatten(structure, leaves)

    def output(self, step: TrainingStep, place: Place, X: Sequence[Array]) -> Any:
        """What the model gives for the first row of X, as far as shapes and dtypes go."""
        graph = self._forward(step, place, "numpy", types(X, 1)).graph
        return tree.unflatten(graph.gives.plain(), list(graph.outputs))

    def scores(
        self, step: TrainingStep, place: Place, X: Sequence[Array], y: Sequence[Array], summed: bool
    ) -> dict[str, float]:
        """The loss and the metrics over all rows."""
        records, sizes, size = [], [], 0
        for block in self._blocks(step, place, X, (step.seed, step.drawn_at)):
            target = [array[block.first : block.last] for array in y]
            size = size or len(target[0])
            outputs = tree.unflatten(block.kept.graph.gives.plain(), block.leaves)
            scoring = self._scoring(step, place, outputs, target, -(-len(X[0]) // size))
            record = _run(scoring, place, [*block.leaves, *target])
            records.append(tree.unflatten(scoring.graph.gives.plain(), record))
            sizes.append(len(target[0]))
        found = summary(joined(records), sizes, step.metrics, summed)
        return {name: float(value.item()) for name, value in found.items()}

    def _blocks(
        self, step: TrainingStep, place: Place, X: Sequence[Array], key: tuple[int, int] | None = None
    ) -> Iterator[_Block]:
        """The outputs for a block of rows after another; all rows at once where the model mixes them.

        Args:
            step: of the model.
            place: where to run.
            X: the arrays (N, …) of the rows, as the model takes them.
            key: what the model draws random numbers by, where it does; by default another one for each block.
        """
        every = len(X[0])
        size = min(every, BLOCK)
        backend = place.settled or self._chosen(step, place, X, size)
        tensors = [np.asarray(x.value, x.dtype) for _, x in step.named_tensors]
        first = 0
        while first < every:
            rows = [x[first : first + size] for x in X]
            count = len(rows[0])
            padded = 1 << (count - 1).bit_length() if backend == "xla" else count
            kept = self._forward(step, place, backend, types(X, padded))
            if kept.by_row is None and (padded, size) != (every, every):
                size = padded = count = every
                rows, kept = list(X), self._forward(step, place, backend, types(X, every))
            drawn = np.asarray(key or (0, 0), np.uint32)
            if key is None and kept.draws:
                drawn = generator().integers(0, 2**32, 2, np.uint32)
            leaves = _run(kept, place, [*tensors, drawn, *(_filled(x, padded) for x in rows)])
            yield _Block(kept, _cut(kept, leaves, count), first, first + count)
            first += count

    def _chosen(self, step: TrainingStep, place: Place, X: Sequence[Array], rows: int) -> str:
        """The backend by the size alone, so that the choice repeats."""
        graph = self._forward(step, place, "numpy", types(X, rows)).graph
        return place.once(graph, -(-len(X[0]) // rows))

    def _forward(self, step: TrainingStep, place: Place, backend: str, like: Types) -> _Kept:
        rows = like[0][0][0]

        def traced(count: int) -> Graph:
            return forward(step, tuple(((count, *shape[1:]), dtype) for shape, dtype in like))

        def split(graph: Graph) -> list[bool] | None:
            kept = rowwise(graph, graph.inputs[-len(like) :])
            sizes = rows, rows + 1
            return kept if kept is not None and same_but_for_rows(graph, traced(sizes[1]), sizes) else None

        key = "forward", backend, place.device, like, *step.settings
        return self._program(step, key, backend, described(step.model), lambda: traced(rows), split)

    def _scoring(self, step: TrainingStep, place: Place, outputs: Any, target: Sequence[Array], blocks: int) -> _Kept:
        leaves, structure = tree.flatten(outputs)
        given = tuple((np.shape(x), np.asarray(x).dtype) for x in (*leaves, *target))
        key = "scoring", structure, given, blocks, *step.settings
        own = any(isinstance(metric, Function) for metric in step.metrics)
        parts = None if own else described(step.loss)
        return self._program(step, key, "", parts, lambda: scoring_graph(step, outputs, target), None, blocks)

    def _program(
        self,
        step: TrainingStep,
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
            name = backend or choose_backend([finished], [blocks])
            kept = _Kept(
                finished,
                split and split(graph),
                backends.get(name).compile_graph(finished),
                fingerprint,
                name,
                step.structures.X.size,
            )
        self._kept[key, parts] = kept
        self._kept.move_to_end((key, parts))
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return kept


def types(X: Sequence[Array], rows: int) -> Types:
    """The shapes and dtypes of the arrays of X with so many rows."""
    return tuple(((rows, *x.shape[1:]), x.dtype) for x in X)


def forward(step: TrainingStep, like: Types) -> Graph:
    """(`TrainingStep.named_tensors`…, key, X…) → outputs, in inference mode, for X of these types."""

    def run(tensors: dict[str, Tensor], key: Tensor, *X: Tensor) -> Any:
        with keyed(key):
            return output_of(step.model, tensors, {}, tree.unflatten(step.structures.X, list(X)))[0]

    # What messages about the traced function call it.
    run.__name__ = type(step.model).__name__
    tensors = {name: spec(x, name) for name, x in step.named_tensors}
    with untouched(training=False):
        names = labels(step.structures.X, "X")
        inputs = [placeholder(shape, dtype, name) for (shape, dtype), name in zip(like, names, strict=True)]
        return trace(run, tensors, placeholder((2,), np.uint32, "key"), *inputs)


def scoring_graph(step: TrainingStep, outputs: Any, y: Sequence[Array]) -> Graph:
    """(outputs…, y…) → record…: see `TrainingStep.record`."""

    def run(outputs: Any, *leaves: Tensor) -> Record:
        target = tree.unflatten(step.structures.y, list(leaves))
        return step.record(cost_of(step.loss, outputs, target), outputs, target)

    with untouched(training=False):
        targets = [spec(*pair) for pair in zip(y, labels(step.structures.y, "y"), strict=True)]
        return trace(run, tree.map(lambda x: spec(np.asarray(x), "output"), outputs), *targets)


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
