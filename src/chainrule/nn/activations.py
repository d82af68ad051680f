"""Activations: modules around one elementwise operation, and the soft maxima.

None gives NaN or infinity for a finite input of a size up to 1e30, nor does its gradient.
"""

from __future__ import annotations

from typing import Any

from chainrule.errors import check_choice, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.nn.module import Module


class ReLU(Module):
    """y = (x)⁺; its gradient is 0 where x < 0 and passes otherwise, at exactly 0 too (PyTorch stops it there)."""

    def forward(self, x: Any) -> Tensor:
        """The positive part."""
        return F.relu(x)


class Tanh(Module):
    """y = tanh x; y′ = 1 − y²."""

    def forward(self, x: Any) -> Tensor:
        """The hyperbolic tangent."""
        return F.tanh(x)


class Sigmoid(Module):
    """y = σ(x) = 1/(1 + e⁻ˣ); y′ = y(1 − y) = σ(x)·σ(−x)."""

    def forward(self, x: Any) -> Tensor:
        """The logistic function."""
        return F.sigmoid(x)


class LogSigmoid(Module):
    """y = ln σ(x), exact in both tails; y′ = σ(−x)."""

    def forward(self, x: Any) -> Tensor:
        """The logarithm of the logistic function."""
        return F.logsigmoid(x)


class SiLU(Module):
    """y = x·σ(x); y′ = σ(x) + y·σ(−x). Elfwing et al. (2018); also known as swish."""

    def forward(self, x: Any) -> Tensor:
        """X weighted by its own sigmoid."""
        return F.silu(x)


class LeakyReLU(Module):
    """y = x where x ≥ 0, else s·x; y′ = 1 or s, and at exactly 0 it is 1 (PyTorch has s there). Maas et al. (2013).

    A unit that is below 0 still passes a gradient, so that it does not die as one of ReLU may.

    Args:
        negative_slope: s, at least 0; at 0 it is ReLU.

    Raises:
        ArgumentError: s below 0.

    Example:
        >>> LeakyReLU(0.1)([-2.0, 3.0]).tolist()
        [-0.2, 3.0]
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = check_number("negative_slope", negative_slope, low=0)

    def forward(self, x: Any) -> Tensor:
        """X, its negative part flattened."""
        return F.leaky_relu(x, self.negative_slope)

    def extra(self) -> str:
        """The slope."""
        return str(self.negative_slope)


class ELU(Module):
    """y = x where x ≥ 0, else α·(eˣ − 1); y′ = 1, or α·eˣ = y + α. Clevert et al. (2016).

    At exactly 0 the slope is 1, also where α is another number (PyTorch has α there).

    Args:
        alpha: α, at least 0: −α is what large negative inputs give.

    Raises:
        ArgumentError: α below 0.

    Example:
        >>> ELU()([-1e30, 0.0, 2.0]).tolist()
        [-1.0, 0.0, 2.0]
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check_number("ELU alpha", alpha, low=0)

    def forward(self, x: Any) -> Tensor:
        """X, its negative part bent towards −α."""
        return F.elu(x, self.alpha)

    def extra(self) -> str:
        """The depth, where it is not 1."""
        return "" if self.alpha == 1 else str(self.alpha)


class SELU(Module):
    """y = λ·ELU(x, α), α = 1.6732632423543772, λ = 1.0507009873554805. Klambauer et al. (2017).

    With weights of `init="lecun_normal"` these two constants hold the mean of a layer's outputs near 0 and their
    variance near 1, without a normalisation layer.
    """

    def forward(self, x: Any) -> Tensor:
        """The scaled ELU."""
        return F.selu(x)


class GELU(Module):
    """y = x·Φ(x) with Φ(x) = (1 + erf(x/√2))/2; y′ = Φ + x·e^(−x²/2)/√(2π). Hendrycks & Gimpel (2016).

    Args:
        approximate: "none" (exact, PyTorch's default) or "tanh": x·σ(2√(2/π)·(x + 0.044715·x³)), as GPT-2 has it.

    Raises:
        ArgumentError: neither of these.

    Example:
        >>> GELU()([-10.0, 0.0, 1.0]).numpy().round(4).tolist()
        [-0.0, 0.0, 0.8413]
    """

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = check_choice("approximate", approximate, ("none", "tanh"))

    def forward(self, x: Any) -> Tensor:
        """X weighted by the share of a normal distribution below it."""
        return F.gelu(x, self.approximate)

    def extra(self) -> str:
        """The approximation, where there is one."""
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"


class Softplus(Module):
    """y = ln(1 + e^(βx))/β, a smooth ReLU; y′ = σ(βx).

    PyTorch's `threshold`, beyond which it takes y = x, is not needed: this form does not overflow.

    Args:
        beta: β, above 0; the larger, the nearer to ReLU.

    Raises:
        ArgumentError: β not above 0.
    """

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = check_number("beta", beta, low=0, low_open=True)

    def forward(self, x: Any) -> Tensor:
        """The smoothed positive part."""
        x = F.as_tensor(x)
        return F.softplus(x) if self.beta == 1 else F.softplus(x * self.beta) * (1.0 / self.beta)

    def extra(self) -> str:
        """The sharpness, where it is not 1."""
        return "" if self.beta == 1 else str(self.beta)


class Softmax(Module):
    """yᵢ = exp(xᵢ)/Σ exp(xⱼ) along `axis`. For training use LogSoftmax or logits: this one saturates."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        """Probabilities."""
        return F.softmax(x, self.axis)


class LogSoftmax(Module):
    """yᵢ = xᵢ − log Σ exp(xⱼ) along `axis`."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Any) -> Tensor:
        """Logarithms of probabilities."""
        return F.log_softmax(x, self.axis)
