"""What is called while a training runs, and what early stopping goes by."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from chainrule.errors import ArgumentError, check_choice, check_number

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer


class Callback:
    """What `fit` calls while it trains: derive from it and write the methods that you need.

    Before each call but `on_progress` the model, the history and the counts of the trainer are what they are at that
    moment. What a method changes takes effect from the next step on: weights, the learning rate, `requires_grad`,
    attributes of modules. Where `on_step_end` or `on_epoch_end` returns True the training ends ("callback" in
    `history.stopped`). The progress bar and the checkpoints of `fit` are callbacks too, called after the user's.

    Attributes:
        every: how many steps lie between two calls of `on_step_end`, counted from the first step of the training; by
            default it is never called. The program returns to Python for each call: every step may be much slower.
        read_only: whether `on_step_end` and `on_epoch_end` change nothing that is trained, nor how. Then nothing is
            looked for, which spares a model with parts of the user's own being traced again after each call.

    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> class Halve(cr.Callback):
        ...     def on_epoch_end(self, trainer):
        ...         trainer.optimizer.lr /= 2
        >>> model = cr.nn.Sequential(cr.nn.Linear(2, 1))
        >>> trainer = cr.Trainer(model, cr.nn.MSELoss(), cr.optim.SGD(0.4), backend="numpy")
        >>> history = trainer.fit(np.eye(2), np.eye(2)[:, :1], epochs=3, callbacks=[Halve()], progress=False)
        >>> [round(lr, 3) for lr in history.lr]
        [0.4, 0.2, 0.1]
    """

    every: int | None = None
    read_only: bool = False

    def is_due(self, steps: int, epoch_end: bool) -> bool:
        """Whether `on_step_end`, or at an epoch's end `on_epoch_end`, is to be called after so many steps."""
        return epoch_end or (self.every is not None and steps % self.every == 0)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Called before the program is made, and before the first step."""

    def on_progress(self, trainer: Trainer) -> None:
        """Called before the first step and whenever the program has returned to Python, about five times a second.

        The history is up to date. The model is not: it would have to be copied. Nothing may be changed.
        """

    def on_step_end(self, trainer: Trainer) -> bool | None:
        """Called after each `every` steps; True ends the training."""

    def on_epoch_end(self, trainer: Trainer) -> bool | None:
        """Called after each epoch and its evaluation; True ends the training."""

    def on_train_end(self, trainer: Trainer) -> None:
        """Called after the last step, also where an error ended the training, before the best parameters return."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Called once when the training is over, unless an error ended it."""


class _Function(Callback):
    """A function that is called after each epoch."""

    def __init__(self, function: Callable[[Trainer], Any]) -> None:
        self.function = function

    def on_epoch_end(self, trainer: Trainer) -> bool | None:
        """Call it."""
        return self.function(trainer) is True


@dataclass(frozen=True)
class EarlyStopping:
    """Stop after so many epochs without a better value; by default go back to the parameters of the best epoch.

    It runs within the compiled program, so that it costs next to nothing.

    Args:
        patience: epochs, at least 1.
        monitor: "val_loss", "loss", or a metric: "val_auc" on the validation rows, "auc" on those trained on.
        mode: "min" or "max": which way is better; None for what is known of the loss and the metrics by name.
        min_delta: by how much a value must be better, at least 0.
        restore_best: whether the model gets the parameters of the best epoch; else it keeps the last ones, and a value
            must be better than the best so far, also where that was better by less than `min_delta`.
    """

    patience: int
    monitor: str = "val_loss"
    mode: str | None = None
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        check_number("early_stopping", self.patience, low=1, integer=True)
        check_number("min_delta", self.min_delta, low=0)
        if self.mode is not None:
            check_choice("mode", self.mode, ("min", "max"))

    def judged(self, values: Iterable[float], greater_is_better: bool = False) -> tuple[int, int]:
        """The epoch with the best of these values (0 for none), and the epochs since one was better by enough.

        Example:
            >>> EarlyStopping(3, min_delta=0.1).judged([1.0, 0.8, 0.75])
            (2, 1)
        """
        best, epoch, waited = math.inf, 0, 0
        for count, value in enumerate(values, 1):
            score = -value if greater_is_better else value
            enough = score < best - self.min_delta
            if enough or (score < best and not self.restore_best):
                best, epoch = score, count
            waited = 0 if enough else waited + 1
        return epoch, waited


