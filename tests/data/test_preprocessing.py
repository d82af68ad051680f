import datetime
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import Preprocessor, Source, from_arrays, load
from chainrule.errors import DataError, ShapeError


def source(**columns):
    return Source("t", frame=pl.DataFrame(columns, strict=False))


def fit(rows=None, **columns):
    """A preprocessor for these columns and a target, and the features of all rows."""
    height = len(next(iter(columns.values())))
    table = source(**columns, y=["u", "v"] * (height // 2) + ["u"] * (height % 2))
    preprocessor = Preprocessor.fit(table, "y", "classify", rows)
    return preprocessor, preprocessor.transform(table)


numbers = st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(float("nan")))
words = st.one_of(st.none(), st.sampled_from(["red", "green", "blue", "grey"]))
tables = st.integers(6, 30).flatmap(
    lambda n: st.fixed_dictionaries(
        {
            "number": st.lists(numbers, min_size=n, max_size=n),
            "whole": st.lists(st.one_of(st.none(), st.integers(-100, 100)), min_size=n, max_size=n),
            "word": st.lists(words, min_size=n, max_size=n),
            "flag": st.lists(st.one_of(st.none(), st.booleans()), min_size=n, max_size=n),
            "sure": st.just([i * 0.5 - i % 3 for i in range(n)]),
        }
    )
)


@given(tables, st.data())
@settings(max_examples=60, deadline=None)
def test_numbers_have_zero_mean_and_unit_variance_on_the_training_rows(columns, data):
    height = len(columns["sure"])
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, height - 1), min_size=4))))
    if len({"u" if r % 2 else "v" for r in rows}) < 2:
        rows = np.arange(height)
    preprocessor, features = fit(rows, **columns)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    for name in {"number", "whole", "sure"} & set(preprocessor.columns):
        seen = features[rows, preprocessor.feature_names.index(name)].astype(float)
        assert abs(seen.mean()) < 1e-4
        assert abs(seen.std() - 1) < 1e-4 or np.ptp(seen) == 0


@given(tables)
@settings(max_examples=60, deadline=None)
def test_a_preprocessor_read_back_from_json_gives_the_same_bits(columns):
    preprocessor, features = fit(**columns)
    again = Preprocessor.from_dict(json.loads(json.dumps(preprocessor.to_dict(), allow_nan=False)))
    table = source(**columns)
    assert again.transform(table).tobytes() == features.tobytes()
    assert again.to_dict() == preprocessor.to_dict()
    assert (again.task, again.target, again.classes) == ("classify", "y", ["u", "v"])


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=4, max_size=20))
@settings(max_examples=60, deadline=None)
def test_arrays_are_standardised_and_read_back_with_the_same_bits(rows):
    X = np.column_stack([np.array(rows, dtype=np.float32), np.arange(len(rows))])
    arrays = from_arrays(X, np.arange(len(rows)) % 2)
    preprocessor = Preprocessor.fit(arrays, task="classify")
    features = preprocessor.transform(arrays)
    again = Preprocessor.from_dict(json.loads(json.dumps(preprocessor.to_dict(), allow_nan=False)))
    assert again.transform(arrays).tobytes() == features.tobytes()
    moving = np.ptp(X, axis=0) > 1e-3 * np.abs(X).max(axis=0)
    assert np.allclose(features.mean(axis=0, dtype=float)[moving], 0, atol=1e-3)
    assert np.allclose(features.std(axis=0, dtype=float)[moving], 1, atol=1e-3)


def test_only_the_training_rows_are_learnt_from():
    preprocessor, features = fit([0, 1], a=[0.0, 2.0, 1000.0], b=["x", "y", "z"])
    assert preprocessor.feature_names == ["a", "b = x", "b = y"]
    assert features.tolist() == [[-1, 1, 0], [1, 0, 1], [999, 0, 0]]


def test_rows_without_a_target_are_not_learnt_from():
    table = source(a=[0.0, 2.0, 1000.0, 4.0], y=["u", "v", None, "u"])
    assert Preprocessor.fit(table, "y").transform(table)[1, 0] == 0


def test_a_missing_number_is_the_median_and_has_an_indicator():
    preprocessor, features = fit(a=[1.0, None, 3.0, 8.0])
    assert preprocessor.feature_names == ["a", "a is missing"]
    assert features[:, 1].tolist() == [0, 1, 0, 0]
    assert features[1, 0] == features[2, 0]


