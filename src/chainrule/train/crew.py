"""The members of a sweep, and how they become few programs: alike ones share one, their numbers its inputs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from chainrule import backends, tree
from chainrule.backends.loop import Crew, Fleet, Phase
from chainrule.graph.graph import Graph
from chainrule.nn.random import shuffled
from chainrule.passes import lift
from chainrule.train.history import History
from chainrule.train.metrics import spread
from chainrule.train.progress import Count
from chainrule.train.step import Step
from chainrule.train.trainer import BLOCK, Trainer

Array = np.ndarray[Any, Any]
AT_ONCE = 16
"""Members that one call of a program trains: enough to make the call cheap, few enough to share the work evenly."""


@dataclass
class Rows:
    """The data of a sweep: X as each split standardises it, y, and each split's rows to train on and to judge by."""

    X: list[Array]
    y: Array
    splits: list[tuple[Array, Array]]


@dataclass(frozen=True)
class Plan:
    """What all members are asked for."""

    rows: Rows
    epochs: int
    batch_size: int
    shuffle: str
    patience: int | None
    backend: str


@dataclass
class Member:
    """One training of a sweep.

    Attributes:
        config: its hyperparameters.
        fold: the split of the rows that it was judged by.
        weights: its parameters and buffers by path.
        history: what it saw, an epoch at a time; `stopped` is "not finite" where it diverged.
    """

    config: dict[str, Any]
    fold: int
    weights: dict[str, Array] = field(default_factory=dict, repr=False)
    history: History = field(default_factory=History, repr=False)

    def score(self, name: str) -> float:
        """A metric, or "loss" or "val_loss": at the best epoch where early stopping chose one, else at the last."""
        values = {"loss": self.history.loss, "val_loss": self.history.val_loss, **self.history.metrics}.get(name)
        if not values or self.history.stopped == "not finite":
            return float("nan")
        return values[-1 if self.history.best_epoch is None else self.history.best_epoch - 1]


class _Shape(NamedTuple):
    """How many rows a member trains on, in which batches, and how many it is judged by."""

    trained: int
    batch: int
    held: int

    @classmethod
    def of(cls, plan: Plan, fold: int) -> _Shape:
        train, held = plan.rows.splits[fold]
        return cls(len(train), min(plan.batch_size, len(train)), len(held))

    def batches(self, kind: str) -> tuple[int, int]:
        """The rows, and the rows of a full batch, of a "training" or an "evaluation"."""
        return (self.trained, self.batch) if kind == "training" else (self.held, min(BLOCK, self.held))


