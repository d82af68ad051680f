"""Functions of tensors: NumPy's names, NumPy's broadcasting and dtype rules.

Each turns what it is given into tensors, says the casts and broadcasts as nodes, and makes one node.
"""

from __future__ import annotations

import builtins
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, ShapeError, TraceError
from chainrule.graph import seams
from chainrule.graph.ops import BOOL, Index, Shape, Slot, float_dtype, freeze
from chainrule.graph.tensor import Tensor, apply, constant

Axis = int | Sequence[int] | None


def as_tensor(x: Any) -> Tensor:
    """`x` itself if it is a tensor, else a constant of its values."""
    if isinstance(x, Tensor):
        return x
    if hasattr(x, "tree_children"):
        raise ArgumentError(
            "a module stands where a tensor is wanted", got=type(x).__name__, hint="call it first: module(x)"
        )
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise ShapeError("not real numbers", expected="bool, int or float", got=array.dtype)
    return constant(array)


# ---- elementwise


def cast(x: Any, dtype: Any) -> Tensor:
    """The same numbers in another dtype."""
    x, dtype = as_tensor(x), np.dtype(dtype)
    return x if x.dtype == dtype else apply("cast", x, dtype=dtype.name)


def broadcast_to(x: Any, shape: Shape) -> Tensor:
    """`x` stretched along axes of size 1 and new leading axes."""
    x, shape = as_tensor(x), tuple(int(n) for n in shape)
    return x if x.shape == shape else apply("broadcast_to", x, shape=shape)


def _common(*xs: Any) -> list[Tensor]:
    """The operands as tensors of one dtype (Python numbers give way, as in NumPy)."""
    kinds = [x if isinstance(x, (bool, int, float)) else as_tensor(x).dtype for x in xs]
    dtype = np.result_type(*kinds)
    return [constant(x, dtype) if isinstance(x, (bool, int, float)) else cast(x, dtype) for x in xs]


def _stretched(name: str, xs: Sequence[Tensor]) -> list[Tensor]:
    if builtins.all(x.shape == xs[0].shape for x in xs):
        return list(xs)
    try:
        shape = np.broadcast_shapes(*(x.shape for x in xs))
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in xs)
        raise ShapeError("the shapes do not broadcast together", where=name, got=shapes) from None
    return [broadcast_to(x, shape) for x in xs]


