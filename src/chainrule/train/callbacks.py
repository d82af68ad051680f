"""What is called while a training runs, and what early stopping goes by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chainrule.errors import ArgumentError, check_choice, check_number

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer


class Callback:
    """What `fit` calls while it trains: derive from it and write the methods that you need.

    Before each call the model, the history and the counts of the trainer are what they are at that moment. What a
    method changes takes effect from the next step on: weights, the learning rate, `requires_grad`, attributes of
    modules. Where `on_step_end` or `on_epoch_end` returns True the training ends ("callback" in `history.stopped`).

    Attributes:
        every: how many steps lie between two calls of `on_step_end`, counted from the first step of the training; by
            default it is never called. The program returns to Python for each call: every step may be much slower.

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

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Called before the first step."""

    def on_step_end(self, trainer: Trainer) -> bool | None:
        """Called after each `every` steps; True ends the training."""

    def on_epoch_end(self, trainer: Trainer) -> bool | None:
        """Called after each epoch and its evaluation; True ends the training."""

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
        monitor: "val_loss", "loss", or a metric on the validation rows such as "val_auc".
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


class Callbacks:
    """All callbacks of a training, which are called with its trainer."""

    def __init__(self, callbacks: Sequence[Callback], trainer: Trainer) -> None:
        self._all, self._trainer = callbacks, trainer
        self._steps = [callback for callback in callbacks if callback.every is not None]

    @classmethod
    def of(cls, callbacks: Any, trainer: Trainer) -> Callbacks:
        """Those given to `fit`: callbacks, or functions to be called after each epoch.

        Raises:
            ArgumentError: not a sequence of these.
        """
        if callable(callbacks) or isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
            name = getattr(callbacks, "__name__", "f")
            hint = f"write callbacks=[{name if name.isidentifier() else 'f'}]" if callable(callbacks) else None
            raise ArgumentError(
                "several are wanted", where="callbacks", expected="a list of functions or callbacks", hint=hint
            )
        return cls([_callback(one) for one in callbacks], trainer)

    @property
    def cadence(self) -> int | None:
        """The steps after which the program returns to Python; None where no callback asks for it."""
        return math.gcd(*(callback.every or 0 for callback in self._steps)) if self._steps else None

    def __bool__(self) -> bool:
        return bool(self._all)

    def begin(self) -> None:
        """Before the first step."""
        for callback in self._all:
            callback.on_fit_begin(self._trainer)

    def due(self, steps: int) -> bool:
        """Whether one is to be called after so many steps of this training."""
        return any(steps % (callback.every or 1) == 0 for callback in self._steps)

    def step(self, steps: int) -> bool:
        """After so many steps; whether to stop."""
        due = [callback for callback in self._steps if steps % (callback.every or 1) == 0]
        return True in [callback.on_step_end(self._trainer) for callback in due]

    def epoch(self) -> bool:
        """After an epoch; whether to stop."""
        return True in [callback.on_epoch_end(self._trainer) for callback in self._all]

    def end(self) -> None:
        """When the training is over."""
        for callback in self._all:
            callback.on_fit_end(self._trainer)


def _callback(given: Any) -> Callback:
    if isinstance(given, type) and issubclass(given, Callback):
        raise ArgumentError("a class, where one of it is wanted", where="callbacks", hint=f"write {given.__name__}(…)")
    if isinstance(given, Callback):
        if given.every is not None:
            check_number("every", given.every, low=1, integer=True)
        return given
    if not callable(given):
        raise ArgumentError("not a function", where="callbacks", got=type(given).__name__)
    return _Function(given)
