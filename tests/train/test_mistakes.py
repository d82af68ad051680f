"""Mistakes that the theory names are named before the first step, with the way out; sound networks hear nothing."""

import contextlib
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import NotFiniteError, TrainingWarning
from chainrule.train.label_order import LabelOrder
from small import CLASSES, COLUMNS, QUIET, network, table

X, Y = table()
BINARY = (Y > 0).astype(np.float32)[:, None]


def probabilities(x: Any) -> Any:
    """The softmax written out."""
    e = cr.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


class Whole(nn.Module):
    """A model as one function."""

    def __init__(self, last: Any, out: int = CLASSES) -> None:
        self.inner, self.last = network(out=out), last

    def forward(self, x: Any) -> Any:
        return cr.reshape(self.last(self.inner(x)), (x.shape[0], -1))


class Unmoved(nn.Module):
    """Gives the same whatever it gets."""

    def __init__(self) -> None:
        self.bias = nn.Parameter(np.zeros(CLASSES, "float32"))

    def forward(self, x: Any) -> Any:
        return cr.broadcast_to(self.bias, (x.shape[0], CLASSES))


def ending(*last: nn.Module, out: int = CLASSES) -> nn.Sequential:
    return nn.Sequential(*network(out=out).layers, *last)


CE, BCE, LOGITS, NLL = nn.CrossEntropyLoss(), nn.BCELoss(), nn.BCEWithLogitsLoss(), nn.NLLLoss()
WRONG: dict[str, tuple[Any, Any, Any, str]] = {
    "softmax, cross-entropy": (ending(nn.Softmax()), CE, Y, "layer 3 gives probabilities.*use LogSoftmax"),
    "sigmoid, cross-entropy": (ending(nn.Sigmoid()), CE, Y, "gives probabilities to a cross-entropy"),
    "softmax in a function": (Whole(lambda y: cr.softmax(y, 1)), CE, Y, "gives probabilities to a cross-entropy"),
    "softmax written out": (Whole(probabilities), CE, Y, "gives probabilities to a cross-entropy"),
    "softmax in a loss of one's own": (
        network(), lambda o, t: nn.CrossEntropyLoss()(cr.softmax(o, -1), t), Y, "gives probabilities to a cross-entropy"
    ),
    "sigmoid, logits wanted": (ending(nn.Sigmoid(), out=1), LOGITS, BINARY, "takes the sigmoid.*use BCELoss"),
    "logits, probabilities wanted": (ending(out=1), BCE, BINARY, r"outside of \[0, 1\].*BCEWithLogitsLoss"),
    "log-probabilities, probabilities wanted": (
        ending(nn.LogSoftmax()), BCE, np.eye(CLASSES, dtype="f4")[Y], r"outside of \[0, 1\]"
    ),
    "probabilities, NLL": (ending(nn.Softmax()), NLL, Y, "gives probabilities to NLLLoss.*LogSoftmax"),
    "logits, NLL": (network(), NLL, Y, "no logarithms of probabilities to NLLLoss.*CrossEntropyLoss"),
    "one class": (network(out=1), CE, np.zeros_like(Y), "cross-entropy over one class is always 0"),
    "softmax over one unit": (ending(nn.Softmax(), out=1), BCE, BINARY, "softmax over one unit, which is always 1"),
    "everything dropped": (network(nn.Dropout(1.0)), CE, Y, r"layer 2 drops everything \(p=1\)"),
    "nothing of X": (Unmoved(), CE, Y, "the output does not depend on X"),
}  # fmt: skip
SOUND: dict[str, tuple[Any, Any, Any]] = {
    "logits, cross-entropy": (network(), CE, Y),
    "log-probabilities, cross-entropy": (ending(nn.LogSoftmax()), CE, Y),
    "log-probabilities, NLL": (ending(nn.LogSoftmax()), NLL, Y),
    "the logarithm of a softmax, NLL": (Whole(lambda y: cr.log(cr.softmax(y, 1))), NLL, Y),
    "probabilities, BCE": (ending(nn.Sigmoid(), out=1), BCE, BINARY),
    "softmax, BCE": (ending(nn.Softmax()), BCE, np.eye(CLASSES, dtype="f4")[Y]),
    "logits, BCE with logits": (ending(out=1), LOGITS, BINARY),
    "sigmoid, squares": (ending(nn.Sigmoid(), out=1), nn.MSELoss(), BINARY),
    "a softmax inside": (nn.Sequential(network(nn.Softmax()), nn.Linear(CLASSES, CLASSES)), CE, Y),
    "attention over one place": (Whole(lambda y: y * cr.softmax(y[:, :1], 1)), CE, Y),
    "a mixture of probabilities": (
        Whole(lambda y: (cr.softmax(y, 1)[:, None, :] @ cr.softmax(cr.tensor(np.eye(CLASSES, dtype="f4")), 1))[:, 0]),
        BCE, np.eye(CLASSES, dtype="f4")[Y],
    ),
    "probabilities held": (Whole(lambda y: cr.clip(y, 0.0, 1.0), out=1), BCE, BINARY),
    "much dropped": (network(nn.Dropout(0.9)), CE, Y),
}  # fmt: skip


