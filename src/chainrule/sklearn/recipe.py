"""From an estimator's parameters to what a `Trainer` is made of and how long it trains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.graph import functions as F
from chainrule.graph.random import seeded
from chainrule.graph.tensor import Tensor
from chainrule.nn import init
from chainrule.optim.lr_schedules import Schedule
from chainrule.optim.plateau import Plateau
from chainrule.train import EarlyStopping, Trainer

Array = np.ndarray[Any, Any]
ACTIVATIONS: dict[str, Any] = {
    "identity": nn.Identity, "logistic": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU,
    "silu": nn.SiLU, "selu": nn.SELU,
}  # fmt: skip
LEAST_RATE = 1e-6
"""The rate at which an adaptive training ends, as scikit-learn has it."""
EVALUATIONS = 5
"""How often an L-BFGS update may evaluate the loss: a gradient and the trials of its line search."""


@dataclass(frozen=True)
class Problem:
    """What is to be learnt, as far as a network depends on it.

    Attributes:
        features, outputs: the widths of the first and the last layer.
        loss: from the outputs and the targets as they are encoded.
        score: the metric on the validation rows that early stopping goes by.
        share: what is reported of a row's loss: scikit-learn takes the mean over the outputs of a regression.
    """

    features: int
    outputs: int
    loss: nn.Loss
    score: Any
    share: float = 1.0


@dataclass(frozen=True)
class Job:
    """How long a training is, and in which steps: arguments of `Trainer.fit`."""

    epochs: int
    batch_size: int | None
    shuffle: str
    early_stopping: EarlyStopping | None


class InverseScaling(Schedule):
    """(1 + rows·epoch)^−power: the rate falls with the rows seen so far, and is level within an epoch.

    Args:
        rows: that an epoch trains on, at least 1.
        power: the exponent, at least 0.

    Example:
        >>> [round(float(InverseScaling(rows=3, power=0.5)(epoch)), 3) for epoch in range(3)]
        [1.0, 0.5, 0.378]
    """

    def __init__(self, rows: int, power: float) -> None:
        self.rows, self.power = rows, power
        self.steps_per_epoch = 1

    def bind(self, steps: int, steps_per_epoch: int) -> InverseScaling:
        """This schedule with epochs of so many steps (unbound, a step counts as an epoch)."""
        bound = InverseScaling(self.rows, self.power)
        bound.steps_per_epoch = steps_per_epoch
        return bound

    def __call__(self, step: Any) -> Tensor:
        """The factor at a step."""
        step = F.as_tensor(step)
        count = step if step.dtype.kind == "f" else F.cast(step, "float64")
        epoch = F.floor(count * (1.0 / self.steps_per_epoch) + 1e-6)
        return F.exp(F.log(epoch * float(self.rows) + 1.0) * -self.power)


class DivideOnPlateau(optim.ReduceOnPlateau):
    """The rate is divided by 5 where the loss has not fallen by `tol` in more than `patience` epochs.

    Args:
        patience: epochs that are borne, at least 0.
        tol: by how much the loss must be less than the least so far.
    """

    def __init__(self, patience: int, tol: float) -> None:
        super().__init__(factor=0.2, patience=patience, threshold=0.0)
        self.tol = tol

    def observe(self, seen: Plateau, loss: Any) -> Plateau:
        """What is known after an epoch of this loss."""
        value = loss if isinstance(loss, Tensor) else F.as_tensor(np.float64(loss))
        after = super().observe(seen, value + self.tol)
        best = F.minimum(F.as_tensor(seen.best), value)
        return after._replace(best=best if isinstance(loss, Tensor) else best.item())


def hidden(sizes: Any) -> list[int]:
    """The widths of the hidden layers.

    Raises:
        ArgumentError: a width below 1.
    """
    widths = list(sizes) if isinstance(sizes, Iterable) else [sizes]
    if any(isinstance(width, float) or int(width) < 1 for width in widths):
        raise ArgumentError(
            "a layer without units", where="hidden_layer_sizes", expected="whole numbers of at least 1", got=widths
        )
    return [int(width) for width in widths]


def network(parameters: Any, problem: Problem, dtype: Any) -> nn.Sequential:
    """A new network, its weights and biases uniform within Glorot's bound as scikit-learn draws them."""
    widths = [problem.features, *hidden(parameters.hidden_layer_sizes), problem.outputs]
    factor = 2.0 if parameters.activation == "logistic" else 6.0
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        linear, bound = nn.Linear(fan_in, fan_out), math.sqrt(factor / (fan_in + fan_out))
        # Drawn in one precision, so that a network begins alike in each.
        linear.weight = nn.Parameter(init.uniform((fan_out, fan_in), bound, np.float64).astype(dtype))
        linear.bias = nn.Parameter(init.uniform((fan_out,), bound, np.float64).astype(dtype))
        dropout = [nn.Dropout(parameters.dropout)] if parameters.dropout else []
        layers += [linear, ACTIVATIONS[parameters.activation](), *dropout]
    # Nothing follows the last linear layer.
    return nn.Sequential(*layers[: -2 - bool(parameters.dropout)], linear)


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """The layers of a network that have weights, from the first to the last."""
    return [module for _, module in model.named_modules() if isinstance(module, nn.Linear)]


