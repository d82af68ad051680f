"""The networks as scikit-learn's: the same objective, rules of stopping and attributes, in their own words."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import scale
from sklearn.utils import shuffle

from chainrule.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = shuffle(*load_iris(return_X_y=True), random_state=0)
X = scale(X)
NUMBERS = make_regression(120, 5, n_targets=2, noise=1.0, random_state=0)
TARGETS = scale(NUMBERS[1])
MULTILABEL = make_multilabel_classification(120, 8, n_classes=4, random_state=0)
DATA = {
    "classes": (MLPClassifier, TheirClassifier, X, Y),
    "two classes": (MLPClassifier, TheirClassifier, X, Y > 0),
    "labels": (MLPClassifier, TheirClassifier, scale(MULTILABEL[0]), MULTILABEL[1]),
    "number": (MLPRegressor, TheirRegressor, NUMBERS[0], TARGETS[:, 0]),
    "numbers": (MLPRegressor, TheirRegressor, NUMBERS[0], TARGETS),
}
SOLVERS = [
    {"solver": "adam", "alpha": 0.5},
    {"solver": "sgd", "learning_rate_init": 0.05, "alpha": 0.1},
    {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5, "nesterovs_momentum": False},
]


def begin_alike(theirs, ours):
    """Give scikit-learn's network the weights with which ours begins."""
    theirs.coefs_, theirs.intercepts_ = [w.copy() for w in ours.coefs_], [b.copy() for b in ours.intercepts_]


