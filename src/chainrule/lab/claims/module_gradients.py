"""Every module's own gradient, against finite differences and against the gradient of its composition."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule import nn, tree
from chainrule.graph.decompositions import DECOMPOSITIONS
from chainrule.graph.graph import replay
from chainrule.graph.ops import OPS
from chainrule.graph.random import keyed
from chainrule.graph.tensor import apply, constant
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.numeric import Array, differences, relative_error, worst

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Function = Callable[..., Any]
WITHOUT_RULE = (
    nn.Module, nn.Loss, nn.Sequential, nn.Lambda, nn.NamedLosses, nn.Embedding, nn.PiecewiseLinear, nn.LinearEnsemble,
    nn.EnsembleInput, nn.EnsembleOutput, nn.EnsembleLoss,
)  # fmt: skip
"""What only holds other modules or a user's function, picks from its parameters, or is made of the others."""
COMPOSED: dict[str, Function] = {
    **DECOMPOSITIONS,
    "tanh": lambda x: (cr.exp(x) - cr.exp(-x)) / (cr.exp(x) + cr.exp(-x)),
    "add": lambda x, y: x - (-y),
    "maximum": lambda x, y: cr.where(x > y, x, y),
    "identity": lambda x: x * 1.0,
}
"""The compositions of the fused operations, and of the elementary ones that are modules of the lecture's list."""
ROWS, WIDTH, CLASSES = 3, 4, 5
EXACT = 1e-18


@dataclass(frozen=True)
class Error:
    """A module's largest relative errors: against finite differences, against its composition (None: it is one)."""

    differences: float
    composition: float | None


