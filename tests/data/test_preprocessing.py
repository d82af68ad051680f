import datetime
import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import Preprocessor, Reading, Source, from_arrays, load, sources
from chainrule.errors import ArgumentError, DataError, ShapeError


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
def test_numbers_are_scaled_by_the_quartiles_of_the_training_rows_and_clipped_smoothly(columns, data):
    height = len(columns["sure"])
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, height - 1), min_size=4))))
    if len({"u" if r % 2 else "v" for r in rows}) < 2:
        rows = np.arange(height)
    preprocessor, features = fit(rows, **columns)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    for name in {"number", "whole", "sure"} & set(preprocessor.columns):
        values = np.array([np.nan if v is None else v for v in columns[name]], float)
        known = values[rows][~np.isnan(values[rows])]
        low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
        scale = (high - low) or np.ptp(known) / 2 or 1
        z = np.where(np.isnan(values), 0, (values - middle) / scale)
        expected = z / np.sqrt(1 + (z / 3) ** 2)
        assert features[:, preprocessor.feature_names.index(name)] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@given(tables, st.data())
@settings(max_examples=60, deadline=None)
def test_a_row_is_made_into_the_same_numbers_whatever_stands_beside_it(columns, data):
    preprocessor, features = fit(**columns)
    rows = data.draw(st.lists(st.integers(0, len(columns["sure"]) - 1), min_size=1, max_size=5))
    some = source(**{name: [values[row] for row in rows] for name, values in columns.items()})
    assert preprocessor.transform(some).tobytes() == features[rows].tobytes()


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
def test_arrays_are_made_into_what_a_table_of_the_same_numbers_is(rows):
    X = np.column_stack([np.array(rows, dtype=np.float32), np.arange(len(rows)) % 3])
    y = np.arange(len(rows)) % 2
    arrays, table = from_arrays(X, y), source(**{str(i): X[:, i] for i in range(4)}, y=y)
    preprocessor = Preprocessor.fit(arrays, task="classify")
    features = preprocessor.transform(arrays)
    again = Preprocessor.from_dict(json.loads(json.dumps(preprocessor.to_dict(), allow_nan=False)))
    assert again.transform(arrays).tobytes() == features.tobytes()
    assert Preprocessor.fit(table, "y", "classify").transform(table).tobytes() == features.tobytes()


def test_only_the_training_rows_are_learnt_from():
    preprocessor, features = fit([0, 1, 2], a=[0.0, 1.0, 2.0, 1000.0], b=["x", "y", "z", "w"])
    assert preprocessor.feature_names == ["a", "b = x", "b = y", "b = z"]
    assert features[:, 1:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert features[:3, 0] == pytest.approx([-0.948683, 0, 0.948683])


def test_rows_without_a_target_are_not_learnt_from():
    table = source(a=[0.0, 2.0, 1000.0, 4.0], y=["u", "v", None, "u"])
    assert Preprocessor.fit(table, "y").transform(table)[1, 0] == 0


def test_a_missing_number_is_the_median_and_has_an_indicator():
    preprocessor, features = fit(a=[1.0, None, 3.0, 8.0])
    assert preprocessor.feature_names == ["a", "a is missing"]
    assert features[:, 1].tolist() == [0, 1, 0, 0]
    assert features[1, 0] == features[2, 0]


def test_a_missing_category_is_a_level_of_its_own():
    preprocessor, features = fit(a=["x", None, "z", "x", "y"])
    assert preprocessor.feature_names == ["a = x", "a = y", "a = z", "a is missing"]
    assert features[:4].tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]]


def test_two_levels_are_one_column_of_plus_and_minus_one():
    for values in ([True, False, None], ["b", "a", None], pl.Series(["b", "a", None], dtype=pl.Categorical)):
        preprocessor, features = fit(a=values)
        assert features.tolist() == [[1], [-1], [0]]
        assert preprocessor.layout[0].kind == "binary"


def test_more_than_nine_levels_are_codes_and_none_is_merged():
    levels = [f"l{i}" for i in range(140)]
    preprocessor, features = fit(a=levels * 3, b=["x", "y"] * 210)
    feature = preprocessor.layout[0]
    assert (feature.kind, feature.levels, feature.width) == ("code", 140, 1)
    assert sorted(features[:140, 0].tolist()) == list(range(1, 141))
    notes = []
    assert preprocessor.transform(source(a=["new", None], b=["x", "x"]), notes=notes)[:, 0].tolist() == [0, 0]
    assert fit(a=levels[:9] * 3)[0].layout[0].kind == "onehot"
    assert fit(a=levels[:10] * 3)[0].layout[0].kind == "code"


