"""How far a training is: one line that fits 80 columns and says the time left; in a log a line now and then."""

import io
import re
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.train import progress
from chainrule.train.progress import Line, fitted
from small import classifier, table

X, Y = table()

NUMBERS = ["loss 0.0001234", "val_loss 0.0001234", "val_balanced_accuracy 0.1234"]


class Terminal(io.StringIO):
    """Standard error of a terminal."""

    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, columns: int, total: int) -> list[str]:
    """What stands in the terminal, one after the other, while something is done."""
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    line = Line("epoch", total)
    for done in (0, total // 2, total):
        line.show(done, NUMBERS)
    line.close()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    return [text for text in re.split(r"[\r\n]+", plain) if text.strip()]


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("total", [2, 10_000])
def test_the_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, total: int) -> None:
    lines = shown(monkeypatch, columns, total)
    assert lines
    for line in lines:
        assert len(line) <= columns
        assert line.startswith("epoch ")
    assert re.search(rf"epoch {total}/{total} .* in \d:\d\d", lines[-1])
    assert ("val_balanced" in lines[-1]) == (columns == 200)


@given(parts=st.lists(st.text(max_size=40), max_size=6), width=st.integers(0, 100))
def test_what_is_most_important_stays(parts: list[str], width: int) -> None:
    found = fitted(parts, "0:07 left", width)
    assert found.endswith("0:07 left")
    assert "  ".join([*parts, ""]).startswith(found.removesuffix("0:07 left"))
    assert len(found) <= max(width, len("0:07 left"))


def test_a_log_has_a_line_now_and_then_and_one_at_the_end(monkeypatch: Any, capsys: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = Line("epoch", 1000)
    for second in range(1000):
        now[0] = float(second)
        line.show(second, ["loss 0.5"])
    line.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "epoch 11/1000  loss 0.5  16:29 left"
    assert lines[-1] == "epoch 999/1000  loss 0.5  in 16:39"
    assert 10 < len(lines) < 50


def test_the_time_left_of_a_training_that_is_gone_on_with_counts_from_there(monkeypatch: Any, capsys: Any) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = Line("epoch", 100, done=80)
    now[0] = 20.0
    line.show(90)
    assert capsys.readouterr().err == "epoch 90/100  0:20 left\n"


@pytest.mark.parametrize("sink", ["log", "terminal"])
def test_a_metric_that_looks_like_markup_is_shown_as_it_is(monkeypatch: Any, sink: str) -> None:
    out = Terminal() if sink == "terminal" else io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("COLUMNS", "100")
    line = Line("epoch", 1)
    line.show(1, ["[red]f[/red] 0.5"])
    line.close()
    assert "[red]f[/red] 0.5" in out.getvalue()


def test_a_training_says_how_far_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    classifier().fit(X, Y, epochs=2, validation=0.2)
    assert re.fullmatch(r"epoch 2/2  loss \S+  val_loss \S+  val_accuracy \S+  in 0:\d\d\n", capfd.readouterr().err)


def test_a_sweep_says_how_far_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    sweep = cr.Sweep(
        model=lambda: cr.nn.Sequential(cr.nn.Linear(X.shape[1], 3)), loss=cr.nn.CrossEntropyLoss(),
        optimizer=lambda lr: cr.optim.Adam(lr), grid={"lr": [0.1, 0.01, 0.001]},
    )  # fmt: skip
    sweep.fit(np.asarray(X), np.asarray(Y), epochs=1, batch_size=8)
    assert re.search(r"^trial 3/3  in 0:\d\d$", capfd.readouterr().err, re.M)