class Draws:
    """Random operands of each kind that modules take, away from kinks, where no derivative is defined by a limit."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(5)

    def values(self, *shape: int) -> Array:
        """Numbers between 0.2 and 2 of either sign."""
        return self.random.uniform(0.2, 2.0, shape) * self.random.choice([-1.0, 1.0], shape)

    def near(self, x: Array) -> Array:
        """Numbers that differ from x by clearly less than 1 or clearly more."""
        gap = np.where(self.random.random(x.shape) < 0.5, 0.5, 1.5) + self.random.uniform(-0.2, 0.2, x.shape)
        return x + gap * self.random.choice([-1.0, 1.0], x.shape)

    def chances(self) -> Array:
        """Probabilities."""
        return self.random.uniform(0.2, 0.8, (ROWS, WIDTH))

    def labels(self) -> Array:
        """Class indices, one a row."""
        return self.random.integers(0, CLASSES, ROWS)

    def operands(self, module: nn.Module) -> list[Array]:
        """What a module is to be called with."""
        x = self.values(ROWS, WIDTH)
        special: dict[type, Callable[[], list[Array]]] = {
            nn.CrossEntropyLoss: lambda: [self.values(ROWS, CLASSES), self.labels()],
            nn.NLLLoss: lambda: [self.values(ROWS, CLASSES), self.labels()],
            nn.BCELoss: lambda: [self.chances(), self.chances()],
            nn.BCEWithLogitsLoss: lambda: [x, self.chances()],
            nn.Flatten: lambda: [self.values(ROWS, 2, 2)],
        }
        if type(module) in special:
            return special[type(module)]()
        return [x, self.near(x)] if isinstance(module, (nn.Loss, nn.Add, nn.Max)) else [x]


def made(kind: type[nn.Module]) -> nn.Module:
    """A module of that kind."""
    settings = {nn.Linear: (WIDTH, 3), nn.BatchNorm: (WIDTH,), nn.LayerNorm: (WIDTH,), nn.Duplicate: (3,)}
    return kind(*settings.get(kind, ()))


def modules() -> dict[str, type[nn.Module]]:
    """Every kind of module of the package that has a rule of its own."""
    kinds = {name: getattr(nn, name) for name in nn.__all__}
    found = {name: kind for name, kind in kinds.items() if inspect.isclass(kind) and issubclass(kind, nn.Module)}
    return {name: kind for name, kind in sorted(found.items()) if kind not in WITHOUT_RULE}


def contracted(f: Function, count: int) -> Function:
    """One number from all that f gives, with fixed random weights; its first `count` arguments are a list to f."""

    def cost(*xs: cr.Tensor) -> cr.Tensor:
        random = np.random.default_rng(1)
        outputs = tree.flatten(f(list(xs[:count]), *xs[count:]))[0]
        terms = [cr.sum(y * random.uniform(0.5, 1.5, y.shape)) for y in outputs]
        return sum(terms[1:], terms[0])

    return cost


def graph_of(module: nn.Module, draws: Draws) -> tuple[cr.Graph, list[Array]]:
    """A module contracted to one number, as a graph of its parameters and operands in float64, and values for them."""
    leaves, structure = tree.flatten(module)
    xs = [*(draws.values(*leaf.shape) for leaf in leaves), *draws.operands(module)]
    cost = contracted(lambda weights, *xs: tree.unflatten(structure, weights)(*xs), len(leaves))
    with keyed(constant([1, 2], "uint32")):
        return cr.trace(cost, *xs), xs


def operation_graph(name: str, draws: Draws) -> tuple[cr.Graph, list[Array]]:
    """The same of a fused operation that no module stands for: over the first axis of one operand."""
    x = draws.values(ROWS, WIDTH)
    return cr.trace(contracted(lambda _, x: apply(name, x, axes=(0,), eps=1e-3), 0), x), [x]


def composed(graph: cr.Graph) -> cr.Graph:
    """The same graph with every operation that has one replaced by its composition."""

    def make(op: str, *operands: cr.Tensor, **attrs: Any) -> cr.Tensor:
        return COMPOSED[op](*operands, **attrs) if op in COMPOSED else apply(op, *operands, **attrs)

    known = {x.id: x for x in graph.inputs}
    return graph.replaced(replay(graph.nodes, known, make))


def error(graph: cr.Graph, xs: list[Array]) -> Error:
    """How far the rules' gradients are from the two others."""
    wrt = graph.select(None)
    found = graph.reverse(wrt).run(*xs)
    real = [i for i, x in enumerate(xs) if x.dtype.kind == "f"]

    def cost(*chosen: cr.Tensor) -> Any:
        filled: list[Any] = list(xs)
        for i, x in zip(real, chosen, strict=True):
            filled[i] = x
        return graph.run(*filled)

    numeric = worst(found, differences(cost, *(xs[i] for i in real)))
    if not any(node.op in COMPOSED for node in graph.nodes):
        return Error(numeric, None)
    return Error(numeric, worst(found, composed(graph).reverse().run(*xs)))


def by_the_list() -> dict[str, float]:
    """The gradients of the lecture's list, written out in NumPy: how far ours are from them."""
    draws = Draws()
    x, W, g, labels = draws.values(ROWS, CLASSES), draws.values(2, CLASSES), draws.values(ROWS, 2), draws.labels()
    _, pulled = cr.vjp(cr.linear, cr.tensor(x), cr.tensor(W))
    dX, dW = pulled(cr.tensor(g))

    def slope(f: Function, *xs: Array) -> Array:
        return cr.grad(lambda *xs: cr.sum(f(*xs)))(*(cr.tensor(x) for x in xs)).numpy()

    s, e = 1 / (1 + np.exp(-x)), np.exp(x)
    entropy = slope(lambda x: cr.cross_entropy(x, labels), x)
    return {
        "Linear: Wᵀ·dC/dY and dC/dY·Xᵀ": worst([dX.numpy(), dW.numpy()], [g @ W, g.T @ x]),
        "ReLU passes at exactly 0": relative_error(slope(cr.relu, np.array([-1.0, 0.0, 1.0])), [0, 1, 1]),
        "Max: a tie goes to the second": relative_error(slope(cr.maximum, np.ones(1), np.ones(1)), [0.0]),
        "Sigmoid: σ(1 − σ)": relative_error(slope(cr.sigmoid, x), s * (1 - s)),
        "SiLU: σ + zσ(1 − σ)": relative_error(slope(cr.silu, x), s + x * s * (1 - s)),
        "cross-entropy: p − onehot": relative_error(entropy, e / e.sum(1, keepdims=True) - np.eye(CLASSES)[labels]),
    }


