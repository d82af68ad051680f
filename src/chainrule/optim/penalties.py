"""Penalties on the weights, and clipping of the gradients.

A penalty is added to the objective. Its gradient joins that of the loss, or, where it has a kink that weights are to
rest in, it moves the weights itself after the optimizer's step. Parameters are seen by path, and biases are exempt
unless requested.
"""

from __future__ import annotations

import functools
from typing import Any

from chainrule.errors import check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor, constant

__all__ = ["L1", "L2", "Clip", "ClipNorm", "ClipValue", "Penalty"]

NamedTensors = dict[str, Tensor]


class Penalty:
    """Base class of the penalties.

    Args:
        alpha: the strength, at least 0.
        biases: whether biases are penalised too.

    Attributes:
        proximal: whether it acts by `after` and not by `gradient`.
        recorded: how many times the loss of a training, as it is written down and watched, includes it.
    """

    proximal = False
    recorded = 0.0

    def __init__(self, alpha: float, biases: bool = False) -> None:
        self.alpha = check_number(f"{type(self).__name__} alpha", alpha, low=0)
        self.biases = bool(biases)

    def applies(self, path: str) -> bool:
        """Whether the parameter of this path is penalised."""
        return self.biases or path.rsplit(".", 1)[-1] != "bias"

    def value(self, parameters: NamedTensors) -> Tensor:
        """What is added to the objective."""
        sums = [F.sum(self._size(w)) for path, w in parameters.items() if self.applies(path)]
        return functools.reduce(F.add, sums, constant(0, _dtype(parameters))) * self.alpha

    def _size(self, w: Tensor) -> Tensor:
        raise NotImplementedError

    def gradient(self, gradients: NamedTensors, parameters: NamedTensors) -> NamedTensors:
        """The gradients with the penalty's own added."""
        return gradients

    def after(self, parameters: NamedTensors, rates: NamedTensors) -> NamedTensors:
        """The weights after the optimizer's step, as the penalty leaves them; `rates` as `Optimizer.rates` has them."""
        return parameters

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.alpha}{', biases=True' if self.biases else ''})"


class L2(Penalty):
    """C + α·Σw²: adds 2αw to the gradient, so that plain gradient descent does w ← (1 − 2ηα)w − η ∂C/∂w.

    Example:
        >>> import chainrule as cr
        >>> g, w = cr.tensor([1.0]), cr.tensor([3.0])
        >>> g = L2(0.5).gradient({"w": g, "bias": g}, {"w": w, "bias": w})
        >>> g["w"].tolist(), g["bias"].tolist()
        ([4.0], [1.0])
    """

    def gradient(self, gradients: NamedTensors, parameters: NamedTensors) -> NamedTensors:
        """The gradients with 2αw added."""
        return {k: g + parameters[k] * (2.0 * self.alpha) if self.applies(k) else g for k, g in gradients.items()}

    def _size(self, w: Tensor) -> Tensor:
        return F.square(w)


class L1(Penalty):
    """C + α·Σ|w|, by a proximal step after the optimizer's: w ← sign(w)·max(|w| − ηα, 0).

    Adding α·sign(w) to the gradient instead would let weights jitter about 0; this sets them to exactly 0 (iterative
    soft-thresholding, Daubechies et al. 2004). η is the rate that the optimizer has for the weight, by its `rates`:
    η/(1−β) with momentum, η/(√ŝ + ε) with Adam (as Yun et al. 2021 have it). So a weight rests at 0 where |∂C/∂w| < α,
    whichever optimizer trains; with the schedule's rate alone, Adam's steps would hardly leave a weight there.

    Example:
        >>> import chainrule as cr
        >>> L1(1.0).after({"w": cr.tensor([0.05, -0.5])}, {"w": cr.tensor([0.1, 0.1])})["w"].tolist()
        [0.0, -0.4]
    """

    proximal = True

    def after(self, parameters: NamedTensors, rates: NamedTensors) -> NamedTensors:
        """The weights moved towards 0 by ηα, and not past it."""
        return {k: self._shrunk(w, rates[k]) if self.applies(k) else w for k, w in parameters.items()}

    def _shrunk(self, w: Tensor, rate: Tensor) -> Tensor:
        least = rate * self.alpha
        return F.maximum(w - least, 0.0) + F.minimum(w + least, 0.0)

    def _size(self, w: Tensor) -> Tensor:
        return F.absolute(w)


class Clip:
    """Base class of the clippings."""

    def __call__(self, gradients: NamedTensors) -> NamedTensors:
        """The gradients, clipped."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, vars(self).values()))})"


class ClipNorm(Clip):
    """All gradients scaled by min(1, c/‖g‖), ‖g‖ the norm of all of them together (Pascanu et al. 2013).

    Args:
        c: the largest norm, above 0.
    """

    def __init__(self, c: float) -> None:
        self.c = check_number("ClipNorm c", c, low=0, low_open=True)

    def __call__(self, gradients: NamedTensors) -> NamedTensors:
        """The gradients, scaled down where their norm is above c."""
        total = sum((F.sum(F.square(g)) for g in gradients.values()), start=F.as_tensor(0.0).astype(_dtype(gradients)))
        scale = self.c / F.maximum(F.sqrt(total), self.c)
        return {name: g * scale for name, g in gradients.items()}


class ClipValue(Clip):
    """Every element of the gradients held within [−c, c].

    Args:
        c: the largest absolute value, above 0.
    """

    def __init__(self, c: float) -> None:
        self.c = check_number("ClipValue c", c, low=0, low_open=True)

    def __call__(self, gradients: NamedTensors) -> NamedTensors:
        """The gradients, each element held."""
        return {name: F.clip(g, -self.c, self.c) for name, g in gradients.items()}


def _dtype(gradients: NamedTensors) -> Any:
    return next(iter(gradients.values())).dtype
