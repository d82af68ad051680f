"""What is asked of arrays and settings before a training starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, DataError, ShapeError, check_choice, check_number
from chainrule.nn.losses import CrossEntropyLoss, Loss, NLLLoss
from chainrule.nn.module import Module
from chainrule.nn.normalization import SmallBatchError
from chainrule.optim.lr_schedules import Schedule
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.penalties import Clip, Penalty
from chainrule.train.as_numbers import numbers
from chainrule.train.callbacks import EarlyStopping
from chainrule.train.metrics import classifies, regresses

BATCH_SIZE = 32
"""Rows a step, where nothing else is said."""


def features(X: Any, dtype: np.dtype[Any], name: str = "X", first: int | None = None) -> np.ndarray[Any, Any]:
    """X as a finite array of at least one row, in the precision of the training.

    Where X is only a block of the rows, `first` is the number of its first one, for messages.
    """
    array = numbers(X, name)
    if array.ndim < 2:
        raise ShapeError(
            "not one row per sample",
            where=name,
            expected="(rows, columns)",
            got=array.shape,
            hint=f"use {_variable(name)}.reshape(-1, 1)",
        )
    if not len(array):
        raise DataError("there are no rows", where=name)
    _finite(array, name, first)
    return _cast(array, dtype, name)


def named_features(X: Any, dtype: np.dtype[Any], name: str) -> np.ndarray[Any, Any]:
    """One of several inputs: as `features` has it, but whole numbers stay whole numbers, since they may be indices.

    Of more than 16 bits they become int32. They may be (N,), one a row.
    """
    array = numbers(X, name)
    if array.dtype.kind not in "iu":
        return features(array, dtype, name)
    if not array.ndim or not len(array):
        raise DataError("there are no rows", where=name)
    return _cast(array, named_dtype(array, dtype), name)


def named_dtype(X: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which a model gets one of several inputs."""
    if X.dtype.kind not in "iu":
        return dtype
    return X.dtype if X.dtype.itemsize <= 2 else np.dtype(np.int32)


def targets(
    y: Any, loss: Module, dtype: np.dtype[Any], name: str = "y", first: int | None = None
) -> np.ndarray[Any, Any]:
    """Y as class indices (int32) for a classifier's loss, else as finite numbers in the training's precision."""
    array = numbers(y, name)
    _finite(array, name, first)
    if not takes_labels(loss):
        return _cast(array, target_dtype(array, loss, dtype), name)
    if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
        raise DataError(
            f"{type(loss).__name__} takes integer class labels",
            where=name,
            got=f"numbers such as {array.flat[int(np.argmax(array != np.floor(array)))]:g}",
            hint="use MSELoss for a regression",
        )
    if array.ndim == 2 and array.shape[1] == 1:
        raise ShapeError(
            "not one label per row",
            where=name,
            expected=f"({len(array)},)",
            got=array.shape,
            hint=f"use {_variable(name)}.reshape(-1)",
        )
    return _cast(array, np.dtype(np.int32), name)


def takes_labels(loss: Module) -> bool:
    """Whether a loss takes class indices."""
    return isinstance(loss, (CrossEntropyLoss, NLLLoss))


def labels_checked(loss: Any) -> bool:
    """Whether the labels that a loss gets are those of the targets, which are checked before a training starts."""
    return type(loss) in (CrossEntropyLoss, NLLLoss)


