"""Layers: each a module around one operation or a few."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, check_number
from chainrule.graph import functions as F
from chainrule.graph import random
from chainrule.graph.tensor import Tensor, constant
from chainrule.nn import init as initial
from chainrule.nn.module import Module, Parameter


class Linear(Module):
    """Y = X·Wᵀ + b.

    Args:
        in_features: the width of X (…, in_features).
        out_features: the width of Y (…, out_features).
        bias: whether there is a bias b; it starts at 0.
        init: the name of a function of `nn.init` for W. PyTorch's own default is smaller by √6 and has random biases.

    Attributes:
        weight: (out_features, in_features) float32.
        bias: (out_features,) float32, or None.

    Raises:
        ArgumentError: a width below 1, an unknown initializer.
        ShapeError: when called with another width.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.Linear(3, 2)(cr.tensor([[1.0, 2.0, 3.0]])).shape
        (1, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, init: str = "kaiming_uniform") -> None:
        self.in_features = check_number("in_features", in_features, low=1, integer=True)
        self.out_features = check_number("out_features", out_features, low=1, integer=True)
        self.init = init
        self.weight = Parameter(initial.initializer(init)((out_features, in_features)))
        self.bias = Parameter(initial.zeros((out_features,))) if bias else None

    def forward(self, x: Any) -> Tensor:
        """X·Wᵀ + b."""
        return F.linear(x, self.weight, self.bias)

    def extra(self) -> str:
        """The widths."""
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


class Sequential(Module):
    """Modules one after another; its parts are named "0", "1", ….

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Sequential(cr.nn.Linear(4, 8), cr.nn.ReLU(), cr.nn.Linear(8, 3))
        >>> model(np.ones((5, 4))).shape, [name for name, _ in model.named_parameters()][0]
        ((5, 3), '0.weight')
    """

    def __init__(self, *layers: Module) -> None:
        for position, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise ArgumentError(
                    "not a module",
                    where=f"Sequential, position {position}",
                    got=type(layer).__name__,
                    hint="wrap a function in Lambda(f)",
                )
        self.layers = list(layers)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The layers by position."""
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def forward(self, x: Any) -> Any:
        """The last layer of … of the first."""
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, position: int) -> Module:
        return self.layers[position]


class Lambda(Module):
    """A function as a module.

    Example:
        >>> import chainrule as cr
        >>> Lambda(lambda x: x * 2)(cr.tensor([1.0])).tolist()
        [2.0]
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def forward(self, *args: Any) -> Any:
        """The function's result."""
        return self.function(*args)


class Identity(Module):
    """y = x."""

    def forward(self, x: Any) -> Tensor:
        """X as a tensor."""
        return F.as_tensor(x)


class Duplicate(Module):
    """Y₁ = … = Yₙ = X; the gradients of the branches are summed.

    Args:
        n: how many branches, at least 1.
    """

    def __init__(self, n: int) -> None:
        self.n = check_number("n", n, low=1, integer=True)

    def forward(self, x: Any) -> tuple[Tensor, ...]:
        """X, n times, each branch a node of its own."""
        return tuple(F.identity(x) for _ in range(self.n))


class Add(Module):
    """Y = X₁ + X₂; the gradient goes to both."""

    def forward(self, x: Any, y: Any) -> Tensor:
        """The sum."""
        return F.add(x, y)


class Max(Module):
    """Y = max(X₁, X₂); the gradient goes to X₁ where X₁ > X₂, else to X₂."""

    def forward(self, x: Any, y: Any) -> Tensor:
        """The larger one."""
        return F.maximum(x, y)


class Flatten(Module):
    """(N, …) → (N, product of the rest)."""

    def forward(self, x: Any) -> Tensor:
        """All axes but the first as one."""
        x = F.as_tensor(x)
        return F.reshape(x, (x.shape[0], int(np.prod(x.shape[1:]))))


class Dropout(Module):
    """In training each element is dropped with probability p and the others are divided by 1 − p; else y = x.

    Srivastava et al. (2014), in the inverted form that leaves inference alone.

    Args:
        p: in [0, 1]; 0 drops nothing, 1 everything (the output is 0 and nothing is learnt).

    Raises:
        ArgumentError: p outside [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = check_number("dropout p", p, low=0, high=1)

    def forward(self, x: Any) -> Tensor:
        """X with elements dropped."""
        x = F.as_tensor(x)
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return F.broadcast_to(constant(np.zeros((), x.dtype)), x.shape)
        return F.where(random.uniform(x.shape, dtype=x.dtype) >= self.p, x * (1.0 / (1.0 - self.p)), 0.0)

    def extra(self) -> str:
        """The rate."""
        return str(self.p)
