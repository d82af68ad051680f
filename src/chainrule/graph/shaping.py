"""Functions that move elements: reshape, transpose, concatenate and the like."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

from chainrule.errors import ArgumentError, ShapeError
from chainrule.graph import seams
from chainrule.graph.arguments import as_whole, several, sizes
from chainrule.graph.elementwise import as_tensor, common
from chainrule.graph.tensor import Tensor, apply

Axis = int | Sequence[int] | None


def one_axis(axis: int, ndim: int) -> int:
    """The axis counted from the front."""
    number = as_whole(axis)
    if number is None:
        raise ArgumentError("not a single axis", where="axis", expected="an integer", got=repr(axis))
    if not -ndim <= number < ndim:
        raise ShapeError("no such axis", where=f"axis={number}", expected=f"an axis of {ndim}")
    return number % ndim


def all_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` means, each once, in order."""
    if axis is None:
        return tuple(range(ndim))
    named = axis if isinstance(axis, Sequence) else (axis,)
    axes = sorted(one_axis(a, ndim) for a in named)
    if len(set(axes)) < len(axes):
        raise ArgumentError("a repeated axis", where="axis", expected="each axis once", got=axis)
    return tuple(axes)


def reshape(x: Any, shape: int | Sequence[int]) -> Tensor:
    """`x` in another shape; one size may be −1."""
    x = as_tensor(x)
    wanted = sizes(shape, "reshape", low=-1)
    if -1 in wanted:
        known = -math.prod(wanted)
        wanted = tuple((x.size // known if known else 0) if n == -1 else n for n in wanted)
    return x if wanted == x.shape else apply("reshape", x, shape=wanted)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """`x` with its axes permuted; reversed where no order is given."""
    x = as_tensor(x)
    order = tuple(reversed(range(x.ndim)))
    if axes is not None:
        order = tuple(one_axis(a, x.ndim) for a in several(axes, "transpose, axes", "axes"))
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(
            "not a permutation of the axes", where="transpose", expected=f"a permutation of 0…{x.ndim - 1}", got=axes
        )
    return x if order == tuple(range(x.ndim)) else apply("transpose", x, axes=order)


def swapaxes(x: Any, first: int, second: int) -> Tensor:
    """`x` with two axes exchanged."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    first, second = one_axis(first, x.ndim), one_axis(second, x.ndim)
    order[first], order[second] = second, first
    return transpose(x, order)


def expand_dims(x: Any, axis: int) -> Tensor:
    """`x` with a new axis of size 1."""
    x = as_tensor(x)
    axis = one_axis(axis, x.ndim + 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """`x` without its axes of size 1, or without those named."""
    x = as_tensor(x)
    axes = tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else all_axes(axis, x.ndim)
    if builtins.any(x.shape[i] != 1 for i in axes):
        raise ShapeError("only axes of size 1 can be squeezed", where="squeeze", got=f"axis {axis} of {x.shape}")
    return reshape(x, [n for i, n in enumerate(x.shape) if i not in axes])


def flip(x: Any, axis: Axis = None) -> Tensor:
    """`x` with the order of its elements reversed along axes."""
    x = as_tensor(x)
    return apply("flip", x, axes=all_axes(axis, x.ndim))


def concatenate(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors one after another along an existing axis."""
    xs = several(xs, "concatenate", "tensors")
    if not xs:
        raise ShapeError("nothing to concatenate", where="concatenate", expected="at least one tensor", got="none")
    tensors = common(*(as_tensor(x) for x in xs))
    return apply("concatenate", *tensors, axis=one_axis(axis, tensors[0].ndim))


def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors side by side along a new axis."""
    tensors = [as_tensor(x) for x in several(xs, "stack", "tensors")]
    if len({x.shape for x in tensors}) > 1:
        raise ShapeError("the shapes differ", where="stack", expected=tensors[0].shape, got=[x.shape for x in tensors])
    return concatenate([expand_dims(x, axis) for x in tensors], axis)


seams.provide("stack", stack)
