"""Stacks of layers that several labs train on the digits, and what they measure of them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.lab.samples import digits
from chainrule.optim import Clip, Optimizer

Array = np.ndarray[Any, Any]


class TrainTestRows(NamedTuple):
    """Rows to train on and rows to test on."""

    X: Array
    y: Array
    X_test: Array
    y_test: Array


@functools.cache
def sample(train: int = 1200) -> TrainTestRows:
    """The digits, centred pixel by pixel and brought to unit variance all together; `train` rows to train on."""
    X, y = digits()
    # One scale for all: some pixels hardly ever change, and one of their own would blow them up.
    X = (X - X[:train].mean(0)) / X[:train].std()
    return TrainTestRows(X[:train], y[:train], X[train:], y[train:])


def multilayer(
    widths: Sequence[int],
    activation: Callable[[], nn.Module],
    init: str = "kaiming_uniform",
    normalized: Callable[[int], nn.Module] | None = None,
    seed: int = 0,
) -> nn.Sequential:
    """Linear layers of these widths with an activation between them, and a normalisation before it if there is one."""
    cr.seed(seed)
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths[:-1]):
        layers.append(nn.Linear(fan_in, fan_out, init=init))
        if normalized is not None:
            layers.append(normalized(fan_out))
        layers.append(activation())
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], init="xavier_uniform"))


def gradient_sizes(model: nn.Sequential, X: Array, y: Array) -> list[float]:
    """The root mean square of the cross-entropy's gradient in the weights of each Linear, from the input upwards."""

    def cost(model: nn.Module) -> cr.Tensor:
        return nn.CrossEntropyLoss()(model(X), y)

    gradients = cr.grad(cost)(model)
    linear = [f"{i}.weight" for i, layer in enumerate(model.layers) if isinstance(layer, nn.Linear)]
    return [float(np.sqrt(np.mean(gradients[name].numpy().astype(np.float64) ** 2))) for name in linear]


@dataclass(frozen=True)
class Trained:
    """How a training went: the loss of each whole epoch (nats) and the test accuracy."""

    losses: list[float]
    accuracy: float
    finite: bool

    @property
    def loss(self) -> float:
        """The last epoch's loss, infinite if the training broke off."""
        return self.losses[-1] if self.finite else math.inf


def trained(
    model: nn.Module, optimizer: Optimizer, rows: TrainTestRows, epochs: int, batch_size: int, clip: Clip | None = None
) -> Trained:
    """Train a classifier, to the end or until its loss is no longer finite."""
    trainer = cr.Trainer(model, nn.CrossEntropyLoss(), optimizer, clip=clip, backend="numpy")
    finite = True
    try:
        trainer.fit(rows.X, rows.y, epochs=epochs, batch_size=batch_size, progress=False)
    except cr.errors.NotFiniteError:
        finite = False
    with np.errstate(all="ignore"):
        accuracy = trainer.evaluate(rows.X_test, rows.y_test)["accuracy"]
    return Trained(trainer.history.loss, accuracy, finite)
