"""The combinations of a sweep that differ in numbers only, found by tracing each, and the program that they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.graph.tensor import Tensor, placeholder
from chainrule.passes import hoist_constants as hoist
from chainrule.train import mistakes
from chainrule.train.label_order import LabelOrder
from chainrule.train.metrics import regresses
from chainrule.train.monitor import Monitor, Monitored
from chainrule.train.plan import KEPT
from chainrule.train.prepare import monitored_value
from chainrule.train.program import Batches, Training
from chainrule.train.step import TrainingStep
from chainrule.train.sweep.layout import GraphKey, Shape, SweepPlan
from chainrule.train.sweep.trials import Trials

Array = np.ndarray[Any, Any]


class Signature(NamedTuple):
    """What is kept of a combination's graph: a number for its outline, and the values of its constants."""

    outline: int
    constants: list[Array]


Signatures = dict[int, Signature]
"""By combination."""


@dataclass
class Grouping:
    """Which combinations are alike.

    Tracing tells, and tracing thousands takes time. So where graphs for another size of batch are due, only some
    combinations are traced again, such that each value in the grid is in one of them. If for those no constant that
    differs between combinations depends on the size, the others' constants are taken as known; if one does, all are
    traced.
    """

    plan: SweepPlan
    _signed: dict[GraphKey, Signatures] = field(default_factory=dict)
    _outlines: dict[Any, int] = field(default_factory=dict)
    _constants: dict[Any, Array] = field(default_factory=dict)

    def groups(self) -> list[CompileGroup]:
        """The trials, in groups that one program each can train."""
        plan = self.plan
        trials: dict[Shape, dict[int, list[int]]] = {}
        for config in range(len(plan.configs)):
            for split in range(len(plan.rows.splits)):
                splits = trials.setdefault(plan.shape(config, split), {})
                splits.setdefault(config, []).append(split)
        found = []
        for shape, splits in trials.items():
            for configs in self._alike(shape, list(splits)):
                drawn = {key: {config: self._signed[key][config] for config in configs} for key in shape.graph_keys()}
                found.append(CompileGroup.of(plan, shape, [(c, split) for c in configs for split in splits[c]], drawn))
        return found

    def _alike(self, shape: Shape, configs: Sequence[int]) -> list[list[int]]:
        groups: dict[Any, list[int]] = {}
        for key in shape.graph_keys():
            self._signed[key] = self._signatures(key, configs)
        for config in configs:
            outlines = tuple(self._signed[key][config].outline for key in shape.graph_keys())
            alike = outlines, self.plan.observing[config]
            groups.setdefault(alike, []).append(config)
        return list(groups.values())

    def _signatures(self, key: GraphKey, configs: Sequence[int]) -> Signatures:
        known = next((drawn for other, drawn in self._signed.items() if other.kind == key.kind), {})
        groups: dict[int, list[int]] = {}
        for config in configs:
            groups.setdefault(known[config].outline if config in known else -1, []).append(config)
        found: Signatures = {}
        for outline, alike in groups.items():
            inferred = None if outline < 0 else self._inferred(key, {config: known[config] for config in alike})
            found |= inferred or {config: self._sign(config, key) for config in alike}
        return found

    def _inferred(self, key: GraphKey, known: Signatures) -> Signatures | None:
        """The signatures of alike combinations, most from those for another size; None where that will not do."""
        traced = {config: self._sign(config, key) for config in self._some(list(known))}
        first = next(iter(traced.values()))
        if any(signature.outline != first.outline for signature in traced.values()):
            return None
        before = list(zip(*(signature.constants for signature in known.values()), strict=True))
        if len(before) != len(first.constants):
            return None
        differing = {place for place, values in enumerate(before) if _differ(values)}
        for place, value in enumerate(first.constants):
            for config, signature in traced.items():
                expected = known[config].constants[place] if place in differing else value
                if signature.constants[place] is not expected:
                    return None
        return {
            config: Signature(
                first.outline,
                [
                    own if i in differing else new
                    for i, (own, new) in enumerate(zip(constants, first.constants, strict=True))
                ],
            )
            for config, (_, constants) in known.items()
        }

    def _some(self, configs: Sequence[int]) -> list[int]:
        """Combinations that together have every value that the grid has for these."""
        seen: set[Any] = set()
        some: list[int] = []
        for config in configs:
            values = {(name, repr(value)) for name, value in self.plan.configs[config].items()}
            if not values <= seen or not some:
                some.append(config)
                seen |= values
        return some

    def _sign(self, config: int, key: GraphKey) -> Signature:
        graph = self.plan.graph(config, key)
        outline = self._outlines.setdefault(hoist.structural_hash(graph), len(self._outlines))
        # Equal constants are one object, since most are the same for all.
        constants = [self._constants.setdefault((x.dtype, x.shape, x.tobytes()), x) for x in hoist.constants(graph)]
        return Signature(outline, constants)


