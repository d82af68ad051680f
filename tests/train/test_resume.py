"""A training broken off anywhere and gone on with is the training that was left alone, bit for bit."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.train import checkpoint_writer
from chainrule.train import trainer as trainer_module
from chainrule.train.fit_loop import Loop
from small import QUIET, classifier, parameters, same, table

X, Y = table()
NOISE = np.random.default_rng(3).integers(0, 3, 30)
HELD = table(30, seed=1)[0], NOISE
ROWS_OF: dict[str, Callable[[], dict[str, Any]]] = {
    "memory": lambda: {"X": X, "y": Y},
    "one chunk": lambda: {"X": cr.data.stream(X, Y)},
    "chunks": lambda: {"X": cr.data.stream(X, Y, chunk_rows=16)},
}


def everything(backend: str) -> cr.Trainer:
    """A trainer with a state of every kind: momenta, running statistics, random numbers, a rate that follows losses."""
    return classifier(
        nn.BatchNorm(8),
        nn.Dropout(0.2),
        optimizer=optim.AdamW(0.05, weight_decay=0.1),
        schedule=optim.ReduceOnPlateau(patience=1, factor=0.5),
        clip=optim.ClipNorm(2.0),
        normalize="feature",
        backend=backend,
        seed=5,
    )


@pytest.fixture(autouse=True)
def a_few_steps_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "_pace", lambda self, seconds, steps: setattr(self, "steps_a_call", 3))
    monkeypatch.setattr(trainer_module, "steps_a_call", lambda seconds: 3)


class Press(cr.Callback):
    """Presses Ctrl-C when so many steps are done."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_progress(self, trainer: cr.Trainer) -> None:
        if self.at and len(trainer.history.step_loss) >= self.at:
            self.at = 0
            os.kill(os.getpid(), signal.SIGINT)


def broken_off(trainer: cr.Trainer, at: int, **arguments: Any) -> cr.History:
    return trainer.fit(**arguments, callbacks=[Press(at)])


def pieces(begin: Callable[[], cr.Trainer], breaks: list[int], folder: Path, **arguments: Any) -> Iterator[cr.Trainer]:
    """The trainer after each piece of a training that is broken off after so many steps each time."""
    for i, at in enumerate([*breaks, 0]):
        trainer = begin()
        broken_off(trainer, at, **arguments, checkpoint=folder / "c", resume=i > 0)
        yield trainer


def assert_the_same(found: cr.Trainer, expected: cr.Trainer) -> None:
    assert same(found, expected)
    for name in ("step_loss", "loss", "val_loss", "metrics", "lr", "stopped", "best_epoch"):
        assert getattr(found.history, name) == getattr(expected.history, name), name
    assert (found.steps, found.epochs) == (expected.steps, expected.epochs)


@pytest.mark.parametrize("rows", ROWS_OF)
@settings(max_examples=8)
@given(breaks=st.lists(st.integers(1, 50), min_size=1, max_size=3).map(sorted), stopping=st.booleans())
def test_wherever_it_was_broken_off_it_goes_on_bit_for_bit(rows: str, breaks: list[int], stopping: bool) -> None:
    arguments: dict[str, Any] = {"epochs": 6, "batch_size": 6, "validation": HELD, **QUIET, **ROWS_OF[rows]()}
    arguments["early_stopping"] = 2 if stopping else None
    whole = everything("numpy")
    whole.fit(**arguments)
    with tempfile.TemporaryDirectory() as folder:
        *_, last = pieces(lambda: everything("numpy"), breaks, Path(folder), **arguments)
    assert_the_same(last, whole)


@pytest.mark.parametrize("rows", ["memory", "chunks"])
def test_so_it_does_compiled(rows: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"epochs": 3, "batch_size": 6, "validation": HELD, **QUIET, **ROWS_OF[rows]()}
    whole = everything("xla")
    whole.fit(**arguments)
    again = everything("xla")
    stops = [trainer.steps for trainer in pieces(lambda: again, [4, 11, 20], tmp_path, **arguments)]
    assert stops[-1] == 27 > stops[2] > stops[1] > stops[0] >= 4
    assert any(steps % 9 for steps in stops)
    assert_the_same(again, whole)


@pytest.mark.parametrize("rows", ROWS_OF)
def test_checkpoints_are_written_within_an_epoch_and_gone_on_with(
    rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_writer, "CHECKPOINT_EVERY", -1.0)
    arguments: dict[str, Any] = {"epochs": 2, "batch_size": 6, **QUIET, **ROWS_OF[rows]()}
    whole = everything("numpy")
    whole.fit(**arguments)
    seen: list[int] = []

    class Copies(cr.Callback):
        """Keeps what lies on the disk after each call, as a process that is killed there would leave it."""

        def on_progress(self, trainer: cr.Trainer) -> None:
            if (tmp_path / "c").exists():
                steps = len(trainer.history.step_loss)
                cr.Trainer.load(tmp_path / "c")
                (tmp_path / "c").rename(tmp_path / str(steps))
                seen.append(steps)

    everything("numpy").fit(**arguments, checkpoint=tmp_path / "c", callbacks=[Copies()])
    assert len(seen) >= 4
    for at in seen:
        trainer = everything("numpy")
        trainer.fit(**arguments, checkpoint=tmp_path / str(at), resume=True)
        assert_the_same(trainer, whole)


def test_what_is_under_way_counts_where_fewer_epochs_are_asked_for(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"batch_size": 6, **QUIET, **ROWS_OF["memory"](), "checkpoint": tmp_path / "c"}
    broken_off(everything("numpy"), 14, epochs=5, **arguments)
    with pytest.raises(ArgumentError, match="expected at least 2, got 1"):
        everything("numpy").fit(epochs=1, resume=True, **arguments)


def test_a_checkpoint_belongs_to_one_moment_where_a_call_was_not_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"epochs": 4, "batch_size": 6, **QUIET, **ROWS_OF["memory"]()}
    monkeypatch.setattr(checkpoint_writer, "CHECKPOINT_EVERY", -1.0)
    note, calls = Loop._note, []

    def broken(self: Loop, *given: Any) -> int:
        calls.append(given)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return note(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_note", broken)
        with pytest.raises(KeyboardInterrupt):
            everything("numpy").fit(**arguments, checkpoint=tmp_path / "c")
    whole, resumed = everything("numpy"), everything("numpy")
    whole.fit(**arguments)
    resumed.fit(**arguments, checkpoint=tmp_path / "c", resume=True)
    assert_the_same(resumed, whole)
    assert np.isfinite(parameters(resumed)).all()
