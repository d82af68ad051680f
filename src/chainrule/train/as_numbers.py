"""What users hand over as rows and targets → arrays of numbers, or an error that says what to hand over instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from chainrule.data.rows import refuse_masked
from chainrule.errors import ArgumentError, DataError

Array = np.ndarray[Any, Any]
REAL = (bool, int, float, np.bool_, np.integer, np.floating)


def numbers(values: Any, name: str) -> Array:
    """Values as an array of real numbers, without a copy where they are one: a NumPy array, lists, a data frame.

    Raises:
        DataError: they are not numbers, or some are missing or masked.
        ArgumentError: they are an iterable of batches.
    """
    if isinstance(values, Mapping):
        way = "fit, predict and evaluate of a Trainer take them by name, with arrays as values"
        raise ArgumentError("not a single array", where=name, got=f"a dict of {[*values]}", hint=way)
    refuse_masked(values, name)
    if not isinstance(values, (list, tuple)) and isinstance(values, Iterable) and not is_array(values):
        raise _batches(name, f"a {type(values).__name__}")
    try:
        own = hasattr(values, "__array__") or not hasattr(values, "__dlpack__")
        array = np.asarray(values) if own else np.from_dlpack(values)
    except ValueError:
        raise DataError("rows of different lengths", where=name, expected="an array of numbers") from None
    except (TypeError, RuntimeError, BufferError) as error:
        # A tensor on a device, one that wants a gradient, one of a type that NumPy has not.
        raise DataError("NumPy cannot read it", where=name, expected="an array of numbers", got=str(error)) from error
    if array.dtype == object:
        array = _converted(array, name, list(getattr(values, "columns", ())))
    if array.dtype.kind not in "biuf":
        hint = "labels of text: np.unique(y, return_inverse=True)[1]" if array.ndim == 1 else None
        raise DataError(
            "not numbers", where=name, expected="an array of numbers", got=f"dtype {array.dtype}", hint=hint
        )
    return array


def refuse_several(X: Any, y: Any) -> None:
    """Refuse a list of inputs in place of one array of rows.

    Raises:
        ArgumentError: saying what to do.
    """
    if not isinstance(X, (list, tuple)) or not X:
        return
    if y is not None and all(map(is_array, X)) and len(X) != len(y) and all(len(x) == len(y) for x in X):
        raise ArgumentError(
            "several inputs are given by name", where="X", got=f"a list of {len(X)} arrays",
            hint='write {"image": …, "table": …}: the model\'s forward gets such a dict',
        )  # fmt: skip


def is_array(values: Any) -> bool:
    """Whether NumPy reads these as an array by themselves: arrays, tensors, data frames."""
    return hasattr(values, "__array__") or hasattr(values, "__array_interface__") or hasattr(values, "__dlpack__")


def _batches(name: str, got: str) -> ArgumentError:
    hint = "batches are for fit alone, in place of X and y; here put them together (np.concatenate)"
    return ArgumentError("not all rows in one array", where=name, got=got, hint=hint)


def _converted(array: Array, name: str, columns: list[Any]) -> Array:
    """An array of Python objects as one of numbers, as data frames of several or of nullable types give it."""
    kinds = set(map(type, array.flat))
    if not all(issubclass(kind, REAL) for kind in kinds):
        place = next(place for place in np.ndindex(array.shape) if not isinstance(array[place], REAL))
        column = columns[place[1]] if len(place) > 1 and place[1] < len(columns) else None
        where = name if column is None else f"{name}, column {column!r}"
        value = array[place]
        if value is None or type(value).__name__ in ("NAType", "NaTType"):
            raise DataError(
                "a value is missing", where=where, got=f"row {place[0]}", hint="fill or leave out such rows"
            )
        hint = "chainrule.data.Preprocessor turns columns of a table into numbers"
        raise DataError("not numbers", where=where, got=f"{value!r} in row {place[0]}", hint=hint)
    whole = all(issubclass(kind, (bool, int, np.bool_, np.integer)) for kind in kinds)
    try:
        return array.astype(np.int64 if whole else np.float64)
    except OverflowError:
        raise DataError("too large for int64", where=name) from None
