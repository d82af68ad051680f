"""The arrays of a training in memory: checked, converted, split, standardised; and what memory that takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.standardize import Standardizer
from chainrule.errors import ArgumentError
from chainrule.train import checks, memory
from chainrule.train.arrays import numbers, refuse_several
from chainrule.train.feeds.feed import InMemory, hollow
from chainrule.train.inference import forward

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer

Array = np.ndarray[Any, Any]


def in_memory(trainer: Trainer, X: Any, y: Any, validation: Any) -> InMemory:
    """X and y to train on, and X and y to validate on where that is wanted: checked, standardised.

    Raises:
        DataError: the arrays hold NaN, differ in length, or labels are not 0…K−1.
        ResourceError: memory is short.
    """
    refuse_several(X, y)
    X = numbers(X, "X")
    if y is None:
        raise ArgumentError("no targets", where="y", hint="only a chainrule.data.stream has its own")
    y, dtype = numbers(y, "y"), trainer.dtype
    memory.check_rows(_making(trainer, X, validation))
    given = [X, y]
    arrays = [checks.features(X, dtype), checks.targets(y, trainer.loss, dtype)]
    checks.equal_lengths(arrays[0], arrays[1])
    if _is_pair(validation):
        given += validation
        arrays += checks.held_out(validation[0], validation[1], trainer.loss, dtype)
    elif validation is not None:
        parts = checks.split(X, y, validation, trainer.seed)
        # What was converted goes as soon as its rows are taken.
        arrays = [array[rows] for rows in parts for array in arrays]
    if trainer.normalize is not None and trainer.standardizer is None:
        trainer.standardizer = Standardizer.fit(arrays[0], trainer.normalize)
    if trainer.standardizer is not None:
        for i in range(0, len(arrays), 2):
            arrays[i] = trainer.standardizer(arrays[i])
    trainer.labels_fit(arrays[0], dict(zip(("y", "validation y"), arrays[1::2], strict=False)))
    return InMemory(arrays, [not any(array is one for one in given) for array in arrays])


def foreseen(trainer: Trainer, X: Any, y: Any, validation: Any) -> InMemory:
    """The same without contents, as far as it would not be X and y themselves; no number is looked at.

    Where y is None it is taken to be what the loss takes: a label a row, or numbers in the shape of the output.
    """
    refuse_several(X, y)
    X, dtype = numbers(X, "X"), trainer.dtype
    y = _like_output(trainer, X) if y is None else numbers(y, "y")
    given = [X, y]
    if _is_pair(validation):
        given += [numbers(x, "validation") for x in validation]
    dtypes = [dtype, checks.target_dtype(y, trainer.loss, dtype)] * (len(given) // 2)
    arrays = [np.asarray(a, d) if a.dtype == d else hollow(a.shape, d) for a, d in zip(given, dtypes, strict=True)]
    making = _making(trainer, X, validation)
    if validation is not None and not _is_pair(validation):
        held = checks.held(len(X), validation)
        arrays = [hollow((rows, *a.shape[1:]), a.dtype) for rows in (len(X) - held, held) for a in arrays]
    if _is_standardised(trainer):
        arrays[::2] = [hollow(array.shape, array.dtype) for array in arrays[::2]]
    own = [not any(array is one for one in given) for array in arrays]
    return InMemory(arrays, own, there=False, making=making)


def _making(trainer: Trainer, X: Array, validation: Any) -> int:
    """The most bytes that making X ready takes meanwhile."""
    size = X.size * trainer.dtype.itemsize
    converted = X.dtype != trainer.dtype or not X.flags.c_contiguous
    divided = validation is not None and not _is_pair(validation)
    if divided:
        checks.fraction(validation)
    # Rounding to fewer bits is checked with an array of booleans.
    most = [converted * (size + X.size), divided * (converted + 1) * size]
    if _is_standardised(trainer):
        trained = 1 - validation if divided else 1
        # NumPy takes the deviation of a copy in float64.
        new = trained * (size if trainer.standardizer is not None else X.size * 8)
        most.append((converted or divided) * size + int(new))
    return max(most)


def _is_standardised(trainer: Trainer) -> bool:
    return trainer.normalize is not None or trainer.standardizer is not None


def _is_pair(validation: Any) -> bool:
    return isinstance(validation, (tuple, list)) and len(validation) == 2


def _like_output(trainer: Trainer, X: Array) -> Array:
    if checks.takes_labels(trainer.loss):
        return hollow((len(X),), np.dtype(np.int32))
    output = forward(trainer.step("numpy"), (1, *X.shape[1:])).outputs[0]
    return hollow((len(X), *output.shape[1:]), trainer.dtype)
