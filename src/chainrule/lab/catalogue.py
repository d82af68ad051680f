"""Which labs there are: one per file of `claims/`, found there, so that there is no list to keep."""

from __future__ import annotations

import functools
import importlib

from chainrule.discovery import modules
from chainrule.errors import check_choice
from chainrule.lab import claims
from chainrule.lab.experiment import Lab

SECTIONS = {
    "A": "Backpropagation as a graph that is turned round",
    "B": "Modules, each with its own gradient",
    "C": "Practical tricks",
    "D": "Optimizers",
    "E": "Normalisation",
    "F": "Dropout as an ensemble",
    "G": "The solved exercise",
    "H": "What goes wrong, and the cure",
}
"""The parts of the lecture's list, by the letter that a lab's row begins with."""


def names() -> list[str]:
    """The names of all labs, by row, then by name.

    Example:
        >>> "fan-out" in names()
        True
    """
    return sorted(_found(), key=lambda name: (*_place(load(name).row), name))


def load(name: str) -> Lab:
    """The lab of that name.

    Raises:
        ArgumentError: there is no such lab; the names are listed, nearest first.

    Example:
        >>> load("fan-out").row
        'A4'
    """
    check_choice("lab", name, _found())
    lab: Lab = importlib.import_module(_found()[name]).LAB
    return lab


@functools.cache
def _found() -> dict[str, str]:
    return modules(claims)


def _place(row: str) -> tuple[str, int]:
    """Letter and number of the first row named: "B6, B7, H1" stands at B6."""
    number = "".join(character for character in row[1:3] if character.isdigit())
    return row[:1], int(number or 0)
