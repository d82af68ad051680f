"""What early stopping, best weights and schedules go by: any value, of the rows that are trained on too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.train.fit_loop import Loop
from small import QUIET, classifier, parameters, same, table

X, Y = table(70)
HELD = (table(40, seed=9)[0], np.random.default_rng(3).integers(0, 3, 40))


def few_steps_a_call(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(Loop, "_pace", lambda self, seconds, done: setattr(self, "steps_a_call", steps))
    monkeypatch.setattr("chainrule.train.trainer.steps_a_call", lambda seconds: steps)


def wobbling(**settings: Any) -> cr.Trainer:
    """One whose metrics go up and down, its rate being high."""
    return classifier(optimizer=optim.Adam(0.3), metrics=("accuracy", "auc"), **settings)


def epochs_of(X: Any, y: Any) -> dict[str, dict[str, Any]]:
    return {"memory": {"X": X, "y": y}, "parts": {"X": cr.data.stream(X, y, chunk_rows=16)}}


@pytest.mark.parametrize("rows", ["memory", "parts"])
@pytest.mark.parametrize(
    ("backend", "monitor", "steps"),
    [
        *(("numpy", monitor, steps) for monitor in ("accuracy", "auc", "loss") for steps in (1, 3, 99)),
        ("xla", "auc", 3),
    ],
)
def test_a_value_of_the_training_stops_it_however_an_epoch_is_cut_into_calls(
    monitor: str, rows: str, backend: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_steps_a_call(monkeypatch, steps)
    trainer, seen = wobbling(backend=backend), list[np.ndarray]()
    history = trainer.fit(
        **epochs_of(X, Y)[rows], epochs=25, batch_size=8, early_stopping=3, monitor=monitor,
        callbacks=[lambda t: seen.append(parameters(t))], **QUIET,
    )  # fmt: skip
    values = history.loss if monitor == "loss" else history.metrics[monitor]
    best = int(np.argmin(values) if monitor == "loss" else np.argmax(values))
    assert history.best_epoch == best + 1
    assert (history.epochs, history.stopped) == (best + 4, "early stopping")
    assert np.array_equal(parameters(trainer), seen[best])


def test_the_metric_is_that_of_all_rows_in_the_order_of_their_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    few_steps_a_call(monkeypatch, 2)
    trainer = classifier(optimizer=optim.SGD(1e-30), metrics=("auc",))
    stopping = cr.EarlyStopping(2, monitor="auc", min_delta=1e-3)
    history = trainer.fit(X, Y, epochs=9, batch_size=8, early_stopping=stopping, **QUIET)
    scores = np.exp(trainer.predict(X))
    expected = roc_auc_score(Y, scores / scores.sum(1, keepdims=True), multi_class="ovr")
    assert history.metrics["auc"] == pytest.approx([expected] * 3)
    assert (history.best_epoch, history.epochs) == (1, 3)


@pytest.mark.parametrize("rows", ["memory", "parts"])
def test_broken_off_within_an_epoch_it_goes_on_to_the_same_bits(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_steps_a_call(monkeypatch, 2)
    wanted: dict[str, Any] = {"epochs": 20, "batch_size": 8, "early_stopping": 3, "monitor": "auc", **QUIET}

    class Stops(cr.Callback):
        every = 13

        def on_step_end(self, trainer: cr.Trainer) -> bool:
            return True

    whole, part, rest = wobbling(), wobbling(), wobbling()
    whole.fit(**epochs_of(X, Y)[rows], **wanted)
    part.fit(**epochs_of(X, Y)[rows], **wanted, checkpoint=tmp_path / "c", callbacks=[Stops()])
    assert part.steps == 13
    rest.fit(**epochs_of(X, Y)[rows], **wanted, checkpoint=tmp_path / "c", resume=True)
    assert same(whole, rest)
    assert rest.history.metrics == whole.history.metrics
    assert (rest.history.best_epoch, rest.history.stopped) == (whole.history.best_epoch, "early stopping")


@pytest.mark.parametrize(
    ("backend", "monitor"),
    [*(("numpy", monitor) for monitor in ("val_accuracy", "accuracy", "val_loss", None)), ("xla", "accuracy")],
)
def test_a_schedule_that_observes_goes_by_the_monitor(monitor: str | None, backend: str) -> None:
    schedule = optim.ReduceOnPlateau(0.5, patience=0, threshold=0.05)
    trainer = wobbling(schedule=schedule, backend=backend)
    history = trainer.fit(X, Y, epochs=12, batch_size=16, validation=HELD, monitor=monitor, **QUIET)
    values = history.val_loss if monitor in (None, "val_loss") else [-x for x in history.metrics[str(monitor)]]
    seen, rates = optim.plateau.Plateau(), []
    for value in values:
        rates.append(0.3 * seen.factor)
        seen = schedule.observe(seen, value)
    assert history.lr == pytest.approx(rates)
    assert history.lr[-1] < 0.3


def test_early_stopping_and_a_schedule_may_go_by_different_values() -> None:
    trainer = wobbling(schedule=optim.ReduceOnPlateau(0.5, patience=0, threshold=0.05))
    stopping = cr.EarlyStopping(5, monitor="auc")
    history = trainer.fit(X, Y, epochs=30, validation=HELD, early_stopping=stopping, monitor="val_accuracy", **QUIET)
    assert history.best_epoch == int(np.argmax(history.metrics["auc"])) + 1
    seen = optim.plateau.Plateau()
    for value in history.metrics["val_accuracy"][:-1]:
        seen = trainer.schedule.observe(seen, -value)  # type: ignore[union-attr]
    assert history.lr[-1] == pytest.approx(0.3 * seen.factor)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"monitor": "accuracy"}, "monitor: nothing uses it: got 'accuracy'.*early_stopping=5"),
        ({"monitor": "loss", "early_stopping": cr.EarlyStopping(3)}, "monitor: nothing uses it"),
        (
            {"monitor": "f1", "early_stopping": 3},
            "monitor: no such value: expected one of loss, accuracy, auc, got 'f1'",
        ),
        ({"early_stopping": 3}, "no such value: expected one of loss.*got 'val_loss'.*validation=0.1"),
    ],
)
def test_a_monitor_of_nothing_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        wobbling().fit(X, Y, **arguments, **QUIET)


def test_a_last_batch_alone_is_an_epoch_too() -> None:
    trainer = cr.Trainer(nn.Linear(4, 1), nn.MSELoss(), optim.SGD(1e-30), metrics=("r2",), backend="numpy")
    rows = np.random.default_rng(0).normal(size=(5, 4))
    history = trainer.fit(rows, rows[:, :1], epochs=9, batch_size=8, early_stopping=2, monitor="r2", **QUIET)
    assert (history.best_epoch, history.epochs) == (1, 3)