def test_an_unseen_level_is_none_of_those_seen_and_said_so():
    preprocessor, _ = fit(a=["x", "z", "w"] * 3)
    notes = []
    assert preprocessor.transform(source(a=["x", "new", None]), notes=notes).tolist() == [
        [0, 1, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]
    assert notes == [
        "a: 1 row with a level not seen in training (new), taken as none of those it saw",
        "a: 1 missing, though none was in training; taken as none of the levels",
    ]


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
        ([datetime.date(2020, 1, 1)] * 30, "always the same value"),
        (
            [f"said {i}" for i in range(30)],
            "nearly every row has a text of its own, as identifiers and free text do; --categorical keeps it",
        ),
        (
            [f"00{i}" for i in range(10, 40)],
            "nearly every row has a text of its own, as identifiers and free text do; --categorical keeps it",
        ),
        (list(range(5, 35)), "only numbers the rows; --numeric keeps it"),
        ([(7 * i) % 30 for i in range(30)], "only numbers the rows; --numeric keeps it"),
        ([[1]] * 30, "holds values of type List(Int64)"),
    ],
)
def test_a_useless_column_is_left_out_and_said_so(values, reason):
    preprocessor, _ = fit(bad=values, good=[i % 7 for i in range(30)])
    assert preprocessor.columns == ["good"]
    assert preprocessor.notes[-1] == f"bad: left out, {reason}"
    assert Preprocessor.from_dict(preprocessor.to_dict()).transform(source(good=[1])).shape == (1, 1)


def test_many_columns_left_out_for_one_reason_are_one_line():
    preprocessor, _ = fit(**{f"c{i}": [1] * 6 for i in range(9)}, good=[1, 2, 3, 1, 2, 3])
    assert preprocessor.notes == ["9 columns: left out, always the same value: c0, c1, c2, c3, c4 and 4 more"]


def test_no_usable_column_is_refused_with_the_reasons():
    with pytest.raises(DataError, match="no column is left to learn from: got a: left out, always the same value"):
        fit(a=[1, 1, 1])
    with pytest.raises(DataError, match="'y' is the only one"):
        Preprocessor.fit(source(y=["u", "v"]))


def test_infinity_is_no_number_and_named_with_column_and_row():
    preprocessor, features = fit(a=[1.0, 2.0, 4.0, float("inf")])
    assert preprocessor.notes == ["a: 1 cell is no number: 'inf' in row 4; it counts as missing"]
    assert features[3].tolist() == [0, 1]
    preprocessor = Preprocessor.fit(from_arrays([[1.0, 2.0], [1.5, np.inf], [2.0, 3.0]], [0, 1, 0]))
    assert preprocessor.notes[-1] == "1: 1 cell is no number: 'inf' in row 2; it counts as missing"


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
        ([1, 2, 4], ["1", "tall", "short"], "column 'a': 2 of 3 cells are no number: got 'tall' in row 2"),
        ([1, 2, 4], [datetime.date(2020, 1, 1)] * 3, "another type than in training: expected numbers"),
        (["x", "y", "x"], [datetime.date(2020, 1, 1)] * 3, "another type than in training: expected names"),
        ([datetime.date(2020, 1, i) for i in (1, 2, 3)], [1, 2, 3], "in training: expected a date a row"),
    ],
)
def test_a_column_of_another_type_is_refused(learnt, given, message):
    preprocessor, _ = fit(a=learnt)
    with pytest.raises(DataError, match=message):
        preprocessor.transform(source(a=given))


def test_true_and_false_are_the_levels_so_called_however_they_are_written():
    preprocessor, features = fit(a=["True", "False", "Unknown", "True"])
    assert np.array_equal(preprocessor.transform(source(a=[True, False])), features[:2])


def test_true_and_false_are_one_and_zero_where_numbers_were():
    preprocessor, features = fit(a=[1, 0, 0, 1, 3])
    assert np.array_equal(preprocessor.transform(source(a=[True, False, None])), [features[0], features[1], [0]])


@pytest.mark.parametrize("same", [["1", "2", "4"], [1.0, 2.0, 4.0], pl.Series([1, 2, 4], dtype=pl.UInt8)])
def test_the_same_numbers_in_another_guise_are_the_same_features(same):
    preprocessor, features = fit(a=[1, 2, 4])
    assert np.array_equal(preprocessor.transform(source(a=same)), features)


