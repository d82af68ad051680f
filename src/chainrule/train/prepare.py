"""What a training begins with, or goes on with where a callback has changed something: program and state."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from chainrule import backends
from chainrule.backends.estimate import choose
from chainrule.optim.plateau import Plateau
from chainrule.train import checks, machine
from chainrule.train.plan import Plan, Prepared, room_for
from chainrule.train.step import State, Step

if TYPE_CHECKING:
    from chainrule.optim.schedules import Schedule as LearningRate
    from chainrule.train.feeds.feed import Feed
    from chainrule.train.fitting import Fitting
    from chainrule.train.history import History
    from chainrule.train.trainer import Trainer


def prepared(trainer: Trainer, feed: Feed, fitting: Fitting, history: History, start: int) -> tuple[Prepared, State]:
    """What runs a training that began at the step `start`, and the state to begin with."""
    name = _chosen(trainer, feed, fitting, history)
    machine.check_precision(trainer.precision, name)
    step, plan = planned(trainer, name, feed, fitting, history)
    seen = observed(trainer.schedule, history, trainer.plateau)
    state = starting_state(trainer, step, start - schedule_offset(trainer, feed.steps), seen.factor, history)
    program = plan.program(history, feed.arrays)
    return Prepared(name, backends.get(name), step, seen, plan, program), state


def observed(schedule: LearningRate | None, history: History, before: Plateau) -> Plateau:
    """What a schedule has made of the losses so far: all there is to know of it when a training is resumed.

    Args:
        schedule: one, or None.
        history: the training under way.
        before: what it had made of the losses before that.
    """
    return Plateau() if schedule is None else functools.reduce(schedule.observe, history.watched, before)


def planned(trainer: Trainer, backend: str, feed: Feed, fitting: Fitting, history: History) -> tuple[Step, Plan]:
    """What a step is made of, and what to run, as things stand."""
    checks.something_to_train(trainer.model)
    schedule, data = trainer.schedule, feed.arrays
    bound = None if schedule is None else schedule.bind(fitting.epochs * feed.steps, feed.steps)
    step = trainer.step(backend, bound)
    room = room_for(len(data[0]), len(data[0]) < feed.rows or fitting.watches(bound))
    return step, trainer.plans.get(backend, step, trainer.device, data, fitting.batch_size, room, history)


def starting_state(trainer: Trainer, step: Step, start: int, factor: float, history: History) -> State:
    """The state to begin with, or to go on with, as things stand.

    The optimizer's state is that of before where it is of the parameters that are trained now; else it begins anew.
    """
    kept = None
    if trainer.optimizer_state is not None:
        named = dict(trainer.model.named_parameters())
        kept = step.carried_on(trainer.optimizer_state)
        if kept is None or any(trainer.optimized.get(name, named[name]) is not named[name] for name in step.trained):
            history.note("the optimizer begins anew: its state is not of the parameters that are trained now")
            kept = None
    return step.state(kept, trainer.steps, start, factor)


def schedule_offset(trainer: Trainer, steps_per_epoch: int) -> int:
    """By how many steps the schedule is further than this `fit`: those of the epochs before, where it goes on."""
    goes_on = trainer.schedule is not None and not trainer.schedule.spans_fit
    return (trainer.epochs - trainer.history.epochs) * steps_per_epoch if goes_on else 0


def _chosen(trainer: Trainer, feed: Feed, fitting: Fitting, history: History) -> str:
    if trainer.place.settled:
        return trainer.place.settled
    epochs = fitting.epochs * max(1, round(feed.rows / len(feed.arrays[0])))
    return choose(*planned(trainer, "numpy", feed, fitting, history)[1].runs(epochs))
