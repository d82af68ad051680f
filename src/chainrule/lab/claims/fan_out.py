"""A value that is used several times gets the sum of the gradients of its uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.numeric import Array, differences, relative_error, worst

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = (1, 2, 3, 5, 8, 13, 21, 34)
DEPTH = 6
BRANCHES: dict[str, Callable[[cr.Tensor], cr.Tensor]] = {
    "tanh x": cr.tanh,
    "sin x": cr.sin,
    "x²": cr.square,
    "SiLU": cr.silu,
    "e⁻ˣ": lambda x: cr.exp(-x),
    "softplus": cr.softplus,
}


@dataclass(frozen=True)
class Found:
    """Growth of the gradient with the uses, and one element's gradient branch by branch."""

    growth: list[float]
    parts: list[float]
    whole: float


def alike(x: Array, n: int) -> tuple[float, int]:
    """The gradient through n equal branches over that through one, and how many additions the gradient graph has."""
    weights = cr.tensor(np.linspace(0.5, 1.5, x.size))

    def cost(x: cr.Tensor, n: int) -> cr.Tensor:
        branches = cr.nn.Duplicate(n)(x)
        costs = [cr.sum(weights * cr.square(branch)) for branch in branches]
        return sum(costs[1:], costs[0])

    graph = cr.trace(cost, x, n)
    adjoints = graph.reverse()
    (many,), (one,) = adjoints.run(x), cr.trace(cost, x, 1).reverse().run(x)
    sums = [node for node in adjoints.nodes if node.op == "add"]
    return float((many / one).mean()), len(sums)


def unlike(x: Array) -> tuple[list[Array], Array, Array]:
    """The gradient of each branch alone, of the graph in which all of them start at x, and its finite differences."""

    def branch(f: Callable[[cr.Tensor], cr.Tensor]) -> Callable[[cr.Tensor], cr.Tensor]:
        return lambda x: cr.sum(f(x) * np.linspace(0.5, 1.5, x.size))

    def whole(x: cr.Tensor) -> cr.Tensor:
        costs = [branch(f)(copy) for f, copy in zip(BRANCHES.values(), cr.nn.Duplicate(len(BRANCHES))(x), strict=True)]
        return sum(costs[1:], costs[0])

    alone = [cr.grad(branch(f))(cr.tensor(x)).numpy() for f in BRANCHES.values()]
    return alone, cr.grad(whole)(cr.tensor(x)).numpy(), differences(whole, x)[0]


def shared_weight(random: np.random.Generator) -> float:
    """A weight used in every layer against layers with copies of it: how far its gradient is from their sum."""
    W, x = random.normal(0, 0.5, (4, 4)), random.normal(size=(3, 4))

    def deep(*weights: cr.Tensor) -> cr.Tensor:
        h = cr.tensor(x)
        for w in weights:
            h = cr.tanh(h @ w)
        return cr.sum(cr.square(h))

    shared = cr.grad(lambda w: deep(*[w] * DEPTH))(cr.tensor(W)).numpy()
    copies = cr.grad(deep, range(DEPTH))(*(cr.tensor(W) for _ in range(DEPTH)))
    return relative_error(shared, sum(g.numpy() for g in copies))


def measure() -> Measured:
    """Equal branches, unlike branches, and one weight in several layers."""
    random = np.random.default_rng(4)
    x = random.uniform(0.3, 1.5, 5)
    growth, additions = zip(*(alike(x, n) for n in USES), strict=True)
    alone, whole, numeric = unlike(x)
    tied = shared_weight(random)
    off = max(abs(g - n) for g, n in zip(growth, USES, strict=True))
    off_sum = relative_error(whole, sum(alone))
    figures = {
        "uses n of one value": list(USES),
        "gradient through n equal branches, over that through one": list(growth),
        "largest distance from n": off,
        "additions in the gradient graph": list(additions),
        f"{len(BRANCHES)} unlike branches: whole graph against the sum of the branches (relative error)": off_sum,
        f"{len(BRANCHES)} unlike branches: whole graph against finite differences (relative error)": worst(
            [whole], [numeric]
        ),
        f"one weight in {DEPTH} layers: its gradient against the sum over {DEPTH} copies (relative error)": tied,
    }
    checks = {
        "n equal branches pass n times the gradient of one": off < 1e-12,
        "the gradient graph of n branches holds n − 1 additions": [n - 1 for n in USES] == list(additions),
        "unlike branches: the gradient is the sum of the branches' gradients": off_sum < 1e-14,
        "finite differences agree": relative_error(whole, numeric) < 1e-9,
        "a weight used in several layers gets the sum over its uses": tied < 1e-14,
    }
    return Measured(figures, checks, Found(list(growth), [float(g[0]) for g in alone], float(whole[0])))


def draw(figure: Figure, data: Found) -> None:
    """Growth with the number of uses; the branches' gradients and their sum."""
    left, right = style.axes_row(figure, 2)
    style.name(left, "uses of x (number of equal branches)", "gradient, over that of one branch", "Equal branches")
    style.line(left, [0, USES[-1]], [0, USES[-1]], "n uses, n times the gradient", n=1, marker="")
    style.line(left, USES, data.growth, "measured", n=0, linestyle="")
    style.legend(left)
    style.name(right, "branch that starts at x", "∂C/∂x₁ (cost per unit of x₁)", "Unlike branches")
    style.bars(right, [*BRANCHES, "their\nsum", "whole\ngraph"], [*data.parts, sum(data.parts), data.whole])
    for bar, hatch in zip(right.patches[-2:], ("//", "xx"), strict=True):
        bar.set(hatch=hatch, facecolor=style.COLOURS[1])
    right.axhline(0.0, color="black", linewidth=0.8)
    right.tick_params(axis="x", rotation=40)


LAB = Lab(
    row="A4",
    claim="Where a value fans out, the gradients of its uses are summed: n equal uses give n times the gradient of "
    "one, and a weight used in several layers gets the sum over them.",
    look="On the left every measured point lies on the line through the numbers of uses. On the right each bar is what "
    "one branch passes back to x, measured alone, and the last two agree: adding the branches is what the whole graph "
    "does. A small change of x moves every branch at once, so the changes of the cost add up.",
    measure=measure,
    draw=draw,
)
