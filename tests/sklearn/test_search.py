"""A grid search as one program gives the table of scikit-learn's grid search over the same estimator."""

import pickle

import numpy as np
import pytest
from sklearn.datasets import load_iris, make_multilabel_classification, make_regression
from sklearn.decomposition import PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, ShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils import shuffle

from chainrule.sklearn import GridSearch, MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = shuffle(*load_iris(return_X_y=True), random_state=0)
NUMBERS = make_regression(90, 4, noise=1.0, random_state=0)
LABELS = make_multilabel_classification(90, 5, n_classes=3, random_state=0)
QUICK = {"max_iter": 25, "learning_rate_init": 0.02, "random_state": 0, "hidden_layer_sizes": (6,)}
TIMES = ("mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time")


def same_table(ours, theirs):
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for name, values in theirs.cv_results_.items():
        if name.startswith(("param_", "params")):
            assert list(map(str, ours.cv_results_[name])) == list(map(str, values))
        elif name not in TIMES:
            np.testing.assert_allclose(ours.cv_results_[name], values, rtol=1e-6, err_msg=name)


def searched(estimator, grid, X, y, *, backend_of=None, **settings):
    params = settings.pop("fit", {})
    ours = GridSearch(estimator, grid, **settings).fit(X, y, **params)
    theirs = GridSearchCV(estimator, grid, **settings).fit(X, y, **params)
    same_table(ours, theirs)
    return ours, theirs


