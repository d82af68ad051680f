"""What a tensor does beyond being an array: recording, gradients, and what it refuses."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DerivativeError, ShapeError, TraceError


def test_writing_in_place_is_refused_with_the_way_to_say_it():
    x = cr.tensor([1.0, 2.0, 3.0])
    with pytest.raises(TraceError, match=r"cr\.put\(x, index, value\)"):
        x[0] = 5.0
    assert cr.put(x, 0, 5.0).tolist() == [5.0, 2.0, 3.0]
    assert x.tolist() == [1.0, 2.0, 3.0]


def test_a_condition_on_a_placeholder_is_refused_with_the_way_to_say_it():
    with pytest.raises(TraceError, match=r"cr\.where"):
        cr.trace(lambda x: x if x.sum() > 0 else -x, np.ones(3))


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.numpy(),
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        np.asarray,
        lambda x: float(x.sum()),
        lambda x: int(x.sum()),
        lambda x: range(3)[x.argmax()],
        lambda x: x[x > 0],
        lambda x: max(x),
    ],
)
def test_the_value_of_a_placeholder_cannot_be_had(ask):
    with pytest.raises(TraceError, match=r"trace|values"):
        cr.trace(lambda x: (ask(x), x)[1], np.ones(3))


def test_backward_adds_to_the_gradient_of_every_leaf_that_asked():
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    w = cr.tensor([3.0, 4.0], requires_grad=True)
    still = cr.tensor([5.0, 6.0])
    (x * w * still).sum().backward()
    assert x.grad.tolist() == [15.0, 24.0]
    assert w.grad.tolist() == [5.0, 12.0]
    assert still.grad is None
    (x * x).sum().backward()
    assert x.grad.tolist() == [17.0, 28.0]
    assert not x.grad.requires_grad


def test_fan_out_adds_the_gradients_of_the_branches():
    x = cr.tensor(3.0, requires_grad=True)
    (x * x + x + cr.exp(x - x)).backward()
    assert x.grad.item() == 7.0


def test_backward_takes_the_incoming_gradient_of_a_tensor_with_many_elements():
    x = cr.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(ShapeError, match="incoming gradient"):
        (x * x).backward()
    with pytest.raises(ShapeError, match="does not fit"):
        (x * x).backward([1.0, 2.0, 3.0])
    (x * x).backward([1.0, 10.0])
    assert x.grad.tolist() == [2.0, 40.0]


def test_backward_of_what_depends_on_nothing_is_refused():
    with pytest.raises(DerivativeError, match="requires_grad=True"):
        cr.tensor([1.0]).sum().backward()


def test_whole_numbers_have_no_gradient():
    with pytest.raises(ShapeError, match="float"):
        cr.tensor([1, 2], requires_grad=True)
    with pytest.raises(DerivativeError, match="real numbers"):
        cr.grad(lambda x: x.sum())(cr.tensor([1, 2]))


def test_nothing_is_recorded_within_no_grad():
    x = cr.tensor(2.0, requires_grad=True)
    with cr.no_grad():
        y = x * x
    assert not y.requires_grad
    assert not y.inputs
    (x * y).backward()
    assert x.grad.item() == 4.0


def test_recording_returns_after_an_error_within_no_grad():
    x = cr.tensor(2.0, requires_grad=True)
    with pytest.raises(ZeroDivisionError), cr.no_grad():
        raise ZeroDivisionError
    assert (x * x).requires_grad


def test_what_is_made_within_no_grad_is_constant_also_while_traced():
    def f(x):
        with cr.no_grad():
            y = x * x
        return x * y

    assert cr.grad(f)(cr.tensor(3.0)).item() == 9.0
    assert cr.trace(f, 3.0).reverse().run(3.0)[0] == 9.0


def test_detach_keeps_the_value_and_cuts_the_gradient():
    x = cr.tensor(3.0, requires_grad=True)
    y = x * x.detach()
    y.backward()
    assert (y.item(), x.grad.item()) == (9.0, 3.0)
    assert not x.detach().requires_grad
    assert cr.grad(lambda x: x * cr.stop_gradient(x))(cr.tensor(3.0)).item() == 3.0


def test_a_value_without_history_keeps_none():
    x = cr.tensor([1.0])
    y = x
    for _ in range(10):
        y = y + 1.0
    assert y.op == "constant"
    assert not y.inputs


def test_a_cast_hands_the_gradient_back_in_the_operands_dtype():
    x = cr.tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    y = x.astype("float64") * np.array([1.5, 2.5])
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [1.5, 2.5]


def test_python_numbers_do_not_widen_a_float32_gradient():
    x = cr.tensor(np.array([1.0, 2.0], np.float32))
    for f in (
        lambda x: (2.0 * x / 3.0 + 1).sum(),
        lambda x: cr.silu(x).mean(),
        lambda x: (x**3).var(),
        lambda x: cr.relu(x).max(),
    ):
        assert f(x).dtype == np.float32
        assert cr.grad(f)(x).dtype == np.float32


def test_the_text_of_a_tensor_says_its_values_or_its_shape():
    assert repr(cr.tensor([1.0, 2.0])) == "tensor([1., 2.], dtype=float64)"
    assert repr(cr.tensor([1.0], requires_grad=True)) == "tensor([1.], dtype=float64, requires_grad=True)"
    seen = []
    cr.trace(lambda x: (seen.append(repr(x)), x)[1], np.ones((2, 3)))
    assert seen == ["Tensor(x, shape=(2, 3), dtype=float64)"]


def test_tensors_can_be_kept_in_sets_and_dicts():
    x, y = cr.tensor(1.0), cr.tensor(1.0)
    assert len({x, y, x}) == 2


def test_define_by_run_follows_the_data():
    def steps(x):
        count = 0
        while x < 100.0:
            x = x * x if x > 3.0 else x + 1.5
            count += 1
        return x, count

    x = cr.tensor(2.0, requires_grad=True)
    y, count = steps(x)
    y.backward()
    # 2 → 3.5 → 12.25 → 150.0625: the derivative is that of (x + 1.5)⁴.
    assert (y.item(), count) == (150.0625, 3)
    assert x.grad.item() == pytest.approx(4 * 3.5**3)


def test_a_chain_of_50_000_operations_goes_backward_define_by_run():
    x = cr.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(25_000):
        y = -y
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0