class _Traced(NamedTuple):
    """A combination's step, the state it begins with, and its graphs for the first shape."""

    trainer: Trainer
    step: Step
    state: Any
    graphs: dict[str, Graph]

    def rate(self, epoch: int, shape: _Shape) -> float:
        """The learning rate at the end of an epoch."""
        schedule, steps = self.step.schedule, -(-shape.trained // shape.batch)
        return self.trainer.optimizer.lr * (1.0 if schedule is None else float(schedule((epoch + 1) * steps - 1)))


def train_all(trainers: Sequence[Trainer], members: Sequence[Sequence[Member]], plan: Plan, progress: bool) -> None:
    """Train every member (a row of them a trainer, one a split); its weights and its history are then in it."""
    groups = _grouped(trainers, members, plan)
    bar = Count(sum(len(row) for row in members), "members") if progress else None
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        # Programs of different shapes compile side by side.
        list(pool.map(_Group.compile, groups))
        spans = [(group, first) for group in groups for first in range(0, len(group.members), AT_ONCE)]
        tasks = [pool.submit(group.train, first) for group, first in spans]
        for task in tasks:
            done = task.result()
            if bar is not None:
                bar.add(done)
    finally:
        pool.shutdown(cancel_futures=True)
        if bar is not None:
            bar.close()


def _grouped(trainers: Sequence[Trainer], members: Sequence[Sequence[Member]], plan: Plan) -> list[_Group]:
    """Groups of members that one program can train: combinations that differ in numbers only, splits of one shape."""
    shapes = [_Shape.of(plan, fold) for fold in range(len(plan.rows.splits))]
    alike: dict[Any, list[int]] = {}
    traced = [_trace(trainer, plan, shapes[0]) for trainer in trainers]
    for place, found in enumerate(traced):
        key = tuple((kind, lift.outline(graph)) for kind, graph in found.graphs.items())
        alike.setdefault(key, []).append(place)
    return [
        _Group(
            plan,
            shape,
            [traced[place] for place in places],
            [
                (i, members[place][fold])
                for i, place in enumerate(places)
                for fold in range(len(shapes))
                if shapes[fold] == shape
            ],
        )
        for places in alike.values()
        for shape in dict.fromkeys(shapes)
    ]


def _trace(trainer: Trainer, plan: Plan, shape: _Shape) -> _Traced:
    steps = -(-shape.trained // shape.batch)
    schedule = None if trainer.schedule is None else trainer.schedule.bind(plan.epochs * steps, steps)
    step = trainer.step(plan.backend, schedule)
    state = step.state()
    kinds = ("training", "evaluation") if shape.held else ("training",)
    X, y = plan.rows.X[0], plan.rows.y
    graphs = {kind: step.traced(kind, state, X, y, shape.batches(kind)[1]) for kind in kinds}
    return _Traced(trainer, step, state, graphs)


@dataclass
class _Group:
    """Members that one program trains."""

    plan: Plan
    shape: _Shape
    traced: list[_Traced]
    members: list[tuple[int, Member]]

    def compile(self) -> None:
        """Make the program and what it reads."""
        first = self.traced[0]
        leaves = len(tree.flatten(first.state)[0])
        places = {kind: lift.differing([t.graphs[kind] for t in self.traced]) for kind in first.graphs}
        numbers = [
            [value for kind in first.graphs for value in lift.values(t.graphs[kind], places[kind])] for t in self.traced
        ]
        given = lift.inputs(numbers[0])
        phases, start = {}, 0
        for kind, where in places.items():
            stand_ins = dict(zip(where, given[start : start + len(where)], strict=True))
            phases[kind] = self._phase(kind, stand_ins, given, len(given) + leaves)
            start += len(where)
        kept = len(tree.flatten({key: first.state[key] for key in ("parameters", "buffers")})[0])
        fleet = Fleet(
            phases["training"], phases.get("evaluation"), self.plan.epochs, self.plan.patience,
            getattr(first.trainer.loss, "reduction", "mean") == "sum", slice(len(given), len(given) + kept),
        )  # fmt: skip
        self._program = backends.get(self.plan.backend).compile_fleet(fleet)
        self._crew = self._shared(numbers)

    def _phase(self, kind: str, stand_ins: Any, given: Any, states: int) -> Phase:
        first = self.traced[0]
        rows, batch = self.shape.batches(kind)
        graphs: list[Graph | None] = []
        for size in (batch, rows % batch):
            if not size:
                graphs.append(None)
                continue
            graph = first.step.traced(kind, first.state, self.plan.rows.X[0], self.plan.rows.y, size)
            assert lift.matches(graph, first.graphs[kind]), "a place means another constant at another batch size"
            lifted = lift.lifted(graph, stand_ins, given, passed_on=kind == "training")
            graphs.append(first.step.finished(lifted))
        return Phase(graphs[0], graphs[1], batch, rows, (0, 1), states)

    def _shared(self, numbers: list[list[Array]]) -> Crew:
        """The arrays of all members, and which of them each one uses."""
        rows = self.plan.rows
        leaves = zip(*(tree.flatten(t.state)[0] for t in self.traced), strict=True)
        orders: dict[tuple[int, int], int] = {}
        folds = sorted({member.fold for _, member in self.members})
        uses = []
        for place, member in self.members:
            seed = self.traced[place].trainer.seed
            order = orders.setdefault((seed, member.fold), len(orders))
            fold = folds.index(member.fold)
            uses.append((place, order, fold, fold))
        own = zip(*(numbers[place] for place, _ in self.members), strict=True)
        return Crew(
            [np.stack([np.asarray(leaf) for leaf in column]) for column in leaves],
            np.stack([self._order(seed, rows.splits[fold][0]) for seed, fold in orders]),
            np.stack([rows.splits[fold][1].astype(np.int32) for fold in folds]),
            [np.stack([rows.X[fold] for fold in folds]), np.stack([rows.y for _ in folds])],
            [np.stack(column) for column in own],
            np.asarray(uses, np.int32),
        )

    def _order(self, seed: int, train: Array) -> Array:
        shuffle = self.plan.shuffle
        every = [
            np.arange(len(train)) if shuffle == "never" else shuffled(len(train), seed, e if shuffle == "epoch" else 0)
            for e in range(self.plan.epochs)
        ]
        return train.astype(np.int32)[np.stack(every)]

    def train(self, first: int) -> int:
        """Train the members from this one on, at most `AT_ONCE`; gives how many."""
        last = min(first + AT_ONCE, len(self.members))
        kept, records, judged = self._program(self._crew, first, last)
        for i, (place, member) in enumerate(self.members[first:last]):
            self._put_back(self.traced[place], member, [leaf[i] for leaf in kept], records[i], judged[i])
        return last - first

    def _put_back(self, traced: _Traced, member: Member, kept: list[Array], records: Array, judged: Array) -> None:
        state = {key: traced.state[key] for key in ("parameters", "buffers")}
        own = tree.unflatten(tree.flatten(state)[1], [np.array(leaf) for leaf in kept])
        member.weights = {**traced.step.named_parameters(own["parameters"]), **own["buffers"]}
        history, finite = member.history, np.isfinite(records).all(axis=1)
        history.backend = self.plan.backend
        y, (train, held) = self.plan.rows.y, self.plan.rows.splits[member.fold]
        for epoch in range(len(records) if finite.all() else int(finite.argmin())):
            loss, metrics = _finished(traced.trainer, records[epoch], y[train])
            val_loss = None
            if len(held):
                val_loss, found = _finished(traced.trainer, judged[epoch], y[held])
                metrics |= {f"val_{name}": value for name, value in found.items()}
            history.add(loss, metrics, traced.rate(epoch, self.shape), val_loss)
        self._say_how_it_ended(history)

    def _say_how_it_ended(self, history: History) -> None:
        patience = self.plan.patience
        if patience is not None and history.val_loss:
            history.best_epoch = int(np.argmin(history.val_loss)) + 1
        if history.epochs == self.plan.epochs:
            return
        waited = history.epochs - (history.best_epoch or history.epochs)
        history.stopped = "early stopping" if patience is not None and waited >= patience else "not finite"


def _finished(trainer: Trainer, record: Array, targets: Array) -> tuple[float, dict[str, float]]:
    """The loss and the metrics of an epoch from its record."""
    total = spread(targets)
    found = zip(trainer.metrics, record[1:], strict=True)
    return float(record[0]), {m.name: float(m.finish(float(value), len(targets), total)) for m, value in found}
