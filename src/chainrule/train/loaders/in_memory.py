"""The arrays of a training in memory: checked, converted, split, standardised; and what memory that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.errors import ArgumentError
from chainrule.nn.named_losses import NamedLosses
from chainrule.train import checks, structures, weights
from chainrule.train import memory_estimate as memory
from chainrule.train.as_numbers import numbers, refuse_several
from chainrule.train.inference import forward
from chainrule.train.loaders.data_loader import InMemory, shape_only
from chainrule.train.structures import Structures, labels
from chainrule.train.structures import of as structures_of
from chainrule.tree import LEAF

if TYPE_CHECKING:
    from chainrule.train.setup import Setup
    from chainrule.train.state import TrainState

Array = np.ndarray[Any, Any]


class Weights(NamedTuple):
    """What rows are to be weighted by: `sample_weight` and `class_weight` of `fit`."""

    sample: Any = None
    classes: Any = None

    def __bool__(self) -> bool:
        return self.sample is not None or self.classes is not None


def in_memory(setup: Setup, state: TrainState, X: Any, y: Any, validation: Any, given_weights: Weights) -> InMemory:
    """X and y to train on, and X and y to validate on where that is wanted: checked, standardised, weighted.

    Raises:
        DataError: the arrays hold NaN, differ in length, or labels are not 0…K−1.
        ResourceError: memory is short.
    """
    given = _given(X, y)
    memory.check_rows(_making(setup, state, given.X, validation))
    arrays, how = checked(given.X, given.y, setup)
    rows, width = len(arrays[0]), len(arrays)
    if given_weights.sample is not None:
        arrays.append(weights.of_rows(given_weights.sample, rows, setup.loss))
    train, held = arrays, list[Array]()
    if _is_given(validation):
        held = checked(validation[0], validation[1], setup, "validation ", how)[0]
        if len(validation) == 3:
            held.append(weights.of_rows(validation[2], len(held[0]), setup.loss, "validation weights"))
    elif validation is not None:
        parts = checks.split(rows, validation, setup.seed)
        # What was converted goes as soon as its rows are taken.
        train, held = ([array[rows] for array in arrays] for rows in parts)
    del arrays
    if given_weights or len(held) > width:
        _weigh(train, held, given_weights, setup, width)
    _standardise(train, held, setup, state, how)
    setup.labels_fit(train, {"y": train} | ({"validation y": held} if held else {}), how)
    arrays, users = [*train, *held], given.leaves + (_leaves(validation[:2]) if _is_given(validation) else [])
    own = [not any(array is one for one in users) for array in arrays]
    return InMemory(arrays, own, len(train), structures=how)


class _Given(NamedTuple):
    """X and y as arrays of numbers, by name or not; nothing else of them is checked."""

    X: Any
    y: Any

    @property
    def leaves(self) -> list[Array]:
        """The arrays."""
        return _leaves((self.X, self.y))


def _leaves(pair: Sequence[Any]) -> list[Any]:
    return [array for values in pair for array in structures_of(values, "")[0]]


def _given(X: Any, y: Any) -> _Given:
    refuse_several(X, y)
    if y is None:
        raise ArgumentError("no targets", where="y", hint="only batches and a chainrule.data.stream have their own")
    return _Given(_numbers(X, "X"), _numbers(y, "y"))


def _numbers(values: Any, name: str) -> Any:
    arrays, structure = structures_of(values, name)
    names = labels(structure, name)
    return tree.unflatten(structure, [numbers(x, at) for x, at in zip(arrays, names, strict=True)])


def checked(
    X: Any, y: Any, setup: Setup, before: str = "", like: Structures | None = None
) -> tuple[list[Array], Structures]:
    """The arrays of X and y as the program takes them, and how they nest."""
    dtype, loss = setup.dtype, setup.loss
    inputs, of_X = structures.features(X, dtype, f"{before}X", like and like.X)
    wanted, of_y = structures.targets(y, loss, dtype, f"{before}y", like and like.y)
    for name, array in zip(labels(of_y, f"{before}y"), wanted, strict=True):
        checks.equal_lengths(inputs[0], array, f"{labels(of_X, f'{before}X')[0]} and {name.removeprefix(before)}")
    return [*inputs, *wanted], Structures(of_X, of_y)


def held_out(pair: Sequence[Any], setup: Setup, state: TrainState, like: Structures) -> list[Array]:
    """X and y to validate on, standardised where that is wanted."""
    arrays, _ = checked(pair[0], pair[1], setup, "validation ", like)
    return [*structures.standardized(state.standardizer, arrays[: like.X.size], like.X), *arrays[like.X.size :]]


def _weigh(train: list[Array], held: list[Array], given: Weights, setup: Setup, width: int) -> None:
    """Bring the weights of the rows, behind X and y, into the shape that the program takes."""
    if given.classes is not None:
        of_classes = weights.of_classes(given.classes, train[width - 1], setup.loss)
        train[width:] = [of_classes * train[width] if len(train) > width else of_classes]
    for some in (train, held):
        some[width:] = [weights.scaled(weight, setup.loss, setup.dtype) for weight in some[width:]]


def _standardise(train: list[Array], held: list[Array], setup: Setup, state: TrainState, how: Structures) -> None:
    inputs = how.X.size
    if setup.normalize is not None and state.standardizer is None:
        state.standardizer = structures.fitted(train[:inputs], how.X, setup.normalize)
    for some in (train, held):
        if some:
            some[:inputs] = structures.standardized(state.standardizer, some[:inputs], how.X)


def foreseen(setup: Setup, state: TrainState, X: Any, y: Any, validation: Any, given_weights: Weights) -> InMemory:
    """The same without contents, as far as it would not be X and y themselves; no number is looked at.

    Where y is None it is taken to be what the loss takes: a label a row, or numbers in the shape of the output.
    """
    given = _given(X, _like_output(setup, X) if y is None else y)
    users = given.leaves
    train, how = _foreseen(given, setup)
    evaluate = list[Array]()
    if _is_given(validation):
        other = _Given(_numbers(validation[0], "validation X"), _numbers(validation[1], "validation y"))
        users += other.leaves
        evaluate, _ = _foreseen(other, setup)
    elif validation is not None:
        held = checks.held(len(train[0]), validation)
        sizes = (len(train[0]) - held, held)
        train, evaluate = ([shape_only((rows, *a.shape[1:]), a.dtype) for a in train] for rows in sizes)
    if _is_standardised(setup, state):
        for some in (train, evaluate):
            some[: how.X.size] = [_standardised(a, how) for a in some[: how.X.size]]
    if given_weights:
        train = [*train, shape_only((len(train[0]),), setup.dtype)]
    if evaluate and (len(validation) == 3 if _is_given(validation) else given_weights.sample is not None):
        evaluate = [*evaluate, shape_only((len(evaluate[0]),), setup.dtype)]
    arrays = [*train, *evaluate]
    own = [not any(array is one for one in users) for array in arrays]
    making = _making(setup, state, given.X, validation)
    return InMemory(arrays, own, len(train), there=False, making=making, structures=how)


def _foreseen(given: _Given, setup: Setup) -> tuple[list[Array], Structures]:
    """The arrays as the program will take them, shape_only where they will be converted."""
    X, of_X = structures_of(given.X, "X")
    y, of_y = structures_of(given.y, "y")
    wanted = [setup.dtype if of_X is LEAF else checks.named_dtype(x, setup.dtype) for x in X]
    losses = structures.each_loss(setup.loss, of_y)
    wanted += [checks.target_dtype(t, loss, setup.dtype) for t, loss in zip(y, losses, strict=True)]
    pairs = zip([*X, *y], wanted, strict=True)
    return [np.asarray(a, d) if a.dtype == d else shape_only(a.shape, d) for a, d in pairs], Structures(of_X, of_y)


def _standardised(array: Array, how: Structures) -> Array:
    return array if how.X is not LEAF and array.dtype.kind != "f" else shape_only(array.shape, array.dtype)


def _making(setup: Setup, state: TrainState, X: Any, validation: Any) -> int:
    """The most bytes that making X ready takes meanwhile: the sum over its arrays."""
    divided = validation is not None and not _is_given(validation)
    if divided:
        checks.fraction(validation)
    return sum(
        _making_one(setup, state, x, 1 - validation if divided else 1, divided) for x in structures_of(X, "X")[0]
    )


def _making_one(setup: Setup, state: TrainState, X: Array, trained: float, divided: bool) -> int:
    size = X.size * setup.dtype.itemsize
    converted = X.dtype != setup.dtype or not X.flags.c_contiguous
    # Rounding to fewer bits is checked with an array of booleans.
    most = [converted * (size + X.size), divided * (converted + 1) * size]
    if _is_standardised(setup, state):
        # NumPy takes the deviation of a copy in float64.
        new = trained * (size if state.standardizer is not None else X.size * 8)
        most.append((converted or divided) * size + int(new))
    return max(most)


def _is_standardised(setup: Setup, state: TrainState) -> bool:
    return setup.normalize is not None or state.standardizer is not None


def _is_given(validation: Any) -> bool:
    """Whether rows to validate on are given: X and y, perhaps their weights."""
    return isinstance(validation, (tuple, list)) and len(validation) in (2, 3)


def _like_output(setup: Setup, X: Any) -> Any:
    arrays, structure = structures_of(_numbers(X, "X"), "X")
    dtypes = [setup.dtype if structure is LEAF else checks.named_dtype(x, setup.dtype) for x in arrays]
    like = tuple(((1, *x.shape[1:]), dtype) for x, dtype in zip(arrays, dtypes, strict=True))
    graph = forward(setup.step("numpy", structures=Structures(structure)), like)
    output, rows = tree.unflatten(graph.gives.plain(), list(graph.outputs)), len(arrays[0])

    def target(loss: Any, output: Any) -> Array:
        if checks.takes_labels(loss):
            return shape_only((rows,), np.dtype(np.int32))
        return shape_only((rows, *tree.flatten(output)[0][0].shape[1:]), setup.dtype)

    if not isinstance(setup.loss, NamedLosses):
        return target(setup.loss, output)
    return {name: target(loss, output[name]) for name, loss in setup.loss.losses.items()}
