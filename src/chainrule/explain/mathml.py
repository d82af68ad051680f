"""Formulas and matrices as MathML: browsers set it by themselves, without scripts and without a network."""

from __future__ import annotations

import html
import re
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from chainrule.explain.formula import Expression
from chainrule.explain.typeset import FUNCTIONS, latex, latex_matrix


def formula(expression: Expression) -> Markup:
    """A formula as a <math> element, its texts escaped.

    Example:
        >>> from chainrule.explain.formula import parse
        >>> formula(parse("x²"))
        Markup('<math><mrow><msup><mi>x</mi><mrow><mn>2</mn></mrow></msup></mrow></math>')
    """
    return _math(latex(expression))


def matrix(values: Any) -> Markup:
    """An array as a <math> element: a number or a matrix, elided where it is large; nothing for several results."""
    return Markup("") if values is None else _math(latex_matrix(values))


def _math(written: str) -> Markup:
    from latex2mathml.converter import convert_to_element

    if not written:
        return Markup("<math></math>")
    made = convert_to_element(written)
    # Browsers need neither in HTML.
    made.attrib.clear()
    for element in made.iter():
        if element.text:
            element.text = _plain(element.text)
        if element.tag == "mi" and element.text in FUNCTIONS:
            # As an operator it keeps its distance from what it is applied to.
            element.tag, element.attrib = "mo", {"form": "prefix", "rspace": "0.17em"}
    return Markup(ElementTree.tostring(made, encoding="unicode"))


def _plain(text: str) -> str:
    """What a text of the converter stands for: it leaves entities for signs, and LaTeX's escapes in words."""
    return re.sub(r"\\([{}#_%&$])", r"\1", html.unescape(text))
