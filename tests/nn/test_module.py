from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, tree
from chainrule.errors import ArgumentError, ShapeError


class Branches(nn.Module):
    """Parts in a list and a dict, a parameter and a buffer of its own, a layer that stands in two places."""

    def __init__(self) -> None:
        self.scale = nn.Parameter(np.ones(3))
        self.blocks = [nn.Linear(3, 3), (nn.Linear(3, 3, bias=False), nn.Tanh())]
        self.heads = {"a": nn.Linear(3, 2), "b": nn.Linear(3, 1)}
        self.again = self.blocks[0]
        self.mean = nn.Buffer(np.zeros(3))
        self.width = 3

    def forward(self, x: Any) -> Any:
        x = self.blocks[1][1](self.blocks[1][0](self.again(self.blocks[0](x))))
        return self.heads["a"](x * self.scale - self.mean), self.heads["b"](x)


PATHS = [
    "scale", "blocks.0.weight", "blocks.0.bias", "blocks.1.0.weight",
    "heads.a.weight", "heads.a.bias", "heads.b.weight", "heads.b.bias",
]  # fmt: skip


def small() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


# ---- names and parts


def test_parameters_are_named_as_in_pytorch() -> None:
    assert [name for name, _ in small().named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [name for name, _ in nn.Linear(2, 3).named_parameters()] == ["weight", "bias"]
    nested = nn.Sequential(small(), nn.Linear(1, 1, bias=False))
    assert [name for name, _ in nested.named_parameters()] == [*("0." + n for n in small().state_dict()), "1.weight"]


@pytest.mark.torch
def test_names_and_shapes_agree_with_pytorch_live() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).state_dict()
    ours = small().state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: tuple(v.shape) for k, v in theirs.items()}


def test_modules_in_lists_tuples_and_dicts_are_found_and_shared_ones_once() -> None:
    model = Branches()
    assert [name for name, _ in model.named_parameters()] == PATHS
    assert [name for name, _ in model.named_buffers()] == ["mean"]
    assert len(list(model.parameters())) == len(PATHS)
    assert list(model.buffers()) == [model.mean]
    assert [name for name, _ in model.named_modules()] == [
        "", "blocks.0", "blocks.1.0", "blocks.1.1", "heads.a", "heads.b",
    ]  # fmt: skip


def test_a_parameter_shared_between_modules_is_one_and_gets_both_gradients() -> None:
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    second.weight = first.weight
    model, x = nn.Sequential(first, second), np.ones((1, 2))
    assert [name for name, _ in model.named_parameters()] == ["0.weight"]
    cr.check_grad(lambda model: model(x), model)
    cr.sum(model(x)).backward()
    W = first.weight.numpy().astype(np.float64)
    ones = np.ones((2, 1))
    expected = W.T @ ones @ x + ones @ (W @ x.T).T
    assert np.allclose(first.weight.grad.numpy(), expected, rtol=1e-5)


def test_a_chain_of_modules_deeper_than_recursion_would_allow_is_walked() -> None:
    model: nn.Module = nn.ReLU()
    for _ in range(2000):
        model = nn.Sequential(model)
    assert sum(1 for _ in model.named_modules()) == 2001


# ---- standing in


def test_rebuilding_with_other_parameters_leaves_the_original_alone() -> None:
    model, x = Branches(), np.ones((2, 3))
    before = [y.tolist() for y in model(x)]
    twin = model.tree_rebuild({name: cr.tensor(np.zeros(p.shape)) for name, p in model.named_parameters()})
    assert [y.tolist() for y in twin(x)] == [[[0.0, 0.0]] * 2, [[0.0]] * 2]
    assert [y.tolist() for y in model(x)] == before
    assert twin.again is twin.blocks[0]
    assert twin.width == 3


def test_a_module_is_the_dict_of_its_parameters_to_gradients() -> None:
    gradients = cr.grad(lambda model, x: cr.sum(model(x)))(small(), np.ones((5, 2), np.float32))
    assert list(gradients) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert gradients["2.bias"].tolist() == [5.0]
    assert tree.names(small()) == list(gradients)


def test_define_by_run_gradients_arrive_at_the_parameters() -> None:
    model = small()
    cr.sum(model(np.ones((5, 2), np.float32))).backward()
    assert model[2].bias.grad.tolist() == [5.0]
    assert all(p.grad.shape == p.shape for p in model.parameters())


