"""Products in lower precision: which nodes, what they compute, and that nothing else changes."""

import ml_dtypes
import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.numpy_kernels import rounded
from chainrule.graph.graph import LEAVES
from chainrule.graph.tensor import apply

RNG = np.random.default_rng(3)
BACKENDS = ["numpy", "xla"]


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def products(graph):
    for node in graph.nodes:
        if node.op in ("linear", "matmul"):
            yield node
        elif node.op == "scan":
            yield from products(node.attrs["body"])


def bfloat16(x):
    return x.astype(ml_dtypes.bfloat16).astype(np.float64)


# ---- rounding, against ml_dtypes and against arithmetic


def test_bfloat16_rounds_as_ml_dtypes_does_every_kind_of_number():
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4028235e38, -3.4028235e38, 1e-45, 1.1754944e-38, 1 + 2**-8]
    bits = RNG.integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    x = np.concatenate([np.asarray(special, np.float32), bits])
    with np.errstate(invalid="ignore"):
        expected = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    found = rounded(x, 16)
    np.testing.assert_array_equal(found, expected)
    assert (np.signbit(found) == np.signbit(expected))[~np.isnan(x)].all()


def test_tf32_keeps_eleven_bits_of_mantissa_rounded_to_even():
    x = np.concatenate([normal(10_000), np.float32([1 + 2**-11, 1 + 3 * 2**-11])])
    mantissa, exponent = np.frexp(x.astype(np.float64))
    expected = np.ldexp(np.round(np.ldexp(mantissa, 11)), exponent - 11)
    np.testing.assert_array_equal(rounded(x, 13), expected)


# ---- which nodes


def step(w, v, x):
    def cost(w, v):
        h = cr.relu(cr.linear(x, w))
        _, after = cr.scan(lambda c, row: (cr.tanh(c @ v + row), c @ v), h[0], h)
        return cr.square(after).sum()

    return cr.grad(cost, (0, 1))(w, v)


def test_every_product_is_lowered_forward_backward_and_in_loops_and_nothing_else_changes():
    graph = cr.trace(step, normal(4, 3), normal(4, 4), normal(5, 3)).simplify()
    lower = cr.passes.lower_precision(graph, "bfloat16").verify()
    found = list(products(lower))
    assert len(found) == len(list(products(graph))) >= 6
    assert {node.op for node in found} == {"linear", "matmul"}
    assert all(node.attrs["precision"] == "bfloat16" for node in found)
    assert len(lower) == len(graph)
    for before, after in zip(graph.nodes, lower.nodes, strict=True):
        assert (before.op, before.shape, before.dtype, before.module) == (
            after.op, after.shape, after.dtype, after.module
        )  # fmt: skip
        if before.op not in ("linear", "matmul", "scan", *LEAVES):
            assert before.attrs == after.attrs


def test_the_graph_that_was_given_stays_as_it_was():
    graph = cr.trace(step, normal(4, 3), normal(4, 4), normal(5, 3)).simplify()
    cr.passes.lower_precision(graph, "bfloat16")
    assert not any(node.attrs.get("precision") for node in products(graph))


def test_double_precision_and_whole_numbers_are_left_alone():
    graph = cr.trace(lambda x, n: (x @ x, cr.linear(x, x), n @ n), RNG.normal(size=(3, 3)), np.ones((2, 2), np.int64))
    lower = cr.passes.lower_precision(graph, "bfloat16")
    assert not any(node.attrs.get("precision") for node in products(lower))


# ---- what they compute


@pytest.mark.parametrize("backend", BACKENDS)
def test_operands_are_rounded_and_sums_are_not(backend):
    x, w, b, batch = normal(8, 300), normal(5, 300), normal(5), normal(3, 300, 6)
    graph = cr.trace(lambda x, w, b, z: (cr.linear(x, w, b), x @ w.T, x[:6] @ z), x, w, b, batch)
    for found, expected in zip(
        cr.passes.lower_precision(graph.simplify(), "bfloat16").run(x, w, b, batch, backend=backend),
        (bfloat16(x) @ bfloat16(w).T + b, bfloat16(x) @ bfloat16(w).T, bfloat16(x[:6]) @ bfloat16(batch)),
        strict=True,
    ):
        assert found.dtype == np.float32
        # The bias is as exact as it was, and 300 terms are summed in float32: in bfloat16 they would be off by 1e-2.
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_off_by_the_rounding_of_bfloat16_and_no_more(backend):
    w, v, x = normal(16, 8) / 3, normal(16, 16) / 4, normal(12, 8)
    graph = cr.trace(step, w, v, x).simplify()
    exact = graph.run(w, v, x)
    for found, wanted in zip(
        cr.passes.lower_precision(graph, "bfloat16").run(w, v, x, backend=backend), exact, strict=True
    ):
        error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        assert 1e-4 < error < 2e-2


def test_derivatives_and_batches_of_a_lowered_product_are_lowered():
    def cost(w, x):
        return (apply("linear", x, w, precision="bfloat16") @ np.ones((2, 2), np.float32)).sum()

    def slope(w, x):
        return apply("matmul", x, cr.transpose(w), precision="bfloat16").sum()

    for f, own in ((cost, 1), (slope, 1)):
        gradient = cr.trace(f, normal(2, 3), normal(4, 3)).simplify().reverse()
        assert sum(n.attrs.get("precision") == "bfloat16" for n in products(gradient)) >= own
        for_each = cr.trace(cr.per_example_grad(f, batch=(1,)), normal(2, 3), normal(6, 4, 3))
        assert sum(n.attrs.get("precision") == "bfloat16" for n in products(for_each)) >= own


def test_a_lowered_product_is_printed_as_such_and_not_merged_with_an_exact_one():
    def both(x):
        return apply("matmul", x, x, precision="bfloat16"), x @ x

    graph = cr.trace(both, normal(3, 3)).simplify()
    assert str(graph).count("precision=bfloat16") == 1
    assert len(list(products(graph))) == 2


# ---- on a GPU, as far as can be seen without one


@pytest.mark.parametrize(("precision", "said"), [(None, "HIGHEST"), ("tf32", "tf32"), ("bfloat16", "tensor<4x3xbf16>")])
def test_what_is_asked_of_a_gpu(precision, said, monkeypatch):
    import jax

    from chainrule.backends.xla import lower

    monkeypatch.setattr(lower, "has_tf32", lambda: True)
    graph = cr.trace(lambda x, w: cr.linear(x, w), normal(4, 3), normal(5, 3))
    graph = cr.passes.lower_precision(graph, precision) if precision else graph
    function = jax.jit(lambda x, w: lower.function(graph)([x, w]))
    text = function.trace(normal(4, 3), normal(5, 3)).lower(lowering_platforms=("cuda",)).as_text()
    assert said in text
    assert "tensor<4x5xf32>" in text
