"""What a training on a table can be stopped by."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError
from chainrule.tabular.metrics import check_metrics, watched
from chainrule.tabular.scores import CLASSES, NUMBERS


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "auc", "f1"])
def test_what_is_watched_is_the_score_of_the_rows_each_held_out_by_one_member(name: str, classes: int) -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(40, 3, classes)).astype(np.float32)
    labels, weights = rng.integers(0, classes, (40, 3)), rng.integers(0, 3, (40, 3))
    metric = watched([name])
    assert metric is not None
    found = metric(outputs, np.stack([labels, weights], axis=-1).astype(np.float32))
    chances = np.exp(outputs.reshape(-1, classes).astype(np.float64))
    chances /= chances.sum(axis=1, keepdims=True)
    expected = CLASSES[name](labels.ravel(), chances, weights.ravel().astype(float))
    assert float(cr.as_tensor(found).numpy()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("names", [[], ["log_loss"], ["r2"], ["rmse", "mae"]])
def test_where_the_loss_says_the_same_nothing_is_watched(names: list[str]) -> None:
    assert watched(names) is None


def test_metrics_of_the_task_are_taken_and_others_are_refused_by_name() -> None:
    assert check_metrics(None, "classify") == []
    assert check_metrics(list(CLASSES), "classify") == list(CLASSES)
    assert check_metrics(list(NUMBERS), "regress") == list(NUMBERS)
    with pytest.raises(ArgumentError, match=r"metric: does not fit classes: expected one of accuracy, .*got 'rmse'"):
        check_metrics(["auc", "rmse"], "classify")
    with pytest.raises(ArgumentError, match=r"metric: does not fit numbers: expected one of r2, .*got 'auc'"):
        check_metrics(["auc"], "regress")
    with pytest.raises(ArgumentError, match=r"metric.*'auc'.*got 'acu'"):
        check_metrics(["acu"], "classify")
