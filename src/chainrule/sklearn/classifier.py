"""The classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from chainrule import nn
from chainrule.errors import DataError
from chainrule.sklearn import parameters
from chainrule.sklearn.losses import LabelwiseLogLoss, subset_accuracy
from chainrule.sklearn.mlp import Array, BaseMLP, Targets, is_stochastic
from chainrule.sklearn.recipe import Problem


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multilayer perceptron that classifies, with scikit-learn's parameters, trained as one program.

    It takes the place of `sklearn.neural_network.MLPClassifier`: the same objective (log-loss plus α/2·Σw² over the
    weight of a batch), the same initial weights' distribution, the same rules of stopping. Two labels are one logistic
    output, more are a softmax, and a y of 0 and 1 in several columns is multilabel.

    Args:
        hidden_layer_sizes: the widths of the hidden layers, each at least 1.
        activation: "identity", "logistic", "tanh", "relu", "gelu", "silu" or "selu".
        solver: "adam", "sgd", or "lbfgs", which takes all rows in each step; `tol` is then held against the root of
            what the loss falls by.
        alpha: strength of the L2 penalty, at least 0; biases are left alone.
        batch_size: rows a step; "auto" is min(200, N).
        learning_rate: "constant", "invscaling" or "adaptive"; for "sgd".
        learning_rate_init: the first rate, above 0.
        power_t: the exponent of "invscaling".
        max_iter: epochs at most.
        shuffle: whether the order of the rows is drawn anew in each epoch.
        random_state: a whole number makes fits repeat: weights, orders, dropout, held-out rows.
        tol: by how much the loss, or the validation score, must be better than the best so far.
        verbose: whether to show a bar on standard error.
        warm_start: whether `fit` goes on from the weights of the last one.
        momentum, nesterovs_momentum: for "sgd".
        early_stopping: whether to hold out `validation_fraction` of the rows, stop by their accuracy, and keep the best
            weights: those of the last epoch that was better by `tol`.
        validation_fraction: the share held out, in (0, 1).
        beta_1, beta_2, epsilon: for "adam".
        n_iter_no_change: the training ends when more epochs than this in a row were not better by `tol`.
        max_fun: evaluations of the loss at most, of which an update of "lbfgs" may take five.
        class_weight: None, "balanced", or {class: weight} (1 for a class that is not named), times the rows' own.
        dropout: the share of hidden units dropped in training, in [0, 1).
        backend: "auto", "numpy" or "xla".
        precision: "auto" trains float32 rows in float32 and all others in float64, as scikit-learn does; else
            "float32", "float64", "bfloat16" or "tf32".

    Attributes:
        classes_: the labels, sorted.
        loss_, loss_curve_: the last epoch's mean loss of a row with the penalty, and each epoch's.
        best_loss_: the least of them; None with early stopping.
        validation_scores_, best_validation_score_: each epoch's accuracy on the rows held out, and that of the weights
            that were kept; None without early stopping.
        n_iter_: epochs of the last fit; t_ rows seen in all.
        coefs_, intercepts_: of each layer (in, out) and (out,).
        n_features_in_, feature_names_in_, n_layers_, n_outputs_, out_activation_: as scikit-learn has them.
        trainer_: the `Trainer`, with its `history`.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = MLPClassifier(max_iter=100, learning_rate_init=0.01, tol=1e-3, random_state=0).fit(X, y)
        >>> bool(classifier.score(X, y) > 0.95)
        True
        >>> classifier.predict_proba(X[:2]).shape
        (2, 3)
    """

    _parameter_constraints = parameters.CLASSIFIER

    def __init__(
        self,
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
        class_weight: str | Mapping[Any, float] | None = None,
        dropout: float = 0.0,
        backend: str = "auto",
        precision: str = "auto",
    ) -> None:
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
        self.class_weight = class_weight
        self.dropout = dropout
        self.backend = backend
        self.precision = precision

    # ---- targets

    def encode(self, y: Any, weight: Array | None, targets: Targets) -> tuple[Array, Array | None]:
        """Class indices (N,), for two classes 0 and 1 as numbers (N, 1), for several labels a row (N, labels)."""
        check_classification_targets(y)
        multilabel = type_of_target(y) == "multilabel-indicator"
        y = np.asarray(y.toarray() if hasattr(y, "toarray") else y) if multilabel else column_or_1d(y, warn=True)
        if targets is Targets.LEARN:
            self.classes_ = np.arange(y.shape[1]) if multilabel else np.unique(y)
            self.out_activation_ = "softmax" if len(self.classes_) > 2 and not multilabel else "logistic"
            self._multilabel = multilabel
        self._check_classes(y, multilabel, targets)
        if self.class_weight is not None:
            own = compute_sample_weight(self._class_weight(y), y)
            weight = own if weight is None else weight * own
        if multilabel:
            return y.astype(np.float64), weight
        places = np.searchsorted(self.classes_, y)
        return (places if self.out_activation_ == "softmax" else places.astype(np.float64).reshape(-1, 1)), weight

    def _check_classes(self, y: Array, multilabel: bool, targets: Targets) -> None:
        if multilabel != self._multilabel or (multilabel and y.shape[1] != len(self.classes_)):
            expected = f"{len(self.classes_)} columns of 0 and 1" if self._multilabel else "one class a row"
            raise DataError("not the targets of the fit before", where="y", expected=expected, got=y.shape)
        unseen = [] if multilabel else np.setdiff1d(y, self.classes_).tolist()
        if unseen:
            raise DataError(
                "classes that the estimator does not know", where="y", expected=f"among {self.classes_.tolist()}",
                got=unseen, hint="name all of them in the first call: partial_fit(X, y, classes=…)",
            )  # fmt: skip
        if targets is Targets.SAME and not multilabel and len(np.unique(y)) < len(self.classes_):
            raise DataError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit", where="y",
                expected=self.classes_.tolist(), got=np.unique(y).tolist(), hint="use partial_fit",
            )  # fmt: skip

    def _class_weight(self, y: Array) -> Any:
        """What `class_weight` says of the classes that are in y."""
        if not isinstance(self.class_weight, Mapping) or self._multilabel:
            return self.class_weight
        present = set(np.unique(y).tolist())
        return {label: weight for label, weight in self.class_weight.items() if label in present}

    @property
    def stratifies(self) -> bool:
        """Whether a row has one class."""
        return not self._multilabel

    @property
    def problem(self) -> Problem:
        """What is learnt."""
        if self._multilabel:
            return Problem(self.n_features_in_, len(self.classes_), LabelwiseLogLoss(), subset_accuracy)
        if self.out_activation_ == "softmax":
            return Problem(self.n_features_in_, len(self.classes_), nn.CrossEntropyLoss(), "accuracy")
        return Problem(self.n_features_in_, 1, nn.BCEWithLogitsLoss(), "accuracy")

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train one epoch on these rows; the optimizer goes on where the last call left it.

        Args:
            X, y, sample_weight: as `fit` takes them.
            classes: all labels that will ever come; needed in the first call.

        Returns:
            The estimator.

        Raises:
            ValueError: no `classes` in the first call, others than before in a later one, or a label that is not among
                them.

        Example:
            >>> classifier = MLPClassifier(random_state=0)
            >>> classifier.partial_fit([[0.0], [1.0]], ["a", "b"], classes=["a", "b", "c"]).predict_proba([[0.5]]).shape
            (1, 3)
        """
        if _check_partial_fit_first_call(self, classes):
            self._multilabel = type_of_target(y) == "multilabel-indicator"
            self.out_activation_ = "softmax" if len(self.classes_) > 2 and not self._multilabel else "logistic"
        return self.train_once(X, y, sample_weight, Targets.SOME)

    # ---- predicting

    def predict(self, X: Any) -> Array:
        """The most probable label of each row: (N,), or where it has several (N, labels) of 0 and 1."""
        outputs = self.outputs(X)
        if self._multilabel:
            return (outputs > 0).astype(np.int64)
        if self.out_activation_ == "softmax":
            return np.asarray(self.classes_[outputs.argmax(axis=1)])
        return np.asarray(self.classes_[((outputs[:, 0] > 0) & (len(self.classes_) > 1)).astype(np.int64)])

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (N, classes), or of each label where a row may have several."""
        outputs = self.outputs(X)
        if self._multilabel:
            return np.asarray(expit(outputs))
        if self.out_activation_ == "softmax":
            return np.asarray(softmax(outputs, axis=1))
        if len(self.classes_) == 1:
            return np.ones_like(outputs)
        return np.asarray(expit(np.hstack([-outputs, outputs])))

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`; −∞ where that is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