@pytest.mark.parametrize("settings", SOLVERS, ids=lambda s: "-".join(map(str, s.values())))
@pytest.mark.parametrize("kind", DATA)
def test_each_epoch_is_that_of_scikit_learn(kind, settings):
    ours, theirs, X, y = DATA[kind]
    # Batches that leave no smaller last one, and in the order of the rows, which both take alike.
    settings = {**settings, "batch_size": len(X) // 3, "shuffle": False, "random_state": 0, "tol": 0.0}
    settings |= {"hidden_layer_sizes": (7, 5), "activation": "tanh"}
    begun = ours(max_iter=1, **{**settings, "learning_rate_init": 1e-12, "solver": "sgd"}).fit(X, y)
    peer = theirs(max_iter=12, warm_start=True, **settings)
    peer.fit(X, y)
    begin_alike(peer, begun)
    peer.loss_curve_, peer.t_, peer.n_iter_no_change = [], 0, 100
    peer.fit(X, y)
    ours = ours(max_iter=12, **settings).fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, peer.loss_curve_, rtol=1e-6)
    for one, other in zip(ours.coefs_, peer.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert ours.out_activation_ == peer.out_activation_
    assert (ours.n_layers_, ours.n_outputs_, ours.t_) == (peer.n_layers_, peer.n_outputs_, peer.t_)


def test_the_rule_of_stopping_is_scikit_learns():
    for tol, patience in ((1e-2, 3), (3e-3, 5)):
        fit = MLPClassifier(max_iter=400, learning_rate_init=0.01, tol=tol, n_iter_no_change=patience, random_state=0)
        fit.fit(X, Y)
        best, count, stops = np.inf, 0, []
        for loss in fit.loss_curve_:
            count = count + 1 if loss > best - tol else 0
            best = min(best, loss)
            stops.append(count > patience)
        assert stops == [False] * (fit.n_iter_ - 1) + [True]
        assert fit.n_iter_ < 400
        assert fit.best_loss_ == min(fit.loss_curve_)


def test_an_adaptive_rate_comes_down_by_scikit_learns_rule():
    tol, patience = 0.02, 2
    fit = MLPClassifier(solver="sgd", learning_rate="adaptive", learning_rate_init=0.5, tol=tol, max_iter=300,
                        n_iter_no_change=patience, random_state=0).fit(X, Y)  # fmt: skip
    rate, best, count, rates = 0.5, np.inf, 0, []
    for loss in fit.loss_curve_:
        rates.append(rate)
        count = count + 1 if loss > best - tol else 0
        best = min(best, loss)
        if count > patience:
            rate, count = rate / 5, 0
    np.testing.assert_allclose(fit.trainer_.history.lr, rates)
    assert rates[-1] < 2e-6
    assert fit.n_iter_ < 300


def test_a_training_that_has_not_converged_says_so():
    with pytest.warns(ConvergenceWarning, match="not converged after 3 iterations"):
        MLPClassifier(max_iter=3).fit(X, Y)


@pytest.mark.parametrize(("estimator", "y"), [(MLPClassifier, Y), (MLPClassifier, Y > 0), (MLPRegressor, Y / 2.0)])
def test_early_stopping_keeps_the_best_weights_by_the_score_of_the_rows_held_out(estimator, y):
    from sklearn.model_selection import train_test_split

    fit = estimator(early_stopping=True, validation_fraction=0.2, n_iter_no_change=8, random_state=1, max_iter=300,
                    learning_rate_init=0.01).fit(X, y)  # fmt: skip
    stratify = y if estimator is MLPClassifier else None
    _, held = train_test_split(np.arange(len(X)), test_size=0.2, random_state=1, stratify=stratify)
    assert fit.best_validation_score_ == pytest.approx(fit.score(X[held], y[held]))
    assert max(fit.validation_scores_) - fit.tol <= fit.best_validation_score_
    assert len(fit.validation_scores_) == fit.n_iter_ < 300
    assert fit.best_loss_ is None


@pytest.mark.parametrize("loss", ["labels", "poisson"])
def test_early_stopping_of_labels_and_counts_goes_by_their_scores(loss):
    y = MULTILABEL[1] if loss == "labels" else np.exp(TARGETS[:, 0]).round()
    Z = scale(MULTILABEL[0]) if loss == "labels" else NUMBERS[0]
    of = MLPClassifier() if loss == "labels" else MLPRegressor(loss="poisson")
    of.set_params(early_stopping=True, random_state=0, validation_fraction=0.2, max_iter=40, learning_rate_init=0.01)
    _, held = of.fit(Z, y).split(of.rows(Z, y, None, _targets(), first=True), 0)
    assert of.best_validation_score_ == pytest.approx(of.score(Z[held], y[held]), abs=1e-6)


def _targets():
    from chainrule.sklearn.mlp import Targets

    return Targets.LEARN


@pytest.mark.parametrize("kind", DATA)
def test_lbfgs_reaches_what_scikit_learns_reaches(kind):
    ours, theirs, X, y = DATA[kind]
    settings = {"solver": "lbfgs", "alpha": 1.0, "hidden_layer_sizes": (6,), "activation": "tanh", "random_state": 0}
    one, other = ours(max_iter=500, **settings).fit(X, y), theirs(max_iter=500, **settings).fit(X, y)
    assert one.loss_ < other.loss_ * 1.1 + 0.02
    assert not hasattr(one, "partial_fit")


def test_poisson_predicts_counts():
    y = np.random.default_rng(0).poisson(np.exp(1 + X[:, 0]))
    fit = MLPRegressor("poisson", (8,), random_state=0, max_iter=300, learning_rate_init=0.01).fit(X, y)
    assert fit.out_activation_ == "exp"
    assert (fit.predict(X) > 0).all()
    assert np.corrcoef(fit.predict(X), np.exp(1 + X[:, 0]))[0, 1] > 0.9
    with pytest.raises(ValueError, match="at least 0"):
        MLPRegressor("poisson").fit(X, -y)


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.3}, {"backend": "xla"}, {"early_stopping": True}])
def test_one_random_state_gives_one_network(settings):
    fits = [MLPClassifier(random_state=5, max_iter=15, **settings).fit(X, Y) for _ in range(2)]
    other = MLPClassifier(random_state=6, max_iter=15, **settings).fit(X, Y)
    assert np.array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))
    assert not np.array_equal(fits[0].predict_proba(X), other.predict_proba(X))


def test_weights_count_as_repeated_rows_and_classes():
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    settings = {"random_state": 0, "max_iter": 30, "batch_size": 1000, "alpha": 2.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = MLPClassifier(**settings).fit(X, Y, sample_weight=weight)
        other = MLPClassifier(**settings).fit(X.repeat(weight, 0), Y.repeat(weight))
        balanced = MLPClassifier(class_weight="balanced", **settings).fit(X[:110], Y[:110])
        by_hand = MLPClassifier(**settings).fit(X[:110], Y[:110], sample_weight=110 / 3 / np.bincount(Y[:110])[Y[:110]])
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), rtol=1e-8)
    np.testing.assert_allclose(balanced.predict_proba(X), by_hand.predict_proba(X), rtol=1e-8)


def test_partial_fit_goes_on_with_the_optimizer_and_refuses_a_class_that_it_was_not_told_of():
    fit = MLPClassifier(random_state=0)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        fit.partial_fit(X, Y)
    for _ in range(60):
        fit.partial_fit(X, Y, classes=[0, 1, 2, 3])
    assert fit.predict_proba(X).shape == (150, 4)
    assert fit.score(X, Y) > 0.8
    assert (len(fit.loss_curve_), fit.n_iter_, fit.t_) == (60, 1, 60 * 150)
    with pytest.raises(ValueError, match=r"classes that the estimator does not know.*got \[9\]"):
        fit.partial_fit(X[:2], [0, 9])
    with pytest.raises(ValueError, match="does not support early_stopping=True"):
        MLPClassifier(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2])