def target_dtype(y: np.ndarray[Any, Any], loss: Module, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which a loss gets its targets."""
    # A loss of the user's own gets whole numbers as whole numbers, since they may be labels.
    whole = takes_labels(loss) or (not classifies(loss) and not regresses(loss) and y.dtype.kind != "f")
    return np.dtype(np.int32) if whole else dtype


def labels_fit(y: np.ndarray[Any, Any], classes: int, name: str = "y") -> None:
    """Refuse labels outside 0…K−1."""
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        found = np.unique(y)
        listed = ", ".join(map(str, found[:8])) + (" …" if len(found) > 8 else "")
        hint = (
            "leave out the rows to ignore: a training counts every row"
            if (found == -100).any()
            else f"map them: np.unique({_variable(name)}, return_inverse=True)[1]"
            if len(found) <= classes
            else f"make the last layer {high + 1} wide"
        )
        raise DataError(
            "labels outside the model's classes", where=name, expected=f"0…{classes - 1}", got=listed, hint=hint
        )


def arguments(
    epochs: Any,
    batch_size: Any,
    shuffle: Any,
    early_stopping: Any,
    monitor: str | None = None,
    schedule: Schedule | None = None,
) -> EarlyStopping | None:
    """Refuse arguments of `fit` that are outside their range; gives what early stopping is asked for, if any."""
    check_number("epochs", epochs, low=1, integer=True)
    if batch_size is not None:
        check_number("batch_size", batch_size, low=1, integer=True)
    check_choice("shuffle", shuffle, ("epoch", "once", "never"))
    if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
        return EarlyStopping(early_stopping, monitor or "val_loss")
    if monitor is not None and not (schedule is not None and schedule.observes):
        raise ArgumentError(
            "nothing uses it", where="monitor", got=repr(monitor),
            hint="give early_stopping=5, or a schedule such as ReduceOnPlateau; an EarlyStopping has its own monitor",
        )  # fmt: skip
    return early_stopping


def part(name: str, value: Any, kind: type) -> None:
    """Refuse what a `Trainer` is not made of."""
    if isinstance(value, kind):
        return
    if isinstance(value, type):
        raise ArgumentError("a class instead of an instance", where=name, hint=f"write {value.__name__}(…)")
    raise ArgumentError("wrong type", where=name, expected=kind.__name__, got=type(value).__name__)


def one_number(loss: Module) -> None:
    """Refuse a loss that gives a number a row."""
    if isinstance(loss, Loss) and loss.reduction == "none":
        raise ArgumentError(
            "a training needs a scalar loss, and this one gives a number per row",
            where="loss",
            got=f"{type(loss).__name__}('none')",
            hint='use reduction="mean" or "sum"',
        )


def equal_lengths(X: np.ndarray[Any, Any], y: np.ndarray[Any, Any], names: str = "X and y") -> None:
    """Refuse X and y of different lengths."""
    if y.ndim == 0 or len(X) != len(y):
        raise DataError(
            f"{names} differ in length", expected=f"{len(X)} targets", got=y.shape[0] if y.ndim else "one number"
        )


def something_to_train(model: Module) -> None:
    """Refuse a model whose parameters are all frozen."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ArgumentError(
            "there is nothing to train: every parameter is frozen",
            where="model",
            expected="a parameter with requires_grad=True",
            hint="set requires_grad = True on those that shall be trained",
        )


def penalties(penalty: Any) -> tuple[Penalty, ...]:
    """None, one penalty or several as a tuple."""
    several = tuple(penalty) if isinstance(penalty, (tuple, list)) else () if penalty is None else (penalty,)
    for member in several:
        if not isinstance(member, Penalty):
            got = type(member).__name__
            raise ArgumentError("wrong type", where="penalty", expected="Penalty, or several", got=got)
    return several


def fit_together(optimizer: Optimizer, penalty: Sequence[Penalty], clip: Clip | None) -> None:
    """Refuse what changes a step behind the back of an optimizer that reads curvature from its steps."""
    if not optimizer.full_batch:
        return
    name = type(optimizer).__name__
    for member in penalty:
        if member.proximal:
            raise ArgumentError(
                f"{type(member).__name__} sets weights to 0 after the step, which {name} would take for its own doing",
                where="penalty",
                hint="use L2, or another optimizer",
            )
    if clip is not None:
        raise ArgumentError(
            f"{name} needs unmodified gradients: it estimates the curvature from their differences",
            where="clip",
            got=clip,
            hint="leave it out: the line search keeps the steps short enough",
        )


