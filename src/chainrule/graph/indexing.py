"""Indexing with NumPy's meaning: ints, slices, None, Ellipsis, integer arrays, boolean arrays of known values."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, TraceError
from chainrule.graph import seams
from chainrule.graph.elementwise import as_tensor, broadcast_to, cast, where, within
from chainrule.graph.leaves import as_array
from chainrule.graph.mode import Guard, mode
from chainrule.graph.ops import BOOL, OPS, WHOLE, Index, Shape, Slot, freeze
from chainrule.graph.shaping import one_axis
from chainrule.graph.tensor import Tensor, apply, constant


def getitem(x: Any, index: Any) -> Tensor:
    """`x[index]` with NumPy's meaning: ints, slices, None, …, integer arrays, and boolean arrays of known values."""
    x = as_tensor(x)
    if type(index) is int and x.shape:
        return apply("getitem", x, index=(index, *(WHOLE,) * (len(x.shape) - 1)))
    static, arrays = _index(x, index)
    if not arrays and builtins.all(entry == WHOLE for entry in static):
        return x
    return apply("getitem", x, *arrays, index=static)


def rows(x: Tensor) -> Iterator[Tensor]:
    """The rows of a tensor one after another, each as `x[i]` gives it."""
    rest = (WHOLE,) * (len(x.shape) - 1)
    return (apply("getitem", x, index=(i, *rest)) for i in range(len(x)))


def taken(x: Tensor, rows: Tensor) -> Tensor:
    """The rows of these places, all of which are known to exist: for the order of rows in a training."""
    return apply("getitem", x, rows, index=freeze((Slot(0), *(slice(None),) * (x.ndim - 1))))


def put_add(x: Any, index: Any, shape: Shape) -> Tensor:
    """Zeros of `shape` with `x` added at `index`; places that the index names twice get both."""
    blank = constant(np.broadcast_to(np.zeros(()), shape))
    static, arrays = _index(blank, index)
    there = OPS["getitem"].infer(blank, *arrays, index=static)[0]
    return apply("put_add", broadcast_to(x, there), *arrays, index=static, shape=tuple(shape))


def put(x: Any, index: Any, value: Any) -> Tensor:
    """A new tensor: `x` with `value` at `index`.

    Raises:
        OutOfRangeError: the index reaches outside, or names a place twice, where it would matter which value is last.

    Example:
        >>> import chainrule as cr
        >>> cr.put(cr.tensor([1.0, 2.0, 3.0]), slice(0, 2), 9.0).numpy()
        array([9., 9., 3.])
    """
    x = as_tensor(x)
    old = getitem(x, index)
    new = broadcast_to(cast(as_tensor(value), x.dtype), old.shape)
    times = put_add(constant(np.broadcast_to(np.ones((), np.int32), old.shape)), index, x.shape)
    return where(within(times, 0, 2, "how often put names a place") > 0, put_add(new, index, x.shape), x)


def take(x: Any, indices: Any, axis: int = 0) -> Tensor:
    """The rows (or slices along `axis`) with these indices."""
    x = as_tensor(x)
    return getitem(x, (slice(None),) * one_axis(axis, x.ndim) + (indices,))


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
        if entry is None or (isinstance(entry, (slice, int)) and not isinstance(entry, bool)):
            static.append(
                slice(*(None if e is None else operator.index(e) for e in (entry.start, entry.stop, entry.step)))
                if isinstance(entry, slice)
                else entry
            )
            continue
        axis = builtins.sum(e is not None for e in static)
        for i, array in enumerate(_index_arrays(entry, x.shape[axis:])):
            static.append(Slot(len(arrays)))
            arrays.append(_reaching(array, x.shape, axis + i))
    return freeze(tuple(static)), arrays


def _reaching(places: Tensor, shape: Shape, axis: int) -> Tensor:
    """An index array that is refused where it reaches outside its axis."""
    if axis >= len(shape):
        raise ShapeError("too many indices", where="indexing", expected=f"at most {len(shape)}", got=f"{axis + 1}")
    size = shape[axis]
    return within(places, -size, size, f"index of axis {axis}")


def _is_mask(entry: Any) -> bool:
    return getattr(entry, "dtype", None) == BOOL or (
        isinstance(entry, list) and as_array(entry, "indexing").dtype == BOOL
    )


def _index_arrays(entry: Any, sizes: Shape) -> list[Tensor]:
    # NumPy reads an empty list as integers where it is an index, and as floats elsewhere.
    array = as_tensor(np.empty(0, np.int64) if isinstance(entry, list) and not entry else entry)
    if array.dtype == BOOL and array.ndim:
        if array.value is None:
            raise TraceError(
                "the size of a boolean index depends on its values",
                where=array.label(),
                hint="use cr.where(mask, x, 0), which keeps the shape",
            )
        if array.shape != sizes[: array.ndim]:
            raise ShapeError("the mask does not fit", where="indexing", expected=sizes[: array.ndim], got=array.shape)
        if mode.guards is not None and isinstance(entry, np.ndarray):
            mode.guards.append(Guard(entry, array.value.copy()))
        elif array.has_history and array.is_variable:
            raise TraceError(
                "a boolean index may change from run to run", where=array.label(), hint="use cr.where(mask, x, 0)"
            )
        return [constant(places) for places in np.nonzero(array.value)]
    if array.dtype.kind not in "iu":
        raise ShapeError("not an index", where="indexing", expected="integers, slices or booleans", got=array.dtype)
    return [array]


seams.provide("getitem", getitem)
seams.provide("rows", rows)
