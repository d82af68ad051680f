"""Metrics against scikit-learn's, over batches of unequal size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.train import inference
from chainrule.train.metrics import metric_name
from chainrule.train.metrics.classes import AUC
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


CLASSES = ("auc", "f1", "precision", "recall", "balanced_accuracy", "log_loss", "accuracy")


def of_classes(y: Any, p: Any, weight: Any = None) -> dict[str, float]:
    """scikit-learn's metrics of probabilities (N, K), or (N,) of class 1."""
    hard = p.argmax(1) if p.ndim == 2 else p > 0.5
    how: dict[str, Any] = {"sample_weight": weight}
    mean: dict[str, Any] = {**how, "zero_division": 0, "average": "macro" if p.ndim == 2 else "binary"}
    several = {"multi_class": "ovr"} if p.ndim == 2 else {}
    return {
        "auc": theirs.roc_auc_score(y, p, **several, **how),
        "f1": theirs.f1_score(y, hard, **mean),
        "precision": theirs.precision_score(y, hard, **mean),
        "recall": theirs.recall_score(y, hard, **mean),
        "balanced_accuracy": theirs.balanced_accuracy_score(y, hard, **how),
        "log_loss": theirs.log_loss(y, p, **how),
        "accuracy": theirs.accuracy_score(y, hard, **how),
    }


@pytest.mark.parametrize("last", [nn.Identity(), nn.LogSoftmax()])
def test_metrics_of_classes_are_scikit_learns_over_all_rows(backend: str, last: nn.Module) -> None:
    loss = nn.CrossEntropyLoss() if isinstance(last, nn.Identity) else nn.NLLLoss()
    made: dict[str, Any] = {"backend": backend, "precision": "float64", "metrics": CLASSES}
    trainer, (X, y) = cr.Trainer(nn.Sequential(network(), last), loss, optim.SGD(0.1), **made), table(seed=4)
    output = trainer.predict(X)
    right = of_classes(y, np.exp(output) / np.exp(output).sum(1, keepdims=True))
    found = trainer.evaluate(X, y)
    assert {name: found[name] for name in CLASSES} == pytest.approx(right, rel=1e-9)


def test_metrics_of_one_binary_output_are_scikit_learns(backend: str) -> None:
    X, t = numbers()
    t = (t > 0.1).astype(float)
    trainer = cr.Trainer(
        network(out=1), nn.BCEWithLogitsLoss(), optim.SGD(0.1), backend=backend, precision="float64", metrics=CLASSES
    )
    found, p = trainer.evaluate(X, t), 1 / (1 + np.exp(-trainer.predict(X)[:, 0]))
    assert {name: found[name] for name in CLASSES} == pytest.approx(of_classes(t[:, 0], p), rel=1e-9)


scores = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(1, 4)), min_size=2, max_size=40)


@given(scores)
@settings(max_examples=100, deadline=None)
def test_the_area_under_the_curve_is_exact_with_ties_and_weights(rows: list[tuple[int, bool, int]]) -> None:
    output, labels, weight = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    metric = AUC("logit")
    contributed = metric.update(cr.tensor(output[:, None]), cr.tensor(labels[:, None]), cr.tensor(weight))
    found = metric.compute(contributed).item()
    if labels.min() == labels.max():
        assert np.isnan(found)
    else:
        assert found == pytest.approx(theirs.roc_auc_score(labels, output, sample_weight=weight), rel=1e-12)


def test_a_row_is_among_the_top_five_where_scikit_learn_says_so() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 4)), rng.integers(0, 9, 200)
    trainer = cr.Trainer(network(out=9), nn.CrossEntropyLoss(), optim.SGD(0.1), backend="numpy", metrics=("top5",))
    right = theirs.top_k_accuracy_score(y, trainer.predict(X), k=5, labels=range(9))
    assert trainer.evaluate(X, y)["top5"] == pytest.approx(right)


