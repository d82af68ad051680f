"""What may be handed over as rows and targets, and what is refused with a word on what to do instead."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, DataError
from small import CLASSES, QUIET, classifier, network, same, table

X, Y = table()


class Frame:
    """What a data frame of nullable columns looks like to NumPy: an array of Python objects."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = list(columns)
        self._values = np.array(list(columns.values()), object).T

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._values, dtype)

    def __iter__(self) -> Any:
        return iter(self.columns)


class NAType:
    """What stands for a missing value, as pandas calls it."""


def frame(**changed: Any) -> Frame:
    return Frame({f"c{i}": column.tolist() for i, column in enumerate(X.T)} | changed)


def test_a_frame_of_nullable_numbers_is_its_numbers() -> None:
    framed, plain = classifier(), classifier()
    framed.fit(frame(), np.array(Y.tolist(), object), epochs=1, **QUIET)
    plain.fit(X, Y, epochs=1, **QUIET)
    assert same(framed, plain)
    assert (framed.predict(frame()) == plain.predict(X)).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"X, column 'c1': a value is missing: got row 3"),
        (NAType(), r"X, column 'c1': a value is missing: got row 3"),
        ("7", r"X, column 'c1': not numbers: got '7' in row 3; chainrule\.data\.Preprocessor"),
    ],
)
def test_a_frame_with_something_else_names_the_column_and_the_row(value: Any, message: str) -> None:
    column = X[:, 1].tolist()
    column[3] = value
    with pytest.raises(DataError, match=message):
        classifier().fit(frame(c1=column), Y, **QUIET)
    with pytest.raises(DataError, match=message):
        classifier().predict(frame(c1=column))


@pytest.mark.parametrize("use", ["fit", "predict", "evaluate", "validation"])
def test_masked_entries_are_refused(use: str) -> None:
    masked = np.ma.masked_less(X, -1.0)
    trainer = classifier()
    calls = {
        "fit": lambda: trainer.fit(masked, Y, **QUIET),
        "predict": lambda: trainer.predict(masked),
        "evaluate": lambda: trainer.evaluate(X, np.ma.masked_equal(Y, 1)),
        "validation": lambda: trainer.fit(X, Y, validation=(masked, Y), **QUIET),
    }
    with pytest.raises(DataError, match=r"masked elements: got \d+ of them; fill them in"):
        calls[use]()


def test_a_masked_array_without_masked_entries_is_an_array() -> None:
    masked, plain = classifier(), classifier()
    masked.fit(np.ma.array(X), Y, epochs=1, **QUIET)
    plain.fit(X, Y, epochs=1, **QUIET)
    assert same(masked, plain)


class Loader:
    """What a loader of batches looks like."""

    def __iter__(self) -> Any:
        return iter([(X, Y)])

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("rows", "y", "message"),
    [
        (Loader(), Y, "y: batches have their own targets"),
        ([X, X], Y, "several inputs are given by name.*a list of 2 arrays.*write"),
        (X, None, "no targets"),
    ],
)
def test_what_is_not_an_array_of_rows_is_refused_with_what_to_do(rows: Any, y: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        classifier().fit(rows, y, **QUIET)


def test_a_list_of_samples_is_an_array_of_rows() -> None:
    images = list(X.reshape(-1, 2, 2))
    model = nn.Sequential(nn.Flatten(), network())
    cr.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(0.1), backend="numpy").fit(images, list(Y), epochs=1, **QUIET)


class Tensor:
    """What a tensor of another library looks like: DLPack alone."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **how: Any) -> Any:
        if self._array.dtype == object:
            raise BufferError("of a type of its own")
        return self._array.__dlpack__(**how)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def test_a_tensor_of_another_library_is_read_by_dlpack() -> None:
    lent, plain = classifier(), classifier()
    lent.fit(Tensor(X), Tensor(Y), epochs=1, **QUIET)
    plain.fit(X, Y, epochs=1, **QUIET)
    assert same(lent, plain)
    with pytest.raises(DataError, match=r"X: NumPy cannot read it.*of a type of its own"):
        classifier().fit(Tensor(X.astype(object)), Y, epochs=1, **QUIET)


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="rows of different lengths"):
        classifier().fit([[1.0, 2.0], [1.0]], [0, 1], **QUIET)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cr.Trainer(network(), nn.CrossEntropyLoss, optim.SGD(0.1)), r"loss: a class.*CrossEntropyLoss\(…\)"),
        (lambda: cr.Trainer(network(), nn.CrossEntropyLoss(), optim.Adam), r"optimizer: a class.*Adam\(…\)"),
        (
            lambda: cr.Trainer(network(), nn.MSELoss("none"), optim.SGD(0.1)),
            'a scalar loss.*use reduction="mean" or "sum"',
        ),
        (
            lambda: classifier().fit(X, Y, callbacks=print, **QUIET),
            r"callbacks: not a list.*callbacks=\[print\]",
        ),
        (lambda: classifier().fit(X, Y, callbacks=[1], **QUIET), "callbacks: not a function: got int"),
    ],
)
def test_a_habit_from_elsewhere_is_refused_with_what_to_write(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


class Focal(nn.Loss):
    """A loss of one's own that takes labels."""

    def forward(self, output: Any, target: Any) -> Any:
        return -(cr.log_softmax(output, -1) * cr.one_hot(target, CLASSES)).sum(axis=1).mean()


@pytest.mark.parametrize("loss", [Focal(), lambda o, t: nn.CrossEntropyLoss()(o, t)], ids=["subclass", "function"])
def test_accuracy_of_a_loss_of_ones_own_is_that_of_labels(loss: Any) -> None:
    own, ours = cr.Trainer(network(), loss, optim.Adam(0.02), metrics=["accuracy"], backend="numpy"), classifier()
    found, expected = (trainer.fit(X, Y, epochs=3, **QUIET) for trainer in (own, ours))
    assert found.metrics == expected.metrics
    assert cr.Trainer(network(), loss, optim.Adam(0.02), backend="numpy").fit(X, Y, epochs=1, **QUIET).metrics == {}


def test_accuracy_that_cannot_be_told_says_what_would_do() -> None:
    trainer = cr.Trainer(network(), lambda o, t: cr.square(o - t).mean(), optim.SGD(0.1), metrics=["accuracy"])
    with pytest.raises(ArgumentError, match=r"accuracy is of class labels: expected integer labels \(N,\)"):
        trainer.fit(X, np.eye(CLASSES)[Y], epochs=1, **QUIET)
