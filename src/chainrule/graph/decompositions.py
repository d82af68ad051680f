"""Every fused operation expressed in elementary ones.

A fused operation has its own kernel and its own derivative rule, for speed and for numbers that do not overflow. Its
decomposition is the definition both are checked against: the rule must equal what reversal makes of the composition.
"""

from __future__ import annotations

import math
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


def _leaky_relu(x: Tensor, negative_slope: float) -> Tensor:
    return F.where(x < 0.0, x * negative_slope, x)


def _elu(x: Tensor, alpha: float) -> Tensor:
    return F.where(x < 0.0, (F.exp(F.minimum(x, 0.0)) - 1.0) * alpha, x)


def _gelu(x: Tensor) -> Tensor:
    return x * (F.erf(x / math.sqrt(2.0)) + 1.0) / 2.0


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    y = F.matmul(x, F.transpose(weight))
    return y if bias is None else y + bias


def _softmax(x: Tensor, axis: int) -> Tensor:
    e = F.exp(x - F.stop_gradient(F.max(x, axis, keepdims=True)))
    return e / F.sum(e, axis, keepdims=True)


def _log_softmax(x: Tensor, axis: int) -> Tensor:
    z = x - F.stop_gradient(F.max(x, axis, keepdims=True))
    return z - F.log(F.sum(F.exp(z), axis, keepdims=True))


def _cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float, ignore_index: int | None = None) -> Tensor:
    kept = True if ignore_index is None else F.not_equal(labels, ignore_index)
    target = F.one_hot(F.where(kept, labels, 0), logits.shape[-1], logits.dtype)
    target = target * (1.0 - label_smoothing) + label_smoothing / logits.shape[-1]
    return F.where(kept, -F.sum(target * _log_softmax(logits, logits.ndim - 1), -1), 0.0)


def _binary_cross_entropy(p: Tensor, t: Tensor) -> Tensor:
    return -(t * F.maximum(F.log(p), -100.0) + (1.0 - t) * F.maximum(F.log(1.0 - p), -100.0))


def _binary_cross_entropy_with_logits(x: Tensor, t: Tensor) -> Tensor:
    return _softplus(x) - t * x


def _huber(x: Tensor, t: Tensor, delta: float) -> Tensor:
    size = F.absolute(x - t)
    return F.where(size <= delta, F.square(x - t) * 0.5, (size - delta / 2.0) * delta)


def _std(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    return F.sqrt(F.var(x, axes, keepdims=True) + eps)


def _standardize(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    return (x - F.mean(x, axes, keepdims=True)) / _std(x, axes, eps)


def _batch_norm(x: Tensor, scale: Tensor, shift: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    return F.reshape(scale, kept) * _standardize(x, axes, eps) + F.reshape(shift, kept)


def _layer_norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    return scale * _standardize(x, (x.ndim - 1,), eps) + shift


DECOMPOSITIONS: dict[str, Callable[..., Any]] = {
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "linear": _linear,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy_with_logits,
    "squared_error": lambda x, t: F.square(x - t),
    "absolute_error": lambda x, t: F.absolute(x - t),
    "huber": _huber,
    "std": _std,
    "standardize": _standardize,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
}
