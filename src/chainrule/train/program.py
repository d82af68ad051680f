"""A training as a graph: a step in a loop over batches, that in a loop over epochs.

`Batches` is what one pass over rows is made of. `Training` is epochs of a pass that trains, each followed by passes
that evaluate. It becomes one graph that either backend runs, prints and draws.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.backends.cost import seconds
from chainrule.backends.loop_program import Comparison, LoopSpec
from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, inlined
from chainrule.graph.loop import loop
from chainrule.graph.tensor import Tensor, constant, placeholder
from chainrule.graph.trace import trace
from chainrule.optim.plateau import Plateau
from chainrule.passes.guard import with_finite_flag
from chainrule.train.epoch_record import EpochRecord
from chainrule.train.metrics import Metric, metric_name
from chainrule.train.monitor import Monitor

LOOKS = 3
"""How many interpreted steps a check takes, about: one, and where rounding matters one or two more."""
INDEX = np.dtype(np.int32)


@dataclass(frozen=True)
class Batches:
    """A pass over a set of rows in batches.

    Attributes:
        step: takes (state…, data…, rows) and gives (state…, record…): the loss, what the batch contributes to the
            metrics and, where it trains, a number that is finite as long as the gradient is.
        last: the same for the last, smaller batch; None where the batches come out even.
        batch: rows per step.
        rows: rows in all.
        data: which of the program's data arrays this pass reads.
        states: how many leading inputs and outputs of `step` are state; 0 outputs where the pass only reads it.
        record: what the rest of the outputs are, by name.
        trains: whether the pass gives a new state.
    """

    step: Graph | None
    last: Graph | None
    batch: int
    rows: int
    data: tuple[int, ...]
    states: int
    record: tree.Structure
    trains: bool

    @property
    def full(self) -> int:
        """The number of full batches."""
        return self.rows // self.batch

    @property
    def steps(self) -> int:
        """The number of batches, the last smaller one included."""
        return self.full + (self.last is not None)

    @property
    def graphs(self) -> list[Graph]:
        """The graphs of this pass: of a full batch, of the last one."""
        return [graph for graph in (self.step, self.last) if graph is not None]

    @property
    def graph(self) -> Graph:
        """A graph of this pass, for its types."""
        return self.graphs[0]

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The steps that stand for all in a check: the last one, and the first where it is of another size."""
        last = (self.steps - 1, self.steps)
        return [(0, 1), last] if len(self.graphs) > 1 else [last]

    def runs(self, times: int) -> dict[Graph, int]:
        """How often each graph runs where the pass is made so many times."""
        return {graph: n * times for graph, n in ((self.step, self.full), (self.last, 1)) if graph is not None}

    def sizes(self) -> Any:
        """The rows of each step."""
        return batch_sizes(self.rows, self.batch, self.steps)

    def looped(
        self, state: Sequence[Tensor], data: Sequence[Tensor], order: Tensor, start: Tensor, stop: Tensor
    ) -> Pass:
        """The steps [start, stop) over the rows of an order: a loop over full batches, and one over the last.

        A step whose loss or gradient is not finite ends it, and leaves the state as it was before.
        """
        taken = [data[i] for i in self.data]
        found = []
        if self.step is not None:
            rows = F.reshape(order[: self.full * self.batch], (self.full, self.batch))
            found.append(self._steps(self.step, state, taken, rows, start, stop))
        if self.last is not None:
            rows = F.reshape(order[self.full * self.batch : self.rows], (1, self.rows - self.full * self.batch))
            first, behind = F.maximum(start - np.int32(self.full), np.int32(0)), stop - np.int32(self.full)
            if found:
                state, behind = found[0].state, F.where(found[0].ok, behind, np.int32(0))
            found.append(self._steps(self.last, state, taken, rows, first, behind))
        records = [records for one in found for records in one.records]
        return Pass(found[-1].state, records, functools.reduce(F.logical_and, [one.ok for one in found]))

    def _steps(
        self, graph: Graph, state: Sequence[Tensor], data: Sequence[Tensor], rows: Tensor, start: Tensor, stop: Tensor
    ) -> Pass:
        if not self.trains:
            every = constant(np.bool_(True))

            def read(_: Any, now: Tensor) -> Any:
                return None, self.record_of(inlined(graph, [*state, *data, now])), every

            _, records, ok = loop(read, None, rows, None, start, stop)
            return Pass(list(state), [records], ok)
        record = self.record_of(graph.outputs[self.states :])
        body = with_finite_flag(graph, [record["loss"], record["finite_probe"]])

        def train(carry: list[Tensor], now: Tensor) -> Any:
            *found, ok = inlined(body, [*carry, *data, now])
            return found[: self.states], self.record_of(found[self.states :]), ok

        last, records, ok = loop(train, list(state), rows, None, start, stop)
        return Pass(last, [records], ok)

    def record_of(self, leaves: Sequence[Any]) -> Record:
        """A record out of its leaves."""
        return tree.unflatten(self.record, list(leaves))


