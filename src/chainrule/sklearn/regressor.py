"""The regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d

from chainrule.errors import DataError
from chainrule.sklearn import parameters
from chainrule.sklearn.losses import HalfSquaredError, PoissonLoss, r2_of_exp
from chainrule.sklearn.mlp import Array, BaseMLP, Targets
from chainrule.sklearn.recipe import Problem


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multilayer perceptron that predicts numbers, with scikit-learn's parameters, trained as one program.

    It takes the place of `sklearn.neural_network.MLPRegressor`. Targets are taken as they are: standardise large ones
    (`sklearn.compose.TransformedTargetRegressor`).

    Args:
        loss: "squared_error", or "poisson" for targets of at least 0, whose logarithm is then what the network gives.
        hidden_layer_sizes: and all others as `MLPClassifier` has them; early stopping goes by R².

    Attributes:
        loss_: and all others as `MLPClassifier` has them. Of several outputs it is the mean.

    Example:
        >>> from sklearn.datasets import make_regression
        >>> X, y = make_regression(100, 5, random_state=0)
        >>> regressor = MLPRegressor(learning_rate_init=0.05, tol=10.0, random_state=0).fit(X, y)
        >>> bool(regressor.score(X, y) > 0.95)
        True
    """

    _parameter_constraints = parameters.REGRESSOR
    _numeric = True
    stratifies = False

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        backend: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.backend = backend
        self.precision = precision

    def encode(self, y: Any, weight: Array | None, targets: Targets) -> tuple[Array, Array | None]:
        """Numbers (N, outputs)."""
        y = np.asarray(y, np.float64)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        columns = y.reshape(len(y), -1)
        if targets is Targets.LEARN:
            self._outputs, self._flat = columns.shape[1], y.ndim == 1
            self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        elif columns.shape[1] != self._outputs:
            raise DataError("not the outputs of the fit before", where="y", expected=self._outputs, got=y.shape)
        if self.loss == "poisson" and columns.min() < 0:
            raise DataError("loss='poisson' takes targets of at least 0", where="y", got=columns.min())
        return columns, weight

    @property
    def problem(self) -> Problem:
        """What is learnt."""
        loss, score = (PoissonLoss(), r2_of_exp) if self.loss == "poisson" else (HalfSquaredError(), "r2")
        return Problem(self.n_features_in_, self._outputs, loss, score, share=1 / self._outputs)

    def predict(self, X: Any) -> Array:
        """The numbers for each row: (N,), or (N, outputs) where y had several columns."""
        outputs = self.outputs(X)
        predicted = np.exp(outputs) if self.out_activation_ == "exp" else outputs
        return predicted[:, 0] if self._flat else predicted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
