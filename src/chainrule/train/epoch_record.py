"""What the steps of an epoch have recorded, kept in the program's state where a value of all of them is monitored.

An epoch may take several calls, for data that comes in parts too, and a metric of its rows (AUC, R²) is none of those
of its calls. So each call puts the records of its steps into one array an epoch long, and where the epoch is whole the
value is computed from that, as `history` has it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import tree
from chainrule.graph import functions as F
from chainrule.graph.indexing import taken
from chainrule.graph.tensor import Tensor, constant

if TYPE_CHECKING:
    from chainrule.train.program import Batches, Record, Span

INDEX = np.dtype(np.int32)


@dataclass(frozen=True)
class EpochRecord:
    """The records of an epoch of `rows` rows, of which a call may train on a part.

    Attributes:
        train: the steps of a call.
        rows: of the epoch.
        metrics: the names of those whose contributions are kept, beside the loss.
    """

    train: Batches
    rows: int
    metrics: Collection[str]

    @property
    def full(self) -> int:
        """The full batches of the epoch."""
        return self.rows // self.train.batch

    def begin(self, record: Record | None = None, done: int = 0) -> dict[str, Any]:
        """The state of it before an epoch, or where `done` steps have recorded this, laid end to end."""
        leaves, structure = tree.flatten(self.chosen(self._of_batch(self.train.graph)))
        sizes = [sum(k) for k in self._lengths()]
        kept = [np.zeros((n, *x.shape[1:]), x.dtype) for n, x in zip(sizes, leaves, strict=True)]
        if record is not None:
            for array, new in zip(kept, tree.flatten(self.chosen(record))[0], strict=True):
                array[: len(new)] = new
        return {"record": tree.unflatten(structure, kept), "done": np.asarray(done, INDEX)}

    def after(self, state: dict[str, Any], record: Record, span: Span, whole: Tensor) -> tuple[dict[str, Any], Record]:
        """The state after the steps of a span, which have recorded this, and what is recorded of the epoch by then."""
        shift = state["done"] - span.start
        kept, structure = tree.flatten(state["record"])
        columns = zip(kept, tree.flatten(self.chosen(record))[0], self._lengths(), strict=True)
        found = tree.unflatten(structure, [self._put(*column, span, shift) for column in columns])
        done = F.where(whole, np.int32(0), state["done"] + (span.stop - span.start))
        return {"record": found, "done": done}, found

    def chosen(self, record: Record) -> Record:
        """The loss, and what is contributed to the metrics that are monitored."""
        return {"loss": record["loss"], "metrics": {name: record["metrics"][name] for name in self.metrics}}

    def _of_batch(self, graph: Any) -> Record:
        return self.train.record_of(graph.outputs[self.train.states :])

    def _lengths(self) -> list[tuple[int, int]]:
        """Of each leaf, how long it is for the full batches of an epoch, and for the smaller last one."""
        of_full, of_last = (
            [len(x) for x in tree.flatten(self.chosen(self._of_batch(graph)))[0]] if graph is not None else None
            for graph in (self.train.step, self.train.last)
        )
        none = [0] * len(of_full or of_last or ())
        return [(self.full * k, last) for k, last in zip(of_full or none, of_last or none, strict=True)]

    def _put(self, kept: Tensor, new: Tensor, lengths: tuple[int, int], span: Span, shift: Tensor) -> Tensor:
        """An array of the epoch with what the steps of a span have recorded in their places.

        Args:
            kept: before them.
            new: of all the steps that a call may have, laid end to end.
            lengths: see `_lengths`.
            span: the steps that were taken, as a call counts them.
            shift: by how much the epoch counts them higher.
        """
        full, last = lengths
        parts = []
        if full:
            each = full // self.full
            here = self.train.full * each
            steps = constant(np.arange(full, dtype=INDEX) // each) - shift
            inside = F.logical_and(steps >= span.start, steps < F.minimum(span.stop, np.int32(self.train.full)))
            some = new[:here]
            if self.rows != self.train.rows:
                places = constant(np.arange(full, dtype=INDEX)) - shift * np.int32(each)
                some = taken(some, F.clip(places, 0, here - 1))
            parts.append(F.where(F.reshape(inside, (full, *(1,) * (kept.ndim - 1))), some, kept[:full]))
        if last:
            parts.append(F.where(span.stop > np.int32(self.train.full), new[len(new) - last :], kept[full:]))
        return parts[0] if len(parts) == 1 else F.concatenate(parts)
