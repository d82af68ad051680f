"""A graph and its gradient graph side by side: the adjoint of a node is level with it, on the other side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule import Graph, Tensor
from chainrule.autodiff.rules import RULES
from chainrule.graph.ops import OPS
from chainrule.lab import style
from chainrule.lab.boxes import Boxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 2.75, 0.8
COLUMNS = (0.0, 3.3, 7.2, 10.5)
"""Where stand: leaves, operations, adjoints of operations, adjoints of leaves."""

Pair = tuple[int, int]


def sources(graph: Graph, gradient: Graph) -> dict[int, tuple[list[Tensor], list[Tensor]]]:
    """For each forward node that has an adjoint: the adjoints and the forward values from which that is computed.

    The helpers in between (a transpose, 1 − y²) are looked through.
    """
    forward = {node.id for node in graph.nodes}
    found = {}
    for node in gradient.nodes:
        if node.adjoint_of is not None:
            pending, seen = list(node.inputs), {}
            while pending:
                x = pending.pop()
                if x.id not in seen:
                    seen[x.id] = x
                    pending += [] if x.id in forward or x.adjoint_of is not None else x.inputs
            used = [seen[key] for key in sorted(seen)]
            found[node.adjoint_of.id] = (
                [x for x in used if x.adjoint_of is not None],
                [x for x in used if x.id in forward],
            )
    return found


def arrows(graph: Graph, gradient: Graph) -> tuple[set[Pair], set[Pair]]:
    """The forward arrows between nodes that have adjoints, and those of them that run back between the adjoints."""
    used = sources(graph, gradient)
    there = {(x.id, node.id) for node in graph.nodes for x in node.inputs if x.id in used and node.id in used}
    back = {(key, x.adjoint_of.id) for key, (adjoints, _) in used.items() for x in adjoints if x.adjoint_of is not None}
    return there, there & back


def draw_mirrored(figure: Figure, graph: Graph, gradient: Graph) -> None:
    """Leaves and operations on the left, read downwards; their adjoints on the right, read upwards."""
    places = _places(graph)
    used = sources(graph, gradient)
    names = {node.id: node.name or f"%{i}" for i, node in enumerate(graph.nodes)}
    figure.set_size_inches(13.2, 0.95 * (1 + max(row for _, row in places.values())) + 0.9)
    figure.suptitle("A graph and its gradient graph, each node level with its gradient", fontsize=13)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-WIDTH / 2 - 0.1, COLUMNS[-1] + WIDTH / 2 + 0.1)
    axes.set_ylim(max(row for _, row in places.values()) + 0.6, -1.0)
    for title, column in (("forward graph: read downwards", 0), ("gradient graph: read upwards", 2)):
        axes.text(sum(COLUMNS[column : column + 2]) / 2, -0.75, title, ha="center", va="center", fontsize=12)
    boxes = Boxes(axes, WIDTH, HEIGHT, 0.24)
    for node in graph.nodes:
        column, row = places[node.id]
        here, there = (COLUMNS[column], row), (COLUMNS[3 - column], row)
        boxes.box(here, _forward_text(node, names), style.COLOURS[0])
        for x in node.inputs:
            boxes.arrow((COLUMNS[places[x.id][0]], places[x.id][1]), here, style.COLOURS[0])
        if node.id in used:
            axes.plot([here[0], there[0]], [row, row], color="#bbbbbb", linewidth=1, linestyle=":", zorder=0)
            boxes.box(there, _adjoint_text(node, graph, used, names), style.COLOURS[1])
    for before, after in sorted(arrows(graph, gradient)[1]):
        start, end = ((COLUMNS[3 - places[key][0]], places[key][1]) for key in (after, before))
        boxes.arrow(start, end, style.COLOURS[1], (0, (5, 2)))


def _places(graph: Graph) -> dict[int, tuple[int, float]]:
    """Column (0 leaf, 1 operation) and row of each node: an operation is level with the leaves that it is given."""
    places: dict[int, tuple[int, float]] = {}
    row = 0
    for node in graph.nodes:
        if node.inputs:
            fresh = [x for x in node.inputs if x.id not in places]
            for i, x in enumerate(fresh):
                places[x.id] = (0, row + i)
            taken = max(1, len(fresh))
            places[node.id] = (1, row + (taken - 1) / 2)
            row += taken
    return places


def _forward_text(node: Tensor, names: dict[int, str]) -> tuple[str, ...]:
    shape = list(node.shape) or ""
    if not node.inputs:
        return f"{names[node.id]} {shape}", "given"
    operands = ", ".join(names[x.id] for x in node.inputs)
    return f"{names[node.id]} = {node.op}({operands}) {shape}", OPS[node.op].formula


def _adjoint_text(node: Tensor, graph: Graph, used: dict[int, Any], names: dict[int, str]) -> tuple[str, ...]:
    adjoints, values = used[node.id]
    title = f"∂C/∂{names[node.id]} {list(node.shape) or ''}"
    if not adjoints:
        return title, "the 1 it begins with"
    consumer = next(n for n in graph.nodes if any(x is node for x in n.inputs))
    formulas = getattr(RULES[consumer.op], "text", "").split(", ")
    position = [x is node for x in consumer.inputs].index(True)
    reads = ", ".join([f"g = ∂C/∂{names[x.adjoint_of.id]}" for x in adjoints] + [names[x.id] for x in values])
    return title, formulas[min(position, len(formulas) - 1)], f"reads {reads}"
