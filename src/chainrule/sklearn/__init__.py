"""Estimators of scikit-learn on chainrule's engine, which go wherever its own go.

They need `pip install 'chainrule[sklearn]'`.
"""

from __future__ import annotations

try:
    import sklearn  # noqa: F401  # asked for first, so that what is missing is said in one line
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("chainrule.sklearn needs scikit-learn: pip install 'chainrule[sklearn]'") from error

from chainrule.sklearn.classifier import MLPClassifier
from chainrule.sklearn.regressor import MLPRegressor
from chainrule.sklearn.search import GridSearch
from chainrule.sklearn.table_classifier import TableClassifier
from chainrule.sklearn.table_regressor import TableRegressor

__all__ = ["GridSearch", "MLPClassifier", "MLPRegressor", "TableClassifier", "TableRegressor"]
