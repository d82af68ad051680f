import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import split
from chainrule.errors import ArgumentError

labels = st.lists(st.integers(0, 4), min_size=1, max_size=120)
shares = st.floats(0, 0.49)
tasks = st.sampled_from(["classify", "regress"])


@given(labels, tasks, shares, shares, st.integers(0, 5))
def test_every_row_is_in_exactly_one_part(y, task, validation, test, seed):
    parts = split(y, task, validation, test, seed)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(rows.tolist()) == list(range(len(y)))


@given(labels, shares, shares, st.integers(0, 5))
def test_every_class_has_a_row_to_train_on_and_tiny_classes_are_only_trained_on(y, validation, test, seed):
    y = np.array(y)
    parts = split(y, "classify", validation, test, seed)
    assert set(y[parts.train]) == set(y)
    for label, count in zip(*np.unique(y, return_counts=True), strict=True):
        if count < 3:
            assert (y[parts.train] == label).sum() == count


@given(st.lists(st.integers(10, 40), min_size=2, max_size=5), st.integers(0, 5))
def test_every_class_is_divided_in_proportion(sizes, seed):
    y = np.repeat(np.arange(len(sizes)), sizes)
    parts = split(y, "classify", 0.15, 0.2, seed)
    for label, size in enumerate(sizes):
        assert abs((y[parts.test] == label).sum() - 0.2 * size) <= 1
        assert abs((y[parts.validation] == label).sum() - 0.15 * size) <= 1
    assert len(parts.test) == round(0.2 * len(y))
    assert len(parts.validation) == round(0.15 * len(y))


@given(st.integers(4, 60), st.integers(0, 5))
def test_regression_has_rows_in_every_part(rows, seed):
    parts = split(np.linspace(0, 1, rows), "regress", seed=seed)
    assert min(len(parts.train), len(parts.validation), len(parts.test)) >= 1


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    y = np.arange(100) % 3
    first, again, other = split(y, "classify", seed=1), split(y, "classify", seed=1), split(y, "classify", seed=2)
    assert np.array_equal(first.test, again.test)
    assert np.array_equal(first.train, again.train)
    assert not np.array_equal(first.test, other.test)


def test_labels_may_be_text():
    parts = split(["a", "b"] * 20, "classify")
    assert len(parts.test) == 8


def test_no_share_means_no_rows():
    parts = split([0, 1] * 20, "classify", validation=0, test=0)
    assert len(parts.train) == 40


@pytest.mark.parametrize("shares", [(-0.1, 0.2), (0.5, 0.5), (float("nan"), 0.2), (0.1, 1.0)])
def test_shares_that_leave_nothing_are_refused(shares):
    with pytest.raises(ArgumentError):
        split([0, 1] * 20, "classify", *shares)