# ---- state


def test_a_state_goes_out_and_in_again() -> None:
    first, second = Branches(), Branches()
    first.mean.value = np.array([1.0, 2.0, 3.0])
    second.load_state_dict(first.state_dict())
    assert second.mean.tolist() == [1.0, 2.0, 3.0]
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert [y.tolist() for y in first(x)] == [y.tolist() for y in second(x)]


def test_a_state_holds_arrays_of_its_own() -> None:
    model = small()
    state = model.state_dict()
    kept = state["0.weight"].copy()
    state["0.weight"][:] = 7
    assert np.array_equal(model[0].weight.numpy(), kept)
    given = {**model.state_dict(), "2.bias": np.array([1.0])}
    model.load_state_dict(given)
    given["2.bias"][:] = 9
    assert model[2].bias.tolist() == [1.0]
    assert model[2].bias.dtype == np.float32


def test_a_state_with_an_unknown_path_is_refused_with_the_nearest_ones() -> None:
    state = small().state_dict()
    with pytest.raises(ArgumentError, match=r"0\.wieght: no such parameter: expected 0\.weight"):
        small().load_state_dict({**state, "0.wieght": 1})


def test_a_state_that_lacks_a_path_is_refused_naming_it() -> None:
    state = small().state_dict()
    del state["2.bias"]
    with pytest.raises(ArgumentError, match=r"missing: expected 2\.bias"):
        small().load_state_dict(state)


def test_a_state_of_another_shape_is_refused_and_nothing_is_changed() -> None:
    model = small()
    before = model.state_dict()
    state = {**{k: v + 1 for k, v in before.items()}, "2.weight": np.zeros((1, 4))}
    with pytest.raises(ShapeError, match=r"2\.weight.*expected \(1, 3\), got \(1, 4\)"):
        model.load_state_dict(state)
    assert all(np.array_equal(value, before[name]) for name, value in model.state_dict().items())


# ---- modes, text


def test_training_and_inference_mode_reach_every_part() -> None:
    model = Branches()
    assert all(module.training for _, module in model.named_modules())
    assert model.eval() is model
    assert not any(module.training for _, module in model.named_modules())
    model.train()
    assert model.heads["b"].training


def test_a_module_prints_its_parts() -> None:
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5))) == (
        "Sequential(\n  (0): Linear(2, 3)\n  (1): Dropout(0.5)\n)"
    )
    assert repr(nn.Linear(2, 3, bias=False)) == "Linear(2, 3, bias=False)"


def test_a_module_without_a_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"Module does not define forward"):
        nn.Module()(1.0)


def test_a_module_where_a_tensor_is_wanted_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"Linear; call it first: module\(x\)"):
        cr.relu(nn.Linear(2, 2))


def test_nodes_know_the_path_of_the_module_that_made_them() -> None:
    graph = cr.trace(nn.Sequential(small(), nn.Tanh()), np.ones((1, 2)))
    assert [node.module for node in graph.nodes if node.op in ("linear", "relu", "tanh")] == ["0.0", "0.1", "0.2", "1"]


def test_a_module_inside_a_traced_function_still_has_its_parameters():
    model = cr.nn.Sequential(cr.nn.Linear(2, 3), cr.nn.Linear(3, 1))
    seen = []

    def f(model, x):
        seen.append([name for name, _ in model.named_parameters()])
        seen.append([name for name, _ in model[1].named_parameters()])
        return model(x).sum()

    cr.trace(f, model, np.ones((4, 2)))
    assert seen == [["0.weight", "0.bias", "1.weight", "1.bias"], ["weight", "bias"]]


def test_gradients_of_a_module_can_be_taken_inside_a_compiled_function():
    model = cr.nn.Linear(2, 1)
    x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")

    def gradient(model):
        return cr.grad(lambda model: cr.nn.MSELoss()(model(x), y))(model)

    compiled, direct = cr.compile(gradient, backend="numpy")(model), gradient(model)
    assert compiled.keys() == direct.keys() == {"weight", "bias"}
    for name, g in direct.items():
        np.testing.assert_allclose(compiled[name].numpy(), g.numpy(), rtol=1e-6)
