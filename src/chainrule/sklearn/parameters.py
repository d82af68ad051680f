"""What the parameters of the estimators may be, as scikit-learn checks them before a fit."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from chainrule.tabular import choices
from chainrule.tabular.scores import CLASSES, NUMBERS

AT_LEAST_ONE = Interval(Integral, 1, None, closed="left")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
BELOW_ONE = Interval(Real, 0, 1, closed="left")

MLP: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", AT_LEAST_ONE],
    "activation": [StrOptions({"identity", "logistic", "tanh", "relu", "gelu", "silu", "selu"})],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
    "alpha": [NOT_NEGATIVE],
    "batch_size": [StrOptions({"auto"}), AT_LEAST_ONE],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [POSITIVE],
    "power_t": [NOT_NEGATIVE],
    "max_iter": [AT_LEAST_ONE],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [NOT_NEGATIVE],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [BELOW_ONE],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [BELOW_ONE],
    "beta_1": [BELOW_ONE],
    "beta_2": [BELOW_ONE],
    "epsilon": [POSITIVE],
    "n_iter_no_change": [AT_LEAST_ONE, Options(Real, {np.inf})],
    "max_fun": [AT_LEAST_ONE],
    "dropout": [BELOW_ONE],
    "backend": [StrOptions({"auto", "numpy", "xla"})],
    "precision": [StrOptions({"auto", "float32", "float64", "bfloat16", "tf32"})],
}
CLASSIFIER: dict[str, list[Any]] = {**MLP, "class_weight": [StrOptions({"balanced"}), Mapping, None]}
REGRESSOR: dict[str, list[Any]] = {**MLP, "loss": [StrOptions({"squared_error", "poisson"})]}

_TABLE: dict[str, list[Any]] = {
    "layers": ["array-like", AT_LEAST_ONE, None],
    "activation": [StrOptions(set(choices.ACTIVATIONS)), None],
    "optimizer": [StrOptions(set(choices.OPTIMIZERS)), None],
    "batch_size": [AT_LEAST_ONE, None],
    "epochs": [AT_LEAST_ONE, None],
    "lr": [POSITIVE, None],
    "schedule": [StrOptions(set(choices.SCHEDULES)), None],
    "dropout": [BELOW_ONE, None],
    "bins": [Interval(Integral, 0, None, closed="left"), None],
    "l1": [NOT_NEGATIVE, None],
    "l2": [NOT_NEGATIVE, None],
    "folds": [AT_LEAST_ONE, None],
    "members": [AT_LEAST_ONE, None],
    "patience": [AT_LEAST_ONE, None],
    "time_budget": [POSITIVE, None],
    "backend": [StrOptions(set(choices.BACKENDS)), None],
    "precision": [StrOptions(set(choices.PRECISIONS)), None],
    "random_state": ["random_state"],
    "na": ["array-like", None],
    "ignore": ["array-like", None],
    "categorical": ["array-like", None],
    "numeric": ["array-like", None],
    "reorder_columns": ["boolean"],
    "verbose": ["verbose"],
}
TABLE_CLASSIFIER: dict[str, list[Any]] = {
    **_TABLE, "metric": [StrOptions(set(CLASSES)), "array-like", None],
    "class_weight": [StrOptions({"balanced"}), Mapping, None],
}  # fmt: skip
TABLE_REGRESSOR: dict[str, list[Any]] = {**_TABLE, "metric": [StrOptions(set(NUMBERS)), "array-like", None]}
