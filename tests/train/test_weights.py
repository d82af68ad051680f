"""Weights of rows and classes, against rows that are repeated and against scikit-learn."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs
from sklearn.utils.class_weight import compute_sample_weight

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ChainruleError
from chainrule.train import weights
from small import QUIET, classifier, network, parameters, regressor, table

X, Y = table()
TIMES = np.random.default_rng(0).integers(0, 4, len(X))
REPEATED = np.repeat(X, TIMES, 0), np.repeat(Y, TIMES)
ALL: dict[str, Any] = {"metrics": ("accuracy", "f1", "precision", "recall", "balanced_accuracy", "log_loss", "auc")}


def whole(backend: str, **more: Any) -> cr.Trainer:
    return classifier(optimizer=optim.SGD(0.2), backend=backend, precision="float64", **more)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_weight_counts_a_row_as_if_it_occurred_so_often(backend: str) -> None:
    mine, theirs = whole(backend, **ALL), whole(backend, **ALL)
    found = mine.fit(X, Y, epochs=4, batch_size=len(X), sample_weight=TIMES, **QUIET)
    right = theirs.fit(*REPEATED, epochs=4, batch_size=len(REPEATED[0]), **QUIET)
    np.testing.assert_allclose(parameters(mine), parameters(theirs), rtol=1e-9)
    np.testing.assert_allclose(found.loss, right.loss, rtol=1e-12)
    for name, values in right.metrics.items():
        np.testing.assert_allclose(found.metrics[name], values, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss()])
def test_a_regression_is_weighted_alike_r2_too(loss: nn.Loss) -> None:
    t = np.sin(X[:, :2])
    names: dict[str, Any] = {"metrics": ("r2", "rmse", "mae", "mape"), "precision": "float64"}
    mine, theirs = (cr.Trainer(network(out=2), loss, optim.SGD(0.1), backend="numpy", **names) for _ in range(2))
    found = mine.fit(X, t, epochs=3, batch_size=len(X), sample_weight=TIMES, **QUIET)
    right = theirs.fit(np.repeat(X, TIMES, 0), np.repeat(t, TIMES, 0), epochs=3, batch_size=1000, **QUIET)
    np.testing.assert_allclose(parameters(mine), parameters(theirs), rtol=1e-9)
    for name, values in right.metrics.items():
        np.testing.assert_allclose(found.metrics[name], values, rtol=1e-9, err_msg=name)


def test_all_weights_alike_change_nothing_however_large() -> None:
    mine, theirs = (classifier(optimizer=optim.SGD(0.2), precision="float64") for _ in range(2))
    mine.fit(X, Y, epochs=2, sample_weight=np.full(len(X), 7e3), **QUIET)
    theirs.fit(X, Y, epochs=2, **QUIET)
    np.testing.assert_allclose(parameters(mine), parameters(theirs), rtol=1e-12)


def test_a_loss_that_is_a_sum_takes_the_weights_as_they_are() -> None:
    def made() -> cr.Trainer:
        return cr.Trainer(network(), nn.CrossEntropyLoss("sum"), optim.SGD(0.002), backend="numpy", precision="float64")

    mine, theirs = made(), made()
    found = mine.fit(X, Y, epochs=2, batch_size=1000, sample_weight=TIMES, **QUIET)
    right = theirs.fit(*REPEATED, epochs=2, batch_size=1000, **QUIET)
    np.testing.assert_allclose(parameters(mine), parameters(theirs), rtol=1e-9)
    np.testing.assert_allclose(found.loss, right.loss)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_balanced_classes_weigh_what_scikit_learn_makes_them_weigh(labels: list[int]) -> None:
    y = np.array(labels)
    found = weights.of_classes("balanced", y, nn.CrossEntropyLoss())
    np.testing.assert_allclose(found, compute_sample_weight("balanced", y))


def test_weights_of_classes_multiply_those_of_rows_and_leave_the_validation_alone() -> None:
    by_class = {0: 1.0, 1: 3.0, 2: 0.5}
    held = X[:20], Y[:20]
    mine, theirs = whole("numpy", **ALL), whole("numpy", **ALL)
    found = mine.fit(X, Y, epochs=2, sample_weight=TIMES, class_weight=by_class, validation=held, **QUIET)
    each = TIMES * np.array([by_class[label] for label in Y])
    right = theirs.fit(X, Y, epochs=2, sample_weight=each, validation=held, **QUIET)
    assert found.loss == right.loss
    assert found.val_loss == right.val_loss
    assert found.val_loss[-1] == pytest.approx(mine.evaluate(*held)["loss"])


def test_rows_that_are_held_out_keep_their_weights() -> None:
    trainer = whole("numpy", **ALL)
    held_weights = np.arange(20.0)
    history = trainer.fit(X, Y, epochs=1, validation=(X[:20], Y[:20], held_weights), **QUIET)
    scores = trainer.predict(X[:20])
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    said = {name.removeprefix("val_"): values[-1] for name, values in history.metrics.items() if "val_" in name}
    hard = scores.argmax(1), {"sample_weight": held_weights}
    assert history.val_loss[-1] == pytest.approx(theirs.log_loss(Y[:20], p, sample_weight=held_weights))
    assert said["accuracy"] == pytest.approx(theirs.accuracy_score(Y[:20], hard[0], **hard[1]))
    assert said["f1"] == pytest.approx(theirs.f1_score(Y[:20], hard[0], average="macro", **hard[1]))
    auc = theirs.roc_auc_score(Y[:20], p, multi_class="ovr", **hard[1])
    assert said["auc"] == pytest.approx(auc)
    fraction = whole("numpy")
    fraction.fit(X, Y, epochs=1, validation=0.3, sample_weight=TIMES, **QUIET)
    assert np.isfinite(fraction.history.val_loss).all()


def test_memory_is_stated_for_weights_too() -> None:
    trainer = classifier()
    rows = np.zeros((200_000, 4), np.float32), np.zeros(200_000, int)
    plain, weighted = (trainer.estimate(*rows, sample_weight=w) for w in (None, np.ones(200_000)))
    assert weighted.data - plain.data == 4 * 200_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sample_weight": -TIMES}, r"sample_weight: a weight is a finite number of at least 0: got -\d"),
        ({"sample_weight": TIMES[:5]}, r"sample_weight: not one weight per row: expected \(50,\), got \(5,\)"),
        ({"sample_weight": np.full(50, np.nan)}, "sample_weight: a weight is a finite number.*got nan in row 0"),
        ({"sample_weight": np.zeros(50)}, "sample_weight: all weights are 0"),
        ({"class_weight": {0: 1.0}}, "class_weight: a class has no weight.*add 1: 1.0"),
        ({"class_weight": {0: 1, 1: -1, 2: 1}}, "class_weight: a weight is a finite number"),
        ({"class_weight": "balance"}, 'class_weight: not class weights: expected "balanced"'),
    ],
)
def test_weights_that_are_none_are_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    trainer = classifier()
    before = parameters(trainer)
    with pytest.raises(ChainruleError, match=message):
        trainer.fit(X, Y, **arguments, **QUIET)
    assert np.array_equal(parameters(trainer), before)


def test_what_cannot_be_weighted_says_so() -> None:
    own = cr.Trainer(network(), lambda o, t: cr.mean(o), optim.SGD(0.1), metrics=(), backend="numpy")
    with pytest.raises(ChainruleError, match="sample_weight: a loss of your own gives one number for all rows"):
        own.fit(X, Y, sample_weight=TIMES, **QUIET)
    with pytest.raises(ChainruleError, match="class_weight: class weights need one class per row"):
        regressor().fit(X, X[:, :1], class_weight="balanced", **QUIET)
    stream = cr.data.stream(X, Y)
    with pytest.raises(ChainruleError, match="rows of a stream cannot be weighted"):
        classifier().fit(stream, sample_weight=TIMES, **QUIET)
