"""Schedules: functions of the step that give the factor on the optimizer's learning rate.

A schedule is called with the step (0, 1, 2, …; a number or a tensor). An omitted length is that of the whole training,
which the trainer sets by `bind`. In a second `fit` a schedule continues where the first one left it, the epochs
done before counting in steps of this one's epochs. One whose length is omitted starts over, since that length is of one
`fit`; the history notes it.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

from chainrule.errors import ArgumentError, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor

__all__ = ["Constant", "Cosine", "Exponential", "Linear", "OneCycle", "Schedule", "Step", "Warmup"]

if TYPE_CHECKING:
    from chainrule.optim.plateau import Plateau


class Schedule:
    """Base class of the schedules."""

    def bind(self, steps: int, steps_per_epoch: int) -> Schedule:
        """This schedule for a training of so many steps."""
        return copy.copy(self)

    def __call__(self, step: Any) -> Tensor:
        """The factor at a step."""
        raise NotImplementedError

    @property
    def spans_fit(self) -> bool:
        """Whether it spans each `fit` from beginning to end, having no length of its own; else it goes on in the next.

        To be asked before `bind` has given it a length.
        """
        return False

    @property
    def observes(self) -> bool:
        """Whether the losses of the epochs change the rate too, by `observe`."""
        return False

    def observe(self, seen: Plateau, loss: Any) -> Plateau:
        """What is known after an epoch of this loss; the rate is multiplied by its `factor` from then on."""
        return seen

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in vars(self).items())})"


def _count(step: Any) -> Tensor:
    step = F.as_tensor(step)
    return step if step.dtype.kind == "f" else F.cast(step, "float64" if step.value is not None else "float32")


def _cosine(start: float, end: float, done: Tensor) -> Tensor:
    """Half a cosine from `start` to `end`, where `done` goes from 0 to 1 and stays."""
    return (F.cos(F.minimum(done, 1.0) * math.pi) + 1.0) * (0.5 * (start - end)) + end


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

    Example:
        >>> [round(float(Step(every=2, gamma=0.5)(epoch)), 3) for epoch in range(5)]
        [1.0, 1.0, 0.5, 0.5, 0.25]
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


class Exponential(Step):
    """gamma^epoch: the rate falls by the same factor after every epoch, and is level within one.

    As PyTorch's `ExponentialLR`; Keras's `ExponentialDecay` falls with every step unless it is told otherwise.

    Args:
        gamma: the factor an epoch, above 0.

    Example:
        >>> [round(float(Exponential(0.9)(epoch)), 3) for epoch in range(4)]
        [1.0, 0.9, 0.81, 0.729]
    """

    def __init__(self, gamma: float) -> None:
        super().__init__(every=1, gamma=gamma)


class Linear(Schedule):
    """1 + (final − 1)·step/steps: from 1 to `final` in a straight line, then level.

    As PyTorch's `LinearLR` with `start_factor=1`, `end_factor=final` and `total_iters=steps`.

    Args:
        steps: the length; the whole training by default.
        final: the factor at the end, in [0, 1].

    Example:
        >>> [round(float(Linear(steps=10, final=0.5)(step)), 3) for step in (0, 4, 10, 20)]
        [1.0, 0.8, 0.5, 0.5]
    """

    def __init__(self, steps: int | None = None, final: float = 0.0) -> None:
        self.steps = None if steps is None else check_number("steps", steps, low=1, integer=True)
        self.final = check_number("final", final, low=0, high=1)

    @property
    def spans_fit(self) -> bool:
        """Whether no length is given."""
        return self.steps is None

    def bind(self, steps: int, steps_per_epoch: int) -> Linear:
        """This schedule over the whole training, unless it has its own length."""
        return Linear(self.steps or max(steps, 1), self.final)

    def __call__(self, step: Any) -> Tensor:
        """The factor at a step."""
        if self.steps is None:
            raise ArgumentError("the length is not known", where="Linear", hint="give steps, or use it in a Trainer")
        return F.minimum(_count(step) * (1.0 / self.steps), 1.0) * (self.final - 1.0) + 1.0


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

    @property
    def spans_fit(self) -> bool:
        """Whether no length is given."""
        return self.steps is None

    def bind(self, steps: int, steps_per_epoch: int) -> Cosine:
        """This schedule over the whole training, unless it has its own length."""
        return Cosine(self.steps or max(steps, 1), self.final)

    def __call__(self, step: Any) -> Tensor:
        """The factor at a step."""
        if self.steps is None:
            raise ArgumentError("the length is not known", where="Cosine", hint="give steps, or use it in a Trainer")
        return _cosine(1.0, self.final, _count(step) * (1.0 / self.steps))


class OneCycle(Schedule):
    """Up to the optimizer's rate and down to next to nothing, each along half a cosine (Smith & Topin 2019).

    From 1/div_factor up to 1 at step pct_start·steps − 1, then down to 1/(div_factor·final_div_factor) at the last.
    These are PyTorch's `OneCycleLR` and its defaults, except that the peak is the optimizer's own rate (PyTorch's
    `max_lr`), that the momentum stays as it is, and that steps beyond the last keep the last factor.

    Args:
        steps: the length; the whole training by default.
        pct_start: the share of the steps that rises, in [0, 1].
        div_factor: how far below the peak it starts, at least 1.
        final_div_factor: how far below its beginning it ends, at least 1.

    Example:
        >>> [round(float(OneCycle(steps=10, pct_start=0.5)(step)), 3) for step in (0, 2, 4, 7, 9)]
        [0.04, 0.52, 1.0, 0.345, 0.0]
    """

    def __init__(
        self,
        steps: int | None = None,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        self.steps = None if steps is None else check_number("steps", steps, low=1, integer=True)
        self.pct_start = check_number("pct_start", pct_start, low=0, high=1)
        self.div_factor = check_number("div_factor", div_factor, low=1)
        self.final_div_factor = check_number("final_div_factor", final_div_factor, low=1)

    @property
    def spans_fit(self) -> bool:
        """Whether no length is given."""
        return self.steps is None

    def bind(self, steps: int, steps_per_epoch: int) -> OneCycle:
        """This schedule over the whole training, unless it has its own length."""
        return OneCycle(self.steps or max(steps, 1), self.pct_start, self.div_factor, self.final_div_factor)

    def __call__(self, step: Any) -> Tensor:
        """The factor at a step."""
        if self.steps is None:
            raise ArgumentError("the length is not known", where="OneCycle", hint="give steps, or use it in a Trainer")
        first = 1.0 / self.div_factor
        rise = max(self.pct_start * self.steps - 1.0, 0.0)
        fall = self.steps - 1.0 - rise
        count = _count(step)
        falling = _cosine(1.0, first / self.final_div_factor, (count - rise) * (1.0 / fall if fall > 0 else 1.0))
        return falling if rise == 0 else F.where(count < rise, _cosine(first, 1.0, count * (1.0 / rise)), falling)


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

    @property
    def spans_fit(self) -> bool:
        """Whether no length is given, of the rise or of what follows."""
        return self.steps is None or self.then.spans_fit

    @property
    def observes(self) -> bool:
        """Whether what follows does."""
        return self.then.observes

    def observe(self, seen: Plateau, loss: Any) -> Plateau:
        """What is known after an epoch of this loss."""
        return self.then.observe(seen, loss)
