"""Callbacks of a training: when they are called, and that what they change takes effect."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.errors import ArgumentError
from small import QUIET, classifier, parameters, same, table

BACKENDS = ["numpy", "xla"]
X, Y = table()


class Told(cr.Callback):
    """Writes down when it is called, and with what the trainer then holds."""

    def __init__(self, every: int | None = None) -> None:
        self.every = every
        self.calls: list[tuple[str, int, int]] = []
        self.weights: dict[int, np.ndarray] = {}

    def _note(self, what: str, trainer: cr.Trainer) -> None:
        self.calls.append((what, trainer.steps, trainer.history.epochs))
        self.weights[trainer.steps] = parameters(trainer)

    def on_fit_begin(self, trainer: cr.Trainer) -> None:
        self._note("begin", trainer)

    def on_step_end(self, trainer: cr.Trainer) -> None:
        self._note("step", trainer)

    def on_epoch_end(self, trainer: cr.Trainer) -> None:
        self._note("epoch", trainer)

    def on_fit_end(self, trainer: cr.Trainer) -> None:
        self._note("end", trainer)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_is_called_at_its_time_with_the_state_of_that_moment(backend: str) -> None:
    told, alone = Told(every=3), classifier(backend=backend)
    trainer = classifier(backend=backend)
    history = trainer.fit(X, Y, epochs=2, batch_size=10, callbacks=[told], **QUIET)
    assert told.calls == [
        ("begin", 0, 0), ("step", 3, 0), ("epoch", 5, 1),
        ("step", 6, 1), ("step", 9, 1), ("epoch", 10, 2), ("end", 10, 2),
    ]  # fmt: skip
    assert len(history.step_loss) == 10
    alone.fit(X, Y, epochs=2, batch_size=10, **QUIET)
    assert same(alone, trainer)
    assert history.loss == pytest.approx(alone.history.loss)
    assert history.metrics["accuracy"] == pytest.approx(alone.history.metrics["accuracy"])
    assert np.array_equal(told.weights[10], parameters(alone))


def test_one_may_be_called_after_every_step_of_an_epoch_end_too() -> None:
    told = Told(every=5)
    classifier().fit(X, Y, epochs=2, batch_size=10, callbacks=[told], **QUIET)
    assert [what for what, *_ in told.calls] == ["begin", "step", "epoch", "step", "epoch", "end"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_one_changes_after_a_step_takes_effect_with_the_next(backend: str) -> None:
    class Freeze(cr.Callback):
        every = 2

        def on_step_end(self, trainer: cr.Trainer) -> None:
            trainer.optimizer.lr = 0.0

    told = Told(every=1)
    trainer = classifier(optimizer=optim.SGD(0.1), backend=backend)
    trainer.fit(X, Y, epochs=1, batch_size=10, callbacks=[Freeze(), told], **QUIET)
    assert not np.array_equal(told.weights[1], told.weights[2])
    for step in (3, 4, 5):
        assert np.array_equal(told.weights[2], told.weights[step])


@pytest.mark.parametrize("method", ["on_step_end", "on_epoch_end"])
def test_true_ends_the_training(method: str) -> None:
    class Stop(cr.Callback):
        every = 7

    setattr(Stop, method, lambda self, trainer: True)
    trainer, told = classifier(), Told()
    history = trainer.fit(X, Y, epochs=9, batch_size=10, callbacks=[Stop(), told], **QUIET)
    assert history.stopped == "callback"
    assert trainer.steps == (7 if method == "on_step_end" else 5)
    assert told.calls[-1][0] == "end"


def test_a_class_or_a_bad_cadence_is_refused_before_the_first_step() -> None:
    class Never(cr.Callback):
        every = 0

    for callbacks, message in (
        ([cr.Callback], r"a class, where one of it is wanted.*write Callback\(…\)"),
        ([Never()], "every.*an integer of at least 1"),
        (cr.Callback(), "several are wanted"),
        ([3], "not a function.*got int"),
    ):
        trainer: Any = classifier()
        with pytest.raises(ArgumentError, match=message):
            trainer.fit(X, Y, callbacks=callbacks, **QUIET)
        assert trainer.steps == 0


def test_one_that_raises_ends_the_training_with_its_error_and_leaves_the_last_state() -> None:
    def fails(trainer: cr.Trainer) -> None:
        raise RuntimeError("enough")

    trainer, one = classifier(), classifier()
    with pytest.raises(RuntimeError, match="enough"):
        trainer.fit(X, Y, epochs=5, callbacks=[fails], **QUIET)
    one.fit(X, Y, epochs=1, **QUIET)
    assert same(trainer, one)
