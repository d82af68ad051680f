"""Running a sweep: batches of trials, in turn, on as many threads as there are processors."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from chainrule import backends, resources, tree
from chainrule.backends.cost import seconds
from chainrule.backends.loop_program import CheckReport, LoopProgram
from chainrule.errors import TrainingWarning
from chainrule.train.fit_loop import RETURN_EVERY, interruptible
from chainrule.train.plan import KEPT
from chainrule.train.prepare import monitored_value
from chainrule.train.progress import Line
from chainrule.train.step import TrainingStep
from chainrule.train.sweep.groups import CompileGroup, Grouping
from chainrule.train.sweep.layout import Array, SweepPlan, config_text
from chainrule.train.sweep.result import Trial
from chainrule.train.sweep.trials import Trials
from chainrule.train.trainer import Trainer

PLACES = 64
"""Trials in a batch, at most."""
ELEMENTS = 2**23
"""Numbers in the states and orders of a batch, at most, where that is more than one trial's."""


class _Started(NamedTuple):
    """A combination whose trials are at work."""

    trainer: Trainer
    step: TrainingStep
    state: Any


@dataclass
class _GroupRun:
    """A group of trials and its program.

    Attributes:
        gives: what the program gives.
        places: the trials that one call trains, at most.
        next: the first trial that no call has been made for yet.
        compiled: whether a call has come back.
    """

    group: CompileGroup
    whole: Trials
    gives: tree.Structure
    program: LoopProgram
    places: int
    next: int = 0
    compiled: bool = False

    @classmethod
    def of(cls, group: CompileGroup) -> _GroupRun:
        """A group with its program, yet to be compiled."""
        trials, plan = group.program(), group.plan
        train = trials.training.train
        states = sum(x.size for x in train.graph.inputs[: train.states])
        each = plan.epochs * train.steps * seconds(train.graph, plan.backend)
        room = ELEMENTS // (states + plan.epochs * group.shape.trained)
        places = max(1, min(PLACES, len(group.trials), int(RETURN_EVERY / each), room))
        looping = trials.looping(places, [np.stack(plan.rows.X), plan.rows.y])
        gives = looping.graph.gives.plain()
        return cls(group, trials, gives, backends.get(plan.backend).compile_loops(looping), places)

    def train(self, data: Sequence[Any], batch: TrialBatch) -> Results:
        """Train some of its trials."""
        self.program.make()
        training = self.whole.training
        bounds = [batch.taken, training.epochs, 0, training.train.steps]
        rest = [*batch.states, batch.orders, batch.validation, batch.versions, *data, *map(np.int32, bounds)]
        outputs, check = self.program([], rest)
        kept, whole, values = tree.unflatten(self.gives, list(map(np.asarray, outputs)))
        return Results(kept, whole, values, check)

    @property
    def waits(self) -> bool:
        """Whether there are trials left to start; until the program is compiled, only one call is made."""
        return self.next < len(self.group.trials) and (self.compiled or not self.next)


class TrialBatch(NamedTuple):
    """Some trials, to be trained in one call. All arrays have a leading axis of places for trials.

    Attributes:
        states: the leaves of the states to begin with.
        orders: (places, epochs, rows) orders of the rows to train on.
        validation: (places, rows) rows to evaluate on.
        versions: (places,) which X each one reads.
        taken: how many of the places are taken; so that one program serves any number up to all of them.
    """

    states: list[Any]
    orders: Any
    validation: Any
    versions: Any
    taken: int


class Results(NamedTuple):
    """What became of some trials, by place: the leaves kept, and by epoch 1 or NaN (not whole) and the values."""

    kept: list[Any]
    whole: Array
    values: dict[str, Array]
    check: CheckReport | None


class _Job(NamedTuple):
    """A call: its group, its trials (combination and split), and what their combinations began with."""

    run: _GroupRun
    trials: list[tuple[int, int]]
    started: dict[int, _Started]


