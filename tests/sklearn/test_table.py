"""The estimators for tables: mixed columns in, labels as they were out, and nothing lost without a word."""

import datetime
import pickle

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, log_loss, r2_score

from chainrule.data import Source
from chainrule.sklearn import TableClassifier, TableRegressor

pd = pytest.importorskip("pandas")
RNG = np.random.default_rng(0)
ROWS = 160
SIZE = RNG.normal(size=ROWS).round(2)
KIND = RNG.choice(["a", "b", "c"], ROWS)
MEANS = SIZE + (KIND == "b") > 0
COLUMNS = {
    "size": [None if i % 17 == 0 else float(v) for i, v in enumerate(SIZE)],
    "kind": [None if i % 23 == 0 else str(v) for i, v in enumerate(KIND)],
    "old": (RNG.random(ROWS) > 0.5).tolist(),
    "since": [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=int(h)) for h in RNG.integers(0, 9000, ROWS)],
}
NUMBER = SIZE * 3 + (KIND == "b") * 2 + 10


def frame(kind="polars", columns=COLUMNS):
    return (pl if kind == "polars" else pd).DataFrame(columns)


def classifier(**settings):
    return TableClassifier(**{"epochs": 20, "random_state": 0, "backend": "numpy", "folds": 3, **settings})


def regressor(**settings):
    return TableRegressor(**{"epochs": 40, "random_state": 0, "backend": "numpy", "folds": 3, **settings})


# ---- what goes in


def test_frames_of_pandas_and_polars_and_arrays_of_objects_are_the_same_table():
    fits = [classifier().fit(frame(kind), MEANS) for kind in ("polars", "pandas")]
    assert all(fit.feature_names_in_.tolist() == list(COLUMNS) for fit in fits)
    assert np.array_equal(fits[0].predict_proba(frame()), fits[1].predict_proba(frame("pandas")))
    assert fits[0].score(frame(), MEANS) > 0.9
    objects = np.array([COLUMNS["size"], COLUMNS["kind"]], dtype=object).T
    fit, other = classifier().fit(objects, MEANS), classifier().fit(frame()[:, :2], MEANS)
    assert np.array_equal(fit.predict_proba(objects), other.predict_proba(frame()[:, :2]))
    assert not hasattr(fit, "feature_names_in_")
    assert fit.model_.preprocessor.columns == ["x0", "x1"]


def test_whole_numbers_of_an_array_are_numbers_unless_named_as_categories():
    X = np.stack([RNG.integers(0, 5, ROWS), RNG.integers(0, 50, ROWS)], 1)
    for categorical, kind, width in ((None, "number", 1), ([0], "onehot", 5), (["x0"], "onehot", 5)):
        layout = classifier(categorical=categorical).fit(X, X[:, 0] > 2).model_.preprocessor.layout
        assert [(feature.kind, feature.width) for feature in layout] == [(kind, width), ("number", 1)]


def test_columns_in_another_order_are_refused_or_put_right_and_missing_ones_named():
    fit = classifier().fit(frame(), MEANS)
    turned = frame().select(list(COLUMNS)[::-1])
    with pytest.raises(ValueError, match="must be in the same order") as refusal:
        fit.predict(turned)
    assert refusal.value.__notes__ == ["reorder_columns=True puts them in order"]
    fit.set_params(reorder_columns=True)
    for kind in ("polars", "pandas"):
        turned = frame(kind)[list(COLUMNS)[::-1]]
        assert np.array_equal(fit.predict_proba(turned), fit.predict_proba(frame(kind)))
    with pytest.raises(ValueError, match=r"yet now missing:\n- kind"):
        fit.predict(frame().drop("kind"))
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- sort\n"):
        fit.predict(frame().rename({"kind": "sort"}))


