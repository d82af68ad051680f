"""Figures against scikit-learn's, and their standard errors against the bootstrap."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from chainrule.tabular import scores as ours

seeds = st.integers(0, 2**32 - 1)


def classified(seed: int, classes: int, rows: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, probabilities with ties among them, and weights."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    chances = rng.integers(1, 6, (rows, classes)).astype(float)
    return truth, chances / chances.sum(axis=1, keepdims=True), rng.integers(1, 4, rows).astype(float)


THEIRS: dict[str, Any] = {
    "accuracy": lambda t, p, w: metrics.accuracy_score(t, p.argmax(1), sample_weight=w),
    "balanced_accuracy": lambda t, p, w: metrics.recall_score(
        t, p.argmax(1), sample_weight=w, labels=np.unique(t), average="macro"
    ),
    "log_loss": lambda t, p, w: metrics.log_loss(t, p, sample_weight=w, labels=range(p.shape[1])),
    "f1": lambda t, p, w: metrics.f1_score(
        t, p.argmax(1), sample_weight=w, average="binary" if p.shape[1] == 2 else "macro", zero_division=0
    ),
    "auc": lambda t, p, w: (
        metrics.roc_auc_score(t, p[:, 1], sample_weight=w) if p.shape[1] == 2
        else np.mean([metrics.roc_auc_score(t == c, p[:, c], sample_weight=w) for c in np.unique(t)])
    ),
}  # fmt: skip


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", ours.CLASSES)
@given(seed=seeds)
def test_a_figure_of_classes_is_scikit_learns(name: str, classes: int, seed: int) -> None:
    truth, chances, weight = classified(seed, classes)
    assume(len(np.unique(truth)) > 1)
    assert ours.CLASSES[name](truth, chances, weight) == pytest.approx(THEIRS[name](truth, chances, weight), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("r2", metrics.r2_score), ("rmse", metrics.root_mean_squared_error), ("mae", metrics.mean_absolute_error)],
)
@given(seed=seeds)
def test_a_figure_of_numbers_is_scikit_learns(name: str, theirs: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=30) * 10.0 ** rng.integers(-5, 6)
    found, weight = truth + rng.normal(size=30), rng.uniform(0.1, 2, 30)
    assert ours.NUMBERS[name](truth, found, weight) == pytest.approx(theirs(truth, found, sample_weight=weight))


@given(seed=seeds, classes=st.integers(2, 4))
def test_the_confusion_matrix_is_scikit_learns(seed: int, classes: int) -> None:
    truth, chances, weight = classified(seed, classes)
    theirs = metrics.confusion_matrix(truth, chances.argmax(1), labels=range(classes))
    assert np.array_equal(ours.confusion(truth, chances, classes), theirs)
    theirs = metrics.confusion_matrix(truth, chances.argmax(1), labels=range(classes), sample_weight=weight)
    assert ours.confusion(truth, chances, classes, weight) == pytest.approx(theirs)


@given(seed=seeds)
def test_the_calibration_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # With 110 rows no quantile falls on a row.
    said = rng.permutation(110) / 110
    truth = (rng.uniform(size=110) < said).astype(int)
    seen, mean = calibration_curve(truth, said, n_bins=10, strategy="quantile")
    found = ours.calibration(truth, np.column_stack([1 - said, said]))
    assert [group["said"] for group in found] == pytest.approx(mean)
    assert [group["seen"] for group in found] == pytest.approx(seen)
    assert sum(group["rows"] for group in found) == 110


@given(seed=seeds, classes=st.integers(2, 3))
def test_what_was_said_and_seen_is_the_same_on_the_whole_by_the_weights(seed: int, classes: int) -> None:
    truth, chances, weight = classified(seed, classes)
    [one] = ours.calibration(truth, chances, groups=1, weight=weight)
    sure, right = (chances[:, 1], truth == 1) if classes == 2 else (chances.max(1), truth == chances.argmax(1))
    assert one["said"] == pytest.approx(np.average(sure, weights=weight))
    assert one["seen"] == pytest.approx(np.average(right, weights=weight))


@given(seed=seeds, classes=st.integers(2, 3))
def test_a_weight_is_a_number_of_rows_and_of_weight_0_none(seed: int, classes: int) -> None:
    truth, chances, weight = classified(seed, classes)
    weight -= 1
    assume(weight.any())
    times = np.repeat(np.arange(len(truth)), weight.astype(int))
    weighted, repeated = (
        ours.scores("classify", truth, chances, weight),
        ours.scores("classify", truth[times], chances[times]),
    )
    assert {name: score.value for name, score in weighted.items()} == pytest.approx(
        {name: score.value for name, score in repeated.items()}
    )


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_the_standard_error_is_that_of_the_bootstrap(task: str) -> None:
    rng = np.random.default_rng(0)
    rows = 2000
    if task == "classify":
        truth = rng.integers(0, 2, rows)
        one = 1 / (1 + np.exp(-(truth - 0.5) * 2 - rng.normal(size=rows)))
        found = np.column_stack([1 - one, one])
    else:
        truth = rng.normal(size=rows)
        found = truth + rng.normal(size=rows)
    said = ours.scores(task, truth, found)
    drawn: dict[str, list[float]] = {name: [] for name in said}
    for _ in range(300):
        some = rng.integers(0, rows, rows)
        for name, figure in ours.figures(task).items():
            drawn[name].append(figure(truth[some], found[some], np.ones(rows)))
    for name, score in said.items():
        assert score.error is not None
        # An error estimated from 20 groups is itself known to a sixth.
        assert score.error == pytest.approx(np.std(drawn[name]), rel=0.5), name


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_of_few_rows_what_is_not_known_is_not_said(rows: int) -> None:
    found = ours.scores("classify", np.zeros(rows, int), np.full((rows, 2), 0.5))
    assert "auc" not in found
    assert found["accuracy"].value == 1
    assert (found["accuracy"].error is None) == (rows < 3)
    numbers = ours.scores("regress", np.ones(rows), np.ones(rows))
    assert "r2" not in numbers
    assert numbers["mae"].value == 0


def test_a_figure_is_said_with_its_error() -> None:
    assert str(ours.Score(0.98765, 0.0123)) == "0.988 ± 0.012"
    assert str(ours.Score(2.0, None)) == "2"


def test_a_probability_of_0_has_a_finite_loss() -> None:
    assert np.isfinite(ours.log_loss(np.array([0]), np.array([[0.0, 1.0]]), np.ones(1)))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.987654, None, "0.9877"), (0.99957, 0.00038, "0.99957 ± 0.00038"), (0.5, 0.02, "0.500 ± 0.020"),
        (54321.9, 1234.0, "54,320 ± 1,200"), (54.321, 1.9, "54.3 ± 1.9"), (1.0, 0.0, "1 ± 0"),
        (1 / 3, 2.4e-16, "0.3333 ± 0"), (-0.25, 0.1, "-0.25 ± 0.10"),
        (1.2346e-9, 2e-10, "1.235e-09 ± 2e-10"), (1.5e12, 2e11, "1.5e+12 ± 2e+11"), (0.5, 40.0, "0 ± 40"),
    ],
)  # fmt: skip
def test_a_figure_is_said_to_the_second_digit_of_its_error(value: float, error: float | None, text: str) -> None:
    assert str(ours.Score(value, error)) == text
