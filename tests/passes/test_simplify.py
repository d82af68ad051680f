import numpy as np
import pytest

import chainrule as cr
import recipes
from chainrule.graph.graph import LEAVES

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


def simplified(f, *xs):
    graph = cr.trace(f, *xs).simplify().verify()
    return graph, [node.op for node in graph.nodes if node.op not in LEAVES]


@pytest.mark.parametrize("first", range(0, 400, 40))
def test_simplifying_keeps_the_meaning_and_never_adds_nodes(first):
    for seed in range(first, first + 40):
        recipe = recipes.draw(20_000 + seed)
        graph = cr.trace(recipe.slope, *recipe.inputs)
        shorter = graph.simplify().verify()
        assert len(shorter) <= len(graph), seed
        assert len(shorter.simplify()) <= len(shorter), seed
        np.testing.assert_allclose(shorter.run(*recipe.inputs), graph.run(*recipe.inputs), rtol=1e-9, atol=1e-12)
        assert [x.name for x in shorter.inputs] == [x.name for x in graph.inputs]


def test_equal_nodes_are_merged():
    _, ops = simplified(lambda x: cr.exp(x) * cr.sin(x) + cr.exp(x), X)
    assert sorted(ops) == ["add", "exp", "multiply", "sin"]
    _, ops = simplified(lambda x: (x * 3.0) / (x * 3.0), X)
    assert ops.count("multiply") == 1


def test_nodes_that_differ_in_settings_type_or_constant_are_not_merged():
    graph, _ = simplified(lambda x: (x.sum(0), x.sum(0, keepdims=True), x.sum(1), x * 2.0, x * 3.0), X)
    assert len({y.id for y in graph.outputs}) == 5
    # −0 is 0 to a comparison and not to a division.
    graph, _ = simplified(lambda x: (cr.divide(x, np.zeros(())), cr.divide(x, -np.zeros(()))), X)
    up, down = graph.run(X)
    np.testing.assert_array_equal(up, -down)


def test_what_changes_nothing_is_left_out():
    for f in (
        lambda x: x * 1.0,
        lambda x: 1.0 * x,
        lambda x: x + 0.0,
        lambda x: 0.0 + x,
        lambda x: x - 0.0,
        lambda x: x / 1.0,
        lambda x: cr.negative(-x),
        cr.identity,
        lambda x: x.T.T,
        lambda x: x.reshape(6).reshape(2, 3),
        lambda x: cr.sum(x, ()),
        lambda x: x.transpose(1, 0).transpose(1, 0),
        lambda x: x.max(()),
        lambda x: x * np.ones((2, 3)),
    ):
        graph, ops = simplified(f, X)
        np.testing.assert_array_equal(graph.run(X), X)
        assert ops in ([], ["multiply"])


def test_what_changes_something_is_kept():
    for f in (lambda x: 1.0 - x, lambda x: 0.0 - x, lambda x: 1.0 / x, lambda x: x * 0.0, lambda x: x**1.5 * 2.0):
        graph, _ = simplified(f, np.abs(X))
        np.testing.assert_allclose(graph.run(np.abs(X)), f(cr.tensor(np.abs(X))).numpy())
    graph, _ = simplified(lambda x: cr.logical_not(~(x > 0)), X)
    np.testing.assert_array_equal(graph.run(X), X > 0)


def test_chains_of_reshapes_stretches_and_transposes_become_one():
    for f in (
        lambda x: x.reshape(3, 2).reshape(6).reshape(1, 6),
        lambda x: cr.broadcast_to(cr.broadcast_to(x, (4, 2, 3)), (5, 4, 2, 3)),
        lambda x: x.reshape(1, 2, 3).transpose(2, 0, 1).transpose(2, 0, 1),
        lambda x: x.reshape(1, 2, 3).transpose(2, 0, 1).transpose(1, 0, 2),
    ):
        graph, ops = simplified(f, X)
        assert len(ops) <= 2
        np.testing.assert_array_equal(graph.run(X), f(cr.tensor(X)).numpy())


def test_a_stretch_that_only_an_axis_between_can_make_is_kept():
    x = np.array([[1.0], [2.0]])
    f = lambda x: cr.broadcast_to(cr.broadcast_to(x, (2, 2)), (2, 2, 2))  # noqa: E731
    graph, _ = simplified(f, x)
    np.testing.assert_array_equal(graph.run(x), f(cr.tensor(x)).numpy())


def test_nodes_that_nothing_needs_go():
    graph, ops = simplified(lambda x: (cr.exp(x).sum(), x)[1], X)
    assert ops == []
    assert len(graph) == 1


def test_constants_are_folded_and_parameters_are_not():
    w = cr.tensor(np.ones(3), requires_grad=True)
    graph, ops = simplified(lambda x: x + cr.exp(cr.tensor(1.0)) * 2.0 + w * 1.0, X)
    assert set(ops) <= {"add", "broadcast_to"}
    assert graph.captured == (w,)


def test_module_paths_lines_and_adjoints_survive():
    graph = cr.trace(lambda x: cr.exp(x * 2.0).sum(), X, lines=True).reverse()
    shorter = graph.simplify()
    assert all(node.line for node in shorter.nodes if node.op == "exp")
    (y,) = shorter.outputs
    assert y.adjoint_of is shorter.inputs[0] or y.adjoint_of is graph.inputs[0]


def test_dtypes_survive_neutral_operations():
    x = np.ones(3, np.float32)
    for f in (lambda x: x + np.float64(0.0), lambda x: x * np.ones(3), lambda x: x.astype("float64") * 1.0):
        graph, _ = simplified(f, x)
        assert graph.run(x).dtype == f(cr.tensor(x)).dtype


def test_summing_truth_values_over_no_axes_still_counts():
    graph, _ = simplified(lambda x: cr.sum(x > 0, ()), X)
    assert graph.run(X).dtype == np.int64
