"""Names for the nodes of a sample's graph, as a blackboard has them: x, z₁ = x·W₁ᵀ + b₁, h₁, …, ŷ, C.

A layer is a module with parameters of its own, counted in the order of use. A parameter is called by the letter that
the formula of its operation has for it (W, b, γ, …). z is what is made with parameters, h what is made of that, u a
random number, m a condition, t is made of the target; c is what the loss makes, C the last of it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from chainrule.explain.formula import Expression, Name, NumberLiteral
from chainrule.explain.notation import symbols
from chainrule.explain.steps import SampleGraph
from chainrule.graph.graph import descendants
from chainrule.graph.tensor import Tensor

OUTPUT = "y\u0302"


class Names:
    """The names of a sample's nodes.

    Attributes:
        by_node: the name of every node by its id; constants of one number have none.
        parameters: the name of every parameter by its path.
    """

    def __init__(self, sample: SampleGraph) -> None:
        self._sample = sample
        self._taken: set[tuple[str, str]] = set()
        self._paths = {node.id: path for path, node in sample.parameters.items()}
        self._layers: dict[str, int] = {}
        self.by_node: dict[int, Name] = {}
        self._name_parameters()
        self._name_leaves()
        self._name_nodes()
        self.parameters = {path: self.by_node[node.id] for path, node in sample.parameters.items()}

    def __getitem__(self, node: Tensor) -> Expression:
        """The name of a node, or the number that it is."""
        if node.id in self.by_node:
            return (self.by_node[node.id],)
        assert node.value is not None, node.label()
        return (NumberLiteral(float(node.value.flat[0])),)

    def _give(self, node: Tensor, letter: str, index: str = "") -> None:
        base, count = index, 1
        while (letter, index) in self._taken:
            count += 1
            index = f"{base}.{count}" if base else str(count)
        self._taken.add((letter, index))
        self.by_node[node.id] = Name(letter, index)

    def _name_parameters(self) -> None:
        used = {
            x.id: (node.op, i, len(node.inputs))
            for node in reversed(self._sample.nodes)
            for i, x in enumerate(node.inputs)
        }
        order = [x for node in self._sample.nodes for x in node.inputs if x.id in self._paths]
        for node in [*order, *self._sample.parameters.values()]:
            if node.id in self.by_node:
                continue
            module, _, attribute = self._paths[node.id].rpartition(".")
            layer = self._layers.setdefault(module, len(self._layers) + 1)
            self._give(node, _letter(node, attribute, used.get(node.id)), str(layer))

    def _name_leaves(self) -> None:
        sample = self._sample
        self._give(sample.x, "x")
        self._give(sample.y, "y")
        for draw in sample.draws:
            self._give(draw, "u")
        for path, buffer in sample.buffers.items():
            self._give(buffer, path)
        if sample.picked:
            self._give(sample.row, "i")
            self._give(sample.key, "key")

    def _name_nodes(self) -> None:
        sample, levels = self._sample, self._levels()
        made_of_output = descendants(sample.nodes, [sample.output])
        self._learning = descendants(sample.nodes, [sample.x, *sample.parameters.values(), *sample.draws])
        for node in sample.nodes:
            if node.id in self.by_node or is_uniform_constant(node):
                continue
            if node is sample.cost:
                self._give(node, "C")
            elif node is sample.output and not self._has_parameters(node):
                self._give(node, OUTPUT)
            elif node.id in made_of_output and node is not sample.output:
                self._give(node, "c")
            else:
                self._give(node, self._kind(node), str(levels[node.id] or ""))

    def _kind(self, node: Tensor) -> str:
        if not node.inputs:
            return "k"
        if node.id not in self._learning:
            return "t"
        if node.dtype.kind == "b":
            return "m"
        return "z" if self._has_parameters(node) else "h"

    def _has_parameters(self, node: Tensor) -> bool:
        return any(x.id in self._paths for x in node.inputs)

    def _levels(self) -> Mapping[int, int]:
        """The layer that each node is behind."""
        levels: dict[int, int] = {}
        for node in self._sample.nodes:
            path = self._paths.get(node.id)
            own = 0 if path is None else self._layers[path.rpartition(".")[0]]
            levels[node.id] = max([own, *(levels[x.id] for x in node.inputs)])
        return levels


def _letter(node: Tensor, attribute: str, use: tuple[str, int, int] | None) -> str:
    symbol = None if use is None else symbols(use[0], use[2])[use[1]]
    if symbol is not None and symbol.lower() not in "xyz":
        return symbol
    initial = {"weight": "w"}.get(attribute, attribute)[0]
    return initial.upper() if node.ndim > 1 else initial.lower()


def is_uniform_constant(node: Tensor) -> bool:
    """Whether a node is a constant that holds one number in every place."""
    value = node.value
    return not node.inputs and value is not None and value.size > 0 and bool(np.all(value == value.flat[0]))
