"""What the parameters of the estimators may be, as scikit-learn checks them before a fit."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

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
