"""Functions of the fused operations: activations with settings, soft maxima, normalisation, losses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, check_choice, check_number
from chainrule.graph import fused_ops  # noqa: F401  # their rows are entered by importing them
from chainrule.graph.arguments import check_flag, whole
from chainrule.graph.elementwise import as_tensor, cast, clip, common, equal, multiply, sigmoid, stretched, within
from chainrule.graph.mode import mode
from chainrule.graph.ops import float_dtype
from chainrule.graph.shaping import Axis, all_axes, expand_dims, one_axis, reshape
from chainrule.graph.tensor import Tensor, apply, constant

EPS = 1e-5
"""What normalisation adds to a variance, so that a constant feature is divided by √ε and not by 0."""


def _real(x: Any) -> Tensor:
    x = as_tensor(x)
    return cast(x, float_dtype(x.dtype))


# ---- activations with settings


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """`x` where x ≥ 0, else s·x; at exactly 0 the gradient passes whole, as in `relu`."""
    return apply("leaky_relu", _real(x), negative_slope=float(check_number("negative_slope", negative_slope, low=0)))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """`x` where x ≥ 0, else α·(eˣ − 1); the slope at exactly 0 is 1."""
    return apply("elu", _real(x), alpha=float(check_number("elu alpha", alpha, low=0)))


def selu(x: Any) -> Tensor:
    """λ·elu(x, α) with the two constants that keep mean 0 and variance 1 (Klambauer et al. 2017)."""
    return multiply(elu(x, 1.6732632423543772848170429916717), 1.0507009873554804934193349852946)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x·Φ(x) with the normal distribution's Φ; `approximate="tanh"` is x·σ(2√(2/π)·(x + 0.044715·x³))."""
    x = _real(x)
    if check_choice("approximate", approximate, ("none", "tanh")) == "none":
        return apply("gelu", x)
    # Beyond 10 the sigmoid is 0 or 1 to the last digit; held there, the cube cannot overflow.
    held = clip(x, -10.0, 10.0)
    return x * sigmoid((held + held * held * held * 0.044715) * (2.0 * math.sqrt(2.0 / math.pi)))


# ---- products


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """Y = X·Wᵀ + b with X (…, in), W (out, in), b (out,)."""
    operands = common(as_tensor(x), as_tensor(weight), *(() if bias is None else (as_tensor(bias),)))
    return apply("linear", *operands)


# ---- normalisation