def batch_rows(parameters: Any, rows: int) -> int:
    """The rows of a step."""
    if parameters.solver == "lbfgs":
        return rows
    return min(200 if parameters.batch_size == "auto" else int(parameters.batch_size), rows)


def trainer(parameters: Any, problem: Problem, rows: int, mean_weight: float, dtype: Any, seed: int) -> Trainer:
    """A new trainer.

    Args:
        parameters: the estimator.
        problem: what it learns.
        rows: that it trains on.
        mean_weight: the mean weight of a row.
        dtype: of the features.
        seed: of weights, orders of rows and dropout.
    """
    precision = parameters.precision if parameters.precision != "auto" else np.dtype(dtype).name
    with seeded(seed):
        model = network(parameters, problem, np.float64 if precision == "float64" else np.float32)
    metrics = [problem.score] if parameters.early_stopping and parameters.solver != "lbfgs" else []
    return Trainer(
        model, problem.loss, _optimizer(parameters), _schedule(parameters, problem, rows),
        penalty(parameters, problem, rows, mean_weight), metrics=metrics, backend=parameters.backend,
        precision=precision, seed=seed,
    )  # fmt: skip


class RecordedL2(optim.L2):
    """The penalty as a part of the loss that is written down and watched, of which `share` is reported."""

    def __init__(self, alpha: float, share: float) -> None:
        super().__init__(alpha)
        self.recorded = 1.0 / share


def penalty(parameters: Any, problem: Problem, rows: int, mean_weight: float) -> RecordedL2 | None:
    """α/2·Σw² over the weight of a batch, as scikit-learn has it."""
    strength = parameters.alpha / (2.0 * batch_rows(parameters, rows) * mean_weight)
    return RecordedL2(strength, problem.share) if strength else None


def _optimizer(parameters: Any) -> optim.Optimizer:
    if parameters.solver == "lbfgs":
        return optim.LBFGS()
    rate = float(parameters.learning_rate_init)
    if parameters.solver == "sgd":
        momentum = float(parameters.momentum)
        return optim.SGD(rate, momentum, nesterov=bool(parameters.nesterovs_momentum and momentum))
    return optim.Adam(rate, (parameters.beta_1, parameters.beta_2), parameters.epsilon)


def _schedule(parameters: Any, problem: Problem, rows: int) -> Schedule | None:
    if parameters.solver != "sgd" or parameters.learning_rate == "constant":
        return None
    if parameters.learning_rate == "invscaling":
        return InverseScaling(rows, parameters.power_t)
    if parameters.n_iter_no_change == np.inf:
        return None
    return DivideOnPlateau(int(parameters.n_iter_no_change), parameters.tol / problem.share)


def job(parameters: Any, problem: Problem, rows: int) -> Job:
    """How a fit trains."""
    stochastic = parameters.solver != "lbfgs"
    epochs = parameters.max_iter if stochastic else min(parameters.max_iter, max(1, parameters.max_fun // EVALUATIONS))
    shuffle = "epoch" if parameters.shuffle else "never"
    return Job(int(epochs), batch_rows(parameters, rows), shuffle, _stopping(parameters, problem))


def _stopping(parameters: Any, problem: Problem) -> EarlyStopping | None:
    if parameters.solver == "lbfgs":
        # scikit-learn holds tol against the gradient, and near a minimum the loss goes by the gradient's square.
        return EarlyStopping(EVALUATIONS, "loss", min_delta=parameters.tol**2, restore_best=False)
    if parameters.n_iter_no_change == np.inf:
        # The best epoch is wanted all the same.
        patience = parameters.max_iter + 1
    else:
        # scikit-learn ends a training when more than that many epochs have been no better.
        patience = (int(parameters.n_iter_no_change) + 1) * _levels(parameters)
    if parameters.early_stopping:
        name = getattr(problem.score, "__name__", problem.score)
        return EarlyStopping(patience, f"val_{name}", min_delta=parameters.tol)
    return EarlyStopping(patience, "loss", min_delta=parameters.tol / problem.share, restore_best=False)


def _levels(parameters: Any) -> int:
    """The rates that an adaptive training may come down through, each of which has its patience."""
    if parameters.solver != "sgd" or parameters.learning_rate != "adaptive":
        return 1
    return 1 + max(0, math.ceil(math.log(parameters.learning_rate_init / LEAST_RATE, 5)))


def held_out(y: Array, share: float, seed: int, *, stratify: bool) -> Sequence[Array]:
    """The rows to train on, and those to hold out; classes may be dealt out evenly, and then need two rows each."""
    every = np.arange(len(y))
    train, held = train_test_split(every, test_size=share, random_state=seed, stratify=y if stratify else None)
    if len(held) < 2:
        raise ArgumentError(
            "too few rows to validate on", where="validation_fraction", expected="at least 2 rows held out",
            got=f"{share:g} of {len(y)} rows", hint="increase it, or use early_stopping=False",
        )  # fmt: skip
    return train, held