CASES = {
    "numbers only": (MLPClassifier(**QUICK), {"alpha": [1e-4, 1.0], "learning_rate_init": [1e-3, 1e-2]}, X, Y),
    "shapes": (MLPClassifier(**QUICK), {"hidden_layer_sizes": [(4,), (8, 3)], "activation": ["relu", "tanh"]}, X, Y),
    "lengths": (MLPClassifier(**QUICK), {"batch_size": [16, 300], "max_iter": [5, 20], "shuffle": [True, False]}, X, Y),
    "seeds": (MLPClassifier(**QUICK), {"random_state": [0, 1], "early_stopping": [True, False]}, X, Y),
    "solvers": (MLPClassifier(**QUICK), {"solver": ["sgd", "adam", "lbfgs"]}, X, Y),
    "stopping": (MLPClassifier(**{**QUICK, "max_iter": 200}), {"tol": [0.01, 0.03], "n_iter_no_change": [2, 4]}, X, Y),
    "two classes, dropout": (MLPClassifier(**QUICK, dropout=0.2), {"alpha": [0.0, 0.1]}, X, Y > 0),
    "labels": (MLPClassifier(**QUICK), {"alpha": [0.0, 0.1]}, scale(LABELS[0]), LABELS[1]),
    "numbers": (MLPRegressor(**QUICK), {"alpha": [0.0, 0.1], "loss": ["squared_error"]}, *NUMBERS),
    "values that are no plain data": (
        MLPClassifier(**QUICK), {"random_state": [np.random.RandomState(0), 1], "hidden_layer_sizes": [[4, 3]]}, X, Y,
    ),
    "several grids": (MLPClassifier(**QUICK), [{"alpha": [0.1]}, {"activation": ["logistic"]}], X, Y),
    "a pipeline": (
        make_pipeline(StandardScaler(), PCA(3), MLPClassifier(**QUICK)), {"mlpclassifier__alpha": [0.0, 0.1]}, X, Y,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_table_is_that_of_the_plain_search(name):
    estimator, grid, X, y = CASES[name]
    ours, theirs = searched(estimator, grid, X, y, cv=3, return_train_score=True)
    assert ours.packed_ == 3 * len(ours.cv_results_["params"])
    assert ours.notes_ == []
    assert (ours.best_params_, ours.best_index_, ours.n_splits_) == (
        theirs.best_params_, theirs.best_index_, theirs.n_splits_,
    )  # fmt: skip
    assert ours.best_score_ == pytest.approx(theirs.best_score_)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-6)
    assert type(ours.best_estimator_) is type(theirs.best_estimator_)


def test_compiled_programs_give_the_same_table():
    estimator = MLPClassifier(**QUICK, backend="xla")
    ours, _ = searched(estimator, {"alpha": [1e-4, 1.0]}, X, Y, cv=3, scoring="neg_log_loss")
    assert ours.packed_ == 6


def test_scores_splitters_and_the_choice_of_the_best_are_scikit_learns():
    grid, groups = {"alpha": [1e-4, 1.0, 10.0]}, np.arange(150) % 5
    several = {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"}
    ours, theirs = searched(MLPClassifier(**QUICK), grid, X, Y, cv=GroupKFold(3), fit={"groups": groups}, **several)
    assert ours.multimetric_
    assert ours.scorer_.keys() == theirs.scorer_.keys()
    ours, theirs = searched(
        MLPClassifier(**QUICK), grid, X, Y, cv=ShuffleSplit(2, random_state=0),
        scoring=lambda estimator, X, y: float(estimator.predict_proba(X)[:, 0].mean()), refit=lambda table: 1,
    )  # fmt: skip
    assert ours.best_index_ == theirs.best_index_ == 1
    ours, _ = searched(MLPClassifier(**QUICK), grid, X, Y, cv=2, refit=False)
    assert not hasattr(ours, "best_estimator_")
    given = GridSearch(MLPClassifier(**QUICK), grid, cv=iter([(np.arange(100), np.arange(100, 150))])).fit(X, Y)
    assert given.n_splits_ == 1


def test_each_transformer_is_fitted_once_a_fold_and_once_for_the_best():
    class Counting(StandardScaler):
        fits = 0

        def fit(self, X, y=None):
            Counting.fits += 1
            return super().fit(X, y)

    network = Pipeline([("scale", Counting()), ("net", MLPClassifier(**QUICK))])
    search = GridSearch(network, {"net__alpha": [0.0, 0.1, 1.0], "net__batch_size": [16, 32]}, cv=3).fit(X, Y)
    assert search.packed_ == 18
    assert Counting.fits == 4


@pytest.mark.parametrize(
    ("estimator", "grid", "note"),
    [
        (LogisticRegression(), {"C": [0.1, 1.0]}, "LogisticRegression is not one of chainrule's networks"),
        (
            make_pipeline(PCA(), MLPClassifier(**QUICK)), {"pca__n_components": [1, 2]},
            "the grid searches other steps too: pca__n_components",
        ),
        (MLPClassifier(**QUICK, class_weight="balanced"), {"alpha": [0.0, 0.1]}, "class_weight weighs rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_packed_is_searched_as_ever_and_said(estimator, grid, note):
    ours, _ = searched(estimator, grid, X, Y, cv=2)
    assert ours.packed_ == 0
    assert note in ours.notes_[0]


def test_weights_of_rows_are_searched_one_by_one():
    weight = np.where(Y == 0, 3.0, 1.0)
    ours, _ = searched(MLPClassifier(**QUICK), {"alpha": [0.0, 0.1]}, X, Y, cv=2, fit={"sample_weight": weight})
    assert ours.packed_ == 0
    assert "sample_weight cannot be shared" in ours.notes_[0]


def test_a_combination_that_fails_scores_what_error_score_says_and_leaves_the_others_alone():
    grid = {"alpha": [-1.0, 0.1]}
    with pytest.warns(FitFailedWarning):
        ours, _ = searched(MLPClassifier(**QUICK), grid, X, Y, cv=2, error_score=-9.0)
    assert ours.packed_ == 2
    assert "'alpha' parameter" in ours.notes_[0]
    with pytest.raises(ValueError, match="'alpha' parameter"):
        GridSearch(MLPClassifier(**QUICK), {"alpha": [-1.0]}, cv=2, error_score="raise").fit(X, Y)


def test_a_training_that_diverges_is_scored_as_a_fit_that_failed():
    grid = {"learning_rate_init": [1e6, 0.01]}
    network = MLPRegressor(**{**QUICK, "solver": "sgd"})
    with pytest.warns(FitFailedWarning):
        ours, _ = searched(network, grid, X, Y, cv=2, error_score=-9.0)
    assert ours.packed_ == 2


def test_a_class_that_a_fold_lacks_makes_a_sweep_of_its_own():
    y = np.where(np.arange(150) == 149, 7, Y)
    with pytest.warns(UserWarning, match="least populated class"):
        ours, _ = searched(MLPClassifier(**QUICK), {"alpha": [0.0, 0.1]}, X, y, cv=3)
    assert ours.packed_ == 6


def test_a_search_can_be_copied_and_nested():
    search = GridSearch(MLPClassifier(**QUICK), {"alpha": [0.0, 0.1]}, cv=2).fit(X, Y)
    copy = pickle.loads(pickle.dumps(search))
    assert np.array_equal(copy.predict_proba(X), search.predict_proba(X))
    assert copy.score(X, Y) == search.score(X, Y)
    assert list(search.classes_) == [0, 1, 2]
    assert search.n_features_in_ == 4
