"""The regressor for tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import _check_y

from chainrule.sklearn import parameters
from chainrule.sklearn.table import Array, BaseTable


class TableRegressor(RegressorMixin, BaseTable):
    """Predicts a number for the rows of a table as it is: what `chainrule fit` does, on frames and arrays.

    Targets are scaled, in logarithms too where that fits better, and predictions stay within the range that y has.

    Args:
        metric: "r2", "rmse" or "mae", or a list of which the first is optimised.
        layers: and all others as `TableClassifier` has them.

    Attributes:
        out_of_fold_: (n,) for each row of X what is said by networks that have not seen it; NaN where there are none.
        model_: and all others as `TableClassifier` has them.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> regressor = TableRegressor(epochs=10, random_state=0, backend="numpy").fit(X, y)
        >>> bool(regressor.scores_["r2"].value > 0.3)
        True
    """

    _parameter_constraints = parameters.TABLE_REGRESSOR
    task = "regress"

    def encode(self, y: Any, counted: Array) -> tuple[Array, None]:
        """float64 numbers."""
        return _check_y(y, estimator=self, y_numeric=True).astype(np.float64), None

    def predict(self, X: Any) -> Array:
        """(n,) the number for each row, float64."""
        return self.answer(X)
