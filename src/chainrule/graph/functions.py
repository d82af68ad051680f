"""Functions of tensors: all of them, under the names that users know them by (`cr.sum`, `cr.relu`, …).

Here are reductions, the matrix product, and what the operators (`+`, `@`, …) mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, check_number
from chainrule.graph.arguments import check_flag
from chainrule.graph.elementwise import (
    absolute,
    add,
    as_tensor,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    broadcast_to,
    cast,
    clip,
    common,
    cos,
    divide,
    equal,
    erf,
    exp,
    expm1,
    floor,
    greater,
    greater_equal,
    identity,
    isfinite,
    less,
    less_equal,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    logsigmoid,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    relu,
    sigmoid,
    sign,
    silu,
    sin,
    softplus,
    sqrt,
    square,
    stop_gradient,
    subtract,
    tanh,
    where,
)
from chainrule.graph.fused import (
    absolute_error,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    elu,
    gelu,
    huber,
    layer_norm,
    leaky_relu,
    linear,
    log_softmax,
    one_hot,
    selu,
    softmax,
    squared_error,
    standardize,
    std,
)
from chainrule.graph.indexing import put, take
from chainrule.graph.shaping import (
    Axis,
    all_axes,
    concatenate,
    expand_dims,
    flip,
    one_axis,
    reshape,
    squeeze,
    stack,
    swapaxes,
    transpose,
)
from chainrule.graph.sorting import argsort, sort, take_along_axis, topk
from chainrule.graph.tensor import Tensor, apply

__all__ = [
    "absolute", "absolute_error", "add", "argmax", "argmin", "argsort", "as_tensor", "batch_norm",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "bitwise_and", "bitwise_not", "bitwise_or",
    "bitwise_xor", "broadcast_to", "cast", "clip", "concatenate", "cos", "cross_entropy",
    "cumsum", "divide", "elu", "equal", "erf", "exp", "expand_dims", "expm1", "flip", "floor", "gelu",
    "greater", "greater_equal", "huber", "identity", "isfinite", "layer_norm", "leaky_relu", "less",
    "less_equal", "linear", "log", "log1p", "log_softmax", "logical_and", "logical_not", "logical_or", "logsigmoid",
    "matmul", "max", "maximum", "mean", "min", "minimum", "multiply", "negative", "not_equal", "one_hot", "power",
    "put", "relu", "reshape", "selu", "sigmoid", "sign", "silu", "sin", "softmax", "softplus", "sort", "sqrt", "square",
    "squared_error", "squeeze", "stack", "standardize", "std", "stop_gradient", "subtract", "sum", "swapaxes",
    "take", "take_along_axis", "tanh", "topk", "transpose", "var", "where",
]  # fmt: skip


# ---- reductions


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over all axes or those named."""
    x = as_tensor(x)
    return apply("sum", x, axes=all_axes(axis, x.ndim), keepdims=check_flag(keepdims, "keepdims"))


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over all axes or those named; of an empty array it is NaN. Float16 is summed in float32."""
    x = as_tensor(x)
    return cast(_mean(_summable(x), axis, keepdims, 0), _real_dtype(x))


def var(x: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """The variance over all axes or those named: Σ (x − μ)²/(n − ddof).

    As NumPy has it, n − ddof counts as 0 below: where n ≤ ddof it is ∞, or NaN where all elements are equal.

    Example:
        >>> var([1.0, 2.0, 3.0], ddof=1).item()
        1.0
    """
    x = as_tensor(x)
    wide, ddof = _summable(x), check_number("ddof", ddof)
    squares = square(subtract(wide, _mean(wide, axis, True, 0)))
    return cast(_mean(squares, axis, keepdims, ddof), _real_dtype(x))


def _mean(x: Tensor, axis: Axis, keepdims: bool, ddof: int) -> Tensor:
    count = math.prod(x.shape[a] for a in all_axes(axis, x.ndim)) - ddof
    return multiply(sum(x, axis, keepdims), 1.0 / count if count > 0 else math.inf)


def _real_dtype(x: Tensor) -> Any:
    return x.dtype if x.dtype.kind == "f" else np.float64


def _summable(x: Tensor) -> Tensor:
    """`x` in a dtype whose sums neither overflow nor lose what the result can hold."""
    return cast(x, np.float32 if x.dtype == np.float16 else _real_dtype(x))


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element over all axes or those named; equal largest elements share the gradient equally."""
    return _extreme("max", x, axis, keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element over all axes or those named; equal smallest elements share the gradient equally."""
    return _extreme("min", x, axis, keepdims)


def _extreme(name: str, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    x = as_tensor(x)
    # The rule asks which elements equal the largest: all of its users must see the same numbers, to the last bit.
    axes = all_axes(axis, x.ndim)
    x = apply("materialize", x) if x.dtype.kind == "f" and axes else x
    return apply(name, x, axes=axes, keepdims=check_flag(keepdims, "keepdims"))


def argmax(x: Any, axis: int | None = None) -> Tensor:
    """The index of the (first) largest element; int64."""
    return _place("argmax", x, axis)


def argmin(x: Any, axis: int | None = None) -> Tensor:
    """The index of the (first) smallest element; int64."""
    return _place("argmin", x, axis)


def _place(name: str, x: Any, axis: int | None) -> Tensor:
    x = reshape(x, -1) if axis is None else as_tensor(x)
    return apply(name, x, axis=one_axis(0 if axis is None else axis, x.ndim))


def cumsum(x: Any, axis: int) -> Tensor:
    """The running sum along an axis."""
    x = as_tensor(x)
    return apply("cumsum", x, axis=one_axis(axis, x.ndim))


# ---- products


def matmul(x: Any, y: Any) -> Tensor:
    """The matrix product, batched over leading axes, with NumPy's rules for vectors."""
    x, y = common(as_tensor(x), as_tensor(y))
    if not x.ndim or not y.ndim:
        raise ShapeError(
            "matmul needs operands with axes", where="matmul", got=f"{x.shape} and {y.shape}", hint="use *"
        )
    left, right = x.ndim == 1, y.ndim == 1
    x, y = (expand_dims(x, 0) if left else x), (expand_dims(y, 1) if right else y)
    try:
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise ShapeError("the leading axes do not broadcast", where="matmul", got=f"{x.shape} and {y.shape}") from None
    z = apply("matmul", broadcast_to(x, (*batch, *x.shape[-2:])), broadcast_to(y, (*batch, *y.shape[-2:])))
    dropped = [axis for axis, gone in ((-2, left), (-1, right)) if gone]
    return squeeze(z, [axis % z.ndim for axis in dropped]) if dropped else z


# ---- what the operators mean


def _reflected(function: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda x, y: function(y, x)


def _axes_or_tuple(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(x: Tensor, *sizes: Any) -> Tensor:
        return function(x, sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes or None)

    method.__doc__ = function.__doc__
    return method


def _astype(x: Tensor, dtype: Any) -> Tensor:
    """The same numbers in another dtype."""
    return cast(x, dtype)


for _name, _function in {
    "add": add, "sub": subtract, "mul": multiply, "truediv": divide, "pow": power, "matmul": matmul,
    "and": bitwise_and, "or": bitwise_or, "xor": bitwise_xor,
}.items():  # fmt: skip
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", _reflected(_function))
    if _name in ("add", "sub", "mul", "truediv", "pow"):
        setattr(Tensor, f"__i{_name}__", lambda x, y, _f=_function: x._changed(_f(x, y)))  # noqa: SLF001  # a method of the same class
_METHODS: dict[str, Any] = {
    "__neg__": negative, "__abs__": absolute, "__invert__": bitwise_not,
    "__lt__": less, "__le__": less_equal, "__gt__": greater, "__ge__": greater_equal,
    "__eq__": lambda x, y: NotImplemented if y is None else equal(x, y),
    "__ne__": lambda x, y: NotImplemented if y is None else not_equal(x, y),
    "sum": sum, "mean": mean, "var": var, "std": std, "max": max, "min": min,
    "argmax": argmax, "argmin": argmin, "argsort": argsort, "cumsum": cumsum, "topk": topk,
    "exp": exp, "log": log, "sqrt": sqrt, "tanh": tanh, "sigmoid": sigmoid, "relu": relu,
    "square": square, "abs": absolute,
    "squeeze": squeeze, "clip": clip, "astype": _astype, "swapaxes": swapaxes,
    "reshape": _axes_or_tuple(reshape), "transpose": _axes_or_tuple(transpose), "T": property(transpose),
}  # fmt: skip
for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
