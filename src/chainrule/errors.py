"""The exceptions, and the one way to word them.

Every message says what is wrong, where (layer, column, argument), what was expected, what was found, and what to do
about it. An error that a user can cause is a `ChainruleError`; it also derives from the built-in exception that a
Python user would catch (`ValueError`, `TypeError`, …). `assert` is reserved for our own mistakes.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any


class ChainruleError(Exception):
    """An error that a user can cause and fix.

    Args:
        what: what is wrong, a clause without a full stop.
        where: the layer, column, file or argument it is about.
        expected: what would have been right.
        got: what was found instead.
        hint: what to do, a clause without a full stop.

    Example:
        >>> str(ShapeError("the widths do not fit", where="fc1 (Linear)", expected="(…, 64)", got="(32, 60)"))
        'fc1 (Linear): the widths do not fit: expected (…, 64), got (32, 60)'
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.where, self.expected, self.got, self.hint = what, where, expected, got, hint
        text = f"{where}: {what}" if where else what
        found = [f"{word} {value}" for word, value in (("expected", expected), ("got", got)) if value is not None]
        if found:
            text += ": " + ", ".join(found)
        if hint:
            text += f"; {hint}"
        super().__init__("\n".join(map(printable, text.split("\n"))))


class ArgumentError(ChainruleError, ValueError):
    """An argument, option or setting outside what is allowed."""


class ShapeError(ChainruleError, ValueError):
    """Shapes or dtypes that do not match."""


class DataError(ChainruleError, ValueError):
    """A table, an array or a file that cannot be used as it is."""


class RunError(ChainruleError, OSError):
    """A run folder that cannot be read or written."""


class ResourceError(ChainruleError, MemoryError):
    """More memory was requested than there is."""


class OutOfRangeError(ChainruleError, IndexError):
    """An index or a label that is out of range."""


class TraceError(ChainruleError, TypeError):
    """Something that needs a value was asked of a placeholder, or a tensor was written in place."""


class DerivativeError(ChainruleError, TypeError):
    """A derivative that does not exist, or that is not implemented."""


class GraphError(ChainruleError, ValueError):
    """A graph that the verifier refuses."""


class GradientMismatch(ChainruleError, ArithmeticError):
    """An analytic gradient that disagrees with the numeric one."""


class CompilerMismatch(ChainruleError, ArithmeticError):
    """A compiled program that does not compute what the reference interpreter computes.

    Attributes:
        node: the first node that differs; where only the program as a whole is wrong, the output that differs.
        place: the index of the element that is off most.
        reference, compiled: what the interpreter and the program make of it.
        times: how many times as far apart they are as rounding explains.
    """

    node: Any
    place: tuple[int, ...]
    reference: Any
    compiled: Any
    times: float


class CompilerWarning(RuntimeWarning):
    """A compiled program was wrong, or could not be made safe from a known fault of the compiler."""


class NotFiniteError(ChainruleError, ArithmeticError):
    """A training run whose loss or parameters stopped being finite numbers."""


class TrainingWarning(UserWarning):
    """A training that is set up in a way of which the theory says that it cannot go well."""


def printable(text: str) -> str:
    r"""A text with escapes for characters that a terminal or a page would not show, or would obey.

    Example:
        >>> print(printable("café" + chr(27) + "[31m"))
        café\x1b[31m
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """The names, those most like `name` first.

    Example:
        >>> nearest("digit", ["iris", "digits"])
        ['digits', 'iris']
    """
    likeness = difflib.SequenceMatcher()
    likeness.set_seq2(name.lower())

    def unlike(other: str) -> float:
        likeness.set_seq1(other.lower())
        return -likeness.ratio()

    return sorted(names, key=unlike)


def check_choice(argument: str, value: Any, choices: Iterable[str]) -> str:
    """`value` if it is one of `choices`; otherwise an `ArgumentError` that lists them, nearest first."""
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in nearest(str(value), choices))
        raise ArgumentError("unknown value", where=argument, expected=f"one of {listed}", got=repr(value))
    return str(value)


def _as_float(value: Any) -> float:
    """`value` as a Python float, NaN where it is none."""
    try:
        return float(value)
    except ChainruleError:
        raise
    except (TypeError, ValueError, OverflowError):
        return math.nan


def check_number(
    argument: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
    integer: bool = False,
) -> Any:
    """`value` if it is a finite number within the range; otherwise an `ArgumentError` that says the range.

    Example:
        >>> check_number("p", 1.5, low=0, high=1)
        Traceback (most recent call last):
        chainrule.errors.ArgumentError: p: not an allowed value: expected a number in [0, 1], got 1.5
    """
    kind = "an integer" if integer else "a number"
    number = math.nan if isinstance(value, (bool, str, bytes)) else _as_float(value)
    fits = math.isfinite(number) and low <= number <= high
    fits = fits and not (low_open and number == low) and not (high_open and number == high)
    if integer:
        fits = fits and number == int(number)
    if not fits:
        raise ArgumentError(
            "not an allowed value",
            where=argument,
            expected=f"{kind} {_range(low, high, low_open, high_open)}".strip(),
            got=repr(value),
        )
    if integer:
        return int(value)
    # A NumPy number is a float too, and would make float64 of everything it is multiplied with.
    return value if type(value) in (int, float) else number


def _range(low: float, high: float, low_open: bool, high_open: bool) -> str:
    if math.isinf(low) and math.isinf(high):
        return ""
    if math.isinf(high):
        return f"{'above' if low_open else 'of at least'} {_bound(low)}"
    left, right = "(" if low_open else "[", ")" if high_open else "]"
    return f"in {left}{_bound(low)}, {_bound(high)}{right}"


def _bound(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