def test_a_missing_category_is_a_level_of_its_own():
    preprocessor, features = fit(a=["x", None, "z", "x"])
    assert preprocessor.feature_names == ["a = x", "a = z", "a is missing"]
    assert features.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_booleans_are_zero_and_one():
    assert fit(a=[True, False, None])[1].tolist() == [[1], [0], [0.5]]


def test_the_rarest_of_many_levels_share_a_column():
    levels = [f"l{i}" for i in range(60)]
    preprocessor, features = fit(a=[*levels[:50] * 3, *levels])
    assert len(preprocessor.feature_names) == 51
    assert preprocessor.feature_names[-1] == "a is other"
    assert features[-10:, -1].all()
    assert (features.sum(axis=1) == 1).all()
    assert preprocessor.transform(source(a=["new"]))[0, -1] == 1


def test_an_unseen_level_is_all_zero_and_said_so():
    preprocessor, _ = fit(a=["x", "z"] * 3)
    notes = []
    assert preprocessor.transform(source(a=["x", "new"]), notes=notes).tolist() == [[1, 0], [0, 0]]
    assert notes == ["a: 1 rows hold a level not seen in training (new); all its columns are 0 there"]


def test_a_number_missing_only_at_prediction_is_the_median_and_said_so():
    preprocessor, features = fit(a=[1.0, 2.0, 9.0])
    notes = []
    assert preprocessor.transform(source(a=[None, 2.0]), notes=notes)[0, 0] == features[1, 0]
    assert "1 missing" in notes[0]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([None] * 30, "all missing"),
        ([float("nan")] * 30, "all missing"),
        ([4] * 30, "always the same value"),
        (["x"] * 30, "always the same value"),
        ([True] * 30, "always the same value"),
        ([datetime.date(2020, 1, i + 1) for i in range(30)], "holds dates or times"),
        ([datetime.datetime(2020, 1, i + 1) for i in range(30)], "holds dates or times"),
        ([f"{i % 5 + 1}/2/2020" for i in range(30)], "holds dates or times"),
        ([f"2020-01-{i + 1:02} 10:00" for i in range(30)], "holds dates or times"),
        ([f"said {i}" for i in range(30)], "free text"),
        (list(range(5, 35)), "only counts the rows"),
        ([[1]] * 30, "holds values of type List(Int64)"),
    ],
)
def test_a_useless_column_is_left_out_and_said_so(values, reason):
    preprocessor, _ = fit(bad=values, good=[i % 7 for i in range(30)])
    assert preprocessor.columns == ["good"]
    assert preprocessor.notes == [f"bad: left out, {reason}"]
    assert Preprocessor.from_dict(preprocessor.to_dict()).transform(source(good=[1])).shape == (1, 1)


def test_many_columns_left_out_for_one_reason_are_one_line():
    preprocessor, _ = fit(**{f"c{i}": [1] * 6 for i in range(9)}, good=[1, 2, 3, 1, 2, 3])
    assert preprocessor.notes == ["9 columns left out, always the same value: c0, c1, c2, c3, c4 and 4 more"]


def test_no_usable_column_is_refused_with_the_reasons():
    with pytest.raises(DataError, match="no column is left to learn from: got a: left out, always the same value"):
        fit(a=[1, 1, 1])
    with pytest.raises(DataError, match="'y' is the only one"):
        Preprocessor.fit(source(y=["u", "v"]))


def test_infinity_is_refused_with_column_and_row():
    with pytest.raises(DataError, match=r"column 'a', row 3: .*expected a finite number, got inf"):
        fit(a=[1.0, 2.0, float("inf")])
    with pytest.raises(DataError, match=r"column '1', row 2: .*expected a finite number, got inf"):
        Preprocessor.fit(from_arrays([[1.0, 2.0], [1.0, np.inf]], [0, 1]))


def test_missing_columns_are_named_with_the_nearest():
    preprocessor, _ = fit(height=[1, 2, 4], weight=[1, 2, 4])
    with pytest.raises(DataError, match="columns that are missing: 'height': got nearest to 'height': 'heigth'"):
        preprocessor.transform(source(heigth=[1], weight=[2]))


def test_the_order_of_columns_and_further_columns_do_not_matter():
    preprocessor, features = fit(a=[1, 2, 4], b=["x", "z", "x"])
    assert np.array_equal(preprocessor.transform(source(c=[0, 0, 0], b=["x", "z", "x"], a=[1, 2, 4])), features)


