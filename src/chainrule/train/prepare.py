"""What a training begins with, or goes on with where a callback has changed something: program and state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import backends, tree
from chainrule.backends.cost import choose_backend
from chainrule.errors import ArgumentError
from chainrule.train import checks, placement
from chainrule.train.loaders.data_loader import room_for
from chainrule.train.metrics import Metric, is_better_greater, metric_name
from chainrule.train.monitor import Monitored
from chainrule.train.plan import Goals, Plan, PreparedTraining
from chainrule.train.program import Record
from chainrule.train.step import State, TrainingStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chainrule.train.history import History
    from chainrule.train.loaders.data_loader import DataLoader
    from chainrule.train.session import FitConfig
    from chainrule.train.setup import Setup
    from chainrule.train.state import Best, Position, TrainState


def prepared(
    setup: Setup,
    past: TrainState,
    loader: DataLoader,
    config: FitConfig,
    history: History,
    start: int,
    position: Position,
) -> tuple[PreparedTraining, tuple[State, Any]]:
    """What runs a training that began at the step `start`, and the state to begin with: its own, and the monitor's.

    Args:
        setup, past, loader, config, history: of the training.
        start: the step at which it began.
        position: where it stands.
    """
    name = _chosen(setup, loader, config, history)
    placement.check_precision(setup.precision, name)
    step, plan = planned(setup, name, loader, config, history)
    state = starting_state(setup, past, step, start - schedule_offset(setup, past, loader.steps), history)
    record = plan.training.train.record_of(position.record) if position.record else None
    watch = watched(past, step, plan, state, config, position.best, record)
    return PreparedTraining(name, backends.get(name), step, plan, plan.program(history, loader.arrays)), (state, watch)


def watched(
    past: TrainState, step: TrainingStep, plan: Plan, state: State, config: FitConfig, best: Best, record: Record | None
) -> Any:
    """The monitor's state to begin with, or to go on with; None where nothing is watched.

    Args:
        past, step, plan, config: of the training.
        state: that it begins with.
        best: the best epoch so far.
        record: what the steps done in the epoch under way have recorded, laid end to end; None where there are none.
    """
    monitor, early = plan.training.monitor, config.early_stopping
    if monitor is None:
        return None
    patience, min_delta = (None, 0.0) if early is None else (early.patience, early.min_delta)
    leaves = tree.flatten(state)[0]
    done = 0 if record is None else len(record["loss"])
    found = plan.training.begin_watch(leaves, patience, min_delta, past.plateau, record, done)
    goes_on = bool(best.epoch) and early is not None and best.monitor == early.monitor
    if early is not None:
        found["waited"] = np.asarray(past.history.epochs - goes_on * best.epoch, np.int32)
    if goes_on and monitor.judged is not None:
        found["best"] = np.asarray(best.value * monitor.judged.sign, np.float64)
        kept = tree.flatten(step.kept(best.parameters))[0]
        assert len(kept) == len(monitor.keeps), "the best epoch's parameters are not those of this training"
        found["kept"] = kept
    if early is not None and not early.restore_best and monitor.judged is not None:
        seen, sign = past.history.values()[early.monitor][: past.history.epochs], monitor.judged.sign
        epoch, waited = early.judged(seen, greater_is_better=sign < 0)
        found["waited"] = np.asarray(waited, np.int32)
        found["best"] = np.asarray(seen[epoch - 1] * sign if epoch else np.inf, np.float64)
    return found


def planned(
    setup: Setup, backend: str, loader: DataLoader, config: FitConfig, history: History
) -> tuple[TrainingStep, Plan]:
    """What a step is made of, and what to run, as things stand."""
    schedule, data = setup.schedule, loader.arrays
    bound = None if schedule is None else schedule.bind(config.epochs * loader.steps, loader.steps)
    step = setup.step(backend, bound, loader.structures)
    if not step.trained:
        checks.something_to_train(setup.model)
    room = room_for(len(data[0]), not loader.lasting or config.callbacks.each_epoch)
    goals = goals_of(setup, loader, config)
    plan = setup.plans.get(backend, step, setup.device, loader, config.batch_size, room, goals, history)
    return plan.step, plan


def goals_of(setup: Setup, loader: DataLoader, config: FitConfig) -> Goals:
    """What a training is monitored by.

    Raises:
        ArgumentError: the value to monitor is none that the program computes, or which way is better is not known.
    """
    early, evaluates = config.early_stopping, len(loader.arrays) > loader.width
    observes = setup.schedule is not None and setup.schedule.observes
    judged = None if early is None else monitored_value(setup.metrics, evaluates, early.monitor, early.mode)
    latest = early is not None and not early.restore_best
    if not observes:
        return Goals(judged, None, latest)
    usual = "val_loss" if evaluates else "loss"
    return Goals(judged, monitored_value(setup.metrics, evaluates, config.monitor or usual, None), latest)


def monitored_value(metrics: Sequence[Metric], evaluates: bool, name: str, mode: str | None) -> Monitored:
    """The value of that name, and which way is better.

    Args:
        metrics: that the training computes.
        evaluates: whether it has rows to validate on.
        name: "loss", a metric's, or either with "val_" before it.
        mode: "min", "max", or None for what is known.

    Raises:
        ArgumentError: the training computes no such value, or which way is better is not known.
    """
    found: dict[str, Metric | None] = {"loss": None, **{metric_name(metric): metric for metric in metrics}}
    if evaluates:
        found |= {f"val_{name}": metric for name, metric in found.items()}
    if name not in found:
        hint = "give validation=0.1 or (X, y)" if name.startswith("val_") and not evaluates else None
        expected = f"one of {', '.join(found)}"
        raise ArgumentError("no such value", where="monitor", expected=expected, got=repr(name), hint=hint)
    metric = found[name]
    greater = False if metric is None else is_better_greater(metric)
    if mode is None and greater is None:
        raise ArgumentError(
            "no direction is known for it", where="monitor", got=repr(name),
            hint='say so: early_stopping=cr.EarlyStopping(5, monitor=…, mode="max"), or f.greater_is_better = True',
        )  # fmt: skip
    return Monitored(name, -1 if (greater if mode is None else mode == "max") else 1)


def starting_state(setup: Setup, past: TrainState, step: TrainingStep, start: int, history: History) -> State:
    """The state to begin with, or to go on with, as things stand.

    The optimizer's state is that of before where it is of the parameters that are trained now; else it begins anew.
    """
    kept = None
    if past.optimizer is not None:
        kept, now = step.carried_on(past.optimizer), step.parameters
        if kept is None or any(past.optimized.get(name, now[name]) is not now[name] for name in step.trained):
            history.note("the optimizer starts afresh: its state is not that of the parameters that are trained now")
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
    return choose_backend(*planned(setup, "numpy", loader, config, history)[1].runs(epochs))
