"""Optimizers as pure pairs: `init(parameters) → state`, `update(gradients, state, parameters, lr) → new of both`.

Parameters, gradients and states are trees of arrays or tensors. Everything is written in graph operations, so that an
update is part of the training step's graph. Elementwise optimizers may be given all parameters packed in one vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.errors import ArgumentError, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor, constant

__all__ = ["Optimizer"]

OptimizerState = dict[str, Any]


class Updated(NamedTuple):
    """What an update returns."""

    parameters: Any
    state: OptimizerState


class Optimizer:
    """Base class of the optimizers.

    Args:
        lr: the learning rate η, above 0.

    Attributes:
        full_batch: whether it compares the gradients of different steps, so that each must be of all rows, and needs
            to evaluate the objective itself: its `update` then takes `objective`, a function w → C.
        elementwise: whether what becomes of a weight depends on its own gradient and state alone, wherever it stands,
            so that parameters may come packed as one vector. Every class declares it itself; one that does not gets the
            structure of the parameters, a dict by path.
    """

    full_batch = False
    elementwise = False

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # What a subclass overrides may tell the parameters apart, whatever holds of its base.
        cls.elementwise = vars(cls).get("elementwise", False)

    def __init__(self, lr: float) -> None:
        self.lr = check_number("lr", lr, low=0, low_open=True)

    def init(self, parameters: Any) -> OptimizerState:
        """The state before the first update."""
        raise NotImplementedError

    def update(self, gradients: Any, state: OptimizerState, parameters: Any, lr: Any = None) -> Updated:
        """New parameters and state.

        Args:
            gradients: ∂C/∂w in the structure of the parameters.
            state: what `init` or the last `update` returned.
            parameters: w.
            lr: the learning rate of this step; the optimizer's own by default.
        """
        raise NotImplementedError

    def rates(self, state: OptimizerState, parameters: Any, lr: Any = None) -> Any:
        """How far a step moves each weight for each unit of a steady gradient, in the structure of the parameters.

        A proximal penalty shrinks by it, so that it weighs against the gradient as the objective says, whatever the
        optimizer makes of the gradient. For changing rates `tracked` must have prepared the state.

        Args:
            state: as the update has left it.
            parameters: w.
            lr: the learning rate of the step; the optimizer's own by default.
        """
        raise NotImplementedError

    def tracked(self, state: OptimizerState) -> OptimizerState:
        """The state with what `rates` has to know of the steps before, and `update` then keeps up."""
        return state

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value}' for key, value in vars(self).items())})"


def full_like(parameters: Any, value: float = 0.0) -> Any:
    """Constants of the shapes and precisions of the parameters."""

    def full(w: Any) -> Tensor:
        like = F.as_tensor(w)
        # One number, stretched: it takes no memory until the training has its copy.
        return constant(np.broadcast_to(np.asarray(value, like.dtype), like.shape))

    return tree.map(full, parameters)


def no_steps() -> Tensor:
    """A count of 0."""
    return constant(np.zeros((), np.int32))


def precision(parameters: Any) -> np.dtype[Any]:
    """The dtype of the leaves, taken to have one."""
    return F.as_tensor(tree.flatten(parameters)[0][0]).dtype


def step_rate(lr: Any, own: float, gradients: Any) -> Tensor:
    """The learning rate in the precision of the gradients."""
    return F.cast(F.as_tensor(own if lr is None else lr), precision(gradients))


def alike(*trees: Any) -> list[list[Tensor]]:
    """The leaves of each tree as tensors; refuses trees with different numbers of leaves."""
    columns = [[F.as_tensor(leaf) for leaf in tree.flatten(t)[0]] for t in trees]
    if len({len(column) for column in columns}) > 1:
        raise ArgumentError("the trees differ", where="update", expected="gradients and parameters of one structure")
    return columns


def each(rule: Callable[..., tuple[Tensor, ...]], *trees: Any) -> list[Any]:
    """A rule of several leaves with several results, applied to trees of one structure: as many trees of results."""
    structure = tree.flatten(trees[0])[1].plain()
    results = [rule(*row) for row in zip(*alike(*trees), strict=True)]
    return [tree.unflatten(structure, list(column)) for column in zip(*results, strict=True)]


def one_less_power(beta: float, step: Tensor) -> Tensor:
    """1 − βᵗ without the cancellation that 1 − 0.999¹ suffers in float32."""
    return -F.expm1(step * math.log(beta)) if beta else constant(1, step.dtype)


def check_betas(betas: Any) -> tuple[float, float]:
    """Two decay rates, each in [0, 1)."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ArgumentError("two numbers are needed", where="betas", expected="(β₁, β₂)", got=betas)
    first, second = (check_number(f"betas[{i}]", b, low=0, high=1, high_open=True) for i, b in enumerate(betas))
    return first, second
