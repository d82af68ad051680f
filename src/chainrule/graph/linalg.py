"""Norms, under the names of `numpy.linalg`."""

from __future__ import annotations

import math
from types import NoneType
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.graph import functions as F
from chainrule.graph.arguments import check_flag
from chainrule.graph.ops import float_dtype
from chainrule.graph.shaping import Axis, all_axes
from chainrule.graph.tensor import Tensor


def norm(x: Any, ord: float | None = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The length of the vectors along `axis`: √Σ x² (ord None or 2), Σ |x| (ord 1) or max |x| (ord inf).

    Never overflows where the result does not. At x = 0, where the length has a kink, its gradient is 0.

    Args:
        x: any shape; integers count as float64.
        ord: 1, 2 or infinity for a vector; None is √Σ x² of however many axes.
        axis: the axis or axes whose elements make up a vector; by default all of them.
        keepdims: whether the axes stay, with size 1.

    Raises:
        ArgumentError: another order, or one for several axes, which NumPy takes for a norm of matrices.

    Example:
        >>> norm([[3.0, 4.0], [0.0, 0.0]], axis=1).tolist()
        [5.0, 0.0]
    """
    x = F.as_tensor(x)
    axes, keepdims = all_axes(axis, x.ndim), check_flag(keepdims, "keepdims")
    if not isinstance(ord, (int, float, np.number, NoneType)):
        raise ArgumentError("no such norm", where="norm, ord", expected="None, 1, 2 or inf", got=repr(ord))
    if ord is not None and len(axes) > 1:
        raise ArgumentError(
            "matrix norms are not implemented", where="norm, ord", expected="None, or one axis", got=f"{ord} of {axes}"
        )
    if x.dtype == np.float16:
        return F.cast(norm(F.cast(x, np.float32), ord, axis, keepdims), np.float16)
    size = F.absolute(F.cast(x, float_dtype(x.dtype)))
    if ord == 1:
        return F.sum(size, axis, keepdims)
    if ord not in (None, 2, math.inf):
        raise ArgumentError("no such norm", where="norm, ord", expected="None, 1, 2 or inf", got=ord)
    if not math.prod(x.shape[a] for a in axes):
        return F.sum(size, axis, keepdims)
    if ord == math.inf:
        return F.max(size, axis, keepdims)
    # Scaled by the largest element, which cancels and so is a constant for the gradient.
    largest = F.stop_gradient(F.max(size, axis, keepdims=True))
    scale = F.where(F.logical_and(largest > 0.0, F.isfinite(largest)), largest, 1.0)
    squares = F.sum(F.square(size / scale), axis, keepdims=True)
    zero = F.equal(squares, 0.0)
    length = F.where(zero, 0.0, F.sqrt(F.where(zero, 1.0, squares))) * scale
    return length if keepdims else F.reshape(length, [n for i, n in enumerate(x.shape) if i not in axes])
