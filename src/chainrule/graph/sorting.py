"""Functions that put elements in order: argsort, sort, topk, and the gather along an axis that goes with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import ShapeError
from chainrule.graph.arguments import whole
from chainrule.graph.elementwise import as_tensor, subtract
from chainrule.graph.indexing import getitem
from chainrule.graph.ops import Slot
from chainrule.graph.shaping import flip, one_axis, reshape
from chainrule.graph.tensor import Tensor, apply, constant


def argsort(x: Any, axis: int | None = -1) -> Tensor:
    """The indices that sort `x` along an axis, ascending; int64, in the shape of `x`.

    The sort is stable: equal elements keep their order, and so do NaNs, which come last. With None `x` is flattened.

    Raises:
        ShapeError: `x` has no such axis.

    Example:
        >>> argsort([3.0, 1.0, 2.0, 1.0]).tolist()
        [1, 3, 2, 0]
    """
    x, axis = _along(x, axis)
    return apply("argsort", x, axis=axis)


def sort(x: Any, axis: int | None = -1) -> Tensor:
    """`x` sorted along an axis, ascending, NaN last; the gradient goes back to where each element came from.

    With None `x` is flattened.

    Raises:
        ShapeError: `x` has no such axis.

    Example:
        >>> sort([[3.0, 1.0], [2.0, 5.0]]).tolist()
        [[1.0, 3.0], [2.0, 5.0]]
    """
    x, axis = _along(x, axis)
    return _gathered(x, apply("argsort", x, axis=axis), axis)


def topk(x: Any, k: int, axis: int = -1) -> tuple[Tensor, Tensor]:
    """The k largest elements along an axis in descending order, and their indices (int64).

    Of equal elements the first comes first; NaN counts as larger than any number.

    Args:
        x: any tensor with at least one axis.
        k: how many, 0 to the size of the axis.
        axis: where to look; it has the size k in both results.

    Raises:
        ArgumentError: k is not an integer in this range.
        ShapeError: `x` has no such axis.

    Example:
        >>> values, indices = topk([3.0, 1.0, 7.0, 3.0], 3)
        >>> values.tolist(), indices.tolist()
        ([7.0, 3.0, 3.0], [2, 0, 3])
    """
    x = as_tensor(x)
    axis = one_axis(axis, x.ndim)
    size = x.shape[axis]
    k = whole(k, "topk, k", 0, size)
    # Ascending and stable on the reversed elements is descending and stable, read from the end.
    ascending = apply("argsort", flip(x, axis), axis=axis)
    largest = flip(ascending[(slice(None),) * axis + (slice(size - k, None),)], axis)
    indices = subtract(np.int64(size - 1), largest)
    return _gathered(x, indices, axis), indices


def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Tensor:
    """y[…, i, …] = x[…, indices[…, i, …], …]: of each line along an axis the elements at its own indices.

    Args:
        x: any tensor with at least one axis.
        indices: integers, with as many axes as `x`; apart from `axis` their shapes broadcast. Negative ones count
            from the end.
        axis: the axis that is indexed; with None `x` is flattened and `indices` has one axis.

    Raises:
        OutOfRangeError: an index reaches outside the axis.
        ShapeError: `x` has no such axis, or the shapes or the dtype of `indices` do not fit.

    Example:
        >>> take_along_axis([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], axis=1).tolist()
        [[2.0], [3.0]]
    """
    x, axis = _along(x, axis)
    indices = as_tensor(indices)
    if indices.ndim != x.ndim:
        raise ShapeError(
            "the indices do not fit", where="take_along_axis", expected=f"{x.ndim} axes", got=indices.shape
        )
    if indices.dtype.kind not in "iu":
        raise ShapeError("not an index", where="take_along_axis", expected="integers", got=indices.dtype)
    return getitem(x, tuple(_places(x, indices, axis)))


def _along(x: Any, axis: int | None) -> tuple[Tensor, int]:
    x = reshape(x, -1) if axis is None else as_tensor(x)
    return x, one_axis(0 if axis is None else axis, x.ndim)


def _places(x: Tensor, indices: Tensor, axis: int) -> list[Any]:
    """An index of arrays: `indices` for one axis, and for every other its own positions."""
    own = [np.arange(n).reshape([-1 if i == a else 1 for i in range(x.ndim)]) for a, n in enumerate(x.shape)]
    return [indices if a == axis else constant(places) for a, places in enumerate(own)]


def _gathered(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    """`take_along_axis` for indices that are known to lie in the axis, and need not be checked in every run."""
    return apply("getitem", x, *_places(x, indices, axis), index=tuple(map(Slot, range(x.ndim))))
