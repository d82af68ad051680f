"""Metrics against scikit-learn's, over batches of unequal size."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as theirs

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.train import inference
from small import QUIET, classifier, network, numbers, regressor, table


@pytest.fixture(params=["numpy", "xla"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BLOCK", 16)


def test_accuracy_over_classes(backend: str) -> None:
    trainer, (X, y) = classifier(backend=backend), table()
    found = trainer.evaluate(X, y)
    output = trainer.predict(X).astype(np.float64)
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(y, output.argmax(1)))
    p = np.exp(output) / np.exp(output).sum(1, keepdims=True)
    assert found["loss"] == pytest.approx(theirs.log_loss(y, p), rel=1e-5)


@pytest.mark.parametrize(("loss", "last"), [(nn.BCEWithLogitsLoss(), nn.Identity()), (nn.BCELoss(), nn.Sigmoid())])
@pytest.mark.parametrize("width", [1, 3])
def test_accuracy_over_binary_outputs(loss: nn.Loss, last: nn.Module, width: int) -> None:
    X, t = numbers(width=width)
    t = t > 0.1
    trainer = cr.Trainer(nn.Sequential(network(out=width), last), loss, optim.SGD(0.1), backend="numpy")
    hit = (trainer.predict(X) > (0.5 if isinstance(loss, nn.BCELoss) else 0.0)) == t
    assert trainer.evaluate(X, t)["accuracy"] == pytest.approx(hit.mean())


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("far", [0.0, 1e5])
def test_regression_metrics(backend: str, width: int, far: float) -> None:
    X, t = numbers(width=width)
    t = t * np.array([1.0, 5.0, 25.0])[:width] + far
    trainer = regressor(width=width, backend=backend, metrics=("mae", "r2", "rmse"))
    # Untrained, but centred, so that R² is not dominated by the distance.
    trainer.model[-1].bias.value = np.full(width, far, np.float32)
    found, output = trainer.evaluate(X, t), trainer.predict(X).astype(np.float64)
    assert list(found) == ["loss", "mae", "r2", "rmse"]
    t = t.astype(np.float32).astype(np.float64)
    tolerance = 1e-4 if not far else 2e-2  # one unit in the last place of 1e5 is 0.008
    assert found["r2"] == pytest.approx(theirs.r2_score(t, output, multioutput="variance_weighted"), rel=tolerance)
    assert found["mae"] == pytest.approx(theirs.mean_absolute_error(t, output), rel=tolerance)
    assert found["rmse"] == pytest.approx(np.sqrt(theirs.mean_squared_error(t, output)), rel=tolerance)
    assert found["loss"] == pytest.approx(theirs.mean_squared_error(t, output), rel=tolerance)


def test_r2_of_targets_that_are_all_the_same_is_not_a_number() -> None:
    X, _ = numbers()
    assert np.isnan(regressor().evaluate(X, np.ones((50, 1)))["r2"])


def test_r2_of_training_and_validation_use_the_spread_of_their_own_rows() -> None:
    (X, t), (Xv, tv) = numbers(), numbers(20, seed=1)
    trainer = regressor(optim.SGD(1e-12), metrics=("r2",))
    history = trainer.fit(X, t, epochs=1, batch_size=16, validation=(Xv, tv * 3), **QUIET)
    assert history.metrics["r2"][0] == pytest.approx(theirs.r2_score(t, trainer.predict(X)), rel=1e-5)
    assert history.metrics["val_r2"][0] == pytest.approx(theirs.r2_score(tv * 3, trainer.predict(Xv)), rel=1e-5)


def test_defaults_are_accuracy_for_a_classifier_and_r2_for_a_regression() -> None:
    assert [metric.name for metric in classifier().metrics] == ["accuracy"]
    assert [metric.name for metric in regressor().metrics] == ["r2"]
    assert list(classifier(metrics=()).evaluate(*table())) == ["loss"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: classifier(metrics=("acuracy",)), r"metrics: unknown value: expected one of 'accuracy'.*'acuracy'"),
        (lambda: regressor(metrics=("accuracy",)), r"accuracy is for classifiers.*use r2, rmse or mae"),
        (lambda: regressor(metrics="rmse"), r"a list of names is wanted.*write \('rmse',\)"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_with_the_mend(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
