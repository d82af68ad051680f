"""What holds while nodes are made: a context variable, so that threads and async tasks don't see each other's."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

_PACKAGE = __name__.split(".")[0]


class Call(NamedTuple):
    """A call of a module: which one, where in the model, in training mode or not, and what it gave."""

    module: Any
    path: str
    training: bool
    result: Any


class Guard(NamedTuple):
    """An array whose values have shaped a graph (a mask that was an index), and what they were."""

    array: np.ndarray[Any, Any]
    values: np.ndarray[Any, Any]

    @property
    def holds(self) -> bool:
        """Whether the array still has those values."""
        return np.array_equal(self.array, self.values)


class Checkpointed:
    """A part of a computation whose insides are not kept for the gradient, but computed again.

    Attributes:
        parent: the region around it.
        given: what went into it, apart from weights.
    """

    __slots__ = ("given", "parent")

    def __init__(self, parent: Checkpointed | None, given: tuple[Any, ...]) -> None:
        self.parent, self.given = parent, given


class Mode:
    """What holds while nodes are made. Replaced as a whole by `setting`, never changed.

    Attributes:
        recording: whether to record for derivatives.
        differentiating: whether a derivative is being taken.
        tracing: whether a graph is being made.
        training: the mode that modules are in, whatever their own `training` says; None leaves it to them.
        lines: whether nodes remember the line of the user's code that made them.
        module: the path of the module we are in.
        region: the region we are in, if any.
        paths: where each module of the running model is, by the module's id.
        calls: a log of module calls, where one is kept.
        updates: the new values of buffers by the buffer's id, where they are gathered.
        trusted: whether labels are known to lie within their classes, none of them ignored.
        quiet: whether NumPy's warnings of overflow and the like are already off.
        guards: where a function is traced, the arrays whose values have shaped its graph.
    """

    recording = True
    differentiating = False
    tracing = False
    training: bool | None = None
    lines = False
    module = ""
    region: Checkpointed | None = None
    paths: dict[int, str] = {}  # noqa: RUF012  # replaced, never changed
    calls: list[Call] | None = None
    updates: dict[int, tuple[Any, Any]] | None = None
    trusted = False
    quiet = False
    guards: list[Guard] | None = None


_current: ContextVar[Mode] = ContextVar("chainrule_mode", default=Mode())  # noqa: B039  # replaced, never changed
current = _current.get
"""The mode of this thread or task, as it is now."""


def user_line() -> str | None:
    """The "file:line" of the user's code that is being run, or None where there is none."""
    frame = sys._getframe(1)  # noqa: SLF001  # inspect's way to it is slow
    while frame is not None:
        if frame.f_globals.get("__name__", "").split(".")[0] != _PACKAGE:
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # the loop ends at None
    return None


class _Here:
    """The mode of this thread or task: whatever it is when an attribute is read."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_current.get(), name)


mode = _Here()


class setting:  # noqa: N801  # read as a statement: with setting(recording=False)
    """Change the mode of this thread or task within a block.

    Example:
        >>> with setting(recording=False):
        ...     mode.recording
        False
    """

    __slots__ = ("_before", "_now")

    def __init__(self, **values: Any) -> None:
        self._before = _current.get()
        self._now = Mode()
        vars(self._now).update(vars(self._before))
        vars(self._now).update(values)

    def __enter__(self) -> None:
        _current.set(self._now)

    def __exit__(self, *_: object) -> None:
        _current.set(self._before)


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Within this block nothing is recorded for derivatives; what is made there counts as constant.

    It holds for this thread or asynchronous task alone. A derivative that is asked for inside (`cr.grad`, …) is taken.

    Example:
        >>> import chainrule as cr
        >>> x = cr.tensor(2.0, requires_grad=True)
        >>> with cr.no_grad():
        ...     y = x * x
        >>> y.requires_grad
        False
    """
    with setting(recording=False):
        yield
