"""The arguments of a training: orders of rows, early stopping, callbacks."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.train.fit_loop import Loop
from small import QUIET, ROWS, classifier, numbers, parameters, same, table

BACKENDS = ["numpy", "xla"]
X, Y = table()


# ---- orders


def orders(shuffle: str, backend: str = "numpy", epochs: int = 3, seed: int = 0) -> np.ndarray:
    """The rows of every step, of one row each: the loss of a model that gives its input tells which."""
    model = nn.Linear(1, 1, bias=False)
    model.load_state_dict({"weight": [[1.0]]})
    trainer = cr.Trainer(model, nn.MSELoss(), optim.SGD(1e-30), metrics=(), backend=backend, seed=seed)
    rows = np.arange(20, dtype=np.float32)[:, None]
    history = trainer.fit(rows, np.zeros((20, 1)), epochs=epochs, batch_size=1, shuffle=shuffle, **QUIET)
    return np.rint(np.sqrt(np.reshape(history.step_loss, (epochs, 20)))).astype(int)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_epoch_draws_a_new_order_of_all_the_rows(backend: str) -> None:
    found = orders("epoch", backend)
    assert (np.sort(found) == np.arange(20)).all()
    assert len({tuple(order) for order in found}) == 3
    assert not any((order == np.arange(20)).all() for order in found)


def test_an_order_drawn_once_is_kept() -> None:
    found = orders("once")
    assert (np.sort(found[0]) == np.arange(20)).all()
    assert (found == found[0]).all()
    assert not (found[0] == np.arange(20)).all()


def test_never_shuffling_keeps_the_rows_as_they_come() -> None:
    assert (orders("never") == np.arange(20)).all()


def test_orders_are_fixed_by_the_seed_and_the_same_on_both_backends() -> None:
    assert np.array_equal(orders("epoch"), orders("epoch", "xla"))
    assert not np.array_equal(orders("epoch"), orders("epoch", seed=1))
    assert not np.array_equal(orders("once"), orders("once", seed=1))


# ---- early stopping


def overfitting(backend: str = "numpy", **settings: Any) -> tuple[cr.Trainer, Any]:
    """A trainer that soon only gets worse on other data, whose labels are noise."""
    noise = np.random.default_rng(3).integers(0, 3, 40)
    return classifier(backend=backend, optimizer=optim.Adam(0.1), **settings), (table(40, seed=9)[0], noise)


@pytest.mark.parametrize("backend", BACKENDS)
def test_early_stopping_ends_after_its_patience_and_keeps_the_best_parameters(backend: str) -> None:
    trainer, held = overfitting(backend)
    seen: list[np.ndarray] = []
    history = trainer.fit(
        X, Y, epochs=50, validation=held, early_stopping=3, callbacks=[lambda t: seen.append(parameters(t))], **QUIET
    )
    best = int(np.argmin(history.val_loss)) + 1
    assert history.stopped == "early stopping"
    assert history.best_epoch == best
    assert history.epochs == best + 3 < 50
    assert np.array_equal(parameters(trainer), seen[best - 1])
    assert trainer.evaluate(*held)["loss"] == pytest.approx(min(history.val_loss), rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_early_stopping_returns_to_python_no_more_often_than_a_training_without(backend: str, monkeypatch: Any) -> None:
    calls = []
    once = Loop._call  # each call of the program

    def counted(self: Any, *arguments: Any) -> int:
        calls.append(1)
        return once(self, *arguments)

    monkeypatch.setattr(Loop, "_call", counted)
    trainer, held = overfitting(backend)
    trainer.fit(X, Y, epochs=50, validation=held, early_stopping=30, **QUIET)
    with_stopping, calls[:] = len(calls), []
    trainer, held = overfitting(backend)
    trainer.fit(X, Y, epochs=50, validation=held, **QUIET)
    assert with_stopping <= len(calls) + 1 < 20


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("monitor", "best"), [("val_loss", np.argmin), ("val_accuracy", np.argmax), ("loss", np.argmin)]
)
def test_early_stopping_goes_by_any_value_that_is_watched(backend: str, monitor: str, best: Any) -> None:
    trainer, held = overfitting(backend)
    seen: list[np.ndarray] = []
    history = trainer.fit(
        X, Y, epochs=40, validation=held, early_stopping=4, monitor=monitor,
        callbacks=[lambda t: seen.append(parameters(t))], **QUIET,
    )  # fmt: skip
    values = {"loss": history.loss, "val_loss": history.val_loss, **history.metrics}[monitor]
    assert history.best_epoch == int(best(values)) + 1
    assert np.array_equal(parameters(trainer), seen[history.best_epoch - 1])
    assert history.epochs == min(40, history.best_epoch + 4)


def test_early_stopping_by_the_training_loss_needs_no_validation() -> None:
    trainer = classifier(optimizer=optim.SGD(3.0))
    history = trainer.fit(X, Y, epochs=60, early_stopping=2, monitor="loss", **QUIET)
    assert history.stopped == "early stopping"
    assert history.best_epoch == int(np.argmin(history.loss)) + 1


def test_a_better_value_must_be_better_by_min_delta() -> None:
    trainer, held = overfitting()
    history = trainer.fit(X, Y, epochs=50, validation=held, early_stopping=cr.EarlyStopping(2, min_delta=10.0), **QUIET)
    assert (history.epochs, history.best_epoch) == (3, 1)


def test_a_metric_of_ones_own_says_which_way_is_better() -> None:
    def distance(output: Any, target: Any) -> Any:
        return cr.mean(abs(output))

    trainer, held = overfitting(metrics=(distance,))
    with pytest.raises(ArgumentError, match=r'monitor: no direction is known for it.*mode="max"'):
        trainer.fit(X, Y, validation=held, early_stopping=2, monitor="val_distance", **QUIET)
    stopping = cr.EarlyStopping(2, monitor="val_distance", mode="min")
    history = trainer.fit(X, Y, epochs=30, validation=held, early_stopping=stopping, **QUIET)
    assert history.best_epoch == int(np.argmin(history.metrics["val_distance"])) + 1


def test_an_epoch_in_several_calls_is_watched_as_a_whole(monkeypatch: Any) -> None:
    class Often(cr.Callback):
        every = 1

    whole, parts = (classifier(optimizer=optim.SGD(3.0)) for _ in range(2))
    wanted: dict[str, Any] = {"epochs": 60, "batch_size": 8, "early_stopping": 2, "monitor": "loss", **QUIET}
    one, other = whole.fit(X, Y, **wanted), parts.fit(X, Y, callbacks=[Often()], **wanted)
    assert one.best_epoch == other.best_epoch
    assert one.loss == pytest.approx(other.loss, rel=1e-12)
    assert same(whole, parts)


def test_without_early_stopping_the_last_parameters_are_kept() -> None:
    trainer, held = overfitting()
    history = trainer.fit(X, Y, epochs=15, validation=held, **QUIET)
    assert history.epochs == 15
    assert history.best_epoch is None
    assert trainer.evaluate(*held)["loss"] == pytest.approx(history.val_loss[-1], rel=1e-5)


def test_patience_that_is_not_used_up_still_keeps_the_best() -> None:
    trainer, held = overfitting()
    history = trainer.fit(X, Y, epochs=10, validation=held, early_stopping=50, **QUIET)
    assert history.stopped == "finished"
    assert history.epochs == 10
    assert trainer.evaluate(*held)["loss"] == pytest.approx(min(history.val_loss), rel=1e-5)


def test_an_epoch_that_is_only_as_good_is_no_better() -> None:
    trainer = classifier(optimizer=optim.SGD(1e-30))
    history = trainer.fit(X, Y, epochs=20, validation=(X, Y), early_stopping=4, **QUIET)
    assert history.best_epoch == 1
    assert history.epochs == 5


# ---- callbacks


@pytest.mark.parametrize("backend", BACKENDS)
def test_callbacks_see_every_epoch_with_the_model_as_it_is_then(backend: str) -> None:
    seen: list[tuple[int, int, int, float]] = []

    def watch(trainer: cr.Trainer) -> None:
        seen.append((trainer.history.epochs, trainer.epochs, trainer.steps, trainer.evaluate(X, Y)["loss"]))

    watched, alone = classifier(backend=backend), classifier()
    watched.fit(X, Y, epochs=3, batch_size=25, callbacks=[watch], **QUIET)
    alone.fit(X, Y, epochs=3, batch_size=25, **QUIET)
    assert [row[:3] for row in seen] == [(1, 1, 2), (2, 2, 4), (3, 3, 6)]
    assert seen[0][3] > seen[1][3] > seen[2][3]
    assert same(watched, alone) or (backend == "xla" and np.allclose(parameters(watched), parameters(alone), atol=1e-5))


def test_a_callback_that_answers_true_stops_the_training() -> None:
    trainer = classifier()
    history = trainer.fit(X, Y, epochs=10, callbacks=[lambda t: t.history.epochs == 4, lambda t: None], **QUIET)
    assert history.epochs == 4
    assert trainer.steps == 4 * 2


def test_only_true_itself_stops_and_every_callback_is_called() -> None:
    calls: list[str] = []
    callbacks = [lambda t: calls.append("first") or "no", lambda t: calls.append("second")]
    assert classifier().fit(X, Y, epochs=2, callbacks=callbacks, **QUIET).epochs == 2
    assert calls == ["first", "second"] * 2


def test_an_error_in_a_callback_passes_through_and_leaves_a_usable_trainer() -> None:
    def fail(trainer: cr.Trainer) -> None:
        raise KeyError("mine")

    trainer = classifier()
    with pytest.raises(KeyError, match="mine"):
        trainer.fit(X, Y, epochs=3, callbacks=[fail], **QUIET)
    assert trainer.history.epochs == 1
    assert trainer.fit(X, Y, epochs=1, **QUIET).epochs == 1


def test_regressions_stop_early_too() -> None:
    (Xt, t), held = numbers(), numbers(30, seed=5)
    trainer = cr.Trainer(nn.Linear(4, 1), nn.MSELoss(), optim.SGD(0.05), backend="numpy")
    history = trainer.fit(Xt, t, epochs=200, validation=held, early_stopping=2, **QUIET)
    assert trainer.evaluate(*held)["loss"] == pytest.approx(min(history.val_loss), rel=1e-5)
    assert len(history.step_loss) == history.epochs * -(-ROWS // 32)


def test_a_value_that_is_never_a_number_is_said_to_be_none() -> None:
    def nothing(output: Any, target: Any) -> Any:
        return cr.log(-cr.sum(output * output) - 1.0)

    nothing.greater_is_better = True  # type: ignore[attr-defined]
    trainer, held = overfitting(metrics=(nothing,))
    history = trainer.fit(X, Y, epochs=9, validation=held, early_stopping=2, monitor="val_nothing", **QUIET)
    assert (history.stopped, history.epochs, history.best_epoch) == ("early stopping", 2, None)
    assert any("val_nothing was NaN or infinite in every epoch" in note for note in history.notes)