def _unary(name: str, real: bool = True) -> Callable[[Any], Tensor]:
    def function(x: Any) -> Tensor:
        x = as_tensor(x)
        return apply(name, cast(x, float_dtype(x.dtype)) if real else x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise `{name}`; NumPy's name and dtype rules."
    return function


def _binary(name: str, real: bool = False) -> Callable[[Any, Any], Tensor]:
    def function(x: Any, y: Any) -> Tensor:
        x, y = _common(x, y)
        if real:
            x, y = cast(x, float_dtype(x.dtype)), cast(y, float_dtype(y.dtype))
        return apply(name, *_stretched(name, (x, y)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise `{name}` with broadcasting; NumPy's name and dtype rules."
    return function


exp, expm1, log, log1p = _unary("exp"), _unary("expm1"), _unary("log"), _unary("log1p")
sqrt, sin, cos, tanh = _unary("sqrt"), _unary("sin"), _unary("cos"), _unary("tanh")
sigmoid, softplus, silu = _unary("sigmoid"), _unary("softplus"), _unary("silu")
negative, square, absolute, sign = (_unary(n, real=False) for n in ("negative", "square", "absolute", "sign"))
floor, relu, isfinite = (_unary(n, real=False) for n in ("floor", "relu", "isfinite"))
identity, stop_gradient = _unary("identity", real=False), _unary("stop_gradient", real=False)
add, subtract, multiply = _binary("add"), _binary("subtract"), _binary("multiply")
divide, power = _binary("divide", real=True), _binary("power")
maximum, minimum = _binary("maximum"), _binary("minimum")
less, less_equal, greater, greater_equal = (_binary(n) for n in ("less", "less_equal", "greater", "greater_equal"))
equal, not_equal = _binary("equal"), _binary("not_equal")
_logical_and, _logical_or = _binary("logical_and"), _binary("logical_or")


def logical_not(x: Any) -> Tensor:
    """Elementwise `not`."""
    return apply("logical_not", cast(x, BOOL))


def logical_and(x: Any, y: Any) -> Tensor:
    """Elementwise `and`."""
    return _logical_and(cast(x, BOOL), cast(y, BOOL))


def logical_or(x: Any, y: Any) -> Tensor:
    """Elementwise `or`."""
    return _logical_or(cast(x, BOOL), cast(y, BOOL))


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """`a` where the condition holds, else `b`, elementwise with broadcasting."""
    return apply("where", *_stretched("where", [cast(condition, BOOL), *_common(a, b)]))


def clip(x: Any, low: Any = None, high: Any = None) -> Tensor:
    """`x` held between `low` and `high`; either may be None."""
    x = x if low is None else maximum(x, low)
    return as_tensor(x) if high is None else minimum(x, high)


# ---- shape


def reshape(x: Any, shape: int | Sequence[int]) -> Tensor:
    """`x` in another shape; one size may be −1."""
    x = as_tensor(x)
    sizes = [shape] if isinstance(shape, int) else [operator.index(n) for n in shape]
    if sizes.count(-1) == 1:
        known = int(np.prod([n for n in sizes if n != -1], dtype=np.int64))
        sizes[sizes.index(-1)] = x.size // known if known else 0
    return x if tuple(sizes) == x.shape else apply("reshape", x, shape=tuple(sizes))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """`x` with its axes permuted; reversed where no order is given."""
    x = as_tensor(x)
    order = tuple(reversed(range(x.ndim))) if axes is None else tuple(_axis(a, x.ndim) for a in axes)
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(
            "not an order of the axes", where="transpose", expected=f"a permutation of 0…{x.ndim - 1}", got=axes
        )
    return x if order == tuple(range(x.ndim)) else apply("transpose", x, axes=order)


def swapaxes(x: Any, first: int, second: int) -> Tensor:
    """`x` with two axes exchanged."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    first, second = _axis(first, x.ndim), _axis(second, x.ndim)
    order[first], order[second] = second, first
    return transpose(x, order)


def expand_dims(x: Any, axis: int) -> Tensor:
    """`x` with a new axis of size 1."""
    x = as_tensor(x)
    axis = _axis(axis, x.ndim + 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """`x` without its axes of size 1, or without those named."""
    x = as_tensor(x)
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else _axes(axis, x.ndim)
    if builtins.any(x.shape[i] != 1 for i in axes):
        raise ShapeError("only axes of size 1 can be left out", where="squeeze", got=f"axis {axis} of {x.shape}")
    return reshape(x, [n for i, n in enumerate(x.shape) if i not in axes])


def flip(x: Any, axis: Axis = None) -> Tensor:
    """`x` with the order of its elements reversed along axes."""
    x = as_tensor(x)
    return apply("flip", x, axes=_axes(axis, x.ndim))


def concatenate(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors one after another along an existing axis."""
    if not len(xs):
        raise ShapeError("nothing to join", where="concatenate", expected="at least one tensor", got="none")
    tensors = _common(*(as_tensor(x) for x in xs))
    return apply("concatenate", *tensors, axis=_axis(axis, tensors[0].ndim))


def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors beside each other along a new axis."""
    tensors = [as_tensor(x) for x in xs]
    if len({x.shape for x in tensors}) > 1:
        raise ShapeError("the shapes differ", where="stack", expected=tensors[0].shape, got=[x.shape for x in tensors])
    return concatenate([expand_dims(x, axis) for x in tensors], axis if axis >= 0 else axis)


# ---- indexing


def getitem(x: Any, index: Any) -> Tensor:
    """`x[index]` with NumPy's meaning: ints, slices, None, …, integer arrays, and boolean arrays of known values."""
    x = as_tensor(x)
    static, arrays = _index(x, index)
    if not arrays and builtins.all(entry == ("slice", None, None, None) for entry in static):
        return x
    return apply("getitem", x, *arrays, index=static)


def put_add(x: Any, index: Any, shape: Shape) -> Tensor:
    """Zeros of `shape` with `x` added at `index`; places that the index names twice get both."""
    static, arrays = _index(constant(np.broadcast_to(np.zeros(()), shape)), index)
    return apply("put_add", as_tensor(x), *arrays, index=static, shape=tuple(shape))


def put(x: Any, index: Any, value: Any) -> Tensor:
    """A new tensor: `x` with `value` at `index` (each place named once).

    Example:
        >>> import chainrule as cr
        >>> cr.put(cr.tensor([1.0, 2.0, 3.0]), slice(0, 2), 9.0).numpy()
        array([9., 9., 3.])
    """
    x = as_tensor(x)
    old = getitem(x, index)
    new = broadcast_to(cast(as_tensor(value), x.dtype), old.shape)
    taken = put_add(constant(np.broadcast_to(np.ones((), x.dtype), old.shape)), index, x.shape)
    return where(taken > 0, put_add(new, index, x.shape), x)


def take(x: Any, indices: Any, axis: int = 0) -> Tensor:
    """The rows (or slices along `axis`) with these indices."""
    x = as_tensor(x)
    return getitem(x, (slice(None),) * _axis(axis, x.ndim) + (indices,))


def _index(x: Tensor, index: Any) -> tuple[Index, list[Tensor]]:
    entries = list(index) if isinstance(index, tuple) else [index]
    used = builtins.sum(np.ndim(e) if _is_mask(e) else e is not None and e is not Ellipsis for e in entries)
    missing = [slice(None)] * (x.ndim - int(used))
    where_dots = [i for i, e in enumerate(entries) if e is Ellipsis]
    place = where_dots[0] if where_dots else len(entries)
    entries[place : place + 1] = missing
    static: list[Any] = []
    arrays: list[Tensor] = []
    for entry in entries:
        if entry is None or isinstance(entry, (slice, int)) and not isinstance(entry, bool):
            static.append(
                slice(*(None if e is None else operator.index(e) for e in (entry.start, entry.stop, entry.step)))
                if isinstance(entry, slice)
                else entry
            )
            continue
        for array in _index_arrays(entry):
            static.append(Slot(len(arrays)))
            arrays.append(array)
    return freeze(tuple(static)), arrays


def _is_mask(entry: Any) -> bool:
    return getattr(entry, "dtype", None) == BOOL or isinstance(entry, list) and np.asarray(entry).dtype == BOOL


def _index_arrays(entry: Any) -> list[Tensor]:
    array = as_tensor(entry)
    if array.dtype == BOOL:
        if array.value is None:
            raise TraceError(
                "a boolean index has a size that only its values tell",
                where=array.label(),
                hint="use cr.where(mask, x, 0), which keeps the shape",
            )
        return [constant(places) for places in np.nonzero(array.value)]
    if array.dtype.kind not in "iu":
        raise ShapeError(
            "not an index", where="indexing", expected="whole numbers, slices or booleans", got=array.dtype
        )
    return [array]


# ---- reductions


def _axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise ShapeError("no such axis", where=f"axis={axis}", expected=f"an axis of {ndim}")
    return axis % ndim


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    return tuple(sorted({_axis(a, ndim) for a in axes}))


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over all axes or those named."""
    x = as_tensor(x)
    return apply("sum", x, axes=_axes(axis, x.ndim), keepdims=keepdims)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over all axes or those named."""
    x = as_tensor(x)
    x = cast(x, x.dtype if x.dtype.kind == "f" else np.float64)
    count = int(np.prod([x.shape[a] for a in _axes(axis, x.ndim)], dtype=np.int64))
    return multiply(sum(x, axis, keepdims), 1.0 / count if count else float("nan"))


def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The variance (divided by n, as in NumPy) over all axes or those named."""
    return mean(square(subtract(x, mean(x, axis, keepdims=True))), axis, keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element over all axes or those named; equal largest elements share the gradient equally."""
    x = as_tensor(x)
    return apply("max", x, axes=_axes(axis, x.ndim), keepdims=keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element over all axes or those named."""
    return negative(max(negative(x), axis, keepdims))


def argmax(x: Any, axis: int | None = None) -> Tensor:
    """The index of the (first) largest element; int64."""
    x = reshape(x, -1) if axis is None else as_tensor(x)
    return apply("argmax", x, axis=_axis(axis or 0, x.ndim))


def cumsum(x: Any, axis: int) -> Tensor:
    """The running sum along an axis."""
    x = as_tensor(x)
    return apply("cumsum", x, axis=_axis(axis, x.ndim))


# ---- products


def matmul(x: Any, y: Any) -> Tensor:
    """The matrix product, batched over leading axes, with NumPy's rules for vectors."""
    x, y = _common(as_tensor(x), as_tensor(y))
    if not x.ndim or not y.ndim:
        raise ShapeError("a matrix product needs axes", where="matmul", got=f"{x.shape} and {y.shape}", hint="use *")
    left, right = x.ndim == 1, y.ndim == 1
    x, y = (expand_dims(x, 0) if left else x), (expand_dims(y, 1) if right else y)
    try:
        batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise ShapeError("the leading axes do not broadcast", where="matmul", got=f"{x.shape} and {y.shape}") from None
    z = apply("matmul", broadcast_to(x, (*batch, *x.shape[-2:])), broadcast_to(y, (*batch, *y.shape[-2:])))
    dropped = [axis for axis, gone in ((-2, left), (-1, right)) if gone]
    return squeeze(z, [axis % z.ndim for axis in dropped]) if dropped else z


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """Y = X·Wᵀ + b with X (…, in), W (out, in), b (out,)."""
    operands = _common(as_tensor(x), as_tensor(weight), *(() if bias is None else (as_tensor(bias),)))
    return apply("linear", *operands)


# ---- soft maxima and losses, one value a row or element


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(xᵢ)/Σⱼ exp(xⱼ) along an axis, stable for any finite input."""
    x = as_tensor(x)
    return apply("softmax", cast(x, float_dtype(x.dtype)), axis=_axis(axis, x.ndim))


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """xᵢ − ln Σⱼ exp(xⱼ) along an axis, stable for any finite input."""
    x = as_tensor(x)
    return apply("log_softmax", cast(x, float_dtype(x.dtype)), axis=_axis(axis, x.ndim))


def cross_entropy(logits: Any, labels: Any, label_smoothing: float = 0.0) -> Tensor:
    """−ln softmax(logits)[label] for each row: logits (…, K), labels (…) whole numbers in 0…K−1."""
    logits = as_tensor(logits)
    return apply(
        "cross_entropy",
        cast(logits, float_dtype(logits.dtype)),
        as_tensor(labels),
        label_smoothing=float(label_smoothing),
    )


def _loss(name: str, x: Any, t: Any) -> Tensor:
    x, t = _common(x, t)
    return apply(name, *_stretched(name, [cast(x, float_dtype(x.dtype)), cast(t, float_dtype(x.dtype))]))


def binary_cross_entropy(p: Any, t: Any) -> Tensor:
    """−t·ln p − (1−t)·ln(1−p) elementwise, p in [0, 1]; each logarithm is held at −100 or above, as in PyTorch."""
    return _loss("binary_cross_entropy", p, t)


def binary_cross_entropy_with_logits(x: Any, t: Any) -> Tensor:
    """ln(1 + eˣ) − t·x elementwise: the binary cross-entropy of σ(x), stable for any finite x."""
    return _loss("binary_cross_entropy_with_logits", x, t)


def squared_error(x: Any, t: Any) -> Tensor:
    """(x − t)² elementwise."""
    return _loss("squared_error", x, t)


def one_hot(labels: Any, classes: int, dtype: Any = np.float32) -> Tensor:
    """1 in the label's place and 0 elsewhere, along a new last axis of size `classes`."""
    labels = as_tensor(labels)
    return cast(equal(expand_dims(labels, labels.ndim), np.arange(classes, dtype=labels.dtype)), dtype)


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
    "and": logical_and, "or": logical_or,
}.items():  # fmt: skip
    setattr(Tensor, f"__{_name}__", _function)
    setattr(Tensor, f"__r{_name}__", _reflected(_function))
for _name, _function in {
    "__neg__": negative, "__abs__": absolute, "__invert__": logical_not,
    "__lt__": less, "__le__": less_equal, "__gt__": greater, "__ge__": greater_equal, "__eq__": equal, "__ne__": not_equal,
    "sum": sum, "mean": mean, "var": var, "max": max, "min": min, "argmax": argmax, "cumsum": cumsum,
    "exp": exp, "log": log, "sqrt": sqrt, "tanh": tanh, "sigmoid": sigmoid, "relu": relu, "square": square, "abs": absolute,
    "squeeze": squeeze, "clip": clip, "astype": _astype, "swapaxes": swapaxes,
    "reshape": _axes_or_tuple(reshape), "transpose": _axes_or_tuple(transpose), "T": property(transpose),
}.items():  # fmt: skip
    setattr(Tensor, _name, _function)

seams.provide("getitem", getitem)
