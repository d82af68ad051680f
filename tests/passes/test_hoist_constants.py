"""Graphs that differ in numbers only become one graph that takes the numbers."""

import numpy as np

import chainrule as cr
from chainrule.graph.tensor import placeholder
from chainrule.passes import hoist_constants as hoist


def graph(rate, shape=(3,)):
    return cr.trace(lambda x: cr.tanh(x * rate) + 2.0, np.ones(shape, "float32"))


def test_outlines_are_equal_where_only_numbers_differ():
    assert hoist.structural_hash(graph(0.5)) == hoist.structural_hash(graph(0.1))
    assert hoist.structural_hash(graph(0.5)) != hoist.structural_hash(graph(0.5, (4,)))
    assert hoist.structural_hash(graph(0.5)) != hoist.structural_hash(
        cr.trace(lambda x: cr.exp(x * 0.5) + 2.0, np.ones(3, "float32"))
    )


def test_a_lifted_graph_with_a_graphs_numbers_is_that_graph():
    one, other = graph(0.5), graph(0.1)
    (place,) = [i for i, (a, b) in enumerate(zip(*map(hoist.constants, (one, other)), strict=True)) if a != b]
    rate = placeholder((), np.float32, "rate")
    both = hoist.hoisted(one, {place: rate}, [rate], passed_on=True)
    x = np.array([0.3, -1.0, 2.0], np.float32)
    for single, number in ((one, 0.5), (other, 0.1)):
        passed, value = both.run(np.float32(number), x)
        assert passed == np.float32(number)
        np.testing.assert_array_equal(value, single.run(x))


def test_numbers_that_are_not_asked_for_stay():
    both = hoist.hoisted(graph(0.5), {}, [], passed_on=False)
    x = np.ones(3, np.float32)
    np.testing.assert_array_equal(both.run(x)[0] if isinstance(both.run(x), tuple) else both.run(x), graph(0.5).run(x))
