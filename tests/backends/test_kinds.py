"""What the tables say of an operation's kind, rounding and cost is what the kernels do."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.autodiff import batch
from chainrule.backends.flops import bodies, fits_single_kernel
from chainrule.backends.kernels import is_fusible
from chainrule.backends.xla.compiled_graph import run_unchecked
from chainrule.graph.graph import Graph
from chainrule.graph.ops import OPS, Kind, Rounding
from chainrule.graph.tensor import apply, placeholder
from chainrule.passes.rowwise import rowwise
from operations import EVERY, X, single_nodes

MANY = 4096


def more_like(values, rng):
    """So many more numbers of the kind that an operand has: beside the old ones, if they are floats."""
    drawn = rng.choice(values.reshape(-1), MANY)
    return (drawn * rng.uniform(0.9, 1.1, MANY)).astype(values.dtype) if values.dtype.kind == "f" else drawn


def test_two_backends_differ_by_no_more_than_the_rounding_of_an_operation():
    rng = np.random.default_rng(0)
    inputs, outputs, operands = [], [], []
    for node, values in single_nodes(X.astype("float32")).values():
        if node.op == "in_range":
            continue  # It reads the checks of other nodes.
        if OPS[node.op].kind is Kind.ELEMENTWISE:
            values = [more_like(value, rng) for value in values]
        given = [placeholder(np.shape(v), v.dtype) for v in values]
        inputs += given
        operands += values
        outputs.append(apply(node.op, *given, **node.attrs))
    graph = Graph(inputs, outputs)
    for y, plain, compiled in zip(outputs, graph.run(*operands), run_unchecked(graph, operands), strict=True):
        op = OPS[y.op]
        if op.rounding is Rounding.EXACT:
            np.testing.assert_array_equal(plain, compiled, err_msg=y.op)
        elif op.kind is Kind.ELEMENTWISE:
            roundings = 3 if op.rounding is Rounding.ROUNDED else 12
            np.testing.assert_allclose(plain, compiled, rtol=roundings * 2.0**-23, atol=1e-37, err_msg=y.op)


@pytest.mark.parametrize("name", sorted(single_nodes(X)))
def test_a_batch_is_computed_as_its_examples_are(name):
    node, values = single_nodes(X)[name]
    given = [placeholder(np.shape(v), v.dtype) for v in values]
    single = Graph(given, [apply(name, *given, **node.attrs)])
    both = [np.stack([v, v[::-1]] if v.ndim and v.dtype.kind == "f" else [v, v]) for v in values]
    wide = [placeholder(v.shape, v.dtype) for v in both]
    [y] = batch.batched(single.outputs, given, wide)
    [found] = Graph(wide, [y]).run(*both) if y.inputs else [y.value]
    for i in range(2):
        [expected] = single.run(*[v[i] for v in both])
        np.testing.assert_allclose(found[i], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", sorted(single_nodes(X)))
def test_rows_that_are_said_to_be_kept_apart_do_not_know_each_other(name):
    node, values = single_nodes(X)[name]
    given = [placeholder(np.shape(v), v.dtype) for v in values]
    graph = Graph(given, [apply(name, *given, **node.attrs)])
    if values and np.ndim(values[0]) and name != "in_range" and rowwise(graph, given[0]) == [True]:
        other = values[0].copy()
        other[0] = other[-1]
        [before], [after] = graph.run(*values), graph.run(other, *values[1:])
        np.testing.assert_array_equal(before[1:], after[1:])


def test_one_kernel_holds_every_operation_that_is_said_to_fit():
    graphs = [cr.trace(f, X) for f in EVERY]
    config = [f for f, graph in zip(EVERY, graphs, strict=True) if fits_single_kernel(graph)]
    held = {node.op for graph in graphs if fits_single_kernel(graph) for node in graph.nodes}
    # Parts of loops only, and what a training's own steps draw.
    assert {op for op in OPS if is_fusible(op)} - held == {"get_item", "random_uniform", "random_normal"}

    def body(x, _):
        sums = [cr.sum(cr.where(cr.isfinite(y), y, 0.0)) for y in (f(x).astype("float64") for f in config)]
        return x * 1.01, cr.stack(sums), True

    graph = cr.trace(lambda x: cr.loop(body, x, length=2).records, X)
    assert all(map(fits_single_kernel, bodies(graph)))
    np.testing.assert_allclose(graph.run(X, backend="xla"), graph.run(X), rtol=1e-10, atol=1e-12)
