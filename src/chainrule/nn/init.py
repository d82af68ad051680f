"""Initial weights: each function returns an array of a shape (out, in); fan_in is `in`, fan_out is `out`.

Sources: He et al. (2015), "Delving deep into rectifiers" (Kaiming); Glorot & Bengio (2010), "Understanding the
difficulty of training deep feedforward neural networks" (Xavier); LeCun et al. (1998), "Efficient BackProp"; Saxe et
al. (2014), "Exact solutions to the nonlinear dynamics of learning" (orthogonal). All these keep the variance of a
layer's output near that of its input: Var(w) = gain²/fan_in, or gain²·2/(fan_in + fan_out).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.errors import check_choice
from chainrule.graph.random import generator

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def _fans(shape: Shape) -> tuple[int, int]:
    inner = math.prod(shape[2:])
    return (shape[1] if len(shape) > 1 else shape[0]) * inner, shape[0] * inner


def uniform(shape: Shape, bound: float = 0.05, dtype: Any = np.float32) -> Array:
    """W ~ U(−bound, bound); the default bound is that of Keras, whatever the layer's width."""
    w = _drawn(generator().random, shape, dtype)
    w *= 2.0 * bound
    w -= bound
    return w


def normal(shape: Shape, std: float = 0.05, dtype: Any = np.float32) -> Array:
    """W ~ N(0, std²); the default deviation is that of Keras, whatever the layer's width."""
    w = _drawn(generator().standard_normal, shape, dtype)
    w *= std
    return w


def _drawn(draw: Callable[..., Array], shape: Shape, dtype: Any) -> Array:
    """Numbers drawn in the precision they are kept in, where the generator has it: a large layer is not held twice."""
    precision = np.dtype(dtype) if np.dtype(dtype) in (np.float32, np.float64) else np.dtype(np.float64)
    return draw(shape, dtype=precision).astype(dtype, copy=False)


def constant(shape: Shape, value: float = 0.0, dtype: Any = np.float32) -> Array:
    """W = value."""
    return np.full(shape, value, dtype)


def zeros(shape: Shape, dtype: Any = np.float32) -> Array:
    """W = 0."""
    return np.zeros(shape, dtype)


def kaiming_uniform(shape: Shape, gain: float = math.sqrt(2.0), dtype: Any = np.float32) -> Array:
    """W ~ U(−b, b) with b = gain·√(3/fan_in): for ReLU, whose gain is √2.

    Example:
        >>> float(abs(kaiming_uniform((100, 6))).max()) <= 1.0
        True
    """
    return uniform(shape, gain * math.sqrt(3.0 / _fans(shape)[0]), dtype)


def kaiming_normal(shape: Shape, gain: float = math.sqrt(2.0), dtype: Any = np.float32) -> Array:
    """W ~ N(0, gain²/fan_in): for ReLU, whose gain is √2."""
    return normal(shape, gain / math.sqrt(_fans(shape)[0]), dtype)


def xavier_uniform(shape: Shape, gain: float = 1.0, dtype: Any = np.float32) -> Array:
    """W ~ U(−b, b) with b = gain·√(6/(fan_in + fan_out)): for tanh and sigmoid layers."""
    return uniform(shape, gain * math.sqrt(6.0 / sum(_fans(shape))), dtype)


def xavier_normal(shape: Shape, gain: float = 1.0, dtype: Any = np.float32) -> Array:
    """W ~ N(0, gain²·2/(fan_in + fan_out)): for tanh and sigmoid layers."""
    return normal(shape, gain * math.sqrt(2.0 / sum(_fans(shape))), dtype)


def lecun_normal(shape: Shape, gain: float = 1.0, dtype: Any = np.float32) -> Array:
    """W ~ N(0, gain²/fan_in): keeps the variance of a linear layer's output; for SELU. Keras truncates the tails."""
    return normal(shape, gain / math.sqrt(_fans(shape)[0]), dtype)


def orthogonal(shape: Shape, gain: float = 1.0, dtype: Any = np.float32) -> Array:
    """W = gain·Q with orthonormal rows (or columns, where there are fewer of them), uniform among all such.

    Q is that of the QR decomposition of normal numbers, its columns turned so that R's diagonal is positive: without
    that it would not be uniform (Mezzadri 2007). More than two axes count as (out, product of the rest).

    Example:
        >>> W = orthogonal((3, 5), dtype=np.float64)
        >>> bool(np.allclose(W @ W.T, np.eye(3)))
        True
    """
    out, rest = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(generator().standard_normal((max(out, rest), min(out, rest))))
    q *= np.where(np.diagonal(r) < 0, -gain, gain)
    return np.reshape(q if out >= rest else q.T, shape).astype(dtype)


INITIALIZERS: dict[str, Callable[..., Array]] = {
    "kaiming_uniform": kaiming_uniform,
    "kaiming_normal": kaiming_normal,
    "xavier_uniform": xavier_uniform,
    "xavier_normal": xavier_normal,
    "lecun_normal": lecun_normal,
    "orthogonal": orthogonal,
    "uniform": uniform,
    "normal": normal,
    "constant": constant,
    "zeros": zeros,
}


def initializer(name: str) -> Callable[..., Array]:
    """The initializer of this name.

    Raises:
        ArgumentError: there is no such initializer; the message lists them, nearest first.
    """
    return INITIALIZERS[check_choice("init", name, INITIALIZERS)]
