"""scikit-learn's own checks of what an estimator must do, without expected failures."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from chainrule.sklearn import GridSearch, MLPClassifier, MLPRegressor, TableClassifier, TableRegressor

QUICK = {"max_iter": 50, "learning_rate_init": 0.01, "random_state": 0}
ESTIMATORS = [
    MLPClassifier(),
    MLPRegressor(),
    TableClassifier(),
    TableRegressor(),
    GridSearch(MLPClassifier(**QUICK), {"alpha": [1e-4, 1e-2]}, cv=2),
    GridSearch(MLPRegressor(**QUICK), {"alpha": [1e-4, 1e-2]}, cv=2),
]


# Few of the checks' fits converge; what they warn of is theirs.
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_checks(estimator, check):
    check(estimator)
