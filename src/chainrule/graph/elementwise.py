"""Elementwise functions of tensors: NumPy's names, NumPy's broadcasting and dtype rules.

Each converts its arguments to tensors, inserts casts and broadcasts as nodes, and makes one node.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, ShapeError
from chainrule.graph import (
    elementwise_ops,  # noqa: F401  # their rows are entered by importing them
    seams,
)
from chainrule.graph.arguments import sizes
from chainrule.graph.leaves import OutsideArray, as_array, real_dtype
from chainrule.graph.mode import mode
from chainrule.graph.ops import BOOL, Shape, float_dtype
from chainrule.graph.tensor import Tensor, apply, constant


def as_tensor(x: Any) -> Tensor:
    """`x` itself if it is a tensor, else a constant of its values; a list that holds tensors is stacked.

    An array is copied, so that whoever changes it afterwards does not change a graph; where a graph is traced it is a
    leaf that is read again at every run.
    """
    if isinstance(x, Tensor):
        return x
    if holds_tensors(x):
        return seams.ability("stack")(x)
    if hasattr(x, "tree_children"):
        raise ArgumentError(
            "a module was passed where a tensor is expected", got=type(x).__name__, hint="call it first: module(x)"
        )
    array = as_array(x)
    if isinstance(x, (bool, int, float, np.generic, list, tuple)) or not _may_change(array):
        return constant(array)
    return OutsideArray(array) if mode.tracing else constant(array.copy())


def holds_tensors(x: Any) -> bool:
    """Whether this is a list or tuple with a tensor in it, at whatever depth."""
    return isinstance(x, (list, tuple)) and builtins.any(isinstance(m, Tensor) or holds_tensors(m) for m in x)


def _may_change(array: Any) -> bool:
    """Whether somebody can write to the memory of an array."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return True
        array = array.base
    return array is not None and not isinstance(array, bytes)


def cast(x: Any, dtype: Any) -> Tensor:
    """The same numbers in another dtype."""
    x, dtype = as_tensor(x), real_dtype(dtype)
    return x if x.dtype == dtype else apply("cast", x, dtype=dtype.name)


def broadcast_to(x: Any, shape: Shape) -> Tensor:
    """`x` stretched along axes of size 1 and new leading axes."""
    x, shape = as_tensor(x), sizes(shape, "broadcast_to")
    return x if x.shape == shape else apply("broadcast_to", x, shape=shape)


def common(*xs: Any) -> list[Tensor]:
    """The operands as tensors of one dtype (Python numbers give way, as in NumPy)."""
    operands = [x if isinstance(x, (bool, int, float)) else as_tensor(x) for x in xs]
    try:
        dtype = np.result_type(*[0.0 if getattr(x, "weak", False) else getattr(x, "dtype", x) for x in operands])
        return [
            constant(x, dtype) if not isinstance(x, Tensor) else x if x.dtype == dtype else cast(x, dtype)
            for x in operands
        ]
    except OverflowError as error:
        raise ArgumentError(
            "a number out of range for the other operand's dtype", got=str(error), hint="cast the tensor first"
        ) from None


def stretched(name: str, xs: Sequence[Tensor]) -> list[Tensor]:
    """The operands broadcast to one shape, as NumPy does."""
    shapes = {x.shape for x in xs if x.shape}
    try:
        shape = np.broadcast_shapes(*shapes) if len(shapes) > 1 else shapes.pop() if shapes else ()
    except ValueError:
        got = " and ".join(str(x.shape) for x in xs)
        raise ShapeError("the shapes do not broadcast together", where=name, got=got) from None
    return [broadcast_to(x, shape) for x in xs]


NOT_OF_BOOLEANS = frozenset({"negative", "sign", "subtract"})
"""Operations that NumPy refuses for booleans."""


def _fitting(name: str, x: Tensor) -> None:
    if x.dtype == BOOL and name in NOT_OF_BOOLEANS:
        raise ShapeError("not defined for booleans", where=name, got=x.dtype, hint="cast them to numbers first")


def _unary(name: str, real: bool = True) -> Callable[[Any], Tensor]:
    def function(x: Any) -> Tensor:
        x = as_tensor(x)
        _fitting(name, x)
        if name == "square" and x.dtype == BOOL:
            x = cast(x, np.int8)
        result = apply(name, cast(x, float_dtype(x.dtype)) if real else x)
        result.weak = x.weak and not real
        return result

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise `{name}`; NumPy's name and dtype rules."
    return function


def _is_weak(x: Any) -> bool:
    """Whether this is a Python number, or stands for one."""
    return x.weak if isinstance(x, Tensor) else isinstance(x, (int, float))


def _binary(name: str, real: bool = False) -> Callable[[Any, Any], Tensor]:
    of_booleans = name not in NOT_OF_BOOLEANS

    def function(x: Any, y: Any) -> Tensor:
        if isinstance(x, Tensor) and isinstance(y, Tensor) and x.dtype is y.dtype:
            weak = x.weak and y.weak
        else:
            weak = _is_weak(x) and _is_weak(y)
            x, y = common(x, y)
        if real and x.dtype.kind != "f":
            # A quotient of integers is float64 in NumPy, however short they are.
            x, y = cast(x, np.float64), cast(y, np.float64)
        if not of_booleans:
            _fitting(name, x)
        result = apply(name, x, y) if x.shape == y.shape else apply(name, *stretched(name, (x, y)))
        if weak:
            result.weak = result.dtype.kind == "f"
        return result

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise `{name}` with broadcasting; NumPy's name and dtype rules."
    return function


