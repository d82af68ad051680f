"""Any directed acyclic graph of modules: a partial order is all that the reversal needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule import nn, tree
from chainrule.graph.graph import replay
from chainrule.lab import style
from chainrule.lab.boxes import Boxes
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.numeric import Array, differences, worst
from chainrule.lab.samples import irises

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROWS, EPOCHS = 6, 40
PLACES = {
    "x": (0.0, 2.0), "left": (1.1, 3.0), "middle": (1.1, 2.0), "right": (1.1, 1.0),
    "relu": (2.2, 3.0), "tanh": (2.2, 2.0), "silu": (2.2, 1.0), "add": (3.3, 2.6), "max": (3.3, 1.4),
    "concatenate": (4.5, 2.0), "out": (5.7, 2.0), "cross_entropy": (6.9, 2.0),
}  # fmt: skip
"""Where each node of the network stands in the picture."""
LABELS = {"concatenate": "concat", "cross_entropy": "loss"}


@dataclass(frozen=True)
class Found:
    """The network's graph, two of its orders, and the loss of each epoch."""

    graph: cr.Graph
    orders: list[list[cr.Tensor]]
    loss: list[float]
    chance: float


class Branched(nn.Module):
    """Three branches, joined by Add, by Max and by concatenation, with the input itself beside them."""

    def __init__(self) -> None:
        self.left, self.middle, self.right = (nn.Linear(4, 6) for _ in range(3))
        self.relu, self.tanh, self.silu = nn.ReLU(), nn.Tanh(), nn.SiLU()
        self.add, self.max, self.out = nn.Add(), nn.Max(), nn.Linear(16, 3)

    def forward(self, x: Any) -> cr.Tensor:
        """The logits."""
        a, b, c = self.relu(self.left(x)), self.tanh(self.middle(x)), self.silu(self.right(x))
        return self.out(cr.concatenate([self.add(a, b), self.max(b, c), x], axis=1))


def orders(nodes: Sequence[cr.Tensor]) -> Iterator[list[cr.Tensor]]:
    """Every order in which each node comes after its operands."""
    if not nodes:
        yield []
    waiting = {node.id for node in nodes}
    for node in nodes:
        if not any(x.id in waiting for x in node.inputs):
            for rest in orders([other for other in nodes if other is not node]):
                yield [node, *rest]


def gradients(graph: cr.Graph, order: Sequence[cr.Tensor], xs: list[Array]) -> list[Array]:
    """What reversal makes of the graph when its nodes are made, and so walked back, in that order."""
    leaves = [node for node in graph.nodes if not node.inputs]
    known = replay([*leaves, *order], {})
    return list(graph.replaced(known).reverse().run(*xs))


def training(X: Array, y: Array) -> list[float]:
    """The loss of each epoch."""
    cr.seed(0)
    trainer = cr.Trainer(Branched(), nn.CrossEntropyLoss(), cr.optim.Adam(0.02), backend="numpy")
    return trainer.fit(X, y, epochs=EPOCHS, batch_size=16, progress=False).loss


def measure() -> Measured:
    """The gradient by every order, by finite differences, and a training."""
    X, y = irises()
    cr.seed(0)
    leaves, structure = tree.flatten(Branched())
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.5, leaf.shape) for leaf in leaves]
    rows = random.permutation(len(X))[:ROWS]

    def cost(x: cr.Tensor, *weights: cr.Tensor) -> cr.Tensor:
        logits = tree.unflatten(structure, list(weights))(x)
        return cr.sum(cr.cross_entropy(logits, y[rows]))

    xs = [X[rows], *weights]
    graph = cr.trace(cost, *xs)
    every = list(orders([node for node in graph.nodes if node.inputs]))
    found = [gradients(graph, order, xs) for order in every]
    apart = max(worst(other, found[0]) for other in found)
    numeric = worst(found[0], differences(cost, *xs))
    loss = training(X.astype(np.float32), y)
    figures = {
        "nodes of the graph": len(graph),
        "orders that put every node after its operands": len(every),
        "largest difference of the gradient between orders (relative)": apart,
        "gradient against finite differences (relative error)": numeric,
        "parameters and inputs checked": int(sum(x.size for x in xs)),
        "training loss, first epoch (nats)": loss[0],
        f"training loss, epoch {EPOCHS} (nats)": loss[-1],
        "loss of a guess, ln 3 (nats)": float(np.log(3)),
    }
    checks = {
        "a stack has one order; these nodes have more than 50": len(every) > 50,
        "the gradient is the same by every one of them": apart < 1e-14,
        "it agrees with finite differences": numeric < 1e-9,
        "the network trains to less than a tenth of a guess's loss": loss[-1] < 0.1 * np.log(3),
    }
    return Measured(figures, checks, Found(graph, [every[0], every[-1]], loss, float(np.log(3))))


def draw(figure: Figure, data: Found) -> None:
    """The network, with the places of its nodes in two orders; its training."""
    figure.set_size_inches(12.5, 5.0)
    left, right = figure.subplots(1, 2, width_ratios=(2.3, 1))
    _draw_graph(left, data)
    style.name(right, "epoch", "training loss (nats)", "It trains")
    style.line(right, range(1, len(data.loss) + 1), data.loss)
    style.level(right, data.chance, "a guess, ln 3")
    right.set_ylim(0, None)


def _draw_graph(axes: Axes, data: Found) -> None:
    axes.set_axis_off()
    axes.set_title("Three branches; each node's place in two of the orders", fontsize=12)
    axes.set_xlim(-0.6, 7.5)
    axes.set_ylim(0.1, 3.5)
    boxes = Boxes(axes, 0.85, 0.5, -0.2)
    names = {node.id: name for node in data.graph.nodes if (name := _name(node)) in PLACES}
    for node in data.graph.nodes:
        if node.id in names:
            places = [[n.id for n in order].index(node.id) + 1 for order in data.orders if node.inputs]
            lines = [LABELS.get(names[node.id], names[node.id]), " | ".join(map(str, places)) or "given"]
            boxes.box(PLACES[names[node.id]], lines, style.COLOURS[0])
        for start, end in ((names.get(x.id, ""), names.get(node.id, "")) for x in node.inputs):
            if start and end:
                # The input's own way to the join goes below the branches.
                bend = "bar,fraction=0.34" if (start, end) == ("x", "concatenate") else "arc3"
                boxes.arrow(PLACES[start], PLACES[end], style.COLOURS[0], bend=bend)


def _name(node: cr.Tensor) -> str:
    return node.name or node.module or node.op


LAB = Lab(
    row="A2",
    claim="Backpropagation works for any directed acyclic graph of modules, not only for stacks: every order that puts "
    "each node after its operands gives the same gradient.",
    look="On the left, the two numbers in a box are its places in two of the orders: they differ from branch to "
    "branch, yet every arrow leads to larger numbers. That is all the way back needs: when a node hands on its "
    "gradient, all its uses have already added theirs. On the right the same network learns the irises.",
    measure=measure,
    draw=draw,
)
