"""Matrices of a step's state held turned round: the same step, with nothing computed twice and little turned in it."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, tree
from chainrule.backends.compile import program
from chainrule.passes.transpose_state import to_transpose, with_transposed

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(40, 20)), RNG.integers(0, 3, 40)


def step(**more):
    cr.seed(0)
    model = nn.Sequential(nn.Linear(20, 24), nn.Tanh(), nn.Linear(24, 17), nn.ReLU(), nn.Linear(17, 3))
    made = {"optimizer": optim.Adam(0.01)} | more
    return cr.Trainer(model, nn.CrossEntropyLoss(), precision="float64", backend="xla", **made).step("xla")


def training(**more):
    made = step(**more)
    state = made.state()
    return made.training(state, [X, Y.astype(np.int32)], 8), tree.flatten(state)[0]


CASES = {
    "adam": {},
    "decayed": {"optimizer": optim.AdamW(0.01), "penalty": optim.L2(0.1)},
    "clipped": {"optimizer": optim.SGD(0.1, momentum=0.9), "clip": optim.ClipNorm(0.01)},
    "sparse": {"optimizer": optim.RMSProp(0.01), "penalty": optim.L1(0.05)},
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_on_turned_matrices_is_the_step_itself(case):
    graph, state = training(**CASES[case])
    states = len(state)
    places = to_transpose(graph, states)
    given = [*state, X, Y.astype(np.int32), np.arange(8, dtype=np.int32)]
    expected = program(graph, "numpy")(given)
    found = program(with_transposed(graph, places, states), "numpy")(
        [x.T if i in places else x for i, x in enumerate(given)]
    )
    for i, (y, z) in enumerate(zip(expected, found, strict=True)):
        np.testing.assert_allclose((z.T if i in places else z), y, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("case", CASES)
def test_no_product_is_computed_twice(case):
    graph, state = training(**CASES[case])
    after = with_transposed(graph, to_transpose(graph, len(state)), len(state))

    def products(graph):
        return sum(node.op in ("linear", "matmul") for node in graph.nodes)

    assert products(after) == products(graph)


def test_what_goes_with_a_weight_in_the_update_is_turned_with_it_and_narrow_layers_are_left():
    graph, state = training()
    names = [graph.inputs[i].name for i in sorted(to_transpose(graph, len(state)))]
    wide = [
        f"{which}.{layer}.weight" for which in ("parameters", "optimizer.mean", "optimizer.square") for layer in (0, 2)
    ]
    assert names == [f"state.{name}" for name in wide]


def test_neither_the_first_weights_nor_any_gradient_of_an_output_is_turned_in_the_step():
    graph, state = training()
    after = with_transposed(graph, to_transpose(graph, len(state)), len(state))
    turns = [node for node in after.nodes if node.op == "transpose"]
    used = {user.inputs[1].id for user in after.nodes if user.op == "matmul"}
    # Those left are first operands of products, read as they lie, and the second weights, for the gradient behind them.
    assert [node.inputs[0].name for node in turns if node.id in used] == ["state.parameters.2.weight"]


def test_an_evaluation_takes_the_same_turned_state():
    made = step()
    state = made.state()
    leaves = tree.flatten(state)[0]
    graph, _ = training()
    places = to_transpose(graph, len(leaves))
    evaluation = made.evaluation(state, [X, Y.astype(np.int32)], 10)
    given = [*leaves, X, Y.astype(np.int32), np.arange(10, dtype=np.int32)]
    expected = program(evaluation, "numpy")(given)
    found = program(with_transposed(evaluation, places, 0), "numpy")(
        [x.T if i in places else x for i, x in enumerate(given)]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)
