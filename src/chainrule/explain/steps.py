"""The graphs that a derivation is read from: the training step on all rows, and what one sample contributes to it.

Both are traced from the user's model, loss and optimizer and reversed by the engine; nothing here knows a network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.autodiff.reverse import adjoints, ones_seed
from chainrule.autodiff.rules import RULES, Formula, Joint
from chainrule.errors import ArgumentError
from chainrule.graph import functions as F
from chainrule.graph.graph import Graph, ancestors, descendants, replay
from chainrule.graph.ops import TUPLE
from chainrule.graph.random import keyed
from chainrule.graph.tensor import Tensor, placeholder
from chainrule.graph.trace import trace
from chainrule.nn.module import Module, in_mode
from chainrule.optim.optimizer import Optimizer
from chainrule.train.forward import cost_of, output_of

Array = np.ndarray[Any, Any]
NamedArrays = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how."""

    model: Module
    loss: Callable[[Any, Any], Any]
    optimizer: Optimizer | None

    def output(
        self, parameters: NamedArrays, buffers: NamedArrays, x: Tensor, key: Tensor
    ) -> tuple[Tensor, NamedArrays]:
        """The model's output with these parameters, in training mode, and its buffers afterwards."""
        with in_mode(training=True), keyed(key):
            output, after = output_of(self.model, parameters, buffers, x)
        if not isinstance(output, Tensor):
            raise ArgumentError(
                "it returns several outputs", where="model", expected="one tensor", got=type(output).__name__
            )
        return output, after

    def cost(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss as a number."""
        return F.reshape(cost_of(self.loss, output, target), ())


class UpdateGraph:
    """The training step on all rows, as one graph: forward, gradient, update.

    Attributes:
        graph: (parameters, buffers, state, X, y, key) → a dict with "loss", "output", "gradient", "parameters",
            "state", "buffers" and "draws".
        output, gradient, draws: the nodes of the output, of the averaged gradients by path, of random numbers.
        given, results: the inputs of the update (besides the gradient) and its results, as trees of nodes.
    """

    def __init__(
        self, recipe: Recipe, parameters: NamedArrays, buffers: NamedArrays, state: Any, X: Array, y: Array
    ) -> None:
        self.recipe = recipe
        self.graph = trace(self._step, parameters, buffers, state, X, y, np.zeros(2, np.uint32))

    def _step(
        self, parameters: NamedArrays, buffers: NamedArrays, state: Any, X: Tensor, y: Tensor, key: Tensor
    ) -> NamedArrays:
        def forward(named: NamedArrays) -> tuple[Tensor, Tensor, NamedArrays]:
            output, after = self.recipe.output(named, buffers, X, key)
            return output, self.recipe.cost(output, y), after

        self.output, loss, buffers_after = forward(parameters)
        found = adjoints([loss], [ones_seed(loss)], list(parameters.values()))
        self.gradient = dict(zip(parameters, found, strict=True))
        self.draws = draws_of([self.output], key)
        optimizer, moved, new_state = self.recipe.optimizer, parameters, state
        if optimizer is not None:
            more = {"objective": lambda named: forward(named)[1]} if optimizer.full_batch else {}
            moved, new_state = optimizer.update(self.gradient, state, parameters, **more)
        self.given = {"parameters": parameters, "state": state, "X": X, "y": y}
        self.results = {"parameters": moved, "state": new_state}
        return {
            "loss": loss, "output": self.output, "gradient": self.gradient, "buffers": buffers_after,
            "draws": self.draws, **self.results,
        }  # fmt: skip

    def run(self, arguments: Sequence[Any], more: Sequence[Tensor] = ()) -> tuple[NamedArrays, list[Array]]:
        """What the step returns for these arguments, and the values of some more of its nodes."""
        size = len(self.graph.outputs)
        values = Graph(self.graph.inputs, [*self.graph.outputs, *more], self.graph.takes).run(*arguments)
        return tree.unflatten(self.graph.gives.plain(), list(values[:size])), list(values[size:])


def draws_of(outputs: Sequence[Tensor], key: Tensor) -> list[Tensor]:
    """The nodes computed from the key: random numbers."""
    return [node for node in ancestors(outputs) if any(x is key for x in node.inputs)]


@dataclass(frozen=True)
class AdjointTerm:
    """One summand of an adjoint: what the node `user` passes back to its operand at `position`."""

    user: Tensor
    position: int
    node: Tensor


class SampleGraph:
    """One sample's cost as a graph, with the adjoint of every node.

    If samples are independent the graph is of one row. If they are not (statistics of the batch) it is of all
    rows, of which one is picked for the cost.

    Attributes:
        nodes: the forward nodes that the cost depends on, in order, inputs included.
        output, cost: the model's output, and the sample's cost.
        parameters, buffers, x, y, row, key, draws: the placeholders; `inputs` is all that are given when it is run.
        adjoined: the nodes that have an adjoint: x, the parameters, and what is made of them.
        gradients: the adjoint of each of them, by the node's id; zeros where the cost does not depend on a parameter.
        terms: the summands of each adjoint, by the node's id.
        used: the ids of the nodes that get something back.
        picked: whether the graph is of all rows.
    """

    def __init__(
        self, recipe: Recipe, parameters: NamedArrays, buffers: NamedArrays, X: Array, y: Array, picked: bool
    ) -> None:
        self.picked, self._recipe = picked, recipe
        rows = slice(None) if picked else slice(0, 1)
        examples = (parameters, buffers, X[rows], y[rows], np.zeros(1, np.int64), np.zeros(2, np.uint32))
        trace(self._forward, *examples)
        self.draws: list[Tensor] = [] if picked else self._owndraws_of()
        given = [self.row, self.key] if picked else self.draws
        self.inputs = [*self.parameters.values(), *self.buffers.values(), self.x, self.y, *given]
        self.nodes = ancestors([self.cost])
        self._reverse()
        shown = [n for n in self.nodes if n.dtype != TUPLE] + [*self.gradients.values()]
        shown += [term.node for terms in self.terms.values() for term in terms]
        self._places = {node.id: i for i, node in enumerate(shown)}
        self._graph = Graph(self.inputs, shown)

    def _forward(
        self, parameters: NamedArrays, buffers: NamedArrays, x: Tensor, y: Tensor, row: Tensor, key: Tensor
    ) -> Tensor:
        self.parameters, self.buffers, self.x, self.y, self.row, self.key = parameters, buffers, x, y, row, key
        self.output, _ = self._recipe.output(parameters, buffers, x, key)
        output, target = (F.take(self.output, row), F.take(y, row)) if self.picked else (self.output, y)
        # What a mean over one row multiplies by, 1, would only be in the way; the model's own nodes stay as they are.
        alone = trace(self._recipe.cost, output, target).simplify()
        known = {given.id: own for given, own in zip(alone.inputs, (output, target), strict=True)}
        self.cost = replay(alone.nodes, known)[alone.outputs[0].id]
        return self.cost

    def _owndraws_of(self) -> list[Tensor]:
        """Make the random numbers inputs, since a sample gets its row of the batch's."""
        draws = draws_of([self.output], self.key)
        known = {node.id: placeholder(node.shape, node.dtype) for node in draws}
        replay(ancestors([self.output, self.cost]), known)
        self.output, self.cost = known[self.output.id], known[self.cost.id]
        return [known[node.id] for node in draws]

    def _reverse(self) -> None:
        sources = [s for s in (self.x, *self.parameters.values()) if s.dtype.kind == "f"]
        own = {source.id for source in sources}
        reached = descendants([n for n in self.nodes if not n.detached], sources)
        inner = [n for n in self.nodes if n.id in reached - own and n.dtype.kind == "f"]
        self.adjoined = [*sources, *inner]
        found = adjoints([self.cost], [ones_seed(self.cost)], self.adjoined)
        self.gradients = {node.id: g for node, g in zip(self.adjoined, found, strict=True)}
        users = _users(self.nodes, self.cost, reached)
        self.used = set(users)
        self.terms = {node.id: _terms(node, self.gradients[node.id], users.get(node.id, [])) for node in self.adjoined}

    def run(self, arguments: Sequence[Any]) -> Callable[[Tensor], Array]:
        """A function that gives the value of each node and of each adjoint, for these values of `inputs`."""
        values = self._graph.run(*arguments)
        return lambda node: values[self._places[node.id]]


def _users(nodes: Sequence[Tensor], cost: Tensor, reached: set[int]) -> dict[int, list[tuple[Tensor, int]]]:
    """Who hands something back to each node, and to which operand of it, in the order of the reversal."""
    users: dict[int, list[tuple[Tensor, int]]] = {}
    live = {cost.id}
    for node in reversed(nodes):
        rule = RULES[node.op] if node.inputs and node.id in live else None
        for position, x in enumerate(node.inputs):
            wanted = x.id in reached and x.dtype.kind == "f"
            if x.dtype == TUPLE and rule is not None:
                live.add(x.id)
            elif wanted and (isinstance(rule, Joint) or (isinstance(rule, Formula) and rule.adjoint(position))):
                live.add(x.id)
                users.setdefault(x.id, []).append((node, position))
    return users


def _terms(node: Tensor, total: Tensor, users: list[tuple[Tensor, int]]) -> list[AdjointTerm]:
    """The summands of an adjoint: the reversal adds each to the sum of those before it."""
    shares: list[Tensor] = []
    while len(shares) < len(users) - 1 and total.op == "add" and total.inputs[0].adjoint_of is node:
        shares.append(total.inputs[1])
        total = total.inputs[0]
    shares.append(total)
    if len(shares) != len(users):
        return []
    return [AdjointTerm(*user, share) for user, share in zip(users, reversed(shares), strict=True)]
