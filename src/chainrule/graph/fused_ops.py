"""The fused operations' rows of the table: what a module does, in one node with a rule of its own.

Each could be expressed in elementary operations, and is, in `decompositions.py`; it has its own kernel and rule for
speed, and for numbers that do not overflow.
"""

from __future__ import annotations

import math

from chainrule.errors import ShapeError
from chainrule.graph.ops import ELEMENTWISE, OTHER, OVER_AXES, OperandType, Rounding, Shape, Typed, define, same

# ---- activations


for _name, _formula in {
    "sigmoid": "y = σ(x) = 1/(1 + e⁻ˣ)",
    "softplus": "y = ln(1 + eˣ)",
    "elu": "y = x where x ≥ 0, else α·(eˣ − 1)",
    "gelu": "y = x·Φ(x) = x·(1 + erf(x/√2))/2",
    "silu": "y = x·σ(x)",
}.items():
    define(_name, _formula, same, ELEMENTWISE, Rounding.APPROXIMATE, fused=True)
define("relu", "y = (x)⁺", same, ELEMENTWISE, Rounding.EXACT, fused=True)
define("leaky_relu", "y = x where x ≥ 0, else s·x", same, ELEMENTWISE, fused=True)


# ---- products


def _linear(x: Typed, weight: Typed, bias: Typed | None = None, precision: str | None = None) -> OperandType:
    if len(weight.shape) != 2 or not x.shape or x.shape[-1] != weight.shape[1]:
        wide = weight.shape[1] if len(weight.shape) == 2 else "?"
        raise ShapeError(
            "the input's width does not fit the weight",
            where="linear",
            expected=f"(…, {wide})",
            got=x.shape,
            hint=_linear_hint(x.shape, wide),
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError("the bias does not fit the weight", where="linear", expected=weight.shape[:1], got=bias.shape)
    return (*x.shape[:-1], weight.shape[0]), x.dtype


def _linear_hint(shape: Shape, wide: int | str) -> str:
    if len(shape) > 2 and math.prod(shape[1:]) == wide:
        return "put a Flatten() before it"
    if (len(shape) == 1 and shape[0] == wide) or len(shape) == 0:
        return "give it a batch of rows"
    return f"give it {wide} columns, or make the layer in_features={shape[-1]}"


define("linear", "Y = X·Wᵀ + b", _linear, OTHER, fused=True)


# ---- soft maxima and losses


def _cross_entropy(
    logits: Typed, labels: Typed, label_smoothing: float, ignore_index: int | None = None
) -> OperandType:
    if not logits.shape or labels.shape != logits.shape[:-1]:
        raise ShapeError(
            "the labels do not fit the logits",
            where="cross_entropy",
            expected=f"labels {logits.shape[:-1]} for logits {logits.shape}",
            got=labels.shape,
            hint="labels are class indices, one per row" if len(labels.shape) else "give one label per row",
        )
    if labels.dtype.kind not in "iu":
        raise ShapeError(
            "labels are not integers", where="cross_entropy", expected="int class indices", got=labels.dtype
        )
    return labels.shape, logits.dtype


define("softmax", "yᵢ = eˣⁱ/Σⱼ eˣʲ", lambda x, axis: (x.shape, x.dtype), OVER_AXES, fused=True)
define("log_softmax", "yᵢ = xᵢ − ln Σⱼ eˣʲ", lambda x, axis: (x.shape, x.dtype), OVER_AXES, fused=True)
define("cross_entropy", "C = ln Σⱼ eˣʲ − x_label", _cross_entropy, OTHER, fused=True)
define(
    "binary_cross_entropy",
    "C = −t·ln p − (1−t)·ln(1−p)",
    lambda p, t: (p.shape, p.dtype),
    ELEMENTWISE,
    Rounding.APPROXIMATE,
    fused=True,
)
define(
    "binary_cross_entropy_with_logits",
    "C = ln(1 + eˣ) − t·x",
    lambda x, t: (x.shape, x.dtype),
    ELEMENTWISE,
    Rounding.APPROXIMATE,
    fused=True,
)
define("squared_error", "C = (x − t)²", lambda x, t: (x.shape, x.dtype), ELEMENTWISE, fused=True)
for _name, _formula in {
    "absolute_error": "C = |x − t|",
    "huber": "C = (x − t)²/2 where |x − t| ≤ δ, else δ·(|x − t| − δ/2)",
}.items():
    define(_name, _formula, lambda x, t, **_: (x.shape, x.dtype), ELEMENTWISE, fused=True)


# ---- normalisation: μ and σ² are mean and variance (divided by n) over `axes`


def _standardize(x: Typed, axes: tuple[int, ...], eps: float) -> OperandType:
    if any(x.shape[axis] == 0 for axis in axes):
        raise ShapeError(
            "the mean of an empty array", where="standardize", expected="at least one element", got=x.shape
        )
    return x.shape, x.dtype


def _std(x: Typed, axes: tuple[int, ...], eps: float) -> OperandType:
    shape, dtype = _standardize(x, axes, eps)
    return tuple(1 if i in axes else n for i, n in enumerate(shape)), dtype


def _scaled(name: str, x: Typed, scale: Typed, shift: Typed, shape: Shape) -> OperandType:
    for operand in (scale, shift):
        if operand.shape != shape:
            raise ShapeError(
                "γ and β do not fit the input",
                where=name,
                expected=f"{shape} for an input {x.shape}",
                got=operand.shape,
            )
    return x.shape, x.dtype


def _batch_norm(x: Typed, scale: Typed, shift: Typed, axes: tuple[int, ...], eps: float) -> OperandType:
    _standardize(x, axes, eps)
    return _scaled("batch_norm", x, scale, shift, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def _layer_norm(x: Typed, scale: Typed, shift: Typed, eps: float) -> OperandType:
    if not x.shape:
        raise ShapeError("a scalar has no features", where="layer_norm", expected="(…, features)", got=x.shape)
    _standardize(x, (len(x.shape) - 1,), eps)
    return _scaled("layer_norm", x, scale, shift, x.shape[-1:])


define("standardize", "y = (x − μ)/√(σ² + ε)", _standardize, OVER_AXES, fused=True)
define("std", "y = √(σ² + ε), σ² = Σ (x − μ)²/n over axes", _std, OVER_AXES, fused=True)
define("batch_norm", "y = γ·(x − μ)/√(σ² + ε) + β, μ and σ² over the batch", _batch_norm, OVER_AXES, fused=True)
define("layer_norm", "y = γ·(x − μ)/√(σ² + ε) + β, μ and σ² over the features", _layer_norm, OTHER, fused=True)
