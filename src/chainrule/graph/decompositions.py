"""Every fused operation said again with elementary ones.

A fused operation has its own kernel and its own derivative rule, for speed and for numbers that do not overflow. Its
decomposition is the definition both are checked against: the rule must equal what reversal makes of the composition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor


def _sigmoid(x: Tensor) -> Tensor:
    return 1.0 / (1.0 + F.exp(-x))


def _softplus(x: Tensor) -> Tensor:
    return F.log(1.0 + F.exp(x))


def _relu(x: Tensor) -> Tensor:
    return F.where(x < 0.0, 0.0, x)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    y = F.matmul(x, F.transpose(weight))
    return y if bias is None else y + bias


def _softmax(x: Tensor, axis: int) -> Tensor:
    e = F.exp(x - F.stop_gradient(F.max(x, axis, keepdims=True)))
    return e / F.sum(e, axis, keepdims=True)


def _log_softmax(x: Tensor, axis: int) -> Tensor:
    z = x - F.stop_gradient(F.max(x, axis, keepdims=True))
    return z - F.log(F.sum(F.exp(z), axis, keepdims=True))


def _cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    target = F.one_hot(labels, logits.shape[-1], logits.dtype)
    target = target * (1.0 - label_smoothing) + label_smoothing / logits.shape[-1]
    return -F.sum(target * _log_softmax(logits, logits.ndim - 1), -1)


def _binary_cross_entropy(p: Tensor, t: Tensor) -> Tensor:
    return -(t * F.maximum(F.log(p), -100.0) + (1.0 - t) * F.maximum(F.log(1.0 - p), -100.0))


def _binary_cross_entropy_with_logits(x: Tensor, t: Tensor) -> Tensor:
    return _softplus(x) - t * x


DECOMPOSITIONS: dict[str, Callable[..., Any]] = {
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "relu": _relu,
    "silu": lambda x: x * _sigmoid(x),
    "linear": _linear,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy_with_logits,
    "squared_error": lambda x, t: F.square(x - t),
}