@dataclass
class Sweeping:
    """A sweep at work.

    All Python of ours runs on the calling thread; the others only run programs, so that nothing of the tracing and
    drawing of random numbers is shared.

    Attributes:
        trials: by combination and split; filled in as they are done.
        interrupted: whether Ctrl-C has ended it.
    """

    plan: SweepPlan
    trials: list[list[Trial]]
    interrupted: bool = False
    _order: Callable[[int, int, bool], Array] = field(init=False)

    def __post_init__(self) -> None:
        splits = self.plan.rows.splits
        # Neighbours in the grid often have the seed in common.
        self._order = functools.lru_cache(ELEMENTS // (self.plan.epochs * len(splits[0][0])))(self.plan.order)

    def run(self, progress: bool) -> None:
        """Train all trials; after Ctrl-C those at work are the last ones."""
        bar = Line("trial", sum(map(len, self.trials))) if progress else None
        threads = 1 if self.plan.backend == "numpy" else resources.cores()
        pool = ThreadPoolExecutor(threads)
        try:
            with interruptible(self):
                groups = Grouping(self.plan).groups()
                for mistake in self._mistakes(groups):
                    # The warning points at the caller of `Sweep.fit`.
                    warnings.warn(mistake, TrainingWarning, stacklevel=3)
                runs = [_GroupRun.of(group) for group in groups]
                data = backends.get(self.plan.backend).hold([np.stack(self.plan.rows.X), self.plan.rows.y])
                self._run_all(runs, data, pool, threads, bar)
        finally:
            pool.shutdown(cancel_futures=True)
            if bar is not None:
                bar.close()

    def _mistakes(self, groups: list[CompileGroup]) -> list[str]:
        """What is wrong by the theory, each mistake once; one that not all make says whose it is."""
        found: dict[str, list[CompileGroup]] = {}
        for group in groups:
            for mistake in group.mistakes():
                found.setdefault(mistake, []).append(group)
        told = []
        for mistake, of in found.items():
            first = config_text(self.plan.configs[of[0].trials[0][0]])
            told.append(mistake if len(of) == len(groups) else f"{first}: {mistake}")
        return told

    def _run_all(
        self, runs: list[_GroupRun], data: Sequence[Any], pool: ThreadPoolExecutor, threads: int, bar: Line | None
    ) -> None:
        running: dict[Future[Results], _Job] = {}
        while True:
            while len(running) <= threads and (run := self._next(runs)):
                job, batch = self._job(run, threads)
                running[pool.submit(run.train, data, batch)] = job
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED)[0]:
                job = running.pop(future)
                job.run.compiled = True
                self._put_back(job, future.result())
                if bar is not None:
                    bar.show(bar.done + len(job.trials))

    def _next(self, runs: list[_GroupRun]) -> _GroupRun | None:
        return None if self.interrupted else next((run for run in runs if run.waits), None)

    def _job(self, run: _GroupRun, threads: int) -> tuple[_Job, TrialBatch]:
        every = run.group.trials
        share = -(-(len(every) - run.next) // threads)
        trials = every[run.next : run.next + min(run.places, share)]
        run.next += len(trials)
        started: dict[int, _Started] = {}
        for config, _ in trials:
            if config not in started:
                trainer, step = self.plan.step(config, run.group.shape)
                started[config] = _Started(trainer, step, step.state())
        return _Job(run, trials, started), self._batch(run, trials, started)

    def _batch(self, run: _GroupRun, trials: list[tuple[int, int]], started: dict[int, _Started]) -> TrialBatch:
        plan, numbers, together = self.plan, run.group.numbers, run.group.shape.steps == 1
        states = [[*numbers[config], *tree.flatten(started[config].state)[0]] for config, _ in trials]
        return TrialBatch(
            [_padded(column, run.places) for column in zip(*states, strict=True)],
            _padded(
                [self._order(started[config].trainer.seed, split, together) for config, split in trials], run.places
            ),
            _padded([plan.rows.splits[split][1].astype(np.int32) for _, split in trials], run.places),
            _padded([np.int32(split if len(plan.rows.X) > 1 else 0) for _, split in trials], run.places),
            len(trials),
        )

    def _put_back(self, job: _Job, results: Results) -> None:
        for i, (config, split) in enumerate(job.trials):
            started, trial = job.started[config], self.trials[config][split]
            structure = tree.flatten({key: started.state[key] for key in KEPT})[1]
            kept = tree.unflatten(structure, [np.array(leaf[i]) for leaf in results.kept])
            trial.weights = started.step.tensors(kept)
            if results.check is not None:
                trial.history.checked(results.check)
            values = {name: value[i] for name, value in results.values.items()}
            self._write(trial, started, job.run.group.shape.steps, results.whole[i], values)

    def _write(self, trial: Trial, started: _Started, steps: int, whole: Array, values: dict[str, Array]) -> None:
        plan, history = self.plan, trial.history
        epochs = int(np.isfinite(whole).sum())
        columns = {name: value[:epochs].tolist() for name, value in values.items()}
        losses, val_losses = columns.pop("loss"), columns.pop("val_loss", [])
        factors = columns.pop("factor", [1.0] * epochs)
        history.add(losses, columns, _rates(started, steps, factors), val_losses)
        history.backend = plan.backend
        trial.steps = history.epochs * steps
        early, greater = plan.early_stopping, False
        if early is not None:
            metrics = started.trainer.metrics
            greater = monitored_value(metrics, bool(val_losses), early.monitor, early.mode).sign < 0
        trial.ended(plan.epochs, early, greater_is_better=greater)


def _rates(started: _Started, steps: int, observed: list[float]) -> list[float]:
    """The learning rate at the end of each epoch, where observing the losses made these factors of it."""
    lr, schedule = started.trainer.optimizer.lr, started.step.schedule
    if schedule is None:
        return [lr] * len(observed)
    scheduled = schedule(np.arange(1, len(observed) + 1) * steps - 1).numpy()
    return [lr * factor * float(by_step) for factor, by_step in zip(observed, scheduled, strict=True)]


def _padded(arrays: Sequence[Any], places: int) -> Array:
    """The arrays stacked, with room for more."""
    first = np.asarray(arrays[0])
    stacked = np.zeros((places, *first.shape), first.dtype)
    for i, array in enumerate(arrays):
        stacked[i] = array
    return stacked
