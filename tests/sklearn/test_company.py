"""The estimators in the company of the rest of scikit-learn: frames, pipelines, ensembles, processes and threads."""

import joblib
import numpy as np
import polars as pl
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate, learning_curve
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import shuffle

from chainrule.sklearn import MLPClassifier, MLPRegressor, TableClassifier, TableRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = shuffle(*load_iris(return_X_y=True), random_state=0)
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]


def network(**settings):
    return MLPClassifier((8,), max_iter=40, learning_rate_init=0.02, random_state=0, **settings)


def table(**settings):
    return TableClassifier(**{"folds": 2, "epochs": 40, "lr": 0.02, "random_state": 0, "backend": "numpy", **settings})


def frame(kind):
    columns = dict(zip(NAMES, X.T, strict=True))
    return pl.DataFrame(columns) if kind == "polars" else pytest.importorskip("pandas").DataFrame(columns)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames_keep_their_names_and_columns_that_changed_are_named(kind):
    table = frame(kind)
    fit = network().fit(table, Y)
    assert fit.feature_names_in_.tolist() == NAMES
    assert np.array_equal(fit.predict_proba(table), network().fit(X, Y).predict_proba(X))
    turned = table[NAMES[::-1]]
    with pytest.raises(ValueError, match="must be in the same order"):
        fit.predict(turned)
    with pytest.raises(ValueError, match=r"seen at fit time, yet now missing:\n- sepal length"):
        fit.predict(table[NAMES[1:]])
    assert not hasattr(fit.fit(X, Y), "feature_names_in_")


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_columns_of_a_frame_through_a_pipeline_keep_their_names(kind):
    table = frame(kind)
    words = np.where(X[:, 0] > 6, "long", "short")
    table = table.with_columns(pl.Series("size", words)) if kind == "polars" else table.assign(size=words)
    columns = ColumnTransformer(
        [("number", StandardScaler(), NAMES), ("word", OneHotEncoder(sparse_output=False), ["size"])]
    )
    fit = make_pipeline(columns.set_output(transform=kind), network()).fit(table, Y)
    assert fit[-1].feature_names_in_[-1] == "word__size_short"
    assert fit.score(table, Y) > 0.9


def test_scores_over_folds_in_this_process_in_others_and_in_threads_are_the_same():
    alone = cross_val_score(network(), X, Y, cv=4)
    assert alone.mean() > 0.9
    for backend in ("loky", "threading"):
        with joblib.parallel_config(backend):
            assert np.array_equal(cross_val_score(network(), X, Y, cv=4, n_jobs=2), alone)


def test_threads_that_train_different_networks_do_not_disturb_each_other():
    fits = [network().set_params(hidden_layer_sizes=(width,)) for width in (3, 5, 7, 9)]
    alone = [fit.fit(X, Y).predict_proba(X) for fit in fits]
    for _ in range(3):
        together = joblib.Parallel(4, backend="threading")(joblib.delayed(fit.fit)(X, Y) for fit in fits)
        assert all(np.array_equal(fit.predict_proba(X), p) for fit, p in zip(together, alone, strict=True))


ENSEMBLES = {
    "calibrated": lambda: CalibratedClassifierCV(network(), cv=2),
    "stacked": lambda: StackingClassifier([("a", network()), ("b", network(activation="tanh"))], LogisticRegression()),
    "voting": lambda: VotingClassifier([("a", network()), ("b", LogisticRegression(max_iter=500))], voting="soft"),
    "bagged": lambda: BaggingClassifier(network(), n_estimators=3, max_features=3, random_state=0, n_jobs=2),
}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_ensembles_of_networks(name):
    assert ENSEMBLES[name]().fit(X, Y).score(X, Y) > 0.9


def test_searches_curves_and_importances():
    search = GridSearchCV(network(), {"alpha": [1e-4, 1.0]}, cv=2, n_jobs=2).fit(X, Y)
    assert search.best_score_ > 0.85
    _, _, scores = learning_curve(network(), X, Y, cv=2, train_sizes=[0.3, 1.0])
    assert scores.shape == (2, 2)
    importance = permutation_importance(search, X, Y, n_repeats=3, random_state=0).importances_mean
    assert importance[2:].min() > importance[:2].max()


def test_targets_of_several_columns_and_targets_transformed():
    several = MultiOutputClassifier(network()).fit(X, np.stack([Y, Y > 0], 1))
    assert several.score(X, np.stack([Y, Y > 0], 1)) > 0.9
    prices = 1e5 + 1e4 * X[:, 0]
    regressor = MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.02, random_state=0)
    fit = TransformedTargetRegressor(make_pipeline(StandardScaler(), regressor), transformer=StandardScaler())
    assert fit.fit(X, prices).score(X, prices) > 0.9


def test_weights_are_routed_to_the_fit():
    weight = np.where(Y == 2, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        asked = network().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        found = cross_validate(asked, X, Y, cv=2, params={"sample_weight": weight}, return_estimator=True)
        assert not (found["estimator"][0].predict(X) == 2).any()
        unasked = make_pipeline(StandardScaler(), network())
        with pytest.raises(ValueError, match="sample_weight"):
            unasked.fit(X, Y, sample_weight=weight)
        asked = make_pipeline(table().set_fit_request(sample_weight=True))
        assert asked.fit(X, Y, sample_weight=weight)[-1].classes_.tolist() == [0, 1]


TABLES = {
    "calibrated": lambda: CalibratedClassifierCV(table(), cv=2),
    "stacked": lambda: StackingClassifier([("a", table()), ("b", table(bins=8))], LogisticRegression(), cv=2),
    "searched": lambda: GridSearchCV(table(), {"lr": np.array([1e-5, 1e-2]), "layers": [(8,), [4, 4]]}, cv=2),
    "bagged": lambda: BaggingClassifier(table(), n_estimators=2, max_features=3, random_state=0),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_go_wherever_networks_go(name):
    fit = TABLES[name]().fit(frame("polars") if name != "bagged" else X, Y)
    assert fit.score(frame("polars") if name != "bagged" else X, Y) > 0.9
    assert name != "searched" or fit.best_params_["lr"] == 1e-2


def test_tables_over_folds_in_this_process_and_in_others_have_the_same_scores():
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    alone = cross_val_score(table(), frame("polars"), names, cv=3)
    assert alone.min() > 0.85
    assert np.array_equal(cross_val_score(table(), frame("polars"), names, cv=3, n_jobs=2), alone)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_table_after_a_transformer_that_gives_frames(kind):
    scaled = ColumnTransformer([("number", StandardScaler(), NAMES[:2])], remainder="passthrough")
    fit = make_pipeline(scaled.set_output(transform=kind), table()).fit(frame(kind), Y)
    assert fit[-1].feature_names_in_[0] == "number__sepal length"
    prices = TransformedTargetRegressor(
        TableRegressor(folds=2, epochs=30, random_state=0, backend="numpy"), transformer=StandardScaler()
    )
    assert prices.fit(frame(kind), 1e5 + 1e4 * X[:, 0]).score(frame(kind), 1e5 + 1e4 * X[:, 0]) > 0.8
