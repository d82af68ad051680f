"""No node is skipped: whatever a cost depends on through derivatives has one adjoint, a node of its own."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
import recipes
from chainrule import nn
from chainrule.autodiff.rules import RULES, Formula, Joint
from chainrule.graph.graph import Graph

X = np.random.default_rng(0).normal(size=(6, 4))
LABELS = np.array([0, 1, 2, 0, 1, 2])
NUMBERS = np.random.default_rng(1).normal(size=(6, 3))
MEMBERS = np.stack([NUMBERS, np.random.default_rng(3).uniform(0.5, 2, (6, 3))], axis=-1)
"""A target and a weight for each of three members."""
SHARES = np.random.default_rng(2).uniform(0.1, 0.9, (6, 3))
ACTIVATIONS = [nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Sigmoid(), nn.Tanh(),
               nn.Softplus(), nn.Softmax(), nn.LogSoftmax()]  # fmt: skip
COSTS: dict[str, Any] = {
    "CrossEntropyLoss": lambda z: nn.CrossEntropyLoss()(z, LABELS),
    "label smoothing": lambda z: nn.CrossEntropyLoss(label_smoothing=0.1)(z, LABELS),
    "NLLLoss": lambda z: nn.NLLLoss()(nn.LogSoftmax()(z), LABELS),
    "NLLLoss of the logarithm of a softmax": lambda z: nn.NLLLoss()(cr.log(nn.Softmax()(z)), LABELS),
    "MSELoss": lambda z: nn.MSELoss()(z, NUMBERS),
    "MSELoss of a softmax": lambda z: nn.MSELoss()(nn.Softmax()(z), SHARES),
    "L1Loss": lambda z: nn.L1Loss()(z, NUMBERS),
    "EnsembleLoss": lambda z: nn.EnsembleLoss(nn.MSELoss("none"))(z.reshape(*z.shape, 1), MEMBERS),
    "HuberLoss": lambda z: nn.HuberLoss()(z, NUMBERS),
    "BCELoss": lambda z: nn.BCELoss()(nn.Sigmoid()(z), SHARES),
    "BCEWithLogitsLoss": lambda z: nn.BCEWithLogitsLoss()(z, SHARES),
    "cross-entropy written out": lambda z: -cr.mean(cr.sum(SHARES * cr.log(cr.exp(z) / cr.sum(cr.exp(z), 1, True)), 1)),
}


def handed_on(node: cr.Tensor) -> list[cr.Tensor]:
    """The operands that get a derivative of a node, by the table."""
    rule = RULES.get(node.op)
    return [
        x
        for position, x in enumerate(node.inputs)
        if x.dtype.kind == "f"
        and (isinstance(rule, Joint) or (isinstance(rule, Formula) and rule.adjoint(position) is not None))
    ]


def expected(graph: Graph) -> set[int]:
    """The nodes on a way from an output to an input on which every node hands its derivative on."""
    leads, comes = {x.id for x in graph.inputs}, {y.id for y in graph.outputs}
    for node in graph.nodes:
        if any(x.id in leads for x in handed_on(node)):
            leads.add(node.id)
    for node in reversed(graph.nodes):
        if node.id in comes:
            comes.update(x.id for x in handed_on(node))
    return leads & comes


def assert_paired(cost: Callable[..., Any], *arguments: Any) -> None:
    # With a second output the seeds are inputs of the gradient graph, and no adjoint is a number known beforehand.
    graph = cr.trace(lambda *xs: (cost(*xs), cr.sum(xs[0])), *arguments)
    adjoints = [node for node in graph.reverse().nodes if node.adjoint_of is not None]
    partial = {x.id for node in adjoints for x in node.inputs if x.adjoint_of is node.adjoint_of}
    named = Counter(node.adjoint_of.id for node in adjoints if node.id not in partial)
    labels = {node.id: node.label() for node in graph.nodes}
    assert [labels[i] for i in expected(graph) - set(named)] == [], "have no adjoint of their own"
    assert [labels[i] for i, times in named.items() if times > 1] == [], "have several"


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("name", COSTS)
def test_every_node_that_a_loss_depends_on_has_an_adjoint_of_its_own(name: str, activation: nn.Module) -> None:
    random = np.random.default_rng(3)
    assert_paired(
        lambda W1, W2, b: COSTS[name](activation(cr.matmul(X, W1)) @ W2 + b),
        random.normal(size=(4, 5)), random.normal(size=(5, 3)), random.normal(size=3),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(0, 400, 4))
def test_every_node_of_a_random_graph_has_an_adjoint_of_its_own(seed: int) -> None:
    recipe = recipes.draw(seed)
    assert_paired(recipe.cost, *recipe.inputs)


def test_a_rule_that_jumps_over_a_node_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the well-known p − onehot, handed to the input of the softmax when the loss is the log of a softmax."""
    from chainrule.autodiff import reverse

    collect = reverse._collect

    def jump(found: dict[int, Any], x: cr.Tensor, g: cr.Tensor) -> None:
        if x.op == "softmax":
            return collect(found, x.inputs[0], RULES["softmax"].adjoint(0)(g, x, x.inputs[0]))
        return collect(found, x, g)

    monkeypatch.setattr(reverse, "_collect", jump)
    with pytest.raises(AssertionError, match="have no adjoint of their own"):
        test_every_node_that_a_loss_depends_on_has_an_adjoint_of_its_own(
            "NLLLoss of the logarithm of a softmax", nn.Tanh()
        )


def test_every_loss_is_among_the_costs() -> None:
    assert {name for name in nn.__all__ if name.endswith("Loss")} - {"Loss"} <= set(COSTS)


@pytest.mark.parametrize(("axis", "reshaped"), [(None, 0), (0, 0), ((0, 1), 0), (1, 1), ((0, 2), 1)])
def test_the_adjoint_of_a_sum_over_leading_axes_is_stretched_back_in_one_step(axis: Any, reshaped: int) -> None:
    x, g = np.arange(24.0).reshape(2, 3, 4), np.cos(np.arange(24.0))
    weights = g[: np.sum(x, axis).size].reshape(np.sum(x, axis).shape)
    graph = cr.trace(lambda x: (x.sum(axis) * weights).sum(), x).reverse()
    assert [node.op for node in graph.nodes].count("reshape") == reshaped
    kept = np.sum(x, axis, keepdims=True).shape
    np.testing.assert_array_equal(graph.run(x)[0], np.broadcast_to(weights.reshape(kept), x.shape))
