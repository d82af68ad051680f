"""Adam and its relatives: a mean of the gradients over a measure of their size, both corrected for starting at 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.errors import check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor, constant
from chainrule.optim.optimizer import (
    Optimizer,
    OptimizerState,
    Updated,
    check_betas,
    each,
    full_like,
    no_steps,
    one_less_power,
    precision,
    step_rate,
)

__all__ = ["Adam", "AdamW", "Adamax", "Nadam"]


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015): steps of the gradient's mean over the root of its mean square.

    m ← β₁m + (1−β₁)g, s ← β₂s + (1−β₂)g², m̂ = m/(1−β₁ᵗ), ŝ = s/(1−β₂ᵗ), w ← w − η m̂/(√ŝ + ε). From s₀ = 0 and
    E[g²] = μ follows E[sₜ] = μ(1−β₂ᵗ): the correction divides by exactly that.

    Args:
        lr: η > 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε ≥ 0, outside the root as in PyTorch.

    Raises:
        ArgumentError: a number outside its range.

    Example:
        >>> import chainrule as cr
        >>> adam = cr.optim.Adam(lr=0.1)
        >>> w, state = adam.update([2.0, -3.0], adam.init([1.0, 1.0]), [1.0, 1.0])
        >>> [round(x, 6) for x in w.tolist()]
        [0.9, 1.1]
    """

    elementwise = True

    def __init__(self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(lr)
        self.betas = check_betas(betas)
        self.eps = check_number("eps", eps, low=0)

    def init(self, parameters: Any) -> OptimizerState:
        """Moments of 0 and a count of steps."""
        return {"step": no_steps(), "mean": full_like(parameters), "square": full_like(parameters)}

    def update(self, gradients: Any, state: OptimizerState, parameters: Any, lr: Any = None) -> Updated:
        """One step."""
        rate = step_rate(lr, self.lr, gradients)
        step = F.as_tensor(state["step"]) + np.int32(1)
        corrections = [one_less_power(beta, F.cast(step, rate.dtype)) for beta in self.betas]
        size, scale = rate / corrections[0], 1.0 / F.sqrt(corrections[1])
        first, second = self.betas

        def rule(w: Tensor, g: Tensor, m: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            m = m * first + g * (1.0 - first)
            s = s * second + F.square(g) * (1.0 - second)
            return self._decayed(w, rate) - size * m / (F.sqrt(s) * scale + self.eps), m, s

        parameters, mean, square = each(rule, parameters, gradients, state["mean"], state["square"])
        return Updated(parameters, {"step": step, "mean": mean, "square": square})

    def rates(self, state: OptimizerState, parameters: Any, lr: Any = None) -> Any:
        """η/(√ŝ + ε)."""
        return _rates(step_rate(lr, self.lr, parameters), self.betas[1], self.eps, state)

    def _decayed(self, w: Tensor, rate: Tensor) -> Tensor:
        return w


def _rates(rate: Tensor, beta: float, eps: float, state: OptimizerState) -> Any:
    scale = 1.0 / F.sqrt(one_less_power(beta, F.cast(state["step"], rate.dtype)))
    return tree.map(lambda s: rate / (F.sqrt(s) * scale + eps), state["square"])


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): w ← (1 − ηλ)w before Adam's step.

    As in PyTorch every parameter given decays, biases too, and by ηλ; the paper decays by λ times the schedule's factor
    alone. (`L2` is the other kind of decay: it adds to the gradient, so that Adam rescales it.)

    Args:
        lr: η > 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0.

    Raises:
        ArgumentError: a number outside its range.

    Example:
        >>> import chainrule as cr
        >>> adamw = cr.optim.AdamW(lr=0.1, weight_decay=0.5)
        >>> w, state = adamw.update([0.0], adamw.init([1.0]), [1.0])
        >>> w.tolist()
        [0.95]
    """

    elementwise = True

    def __init__(
        self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01
    ) -> None:
        super().__init__(lr, betas, eps)
        self.weight_decay = check_number("weight_decay", weight_decay, low=0)

    def _decayed(self, w: Tensor, rate: Tensor) -> Tensor:
        return w * (1.0 - rate * self.weight_decay)


class Adamax(Optimizer):
    """Adamax (Kingma & Ba 2015, section 7): Adam with the largest gradient instead of the mean square.

    m ← β₁m + (1−β₁)g, u ← max(β₂u, |g| + ε), w ← w − η/(1−β₁ᵗ)·m/u. u needs no correction. ε is inside the maximum as
    in PyTorch, so that u is never 0; the paper has none, Keras adds it to u.

    Args:
        lr: η > 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε > 0.

    Raises:
        ArgumentError: a number outside its range.

    Example:
        >>> import chainrule as cr
        >>> adamax = cr.optim.Adamax(lr=0.1, betas=(0.5, 0.5))
        >>> w, state = adamax.update([2.0], adamax.init([1.0]), [1.0])
        >>> w, state = adamax.update([0.0], state, w)
        >>> [round(x, 6) for x in w.tolist()], round(state["largest"].item(), 6)
        ([0.833333], 1.0)
    """

    elementwise = True

    def __init__(self, lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(lr)
        self.betas = check_betas(betas)
        self.eps = check_number("eps", eps, low=0, low_open=True)

    def init(self, parameters: Any) -> OptimizerState:
        """Means and largest gradients of 0, and a count of steps."""
        return {"step": no_steps(), "mean": full_like(parameters), "largest": full_like(parameters)}

    def update(self, gradients: Any, state: OptimizerState, parameters: Any, lr: Any = None) -> Updated:
        """One step."""
        rate = step_rate(lr, self.lr, gradients)
        step = F.as_tensor(state["step"]) + np.int32(1)
        first, second = self.betas
        size = rate / one_less_power(first, F.cast(step, rate.dtype))

        def rule(w: Tensor, g: Tensor, m: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            m = m * first + g * (1.0 - first)
            u = F.maximum(u * second, F.absolute(g) + self.eps)
            return w - size * m / u, m, u

        parameters, mean, largest = each(rule, parameters, gradients, state["mean"], state["largest"])
        return Updated(parameters, {"step": step, "mean": mean, "largest": largest})

    def rates(self, state: OptimizerState, parameters: Any, lr: Any = None) -> Any:
        """η/u."""
        rate = step_rate(lr, self.lr, parameters)
        return tree.map(lambda u: rate / F.as_tensor(u), state["largest"])


class Nadam(Optimizer):
    """Adam with Nesterov's look ahead (Dozat 2016), the momentum rising from β₁/2 to β₁.

    μₜ = β₁(1 − 0.96^(tψ)/2), Πₜ = μ₁…μₜ, m and ŝ as in `Adam`,
    w ← w − η/(√ŝ + ε)·[(1−μₜ)g/(1−Πₜ) + μₜ₊₁m/(1−Πₜ₊₁)].
    ψ is 0.004 as in the paper and PyTorch; Keras has ψ = 1, so that its momentum is all but β₁ after some 80 steps,
    here after some 20,000.

    Args:
        lr: η > 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε ≥ 0.
        momentum_decay: ψ ≥ 0.

    Raises:
        ArgumentError: a number outside its range.

    Example:
        >>> import chainrule as cr
        >>> nadam = cr.optim.Nadam(lr=0.1, betas=(0.0, 0.9), eps=0.0)
        >>> w, state = nadam.update([2.0, -3.0], nadam.init([1.0, 1.0]), [1.0, 1.0])
        >>> [round(x, 6) for x in w.tolist()]
        [0.9, 1.1]
    """

    elementwise = True

    def __init__(
        self,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        momentum_decay: float = 4e-3,
    ) -> None:
        super().__init__(lr)
        self.betas = check_betas(betas)
        self.eps = check_number("eps", eps, low=0)
        self.momentum_decay = check_number("momentum_decay", momentum_decay, low=0)

    def init(self, parameters: Any) -> OptimizerState:
        """Moments of 0, a count of steps, and Π = 1 in the precision of the parameters."""
        one = constant(np.ones((), precision(parameters)))
        return {"step": no_steps(), "product": one, "mean": full_like(parameters), "square": full_like(parameters)}

    def update(self, gradients: Any, state: OptimizerState, parameters: Any, lr: Any = None) -> Updated:
        """One step."""
        rate = step_rate(lr, self.lr, gradients)
        step = F.as_tensor(state["step"]) + np.int32(1)
        count = F.cast(step, rate.dtype)
        first, second = self.betas
        now, ahead = self._momentum(count), self._momentum(count + 1.0)
        product = F.as_tensor(state["product"]) * now
        of_gradient, of_mean = rate * (1.0 - now) / (1.0 - product), rate * ahead / (1.0 - product * ahead)
        scale = 1.0 / F.sqrt(one_less_power(second, count))

        def rule(w: Tensor, g: Tensor, m: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            m = m * first + g * (1.0 - first)
            s = s * second + F.square(g) * (1.0 - second)
            return w - (of_gradient * g + of_mean * m) / (F.sqrt(s) * scale + self.eps), m, s

        parameters, mean, square = each(rule, parameters, gradients, state["mean"], state["square"])
        return Updated(parameters, {"step": step, "product": product, "mean": mean, "square": square})

    def rates(self, state: OptimizerState, parameters: Any, lr: Any = None) -> Any:
        """η/(√ŝ + ε)."""
        return _rates(step_rate(lr, self.lr, parameters), self.betas[1], self.eps, state)

    def _momentum(self, step: Tensor) -> Tensor:
        return (1.0 - 0.5 * F.exp(step * (self.momentum_decay * math.log(0.96)))) * self.betas[0]
