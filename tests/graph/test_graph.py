import textwrap

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, GraphError, ShapeError, TraceError
from chainrule.graph.graph import Graph
from chainrule.graph.tensor import Tensor, apply, placeholder

X, W = np.ones((2, 3)), np.ones((3, 2))


def layer(x, w):
    return cr.relu(x @ w).sum()


def expected(text):
    return textwrap.dedent(text).strip()


def test_a_graph_prints_one_line_a_node_in_columns():
    assert str(cr.trace(layer, X, W)) == expected("""
        graph(x: float64[2, 3], w: float64[3, 2]) -> float64[]
          %0  x       float64[2, 3]
          %1  w       float64[3, 2]
          %2  matmul  float64[2, 2]  Z = X·Y            %0 %1
          %3  relu    float64[2, 2]  y = (x)⁺           %2
          %4  sum     float64[]      y = Σ x over axes  %3  axes=(0, 1)
          return %4
    """)


def test_a_gradient_graph_prints_which_adjoint_each_node_is():
    lines = str(cr.trace(layer, X, W).reverse("w")).splitlines()
    assert lines[0] == "graph(x: float64[2, 3], w: float64[3, 2]) -> float64[3, 2]"
    assert lines[-2].split() == ["%9", "matmul", "float64[3,", "2]", "Z", "=", "X·Y", "%8", "%7", "∂C/∂%1"]
    assert sum(line.endswith(("∂C/∂%1", "∂C/∂%2", "∂C/∂matmul")) for line in lines) == 2


def test_inputs_are_named_after_the_arguments_and_their_parts():
    graph = cr.trace(lambda p, x: p["w"] * x + p["b"][0], {"w": 1.0, "b": (2.0,)}, 3.0)
    assert [x.name for x in graph.inputs] == ["p.w", "p.b.0", "x"]


def test_tracing_can_say_the_line_that_made_a_node():
    graph = cr.trace(layer, X, W, lines=True)
    assert graph.nodes[2].line.split(":")[0].endswith("test_graph.py")
    assert f"at {graph.nodes[2].line}" in str(graph)
    assert cr.trace(layer, X, W).nodes[2].line is None


def test_whole_numbers_and_truth_values_are_structure_and_numbers_are_data():
    def f(x, times, double):
        for _ in range(times):
            x = x * 2.0 if double else x + 1.0
        return x

    graph = cr.trace(f, 1.0, 3, True)
    assert len(graph.inputs) == 1
    assert graph.run(5.0, 3, True) == 40.0


def test_results_come_back_in_the_structure_of_the_traced_function():
    graph = cr.trace(lambda x: {"twice": x * 2.0, "both": (x, [x + 1.0])}, 1.0)
    result = graph.run(3.0)
    assert result["twice"] == 6.0
    assert result["both"] == (3.0, [4.0])


def test_a_function_that_gives_no_tensor_is_refused():
    with pytest.raises(TraceError, match="nothing"):
        cr.trace(lambda x: None, 1.0)
    with pytest.raises(TraceError, match="str"):
        cr.trace(lambda x: "text", 1.0)


def test_arguments_that_do_not_fit_the_trace_are_refused():
    graph = cr.trace(layer, X, W)
    with pytest.raises(ShapeError, match="2 arrays, got 1"):
        graph.run(X)
    with pytest.raises(ShapeError, match=r"input w: .*expected \(3, 2\), got \(2, 3\)"):
        graph.run(X, X)


def test_unused_inputs_stay_inputs():
    graph = cr.trace(lambda x, y: x * 2.0, 1.0, 2.0)
    assert len(graph.inputs) == 2
    assert graph.run(4.0, 5.0) == 8.0
    assert [float(g) for g in graph.reverse().run(4.0, 5.0)] == [2.0, 0.0]


def test_parameters_that_are_not_arguments_are_captured_and_read_anew():
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    graph = cr.trace(lambda x: (x * w).sum(), np.ones(2))
    assert graph.captured == (w,)
    assert graph.run([1.0, 1.0]) == 3.0
    w.value = np.array([10.0, 20.0])
    assert graph.run([1.0, 1.0]) == 30.0
    assert graph.simplify().run([1.0, 1.0]) == 30.0


def test_inputs_are_chosen_by_name_position_or_node():
    graph = cr.trace(layer, X, W)
    for wrt in ("w", 1, graph.inputs[1], ["w"], [-1]):
        (found,) = graph.reverse(wrt).run(X, W)
        np.testing.assert_array_equal(found, np.full((3, 2), 2.0))
    with pytest.raises(ArgumentError, match="no such input: expected w, x"):
        graph.reverse("ww")


def test_the_gradient_graph_of_several_outputs_takes_their_gradients():
    graph = cr.trace(lambda x: (x * 2.0, x * x), np.ones(3))
    gradient = graph.reverse()
    assert len(gradient.inputs) == 3
    (found,) = gradient.run([1.0, 2.0, 3.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0])
    np.testing.assert_array_equal(found, [2.0, 4.0, 6.0])


