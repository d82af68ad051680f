"""Multiplying Jacobians turns a graph round: the gradient graph, an object of its own that mirrors the forward one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import chainrule as cr
from chainrule.graph.graph import descendants
from chainrule.graph.tensor import apply
from chainrule.lab import mirror
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.numeric import Array, differences, relative_error, worst

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPES = {"x": (3,), "y": (2,), "W1": (4, 3), "b1": (4,), "W2": (2, 4), "b2": (2,)}
WEIGHTS = ["W1", "b1", "W2", "b2"]
POSITIONS = [list(SHAPES).index(name) for name in WEIGHTS]


@dataclass(frozen=True)
class Found:
    """The forward graph and the gradient graph."""

    forward: cr.Graph
    gradient: cr.Graph


def guess(x: cr.Tensor, W1: cr.Tensor, b1: cr.Tensor, W2: cr.Tensor, b2: cr.Tensor) -> cr.Tensor:
    """ȳ = G(x, w), a network of two layers."""
    return cr.linear(cr.tanh(cr.linear(x, W1, b1)), W2, b2)


def distance(y: cr.Tensor, guessed: cr.Tensor) -> cr.Tensor:
    """C(y, ȳ) = ‖ȳ − y‖."""
    return cr.sqrt(cr.sum(cr.squared_error(guessed, y)))


def cost(x: cr.Tensor, y: cr.Tensor, W1: cr.Tensor, b1: cr.Tensor, W2: cr.Tensor, b2: cr.Tensor) -> cr.Tensor:
    """C(y, G(x, w))."""
    return distance(y, guess(x, W1, b1, W2, b2))


def two_factors(xs: list[Array]) -> tuple[Array, Array]:
    """∂C/∂ȳ (1×M) and ∂ȳ/∂w (M×N), all weights in one row."""
    x, y, *weights = (cr.tensor(value) for value in xs)
    guessed = guess(x, *weights)
    outer = cr.jacobian(distance, 1)(y, guessed).numpy().reshape(1, -1)
    inner = cr.jacobian(guess, range(1, 5))(x, *weights)
    return outer, np.hstack([j.numpy().reshape(guessed.size, -1) for j in inner])


def all_factors(graph: cr.Graph, xs: list[Array], name: str) -> list[Array]:
    """The Jacobian of every node on the way from the output back to the input of that name."""
    values = dict(zip((n.id for n in graph.nodes), cr.Graph(graph.inputs, graph.nodes).run(*xs), strict=True))
    source, node = graph.select(name)[0], graph.outputs[0]
    reached, factors = descendants(graph.nodes, [source]), []
    while node is not source:
        position = [x.id in reached for x in node.inputs].index(True)
        factors.append(jacobian_of(node, position, [values[x.id] for x in node.inputs]))
        node = node.inputs[position]
    return factors


def jacobian_of(node: cr.Tensor, position: int, operands: list[Array]) -> Array:
    """∂node/∂operand as a matrix."""

    def alone(x: cr.Tensor) -> cr.Tensor:
        return apply(node.op, *(x if i == position else cr.tensor(o) for i, o in enumerate(operands)), **node.attrs)

    return cr.jacobian(alone)(cr.tensor(operands[position])).numpy().reshape(node.size, -1)


def paired(graph: cr.Graph, gradient: cr.Graph) -> bool:
    """Whether every node that the weights can move has exactly one adjoint, of its own shape."""
    moved = descendants(graph.nodes, graph.select(WEIGHTS))
    named = [n.adjoint_of for n in gradient.nodes if n.adjoint_of is not None]
    fits = all(n.shape == n.adjoint_of.shape for n in gradient.nodes if n.adjoint_of is not None)
    return fits and sorted(moved) == sorted(n.id for n in named)


def measure() -> Measured:
    """Turn the graph round, multiply Jacobians by hand, and compare."""
    random = np.random.default_rng(0)
    xs = [random.normal(size=shape) for shape in SHAPES.values()]
    graph = cr.trace(cost, *xs)
    gradient = graph.reverse(WEIGHTS).verify()
    found = gradient.run(*xs)
    row = np.concatenate([g.ravel() for g in found])[None]
    outer, inner = two_factors(xs)
    chain = all_factors(graph, xs, "W1")
    product = np.linalg.multi_dot([np.ones((1, 1)), *chain])
    chained = relative_error(product, found[0].reshape(1, -1))
    numeric = [differences(cost, *xs)[position] for position in POSITIONS]
    arrows, mirrored = mirror.arrows(graph, gradient)
    figures = {
        "M, size of ȳ": outer.shape[1],
        "N, number of weights": inner.shape[1],
        "shape of 1·∂C/∂ȳ·∂ȳ/∂w": " · ".join(f"{a}×{b}" for a, b in [(1, 1), outer.shape, inner.shape]),
        "product of the two Jacobians against the gradient graph (relative error)": relative_error(outer @ inner, row),
        "factors from C back to W1": " · ".join(f"{a}×{b}" for a, b in (factor.shape for factor in chain)),
        "product of all factors against the gradient graph (relative error)": chained,
        "gradient graph run alone against finite differences (relative error)": worst(found, numeric),
        "nodes of the forward graph": len(graph),
        "adjoints in the gradient graph": sum(n.adjoint_of is not None for n in gradient.nodes),
        "arrows of the forward graph that carry a gradient": len(arrows),
        "of them turned round in the gradient graph": len(mirrored),
    }
    checks = {
        "(1×N) = (1×M)(M×N): the product of the Jacobians is what the gradient graph gives": outer.shape == (1, 2)
        and inner.shape == (2, row.size)
        and relative_error(outer @ inner, row) < 1e-13,
        "so is the product of one Jacobian a node, from the cost back to the first weights": chained < 1e-13,
        "run alone, the gradient graph agrees with finite differences": worst(found, numeric) < 1e-9,
        "every node that the weights move has exactly one adjoint, which names it and has its shape": paired(
            graph, gradient
        ),
        "every arrow a → b of the forward graph is an arrow ∂C/∂b → ∂C/∂a of the gradient graph": arrows == mirrored,
        "both graphs print, a line a node": all(len(str(g).splitlines()) == len(g) + 2 for g in (graph, gradient)),
    }
    return Measured(figures, checks, Found(graph, gradient))


def draw(figure: Figure, data: Found) -> None:
    """Both graphs side by side, each node beside its adjoint."""
    mirror.draw_mirrored(figure, data.forward, data.gradient)


LAB = Lab(
    row="A1",
    claim="Multiplying Jacobians turns a cost C(y, G(x, w)) into a gradient graph, an object of its own: "
    "∂C/∂w = 1 · ∂C/∂ȳ · ∂ȳ/∂w, with shapes (1×N) = (1×M)(M×N). It mirrors the forward graph, node for node.",
    look="Read the left half downwards and the right half upwards: every box on the right is the gradient of the box "
    "level with it, and every arrow runs the other way. Each adjoint is the one before it multiplied by one node's "
    "Jacobian, so nothing but the shape of the forward graph decides the shape of the gradient graph.",
    measure=measure,
    draw=draw,
)
