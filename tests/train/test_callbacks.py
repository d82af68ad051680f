"""Callbacks of a training: when they are called, and that what they change takes effect."""

import contextlib
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.train import checkpoint_writer, progress
from chainrule.train import fit_loop as loop_module
from chainrule.train.fit_loop import Loop
from chainrule.train.step import TrainingStep
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
        ([cr.Callback], r"a class instead of an instance.*write Callback\(…\)"),
        ([Never()], "every.*an integer of at least 1"),
        (cr.Callback(), "not a list"),
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


def test_the_bar_and_the_checkpoint_are_called_after_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for kind, name in ((checkpoint_writer.CheckpointWriter, "checkpoint"), (progress.ProgressBar, "bar")):
        for method in ("on_fit_begin", "on_progress", "on_epoch_end", "on_train_end", "on_fit_end"):
            original = getattr(kind, method)
            noted = functools.partial(lambda call, said, *given: (calls.append(said), call(*given))[1], original, name)
            monkeypatch.setattr(kind, method, functools.partialmethod(noted))
    monkeypatch.setattr(checkpoint_writer, "CHECKPOINT_EVERY", -1.0)

    class Mine(cr.Callback):
        def on_epoch_end(self, trainer: cr.Trainer) -> None:
            calls.append("mine")
            trainer.model[0].bias.assign(np.full(8, 7.0, np.float32))

        def on_train_end(self, trainer: cr.Trainer) -> None:
            calls.append("mine at the end")

    trainer = classifier(optimizer=optim.SGD(1e-30))
    trainer.fit(X, Y, epochs=1, callbacks=[Mine()], checkpoint=tmp_path / "c", progress=True)
    begin = ["checkpoint", "bar"] * 2
    assert calls == [*begin, "mine", "checkpoint", "bar", "checkpoint", "bar", "mine at the end", *begin]
    assert (cr.Trainer.load(tmp_path / "c").model[0].bias.numpy() == 7.0).all()


def test_one_that_is_not_called_within_the_training_makes_it_return_no_more_often(monkeypatch: Any) -> None:
    class Ends(cr.Callback):
        def on_fit_end(self, trainer: cr.Trainer) -> None:
            pass

    spans: list[Any] = []
    original = Loop._span
    monkeypatch.setattr(Loop, "_span", lambda self, *given: (spans.append(original(self, *given)), spans[-1])[1])
    monkeypatch.setattr(loop_module, "RETURN_EVERY", 1e9)
    monkeypatch.setattr(loop_module, "AT_MOST", 1e9)
    classifier().fit(X, Y, epochs=20, callbacks=[Ends()], **QUIET)
    assert [span.last for span in spans] == [20]


@pytest.mark.parametrize("fails", [False, True])
def test_the_end_of_the_training_is_told_with_the_last_state_before_the_best_returns(fails: bool) -> None:
    seen: dict[str, np.ndarray] = {}

    class Ends(cr.Callback):
        def on_train_end(self, trainer: cr.Trainer) -> None:
            seen["last"] = parameters(trainer)

        def on_fit_end(self, trainer: cr.Trainer) -> None:
            seen["kept"] = parameters(trainer)

    def at_last(trainer: cr.Trainer) -> None:
        seen[str(trainer.history.epochs)] = parameters(trainer)
        if fails and trainer.history.epochs == 4:
            raise RuntimeError("enough")

    noise = np.random.default_rng(3).integers(0, 3, 40)
    trainer = classifier(optimizer=optim.Adam(0.1))
    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext():
        trainer.fit(
            X, Y, epochs=60, callbacks=[at_last, Ends()], validation=(table(40, seed=9)[0], noise), early_stopping=3,
            **QUIET,
        )  # fmt: skip
    history = trainer.history
    assert np.array_equal(seen["last"], seen[str(history.epochs)])
    assert not np.array_equal(parameters(trainer), seen["last"])
    assert ("kept" in seen) is not fails
    assert fails or np.array_equal(seen["kept"], parameters(trainer))


def test_one_that_only_reads_spares_a_part_of_the_users_own_being_traced_again(monkeypatch: Any) -> None:
    class Reads(cr.Callback):
        read_only = True

        def on_epoch_end(self, trainer: cr.Trainer) -> None:
            assert trainer.steps == 2 * trainer.history.epochs

    traced = []
    original = TrainingStep.traced
    monkeypatch.setattr(TrainingStep, "traced", lambda self, *given: (traced.append(1), original(self, *given))[1])
    trainer = classifier(nn.Lambda(cr.tanh))
    trainer.fit(X, Y, epochs=5, callbacks=[Reads()], **QUIET)
    assert len(traced) == 2
    trainer.fit(X, Y, epochs=5, callbacks=[lambda trainer: None], **QUIET)
    assert len(traced) > 8
