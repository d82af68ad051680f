"""The lines of a worked solution: what is computed, by which formula, of which shape; forwards, backwards, update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.autodiff.rules import RULES, Joint
from chainrule.explain.formula import (
    SPACE,
    Atom,
    Expression,
    Name,
    NumberLiteral,
    Sign,
    Word,
    parse,
    substitute,
)
from chainrule.explain.names import Names
from chainrule.explain.notation import filled, result_symbol, said_by, sides, symbols
from chainrule.explain.steps import AdjointTerm, SampleGraph
from chainrule.graph.graph import Graph
from chainrule.graph.ops import TUPLE, Slot
from chainrule.graph.tensor import Tensor


@dataclass(frozen=True)
class Line:
    """One line: left = right.

    Attributes:
        left: the quantity.
        right: what it is, or nothing for what is given.
        note: the operation, its settings and the module.
        shape: the shape of the quantity.
        node: where its value is.
        rule: the rule that was used, as the table of rules says it.
        product: (M, N) where it is a row of M numbers times an M×N Jacobian, or None.
    """

    left: Expression
    right: Expression
    note: str
    shape: tuple[int, ...]
    node: Tensor
    rule: Expression = ()
    product: tuple[int, int] | None = None


# ---- forwards


def forward_lines(sample: SampleGraph, names: Names) -> list[Line]:
    """A line for every node that depends on the sample, in order."""
    given = {node.id for node in sample.parameters.values()}
    lines = []
    for node in sample.nodes:
        if node.id in names.by_node and node.id not in given:
            right = filled(node.op, [names[x] for x in node.inputs], settings(node)) if node.inputs else ()
            lines.append(Line(names[node], right, said(node, sample), node.shape, node))
    return lines


def said(node: Tensor, sample: SampleGraph) -> str:
    """The operation, its settings, and the module that made it."""
    if node is sample.x:
        return "the input"
    if node is sample.y:
        return "the target"
    if node is sample.row:
        return "which row is the sample"
    if not node.inputs:
        return "random numbers" if any(node is draw for draw in sample.draws) else "given"
    return ", ".join([node.op, *unsaid(node), *([f"layer {node.module}"] if node.module else [])])


def unsaid(node: Tensor) -> list[str]:
    """The settings that the operation's formula has no word for."""
    words = said_by(node.op)
    return [f"{key.replace('_', ' ')} {value}" for key, value in settings(node).items() if key not in words]


def settings(node: Tensor) -> dict[str, str]:
    """The settings of an operation besides its operands."""
    told = {
        key: value
        for key, value in node.attrs.items()
        if value not in (None, False, ()) and not isinstance(value, Graph)
    }
    return {key: _setting(key, value) for key, value in told.items()}


def _setting(key: str, value: Any) -> str:
    if key == "index":
        return ", ".join(map(_place, value))
    if isinstance(value, tuple):
        return ("×" if key == "shape" else ", ").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _place(entry: Any) -> str:
    """One entry of an index as Python writes it."""
    if isinstance(entry, tuple):
        start, stop, step = ("" if part is None else str(part) for part in entry[1:])
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return "…" if isinstance(entry, Slot) else str(entry)


# ---- backwards


def backward_lines(sample: SampleGraph, names: Names) -> list[Line]:
    """A line for every adjoint, the cost's first; where several nodes hand something back, a line for each of them."""
    lines = []
    for node in _backward_order(sample):
        total, terms = sample.gradients[node.id], sample.terms[node.id]
        left: Expression = (_slope(names, node),)
        if node is sample.cost:
            lines.append(Line(left, (NumberLiteral(1.0),), "where the reversal starts", node.shape, total))
        elif node.id not in sample.used:
            lines.append(Line(left, (NumberLiteral(0.0),), "the cost does not depend on it", node.shape, total))
        elif len(terms) == 1:
            lines.append(_term_line(left, terms[0], node, names))
        else:
            lines += _fan_out(left, total, terms, node, names)
    return lines


def _backward_order(sample: SampleGraph) -> list[Tensor]:
    """The nodes that have adjoints, from the end; a parameter stands behind the last node that hands it something."""
    parameters = {node.id: node for node in sample.parameters.values()}
    inner = [n for n in reversed(sample.nodes) if n.id in sample.gradients and n.id not in parameters]
    behind = {x.id: node.id for node in inner for x in node.inputs if x.id in parameters}
    order = []
    for node in inner:
        order += [node, *(p for p in parameters.values() if behind.get(p.id) == node.id)]
    return [*order, *(p for p in parameters.values() if p.id not in behind)]


def _slope(names: Names, node: Tensor) -> Name:
    return names.by_node[node.id].gradient("C")


def _term_line(left: Expression, term: AdjointTerm, node: Tensor, names: Names) -> Line:
    right, rule = _handed_back(term, names)
    product = None if term.user.dtype == TUPLE else (term.user.size, node.size)
    return Line(left, right, term.user.op, node.shape, term.node, rule, product)


def _fan_out(left: Expression, total: Tensor, terms: Sequence[AdjointTerm], node: Tensor, names: Names) -> list[Line]:
    lines: list[Line] = []
    right: list[Atom] = []
    for count, term in enumerate(terms):
        share = (*left, SPACE, Word("through"), SPACE, names.by_node[term.user.id])
        lines.append(_term_line(share, term, node, names))
        right += [*((SPACE, Sign("+"), SPACE) if count else ()), *share]
    note = f"a node that is used {len(terms)} times gets the sum" if terms else "the sum over all its uses"
    return [*lines, Line(left, tuple(right), note, node.shape, total)]


def _handed_back(term: AdjointTerm, names: Names) -> tuple[Expression, Expression]:
    """The piece of the rule for this operand with the names filled in, and as the table of rules says it."""
    user = term.user
    whole = parse(getattr(RULES[user.op], "text", ""))
    letters = symbols(user.op, len(user.inputs))
    pieces = {letter: (left, right) for letter, left, right in sides(user.op)}
    letter = letters[term.position]
    if isinstance(RULES[user.op], Joint) or (letter is None and len(pieces) > 1):
        return (), whole
    left, piece = pieces[letter] if letter in pieces else next(iter(pieces.values()))
    incoming: Expression = (_slope(names, user),)
    given: dict[tuple[str, str], Expression] = {("g", ""): incoming, ("G", ""): incoming}
    given[result_symbol(user.op), ""] = names[user]
    for own, x in zip(letters, user.inputs, strict=True):
        if own is not None:
            given[own, ""] = names[x]
            given[own, "bar"] = (_slope(names, x),) if x.id in names.by_node else (NumberLiteral(0.0),)
    return substitute(piece, given), (*left, SPACE, Sign("="), SPACE, *piece)