Record = dict[str, Any]
"""What is recorded: "loss", "finite_probe" where it trains, and "metrics" by name."""


def batch_sizes(rows: int, batch: int, steps: int) -> Any:
    """(steps,) the rows of each of the first steps of an epoch."""
    return np.minimum(batch, rows - batch * np.arange(steps))


class Pass(NamedTuple):
    """What a pass gives: the state after it, the stacked records of its loops, and whether all steps were finite."""

    state: list[Tensor]
    records: list[Record]
    ok: Tensor


class Span(NamedTuple):
    """What one call of a training's program is to do: epochs [first, last), in each the batches [start, stop)."""

    first: Any
    last: Any
    start: Any
    stop: Any


@dataclass(frozen=True)
class Training:
    """Training over `epochs` orders of the rows, each whole epoch followed by the evaluation.

    Attributes:
        train: the pass that trains.
        evaluate: the one that evaluates, or None.
        epochs: how many, at most.
        rows: what an epoch trains on; `train` may be a part of one.
        metrics: of all passes.
        summed: whether a loss is a sum over the rows of a batch, not their mean.
        monitor: what the epochs are watched by, or None.
    """

    train: Batches
    evaluate: Batches | None
    epochs: int
    rows: int
    metrics: tuple[Metric, ...] = ()
    summed: bool = False
    monitor: Monitor | None = None

    @property
    def passes(self) -> list[Batches]:
        """The one that trains, and the one that evaluates."""
        return [self.train] if self.evaluate is None else [self.train, self.evaluate]

    def graph(self, data: Sequence[Any]) -> Graph:
        """(state…, watch…, data…, orders, first, last, start, stop) → (state…, watch…, reached, values, records).

        `reached` is 1 for each epoch that was begun; `values` are by name (loss, metrics, those of the evaluation, and
        the factor of a schedule that observes), a number for each epoch, and count where the epoch is whole; `records`
        are of training, for each loop of it, with axes epochs and steps. What was not reached is NaN. It ends with the
        first step whose loss or gradient is not finite, in the state before it, or where the monitor says so.

        Args:
            data: the arrays; only shapes and dtypes matter.
        """
        orders = placeholder((self.epochs, self.train.rows), INDEX, "orders")
        bounds = [placeholder((), INDEX, name) for name in Span._fields]
        state, arrays = inputs(self.train, data)
        watch = self.watch(state)
        return trace(self._run, (state, watch), arrays, orders, *bounds).frozen().simplify().verify()

    def watch(self, state: Sequence[Any]) -> Any:
        """Placeholders for the state of the monitor; None where there is none."""
        if self.monitor is None:
            return None
        like = self.begin_watch(state, None, 0.0, Plateau())
        return tree.map(
            lambda x: placeholder(x.shape, x.dtype, x.name or "watch" if isinstance(x, Tensor) else "watch"), like
        )

    def begin_watch(
        self,
        state: Sequence[Any],
        patience: int | None,
        min_delta: float,
        seen: Plateau,
        record: Record | None = None,
        done: int = 0,
    ) -> dict[str, Any]:
        """The state of the monitor, as `Monitor.begin` has it; `done` steps of an epoch have recorded this."""
        assert self.monitor is not None, "nothing is watched"
        of_epoch = self.epoch_record.begin(record, done) if self.monitor.of_training else {}
        return self.monitor.begin(state, patience, min_delta, seen) | {"of_epoch": of_epoch}

    @property
    def epoch_record(self) -> EpochRecord:
        """What of an epoch's records is kept until it is whole."""
        assert self.monitor is not None, "nothing is watched"
        return EpochRecord(self.train, self.rows, [name for name in self.monitor.of_training if name != "loss"])

    def _run(
        self, carry: Any, data: list[Tensor], orders: Tensor, first: Tensor, last: Tensor, start: Tensor, stop: Tensor
    ) -> Any:
        carry, (reached, values, records), _ = self.looped(carry, data, orders, None, Span(first, last, start, stop))
        return carry, reached, values, records

    def looped(self, carry: Any, data: Sequence[Tensor], orders: Tensor, validation: Tensor | None, span: Any) -> Any:
        """The epochs of a span, as a loop.

        Args:
            carry: the state, and the monitor's.
            data: the arrays.
            orders: (epochs, rows).
            validation: the rows to evaluate; None for all of them.
            span: see `Span`.
        """

        def epoch(carry: Any, order: Tensor) -> Any:
            before, watch = carry
            state, records, ok = self.train.looped(before, data, order, span.start, span.stop)
            # What would follow an epoch is left out where the span ends in the midst of it.
            whole = F.logical_and(ok, F.equal(span.stop, np.int32(self.train.steps)))
            values = self.values(self.train, records, self.train.sizes())
            if self.evaluate is not None:
                seen = _evaluated(self.evaluate, state, data, whole, validation)
                found = self.values(self.evaluate, seen, self.evaluate.sizes())
                values |= {f"val_{name}": value for name, value in found.items()}
            going_on = ok
            if self.monitor is not None:
                watch, state, values, going_on = self._watched(watch, state, values, records, whole, span)
                going_on = F.logical_and(ok, going_on)
            return (state, watch), (constant(np.float32(1.0)), values, records), going_on

        return loop(epoch, carry, orders, None, span.first, span.last, guarded=False)

    def _watched(
        self,
        watch: Any,
        state: list[Tensor],
        values: dict[str, Tensor],
        records: Sequence[Record],
        whole: Tensor,
        span: Any,
    ) -> Any:
        assert self.monitor is not None, "nothing is watched"
        if self.monitor.factor is not None:
            values = values | {"factor": watch["plateau"][0]}
        known = values
        if self.monitor.of_training:
            kept = self.epoch_record
            of_epoch, record = kept.after(watch["of_epoch"], laid_end_to_end(records), span, whole)
            watch = watch | {"of_epoch": of_epoch}
            metrics = [metric for metric in self.metrics if metric_name(metric) in kept.metrics]
            steps = -(-self.rows // self.train.batch)
            sizes = batch_sizes(self.rows, self.train.batch, steps)
            known = values | summary(record, sizes, metrics, self.summed)
        watch, state, going_on = self.monitor.after(watch, known, state, whole)
        return watch, state, values, going_on

    def values(self, batches: Batches, records: Sequence[Record], sizes: Any) -> dict[str, Tensor]:
        """The loss and the metrics over all rows of a pass, from the records of its loops."""
        return summary(laid_end_to_end(records), sizes, self.metrics, self.summed)

    def looping(self, data: Sequence[Any]) -> LoopSpec:
        """What a backend is asked for."""
        graph = self.graph(data)
        states = self.train.states + len(tree.flatten(self.watch(graph.inputs[: self.train.states]))[0])
        at = len(graph.inputs) - len(Span._fields)
        trials = [dict(enumerate(map(np.int32, (0, 1, start, stop)), at)) for start, stop in self.train.spans]
        names = tree.names(tree.unflatten(graph.gives.plain(), list(graph.outputs)))
        probes = frozenset(i for i, name in enumerate(names) if name.endswith("finite_probe"))
        reading = Comparison(states, records=frozenset(range(states, len(graph.outputs))), left_out=probes)
        return LoopSpec(graph, states, reading, tuple(trials), trial_seconds(self.passes))


def laid_end_to_end(records: Sequence[Record]) -> Record:
    """The stacked records of loops as one, the steps' rows behind each other: leaves (steps, k, …) as (steps·k, …)."""
    columns = zip(*(tree.flatten(one)[0] for one in records), strict=True)
    leaves = [[F.reshape(x, (-1, *x.shape[2:])) for x in column] for column in columns]
    return tree.unflatten(tree.flatten(records[0])[1], [x[0] if len(x) == 1 else F.concatenate(x) for x in leaves])


def summary(record: Record, sizes: Any, metrics: Sequence[Metric], summed: bool) -> dict[str, Tensor]:
    """The loss and the metrics over all rows, from the steps' records laid end to end.

    A mean loss of the batches is weighted by their rows; one that is a sum is summed.

    Args:
        record: arrays, or tensors of a traced epoch.
        sizes: (steps,) rows of each step.
        metrics: what else is computed.
        summed: whether a step's loss is a sum over its rows.
    """
    losses = F.cast(record["loss"], np.float64)
    loss = F.sum(losses) if summed else F.sum(losses * constant(np.asarray(sizes, np.float64))) / float(np.sum(sizes))
    found = {metric_name(metric): metric.compute(dict(record["metrics"][metric_name(metric)])) for metric in metrics}
    return {"loss": loss} | {name: F.cast(value, np.float64) for name, value in found.items()}


def inputs(train: Batches, data: Sequence[Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Placeholders for the state of a step and for the data."""
    state = [placeholder(x.shape, x.dtype, x.name) for x in train.graph.inputs[: train.states]]
    return state, [placeholder(x.shape, x.dtype, f"data{i}") for i, x in enumerate(data)]


def _evaluated(
    batches: Batches, state: Sequence[Tensor], data: Sequence[Tensor], ok: Tensor, order: Tensor | None = None
) -> list[Record]:
    """The records of a pass that only reads the state, over all rows or those of an order; blank where not ok."""
    rows = constant(np.arange(batches.rows, dtype=INDEX)) if order is None else order
    stop = F.where(ok, np.int32(batches.steps), np.int32(0))
    return batches.looped(state, data, rows, constant(np.int32(0)), stop).records


def trial_seconds(passes: Sequence[Batches]) -> float:
    """The seconds that checking a program of these passes, of which the first one trains, is expected to take."""
    step = sum(seconds(graph, "numpy") for graph in passes[0].graphs)
    whole = sum(n * seconds(graph, "numpy") for each in passes[1:] for graph, n in each.runs(1).items())
    return LOOKS * (step + whole)