def measure() -> Measured:
    """Every module, every fused operation that none of them uses, and the formulas of the list."""
    cr.seed(0)
    draws = Draws()
    graphs = {name: graph_of(made(kind), draws) for name, kind in modules().items()}
    used = {node.op for graph, _ in graphs.values() for node in graph.nodes}
    fused = {name for name, op in OPS.items() if op.fused}
    graphs |= {name: operation_graph(name, draws) for name in sorted(fused - used)}
    errors = {name: error(*case) for name, case in graphs.items()}
    listed = by_the_list()
    by_differences = max(e.differences for e in errors.values())
    by_composition = max(e.composition for e in errors.values() if e.composition is not None)
    figures: dict[str, Any] = {
        "modules": len(modules()),
        "fused operations": len(fused),
        "worst relative error against finite differences": by_differences,
        "worst relative error against the composition": by_composition,
    }
    figures |= {f"formula of the list, relative error: {name}": value for name, value in listed.items()}
    for name, e in errors.items():
        figures[f"{name}: relative error against finite differences"] = e.differences
        if e.composition is not None:
            figures[f"{name}: relative error against its composition"] = e.composition
    checks = {
        "every fused operation has a composition, and is among those measured": fused == set(DECOMPOSITIONS)
        and fused <= used | set(errors),
        "every rule agrees with finite differences to 8 digits": by_differences < 1e-8,
        "every rule agrees with the gradient of its composition to 12 digits": by_composition < 1e-12,
        "the gradients are those of the lecture's list": max(listed.values()) < 1e-12,
    }
    return Measured(figures, checks, errors)


def draw(figure: Figure, data: dict[str, Error]) -> None:
    """Both errors of each module, on a logarithmic scale."""
    figure.set_size_inches(9.0, 0.24 * len(data) + 1.6)
    axes = style.axes(figure, "largest relative error of the gradient (no unit)", "module or operation", log="x")
    rows = range(len(data))
    shown: dict[str, list[float | None]] = {
        "against finite differences": [e.differences for e in data.values()],
        "against its composition": [e.composition for e in data.values()],
    }
    for n, (label, errors) in enumerate(shown.items()):
        places = [np.nan if e is None else max(e, EXACT) for e in errors]
        axes.plot(places, rows, label=label, markersize=7, **{**style.look(n), "linestyle": ""})
    axes.axvline(np.finfo(float).eps, color="#666666", linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
    axes.annotate("rounding, 2⁻⁵²", (np.finfo(float).eps, 1.01), xycoords=("data", "axes fraction"), fontsize=9)
    axes.set_yticks(rows, list(data))
    axes.set_xlim(EXACT / 3, max(1e-7, *(3 * e.differences for e in data.values())))
    axes.set_xticks(
        [EXACT, 1e-16, 1e-14, 1e-12, 1e-10, 1e-8], ["exactly 0", *(f"$10^{{{n}}}$" for n in range(-16, -7, 2))]
    )
    axes.invert_yaxis()
    style.legend(axes, loc="upper right")


LAB = Lab(
    row="B1–B9",
    claim="Every module has one analytic gradient of its own, and it is right: it agrees with finite differences of "
    "the module, and with the gradient that reversal derives from its composition of elementary operations.",
    look="The squares lie at the left, at rounding: a module's own rule and the rule derived from its composition are "
    "the same function, written in fewer operations. The circles lie further right only because a difference quotient "
    "itself is right to some 11 digits. No module is missing: the list is what the package contains.",
    measure=measure,
    draw=draw,
)
