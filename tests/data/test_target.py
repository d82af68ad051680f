import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data import Source, Target, from_arrays, infer_task, load
from chainrule.errors import ArgumentError, DataError


def source(**columns):
    return Source("t", frame=pl.DataFrame(columns, strict=False))


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "c"], "classify"),
        ([True, False], "classify"),
        ([0, 1, 2] * 10, "classify"),
        ([-1.0, 1.0] * 3, "classify"),
        ([3, 4, 5, 6, 7, 8] * 50, "classify"),
        (list(range(26)) * 10, "classify"),
        ([0.5, 1.5] * 10, "regress"),
        (list(range(30)), "regress"),
        ([10 * i for i in range(26)] * 10, "regress"),
        ([1, 2, 3, 4, 5], "regress"),
    ],
)
def test_the_task_follows_from_the_values(values, task):
    found, reason = infer_task(pl.Series(values))
    assert found == task
    assert reason


def test_categories_are_classified_and_keep_their_text():
    target = Target.fit(source(a=[1, 2, 3], y=pl.Series(["x", "z", "x"], dtype=pl.Categorical)))
    assert (target.task, target.classes) == ("classify", ["x", "z"])


def test_labels_are_numbered_in_order_and_come_back_as_they_were():
    table = source(a=[1, 2, 3, 4], y=[7, 3, 7, 5])
    target = Target.fit(table, task="classify")
    assert target.classes == [3, 5, 7]
    assert target.values(table).tolist() == [2, 0, 2, 1]
    assert target.values(table).dtype == np.int32
    assert target.decode(target.values(table)).tolist() == [7, 3, 7, 5]


def test_whole_numbers_that_are_stored_as_decimals_are_whole_labels():
    target = Target.fit(source(a=[1, 2, 3, 4], y=[1.0, None, 2.0, 1.0]), task="classify")
    assert target.classes == [1, 2]


def test_scores_are_decoded_to_the_label_of_the_highest():
    target = Target("y", "classify", ["a", "b", "c"])
    assert target.decode([[0.1, 0.2, 0.9], [3, 1, 2]]).tolist() == ["c", "a"]


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=40).filter(lambda v: max(v) - min(v) > 1e-3))
def test_numbers_are_standardised_and_decoded_to_the_units_of_the_user(values):
    table = source(a=list(range(len(values))), y=values)
    target = Target.fit(table, task="regress")
    numbers = target.values(table)
    assert numbers.shape == (len(values), 1)
    assert numbers.dtype == np.float32
    assert abs(numbers.mean(dtype=float)) < 1e-3
    assert abs(numbers.std(dtype=float) - 1) < 1e-3
    assert np.allclose(target.decode(numbers), values, rtol=1e-5, atol=1e-5 * np.abs(values).max())


def test_only_the_given_rows_are_learnt_from():
    table = source(a=range(4), y=[0.0, 2.0, 1000.0, 3000.0])
    target = Target.fit(table, task="regress", rows=np.array([0, 1]))
    assert (target.mean, target.sigma) == (1.0, 1.0)


def test_rows_without_a_target_are_passed_over_and_said_so():
    table = source(a=range(5), y=["x", None, "y", "x", None])
    target = Target.fit(table)
    assert target.values(table).tolist() == [0, 1, 0]
    assert "y: the target is missing in 2 rows, which are left out" in target.notes


def test_taking_the_last_column_and_choosing_the_task_are_said():
    notes = Target.fit(source(a=[1, 2], y=["x", "z"])).notes
    assert notes[0] == "y: the last column is taken as the target; --target names another"
    assert notes[1].startswith("y: 2 different labels, so the task is to classify")
    assert Target.fit(load("iris"), task="classify").notes == []


@pytest.mark.parametrize(
    ("columns", "options", "kind", "message"),
    [
        ({"age": [1], "name": ["x"]}, {"name": "nam"}, ArgumentError, "expected one of 'name', 'age', got 'nam'"),
        ({"y": ["x", "x"]}, {}, DataError, "column 'y': the target is the same in every row"),
        ({"y": [2.5, 2.5]}, {"task": "regress"}, DataError, "column 'y': the target is the same in every row"),
        ({"y": [None, None]}, {}, DataError, "every value of the target is missing"),
        ({"y": [float("nan")]}, {}, DataError, "every value of the target is missing"),
        ({"y": ["1", "x"]}, {"task": "regress"}, DataError, "'y': 1 of 2 cells are no number: got 'x' in row 2"),
        ({"y": ["v", "x"]}, {"task": "regress"}, DataError, "column 'y': 2 of 2 cells are no number"),
        ({"y": [1.0, float("inf")]}, {"task": "regress"}, DataError, "1 of 2 cells are no number: got 'inf' in row 2"),
        ({"y": [str(i) for i in range(30)]}, {}, DataError, "too many classes: got 30 .*choose another column"),
        ({"y": [i / 7 for i in range(30)]}, {"task": "classify"}, DataError, "too many classes.*try --task regress"),
        ({"y": [datetime.date(2020, 1, i) for i in (1, 2)]}, {}, DataError, "column 'y': cannot be predicted"),
        ({"y": [1, 2]}, {"task": "guess"}, ArgumentError, "task: unknown value"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(columns, options, kind, message):
    with pytest.raises(kind, match=message):
        Target.fit(source(**columns), **options)


def test_arrays_without_targets_are_refused():
    with pytest.raises(DataError, match="there are no targets"):
        Target.fit(from_arrays(np.ones((3, 2))))


def test_a_class_that_was_not_seen_in_training_is_named_with_its_row():
    target = Target.fit(source(a=[1, 2], y=["x", "z"]))
    with pytest.raises(
        DataError, match=r"column 'y', row 2: an unknown class: expected one seen in training, x, z, got 'q'"
    ):
        target.values(source(a=[1, 2], y=["x", "q"]))
