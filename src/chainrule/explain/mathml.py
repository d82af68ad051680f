"""Formulas and matrices as MathML: browsers set it by themselves, without scripts and without a network."""

from __future__ import annotations

import html
import unicodedata
from typing import Any

import numpy as np

from chainrule.explain.formula import SPACE, Atom, Expression, Letter, Lowered, Name, Number, Raised, Root, Sign, Word
from chainrule.explain.typeset import FUNCTIONS, number, shortened, slices

_ACCENTS = {"bar": "¯", "hat": "^"}


def formula(expression: Expression) -> str:
    """A formula as a <math> element.

    Example:
        >>> from chainrule.explain.formula import parse
        >>> formula(parse("x²"))
        '<math><mrow><msup><mi>x</mi><mrow><mn>2</mn></mrow></msup></mrow></math>'
    """
    return f"<math>{_row(expression)}</math>"


def matrix(values: Any) -> str:
    """An array as a <math> element: a number or a matrix, elided where it is large; nothing for several results."""
    return "" if values is None else f"<math>{_matrix(values)}</math>"


def _row(expression: Expression) -> str:
    """A row of elements; what stands in brackets is a group, which a power behind it belongs to as a whole."""
    groups: list[list[str]] = [[]]
    words: list[str] = []
    for atom in (*expression, None):
        if isinstance(atom, Word) and atom.text not in FUNCTIONS:
            words.append(html.escape(atom.text))
            continue
        if atom == SPACE:
            continue
        if words:
            groups[-1].append(f"<mtext>&#xa0;{' '.join(words)}&#xa0;</mtext>")
            words = []
        if atom is not None:
            _append(groups, atom)
    return f"<mrow>{''.join(element for group in groups for element in group)}</mrow>"


def _append(groups: list[list[str]], atom: Atom) -> None:
    if isinstance(atom, (Raised, Lowered)):
        # A power or an index belongs to what stands before it.
        base = groups[-1].pop() if groups[-1] else "<mi></mi>"
        tag = "msup" if isinstance(atom, Raised) else "msub"
        groups[-1].append(f"<{tag}>{base}{_row(atom.inside)}</{tag}>")
    elif atom == Sign("("):
        groups.append([_element(atom)])
    elif atom == Sign(")") and len(groups) > 1:
        inside = "".join(groups.pop())
        groups[-1].append(f"<mrow>{inside}{_element(atom)}</mrow>")
    else:
        groups[-1].append(_element(atom))


def _element(atom: Atom) -> str:
    match atom:
        case Name():
            return _name(atom)
        case Letter(letter, mark):
            return _accented(_identifier(letter), _ACCENTS[mark]) if mark else _identifier(letter)
        case Number(value):
            return _number(number(value))
        case Root(inside):
            return f"<msqrt>{_row(inside)}</msqrt>"
        case Word(word):
            return f"<mi>{word}</mi><mspace width='0.17em'/>"
        case _:
            return f"<mo>{html.escape(atom.text)}</mo>"  # type: ignore[union-attr]  # a Sign is all that is left


def _identifier(letter: str) -> str:
    plain = unicodedata.normalize("NFD", letter)
    if plain.endswith("\u0302"):
        return _accented(_identifier(plain[:-1]), "^")
    return f"<mi>{html.escape(letter)}</mi>"


def _accented(base: str, accent: str) -> str:
    return f'<mover accent="true">{base}<mo stretchy="false">{accent}</mo></mover>'


def _name(name: Name) -> str:
    own = _identifier(name.letter)
    if name.prime:
        own = f'<mrow>{own}<mo lspace="0" rspace="0">′</mo></mrow>'
    below = (f"<mn>{name.index}</mn>" if name.index else "") + (_name(name.of) if name.of else "")
    if below:
        own = f"<msub>{own}<mrow>{below}</mrow></msub>"
    if not name.slope:
        return own
    return f"<mfrac><mrow><mo>∂</mo><mi>{name.slope}</mi></mrow><mrow><mo>∂</mo>{own}</mrow></mfrac>"


def _number(printed: str) -> str:
    mantissa, _, exponent = printed.partition("e")
    sign, digits = ("<mo>−</mo>", mantissa[1:]) if mantissa.startswith("−") else ("", mantissa)
    if not exponent:
        return f"{sign}<mn>{digits}</mn>"
    return f"{sign}<mn>{digits}</mn><mo>·</mo><msup><mn>10</mn><mn>{exponent}</mn></msup>"


def _matrix(values: Any) -> str:
    parts = slices(values)
    if parts is not None:
        return "<mrow><mo>[</mo>" + "<mo>,</mo>".join(map(_matrix, parts)) + "<mo>]</mo></mrow>"
    rows = [[f"<mtd><mrow>{_number(entry)}</mrow></mtd>" for entry in row] for row in shortened(values)]
    if np.ndim(values) == 0:
        return _number(shortened(values)[0][0])
    table = "".join(f"<mtr>{''.join(row)}</mtr>" for row in rows)
    return f"<mrow><mo>[</mo><mtable>{table}</mtable><mo>]</mo></mrow>"
