"""A copy is another node, in this process and in another one; what has a history is not copied."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

COPIES = {"deepcopy": copy.deepcopy, "copy": copy.copy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
MODULE_COPIES = {name: COPIES[name] for name in ("deepcopy", "pickle")}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("leaf", [lambda: cr.tensor([1.0], requires_grad=True), lambda: nn.Parameter([1.0])])
def test_the_copy_of_a_leaf_has_a_gradient_of_its_own(copied, leaf):
    x = leaf()
    z = copied(x)
    assert type(z) is type(x)
    (x * 2 + z * 5).sum().backward()
    assert (x.grad.tolist(), z.grad.tolist()) == ([2.0], [5.0])


@pytest.mark.parametrize("copied", MODULE_COPIES.values(), ids=MODULE_COPIES)
@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_model_and_its_frozen_copy_have_their_own_values_in_a_program(copied, backend):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3)).eval()
    other = copied(model)
    other.load_state_dict({name: value + 1.0 for name, value in other.state_dict().items()})
    x = np.ones((2, 2), np.float32)
    expected = (model(x) - other(x)).numpy()
    assert np.abs(expected).min() > 0
    np.testing.assert_allclose(
        cr.compile(lambda x: model(x) - other(x), backend=backend)(x).numpy(), expected, rtol=1e-5
    )
    np.testing.assert_allclose(cr.trace(lambda x: model(x) - other(x), x).run(x, backend=backend), expected, rtol=1e-5)


@pytest.mark.parametrize("copied", MODULE_COPIES.values(), ids=MODULE_COPIES)
def test_a_shared_parameter_is_shared_in_the_copy(copied):
    layer = nn.Linear(2, 2)
    other = copied(nn.Sequential(layer, layer))
    assert other[0].weight is other[1].weight
    assert other[0].weight is not layer.weight


def test_a_copy_keeps_gradient_buffers_and_attributes():
    layer = nn.Linear(1, 1, bias=False)
    layer(np.ones((1, 1), np.float32)).sum().backward()
    other = copy.deepcopy(layer)
    assert other.weight.grad.tolist() == layer.weight.grad.tolist()
    other.weight.grad = None
    assert layer.weight.grad is not None


def test_tensors_from_another_process_are_nodes_of_their_own():
    leaf = "cr.tensor([1.0], requires_grad=True)"
    program = f"import pickle, sys, chainrule as cr; sys.stdout.buffer.write(pickle.dumps({leaf}))"
    sent = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60).stdout
    mine = [cr.tensor([1.0], requires_grad=True) for _ in range(3)]
    theirs = pickle.loads(sent)
    (sum((x * 2 for x in mine), theirs * 7)).sum().backward()
    assert [x.grad.item() for x in (*mine, theirs)] == [2.0, 2.0, 2.0, 7.0]


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_what_has_a_history_is_refused_with_the_way_out(copied):
    y = cr.tensor(1.0, requires_grad=True)
    for _ in range(3000):
        y = y * 1.0
    with pytest.raises(cr.ChainruleError, match=r"only leaves.*detach"):
        copied(y)
    assert copied(y.detach()).item() == 1.0


@pytest.mark.parametrize("copied", MODULE_COPIES.values(), ids=MODULE_COPIES)
def test_a_compiled_function_is_copied_without_its_programs(copied):
    f = cr.compile(cr.tanh, backend="numpy")
    f(np.ones(2))
    other = copied(f)
    assert (f.structures, other.structures) == (1, 0)
    assert other(np.ones(2)).tolist() == f(np.ones(2)).tolist()
