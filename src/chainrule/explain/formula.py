"""Formulas as objects: a string becomes a list of atoms, whose letters can be replaced by names or by whole formulas.

`typeset` and `mathml` write the result as plain text, LaTeX or MathML.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Name:
    """The name of a quantity: z₁, W₁, ∂C/∂z₁, velocity′ of W₁.

    Attributes:
        letter: a letter or a word.
        index: what stands below it, or nothing.
        of: the quantity it belongs to, which stands below it too.
        slope: of what it is the derivative *by* this quantity: "C", "L", or nothing.
        prime: whether it is the new value.
    """

    letter: str
    index: str = ""
    of: Name | None = None
    slope: str = ""
    prime: bool = False

    def gradient(self, cost: str = "C") -> Name:
        """∂cost/∂this."""
        return dataclasses.replace(self, slope=cost)


@dataclass(frozen=True)
class Letter:
    """A letter of a formula that no name has been given to yet; `mark` is "bar" or "hat" or nothing."""

    letter: str
    mark: str = ""


@dataclass(frozen=True)
class Word:
    """A word or the name of a function."""

    text: str


@dataclass(frozen=True)
class Sign:
    """An operator, a bracket, a comma or a space."""

    text: str


@dataclass(frozen=True)
class NumberLiteral:
    """A number."""

    value: float


@dataclass(frozen=True)
class Raised:
    """What stands above the line."""

    inside: Expression


@dataclass(frozen=True)
class Lowered:
    """What stands below the line."""

    inside: Expression


@dataclass(frozen=True)
class Root:
    """A square root."""

    inside: Expression


Atom = Name | Letter | Word | Sign | NumberLiteral | Raised | Lowered | Root
Expression = tuple[Atom, ...]
SPACE = Sign(" ")
_MARKS = {"\u0304": "bar", "\u0302": "hat"}
_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)|(?P<power>\^\()|_(?P<below>[A-Za-z]+)|(?P<word>[A-Za-z]{2,})"
    r"|(?P<letter>[A-Za-z\u0370-\u03ff])(?P<mark>[\u0304\u0302]?)|(?P<other>.)",
    re.DOTALL,
)
_GREEK_SIGNS = "Σ"


@functools.cache
def parse(text: str) -> Expression:
    """A formula's text as atoms.

    Example:
        >>> parse("x² + b")
        (Letter(letter='x', mark=''), Raised(inside=(NumberLiteral(value=2.0),)), Sign(text=' '), Sign(text='+'),
         Sign(text=' '), Letter(letter='b', mark=''))
    """
    return _parse(decompose_marks(text))


def decompose_marks(text: str) -> str:
    """The text with a bar or a hat as a character of its own behind its letter."""
    characters = (unicodedata.normalize("NFD", character) for character in unicodedata.normalize("NFC", text))
    return "".join(a if a[-1] in _MARKS else unicodedata.normalize("NFC", a) for a in characters)


def _parse(text: str) -> Expression:
    atoms: list[Atom] = []
    place = 0
    while place < len(text):
        shift, run = _shifted(text, place)
        if run:
            atoms.append(Raised(_script(run)) if shift == "<super>" else Lowered(_script(run)))
            place += len(run)
            continue
        match = _TOKEN.match(text, place)
        assert match is not None
        place = match.end()
        if match["power"]:
            end = _closing(text, place)
            atoms.append(Raised(_parse(text[place : end - 1])))
            place = end
        elif match["other"] == "√":
            end = _closing(text, place + 1) if text[place] == "(" else place + 1
            atoms.append(Root(_parse(text[place:end].removeprefix("(").removesuffix(")"))))
            place = end
        else:
            atoms.append(_atom(match))
    return tuple(atoms)


def _atom(match: re.Match[str]) -> Atom:
    if match["number"]:
        return NumberLiteral(float(match["number"]))
    if match["below"]:
        return Lowered((Letter(match["below"]),))
    if match["word"]:
        return Word(match["word"])
    if match["letter"] and match["letter"] not in _GREEK_SIGNS:
        return Letter(match["letter"], _MARKS.get(match["mark"], ""))
    return Sign(match["letter"] or match["other"])


def _shifted(text: str, place: int) -> tuple[str, str]:
    """The run of raised or lowered characters that begins here, and which of the two."""
    shift = unicodedata.decomposition(text[place]).partition(" ")[0]
    if shift not in ("<super>", "<sub>"):
        return "", ""
    end = place
    while end < len(text) and unicodedata.decomposition(text[end]).startswith(shift):
        end += 1
    return shift, text[place:end]


def _script(run: str) -> Expression:
    """Raised or lowered characters put back on the line; an i or j behind a letter is that letter's own index."""
    base = [chr(int(unicodedata.decomposition(character).split()[1], 16)) for character in run]
    atoms: list[Atom] = []
    for character in base:
        if character in "ij" and atoms and isinstance(atoms[-1], Letter):
            atoms.append(Lowered((Letter(character),)))
        else:
            atoms += _parse(character)
    return tuple(atoms)


def _closing(text: str, place: int) -> int:
    """Behind the bracket that closes the one before `place`."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        place += 1
    return place


# ---- filling in


def substitute(expression: Expression, given: Mapping[tuple[str, str], Expression]) -> Expression:
    """The formula with its letters replaced: `given` maps (letter or word, mark) to what comes in its place."""
    atoms: list[Atom] = []
    for place, atom in enumerate(expression):
        if isinstance(atom, (Raised, Lowered, Root)):
            atoms.append(dataclasses.replace(atom, inside=substitute(atom.inside, given)))
            continue
        key = (atom.letter, atom.mark) if isinstance(atom, Letter) else (getattr(atom, "text", ""), "")
        if isinstance(atom, (Letter, Word)) and key in given:
            new = given[key]
            atoms += (Sign("("), *new, Sign(")")) if _needs_brackets(new, expression, place) else new
        else:
            atoms.append(atom)
    return tuple(atoms)


def _needs_brackets(new: Expression, host: Expression, place: int) -> bool:
    before = next((atom for atom in reversed(host[:place]) if atom != SPACE), None)
    after = next((atom for atom in host[place + 1 :] if atom != SPACE), None)
    left, right = getattr(before, "text", ""), getattr(after, "text", "")
    level = _level(new)
    beside = host[place - 1] if place else None
    if isinstance(after, (Raised, Lowered)) or isinstance(beside, (NumberLiteral, Letter)):
        return level < 4
    if isinstance(before, Word) or left in ("Σ", "/"):
        return level < 3
    if left == "·" or right in ("·", "/") or left == "−":
        return level < 2
    return False


def _level(expression: Expression) -> int:
    """How tightly the formula holds together: 1 a sum, 2 a product, 3 a function, 4 one name or number."""
    if len(expression) == 1:
        atom = expression[0]
        if isinstance(atom, NumberLiteral) and atom.value < 0:
            return 1
        return 3 if isinstance(atom, Name) and atom.slope else 4
    depth, level = 0, 3
    for atom in expression:
        text = getattr(atom, "text", "")
        depth += {"(": 1, ")": -1}.get(text, 0)
        if depth == 0 and (
            text in ("+", "−", "<", ">", "=", "≤", "≥", "≠") or (isinstance(atom, Word) and len(text) > 4)
        ):
            level = 1
        elif depth == 0 and text in ("·", "/"):
            level = min(level, 2)
    return level
