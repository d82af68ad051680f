"""Calls of the program: trainings cut into many give the same as in one, and Ctrl-C ends them between two."""

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.train import fit_loop as loop_module
from chainrule.train.fit_loop import Loop
from chainrule.train.metrics import chosen
from chainrule.train.program import summary
from chainrule.train.session import FitConfig
from small import QUIET, classifier, parameters, same, table

BACKENDS = ["numpy", "xla"]
X, Y = table()


def return_every(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "RETURN_EVERY", seconds)
    monkeypatch.setattr(loop_module, "AT_MOST", seconds)


def trained(backend: str, **arguments: Any) -> tuple[cr.Trainer, list[Any]]:
    """A trainer after a training, and the spans of all its calls."""
    spans: list[Any] = []
    original = Loop._span

    def span(self: Loop, *args: Any) -> Any:
        spans.append(original(self, *args))
        return spans[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_span", span)
        trainer = classifier(nn.Dropout(0.2), backend=backend, schedule=optim.Cosine())
        trainer.fit(X, Y, **{**QUIET, "epochs": 5, "batch_size": 16, **arguments})
    return trainer, spans


@pytest.mark.parametrize(("backend", "steps"), [("numpy", 1), ("numpy", 3), ("xla", 3)])
def test_a_training_cut_into_many_calls_is_the_one_in_few(
    backend: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = table(30, seed=1)
    return_every(1e9, monkeypatch)
    few, spans = trained(backend, validation=held)
    assert spans == [(0, 5, 0, 4)]
    monkeypatch.setattr(Loop, "_pace", lambda self, seconds, done: setattr(self, "steps_a_call", steps))
    return_every(0.0, monkeypatch)
    many, spans = trained(backend, validation=held)
    assert {span.stop - span.start for span in spans} <= {1, 3}
    assert len(spans) == {1: 20, 3: 10}[steps]
    assert same(few, many)
    assert few.history.step_loss == many.history.step_loss
    # The sum over an epoch is the program's where one call does it, and NumPy's where several do.
    assert few.history.loss == pytest.approx(many.history.loss, rel=1e-14 if backend == "xla" else 0)
    assert few.history.val_loss == many.history.val_loss
    for name, values in few.history.metrics.items():
        assert values == pytest.approx(many.history.metrics[name], rel=1e-14)
    assert few.history.lr == many.history.lr


def test_epochs_are_gathered_into_calls_up_to_the_schedules_room(monkeypatch: pytest.MonkeyPatch) -> None:
    return_every(1e9, monkeypatch)
    _, spans = trained("numpy", epochs=600)
    assert [span.last for span in spans] == [256, 256, 88]


def test_an_order_is_drawn_once_however_many_calls_its_epoch_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    order = FitConfig.order
    monkeypatch.setattr(FitConfig, "order", lambda *asked: (drawn.append(asked[3]), order(*asked))[1])
    return_every(1e-9, monkeypatch)
    _, spans = trained("numpy", epochs=3)
    assert len(spans) > 6
    assert drawn == [0, 1, 2]


def test_the_next_call_aims_at_the_time_between_returns_and_grows_at_most_eightfold() -> None:
    loop = object.__new__(Loop)
    loop.steps_a_call = 100.0
    loop._pace(seconds=loop_module.RETURN_EVERY * 2, steps=100)
    assert loop.steps_a_call == pytest.approx(50)
    loop._pace(seconds=1e-9, steps=50)
    assert loop.steps_a_call == pytest.approx(400)


def test_slow_steps_go_on_for_longer_so_that_a_call_is_worth_its_cost() -> None:
    assert loop_module.steps_a_call(0.001) == pytest.approx(200)
    assert loop_module.steps_a_call(0.1) == pytest.approx(8)
    assert loop_module.steps_a_call(0.5) == pytest.approx(2)


# ---- Ctrl-C


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_ends_the_training_cleanly_with_the_last_state_kept(backend: str) -> None:
    handler = signal.getsignal(signal.SIGINT)

    def press(trainer: cr.Trainer) -> None:
        if trainer.history.epochs == 3:
            os.kill(os.getpid(), signal.SIGINT)

    stopped, whole = classifier(backend=backend), classifier()

    def agree() -> bool:
        exact = backend == "numpy"
        return same(stopped, whole) if exact else np.allclose(parameters(stopped), parameters(whole), atol=1e-5)

    history = stopped.fit(X, Y, epochs=10, callbacks=[press], **QUIET)
    whole.fit(X, Y, epochs=3, **QUIET)
    assert history.stopped == "interrupted"
    assert history.epochs == 3
    assert agree()
    assert signal.getsignal(signal.SIGINT) is handler
    # It goes on as if nothing had happened.
    for trainer in (stopped, whole):
        trainer.fit(X, Y, epochs=2, **QUIET)
    assert agree()


@pytest.mark.parametrize("backend", BACKENDS)
def test_ctrl_c_from_outside_ends_a_long_training_within_a_call(backend: str) -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))

    class Started(cr.Callback):
        """Not before the training runs, since the signal would end the tests."""

        def on_progress(self, trainer: cr.Trainer) -> None:
            if not timer.ident:
                timer.start()

    trainer = classifier(backend=backend)
    history = trainer.fit(X, Y, epochs=10**7, batch_size=1, callbacks=[Started()], **QUIET)
    timer.join()
    assert history.stopped == "interrupted"
    assert 0 < len(history.step_loss) == trainer.steps
    assert np.isfinite(parameters(trainer)).all()
    assert trainer.evaluate(X, Y)["accuracy"] > 0.5