def test_every_adjoint_names_its_forward_node_and_has_its_shape():
    forward = cr.trace(lambda x, w, b: cr.log_softmax(cr.relu(x @ w) + b)[:, 0].mean(), X, W, np.ones(2))
    gradient = forward.reverse()
    own = {node.id: node for node in forward.nodes}
    adjoints = [node for node in gradient.nodes if node.adjoint_of is not None]
    assert {y.adjoint_of.name for y in gradient.outputs} == {"x", "w", "b"}
    for node in adjoints:
        assert node.adjoint_of.id in own
        assert node.shape == node.adjoint_of.shape
    assert {"relu", "matmul", "log_softmax", "add"} <= {node.adjoint_of.op for node in adjoints}
    assert [y.adjoint_of.name for y in gradient.simplify().outputs] == ["x", "w", "b"]


def test_a_gradient_that_is_not_asked_for_is_not_built():
    forward = cr.trace(lambda x, w, b: cr.relu(x @ w + b).sum(), X, W, np.ones(2))
    only_bias = forward.reverse("b")
    # Asked for b alone the reversal multiplies no matrices but the forward one.
    assert sum(node.op == "matmul" for node in only_bias.nodes) == 1
    assert sum(node.op == "matmul" for node in forward.reverse("x").nodes) == 2
    assert sum(node.op == "matmul" for node in forward.reverse().nodes) == 3
    linear = cr.trace(lambda x, w: (x @ w).sum(), X, W).reverse("w")
    assert "w" not in {node.name for node in linear.nodes if node not in set(linear.inputs)}


def test_an_adjoint_shared_by_two_operands_is_named_once_for_each():
    gradient = cr.trace(lambda x, y: ((x + y) * 2.0).sum(), np.ones(2), np.ones(2)).reverse()
    assert [y.adjoint_of.name for y in gradient.outputs] == ["x", "y"]


# ---- the verifier


def hand_made(op, inputs, attrs, shape, dtype=np.float64):
    return Tensor(op, inputs, attrs, shape, np.dtype(dtype))


def test_the_verifier_passes_what_tracing_makes():
    graph = cr.trace(layer, X, W)
    assert graph.verify() is graph
    assert graph.reverse().verify().simplify().verify()


def test_the_verifier_catches_a_wrong_shape_and_a_wrong_dtype():
    x = placeholder((2, 3), np.float64, "x")
    for node in (hand_made("exp", (x,), {}, (3, 2)), hand_made("exp", (x,), {}, (2, 3), np.float32)):
        with pytest.raises(
            GraphError, match=r"exp .*: the shape is not what its operands give: expected float64\[2, 3\]"
        ):
            Graph([x], [node]).verify()


def test_the_verifier_catches_operands_of_unequal_shapes():
    x, y = placeholder((2, 3), np.float64, "x"), placeholder((3,), np.float64, "y")
    with pytest.raises(GraphError, match="unequal shapes"):
        Graph([x, y], [hand_made("add", (x, y), {}, (2, 3))]).verify()


def test_the_verifier_catches_a_placeholder_that_nobody_gives():
    x, y = placeholder((2,), np.float64, "x"), placeholder((2,), np.float64, "y")
    with pytest.raises(GraphError, match=r"y .*: a placeholder that is not an input of this graph"):
        Graph([x], [apply("add", x, y)]).verify()


def test_the_verifier_catches_a_node_before_its_operand():
    x = placeholder((2,), np.float64, "x")
    first, second = apply("exp", x), apply("exp", x)
    first.inputs = (second,)
    with pytest.raises(GraphError, match="comes after it or is missing"):
        Graph([x], [first]).verify()


def test_the_verifier_catches_an_unknown_operation():
    x = placeholder((2,), np.float64, "x")
    with pytest.raises(GraphError, match="unknown operation"):
        Graph([x], [hand_made("frobnicate", (x,), {}, (2,))]).verify()


# ---- long chains


def test_a_chain_of_50_000_operations_traces_reverses_simplifies_and_runs():
    def chain(x):
        for _ in range(25_000):
            x = cr.sin(x)
            x = (x + x) * 0.5
        return x

    graph = cr.trace(chain, 0.5)
    assert len(graph) > 50_000
    gradient = graph.reverse().verify()
    (slope,) = gradient.run(0.5)
    shorter = gradient.simplify()
    assert len(shorter) <= len(gradient)
    assert shorter.run(0.5)[0] == pytest.approx(float(slope), rel=1e-12)
    assert 0.0 < slope < 1.0


def test_the_verifier_refuses_an_elementwise_operation_over_unequal_dtypes():
    x, y = placeholder((2,), "float32", "x"), placeholder((2,), "float64", "y")
    with pytest.raises(GraphError, match="unequal dtypes"):
        Graph([x, y], [apply("multiply", x, y)]).verify()
