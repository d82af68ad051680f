"""The arrays of a training in memory: checked, converted, split, standardised; and what memory that takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chainrule.data.standardize import Standardizer
from chainrule.errors import ArgumentError
from chainrule.train import checks, memory, weights
from chainrule.train.arrays import numbers, refuse_several
from chainrule.train.feeds.feed import InMemory, hollow
from chainrule.train.inference import forward

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer

Array = np.ndarray[Any, Any]


class Weights(NamedTuple):
    """What rows are to be weighted by: `sample_weight` and `class_weight` of `fit`."""

    sample: Any = None
    classes: Any = None

    def __bool__(self) -> bool:
        return self.sample is not None or self.classes is not None


def in_memory(trainer: Trainer, X: Any, y: Any, validation: Any, given_weights: Weights) -> InMemory:
    """X and y to train on, and X and y to validate on where that is wanted: checked, standardised, weighted.

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
    if given_weights.sample is not None:
        arrays.append(weights.of_rows(given_weights.sample, len(X), trainer.loss))
    train, held = arrays, list[Array]()
    if _is_given(validation):
        given += validation
        held = checks.held_out(validation[0], validation[1], trainer.loss, dtype)
        if len(validation) == 3:
            held.append(weights.of_rows(validation[2], len(held[0]), trainer.loss, "validation weights"))
    elif validation is not None:
        parts = checks.split(X, y, validation, trainer.seed)
        # What was converted goes as soon as its rows are taken.
        train, held = ([array[rows] for array in arrays] for rows in parts)
    del arrays
    if given_weights or len(held) > 2:
        _weigh(train, held, given_weights, trainer)
    _standardise(train, held, trainer)
    trainer.labels_fit(train[0], {"y": train[1]} | ({"validation y": held[1]} if held else {}))
    arrays = [*train, *held]
    return InMemory(arrays, [not any(array is one for one in given) for array in arrays], len(train))


def _weigh(train: list[Array], held: list[Array], given: Weights, trainer: Trainer) -> None:
    """Bring the weights of the rows, behind X and y, into the shape that the program takes."""
    if given.classes is not None:
        of_classes = weights.of_classes(given.classes, train[1], trainer.loss)
        train[2:] = [of_classes * train[2] if len(train) > 2 else of_classes]
    for some in (train, held):
        some[2:] = [weights.scaled(weight, trainer.loss, trainer.dtype) for weight in some[2:]]


def _standardise(train: list[Array], held: list[Array], trainer: Trainer) -> None:
    if trainer.normalize is not None and trainer.standardizer is None:
        trainer.standardizer = Standardizer.fit(train[0], trainer.normalize)
    for some in (train, held):
        if trainer.standardizer is not None and some:
            some[0] = trainer.standardizer(some[0])


def foreseen(trainer: Trainer, X: Any, y: Any, validation: Any, given_weights: Weights) -> InMemory:
    """The same without contents, as far as it would not be X and y themselves; no number is looked at.

    Where y is None it is taken to be what the loss takes: a label a row, or numbers in the shape of the output.
    """
    refuse_several(X, y)
    X, dtype = numbers(X, "X"), trainer.dtype
    y = _like_output(trainer, X) if y is None else numbers(y, "y")
    given = [X, y]
    if _is_given(validation):
        given += [numbers(x, "validation") for x in validation[:2]]
    dtypes = [dtype, checks.target_dtype(y, trainer.loss, dtype)] * (len(given) // 2)
    arrays = [np.asarray(a, d) if a.dtype == d else hollow(a.shape, d) for a, d in zip(given, dtypes, strict=True)]
    making = _making(trainer, X, validation)
    if validation is not None and not _is_given(validation):
        held = checks.held(len(X), validation)
        arrays = [hollow((rows, *a.shape[1:]), a.dtype) for rows in (len(X) - held, held) for a in arrays]
    if _is_standardised(trainer):
        arrays[::2] = [hollow(array.shape, array.dtype) for array in arrays[::2]]
    train, evaluate = arrays[:2], arrays[2:]
    if given_weights:
        train = [*train, hollow((len(train[0]),), dtype)]
    if evaluate and (len(validation) == 3 if _is_given(validation) else given_weights.sample is not None):
        evaluate = [*evaluate, hollow((len(evaluate[0]),), dtype)]
    arrays = [*train, *evaluate]
    own = [not any(array is one for one in given) for array in arrays]
    return InMemory(arrays, own, len(train), there=False, making=making)


def _making(trainer: Trainer, X: Array, validation: Any) -> int:
    """The most bytes that making X ready takes meanwhile."""
    size = X.size * trainer.dtype.itemsize
    converted = X.dtype != trainer.dtype or not X.flags.c_contiguous
    divided = validation is not None and not _is_given(validation)
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


def _is_given(validation: Any) -> bool:
    """Whether rows to validate on are given: X and y, perhaps their weights."""
    return isinstance(validation, (tuple, list)) and len(validation) in (2, 3)


def _like_output(trainer: Trainer, X: Array) -> Array:
    if checks.takes_labels(trainer.loss):
        return hollow((len(X),), np.dtype(np.int32))
    output = forward(trainer.step("numpy"), (1, *X.shape[1:])).outputs[0]
    return hollow((len(X), *output.shape[1:]), trainer.dtype)
