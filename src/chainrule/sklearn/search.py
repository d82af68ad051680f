"""Grid search whose fits are run as one program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from sklearn.base import BaseEstimator, _fit_context, clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.utils import indexable

from chainrule.sklearn.packing import Candidate, Packing, recognised


class _Replay(BaseEstimator):
    """An estimator whose fits give, one after another, those that stand already; where there is none it fits.

    Args:
        estimator: what is searched over.
        cells: candidate and fitted estimator (or None) of each fit to come; clones share it.
    """

    def __init__(self, estimator: Any, cells: Iterator[tuple[Candidate, Any]]) -> None:
        self.estimator, self.cells = estimator, cells

    def __sklearn_clone__(self) -> _Replay:
        return _Replay(clone(self.estimator), self.cells)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Those of the estimator."""
        found: dict[str, Any] = self.estimator.get_params(deep)
        return found

    def set_params(self, **parameters: Any) -> Self:
        """Set those of the estimator."""
        self.estimator.set_params(**parameters)
        return self

    def fit(self, X: Any, y: Any, **parameters: Any) -> Self:
        """Take the next fit."""
        given, fitted = next(self.cells, ({}, None))
        known = self.estimator.get_params()
        assert all(_alike(known[name], value) for name, value in given.items()), "fits in another order"
        self.fitted_ = self.estimator.fit(X, y, **parameters) if fitted is None else fitted
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("estimator", "fitted_"):
            raise AttributeError(name)
        return getattr(vars(self).get("fitted_", self.estimator), name)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()


def _alike(one: Any, other: Any) -> bool:
    """Whether two values of a parameter are equal, as far as a copy of one can tell."""
    plain = isinstance(one, (bool, int, float, str, tuple, type(None)))
    return bool(one == other) if plain else type(one) is type(other)


class GridSearch(GridSearchCV):
    """scikit-learn's `GridSearchCV`; over chainrule's networks, candidates and folds are trained as one program.

    That is so for `MLPClassifier` and `MLPRegressor`, and for a `Pipeline` that ends in one and of which no other step
    is searched: its transformers are then fitted once a fold. Each network is that of the plain search but for
    rounding, and so is the table. Fits that cannot be packed are done one by one (`notes_` says why): where rows are
    weighted, where a combination is refused or diverges. `n_jobs` counts for those alone; the program uses all cores.

    Args:
        estimator, param_grid, scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score: as
            `GridSearchCV` has them.

    Attributes:
        best_params_, best_score_, best_index_, best_estimator_, cv_results_, scorer_, n_splits_, multimetric_: as
            `GridSearchCV` has them; "mean_fit_time" is an equal share of the program's time.
        packed_: how many of the fits were trained as one program.
        notes_: why others were not, one line each.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from chainrule.sklearn import MLPClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> network = MLPClassifier(tol=1e-2, learning_rate_init=0.02, random_state=0)
        >>> search = GridSearch(network, {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(8,), (16,)]}, cv=3).fit(X, y)
        >>> search.packed_, bool(search.best_score_ > 0.9)
        (12, True)
    """

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Search, and fit the best combination on all rows.

        Args:
            X, y: as the estimator takes them.
            params: of the estimator's `fit`, the scorer and the splitter, as `GridSearchCV.fit` takes them.

        Returns:
            The search.

        Raises:
            ValueError: whatever `GridSearchCV.fit` raises.
        """
        candidates = list(ParameterGrid(self.param_grid))
        last, reason = recognised(self.estimator, candidates)
        others = sorted(name for name, value in params.items() if name != "groups" and value is not None)
        if reason is None and others:
            reason = f"{', '.join(others)} cannot be shared by the trials of a sweep"
        if reason is None and y is None:
            reason = "there are no targets"
        if reason is not None:
            self.packed_, self.notes_ = 0, [reason]
            return super().fit(X, y, **params)
        return self._fit_packed(Packing(self.estimator, candidates, last), X, y, params.get("groups"))

    def _fit_packed(self, packing: Packing, X: Any, y: Any, groups: Any) -> Self:
        X, y, groups = indexable(X, y, groups)
        splitter = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(splitter.split(X, y, groups))
        packing.train(X, y, splits)
        settings = self.get_params(deep=False) | {"n_jobs": 1, "cv": splits}
        settings["estimator"] = _Replay(clone(self.estimator), packing.cells())
        # The rest is scikit-learn's own: scores, ranks, and the fit of the best.
        search = GridSearchCV(**settings).fit(X, y)
        for name, value in vars(search).items():
            if name.endswith("_"):
                setattr(self, name, value.fitted_ if isinstance(value, _Replay) else value)
        if self.scoring is None:
            self.scorer_ = check_scoring(self.estimator)
        self.cv_results_["mean_fit_time"] = self.cv_results_["mean_fit_time"] + packing.seconds
        self.packed_, self.notes_ = packing.packed, packing.notes
        return self
