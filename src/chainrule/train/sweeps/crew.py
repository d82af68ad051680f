"""Running a sweep: crews of members, in turn, on as many threads as there are processors."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from chainrule import backends, resources, tree
from chainrule.backends.estimate import seconds
from chainrule.backends.loop import Check, LoopProgram
from chainrule.errors import TrainingWarning
from chainrule.train.loop import RETURN_EVERY, interruptible
from chainrule.train.plan import KEPT
from chainrule.train.program import Members
from chainrule.train.progress import Count
from chainrule.train.step import Step
from chainrule.train.sweeps.family import Family, Survey
from chainrule.train.sweeps.members import Member
from chainrule.train.sweeps.plan import Array, Plan, described
from chainrule.train.trainer import Trainer

PLACES = 64
"""Members in a crew, at most."""
ELEMENTS = 2**23
"""Numbers in the states and orders of a crew, at most, where that is more than one member's."""


class _Begun(NamedTuple):
    """A combination whose members are at work."""

    trainer: Trainer
    step: Step
    state: Any


@dataclass
class _Squad:
    """A family and its program.

    Attributes:
        gives: what the program gives.
        places: the members that one call trains, at most.
        next: the first member that no call has been made for yet.
        compiled: whether a call has come back.
    """

    family: Family
    members: Members
    gives: tree.Structure
    program: LoopProgram
    places: int
    next: int = 0
    compiled: bool = False

    @classmethod
    def of(cls, family: Family) -> _Squad:
        """The squad of a family."""
        members, plan = family.program(), family.plan
        train = members.training.train
        states = sum(x.size for x in train.graph.inputs[: train.states])
        each = plan.epochs * train.steps * seconds(train.graph, plan.backend)
        room = ELEMENTS // (states + plan.epochs * family.shape.trained)
        places = max(1, min(PLACES, len(family.members), int(RETURN_EVERY / each), room))
        looping = members.looping(places, [np.stack(plan.rows.X), plan.rows.y])
        gives = looping.graph.gives.plain()
        return cls(family, members, gives, backends.get(plan.backend).compile_loops(looping), places)

    def train(self, data: Sequence[Any], crew: Crew) -> Results:
        """Train a crew."""
        self.program.make()
        training = self.members.training
        bounds = [crew.taken, training.epochs, 0, training.train.steps]
        rest = [*crew.states, crew.orders, crew.held, crew.versions, *data, *map(np.int32, bounds)]
        outputs, check = self.program([], rest)
        kept, whole, values = tree.unflatten(self.gives, list(map(np.asarray, outputs)))
        return Results(kept, whole, values, check)

    @property
    def waits(self) -> bool:
        """Whether there are members to begin with; before the program is compiled, in one call only."""
        return self.next < len(self.family.members) and (self.compiled or not self.next)


class Crew(NamedTuple):
    """Some members, to be trained in one call. All arrays have a leading axis of places for members.

    Attributes:
        states: the leaves of the states to begin with.
        orders: (places, epochs, rows) orders of the rows to train on.
        held: (places, rows) rows to judge by.
        versions: (places,) which X each one reads.
        taken: how many of the places are taken; so that one program serves any number up to all of them.
    """

    states: list[Any]
    orders: Any
    held: Any
    versions: Any
    taken: int


class Results(NamedTuple):
    """What became of a crew, by place: the leaves kept, and by epoch whether it was whole (1 or NaN) and its values."""

    kept: list[Any]
    whole: Array
    values: dict[str, Array]
    check: Check | None


class _Job(NamedTuple):
    """A call: its squad, its members (combination and split), and what their combinations began with."""

    squad: _Squad
    members: list[tuple[int, int]]
    begun: dict[int, _Begun]