def trainer_of(model: Any, loss: Any) -> cr.Trainer:
    return cr.Trainer(model, loss, optim.SGD(0.01), metrics=[], backend="numpy")


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named_once_with_the_way_out(case: str) -> None:
    model, loss, y, message = WRONG[case]
    trainer = trainer_of(model, loss)
    # Where a loss for probabilities gets none, the first step is not finite.
    with pytest.warns(TrainingWarning, match=message) as caught, contextlib.suppress(NotFiniteError):
        trainer.fit(X, y, epochs=2, batch_size=50, **QUIET)
    assert len(caught) == len(trainer.history.notes) == 1
    assert str(caught[0].message) == trainer.history.notes[0]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("case", SOUND)
def test_a_sound_network_hears_nothing(case: str) -> None:
    model, loss, y = SOUND[case]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trainer_of(model, loss).fit(X, y, epochs=1, batch_size=25, **QUIET).notes == []


def test_labels_that_are_sorted_and_stay_so_are_named() -> None:
    order = np.argsort(Y, kind="stable")
    trainer = trainer_of(network(), CE)
    with pytest.warns(TrainingWarning, match=r'the labels are sorted and nothing shuffles them.*use shuffle="epoch"'):
        trainer.fit(X[order], Y[order], epochs=1, batch_size=8, shuffle="never", **QUIET)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.fit(X[order], Y[order], epochs=1, batch_size=8, **QUIET)
        trainer.fit(X, Y, epochs=1, batch_size=8, shuffle="never", **QUIET)
        trainer.fit(X[order], Y[order], epochs=1, batch_size=50, shuffle="never", **QUIET)
        rising = np.sort(X[:, :1], axis=0)
        trainer_of(nn.Linear(COLUMNS, 1), nn.MSELoss()).fit(X, rising, epochs=1, shuffle="never", **QUIET)


@pytest.mark.parametrize("chunk_rows", [16, None])
def test_sorted_labels_of_a_stream_are_named(chunk_rows: int | None) -> None:
    order = np.argsort(Y, kind="stable")

    def fit(rows: Any, **how: Any) -> None:
        stream = cr.data.stream(X[rows], Y[rows], chunk_rows=chunk_rows)
        trainer_of(network(), CE).fit(stream, epochs=1, batch_size=8, **QUIET, **how)

    with pytest.warns(TrainingWarning, match=r"the labels are sorted and nothing shuffles them"):
        fit(order, shuffle="never")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(order)
        fit(np.arange(len(X)), shuffle="never")


@given(st.lists(st.integers(0, 3), max_size=20), st.lists(st.integers(0, 20), max_size=3))
def test_labels_seen_in_parts_are_told_as_in_one(labels: list[int], cuts: list[int]) -> None:
    order = LabelOrder()
    for part in np.split(np.repeat(labels, 4), sorted(cuts)):
        order.add(part)
    runs = [a for a, b in zip(labels, [None, *labels], strict=False) if a != b]
    assert order.are_sorted == (len(runs) == len(set(labels)) > 1)


def test_numbers_that_are_no_classes_are_not_held() -> None:
    order = LabelOrder()
    for chunk in np.split(np.arange(1000.0), 10):
        order.add(chunk[:, None])
    assert not order.are_sorted
    assert len(order.classes) == 100


def test_it_is_said_before_the_bar(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(TrainingWarning):
        trainer_of(ending(nn.Softmax()), nn.CrossEntropyLoss()).fit(X, Y, epochs=1)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.index("gives probabilities to a cross-entropy") < err.index("epoch")
