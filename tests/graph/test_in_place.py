"""`x += y` and its like: on a leaf as in PyTorch, refused where it would be lost; what a gradient notices of it."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import DerivativeError, ShapeError, TraceError


def test_a_step_by_hand_changes_the_parameters():
    model = nn.Linear(2, 1)
    before = model.state_dict()
    model(np.ones((3, 2), np.float32)).sum().backward()
    with cr.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
    after = model.state_dict()
    np.testing.assert_allclose(after["weight"], before["weight"] - 0.3, rtol=1e-6)
    assert after["weight"].dtype == np.float32
    assert model.weight.requires_grad


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("x += 1", [3.0, 5.0]),
        ("x -= 1", [1.0, 3.0]),
        ("x *= 2", [4.0, 8.0]),
        ("x /= 2", [1.0, 2.0]),
        ("x **= 2", [4, 16]),
    ],
)
def test_every_operator_changes_the_tensor_that_others_hold(change, expected):
    x = cr.tensor([2.0, 4.0])
    held = [x]
    exec(change, {"x": x})
    assert held[0].tolist() == expected


def test_a_leaf_that_records_is_refused():
    x = cr.tensor(1.0, requires_grad=True)
    with pytest.raises(DerivativeError, match=r"in place.*no_grad"):
        x += 1.0
    assert x.item() == 1.0


def test_a_sum_of_losses_is_a_new_tensor():
    total, x = cr.tensor(0.0), cr.tensor(3.0, requires_grad=True)
    for _ in range(2):
        total += x * x
    total.backward()
    assert x.grad.item() == 12.0


def test_a_leaf_changed_while_a_function_is_traced_is_refused():
    count = cr.tensor(0.0)

    def f(x):
        nonlocal count
        count += 1.0
        return x * count

    with pytest.raises(TraceError, match=r"in place.*Buffer"):
        cr.trace(f, 1.0)


def test_a_result_that_does_not_fit_is_refused():
    x = cr.tensor([1, 2])
    with pytest.raises(ShapeError, match="does not fit"):
        x += np.ones((3, 2), int)
    with pytest.raises(ShapeError, match="does not fit"):
        x *= 0.5
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize("compiled", [False, True])
def test_weights_changed_between_forward_and_backward_are_noticed(compiled):
    layer = nn.Linear(1, 1, bias=False)
    f = cr.compile(layer, backend="numpy") if compiled else layer
    y = f(layer(np.ones((1, 1), np.float32))).sum()
    layer.load_state_dict({"weight": np.full((1, 1), 10.0, np.float32)})
    with pytest.raises(DerivativeError, match=r"parameter.*changed after the forward pass.*backward\(\) before"):
        y.backward()


def test_a_batch_buffer_may_be_used_again():
    w, batch = cr.tensor([1.0, 1.0], requires_grad=True), np.empty(2)
    losses = []
    for values in ([1.0, 2.0], [3.0, 4.0]):
        batch[:] = values
        losses.append((w * batch).sum())
    (losses[0] + losses[1]).backward()
    assert w.grad.tolist() == [4.0, 6.0]


@pytest.mark.parametrize("kind", ["array", "view", "read-only view", "list of arrays"])
def test_a_pullback_is_that_of_the_arrays_as_they_were(kind):
    base = np.array([3.0, 4.0])
    given = {
        "array": base,
        "view": base[::-1][::-1],
        "read-only view": np.broadcast_to(base, (2,)),
        "list of arrays": base,
    }
    operand = [given[kind][0:1], given[kind][1:2]] if kind == "list of arrays" else given[kind]
    shape = (2, 1) if kind == "list of arrays" else (2,)
    _, pullback = cr.vjp(lambda w: w * operand, np.ones(shape))
    base[:] = 0.0
    assert pullback(np.ones(shape))[0].numpy().ravel().tolist() == [3.0, 4.0]


def test_an_index_changed_between_forward_and_backward_is_refused():
    x, places = cr.tensor(np.ones(300), requires_grad=True), cr.tensor(np.array([0, 1], np.uint8))
    y = (x[places] * 2.0).sum()
    places += np.uint8(1)
    with pytest.raises(DerivativeError, match="changed after the forward pass"):
        y.backward()


def test_a_tensor_whose_rows_were_read_may_be_changed_before_backward():
    x = cr.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x[1] + x[2]
    with cr.no_grad():
        x += 1.0
    y.backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0]
