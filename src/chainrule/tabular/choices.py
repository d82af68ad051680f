"""What can be chosen by name, and how it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from chainrule import nn, optim

if TYPE_CHECKING:
    from chainrule.nn.module import Module
    from chainrule.optim.lr_schedules import Schedule

TASKS = ("auto", "classify", "regress")
BACKENDS = ("auto", "numpy", "xla")
PRECISIONS = ("float32", "bfloat16", "tf32", "float64")
DEVICES = ("auto", "cpu", "gpu")
ACTIVATIONS: dict[str, type[Module]] = {
    "silu": nn.SiLU, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "gelu": nn.GELU,
    "softplus": nn.Softplus, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
}  # fmt: skip


class Rule(NamedTuple):
    """An update rule: made from its learning rate, and the rate where none is given."""

    make: Callable[[float], Any]
    rate: float


OPTIMIZERS = {
    "adam": Rule(optim.Adam, 3e-3),
    "adamw": Rule(optim.AdamW, 3e-3),
    "adamax": Rule(optim.Adamax, 1e-2),
    "nadam": Rule(optim.Nadam, 3e-3),
    "sgd": Rule(optim.SGD, 0.1),
    "momentum": Rule(lambda lr: optim.SGD(lr, momentum=0.9), 0.02),
    "nesterov": Rule(lambda lr: optim.SGD(lr, momentum=0.9, nesterov=True), 0.02),
    "adagrad": Rule(optim.AdaGrad, 0.03),
    "rmsprop": Rule(optim.RMSProp, 1e-3),
    "adadelta": Rule(optim.Adadelta, 1.0),
    "lbfgs": Rule(optim.LBFGS, 1.0),
}

PLATEAU = 5
"""Epochs without a better validation loss before the rate is lowered, where it follows the loss."""
SCHEDULES: dict[str, Callable[[int], Schedule]] = {
    "cosine": lambda epochs: optim.Cosine(),
    "constant": lambda epochs: optim.Constant(),
    "step": lambda epochs: optim.Step(every=max(epochs // 3, 1)),
    "exponential": lambda epochs: optim.Exponential(0.01 ** (1 / epochs)),
    "linear": lambda epochs: optim.Linear(),
    "onecycle": lambda epochs: optim.OneCycle(),
    "warmup": lambda epochs: optim.Warmup(optim.Cosine()),
    "plateau": lambda epochs: optim.ReduceOnPlateau(patience=PLATEAU),
}
"""Each is made for a number of epochs."""
