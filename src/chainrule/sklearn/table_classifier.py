"""The classifier for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y

from chainrule.errors import ArgumentError, DataError
from chainrule.sklearn import parameters
from chainrule.sklearn.table import Array, BaseTable


class TableClassifier(ClassifierMixin, BaseTable):
    """Classifies the rows of a table as it is: what `chainrule fit` does, on frames of pandas and polars, and arrays.

    Columns of numbers, names, truths and dates are recognised, scaled and encoded; missing values are taken. Each row
    is held out by the networks of one fold, all of which are trained as one program, and their mean is the answer.
    Where None is given, the recipe decides by the number of rows and columns.

    Rows that are alike count as one of their joint weight, unless rows may well be alike by chance; so a row of weight
    3 is the same as three of them, and the order of the rows is of no account.

    Args:
        layers: the widths of the hidden layers, each at least 1; may be empty.
        activation, optimizer, schedule: names, as `chainrule fit` has them.
        batch_size: rows a step.
        epochs: passes over the rows, at most.
        lr: the learning rate, above 0.
        dropout: the share of hidden units dropped in training, in [0, 1).
        bins: pieces into which the range of each number is cut, from 0.
        l1, l2: strengths of penalties, at least 0.
        folds: parts that are held out in turn, from 2; 1 holds out one part of the rows.
        members: networks on each fold.
        patience: epochs without a better loss on the rows held out before the training stops.
        metric: "accuracy", "balanced_accuracy", "auc", "f1" or "log_loss", or a list of which the first is optimised.
        time_budget: seconds after which the training ends with the best so far.
        backend: "auto", "numpy" or "xla".
        precision: "float32", "float64", "bfloat16" or "tf32".
        random_state: a whole number makes fits repeat.
        na: further words for a missing value; with an empty one among them they replace the usual ones.
        ignore, categorical, numeric: columns, by name or number, to leave out, to take as names, to take as numbers.
        reorder_columns: whether a frame to predict may have the columns in another order, which is then put right.
            scikit-learn's rule is to refuse it.
        verbose: whether to show a bar on standard error.
        class_weight: None, "balanced", or {class: weight} (1 for a class that is not named), times the rows' own.

    Attributes:
        classes_: the labels, sorted, as they are in y.
        n_features_in_, feature_names_in_: as scikit-learn has them.
        n_iter_: epochs.
        model_: the `chainrule.tabular.model.TabularModel`.
        out_of_fold_: (n, classes) for each row of X what is said by networks that have not seen it; NaN where there
            are none: for rows of weight 0, and those that are not held out.
        scores_: the figures of these, by name, each with its `value` and its standard `error`.
        notes_: what was noticed in the table, a line each.

    Example:
        >>> import polars as pl
        >>> X = pl.DataFrame({"size": [1.0, 5.0, None, 6.0] * 10, "kind": ["a", "b", "a", None] * 10})
        >>> y = ["small", "large"] * 20
        >>> classifier = TableClassifier(epochs=20, random_state=0, backend="numpy").fit(X, y)
        >>> classifier.predict(X[:3]).tolist()
        ['small', 'large', 'small']
        >>> str(classifier.scores_["accuracy"])
        '1 ± 0'
    """

    _parameter_constraints = parameters.TABLE_CLASSIFIER
    task = "classify"

    def __init__(
        self,
        *,
        layers: Any = None,
        activation: str | None = None,
        optimizer: str | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        lr: float | None = None,
        schedule: str | None = None,
        dropout: float | None = None,
        bins: int | None = None,
        l1: float | None = None,
        l2: float | None = None,
        folds: int | None = None,
        members: int | None = None,
        patience: int | None = None,
        metric: Any = None,
        time_budget: float | None = None,
        backend: str | None = None,
        precision: str | None = None,
        random_state: Any = None,
        na: Any = None,
        ignore: Any = None,
        categorical: Any = None,
        numeric: Any = None,
        reorder_columns: bool = False,
        verbose: Any = False,
        class_weight: str | Mapping[Any, float] | None = None,
    ) -> None:
        super().__init__(
            layers=layers, activation=activation, optimizer=optimizer, batch_size=batch_size, epochs=epochs, lr=lr,
            schedule=schedule, dropout=dropout, bins=bins, l1=l1, l2=l2, folds=folds, members=members,
            patience=patience, metric=metric, time_budget=time_budget, backend=backend, precision=precision,
            random_state=random_state, na=na, ignore=ignore, categorical=categorical, numeric=numeric,
            reorder_columns=reorder_columns, verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight

    def encode(self, y: Any, counted: Array) -> tuple[Array, list[Any]]:
        """Class numbers; rows that do not count have any."""
        y = _check_y(y, estimator=self)
        check_classification_targets(_plain(y))
        self.classes_ = np.unique(y[counted])
        if len(self.classes_) < 2:
            raise DataError(
                "the target is the same in every row", where="y", expected="two classes or more",
                got=f"one class, {self.classes_.tolist()[0]!r}",
            )  # fmt: skip
        return np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1), self.classes_.tolist()

    def _class_weight(self, labels: list[Any] | None) -> str | list[float] | None:
        given = self.class_weight
        if not isinstance(given, Mapping):
            return given
        unknown = sorted(map(repr, set(given) - set(labels or [])))
        if unknown:
            raise ArgumentError("not among the classes", where="class_weight", got=", ".join(unknown))
        weights = [float(given.get(label, 1.0)) for label in labels or []]
        if not (np.isfinite(weights).all() and min(weights) >= 0 and max(weights) > 0):
            raise ArgumentError("a weight is a finite number of at least 0", where="class_weight", got=given)
        return weights

    # ---- predicting

    def predict(self, X: Any) -> Array:
        """The most probable label of each row, (n,), of the dtype of y."""
        chances = self.predict_proba(X)
        return np.asarray(self.classes_[chances.argmax(axis=1)])

    def predict_proba(self, X: Any) -> Array:
        """(n, classes) the probability of each class, in the order of `classes_`."""
        return self.answer(X)

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`; −∞ where that is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


def _plain(y: Array) -> Array:
    """Labels in objects as an array of what they are; None and NaN are refused."""
    if y.dtype.kind != "O":
        return y
    missing = [label is None or label != label for label in y.tolist()]
    if any(missing):
        raise DataError("a label is missing", where=f"y, row {missing.index(True) + 1}", hint="leave such rows out")
    kinds = {type(label) for label in y.tolist()}
    if len(kinds) > 1:
        names = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError("Unknown label type: labels of several types", where="y", expected="one type", got=names)
    return np.asarray(y.tolist())
