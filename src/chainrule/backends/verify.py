"""Verifying compiled programs: when, at what cost, and what happens to a wrong one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from chainrule.backends.agreement import Disagreement
from chainrule.backends.bisect import locate
from chainrule.errors import CompilerWarning, check_choice
from chainrule.graph.graph import Graph

VERIFY_VARIABLE = "CHAINRULE_VERIFY"
"""The environment variable that says what is checked."""
MIN_SECONDS, MAX_SHARE = 0.05, 0.02
"""Seconds that a check may always take, and its largest share of the time a program has taken so far."""
P = TypeVar("P")


class CheckRecord(Protocol):
    """Where a program is stored beyond the process, and whether it was verified."""

    def is_verified(self) -> bool:
        """Whether the program comes from an earlier process and was verified there."""

    def mark_verified(self) -> None:
        """Record that it was verified."""

    def remove(self) -> None:
        """Remove it from the cache."""


def verify_mode() -> str:
    """The value of `$CHAINRULE_VERIFY`.

    "first", the default: each newly compiled program, once, as soon as that is cheap compared with what it has done.
    "always": each program at its first call, whatever that costs, including those from the cache. "off": none.

    Raises:
        ArgumentError: it is something else.
    """
    return check_choice(
        VERIFY_VARIABLE, os.environ.get(VERIFY_VARIABLE, "").strip().lower() or "first", ("off", "first", "always")
    )


class Verdict(NamedTuple, Generic[P]):
    """The program to use from now on, None for interpreting, and a note for the user."""

    program: P | None
    note: str | None = None


@dataclass
class CheckSchedule:
    """Whether a program still has to be checked, and whether that would be cheap by now.

    Attributes:
        cost: the seconds that a check is expected to take.
        pending: whether it is still to be checked.
        spent: the seconds that compiling and running it have taken so far.
        entry: the program's cache entry, or None.
    """

    cost: float
    pending: bool = True
    spent: float = 0.0
    entry: CheckRecord | None = None

    def recall(self, entry: CheckRecord | None) -> None:
        """The program has been compiled or loaded: one that was verified in an earlier process is not checked again."""
        self.entry = entry
        self.pending = not (entry is not None and verify_mode() == "first" and entry.is_verified())

    def done(self, right: bool) -> None:
        """The program has been checked."""
        self.pending = False
        if self.entry is not None:
            (self.entry.mark_verified if right else self.entry.remove)()

    def due(self) -> bool:
        """Whether to check now."""
        if not self.pending:
            return False
        chosen = verify_mode()
        self.pending = chosen != "off"
        return chosen == "always" or (self.pending and self.cheap)

    @property
    def cheap(self) -> bool:
        """Whether a check is cheap compared with what the program has taken so far."""
        return self.cost <= max(MIN_SECONDS, MAX_SHARE * self.spent)

    @property
    def note(self) -> str | None:
        """Why a program was not checked; None if it was, or checking is off."""
        if not self.pending or verify_mode() == "off":
            return None
        return (
            f"the compiled program was not compared with the interpreter: that takes about {self.cost:.2g} s, and it "
            f"has run for {self.spent:.2g} s; {VERIFY_VARIABLE}=always compares it whatever that costs"
        )


def checked_program(
    program: P,
    again: Callable[[], P | None],
    differs: Callable[[P], Disagreement | None],
    compiled: Callable[[Graph, Sequence[Any]], list[Any]],
) -> Verdict[P]:
    """What to use from now on: the program, one recompiled without fusions, or none.

    Args:
        program: as it was compiled.
        again: returns the program recompiled without fusions, or None if that is not possible.
        differs: compares a program with the interpreter.
        compiled: compiles a graph as the program was compiled, and runs it.
    """
    found = differs(program)
    if found is None:
        return Verdict(program)
    first = locate(found, compiled)
    where = f"{found}, though this alone is right" if first is None else str(first)
    second = again()
    fine = second is not None and differs(second) is None
    instead = "compiled without fusions it agrees, and is used so" if fine else "it is interpreted instead"
    note = f"the compiler produced a wrong program, which is not used: {where}; {instead}; please report it"
    return Verdict(second if fine else None, note)


def warn(note: str | None, stacklevel: int = 3) -> None:
    """Warn, if there is a note."""
    if note is not None:
        warnings.warn(note, CompilerWarning, stacklevel=stacklevel)