exp, expm1, log, log1p = _unary("exp"), _unary("expm1"), _unary("log"), _unary("log1p")
sqrt, sin, cos, tanh, erf = _unary("sqrt"), _unary("sin"), _unary("cos"), _unary("tanh"), _unary("erf")
sigmoid, softplus, silu = _unary("sigmoid"), _unary("softplus"), _unary("silu")
negative, square, absolute, sign = (_unary(n, real=False) for n in ("negative", "square", "absolute", "sign"))
floor, relu, isfinite = (_unary(n, real=False) for n in ("floor", "relu", "isfinite"))
identity, stop_gradient = _unary("identity", real=False), _unary("stop_gradient", real=False)
add, subtract, multiply = _binary("add"), _binary("subtract"), _binary("multiply")
divide, _power = _binary("divide", real=True), _binary("power")
maximum, minimum = _binary("maximum"), _binary("minimum")
less, less_equal, greater, greater_equal = (_binary(n) for n in ("less", "less_equal", "greater", "greater_equal"))
equal, not_equal = _binary("equal"), _binary("not_equal")
_logical_and, _logical_or = _binary("logical_and"), _binary("logical_or")


def logsigmoid(x: Any) -> Tensor:
    """Ln σ(x) elementwise, exact in both tails: x for large negative x, −e⁻ˣ for large positive ones.

    Example:
        >>> logsigmoid([-1000.0, 0.0, 40.0]).tolist()
        [-1000.0, -0.6931471805599453, -4.248354255291589e-18]
    """
    return negative(softplus(negative(x)))


def power(x: Any, y: Any) -> Tensor:
    """xʸ elementwise, with NumPy's broadcasting and dtype rules.

    Integers give integers, which wrap where they are too large for the dtype; their exponents are 0 or more.
    The slope by x at y = 0 is 0. The slope by y at x = 0 is 0 for y ≥ 0 and −∞ for y < 0, as in PyTorch; for x < 0
    it is NaN.

    Raises:
        OutOfRangeError: an integer is raised to a negative integer; x.astype(float) can be.
    """
    weak = _is_weak(x) and _is_weak(y)
    x, y = common(x, y)
    if x.dtype == BOOL:
        x, y = cast(x, np.int8), cast(y, np.int8)
    result = _power(x, within(y, 0, None, "exponent of an integer") if x.dtype.kind == "i" else y)
    result.weak = weak and result.dtype.kind == "f"
    return result


def within(x: Tensor, low: int, high: int | None, what: str, besides: int | None = None) -> Tensor:
    """`x`, integers, checked in every run to be at least `low` and below `high`, or equal to `besides`.

    `what` says what they are, for messages.
    """
    if x.dtype.kind == "u" and (high is None or high > np.iinfo(x.dtype).max):
        return x
    module = mode.module
    return apply("within", x, low=low, high=high, what=f"layer {module}, {what}" if module else what, besides=besides)


def _bitwise(name: str, of_booleans: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    of_whole_numbers = _binary(name)

    def function(x: Any, y: Any) -> Tensor:
        x, y = common(x, y)
        _whole(name, x)
        return of_booleans(x, y) if x.dtype == BOOL else of_whole_numbers(x, y)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise `{name}` of integers, bit by bit, or of booleans; NumPy's name and rules."
    return function


def _whole(name: str, x: Tensor) -> None:
    if x.dtype.kind not in "biu":
        raise ShapeError("bitwise operations need integers or booleans", where=name, got=x.dtype)


def bitwise_not(x: Any) -> Tensor:
    """Elementwise: each bit of an integer reversed (−x − 1 where it is signed), or `not` of a boolean."""
    x = as_tensor(x)
    _whole("bitwise_not", x)
    return logical_not(x) if x.dtype == BOOL else apply("bitwise_not", x)


def logical_not(x: Any) -> Tensor:
    """Elementwise `not`."""
    return apply("logical_not", cast(x, BOOL))


def logical_and(x: Any, y: Any) -> Tensor:
    """Elementwise `and`."""
    return _logical_and(cast(x, BOOL), cast(y, BOOL))


def logical_or(x: Any, y: Any) -> Tensor:
    """Elementwise `or`."""
    return _logical_or(cast(x, BOOL), cast(y, BOOL))


bitwise_and, bitwise_or = _bitwise("bitwise_and", logical_and), _bitwise("bitwise_or", logical_or)
bitwise_xor = _bitwise("bitwise_xor", not_equal)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """`a` where the condition holds, else `b`, elementwise with broadcasting."""
    return apply("where", *stretched("where", [cast(condition, BOOL), *common(a, b)]))


def clip(x: Any, low: Any = None, high: Any = None) -> Tensor:
    """`x` held between `low` and `high`; either may be None."""
    x = x if low is None else maximum(x, low)
    return as_tensor(x) if high is None else minimum(x, high)
