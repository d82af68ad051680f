"""What the classifier and the regressor have in common: how they are fitted, and what a fit leaves behind."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from enum import Enum
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from chainrule.errors import ArgumentError
from chainrule.sklearn import recipe
from chainrule.sklearn.recipe import Problem
from chainrule.train import History, Trainer

Array = np.ndarray[Any, Any]
FLOATS = (np.float64, np.float32)


class Targets(Enum):
    """What a fit may make of its targets."""

    LEARN = "learn what they are"
    SAME = "they must be what they were"
    SOME = "they must be among what they were"


class Rows(NamedTuple):
    """What a fit trains on: X (N, features), the targets as the loss takes them, and weights (N,) or None."""

    X: Array
    y: Array
    weight: Array | None

    def taken(self, rows: Array) -> Rows:
        """Some of the rows."""
        return Rows(self.X[rows], self.y[rows], None if self.weight is None else self.weight[rows])

    @property
    def mean_weight(self) -> float:
        """The mean weight of a row."""
        return 1.0 if self.weight is None else float(np.mean(self.weight))


def is_stochastic(estimator: Any) -> bool:
    """Whether an estimator's solver can go on with other rows; asked by `available_if`, which wants an error if not."""
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit needs solver='sgd' or 'adam': 'lbfgs' trains on all rows at once")
    return True


