"""The optimizer's update as lines, read from its part of the step's graph.

Formulas are substituted into each other, so that v·0.9 − 0.1·g is one line and not three. What the optimizer keeps,
what it gives, and what several lines share have lines of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.explain.formula import Expression, Name, NumberLiteral
from chainrule.explain.lines import Line, settings, unsaid
from chainrule.explain.names import Names, is_uniform_constant
from chainrule.explain.notation import filled
from chainrule.explain.steps import Array, UpdateGraph
from chainrule.graph.ops import TUPLE
from chainrule.graph.tensor import Tensor


class Given(NamedTuple):
    """A line of the update: whose it is (a parameter's path, or ""), and the quantity's name."""

    owner: str
    name: Name
    line: Line


LONGEST = 60
"""Atoms of a formula that is still put into another."""


class Update:
    """What the update is made of.

    Attributes:
        inner: the nodes between the gradients and the results, in order.
        lines: what is computed, once `compose` has seen the nodes' values.
    """

    def __init__(self, step: UpdateGraph, names: Names) -> None:
        self._names = names.parameters
        self._known: dict[int, Expression] = {}
        self._owner: dict[int, str] = {}
        self._targets: dict[int, Name] = {}
        self.lines: list[Given] = []
        for path, node in step.gradient.items():
            self._give(node, path, self._names[path].gradient("L"))
        for kind in ("parameters", "state"):
            for name, node in _named(step.given[kind]):
                self._give(node, *self._called(kind, name))
        for letter in ("X", "y"):
            self._give(step.given[letter], "", Name(letter))
        for kind in ("state", "parameters"):
            for name, node in _named(step.results[kind]):
                _, called = self._called(kind, name)
                if node.id not in self._known:
                    self._targets.setdefault(node.id, Name(called.letter, called.index, called.of, prime=True))
        self.inner = self._between(node for tree in step.results.values() for _, node in _named(tree))

    def _give(self, node: Tensor, path: str, name: Name) -> None:
        self._known.setdefault(node.id, (name,))
        self._owner.setdefault(node.id, path)

    def _called(self, kind: str, name: str) -> tuple[str, Name]:
        """Whose a parameter or an entry of the state is, and its name."""
        if kind == "parameters":
            return name, self._names[name]
        for path, parameter in self._names.items():
            if name.endswith(f".{path}"):
                return path, Name(name.removesuffix(f".{path}"), of=parameter)
        return "", Name(name)

    def _between(self, results: Iterable[Tensor]) -> list[Tensor]:
        found: dict[int, Tensor] = {}
        pending = list(results)
        while pending:
            node = pending.pop()
            if node.id not in found and node.id not in self._known and node.inputs:
                found[node.id] = node
                pending += node.inputs
        return [found[key] for key in sorted(found) if found[key].dtype != TUPLE]

    def compose(self, value: Callable[[Tensor], Array]) -> None:
        """Make the lines, telling by the values which nodes only stretch or convert a number."""
        users: dict[int, set[int]] = {}
        for node in self.inner:
            for x in node.inputs:
                users.setdefault(x.id, set()).add(node.id)
        for node in self.inner:
            self._owner[node.id] = self._common_owner(node)
            formula = filled(node.op, [self._expression(x) for x in node.inputs], settings(node))
            same = _same_number(node, value)
            if node.id in self._targets:
                self._line(node, self._targets[node.id], formula)
            elif same is not None:
                self._known[node.id] = self._expression(same)
            elif len(users.get(node.id, ())) > 1 or len(formula) > LONGEST:
                count = 1 + sum(not given.name.prime for given in self.lines)
                self._line(node, Name("q", str(count)), formula)
            else:
                self._known[node.id] = formula

    def _line(self, node: Tensor, name: Name, formula: Expression) -> None:
        note = ", ".join(unsaid(node))
        self.lines.append(Given(self._owner[node.id], name, Line((name,), formula, note, node.shape, node)))
        self._known[node.id] = (name,)

    def _common_owner(self, node: Tensor) -> str:
        owners = {self._owner.get(x.id, "") for x in node.inputs} - {""}
        return owners.pop() if len(owners) == 1 else ""

    def _expression(self, node: Tensor) -> Expression:
        if node.id in self._known:
            return self._known[node.id]
        if node.value is not None and is_uniform_constant(node):
            return (NumberLiteral(float(node.value.flat[0])),)
        return (Name(node.name or node.op),)


def _named(trees: Any) -> list[tuple[str, Tensor]]:
    return list(zip(tree.names(trees), tree.flatten(trees)[0], strict=True))


def _same_number(node: Tensor, value: Callable[[Tensor], Array]) -> Tensor | None:
    """The operand that a node only stretches or converts, if it is one number."""
    x = node.inputs[0]
    if len(node.inputs) != 1 or x.size != 1 or (x.shape, x.dtype) == (node.shape, node.dtype):
        return None
    own = x.value if x.value is not None else value(x)
    return x if bool(np.all(value(node) == own.reshape(()))) else None