def _differ(values: Sequence[Array]) -> bool:
    return any(value is not values[0] for value in values)


@dataclass(frozen=True)
class CompileGroup:
    """Trials that one program trains.

    Attributes:
        trials: combination and split of each.
        numbers: what each combination's graphs have otherwise than the others': inputs of the program, before the rest
            of the state.
        places: for each graph, which of its constants which of these numbers stands for.
    """

    plan: SweepPlan
    shape: Shape
    trials: list[tuple[int, int]]
    numbers: dict[int, list[Array]]
    places: dict[GraphKey, dict[int, int]]

    @classmethod
    def of(
        cls, plan: SweepPlan, shape: Shape, trials: list[tuple[int, int]], drawn: dict[GraphKey, Signatures]
    ) -> CompileGroup:
        """The group of these trials, from the signatures of its combinations."""
        configs = list(dict.fromkeys(config for config, _ in trials))
        columns: dict[tuple[int, ...], int] = {}
        places: dict[GraphKey, dict[int, int]] = {}
        numbers: dict[int, list[Array]] = {config: [] for config in configs}
        for key, signatures in drawn.items():
            places[key] = {}
            for place, values in enumerate(zip(*(signatures[config].constants for config in configs), strict=True)):
                if not _differ(values):
                    continue
                # The learning rate, say, stands in the graph of the last batch too: one number serves both.
                alike = tuple(map(id, values))
                if alike not in columns:
                    columns[alike] = len(columns)
                    for config, value in zip(configs, values, strict=True):
                        numbers[config].append(value)
                places[key][place] = columns[alike]
        return cls(plan, shape, trials, numbers, places)

    def mistakes(self) -> list[str]:
        """What is wrong with its networks, or the order of their rows, by the theory."""
        config, split = self.trials[0]
        trainer, step = self.plan.step(config, self.shape)
        y, batch = self.plan.rows.y, self.shape.batch
        wrong = mistakes.find(step, [self.plan.rows.X[0], y], batch)
        if self.plan.shuffle == "never" and not regresses(trainer.loss):
            order = LabelOrder()
            order.add(y[self.plan.rows.splits[split][0]])
            wrong += mistakes.in_order(order, batch)
        return wrong

    def program(self) -> Trials:
        """What the program shall do."""
        plan, (config, _) = self.plan, self.trials[0]
        trainer, step = plan.step(config, self.shape)
        plan.check_labels(trainer, config)
        state = step.state()
        given = [placeholder(x.shape, x.dtype, f"number{i}") for i, x in enumerate(self.numbers[config])]
        names = tree.names(state)
        keeps = tuple(len(given) + i for i, name in enumerate(names) if name.split(".")[0] in KEPT)
        observed, schedule = Monitored("val_loss" if self.shape.validation else "loss"), step.schedule
        early, evaluates = plan.early_stopping, self.shape.validation > 0
        monitor = Monitor(keeps=keeps)
        if early is not None:
            judged = monitored_value(trainer.metrics, evaluates, early.monitor, early.mode)
            monitor = Monitor(judged, keeps, latest=not early.restore_best)
        if schedule is not None and schedule.observes:
            factor = len(given) + names.index("factor")
            monitor = dataclasses.replace(monitor, schedule=schedule, observed=observed, factor=factor)
        training = Training(
            self._batches("training", given, step),
            self._batches("evaluation", given, step) if self.shape.validation else None,
            plan.epochs,
            self.shape.trained,
            tuple(trainer.metrics),
            trainer.summed,
            monitor,
        )
        return Trials(training, plan.early_stopping)

    def _batches(self, kind: str, given: Sequence[Tensor], step: TrainingStep) -> Batches:
        rows, batch = self.shape.batches(kind)
        graphs, record = {}, tree.LEAF
        for key, places in self.places.items():
            if key.kind == kind:
                numbers = {place: given[number] for place, number in places.items()}
                graph = self.plan.graph(self.trials[0][0], key)
                gives = graph.gives.plain()
                record = gives.children[-1] if kind == "training" else gives
                graphs[key.size] = step.finished(hoist.hoisted(graph, numbers, given, passed_on=kind == "training"))
        states, trains = len(given) + len(tree.flatten(step.state())[0]), kind == "training"
        return Batches(graphs[batch], graphs.get(rows % batch), batch, rows, (0, 1), states, record, trains)