def test_words_for_a_missing_value_and_columns_to_ignore_are_those_of_the_command_line():
    words = ["unknown" if value is None else str(value) for value in COLUMNS["size"]]
    table = pl.DataFrame({"size": words, "kind": COLUMNS["kind"]})
    with pytest.raises(ValueError, match="'size': 10 of 160 cells are no number: got 'unknown' in row 1"):
        classifier().fit(table, MEANS)
    fit = classifier(na=["unknown"]).fit(table, MEANS)
    assert fit.model_.preprocessor.columns == ["size", "kind"]
    assert classifier(ignore=["size"]).fit(table, MEANS).model_.preprocessor.columns == ["kind"]
    assert classifier(numeric=["size"]).fit(table, MEANS).model_.preprocessor.columns == ["size", "kind"]
    with pytest.raises(ValueError, match="ignore: no such column"):
        classifier(ignore=["sise"]).fit(table, MEANS)


def test_a_column_named_like_the_target_is_a_feature():
    X = frame().with_columns(pl.Series("y", SIZE), pl.Series("y_", SIZE[::-1]))
    assert {"y", "y_"} < set(regressor().fit(X, NUMBER).model_.preprocessor.columns)


def test_a_name_that_looks_like_a_pattern_is_a_name():
    X = pl.DataFrame({"^s.*$": SIZE, "size": SIZE[::-1], "": SIZE**2})
    fit = regressor(ignore=["^s.*$"]).fit(X, NUMBER)
    assert fit.model_.preprocessor.columns == ["size", ""]
    assert len(fit.predict(X)) == ROWS


# ---- what comes out


