"""2,000 random graphs: gradients and second derivatives on both backends against JAX's; 400 of them unless asked."""

import numpy as np
import pytest

import chainrule as cr
import outside
import recipes
from chainrule import tree
from chainrule.backends import verify
from chainrule.backends.agreement import disagreement

TOLERANCE = 1e-9
A_BATCH = 20
BATCHES = [range(first, first + A_BATCH) for first in range(0, 2000, A_BATCH)]
COMPILED = BATCHES[::16]
SHORT = 20
"""Batches that are always compared. Compiling takes most of the time, and is done with all options as shipped."""
ALL = [*BATCHES[:SHORT], *(pytest.param(seeds, marks=pytest.mark.long) for seeds in BATCHES[SHORT:])]


def both_orders(recipe, xs):
    every = range(len(xs))
    return [cr.grad(recipe.cost, every)(*xs), cr.grad(recipe.slope, every)(*xs)]


def one_graph(batch):
    """All gradients of many recipes as one graph, so that XLA compiles once for all of them."""

    def everything(*points):
        return [both_orders(recipe, xs) for recipe, xs in zip(batch, points, strict=True)]

    return cr.trace(everything, *(recipe.inputs for recipe in batch))


def arrays(orders):
    return [[np.asarray(g) for g in gradient] for gradient in orders]


def assert_agree(batch, ours, theirs, how):
    wrong = []
    for recipe, mine, reference in zip(batch, ours, theirs, strict=True):
        for order, (a, b) in enumerate(zip(mine, reference, strict=True), 1):
            error = outside.error(a, b)
            if not error <= TOLERANCE:
                wrong.append(
                    f"seed {recipe.seed}, order {order}, {how}: {error:.3g} in {[s.move for s in recipe.steps]}"
                )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("seeds", ALL, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_first_and_second_derivatives_agree_with_jax_however_they_are_computed(seeds, monkeypatch):
    batch = [recipes.draw(seed) for seed in seeds]
    theirs = [outside.reference(recipe) for recipe in batch]
    at_once = [arrays(both_orders(recipe, [cr.tensor(x) for x in recipe.inputs])) for recipe in batch]
    assert_agree(batch, at_once, theirs, "define-by-run")

    points = [recipe.inputs for recipe in batch]
    graph = one_graph(batch).verify()
    shorter = graph.simplify().verify()
    assert len(shorter) <= len(graph)
    assert_agree(batch, graph.run(*points), theirs, "interpreted")
    assert_agree(batch, shorter.run(*points), theirs, "simplified and interpreted")
    if seeds in COMPILED:
        # What is compiled is to be right by itself, without the check behind it, and that check must not object.
        monkeypatch.setenv(verify.VERIFY_VARIABLE, "off")
        compiled = shorter.run(*points, backend="xla")
        assert_agree(batch, compiled, theirs, "compiled")
        values = shorter.arrays(points)
        assert disagreement(shorter, values, tree.flatten(compiled)[0]) is None


@pytest.mark.parametrize("seed", range(7, 2000, 83))
def test_the_gradient_graph_agrees_with_jax_and_needs_all_its_nodes(seed):
    recipe = recipes.draw(seed)
    gradient = cr.trace(recipe.cost, *recipe.inputs).reverse().verify()
    assert_agree([recipe], [[gradient.run(*recipe.inputs)]], [outside.reference(recipe, 1)], "gradient graph")
    used = {x.id for node in gradient.nodes for x in node.inputs} | {
        y.id for y in (*gradient.outputs, *gradient.inputs)
    }
    assert {node.id for node in gradient.nodes} == used


@pytest.mark.parametrize("seed", range(3, 2000, 199))
def test_the_reference_computes_what_jax_computes(seed):
    recipe = recipes.draw(seed)
    for order, (a, b) in enumerate(zip(outside.reference(recipe), outside.compiled_reference(recipe), strict=True), 1):
        assert outside.error(a, b) < 1e-10, order


def smooth(seeds, high):
    """Recipes whose gradient is the slope of their value: differences know nothing of a stopped gradient."""
    many = [recipes.draw(seed, high=high) for seed in seeds]
    return [pytest.param(r, id=str(r.seed)) for r in many if all(s.move != "stop_gradient" for s in r.steps)]


@pytest.mark.parametrize("recipe", smooth(range(11, 2000, 40), high=8))
def test_gradients_agree_with_finite_differences(recipe):
    cr.check_grad(recipe.cost, *recipe.inputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recipe", smooth(range(13, 2000, 100), high=6))
def test_second_derivatives_agree_with_finite_differences(recipe):
    cr.check_grad(recipe.slope, *recipe.inputs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(17, 2000, 40))
def test_forward_mode_is_the_gradient_along_the_tangent(seed):
    recipe = recipes.draw(seed)
    xs = [cr.tensor(x) for x in recipe.inputs]
    _, pushed = cr.jvp(recipe.cost, xs, recipe.directions)
    expected = sum(np.sum(d * g) for d, g in zip(recipe.directions, outside.reference(recipe, 1)[0], strict=True))
    assert pushed.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(19, 2000, 60))
def test_backward_adds_up_the_same_gradients(seed):
    recipe = recipes.draw(seed)
    xs = [cr.tensor(x, requires_grad=True) for x in recipe.inputs]
    recipe.cost(*xs).backward()
    recipe.cost(*xs).backward()
    theirs = outside.reference(recipe, 1)[0]
    ours = [np.zeros_like(t) if x.grad is None else x.grad.numpy() / 2 for x, t in zip(xs, theirs, strict=True)]
    assert outside.error(ours, theirs) <= TOLERANCE


def test_every_differentiable_operation_is_drawn():
    from chainrule.autodiff.rules import RULES, Formula

    # A cast between float dtypes loses digits by its nature, and `after` is made by the reversal of a Checkpoint only:
    # both have tests of their own.
    missing = {op for op, rule in RULES.items() if isinstance(rule, Formula)} - {"cast", "depends_on"}
    for recipe in map(recipes.draw, range(600)):
        missing -= {node.op for node in cr.trace(recipe.cost, *recipe.inputs).nodes}
        if not missing:
            break
    assert not missing


def test_recipes_have_tall_values_empty_ones_and_many_axes():
    def shapes(seeds):
        return [x.shape for seed in seeds for x in recipes.draw(seed).inputs]

    assert max(max(shape, default=0) for shape in shapes([50, 150])) > 32_768
    assert any(0 in shape for shape in shapes(range(9, 200, 20)))
    assert max(map(len, shapes(range(4, 200, 10)))) == 6


def test_recipes_are_random_graphs_with_fan_out_and_broadcasts():
    many = [recipes.draw(seed) for seed in range(200)]
    uses = [[i for step in r.steps for i in step.operands] for r in many]
    assert sum(len(u) > len(set(u)) for u in uses) > 100
    assert len({tuple(step.move for step in r.steps) for r in many}) > 195
    assert recipes.draw(5).steps[0].move == recipes.draw(5).steps[0].move