def batch_size(given: int | None, rows: int, optimizer: Optimizer, notes: list[str] | None = None) -> int:
    """The rows of a step: by default 32, or all of them where the optimizer needs all; fewer than given are noted."""
    if given is not None and given > rows and notes is not None:
        notes.append(f"batch_size {given} is more than the {rows} rows: each step uses all {rows}")
    if given is None:
        return rows if optimizer.full_batch else min(BATCH_SIZE, rows)
    if optimizer.full_batch and given < rows:
        raise ArgumentError(
            f"{type(optimizer).__name__} needs all rows in each step: it reads the curvature from how the gradient "
            "changes, and from one minibatch to the next it changes by chance",
            where="batch_size",
            expected=f"{rows}, the number of rows",
            got=given,
            hint="leave it out, or use another optimizer",
        )
    return min(given, rows)


def last_batch_too_small(error: SmallBatchError, rows: int, batch: int) -> SmallBatchError:
    """The error for a training whose last batch is too small, with the nearest batch size that leaves no such one."""
    config = [size for size in range(2, 2 * batch) if rows % size != 1]
    nearest = min(config, key=lambda size: (abs(size - batch), -size), default=None)
    return SmallBatchError(
        error.what,
        where=error.where,
        expected=error.expected,
        got=f"{rows} rows in batches of {batch}, the last one of {rows % batch}",
        hint=f"use batch_size={nearest}" if nearest else None,
    )


def fraction(share: Any) -> None:
    """Refuse what is not a share of the rows to hold out."""
    if not isinstance(share, float) or not 0 < share < 1:
        raise ArgumentError(
            "not a validation set",
            where="validation",
            expected="None, a fraction in (0, 1), or (X, y)",
            got=share if isinstance(share, (int, float, str)) else f"a {type(share).__name__}",
        )


def held(rows: int, share: float) -> int:
    """How many rows a share of them is: at least one, and at least one is left."""
    if rows < 2:
        raise DataError("too few rows to hold some out", where="validation", expected="at least 2", got=rows)
    return min(max(1, round(rows * share)), rows - 1)


def split(rows: int, share: float, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows to train on and rows to validate on: a random share of the rows, at least one on each side."""
    fraction(share)
    out = held(rows, share)
    order = np.random.Generator(np.random.Philox(key=[seed, 2**32])).permutation(rows)
    return np.sort(order[out:]), np.sort(order[:out])


def _variable(name: str) -> str:
    """What the user calls an array that messages call "validation X"."""
    return name.removeprefix("validation ")


def _cast(array: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str) -> np.ndarray[Any, Any]:
    """The array in another dtype; numbers that are too large for it are refused, not wrapped."""
    with np.errstate(all="ignore"):
        cast = np.asarray(array, dtype=dtype, order="C")
    if not np.can_cast(array.dtype, dtype):
        fits = np.isfinite(cast) if dtype.kind == "f" else cast == array
        if not fits.all():
            raise DataError(
                f"too large for {dtype}",
                where=name,
                got=f"{array.flat[int(np.argmin(fits))]:g}",
                hint='scale the numbers down, or use precision="float64"' if dtype.kind == "f" else None,
            )
    return cast


def _finite(array: np.ndarray[Any, Any], name: str, first: int | None) -> None:
    # A sum is finite only if its terms are (or overflowed): one pass, without an array of booleans.
    with np.errstate(all="ignore"):
        if array.dtype.kind != "f" or np.isfinite(array.sum(dtype=np.float64)):
            return
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        at = [bad[0][0] + (first or 0), *bad[0][1:]]
        place = ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column", "axis 2", "axis 3"), at, strict=False))
        count = "in all" if first is None else f"in the {len(array):,} rows from {first:,} on"
        raise DataError(
            "not a finite number",
            where=name,
            got=f"{array[tuple(bad[0])]} at {place} ({len(bad)} {count})",
            hint="fill in or leave out such rows first",
        )