def test_a_training_shows_the_metrics_of_all_rows_on_both_backends() -> None:
    (X, y), held = table(70), table(33, seed=2)
    found = {}
    for name in ("numpy", "xla"):
        trainer = classifier(optimizer=optim.SGD(1e-12), backend=name, precision="float64", metrics=CLASSES)
        found[name] = trainer.fit(X, y, epochs=2, batch_size=16, validation=held, **QUIET).metrics
        for prefix, rows in (("", (X, y)), ("val_", held)):
            output = trainer.predict(rows[0])
            right = of_classes(rows[1], np.exp(output) / np.exp(output).sum(1, keepdims=True))
            for metric, value in right.items():
                assert found[name][prefix + metric] == pytest.approx([value] * 2, rel=1e-6), metric


def test_a_function_of_ones_own_gets_all_rows_at_once_in_training_and_evaluation(backend: str) -> None:
    def correlation(output: cr.Tensor, target: cr.Tensor) -> cr.Tensor:
        o, t = output - cr.mean(output), target - cr.mean(target)
        return cr.sum(o * t) / cr.sqrt(cr.sum(o * o) * cr.sum(t * t))

    (X, t), held = numbers(), numbers(20, seed=1)
    trainer = regressor(optim.SGD(1e-12), metrics=("r2", correlation), backend=backend)
    history = trainer.fit(X, t, epochs=2, batch_size=16, validation=held, **QUIET)
    for name, rows in (("correlation", (X, t)), ("val_correlation", held)):
        right = np.corrcoef(trainer.predict(rows[0]).ravel(), rows[1].ravel())[0, 1]
        assert history.metrics[name] == pytest.approx([right] * 2, rel=1e-4)
    right = np.corrcoef(trainer.predict(X).ravel(), t.ravel())[0, 1]
    assert trainer.evaluate(X, t)["correlation"] == pytest.approx(right, rel=1e-4)


def test_a_function_that_takes_weights_gets_them_and_what_it_gives_is_one_number() -> None:
    def weighted(output: Any, target: Any, sample_weight: Any = None) -> Any:
        return cr.sum(output) * 0 + (0.0 if sample_weight is None else cr.sum(sample_weight))

    X, t = numbers()
    trainer = regressor(metrics=(weighted,))
    history = trainer.fit(X, t, epochs=1, sample_weight=np.full(50, 3.0), **QUIET)
    assert history.metrics["weighted"] == pytest.approx([50.0])
    assert trainer.evaluate(X, t)["weighted"] == 0.0

    def rows(output: Any, target: Any) -> Any:
        return output

    with pytest.raises(ArgumentError, match="metrics, rows: a metric is one number"):
        regressor(metrics=(rows,)).fit(X, t, **QUIET)


def test_a_metric_that_is_no_number_does_not_end_the_training() -> None:
    X, t = numbers()
    trainer = regressor(metrics=(lambda output, target: cr.log(-cr.sum(output * output)),))
    history = trainer.fit(X, t, epochs=3, **QUIET)
    assert history.epochs == 3
    assert np.isnan(history.metrics["<lambda>"]).all()


def test_a_loaded_trainer_keeps_the_metrics_that_have_a_name(tmp_path: Path) -> None:
    trainer = classifier(metrics=("auc", lambda output, target: cr.mean(output)))
    trainer.save(tmp_path / "run")
    assert [metric_name(metric) for metric in cr.Trainer.load(tmp_path / "run").metrics] == ["auc"]


def test_defaults_are_accuracy_for_a_classifier_and_r2_for_a_regression() -> None:
    assert [metric.name for metric in classifier().metrics] == ["accuracy"]
    assert [metric.name for metric in regressor().metrics] == ["r2"]
    assert list(classifier(metrics=()).evaluate(*table())) == ["loss"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: classifier(metrics=("acuracy",)), r"metrics: unknown value: expected one of 'accuracy'.*'acuracy'"),
        (lambda: regressor(metrics=("accuracy",)), r"accuracy is for classifiers.*use r2, rmse, mae or mape"),
        (lambda: classifier(metrics=("r2",)), "r2 is for regression"),
        (lambda: classifier(metrics=("auc", "auc")), "a metric needs a name of its own"),
        (lambda: classifier(metrics=("top5",)).fit(*table(), **QUIET), "top5 is for more than five classes"),
        (lambda: regressor(metrics="rmse"), r"not a list of metrics.*write \('rmse',\)"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_with_the_mend(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