class Due(NamedTuple):
    """The callbacks whose `on_step_end`, and those whose `on_epoch_end`, is to be called now."""

    step_end: list[Callback]
    epoch_end: list[Callback]

    @property
    def read_only(self) -> bool:
        """Whether none of them changes anything."""
        return all(callback.read_only for callback in (*self.step_end, *self.epoch_end))

    def __bool__(self) -> bool:
        return bool(self.step_end or self.epoch_end)


class Callbacks:
    """All callbacks of a training, which are called in order with its trainer."""

    def __init__(self, callbacks: Sequence[Callback], trainer: Trainer) -> None:
        self._trainer, self._all = trainer, callbacks
        self._step_end = [one for one in callbacks if _has(one, "on_step_end")]
        self._epoch_end = [one for one in callbacks if _has(one, "on_epoch_end")]

    @property
    def cadence(self) -> int | None:
        """The steps after which the program returns to Python; None where no callback asks for it."""
        every = [one.every for one in self._step_end if one.every is not None]
        return math.gcd(*every) if every else None

    @property
    def each_epoch(self) -> bool:
        """Whether the program returns to Python after each epoch."""
        return bool(self._epoch_end)

    @property
    def read_model(self) -> bool:
        """Whether any is called with the model while the training runs."""
        return self.each_epoch or self.cadence is not None

    def fit_begin(self) -> None:
        """Before the first step."""
        for callback in self._all:
            callback.on_fit_begin(self._trainer)

    def progress(self) -> None:
        """Whenever the program has returned."""
        for callback in self._all:
            callback.on_progress(self._trainer)

    def due(self, steps: int, epoch_end: bool) -> Due:
        """Those to be called after so many steps, within an epoch or at its end."""
        step_end = [one for one in self._step_end if one.is_due(steps, epoch_end=False)]
        return Due(step_end, [one for one in self._epoch_end if one.is_due(steps, epoch_end=True)] if epoch_end else [])

    def call(self, due: Due) -> bool:
        """Call those that are due; whether to stop."""
        found = [callback.on_step_end(self._trainer) for callback in due.step_end]
        found += [callback.on_epoch_end(self._trainer) for callback in due.epoch_end]
        return True in found

    def train_end(self) -> None:
        """After the last step: each is called, even where one before has raised."""
        with contextlib.ExitStack() as stack:
            for callback in reversed(self._all):
                stack.callback(callback.on_train_end, self._trainer)

    def fit_end(self) -> None:
        """When the training is over."""
        for callback in self._all:
            callback.on_fit_end(self._trainer)


def _has(callback: Callback, method: str) -> bool:
    """Whether a callback has written a method."""
    return getattr(getattr(callback, method), "__func__", None) is not getattr(Callback, method)


def callbacks_of(given: Any) -> list[Callback]:
    """What is given to `fit`: callbacks, or functions to be called after each epoch.

    Raises:
        ArgumentError: not a sequence of these.
    """
    if callable(given) or isinstance(given, Callback) or not isinstance(given, Iterable):
        name = getattr(given, "__name__", "f")
        hint = f"write callbacks=[{name if name.isidentifier() else 'f'}]" if callable(given) else None
        raise ArgumentError("not a list", where="callbacks", expected="a list of functions or callbacks", hint=hint)
    return [_callback(one) for one in given]


def _callback(given: Any) -> Callback:
    if isinstance(given, type) and issubclass(given, Callback):
        raise ArgumentError("a class instead of an instance", where="callbacks", hint=f"write {given.__name__}(…)")
    if isinstance(given, Callback):
        if given.every is not None:
            check_number("every", given.every, low=1, integer=True)
        return given
    if not callable(given):
        raise ArgumentError("not a function", where="callbacks", got=type(given).__name__)
    return _Function(given)