def test_levels_that_look_like_numbers_are_the_same_levels_when_read_as_numbers():
    preprocessor, features = fit(a=["1", "2", "A", "1"])
    assert np.array_equal(preprocessor.transform(source(a=[1.0, 2.0, None, 1.0]))[[0, 1, 3]], features[[0, 1, 3]])


def test_pixels_that_never_change_are_left_out_and_are_one_note():
    X = np.random.default_rng(0).integers(0, 255, (50, 28, 28)).astype(np.uint8)
    X[:, :2] = 0
    arrays = from_arrays(X, np.arange(50) % 5)
    preprocessor = Preprocessor.fit(arrays, task="classify")
    assert preprocessor.transform(arrays).shape == (50, 728)
    assert preprocessor.notes == ["56 columns: left out, always the same value: 0, 1, 2, 3, 4 and 51 more"]


def test_an_array_in_blocks_is_the_array_at_once(monkeypatch):
    X = np.random.default_rng(0).normal(size=(90, 4))
    X[5, 1], X[70, 2] = np.nan, np.inf
    arrays = from_arrays(X, np.arange(90) % 2)
    new = from_arrays(np.where((np.arange(90)[:, None] == 63) & (np.arange(4) == 0), 1e6, X))
    found = []
    for block in (2**22, 40):
        monkeypatch.setattr(sources, "_BLOCK", block)
        notes = []
        preprocessor = Preprocessor.fit(arrays)
        found.append((preprocessor.to_dict(), preprocessor.transform(new, notes=notes).tobytes(), notes))
    assert found[0] == found[1]
    assert any("'inf' in row 71" in note for note in found[0][2])
    assert any("1e+06 in row 64" in note for note in found[0][2])


def test_missing_values_in_arrays_are_imputed_with_indicators():
    arrays = from_arrays([[1.0, 5.0], [np.nan, 6.0], [3.0, 7.0], [8.0, 8.0]], [0, 1, 0, 1])
    preprocessor = Preprocessor.fit(arrays)
    features = preprocessor.transform(arrays)
    assert preprocessor.feature_names == ["0", "0 is missing", "1"]
    assert features[:, 1].tolist() == [0, 1, 0, 0]
    assert features[1, 0] == features[2, 0]
    notes = []
    assert np.isfinite(preprocessor.transform(from_arrays([[1.0, np.nan]]), notes=notes)).all()
    assert notes == ["1: 1 missing, though none was in training; the median is taken"]


def test_another_number_of_features_is_refused_with_both_numbers():
    preprocessor = Preprocessor.fit(from_arrays([[1, 2], [2, 1]], [0, 1]))
    with pytest.raises(ShapeError, match="wrong number of features: expected 2, got 3"):
        preprocessor.transform(from_arrays([[1, 2, 3]]))


def test_a_table_where_arrays_were_is_refused():
    preprocessor = Preprocessor.fit(from_arrays([[1, 2], [2, 1]], [0, 1]))
    with pytest.raises(DataError, match="expected arrays, got a table"):
        preprocessor.transform(load("iris"))


@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1.0, 1e20, 1e300])
def test_any_scale_is_scaled(scale):
    _, features = fit(a=[1.0 * scale, 2.0 * scale, 3.0 * scale])
    assert np.allclose(features[:, 0], [-0.948683, 0, 0.948683], atol=1e-6)


def test_a_value_far_outside_the_range_of_training_is_held_and_said():
    preprocessor, _ = fit(a=[1.0, 2.0, 3.0])
    notes = []
    features = preprocessor.transform(source(a=[4.9, -0.9, 5.1, 1e300, -1e308]), notes=notes)
    assert np.abs(features).max() <= 3
    assert notes == ["a: 3 rows far outside the 1 to 3 of training: 5.1 in row 3"]


def test_numbers_are_predicted_within_the_range_of_training():
    preprocessor = Preprocessor.fit(source(a=[1, 2, 4, 3], y=[0.5, 1.5, 9.0, 2.0]), task="regress")
    assert preprocessor.predicted([[-100.0], [0.0], [100.0]]).tolist() == [0.5, 3.25, 9.0]
    assert preprocessor.decode([[-100.0]])[0] < 0


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


@pytest.mark.parametrize("option", ["ignore", "categorical", "numeric"])
def test_columns_of_an_array_cannot_be_named(option):
    with pytest.raises(ArgumentError, match=f"{option}: the columns of an array have no names"):
        Preprocessor.fit(from_arrays(np.eye(4), [0, 1, 0, 1]), reading=Reading(**{option: ("1",)}))