def test_warm_start_goes_on_from_the_weights():
    fit = MLPClassifier(random_state=0, max_iter=30, warm_start=True).fit(X, Y)
    first = fit.loss_
    fit.fit(X, Y)
    assert fit.loss_curve_[30] < first
    assert (len(fit.loss_curve_), fit.n_iter_) == (60, 30)
    with pytest.raises(ValueError, match="same classes as in the previous call to fit"):
        fit.fit(X[Y > 0], Y[Y > 0])
    with pytest.raises(ValueError, match="layers are not those of the fit before"):
        fit.set_params(hidden_layer_sizes=(3,)).fit(X, Y)


def test_labels_come_back_as_they_were_written():
    for labels in (np.array(["no", "yes", "maybe"]), np.array([10, 7, -3]), np.array([1.0, 2.0, 7.0])):
        fit = MLPClassifier(random_state=0, learning_rate_init=0.02, max_iter=60).fit(X, labels[Y])
        assert fit.classes_.tolist() == sorted(labels.tolist())
        assert (fit.predict(X) == labels[Y]).mean() > 0.9
    one = MLPClassifier(max_iter=3).fit(X[:5], ["a"] * 5)
    assert one.predict(X[:2]).tolist() == ["a", "a"]
    assert one.predict_proba(X[:2]).tolist() == [[1.0], [1.0]]


def test_attributes_are_the_network():
    fit = MLPClassifier((6, 4), random_state=0, max_iter=20).fit(X, Y)
    hidden = X
    for w, b in zip(fit.coefs_[:-1], fit.intercepts_[:-1], strict=True):
        hidden = np.maximum(hidden @ w + b, 0)
    logits = np.exp(hidden @ fit.coefs_[-1] + fit.intercepts_[-1])
    np.testing.assert_allclose(fit.predict_proba(X), logits / logits.sum(1, keepdims=True), rtol=1e-9)
    np.testing.assert_allclose(fit.predict_log_proba(X), np.log(fit.predict_proba(X)))
    assert [w.shape for w in fit.coefs_] == [(4, 6), (6, 4), (4, 3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_trains_in_the_precision_of_the_rows_and_predicts_in_it(dtype):
    fit = MLPRegressor(random_state=0, max_iter=5).fit(X.astype(dtype), Y)
    assert fit.coefs_[0].dtype == fit.predict(X.astype(dtype)).dtype == np.dtype(dtype)
    assert MLPRegressor(random_state=0, max_iter=5, precision="float32").fit(X, Y).coefs_[0].dtype == np.float32


def test_a_copy_predicts_alike_and_a_clone_is_not_fitted():
    fit = MLPClassifier(random_state=0, max_iter=10).fit(X, Y)
    copy = pickle.loads(pickle.dumps(fit))
    assert np.array_equal(copy.predict_proba(X), fit.predict_proba(X))
    copy.partial_fit(X, Y)
    with pytest.raises(NotFittedError):
        clone(fit).predict(X)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpha": -1}, "The 'alpha' parameter of MLPClassifier must be a float in the range"),
        ({"solver": "adagrad"}, "The 'solver' parameter of MLPClassifier must be a str among"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"class_weight": "even"}, "The 'class_weight' parameter"),
        ({"hidden_layer_sizes": (4, 0)}, "hidden_layer_sizes: a layer without units"),
        ({"early_stopping": True, "validation_fraction": 0.01}, "test_size = 2 should be greater"),
    ],
)
def test_a_parameter_outside_its_range_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        MLPClassifier(**settings).fit(X, Y)


def test_sparse_rows_are_refused_by_name():
    from scipy.sparse import csr_array

    with pytest.raises(TypeError, match="Sparse data was passed"):
        MLPClassifier().fit(csr_array(X), Y)


def test_a_larger_problem_is_learnt_as_well_as_by_scikit_learn():
    Z, z = make_classification(600, 20, n_informative=8, n_classes=3, random_state=2)
    scores = [
        kind(random_state=0, max_iter=60, learning_rate_init=0.01).fit(Z[:400], z[:400]).score(Z[400:], z[400:])
        for kind in (MLPClassifier, TheirClassifier)
    ]
    assert scores[0] > scores[1] - 0.05
