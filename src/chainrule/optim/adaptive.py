"""Optimizers that give every weight its own rate, by the size of its gradients so far."""

from __future__ import annotations

from typing import Any

from chainrule import tree
from chainrule.errors import check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.optim.optimizer import Optimizer, OptimizerState, Updated, each, full_like, step_rate

__all__ = ["AdaGrad", "Adadelta", "RMSProp"]


class AdaGrad(Optimizer):
    """AdaGrad (Duchi et al. 2011): r ← r + g², w ← w − η g/(√r + δ).

    r only grows, so the rate of each weight η/(√r + δ) only shrinks: like η/(|g|√t) where the gradient keeps its size.
    As in PyTorch δ is outside the root (Keras has it inside, and starts r at 0.1); PyTorch's further `lr_decay` is a
    schedule here.

    Args:
        lr: η > 0.
        eps: δ ≥ 0.
        initial_accumulator_value: r before the first step, at least 0.

    Raises:
        ArgumentError: a number outside its range.

    Example:
        >>> import chainrule as cr
        >>> adagrad = cr.optim.AdaGrad(lr=1.0, eps=0.0)
        >>> w, state = adagrad.update([3.0], adagrad.init([0.0]), [0.0])
        >>> w, state = adagrad.update([4.0], state, w)
        >>> w.tolist(), state["square"].tolist()
        ([-1.8], [25.0])
    """

    elementwise = True

    def __init__(self, lr: float = 0.01, eps: float = 1e-10, initial_accumulator_value: float = 0.0) -> None:
        super().__init__(lr)
        self.eps = check_number("eps", eps, low=0)
        self.initial_accumulator_value = check_number("initial_accumulator_value", initial_accumulator_value, low=0)

    def init(self, parameters: Any) -> OptimizerState:
        """The sums of squares to begin with."""
        return {"square": full_like(parameters, self.initial_accumulator_value)}

    def update(self, gradients: Any, state: OptimizerState, parameters: Any, lr: Any = None) -> Updated:
        """One step."""
        rate = step_rate(lr, self.lr, gradients)

        def rule(w: Tensor, g: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
            r = r + F.square(g)
            return w - rate * g / (F.sqrt(r) + self.eps), r

        parameters, square = each(rule, parameters, gradients, state["square"])
        return Updated(parameters, {"square": square})

    def rates(self, state: OptimizerState, parameters: Any, lr: Any = None) -> Any:
        """η/(√r + δ)."""
        rate = step_rate(lr, self.lr, parameters)
        return tree.map(lambda r: rate / (F.sqrt(r) + self.eps), state["square"])


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012): r ← ρr + (1−ρ)g², w ← w − η g/(√r + δ).

    With momentum v ← βv + g/(√r + δ), w ← w − ηv, the rate outside the velocity as in PyTorch (Keras, and `SGD` here,
    have it inside: the same paths while η is constant). Centred (Graves 2013), the mean m ← ρm + (1−ρ)g is subtracted:
    √(r − m²) in place of √r; a gradient that hardly changes then makes for very large steps, unless δ bounds them. As
    in PyTorch δ is outside the root (Keras has it inside); PyTorch calls ρ `alpha` and has it at 0.99.

    Args:
        lr: η > 0.
        rho: ρ in [0, 1).
        eps: δ ≥ 0.
        momentum: β in [0, 1).
        centered: whether to divide by the deviation about the mean.

    Raises:
        ArgumentError: a number outside its range.

    Example:
        >>> import chainrule as cr
        >>> rmsprop = cr.optim.RMSProp(lr=0.1, rho=0.75, eps=0.0)
        >>> w, state = rmsprop.update([2.0, -30.0], rmsprop.init([0.0, 0.0]), [0.0, 0.0])
        >>> w.tolist(), state["square"].tolist()
        ([-0.2, 0.2], [1.0, 225.0])
    """

    elementwise = True

    def __init__(
        self, lr: float = 0.01, rho: float = 0.9, eps: float = 1e-8, momentum: float = 0.0, centered: bool = False
    ) -> None:
        super().__init__(lr)
        self.rho = check_number("rho", rho, low=0, high=1, high_open=True)
        self.eps = check_number("eps", eps, low=0)
        self.momentum = check_number("momentum", momentum, low=0, high=1, high_open=True)
        self.centered = bool(centered)

    def init(self, parameters: Any) -> OptimizerState:
        """Mean squares of 0; means and velocities of 0 where they are used."""
        used = {"square": True, "mean": self.centered, "velocity": self.momentum}
        return {name: full_like(parameters) for name, wanted in used.items() if wanted}

    def update(self, gradients: Any, state: OptimizerState, parameters: Any, lr: Any = None) -> Updated:
        """One step."""
        rate = step_rate(lr, self.lr, gradients)

        def rule(w: Tensor, g: Tensor, *slots: Tensor) -> tuple[Tensor, ...]:
            old = dict(zip(state, slots, strict=True))
            new = {"square": old["square"] * self.rho + F.square(g) * (1.0 - self.rho)}
            around = new["square"]
            if self.centered:
                new["mean"] = old["mean"] * self.rho + g * (1.0 - self.rho)
                around = _variance(around, new["mean"])
            step = g / (F.sqrt(around) + self.eps)
            if self.momentum:
                step = new["velocity"] = old["velocity"] * self.momentum + step
            return w - rate * step, *new.values()

        parameters, *slots = each(rule, parameters, gradients, *state.values())
        return Updated(parameters, dict(zip(state, slots, strict=True)))

    def rates(self, state: OptimizerState, parameters: Any, lr: Any = None) -> Any:
        """η/(√r + δ), and over 1−β with momentum."""
        rate = step_rate(lr, self.lr, parameters) * (1.0 / (1.0 - self.momentum))
        around = tree.map(_variance, state["square"], state["mean"]) if self.centered else state["square"]
        return tree.map(lambda r: rate / (F.sqrt(r) + self.eps), around)


def _variance(square: Any, mean: Any) -> Tensor:
    # Rounding may leave the variance of a steady gradient a little below 0.
    return F.maximum(square - F.square(mean), 0.0)


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012): r ← ρr + (1−ρ)g², Δ = √(u + ε)/√(r + ε)·g, u ← ρu + (1−ρ)Δ², w ← w − ηΔ.

    The root of the mean square of its own steps stands where others have a rate, so that Δ has the unit of w. The paper
    has no η, which is 1 here and in PyTorch (0.001 in Keras). It starts slowly: the first steps are about √ε long.

    Args:
        lr: η > 0.
        rho: ρ in [0, 1).
        eps: ε > 0, inside the roots; with 0 it would never start.

    Raises:
        ArgumentError: a number outside its range.

    Example:
        >>> import chainrule as cr
        >>> adadelta = cr.optim.Adadelta(rho=0.0, eps=1.0)
        >>> w, state = adadelta.update([0.75], adadelta.init([2.0]), [2.0])
        >>> [round(x, 6) for x in w.tolist()], [round(x, 6) for x in state["steps"].tolist()]
        ([1.4], [0.36])
    """

    elementwise = True

    def __init__(self, lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6) -> None:
        super().__init__(lr)
        self.rho = check_number("rho", rho, low=0, high=1, high_open=True)
        self.eps = check_number("eps", eps, low=0, low_open=True)

    def init(self, parameters: Any) -> OptimizerState:
        """Mean squares of 0, of the gradients and of the steps."""
        return {"square": full_like(parameters), "steps": full_like(parameters)}

    def update(self, gradients: Any, state: OptimizerState, parameters: Any, lr: Any = None) -> Updated:
        """One step."""
        rate = step_rate(lr, self.lr, gradients)

        def rule(w: Tensor, g: Tensor, r: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            r = r * self.rho + F.square(g) * (1.0 - self.rho)
            step = F.sqrt(u + self.eps) / F.sqrt(r + self.eps) * g
            return w - rate * step, r, u * self.rho + F.square(step) * (1.0 - self.rho)

        parameters, square, steps = each(rule, parameters, gradients, state["square"], state["steps"])
        return Updated(parameters, {"square": square, "steps": steps})

    def rates(self, state: OptimizerState, parameters: Any, lr: Any = None) -> Any:
        """η·√(u + ε)/√(r + ε)."""
        rate = step_rate(lr, self.lr, parameters)
        return tree.map(
            lambda r, u: rate * F.sqrt(u + self.eps) / F.sqrt(r + self.eps), state["square"], state["steps"]
        )
