"""What the user should be told about columns: a line each, or one line where many columns share it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from chainrule.errors import printable

_LINES = 3
"""Columns that have a line each; more share one."""


class Notes:
    """Collects what is said of columns.

    Args:
        first: the number of the first row that is spoken of, in the table that it is of.

    Example:
        >>> notes = Notes()
        >>> notes.add("left out, all missing", "size")
        >>> notes.lines()
        ['size: left out, all missing']
        >>> for name in "abcdef":
        ...     notes.add("left out, all missing", name)
        >>> notes.lines()
        ['7 columns: left out, all missing: size, a, b, c, d and 2 more']
    """

    def __init__(self, first: int = 0) -> None:
        self._first = first
        self._said: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)

    def add(self, what: str, name: str, detail: str = "") -> None:
        """Say something of a column.

        Args:
            what: that is said, in words that fit several columns.
            name: of the column.
            detail: the same in words that fit this one.
        """
        self._said[what].append((name, detail or what))

    def row(self, number: int) -> str:
        """A row as it is said: in the table, counted from 1."""
        return f"row {number + self._first + 1:,}"

    def lines(self) -> list[str]:
        """The lines, with control characters escaped."""
        found: list[str] = []
        for what, said in self._said.items():
            if len(said) <= _LINES:
                found += [printable(f"{name}: {detail}") for name, detail in said]
            else:
                found.append(printable(f"{len(said)} columns: {what}: {shortened(name for name, _ in said)}"))
        return found


def shortened(names: Iterable[Any], most: int = 5) -> str:
    """The names in one line, not more than `most` of them.

    Example:
        >>> shortened(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(number: int, noun: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "row"), counted(2500, "row")
        ('1 row', '2,500 rows')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