LABELS = {
    "text": np.array(["yes", "no"]),
    "truths": np.array([True, False]),
    "whole numbers": np.array([-3, 40], np.int16),
    "numbers": np.array([0.0, 7.0], np.float32),
    "objects": np.array(["no", "yes"], dtype=object),
    "numbers as objects": np.array([7, 5], dtype=object),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_come_back_with_the_type_and_the_values_they_had(name):
    y = LABELS[name][MEANS.astype(int)]
    fit = classifier().fit(frame(), y)
    assert fit.classes_.tolist() == sorted(LABELS[name].tolist())
    assert fit.classes_.dtype == fit.predict(frame()).dtype == y.dtype
    assert accuracy_score(y.tolist(), fit.predict(frame()).tolist()) > 0.9
    assert sorted(set(fit.model_.predict(Source.of_frame(frame())).tolist())) == sorted(LABELS[name].tolist())
    column = pd.Series(y, dtype="category") if name == "text" else pl.Series(y.tolist())
    assert classifier().fit(frame(), column).predict(frame()).tolist() == fit.predict(frame()).tolist()


def test_out_of_fold_predictions_are_in_the_order_of_the_rows_and_have_not_seen_them():
    weight = np.where(np.arange(ROWS) % 10 == 3, 0.0, 1.0)
    fit = classifier().fit(frame(), MEANS, weight)
    counted = weight > 0
    assert fit.out_of_fold_.shape == (ROWS, 2)
    assert np.array_equal(np.isnan(fit.out_of_fold_).any(1), ~counted)
    assert fit.scores_["log_loss"].value == pytest.approx(log_loss(MEANS[counted], fit.out_of_fold_[counted]))
    # What is noise in a target is learnt by heart, and only a network that has seen it can recite it.
    X = RNG.normal(size=(ROWS, 30))
    y = X.sum(1) + RNG.normal(size=ROWS) * 4
    fit = regressor(epochs=100).fit(X, y)
    assert r2_score(y, fit.predict(X)) > r2_score(y, fit.out_of_fold_) + 0.1 > 0.3
    assert fit.scores_["r2"].value == pytest.approx(r2_score(y, fit.out_of_fold_))


def test_one_fold_holds_out_a_part_of_the_rows_and_says_nothing_of_the_others():
    fit = classifier(folds=1).fit(frame(), MEANS)
    held = ~np.isnan(fit.out_of_fold_).any(1)
    assert 0 < held.sum() < ROWS / 2
    assert fit.scores_["accuracy"].value == accuracy_score(MEANS[held], fit.out_of_fold_[held].argmax(1))


def test_predictions_of_a_regressor_stay_within_the_range_of_its_targets():
    X = SIZE[:, None]
    fit = regressor().fit(X, NUMBER)
    with pytest.warns(UserWarning, match="outside"):
        found = fit.predict(X * 1000)
    assert NUMBER.min() <= found.min() <= found.max() <= NUMBER.max()
    assert fit.scores_["r2"].value > 0.8


def test_probabilities_and_their_logarithms_fit_together():
    fit = classifier().fit(frame(), KIND)
    chances = fit.predict_proba(frame())
    np.testing.assert_allclose(chances.sum(1), 1)
    np.testing.assert_allclose(np.exp(fit.predict_log_proba(frame())), chances)
    assert fit.predict(frame()).tolist() == fit.classes_[chances.argmax(1)].tolist()


# ---- rows that are alike


def test_a_row_of_weight_three_is_the_same_as_three_of_them_in_any_order():
    weight = RNG.integers(0, 4, ROWS)
    one = regressor().fit(frame(), NUMBER, weight)
    places = RNG.permutation(np.arange(ROWS).repeat(weight))
    other = regressor().fit(frame()[places], NUMBER[places])
    assert np.array_equal(one.predict(frame()), other.predict(frame()))
    np.testing.assert_array_equal(one.out_of_fold_[places], other.out_of_fold_)
    assert str(one.scores_["r2"]) == str(other.scores_["r2"])


def test_rows_that_are_alike_by_chance_are_different_rows():
    X = RNG.integers(0, 2, (400, 2))
    y = X[:, 0] ^ X[:, 1]
    fit = classifier(epochs=60).fit(X, y)
    assert fit.score(X, y) == fit.scores_["accuracy"].value == 1
    # Equal rows lie in different folds, whose networks differ.
    assert len(np.unique(fit.out_of_fold_, axis=0)) > 4


def test_rows_that_differ_in_an_ignored_column_are_alike():
    numbered = frame().with_columns(pl.Series("number", np.arange(ROWS)))
    twice = pl.concat([numbered, numbered.with_columns(pl.col("number") + 1000)])
    fit = regressor(ignore=["number"]).fit(twice, np.tile(NUMBER, 2))
    np.testing.assert_array_equal(fit.out_of_fold_[:ROWS], fit.out_of_fold_[ROWS:])
    assert np.array_equal(fit.predict(twice[:ROWS]), regressor().fit(frame(), NUMBER).predict(frame()))


# ---- what is said


def test_a_column_left_out_is_warned_of_and_its_reason_kept():
    table = frame().with_columns(pl.Series("id", np.arange(ROWS)), pl.lit(1.0).alias("same"))
    with pytest.warns(UserWarning, match=r"columns that are left out: id, same; notes_ says why"):
        fit = classifier().fit(table, MEANS)
    assert [note for note in fit.notes_ if note.startswith("id: left out, only numbers the rows")]
    assert "same: left out, always the same value" in fit.notes_


@pytest.mark.filterwarnings("error")
def test_nothing_is_warned_of_where_there_is_nothing_to_say():
    fit = classifier(ignore=["id"]).fit(frame().with_columns(pl.Series("id", np.arange(ROWS))), MEANS)
    fit.predict(frame().with_columns(pl.lit(0).alias("id")))


def test_what_training_has_not_seen_is_warned_of_at_prediction():
    fit = classifier().fit(frame(), MEANS)
    with pytest.warns(UserWarning, match="kind: 160 rows with a level not seen"):
        fit.predict(frame().with_columns(pl.lit("z").alias("kind")))


def test_a_cell_that_is_no_number_is_named_by_its_row_in_the_table():
    texts = [f"{value:.2f}" for value in SIZE]
    texts[41] = "oops"
    fit = classifier().fit(pl.DataFrame({"size": texts, "kind": KIND}), MEANS)
    assert any("'oops' in row 42" in note for note in fit.notes_)


def test_a_class_of_one_row_is_noted_by_its_name():
    y = np.where(np.arange(ROWS) == 5, "rare", np.where(MEANS, "yes", "no"))
    fit = classifier().fit(frame(), y)
    assert any("only one row is of class 'rare'" in note for note in fit.notes_)


# ---- settings


def test_settings_are_those_of_the_recipe_where_none_is_given_and_else_as_given():
    chosen = classifier(layers=(8, 4), lr=np.float64(0.01), members=2, l2=1e-4, metric="auc", bins=np.int64(4))
    settings = chosen.fit(frame(), MEANS).model_.settings
    assert (settings.layers, settings.lr, settings.members, settings.bins) == ([8, 4], 0.01, 2, 4)
    assert (settings.metric, settings.seed, settings.activation) == (["auc"], 0, "silu")
    assert regressor(layers=7, metric=["mae", "r2"]).fit(frame(), NUMBER).model_.settings.layers == [7]
    assert regressor(layers=[]).fit(frame(), NUMBER).n_iter_ <= 40


def test_weights_of_classes_are_obeyed():
    y = np.where(RNG.random(ROWS) < 0.5, "a", "b")
    for label in "ab":
        fit = classifier(class_weight={label: 1000.0}, folds=1, patience=99).fit(frame(), y)
        assert (fit.predict(frame()) == label).all()
    rare = np.arange(ROWS) % 10 == 0
    chances = [classifier(class_weight=w).fit(frame(), rare).predict_proba(frame())[:, 1] for w in (None, "balanced")]
    assert chances[0].mean() < 0.25 < chances[1].mean()


def test_fits_repeat_by_their_seed_and_differ_without_one():
    one, other = (classifier(epochs=3).fit(frame(), MEANS).predict_proba(frame()) for _ in range(2))
    assert np.array_equal(one, other)
    one, other = (classifier(epochs=3, random_state=None).fit(frame(), MEANS).predict_proba(frame()) for _ in range(2))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dropout": 1.0}, "The 'dropout' parameter of TableClassifier must be"),
        ({"optimizer": "adamm"}, "The 'optimizer' parameter"),
        ({"metric": "r2"}, "The 'metric' parameter"),
        ({"metric": ["r2"]}, "metric: does not fit classes"),
        ({"layers": [4, 0]}, "layers: a layer without units"),
        ({"class_weight": {"c": 2}}, "class_weight: not among the classes: got 'c'"),
        ({"class_weight": {True: -1}}, "class_weight: a weight is a finite number"),
        ({"ignore": [4]}, "ignore: no such column: expected from 0 to 3, got 4"),
        ({"ignore": list(COLUMNS)}, "no column is left to learn from"),
    ],
)
def test_a_parameter_outside_its_range_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        classifier(**settings).fit(frame(), MEANS)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.ones(ROWS), "two classes or more, got one class, 1.0"),
        (np.where(np.arange(ROWS) == 3, None, "a"), "y, row 4: a label is missing"),
        (np.array([1, "a"] * (ROWS // 2), dtype=object), "labels of several types"),
        (SIZE, "Unknown label type"),
        (MEANS[:-1], "inconsistent numbers of samples"),
        (np.stack([MEANS, MEANS], 1), "y should be a 1d array"),
    ],
)
def test_targets_that_cannot_be_used_are_refused(y, words):
    with pytest.raises(ValueError, match=words):
        classifier().fit(frame(), y)


def test_tables_that_cannot_be_used_are_refused():
    from scipy.sparse import csr_array

    with pytest.raises(NotFittedError):
        classifier().predict(frame())
    with pytest.raises(TypeError, match="Sparse data was passed"):
        classifier().fit(csr_array(SIZE[:, None]), MEANS)
    with pytest.raises(ValueError, match="X: there are no rows"):
        classifier().fit(frame()[:0], MEANS[:0])
    with pytest.raises(ValueError, match="two different rows"):
        regressor().fit(frame()[:1], NUMBER[:1])
    with pytest.raises(ValueError, match="unique column names"):
        classifier().fit(pd.DataFrame(np.zeros((4, 2)), columns=["a", "a"]), [0, 1, 0, 1])
    for weight in (np.zeros(ROWS), -np.ones(ROWS)):
        with pytest.raises(ValueError, match="weight"):
            classifier().fit(frame(), MEANS, weight)


def test_a_copy_predicts_alike_and_a_clone_is_not_fitted():
    fit = classifier().fit(frame(), MEANS)
    copy = pickle.loads(pickle.dumps(fit))
    assert np.array_equal(copy.predict_proba(frame()), fit.predict_proba(frame()))
    with pytest.raises(NotFittedError):
        clone(fit).predict(frame())
