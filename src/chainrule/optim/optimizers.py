"""Optimizers: pure pairs `init(parameters) → state` and `update(gradients, state, parameters, lr) → parameters, state`.

Parameters, gradients and states are trees of arrays or tensors. Everything is said with graph operations, so that an
update is part of the training step's graph. All of these work element by element, so they may be given all parameters
packed in one vector.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.errors import ArgumentError, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor, constant

State = dict[str, Any]


class Updated(NamedTuple):
    """What an update gives."""

    parameters: Any
    state: State


class Optimizer:
    """What the optimizers have in common.

    Args:
        lr: the learning rate η, above 0.
    """

    def __init__(self, lr: float) -> None:
        self.lr = check_number("lr", lr, low=0, low_open=True)

    def init(self, parameters: Any) -> State:
        """The state before the first update."""
        raise NotImplementedError

    def update(self, gradients: Any, state: State, parameters: Any, lr: Any = None) -> Updated:
        """New parameters and state.

        Args:
            gradients: ∂C/∂w in the structure of the parameters.
            state: what `init` or the last `update` gave.
            parameters: w.
            lr: the learning rate of this step; the optimizer's own by default.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value}' for key, value in vars(self).items())})"


def _zeros(parameters: Any) -> Any:
    def zeros(w: Any) -> Tensor:
        like = F.as_tensor(w)
        return constant(np.zeros(like.shape, like.dtype))

    return tree.map(zeros, parameters)


def _rate(lr: Any, own: float, gradients: Any) -> Tensor:
    """The learning rate in the precision of the gradients."""
    dtype = F.as_tensor(tree.flatten(gradients)[0][0]).dtype
    return F.cast(F.as_tensor(own if lr is None else lr), dtype)


def _unzip(rows: list[tuple[Any, ...]], structure: tree.Structure) -> list[Any]:
    return [tree.unflatten(structure, list(column)) for column in zip(*rows, strict=True)]


def _leaves(*trees: Any) -> tuple[list[tuple[Tensor, ...]], tree.Structure]:
    structure = tree.flatten(trees[0])[1].plain()
    columns = [[F.as_tensor(leaf) for leaf in tree.flatten(t)[0]] for t in trees]
    if len({len(column) for column in columns}) > 1:
        raise ArgumentError("the trees differ", where="update", expected="gradients and parameters of one structure")
    return list(zip(*columns, strict=True)), structure


class SGD(Optimizer):
    """Gradient descent: v ← βv − ηg, w ← w + v; without momentum w ← w − ηg.

    The learning rate is inside the velocity (PyTorch keeps it outside: the same paths while η is constant). Nesterov's
    gradient at w + βv is evaluated in the usual form, at the parameters themselves: w ← w + βv − ηg with the new v;
    a change of variable makes the two equal (Bengio et al. 2013).

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

    def __init__(self, lr: float, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(lr)
        self.momentum = check_number("momentum", momentum, low=0, high=1, high_open=True)
        self.nesterov = bool(nesterov)
        if nesterov and momentum == 0:
            raise ArgumentError("Nesterov needs momentum", where="nesterov", expected="momentum above 0", got=momentum)

    def init(self, parameters: Any) -> State:
        """Velocities of 0, or nothing."""
        return {"velocity": _zeros(parameters)} if self.momentum else {}

    def update(self, gradients: Any, state: State, parameters: Any, lr: Any = None) -> Updated:
        """One step."""
        rate = _rate(lr, self.lr, gradients)
        if not self.momentum:
            rows, structure = _leaves(parameters, gradients)
            return Updated(tree.unflatten(structure, [w - rate * g for w, g in rows]), {})
        rows, structure = _leaves(parameters, gradients, state["velocity"])
        return Updated(*self._moved(rows, structure, rate))

    def _moved(self, rows: Any, structure: tree.Structure, rate: Tensor) -> tuple[Any, State]:
        moved = []
        for w, g, v in rows:
            step = rate * g
            new = v * self.momentum - step
            moved.append((w + (new * self.momentum - step if self.nesterov else new), new))
        parameters, velocity = _unzip(moved, structure)
        return parameters, {"velocity": velocity}


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015): steps of the gradient's mean over the root of its mean square.

    m ← β₁m + (1−β₁)g, s ← β₂s + (1−β₂)g², m̂ = m/(1−β₁ᵗ), ŝ = s/(1−β₂ᵗ), w ← w − η m̂/(√ŝ + ε). From s₀ = 0 and
    E[g²] = μ follows E[sₜ] = μ(1−β₂ᵗ): the correction divides by exactly that.

    Args:
        lr: η > 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε ≥ 0, outside the root as in PyTorch.

    Example:
        >>> import chainrule as cr
        >>> adam = cr.optim.Adam(lr=0.1)
        >>> w, state = adam.update([2.0, -3.0], adam.init([1.0, 1.0]), [1.0, 1.0])
        >>> [round(x, 6) for x in w.tolist()]
        [0.9, 1.1]
    """

    def __init__(self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(lr)
        if len(betas) != 2:
            raise ArgumentError("two numbers are needed", where="betas", expected="(β₁, β₂)", got=betas)
        first, second = (check_number(f"betas[{i}]", b, low=0, high=1, high_open=True) for i, b in enumerate(betas))
        self.betas = (first, second)
        self.eps = check_number("eps", eps, low=0)

    def init(self, parameters: Any) -> State:
        """Moments of 0 and a count of steps."""
        return {"step": constant(np.zeros((), np.int32)), "mean": _zeros(parameters), "square": _zeros(parameters)}

    def update(self, gradients: Any, state: State, parameters: Any, lr: Any = None) -> Updated:
        """One step."""
        rate = _rate(lr, self.lr, gradients)
        step = F.as_tensor(state["step"]) + np.int32(1)
        corrections = [_one_less_power(beta, F.cast(step, rate.dtype)) for beta in self.betas]
        size, scale = rate / corrections[0], 1.0 / F.sqrt(corrections[1])
        rows, structure = _leaves(parameters, gradients, state["mean"], state["square"])
        moved = [self._moved(w, g, m, s, rate, size, scale) for w, g, m, s in rows]
        parameters, mean, square = _unzip(moved, structure)
        return Updated(parameters, {"step": step, "mean": mean, "square": square})

    def _moved(
        self, w: Tensor, g: Tensor, m: Tensor, s: Tensor, rate: Tensor, size: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        first, second = self.betas
        m = m * first + g * (1.0 - first)
        s = s * second + F.square(g) * (1.0 - second)
        return self._decayed(w, rate) - size * m / (F.sqrt(s) * scale + self.eps), m, s

    def _decayed(self, w: Tensor, rate: Tensor) -> Tensor:
        return w


def _one_less_power(beta: float, step: Tensor) -> Tensor:
    """1 − βᵗ without the cancellation that 1 − 0.999¹ suffers in float32."""
    return -F.expm1(step * math.log(beta)) if beta else F.as_tensor(np.ones((), step.dtype))


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): w ← (1 − ηλ)w before Adam's step.

    As in PyTorch every parameter given decays, biases too. (`L2` is the other kind of decay: it adds to the gradient,
    so that Adam rescales it.)

    Args:
        lr: η > 0.
        betas: (β₁, β₂), each in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0.
    """

    def __init__(
        self, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.01
    ) -> None:
        super().__init__(lr, betas, eps)
        self.weight_decay = check_number("weight_decay", weight_decay, low=0)

    def _decayed(self, w: Tensor, rate: Tensor) -> Tensor:
        return w * (1.0 - rate * self.weight_decay)