@dataclass
class Sweeping:
    """A sweep at work.

    All Python of ours runs on the calling thread; the others only run programs, so that nothing of the tracing and
    drawing of random numbers is shared.

    Attributes:
        members: by combination and split; filled in as they are done.
        interrupted: whether Ctrl-C has ended it.
    """

    plan: Plan
    members: list[list[Member]]
    interrupted: bool = False
    _order: Callable[[int, int, bool], Array] = field(init=False)

    def __post_init__(self) -> None:
        splits = self.plan.rows.splits
        # Neighbours in the grid often have the seed in common.
        self._order = functools.lru_cache(ELEMENTS // (self.plan.epochs * len(splits[0][0])))(self.plan.order)

    def run(self, progress: bool) -> None:
        """Train all members; after Ctrl-C those at work are the last ones."""
        bar = Count(sum(map(len, self.members)), "members") if progress else None
        threads = 1 if self.plan.backend == "numpy" else resources.cores()
        pool = ThreadPoolExecutor(threads)
        try:
            with interruptible(self):
                families = Survey(self.plan).families()
                for mistake in self._mistakes(families):
                    # Behind us are this method and `Sweep.fit`.
                    warnings.warn(mistake, TrainingWarning, stacklevel=3)
                squads = [_Squad.of(family) for family in families]
                data = backends.get(self.plan.backend).hold([np.stack(self.plan.rows.X), self.plan.rows.y])
                self._all(squads, data, pool, threads, bar)
        finally:
            pool.shutdown(cancel_futures=True)
            if bar is not None:
                bar.close()

    def _mistakes(self, families: list[Family]) -> list[str]:
        """What is wrong by the theory, each mistake once; one that not all make says whose it is."""
        found: dict[str, list[Family]] = {}
        for family in families:
            for mistake in family.mistakes():
                found.setdefault(mistake, []).append(family)
        told = []
        for mistake, of in found.items():
            first = described(self.plan.configs[of[0].members[0][0]])
            told.append(mistake if len(of) == len(families) else f"{first}: {mistake}")
        return told

    def _all(
        self, squads: list[_Squad], data: Sequence[Any], pool: ThreadPoolExecutor, threads: int, bar: Count | None
    ) -> None:
        running: dict[Future[Results], _Job] = {}
        while True:
            while len(running) <= threads and (squad := self._next(squads)):
                job, crew = self._job(squad, threads)
                running[pool.submit(squad.train, data, crew)] = job
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED)[0]:
                job = running.pop(future)
                job.squad.compiled = True
                self._put_back(job, future.result())
                if bar is not None:
                    bar.add(len(job.members))

    def _next(self, squads: list[_Squad]) -> _Squad | None:
        return None if self.interrupted else next((squad for squad in squads if squad.waits), None)

    def _job(self, squad: _Squad, threads: int) -> tuple[_Job, Crew]:
        every = squad.family.members
        share = -(-(len(every) - squad.next) // threads)
        members = every[squad.next : squad.next + min(squad.places, share)]
        squad.next += len(members)
        begun: dict[int, _Begun] = {}
        for config, _ in members:
            if config not in begun:
                trainer, step = self.plan.step(config, squad.family.shape)
                begun[config] = _Begun(trainer, step, step.state())
        return _Job(squad, members, begun), self._crew(squad, members, begun)

    def _crew(self, squad: _Squad, members: list[tuple[int, int]], begun: dict[int, _Begun]) -> Crew:
        plan, numbers, together = self.plan, squad.family.numbers, squad.family.shape.steps == 1
        states = [[*numbers[config], *tree.flatten(begun[config].state)[0]] for config, _ in members]
        return Crew(
            [_padded(column, squad.places) for column in zip(*states, strict=True)],
            _padded(
                [self._order(begun[config].trainer.seed, split, together) for config, split in members], squad.places
            ),
            _padded([plan.rows.splits[split][1].astype(np.int32) for _, split in members], squad.places),
            _padded([np.int32(split if len(plan.rows.X) > 1 else 0) for _, split in members], squad.places),
            len(members),
        )

    def _put_back(self, job: _Job, results: Results) -> None:
        for i, (config, split) in enumerate(job.members):
            begun, member = job.begun[config], self.members[config][split]
            structure = tree.flatten({key: begun.state[key] for key in KEPT})[1]
            kept = tree.unflatten(structure, [np.array(leaf[i]) for leaf in results.kept])
            member.weights = begun.step.tensors(kept)
            if results.check is not None:
                member.history.checked(results.check)
            values = {name: value[i] for name, value in results.values.items()}
            self._write(member, begun, job.squad.family.shape.steps, results.whole[i], values)

    def _write(self, member: Member, begun: _Begun, steps: int, whole: Array, values: dict[str, Array]) -> None:
        plan, history = self.plan, member.history
        epochs = int(np.isfinite(whole).sum())
        columns = {name: value[:epochs].tolist() for name, value in values.items()}
        losses, val_losses = columns.pop("loss"), columns.pop("val_loss", [])
        history.add(losses, columns, _rates(begun, steps, plan.epochs)[:epochs], val_losses)
        history.backend = plan.backend
        member.steps = history.epochs * steps
        member.ended(plan.epochs, plan.patience)


def _rates(begun: _Begun, steps: int, epochs: int) -> list[float]:
    """The learning rate at the end of each epoch."""
    rate, schedule = begun.trainer.optimizer.lr, begun.step.schedule
    if schedule is None:
        return [rate] * epochs
    return [rate * float(factor) for factor in schedule(np.arange(1, epochs + 1) * steps - 1).numpy()]


def _padded(arrays: Sequence[Any], places: int) -> Array:
    """The arrays stacked, with room for more."""
    first = np.asarray(arrays[0])
    stacked = np.zeros((places, *first.shape), first.dtype)
    for i, array in enumerate(arrays):
        stacked[i] = array
    return stacked
