"""Loops handed to a backend: the specification, the program, and its reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from chainrule.graph.graph import Graph


class Comparison(NamedTuple):
    """How the outputs of a graph are to be compared.

    Attributes:
        states: how many leading outputs are new values of inputs: what is compared is their change, since a wrong one
            would be hidden beneath the weights.
        first: the input that the first of them is the new value of.
        records: the outputs, by position, that hold unrelated numbers.
        left_out: those that are not compared.
    """

    states: int = 0
    first: int = 0
    records: frozenset[int] = frozenset()
    left_out: frozenset[int] = frozenset()


@dataclass(frozen=True)
class LoopSpec:
    """A graph of loops that is run many times over a state.

    Attributes:
        graph: (state…, the rest…) → (new state…, records…).
        states: how many leading inputs a call consumes.
        comparison: how its outputs are compared with the interpreter's.
        check_inputs: other values of some inputs, by position, with which a run takes a step or two: a new program is
            checked with them.
        cost: the seconds that interpreting these is expected to take.
    """

    graph: Graph
    states: int
    comparison: Comparison
    check_inputs: tuple[Mapping[int, Any], ...]
    cost: float


class CompileReport(NamedTuple):
    """What compiling a program took: seconds, whether it came from the cache, and a note for the user."""

    seconds: float
    cached: bool
    note: str | None = None


class CheckReport(NamedTuple):
    """The result of comparing a program with the interpreter: the seconds it took, and a note for the user."""

    seconds: float
    note: str | None = None


class LoopResult(NamedTuple):
    """What a call returns: the outputs, and whether it compared the program with the interpreter.

    A compiled program may still be running when it is handed over: reading the arrays waits for it.
    """

    outputs: list[Any]
    check: CheckReport | None = None


class LoopProgram(Protocol):
    """The program of a graph of loops."""

    def make(self) -> CompileReport | None:
        """Finish the program; None if there was nothing to do."""

    @property
    def extra(self) -> int:
        """The peak bytes of memory that a call takes besides its arguments, once the program is made."""

    @property
    def unchecked(self) -> str | None:
        """Why the program was not compared with the interpreter so far; None where it was, or need not be."""

    def __call__(self, state: list[Any], rest: Sequence[Any]) -> LoopResult:
        """Run it. The state passed in is consumed."""
