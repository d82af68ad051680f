"""The tables of operations and rules as formulas: which letter stands for what, filled with names.

The tables give formulas as text, "Y = X·Wᵀ + b" and "X̄ = G·W, W̄ = Gᵀ·X, b̄ = Σ G over rows". Nothing here lists
operations: one that is added to the tables is read as the others are.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping

from chainrule.autodiff.rules import RULES, Formula
from chainrule.explain.formula import (
    SPACE,
    Atom,
    Expression,
    Letter,
    Lowered,
    Raised,
    Root,
    Sign,
    Word,
    decompose_marks,
    parse,
    substitute,
)
from chainrule.graph.ops import OPS


@functools.cache
def symbols(op: str, operands: int) -> tuple[str | None, ...]:
    """The letter that stands for each operand in the operation's formula; None for one that has none.

    The rule of an operation names its operands, in order, on its left sides: "X̄ = G·W, W̄ = Gᵀ·X, b̄ = …". An operand
    that has no derivative goes by the name that the rule of shapes has for it; conditions on numbers say x and y.
    """
    rule = RULES.get(op)
    if not isinstance(rule, Formula):
        plain = (*"xyz"[:operands], *(None,) * (operands - 3))
        return plain if said_by(op).issuperset(plain) else (None,) * operands
    named = iter([letter for letter, _, _ in sides(op)])
    differentiable = [bool(rule.adjoints) and rule.adjoint(i) is not None for i in range(operands)]
    return tuple(next(named, None) if real else _other_word(op, i) for i, real in enumerate(differentiable))


def _other_word(op: str, position: int) -> str | None:
    parameters = inspect.signature(OPS[op].infer).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    name = names[position] if position < len(names) else ""
    found = [word for word in said_by(op) if len(word) > 2 and name.startswith(word)]
    return found[0] if found else None


def said_by(op: str) -> set[str]:
    """Every letter and word on the right side of an operation's formula."""
    return set(_inside(right_side(op)))


def _inside(expression: Expression) -> list[str]:
    found: list[str] = []
    for atom in expression:
        if isinstance(atom, (Raised, Lowered, Root)):
            found += _inside(atom.inside)
        elif isinstance(atom, (Letter, Word)):
            found.append(atom.letter if isinstance(atom, Letter) else atom.text)
    return found


def result_symbol(op: str) -> str:
    """The letter on the left side of an operation's formula."""
    return OPS[op].formula[0]


def right_side(op: str) -> Expression:
    """What follows the first equals sign of an operation's formula."""
    return parse(OPS[op].formula.partition(" = ")[2])


@functools.cache
def sides(op: str) -> list[tuple[str, Expression, Expression]]:
    """The rule of an operation in pieces: (the operand's letter, its adjoint, what that is)."""
    text = decompose_marks(getattr(RULES[op], "text", ""))
    pieces = re.split(r", (?=\w\u0304[^ ]? = )", text)
    return [(left[0], parse(left), parse(right)) for left, _, right in (piece.partition(" = ") for piece in pieces)]


def call(op: str, operands: list[Expression]) -> Expression:
    """op(operands), for an operation whose formula does not name them."""
    atoms: list[Atom] = [Word(op), Sign("(")]
    for i, operand in enumerate(operands):
        atoms += [*((Sign(","), SPACE) if i else ()), *operand]
    return (*atoms, Sign(")"))


def filled(op: str, operands: list[Expression], settings: Mapping[str, str] | None = None) -> Expression:
    """The right side of an operation's formula over these operands, its settings in place of the words for them.

    Example:
        >>> from chainrule.explain.formula import Name, NumberLiteral
        >>> from chainrule.explain.typeset import text
        >>> text(filled("linear", [(Name("x"),), (Name("W", "1"),), (Name("b", "1"),)]))
        'x·W1ᵀ + b1'
        >>> text(filled("multiply", [(NumberLiteral(0.9),), (Name("v"), Sign("+"), Name("w"))]))
        '0.9·(v+w)'
    """
    letters = symbols(op, len(operands))
    given = {(letter, ""): operand for letter, operand in zip(letters, operands, strict=True) if letter is not None}
    if len(given) < len(operands):
        return call(op, operands)
    for setting, said in (settings or {}).items():
        given[setting, ""] = (Word(said if setting == "index" else f"{setting} {said}"),)
    return substitute(_without_missing(right_side(op), op, len(operands)), given)


def _without_missing(expression: Expression, op: str, operands: int) -> Expression:
    """The formula without the last summand, where that stands for an operand that was not given (a bias)."""
    everything = [letter for letter, _, _ in sides(op)] if isinstance(RULES.get(op), Formula) else []
    if len(everything) <= operands or expression[-1] != Letter(everything[-1]):
        return expression
    cut = len(expression) - 1
    while cut and expression[cut - 1] in (SPACE, Sign("+")):
        cut -= 1
    return expression[:cut]