@pytest.mark.parametrize(
    ("learnt", "given", "message"),
    [
        ([1, 2, 4], ["1", "tall", "3"], "column 'a', row 2: .*expected a number, got 'tall'"),
        ([1, 2, 4], [datetime.date(2020, 1, 1)] * 3, "another type than in training"),
        ([True, False, True], ["true", "maybe", "no"], "column 'a', row 2"),
        ([True, False, True], [0, 1, 2], "column 'a', row 3: .*expected true or false"),
    ],
)
def test_a_column_of_another_type_is_refused(learnt, given, message):
    preprocessor, _ = fit(a=learnt)
    with pytest.raises(DataError, match=message):
        preprocessor.transform(source(a=given))


@pytest.mark.parametrize("same", [["1", "2", "4"], [1.0, 2.0, 4.0], pl.Series([1, 2, 4], dtype=pl.UInt8)])
def test_the_same_numbers_in_another_guise_are_the_same_features(same):
    preprocessor, features = fit(a=[1, 2, 4])
    assert np.array_equal(preprocessor.transform(source(a=same)), features)


def test_levels_that_look_like_numbers_are_the_same_levels_when_read_as_numbers():
    preprocessor, features = fit(a=["1", "2", "A", "1"])
    assert np.array_equal(preprocessor.transform(source(a=[1.0, 2.0, None, 1.0]))[[0, 1, 3]], features[[0, 1, 3]])


def test_pixels_that_never_change_keep_their_place_and_are_one_note():
    X = np.random.default_rng(0).integers(0, 255, (50, 28, 28)).astype(np.uint8)
    X[:, :2] = 0
    arrays = from_arrays(X, np.arange(50) % 5)
    preprocessor = Preprocessor.fit(arrays, task="classify")
    assert preprocessor.transform(arrays).shape == (50, 784)
    assert preprocessor.notes == ["56 of 784 columns never change and say nothing"]
    X[:, 0, 0] = 255
    assert np.abs(preprocessor.transform(from_arrays(X))).max() <= 255


def test_missing_values_in_arrays_are_imputed_with_indicators():
    arrays = from_arrays([[1.0, 5.0], [np.nan, 6.0], [3.0, 7.0], [8.0, 8.0]], [0, 1, 0, 1])
    preprocessor = Preprocessor.fit(arrays)
    features = preprocessor.transform(arrays)
    assert preprocessor.feature_names == ["0", "1", "0 is missing"]
    assert features[:, 2].tolist() == [0, 1, 0, 0]
    assert features[1, 0] == features[2, 0]
    notes = []
    assert np.isfinite(preprocessor.transform(from_arrays([[1.0, np.nan]]), notes=notes)).all()
    assert "1 columns" in notes[0]


def test_another_number_of_features_is_refused_with_both_numbers():
    preprocessor = Preprocessor.fit(from_arrays([[1, 2], [2, 1]], [0, 1]))
    with pytest.raises(ShapeError, match="wrong number of features: expected 2, got 3"):
        preprocessor.transform(from_arrays([[1, 2, 3]]))


def test_a_table_where_arrays_were_is_refused():
    preprocessor = Preprocessor.fit(from_arrays([[1, 2], [2, 1]], [0, 1]))
    with pytest.raises(DataError, match="expected arrays, got a table"):
        preprocessor.transform(load("iris"))


@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1.0, 1e20, 1e300])
def test_any_scale_is_standardised(scale):
    _, features = fit(a=[1.0 * scale, 2.0 * scale, 3.0 * scale])
    assert np.allclose(features[:, 0], [-1.2247449, 0, 1.2247449], atol=1e-6)


def test_an_absurd_value_at_prediction_stays_finite():
    preprocessor, _ = fit(a=[1.0, 2.0, 3.0])
    assert np.abs(preprocessor.transform(source(a=[1e300]))).max() <= 1e6


def test_regression_predictions_are_in_the_units_of_the_user():
    diabetes = load("diabetes")
    preprocessor = Preprocessor.fit(diabetes)
    truth = diabetes.frame["target"].to_numpy()
    assert preprocessor.task == "regress"
    assert preprocessor.classes is None
    assert np.allclose(preprocessor.decode(preprocessor.target_values(diabetes)), truth, rtol=1e-5)


def test_the_layout_says_what_every_column_of_the_matrix_means():
    preprocessor, features = fit(a=[1.0, None, 3.0, 8.0], b=["x", "y", "z", "x"], c=[2.0, 1.0, 5.0, 3.0])
    layout = preprocessor.layout
    assert [(f.column, f.kind, f.slice) for f in layout] == [
        ("a", "number", slice(0, 1)),
        ("a", "indicator", slice(1, 2)),
        ("b", "onehot", slice(2, 5)),
        ("c", "number", slice(5, 6)),
    ]
    assert layout[-1].slice.stop == features.shape[1] == len(preprocessor.feature_names)
