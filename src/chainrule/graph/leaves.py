"""Leaves that come from outside: `cr.tensor`, and the arrays that a traced function takes from its enclosing scope."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import ChainruleError, ShapeError
from chainrule.graph.arguments import check_flag
from chainrule.graph.tensor import Tensor


def as_array(x: Any, where: str | None = None) -> np.ndarray[Any, Any]:
    """`x` as an array of real numbers in the machine's byte order, copied only where necessary.

    Raises:
        ShapeError: it is not a rectangular array of real numbers, or holds floats wider than float64.
    """
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ShapeError("not a rectangular array of numbers", where=where, got=str(error).split(".")[0]) from None
    if array.dtype.kind not in "biuf":
        raise ShapeError("not real numbers", where=where, expected="bool, int or float", got=array.dtype)
    if array.dtype.itemsize > 8:
        raise ShapeError(
            "floats wider than float64 are not supported",
            where=where,
            expected="float16, float32 or float64",
            got=array.dtype,
            hint="use x.astype('float64')",
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def real_dtype(dtype: Any) -> np.dtype[Any]:
    """A dtype that tensors can have.

    Raises:
        ShapeError: not a dtype, or one of something other than real numbers of at most 64 bits.
    """
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise ShapeError("no such dtype", where="dtype", expected="a real dtype", got=str(error)) from None
    if found.kind not in "biuf" or found.itemsize > 8:
        raise ShapeError(
            "not a dtype that tensors can have",
            where="dtype",
            expected="bool, int or float, 64 bits at most",
            got=found,
        )
    return found


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of anything that NumPy can read, copied; NumPy's rules choose the dtype unless one is given.

    Args:
        data: numbers, nested lists, arrays.
        dtype: a NumPy dtype; by default NumPy's choice (Python floats give float64).
        requires_grad: whether `backward()` should compute this tensor's `.grad`.

    Raises:
        ShapeError: the data is not a rectangular array of numbers, or a gradient is requested for integers.

    Example:
        >>> import chainrule as cr
        >>> cr.tensor([[1, 2], [3, 4]], dtype="float32").shape
        (2, 2)
    """
    try:
        array = np.array(data, dtype=None if dtype is None else real_dtype(dtype))
    except ChainruleError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise ShapeError("not a rectangular array of numbers", where="tensor", got=str(error)) from None
    array, requires_grad = as_array(array, "tensor"), check_flag(requires_grad, "requires_grad")
    if requires_grad and array.dtype.kind != "f":
        raise ShapeError("only real numbers have gradients", where="tensor", expected="a float dtype", got=array.dtype)
    return Tensor("constant", (), {}, array.shape, array.dtype, array, requires_grad)


class OutsideArray(Tensor):
    """A user's array that a traced function takes from its enclosing scope: read at every run, since it may change.

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