def test_ctrl_c_in_the_midst_of_an_epoch_keeps_the_steps_done(monkeypatch: pytest.MonkeyPatch) -> None:
    return_every(0.0, monkeypatch)
    monkeypatch.setattr(Loop, "_pace", lambda self, seconds, steps: setattr(self, "steps_a_call", 1))

    class Press(cr.Callback):
        def on_progress(self, trainer: cr.Trainer) -> None:
            if len(trainer.history.step_loss) == 6:
                os.kill(os.getpid(), signal.SIGINT)

    trainer = classifier()
    history = trainer.fit(X, Y, epochs=3, batch_size=16, callbacks=[Press()], **QUIET)
    assert (history.stopped, history.epochs, len(history.step_loss)) == ("interrupted", 1, 6)
    assert (trainer.steps, trainer.epochs) == (6, 1)
    monkeypatch.undo()
    other = classifier()
    assert other.fit(X, Y, epochs=3, batch_size=16, **QUIET).step_loss[:6] == history.step_loss
    assert not same(other, trainer)


def test_after_a_first_ctrl_c_a_second_one_interrupts_at_once() -> None:
    def press_twice(trainer: cr.Trainer) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

    trainer = classifier()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=10, callbacks=[press_twice], **QUIET)
    assert np.isfinite(parameters(trainer)).all()


def test_a_training_in_another_thread_runs_without_touching_signals() -> None:
    trainer = classifier()
    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=trainer.fit, args=(X, Y), kwargs={"epochs": 2, **QUIET})
    thread.start()
    thread.join()
    assert trainer.history.epochs == 2
    assert signal.getsignal(signal.SIGINT) is handler


# ---- summing up


def test_records_are_weighted_by_the_rows_of_their_batches() -> None:
    hits = {"sum": np.array([2.0, 3.0, 1.0]), "rows": np.array([4.0, 4.0, 1.0])}
    record = {"loss": np.array([1.0, 2.0, 6.0]), "metrics": {"accuracy": hits}}
    metrics = chosen(None, nn.CrossEntropyLoss())
    found = summary(record, [4, 4, 1], metrics, summed=False)
    assert found["loss"].item() == pytest.approx((4 * 1 + 4 * 2 + 1 * 6) / 9)
    assert found["accuracy"].item() == pytest.approx(6 / 9)
    assert summary(record, [4, 4, 1], metrics, summed=True)["loss"].item() == 9.0
