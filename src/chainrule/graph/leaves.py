"""Leaves that come from outside: `cr.tensor`, and the arrays that a traced function takes from around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import ChainruleError, ShapeError
from chainrule.graph.tensor import Tensor


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of anything that NumPy can read, copied; NumPy's rules choose the dtype unless one is given.

    Args:
        data: numbers, nested lists, arrays.
        dtype: a NumPy dtype; by default NumPy's choice (Python floats give float64).
        requires_grad: whether `backward()` shall compute this tensor's `.grad`.

    Raises:
        ShapeError: the data is not a block of numbers, or a gradient is asked for whole numbers.

    Example:
        >>> import chainrule as cr
        >>> cr.tensor([[1, 2], [3, 4]], dtype="float32").shape
        (2, 2)
    """
    try:
        array = np.array(data, dtype=dtype)
    except ChainruleError:
        raise
    except (ValueError, TypeError) as error:
        raise ShapeError("not a block of numbers", where="tensor", got=str(error)) from None
    if array.dtype.kind not in "biuf":
        raise ShapeError("not real numbers", where="tensor", expected="bool, int or float", got=array.dtype)
    if requires_grad and array.dtype.kind != "f":
        raise ShapeError("only real numbers have gradients", where="tensor", expected="a float dtype", got=array.dtype)
    return Tensor("constant", (), {}, array.shape, array.dtype, array, requires_grad)


class OutsideArray(Tensor):
    """An array of the user's that a traced function takes from around it: read anew in every run, since it may change.

    Example:
        >>> import chainrule as cr
        >>> weights = np.array([1.0, 2.0])
        >>> graph = cr.trace(lambda x: x * weights, 1.0)
        >>> weights[:] = 5.0
        >>> graph.run(1.0)
        array([5., 5.])
    """

    __slots__ = ()
    changes = True

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        super().__init__("constant", (), {}, array.shape, array.dtype, array)