def std(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """The standard deviation √(Σ (x − μ)²/(n − ddof)) over all axes or those named; never overflows.

    Where all elements are equal, a single one among them, it is 0, and so are its gradient and its second derivative.
    Where n ≤ ddof it is ∞, or NaN where all elements are equal.
    """
    x, keepdims, ddof = as_tensor(x), check_flag(keepdims, "keepdims"), check_number("ddof", ddof)
    x = cast(x, x.dtype if x.dtype.kind == "f" else np.float64)
    axes = all_axes(axis, x.ndim)
    count = math.prod(x.shape[a] for a in axes)
    if count > 0:
        y = apply("std", x, axes=axes, eps=0.0)
    else:
        y = apply("sum", x, axes=axes, keepdims=True)
    if ddof or not count:
        y = multiply(y, math.sqrt(count / (count - ddof)) if count > ddof else math.inf)
    return y if keepdims else reshape(y, [n for i, n in enumerate(x.shape) if i not in axes])


def standardize(x: Any, axis: Axis = -1, eps: float = EPS) -> Tensor:
    """(x − μ)/√(σ² + ε), with mean and variance over all axes or those named."""
    x = _real(x)
    return apply("standardize", x, axes=all_axes(axis, x.ndim), eps=_epsilon(eps))


def batch_norm(x: Any, weight: Any, bias: Any, axis: Axis = 0, eps: float = EPS) -> Tensor:
    """γ·(x − μ)/√(σ² + ε) + β, with mean and variance over `axis` and γ, β of the shape of the other axes.

    Ioffe & Szegedy (2015). The gradient goes through the statistics:
    x̄ = γ/σ·(g − (Σ g + x̂·Σ g·x̂)/n), γ̄ = Σ g·x̂, β̄ = Σ g. A column of equal numbers gives β exactly.

    Example:
        >>> batch_norm([[1.0, 5.0], [3.0, 5.0]], [1.0, 1.0], [0.0, 0.5], eps=1e-12).numpy().round(3).tolist()
        [[-1.0, 0.5], [1.0, 0.5]]
    """
    x, weight, bias = _together(x, weight, bias)
    return apply("batch_norm", x, weight, bias, axes=all_axes(axis, x.ndim), eps=_epsilon(eps))


def layer_norm(x: Any, weight: Any, bias: Any, eps: float = EPS) -> Tensor:
    """γ·(x − μ)/√(σ² + ε) + β, with mean and variance of each row (the last axis) and γ, β of a row's shape.

    Ba et al. (2016). With h = g·γ: x̄ = (h − mean h − x̂·mean(h·x̂))/σ, γ̄ = Σ g·x̂, β̄ = Σ g over the rows.

    Example:
        >>> layer_norm([[1.0, 3.0], [5.0, 5.0]], [1.0, 1.0], [0.0, 0.5], eps=1e-12).numpy().round(3).tolist()
        [[-1.0, 1.5], [0.0, 0.5]]
    """
    return apply("layer_norm", *_together(x, weight, bias), eps=_epsilon(eps))


def _together(*xs: Any) -> list[Tensor]:
    return common(*(_real(x) for x in xs))


def _epsilon(eps: float) -> float:
    return float(check_number("eps", eps, low=0, low_open=True))


# ---- soft maxima and losses, one value a row or element


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(xᵢ)/Σⱼ exp(xⱼ) along an axis, stable for any finite input."""
    x = _real(x)
    return apply("softmax", x, axis=one_axis(axis, x.ndim))


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """xᵢ − ln Σⱼ exp(xⱼ) along an axis, stable for any finite input."""
    x = _real(x)
    return apply("log_softmax", x, axis=one_axis(axis, x.ndim))


def cross_entropy(logits: Any, labels: Any, label_smoothing: float = 0.0, ignore_index: int = -100) -> Tensor:
    """−ln softmax(logits)[label] for each row: logits (…, K), labels (…) integers in 0…K−1.

    A row whose label is `ignore_index` has the loss 0 and the gradient 0, as in PyTorch.

    Raises:
        OutOfRangeError: a label that is neither in 0…K−1 nor to be ignored; it names the row.
        ShapeError: labels that do not fit the logits, or are not integers.

    Example:
        >>> cross_entropy([[0.0, 0.0], [0.0, 0.0]], [1, -100]).numpy().round(4).tolist()
        [0.6931, 0.0]
    """
    logits, labels, ignore_index = _real(logits), as_tensor(labels), whole(ignore_index, "ignore_index")
    ignoring = {"ignore_index": ignore_index} if may_ignore(labels, ignore_index) else {}
    labels = class_labels(labels, logits.shape[-1] if logits.shape else 0, ignoring.get("ignore_index"))
    smoothing = float(check_number("label_smoothing", label_smoothing, low=0, high=1))
    return apply("cross_entropy", logits, labels, label_smoothing=smoothing, **ignoring)


def may_ignore(labels: Tensor, ignore_index: int) -> bool:
    """Whether some of the labels are to be ignored, or may be when they are known."""
    if mode.trusted or (labels.dtype.kind == "u" and ignore_index < 0):
        return False
    return labels.value is None or bool((labels.value == ignore_index).any())


def class_labels(labels: Tensor, classes: int, ignored: int | None = None) -> Tensor:
    """The labels in a dtype that holds any number of classes, refused outside 0…K−1 unless they are to be ignored."""
    if labels.dtype.kind not in "iu":
        return labels
    if not mode.trusted:
        labels = within(labels, 0, classes, "label", ignored)
    return labels if labels.dtype in (np.int32, np.int64) else cast(labels, np.int64)


def _loss(name: str, x: Any, t: Any, **settings: float) -> Tensor:
    x, t = common(x, t)
    return apply(name, *stretched(name, [cast(x, float_dtype(x.dtype)), cast(t, float_dtype(x.dtype))]), **settings)


def binary_cross_entropy(p: Any, t: Any) -> Tensor:
    """−t·ln p − (1−t)·ln(1−p) elementwise, p in [0, 1]; each logarithm is held at −100 or above, as in PyTorch."""
    return _loss("binary_cross_entropy", p, t)


def binary_cross_entropy_with_logits(x: Any, t: Any) -> Tensor:
    """ln(1 + eˣ) − t·x elementwise: the binary cross-entropy of σ(x), stable for any finite x."""
    return _loss("binary_cross_entropy_with_logits", x, t)


def squared_error(x: Any, t: Any) -> Tensor:
    """(x − t)² elementwise."""
    return _loss("squared_error", x, t)


def absolute_error(x: Any, t: Any) -> Tensor:
    """|x − t| elementwise; the gradient at x = t is 0."""
    return _loss("absolute_error", x, t)


def huber(x: Any, t: Any, delta: float = 1.0) -> Tensor:
    """(x − t)²/2 where |x − t| ≤ δ, else δ·(|x − t| − δ/2): its gradient is the difference held to ±δ. Huber (1964)."""
    return _loss("huber", x, t, delta=float(check_number("delta", delta, low=0, low_open=True)))


def one_hot(labels: Any, classes: int, dtype: Any = np.float32) -> Tensor:
    """1 in the label's place and 0 elsewhere, along a new last axis of size `classes`.

    Raises:
        OutOfRangeError: a label outside 0…classes−1; it names the row.
        ShapeError: labels that are not integers.
        ArgumentError: `classes` is not a number of classes.

    Example:
        >>> one_hot([0, 2], 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    labels, classes = as_tensor(labels), whole(classes, "classes", low=1, high=2**31)
    if labels.dtype.kind not in "iu":
        raise ShapeError("labels are not integers", where="one_hot", expected="int labels", got=labels.dtype)
    return cast(hits(class_labels(labels, classes), classes), dtype)


def hits(labels: Tensor, classes: int) -> Tensor:
    """Whether each class is the label's, along a new last axis."""
    return equal(expand_dims(labels, labels.ndim), constant(np.arange(classes, dtype=labels.dtype)))