class BaseMLP(BaseEstimator, ABC):
    """A multilayer perceptron whose parameters are given by the estimators derived from it."""

    _numeric = False
    """Whether targets must be numbers."""

    @abstractmethod
    def encode(self, y: Any, weight: Array | None, targets: Targets) -> tuple[Array, Array | None]:
        """The targets as the loss takes them, and the weights of the rows."""

    @property
    @abstractmethod
    def problem(self) -> Problem:
        """What is learnt, once the rows are known."""

    # ---- fitting

    def check_parameters(self) -> None:
        """Refuse parameters outside their range, by scikit-learn's `InvalidParameterError`."""
        self._validate_params()

    @property
    @abstractmethod
    def stratifies(self) -> bool:
        """Whether the rows that early stopping holds out are dealt out by class."""

    def rows(self, X: Any, y: Any, sample_weight: Any, targets: Targets, *, first: bool) -> Rows:
        """X, y and weights, checked.

        Args:
            X, y, sample_weight: as `fit` takes them.
            targets: whether what the targets are is learnt or known.
            first: whether the names of the columns are learnt.
        """
        X, y = validate_data(self, X, y, multi_output=True, dtype=FLOATS, reset=first, y_numeric=self._numeric)
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        y, weight = self.encode(y, weight, targets)
        return Rows(np.ascontiguousarray(X), y, weight)

    def split(self, rows: Rows, seed: int) -> tuple[Array, Array]:
        """The rows to train on, and those that early stopping holds out."""
        every = np.arange(len(rows.X))
        if not self.early_stopping or self.solver == "lbfgs":
            return every, every[:0]
        train, held = recipe.held_out(rows.y, self.validation_fraction, seed, stratify=self.stratifies)
        return train, held

    def seed(self) -> int:
        """What everything random follows from; drawn where `random_state` is no whole number."""
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def trainer(self, train: Rows, seed: int) -> Trainer:
        """A new trainer for these rows."""
        return recipe.trainer(self, self.problem, len(train.X), train.mean_weight, train.X.dtype, seed)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on all rows until the loss no longer falls, or `max_iter` epochs.

        Args:
            X: (N, features) finite numbers: an array, or a frame of pandas or polars whose column names are kept.
            y: (N,), or (N, outputs).
            sample_weight: (N,) how much each row counts, at least 0.

        Returns:
            The estimator.

        Raises:
            ValueError: arrays that do not fit, as scikit-learn words it; a parameter outside its range
                (`InvalidParameterError`).
            NotFiniteError: the loss became NaN or infinite.
            TypeError: a sparse X; `X.toarray()` is taken.
        """
        first = not (self.warm_start and hasattr(self, "trainer_"))
        rows = self.rows(X, y, sample_weight, Targets.LEARN if first else Targets.SAME, first=first)
        seed = self.seed()
        train, held = self.split(rows, seed)
        trainer = self.trainer(rows.taken(train), seed)
        if not first:
            self._continue_from(trainer)
        else:
            self.begin()
        self._train(trainer, rows.taken(train), rows.taken(held))
        ended = {
            "finished": f"the training had not converged after {self.n_iter_} iterations; increase max_iter, or tol",
            "interrupted": f"the training was interrupted after {self.n_iter_} iterations",
        }
        if trainer.history.stopped in ended:
            warnings.warn(ended[trainer.history.stopped], ConvergenceWarning, stacklevel=3)
        return self

    def begin(self) -> None:
        """Forget what earlier fits have written down."""
        self.t_ = 0
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] | None = None

    def _continue_from(self, trainer: Trainer) -> None:
        """Give a new trainer the weights of the last one."""
        before = recipe.linear_layers(self.trainer_.model)
        now = recipe.linear_layers(trainer.model)
        if [x.weight.shape for x in before] != [x.weight.shape for x in now]:
            raise ArgumentError(
                "the layers are not those of the fit before", where="hidden_layer_sizes",
                expected=[x.out_features for x in before[:-1]], got=[x.out_features for x in now[:-1]],
                hint="use warm_start=False",
            )  # fmt: skip
        trainer.model.load_state_dict(self.trainer_.model.state_dict())

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch on these rows; the optimizer goes on where the last call left it.

        Args:
            X, y, sample_weight: as `fit` takes them.

        Returns:
            The estimator.
        """
        return self.train_once(X, y, sample_weight, Targets.SOME if hasattr(self, "trainer_") else Targets.LEARN)

    def train_once(self, X: Any, y: Any, sample_weight: Any, targets: Targets) -> Self:
        """Train one epoch."""
        if self.early_stopping:
            raise ArgumentError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "trainer_")
        rows = self.rows(X, y, sample_weight, targets, first=first)
        if first:
            trainer = self.trainer(rows, self.seed())
            self.begin()
        else:
            trainer = self.trainer_
            trainer.penalty = recipe.penalty(self, self.problem, len(rows.X), rows.mean_weight)
        self._train(trainer, rows, rows.taken(np.arange(0)), epochs=1)
        return self

    def _train(self, trainer: Trainer, train: Rows, held: Rows, epochs: int | None = None) -> None:
        job = recipe.job(self, self.problem, len(train.X))
        validation: Any = None
        if len(held.X):
            validation = held[:2] if held.weight is None else tuple(held)
        history = trainer.fit(
            train.X, train.y, epochs=epochs or job.epochs, batch_size=job.batch_size, shuffle=job.shuffle,
            early_stopping=None if epochs else job.early_stopping, validation=validation,
            sample_weight=train.weight, progress=bool(self.verbose),
        )  # fmt: skip
        self.take(trainer, history, len(train.X))

    def take(self, trainer: Trainer, history: History, rows: int) -> None:
        """Keep a trained network, and write down how its training went."""
        self.trainer_ = trainer
        layers = recipe.linear_layers(trainer.model)
        self.coefs_ = [np.transpose(layer.weight.numpy()) for layer in layers]
        self.intercepts_ = [layer.bias.numpy() for layer in layers if layer.bias is not None]
        self.n_layers_, self.n_outputs_ = len(layers) + 1, layers[-1].out_features
        self.n_iter_ = history.epochs
        self.t_ += rows * history.epochs
        self.loss_curve_ = [*self.loss_curve_, *(loss * self.problem.share for loss in history.loss)]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        scores = [values for name, values in history.metrics.items() if name.startswith("val_")]
        self.best_loss_: float | None = min(self.loss_curve_, default=np.nan)
        self.best_validation_score_: float | None = None
        if scores:
            self.validation_scores_ = [*(self.validation_scores_ or []), *scores[0]]
            best = history.best_epoch
            self.best_loss_, self.best_validation_score_ = None, np.nan if best is None else scores[0][best - 1]

    # ---- predicting

    def outputs(self, X: Any) -> Array:
        """What the last layer gives for X: (N, outputs), before the output's activation."""
        check_is_fitted(self, "trainer_")
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        return np.asarray(self.trainer_.predict(X), X.dtype)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags
