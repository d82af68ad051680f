"""Schedules: functions of the step that give the factor on the optimizer's learning rate.

A schedule is called with the step (0, 1, 2, …; a number or a tensor). Lengths that are left out mean the whole
training; the trainer says how long that is by `bind`.
"""

from __future__ import annotations

import copy
import math
from typing import Any

from chainrule.errors import ArgumentError, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor


class Schedule:
    """What the schedules have in common."""

    def bind(self, steps: int, steps_per_epoch: int) -> Schedule:
        """This schedule for a training of so many steps."""
        return copy.copy(self)

    def __call__(self, step: Any) -> Tensor:
        """The factor at a step."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in vars(self).items())})"


def _count(step: Any) -> Tensor:
    step = F.as_tensor(step)
    return step if step.dtype.kind == "f" else F.cast(step, "float64" if step.value is not None else "float32")


class Constant(Schedule):
    """1 throughout."""

    def __call__(self, step: Any) -> Tensor:
        """1."""
        return _count(step) * 0.0 + 1.0


class Step(Schedule):
    """gamma^⌊epoch/every⌋: the rate falls by a factor every so many epochs.

    Args:
        every: epochs between falls, at least 1.
        gamma: the factor, above 0.
    """

    def __init__(self, every: int, gamma: float = 0.1) -> None:
        self.every = check_number("every", every, low=1, integer=True)
        self.gamma = check_number("gamma", gamma, low=0, low_open=True)
        self.steps_per_epoch = 1

    def bind(self, steps: int, steps_per_epoch: int) -> Step:
        """This schedule with epochs of so many steps (unbound, a step counts as an epoch)."""
        bound = copy.copy(self)
        bound.steps_per_epoch = steps_per_epoch
        return bound

    def __call__(self, step: Any) -> Tensor:
        """The factor at a step."""
        falls = F.floor(_count(step) * (1.0 / (self.every * self.steps_per_epoch)) + 1e-6)
        return F.exp(falls * math.log(self.gamma))


class Cosine(Schedule):
    """final + (1 − final)·(1 + cos(π·step/steps))/2: from 1 down to `final` (Loshchilov & Hutter 2017, one cycle).

    Args:
        steps: the length; the whole training by default.
        final: the factor at the end, in [0, 1].

    Example:
        >>> [round(float(Cosine(steps=10)(step)), 3) for step in (0, 5, 10, 20)]
        [1.0, 0.5, 0.0, 0.0]
    """

    def __init__(self, steps: int | None = None, final: float = 0.0) -> None:
        self.steps = None if steps is None else check_number("steps", steps, low=1, integer=True)
        self.final = check_number("final", final, low=0, high=1)

    def bind(self, steps: int, steps_per_epoch: int) -> Cosine:
        """This schedule over the whole training, unless it has its own length."""
        return Cosine(self.steps or max(steps, 1), self.final)

    def __call__(self, step: Any) -> Tensor:
        """The factor at a step."""
        if self.steps is None:
            raise ArgumentError("the length is not known", where="Cosine", hint="give steps, or use it in a Trainer")
        done = F.minimum(_count(step) * (1.0 / self.steps), 1.0)
        return (F.cos(done * math.pi) + 1.0) * (0.5 * (1.0 - self.final)) + self.final


class Warmup(Schedule):
    """From near 0 up to 1 in a straight line over `steps`, then another schedule, counted from there.

    Args:
        then: what follows; `Constant()` by default.
        steps: the length of the rise, at least 1; a twentieth of the training by default.

    Example:
        >>> [round(float(Warmup(steps=4)(step)), 2) for step in (0, 1, 3, 9)]
        [0.25, 0.5, 1.0, 1.0]
    """

    def __init__(self, then: Schedule | None = None, steps: int | None = None) -> None:
        if then is not None and not isinstance(then, Schedule):
            raise ArgumentError("not a schedule", where="then", got=type(then).__name__)
        self.then = then or Constant()
        self.steps = None if steps is None else check_number("steps", steps, low=1, integer=True)

    def bind(self, steps: int, steps_per_epoch: int) -> Warmup:
        """This schedule for a training of so many steps."""
        rise = self.steps or max(steps // 20, 1)
        return Warmup(self.then.bind(max(steps - rise, 1), steps_per_epoch), rise)

    def __call__(self, step: Any) -> Tensor:
        """The factor at a step."""
        if self.steps is None:
            raise ArgumentError("the length is not known", where="Warmup", hint="give steps, or use it in a Trainer")
        count = _count(step)
        return F.where(
            count < self.steps, (count + 1.0) * (1.0 / self.steps), self.then(F.maximum(count - self.steps, 0.0))
        )
