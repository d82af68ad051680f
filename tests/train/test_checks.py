"""Bad input to a Trainer: one clear line that names the argument, and nothing is changed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, ChainruleError, DataError, ShapeError
from small import COLUMNS, QUIET, ROWS, classifier, network, numbers, parameters, regressor, table

X, Y = table()


def spoilt(value: float, row: int = 17, column: int = 2) -> np.ndarray:
    bad = X.copy()
    bad[row, column] = value
    return bad


ARRAYS: dict[str, tuple[Any, Any, type[ChainruleError], str]] = {
    "NaN": (spoilt(np.nan), Y, DataError, r"X: not a finite number: got nan at row 17, column 2 \(1 in all\)"),
    "infinity": (spoilt(-np.inf), Y, DataError, r"X: not a finite number: got -inf at row 17, column 2"),
    "too large": (spoilt(1).astype(float) * 1e300, Y, DataError, r'X: too large for float32.*precision="float64"'),
    "lengths": (X, Y[:-1], DataError, r"X and y differ in length: expected 50 targets, got 49"),
    "one number": (X, 1, DataError, r"X and y differ in length.*one number"),
    "a vector": (X[:, 0], Y, ShapeError, r"X: not one row per sample.*got \(50,\); use X\.reshape\(-1, 1\)"),
    "no rows": (X[:0], Y[:0], DataError, r"X: there are no rows"),
    "texts": (X.astype(str), Y, DataError, r"X: not numbers"),
    "label −1": (X, Y - 1, DataError, r"expected 0…2, got -1, 0, 1; map them: np\.unique\(y, return_inverse=True\)"),
    "label K": (X, Y * 2, DataError, r"expected 0…2, got 0, 2, 4; map them"),
    "too many classes": (X, np.arange(ROWS) % 7, DataError, r"expected 0…2, got 0, 1,.*make the last layer 7 wide"),
    "huge labels": (X, Y + 2**32, DataError, r"y: too large for int32"),
    "huge whole labels": (X, Y + np.float32(1e20), DataError, r"y: too large for int32"),
    "parts of labels": (X, Y + 0.5, DataError, r"CrossEntropyLoss takes integer.*\.5; use MSELoss"),
    "NaN label": (X, np.where(np.arange(ROWS) == 3, np.nan, Y), DataError, r"y: not a finite number: got nan at row 3"),
    "labels in a column": (X, Y[:, None], ShapeError, r"expected \(50,\), got \(50, 1\); use y\.reshape\(-1\)"),
    "one-hot labels": (X, np.eye(3, dtype=int)[Y], ShapeError, r"labels do not fit the logits"),
    "columns": (X[:, :3], Y, ShapeError, r"layer 0, linear.*expected \(…, 4\), got \(1, 3\)"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_does_not_fit_is_refused_in_one_line(name: str) -> None:
    bad_X, bad_y, kind, message = ARRAYS[name]
    trainer = classifier()
    before = parameters(trainer)
    with pytest.raises(kind, match=message) as caught:
        trainer.fit(bad_X, bad_y, **QUIET)
    assert "\n" not in str(caught.value)
    assert np.array_equal(parameters(trainer), before)


@pytest.mark.parametrize("name", [name for name in ARRAYS if name != "columns"])
def test_an_evaluation_refuses_the_same(name: str) -> None:
    bad_X, bad_y, kind, message = ARRAYS[name]
    with pytest.raises(kind, match=message):
        classifier().evaluate(bad_X, bad_y)


@pytest.mark.parametrize("name", ["NaN", "a vector", "no rows", "texts", "lengths", "label −1", "columns"])
def test_validation_data_is_asked_the_same(name: str) -> None:
    bad_X, bad_y, kind, message = ARRAYS[name]
    message = message.replace("X: ", "validation X: ").replace("X and y", "validation X and y")
    message = message.replace(r"\(1, 3\)", r"\(50, 3\)")
    with pytest.raises(kind, match=message):
        classifier().fit(X, Y, validation=(bad_X, bad_y), **QUIET)


def test_labels_that_are_whole_numbers_of_any_kind_are_taken() -> None:
    for y in (Y.astype(float), Y.astype(np.uint8), Y.tolist(), (Y > 0)):
        classifier().fit(X, y, epochs=1, **QUIET)


def test_targets_that_would_broadcast_are_refused_with_the_mend() -> None:
    _, t = numbers()
    with pytest.raises(ShapeError, match=r"MSELoss.*\(32, 1\), got \(32,\); reshape it: y\.reshape\(-1, 1\)"):
        regressor().fit(X, t[:, 0], **QUIET)


def test_wrong_columns_when_predicting_name_layer_expected_and_found() -> None:
    with pytest.raises(ShapeError, match=r"layer 0, linear.*expected \(…, 4\), got \(5, 6\).*4 columns"):
        classifier().predict(np.ones((5, 6)))
    trainer = classifier(normalize="feature")
    trainer.fit(X, Y, epochs=1, **QUIET)
    with pytest.raises(ShapeError, match=r"X: not the columns it was fitted on: expected \(rows, 4\), got \(5, 6\)"):
        trainer.predict(np.ones((5, 6)))
    with pytest.raises(ShapeError, match=r"got \(4,\); use X\.reshape"):
        trainer.predict(X[0])
    with pytest.raises(DataError, match=r"nan at row 17, column 2"):
        trainer.predict(spoilt(np.nan))


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 0}, r"batch_size.*an integer of at least 1, got 0"),
    ({"batch_size": 2.5}, r"batch_size.*an integer of at least 1, got 2\.5"),
    ({"epochs": 0}, r"epochs.*at least 1"),
    ({"shuffle": "evry"}, r"shuffle: unknown value: expected one of 'never'.*got 'evry'"),
    (
        {"early_stopping": 3},
        r"monitor: no such value: .*got 'val_loss'; give validation=0\.1 or \(X, y\)",
    ),
    ({"early_stopping": 0, "validation": 0.1}, r"early_stopping.*at least 1"),
    ({"validation": 1.5}, r"validation.*a fraction in \(0, 1\), or \(X, y\), got 1\.5"),
    ({"validation": 10}, r"validation.*got 10"),
    ({"validation": True}, r"validation.*got True"),
    ({"validation": (X,)}, r"validation.*got a tuple"),
    ({"resume": True}, r"resume.*give checkpoint"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS)
def test_an_argument_of_fit_outside_its_range_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        classifier().fit(X, Y, **QUIET, **arguments)
    assert "\n" not in str(caught.value)


SETTINGS: list[tuple[Callable[[], Any], str]] = [
    (lambda: classifier(backend="nunpy"), r"backend: unknown value: expected one of 'numpy'.*got 'nunpy'"),
    (lambda: classifier(precision="float16"), r"precision: unknown value: expected one of "),
    (lambda: classifier(normalize="features"), r"normalize: unknown value: expected one of 'feature'"),
    (lambda: classifier(seed=-1), r"seed.*in \[0, 4294967295\]"),
    (lambda: classifier(nn.Dropout(1.5)), r"dropout p.*in \[0, 1\], got 1\.5"),
    (lambda: classifier(optimizer=optim.SGD(-0.1)), r"lr.*above 0, got -0\.1"),
    (lambda: classifier(optimizer=optim.Adam(float("nan"))), r"lr.*above 0, got nan"),
    (lambda: cr.Trainer(network, nn.MSELoss(), optim.SGD(0.1)), r"model.*expected Module, got function"),  # type: ignore[arg-type]
    (lambda: cr.Trainer(network(), "mse", optim.SGD(0.1)), r"loss.*expected Module, got str"),  # type: ignore[arg-type]
    (lambda: cr.Trainer(network(), nn.MSELoss(), 0.1), r"optimizer.*expected Optimizer, got float"),  # type: ignore[arg-type]
    (lambda: classifier(schedule=0.5), r"schedule.*expected Schedule, got float"),
    (lambda: classifier(penalty=0.5), r"penalty.*expected Penalty, or several, got float"),
    (lambda: classifier(clip=0.5), r"clip.*expected Clip, got float"),
    (lambda: cr.Trainer(nn.ReLU(), nn.MSELoss(), optim.SGD(0.1)), r"model: there is nothing to train"),
]


@pytest.mark.parametrize(("make", "message"), SETTINGS)
def test_a_setting_of_the_trainer_outside_its_range_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()


def test_too_few_rows_to_hold_some_out_are_refused() -> None:
    with pytest.raises(DataError, match=r"validation.*too few rows"):
        classifier().fit(X[:1], Y[:1], validation=0.5, **QUIET)


def test_images_normalised_by_channel_must_be_images() -> None:
    with pytest.raises(ShapeError, match=r'normalize="channel".*images are wanted'):
        classifier(normalize="channel").fit(np.ones((ROWS, COLUMNS)), Y, **QUIET)


def test_one_row_is_enough_to_train_on() -> None:
    assert len(classifier().fit(X[:1], Y[:1], epochs=2, **QUIET).step_loss) == 2
