"""The trainings of a sweep as a graph: a loop over trials, each a whole training with its own rows and result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.backends.loop_program import Comparison, LoopSpec
from chainrule.graph import functions as F
from chainrule.graph.graph import Graph
from chainrule.graph.loop import loop
from chainrule.graph.tensor import Tensor, constant, placeholder
from chainrule.graph.trace import trace
from chainrule.optim.plateau import Plateau
from chainrule.train.callbacks import EarlyStopping
from chainrule.train.program import INDEX, Span, Training, inputs, trial_seconds


@dataclass(frozen=True)
class Trials:
    """Trainings of one kind, each with its own state, order of rows and rows to be evaluated on.

    Attributes:
        training: what each of them is; the rows that it trains on are those that an order names, its data X and y.
        early_stopping: what a trial is stopped by, if anything.
    """

    training: Training
    early_stopping: EarlyStopping | None

    def graph(self, places: int, data: Sequence[Any]) -> Graph:
        """(states…, orders, validation, versions, X, y, taken, epochs, start, stop) → (kept…, reached, values).

        All but the data and the last four have a leading axis of places for trials, of which `taken` are taken; X has
        a leading axis of versions (standardised for each fold). The results are for each trial: the leaves that are
        kept of the best epoch's state, or with no value to watch of the last whole one's; and for each epoch whether
        it was a whole one (1, else NaN) and its values.
        """
        train = self.training.train
        states, arrays = inputs(train, data)
        evaluated = 0 if self.training.evaluate is None else self.training.evaluate.rows
        each = [
            [placeholder((places, *x.shape), x.dtype, x.name) for x in states],
            placeholder((places, self.training.epochs, train.rows), INDEX, "orders"),
            placeholder((places, evaluated), INDEX, "validation"),
            placeholder((places,), INDEX, "versions"),
        ]
        bounds = [placeholder((), INDEX, name) for name in ("taken", "epochs", "start", "stop")]
        return trace(self._run, each, arrays, *bounds).frozen().simplify().verify()

    def _run(
        self, each: list[Any], data: list[Tensor], taken: Tensor, epochs: Tensor, start: Tensor, stop: Tensor
    ) -> Any:
        X, y = data

        def trial(_: Any, own: list[Any]) -> Any:
            state, orders, validation, version = own
            # A single version of the data is used as it lies, not copied.
            mine = [X[0] if X.shape[0] == 1 else X[version], y]
            return None, self._alone(state, orders, validation, mine, (epochs, start, stop)), constant(np.bool_(True))

        return loop(trial, None, each, None, 0, taken).records

    def _alone(
        self, state: list[Tensor], orders: Tensor, validation: Tensor, data: list[Tensor], bounds: tuple[Tensor, ...]
    ) -> Any:
        monitor = self.training.monitor
        assert monitor is not None, "a trial without its monitor"
        epochs, start, stop = bounds
        early = self.early_stopping
        patience, min_delta = (None, 0.0) if early is None else (early.patience, early.min_delta)
        watch = tree.map(F.as_tensor, self.training.begin_watch(state, patience, min_delta, Plateau()))
        span = Span(constant(np.int32(0)), epochs, start, stop)
        (_, watch), (_, values, records), _ = self.training.looped((state, watch), data, orders, validation, span)
        losses = F.concatenate([F.reshape(x["loss"], (orders.shape[0], -1)) for x in records], 1)
        probes = F.concatenate([F.reshape(x["finite_probe"], (orders.shape[0], -1)) for x in records], 1)
        whole = F.equal(F.sum(F.logical_not(F.isfinite(losses + probes)), 1), 0)
        return watch["kept"], F.where(whole, 1.0, np.nan), values

    def looping(self, places: int, data: Sequence[Any]) -> LoopSpec:
        """What a backend is asked for."""
        graph, monitor, train = self.graph(places, data), self.training.monitor, self.training.train
        assert monitor is not None, "a trial without its monitor"
        kept, at = len(monitor.keeps), len(graph.inputs) - 4
        trials = [dict(enumerate(map(np.int32, (1, 1, start, stop)), at)) for start, stop in train.spans]
        reading = Comparison(kept, monitor.keeps[0], frozenset(range(kept, len(graph.outputs))))
        return LoopSpec(graph, 0, reading, tuple(trials), trial_seconds(self.training.passes))
