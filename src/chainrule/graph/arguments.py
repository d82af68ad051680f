"""Checks of arguments that are not tensors: integers, sizes, flags, sequences."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, ChainruleError, ShapeError

UNORDERED = (str, bytes, Mapping, Set)
"""What can be walked through, but is no list of anything."""
MOST = 2**63 - 1
"""Elements of an array, at most."""


def as_whole(value: Any) -> int | None:
    """`value` as a Python integer, or None where it is not an integer."""
    if type(value) is int:
        return value
    try:
        return operator.index(value)
    except ChainruleError:
        raise
    except TypeError:
        return None


def whole(value: Any, where: str, low: int = -MOST, high: int = MOST) -> int:
    """`value` as a Python integer in low…high.

    Raises:
        ArgumentError: it is not one.
    """
    number = as_whole(value)
    if number is None or not low <= number <= high:
        expected = f"an integer in {low}…{high}" if (low, high) != (-MOST, MOST) else "an integer"
        raise ArgumentError("not an allowed value", where=where, expected=expected, got=repr(value))
    return number


def check_flag(value: Any, where: str) -> bool:
    """`value` as a boolean; 0 and 1 count as one.

    Raises:
        ArgumentError: it is something else, whose truth value says nothing.
    """
    if value is True or value is False:
        return value
    if isinstance(value, (int, np.bool_, np.integer)) and value in (0, 1):
        return bool(value)
    raise ArgumentError("not an allowed value", where=where, expected="True or False", got=repr(value))


def sizes(shape: Any, where: str, low: int = 0) -> tuple[int, ...]:
    """A shape as a tuple: one integer, or several, of at least `low` each.

    Raises:
        ShapeError: it is not a shape, or has more elements than an array can have.
    """
    found = [as_whole(n) for n in (shape if _in_order(shape) else (shape,))]
    known = [n for n in found if n is not None and n >= low]
    if len(known) < len(found) or known.count(-1) > 1:
        expected = "sizes of at least 0" + (", one of them −1" if low < 0 else "")
        raise ShapeError("not a shape", where=where, expected=expected, got=repr(shape))
    if math.prod(known) > MOST:
        raise ShapeError("too many elements", where=where, expected="fewer than 2⁶³", got=repr(shape))
    return tuple(known)


def several(values: Any, where: str, what: str) -> list[Any]:
    """What a list, tuple, array or iterator holds.

    Raises:
        ArgumentError: it is none of these.
    """
    if not _in_order(values):
        raise ArgumentError("not a sequence", where=where, expected=f"a list of {what}", got=repr(values))
    return list(values)


def _in_order(values: Any) -> bool:
    if type(values) in (tuple, list):
        return True
    if isinstance(values, UNORDERED) or not isinstance(values, Iterable):
        return False
    # An array of one number has the method and no elements.
    return getattr(values, "ndim", 1) > 0
