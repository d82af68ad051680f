"""Gradient descent, optionally with momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import tree
from chainrule.errors import ArgumentError, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor, constant
from chainrule.optim.optimizer import Optimizer, OptimizerState, Updated, each, full_like, precision, step_rate

__all__ = ["SGD"]


class SGD(Optimizer):
    """Gradient descent: v ← βv − ηg, w ← w + v; without momentum w ← w − ηg.

    The learning rate is inside the velocity (PyTorch keeps it outside: the same paths while η is constant). Nesterov's
    gradient at w + βv is evaluated in the usual form, at the parameters themselves: w ← w + βv − ηg with the new v;
    a change of variable makes the two equal (Bengio et al. 2013). Weight decay is the penalty `L2`: PyTorch's
    `weight_decay=λ` is `L2(λ/2)`.

    Args:
        lr: η > 0.
        momentum: β in [0, 1).
        nesterov: whether to look ahead; needs momentum above 0.

    Raises:
        ArgumentError: a number outside its range.

    Example:
        >>> import chainrule as cr
        >>> sgd = cr.optim.SGD(lr=0.1, momentum=0.9)
        >>> w, state = sgd.update({"w": [1.0]}, sgd.init({"w": [1.0]}), {"w": [1.0]})
        >>> w["w"].tolist(), state["velocity"]["w"].tolist()
        ([0.9], [-0.1])
    """

    elementwise = True

    def __init__(self, lr: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(lr)
        self.momentum = check_number("momentum", momentum, low=0, high=1, high_open=True)
        self.nesterov = bool(nesterov)
        if nesterov and momentum == 0:
            raise ArgumentError("Nesterov needs momentum", where="nesterov", expected="momentum above 0", got=momentum)

    def init(self, parameters: Any) -> OptimizerState:
        """Velocities of 0, or nothing."""
        return {"velocity": full_like(parameters)} if self.momentum else {}

    def tracked(self, state: OptimizerState) -> OptimizerState:
        """With momentum also the sum that the rates make in the velocity, R ← βR + η."""
        if not self.momentum or "rate" in state:
            return state
        return state | {"rate": constant(np.zeros((), precision(state["velocity"])))}

    def update(self, gradients: Any, state: OptimizerState, parameters: Any, lr: Any = None) -> Updated:
        """One step."""
        rate = step_rate(lr, self.lr, gradients)
        if not self.momentum:
            [parameters] = each(lambda w, g: (w - rate * g,), parameters, gradients)
            return Updated(parameters, {})

        def rule(w: Tensor, g: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            step = rate * g
            new = v * self.momentum - step
            return w + (new * self.momentum - step if self.nesterov else new), new

        parameters, velocity = each(rule, parameters, gradients, state["velocity"])
        kept = {"rate": F.as_tensor(state["rate"]) * self.momentum + rate} if "rate" in state else {}
        return Updated(parameters, {"velocity": velocity, **kept})

    def rates(self, state: OptimizerState, parameters: Any, lr: Any = None) -> Any:
        """η for every weight; with momentum R, which for a constant η becomes η/(1−β) (Nesterov: βR + η)."""
        rate = step_rate(lr, self.lr, parameters)
        if self.momentum:
            sums = F.as_tensor(state.get("rate", rate * (1.0 / (1.0 - self.momentum))))
            rate = sums * self.momentum + rate if self.nesterov else sums
        return tree.map(lambda w: F.broadcast_to(rate, F.as_tensor(w).shape), parameters)
