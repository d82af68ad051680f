"""What a training begins with, or goes on with where a callback has changed something: program and state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import backends, tree
from chainrule.backends.estimate import choose
from chainrule.errors import ArgumentError
from chainrule.train import checks, precision
from chainrule.train.loaders.base import room_for
from chainrule.train.metrics import Metric, is_better_greater, named
from chainrule.train.plan import Plan, Prepared, Wanted
from chainrule.train.program import batch_sizes
from chainrule.train.step import State, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chainrule.train.callbacks import EarlyStopping
    from chainrule.train.checkpoint import Best, Position
    from chainrule.train.history import History
    from chainrule.train.loaders.base import DataLoader
    from chainrule.train.session import FitConfig
    from chainrule.train.setup import Setup
    from chainrule.train.state import TrainState


def prepared(
    setup: Setup,
    past: TrainState,
    loader: DataLoader,
    config: FitConfig,
    history: History,
    start: int,
    position: Position,
) -> tuple[Prepared, tuple[State, Any]]:
    """What runs a training that began at the step `start`, and the state to begin with: its own, and the monitor's.

    Args:
        setup, past, loader, config, history: of the training.
        start: the step at which it began.
        position: where it stands.
    """
    name = _chosen(setup, loader, config, history)
    precision.check_precision(setup.precision, name)
    step, plan = planned(setup, name, loader, config, history)
    state = starting_state(setup, past, step, start - schedule_offset(setup, past, loader.steps), history)
    watch = watched(past, step, plan, state, config, position.best)
    if watch is not None and position.record:
        losses = np.asarray(position.record[0], np.float64)
        sizes = batch_sizes(loader.rows, plan.training.train.batch, len(losses))
        watch["epoch_loss"] = losses.sum() if plan.training.summed else losses @ sizes
    return Prepared(name, backends.get(name), step, plan, plan.program(history, loader.arrays)), (state, watch)


def watched(past: TrainState, step: Step, plan: Plan, state: State, config: FitConfig, best: Best) -> Any:
    """The monitor's state to begin with, or to go on with; None where nothing is watched.

    Args:
        past, step, plan, config: of the training.
        state: that it begins with.
        best: the best epoch so far.
    """
    monitor, early = plan.training.monitor, config.early_stopping
    if monitor is None:
        return None
    patience, min_delta = (None, 0.0) if early is None else (early.patience, early.min_delta)
    leaves = tree.flatten(state)[0]
    found = monitor.begin(leaves, patience, min_delta, past.plateau)
    goes_on = bool(best.epoch) and early is not None and best.monitor == early.monitor
    if early is not None:
        found["waited"] = np.asarray(past.history.epochs - goes_on * best.epoch, np.int32)
    if early is not None and not early.restore_best:
        seen = past.history.values()[early.monitor][: past.history.epochs]
        epoch, waited = early.judged(seen, greater_is_better=monitor.sign < 0)
        found["waited"] = np.asarray(waited, np.int32)
        found["best"] = np.asarray(seen[epoch - 1] * monitor.sign if epoch else np.inf, np.float64)
    if goes_on:
        found["best"] = np.asarray(best.value * monitor.sign, np.float64)
        kept = tree.flatten(step.kept(best.parameters))[0]
        assert len(kept) == len(monitor.keeps), "the best epoch's parameters are not those of this training"
        found["kept"] = kept
    return found


def planned(setup: Setup, backend: str, loader: DataLoader, config: FitConfig, history: History) -> tuple[Step, Plan]:
    """What a step is made of, and what to run, as things stand."""
    checks.something_to_train(setup.model)
    schedule, data = setup.schedule, loader.arrays
    bound = None if schedule is None else schedule.bind(config.epochs * loader.steps, loader.steps)
    step = setup.step(backend, bound, loader.structures)
    room = room_for(len(data[0]), not loader.lasting or config.watches)
    wanted = wanted_of(setup.metrics, config.early_stopping, evaluates=len(loader.arrays) > loader.width)
    return step, setup.plans.get(backend, step, setup.device, loader, config.batch_size, room, wanted, history)


def wanted_of(metrics: Sequence[Metric], early: EarlyStopping | None, *, evaluates: bool) -> Wanted:
    """What a training is watched by.

    Args:
        metrics: that it computes.
        early: what stops it, if anything.
        evaluates: whether it has rows to validate on.

    Raises:
        ArgumentError: the value to watch is none that the program computes, or which way is better is not known.
    """
    if early is None:
        return Wanted("val_loss" if evaluates else "loss")
    found = {f"val_{named(metric)}": metric for metric in metrics} if evaluates else {}
    known = ["loss", *(["val_loss", *found] if evaluates else [])]
    if early.monitor not in known:
        hint = "give validation=0.1 or (X, y)" if early.monitor.startswith("val_") and not evaluates else None
        raise ArgumentError(
            "nothing of this name to stop by", where="monitor", expected=f"one of {', '.join(known)}",
            got=repr(early.monitor), hint=hint,
        )  # fmt: skip
    metric = found.get(early.monitor)
    greater = False if metric is None else is_better_greater(metric)
    if greater is None and early.mode is None:
        raise ArgumentError(
            "which way is better?", where="monitor", got=repr(early.monitor),
            hint='say so: early_stopping=cr.EarlyStopping(5, monitor=…, mode="max"), or f.greater_is_better = True',
        )  # fmt: skip
    if early.mode is not None:
        greater = early.mode == "max"
    return Wanted(early.monitor, -1 if greater else 1, stops=True, keeps=early.restore_best)


def starting_state(setup: Setup, past: TrainState, step: Step, start: int, history: History) -> State:
    """The state to begin with, or to go on with, as things stand.

    The optimizer's state is that of before where it is of the parameters that are trained now; else it begins anew.
    """
    kept = None
    if past.optimizer is not None:
        named = dict(setup.model.named_parameters())
        kept = step.carried_on(past.optimizer)
        if kept is None or any(past.optimized.get(name, named[name]) is not named[name] for name in step.trained):
            history.note("the optimizer begins anew: its state is not of the parameters that are trained now")
            kept = None
    return step.state(kept, past.steps, start, past.plateau.factor)


def schedule_offset(setup: Setup, past: TrainState, steps_per_epoch: int) -> int:
    """By how many steps the schedule is further than this `fit`: those of the epochs before, where it goes on."""
    goes_on = setup.schedule is not None and not setup.schedule.spans_fit
    return (past.epochs - past.history.epochs) * steps_per_epoch if goes_on else 0


def _chosen(setup: Setup, loader: DataLoader, config: FitConfig, history: History) -> str:
    if setup.place.settled:
        return setup.place.settled
    epochs = config.epochs * max(1, round(loader.rows / len(loader.arrays[0])))
    return choose(*planned(setup, "numpy", loader, config, history)[1].runs(epochs))
