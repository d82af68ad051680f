"""Each fused rule against its decomposition and finite differences; the conventions at kinks; the three states."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.autodiff.rules import RULES, Formula, NotImplementedYet
from chainrule.errors import DerivativeError
from chainrule.graph.decompositions import DECOMPOSITIONS
from chainrule.graph.ops import OPS
from chainrule.graph.tensor import apply

RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.normal(size=shape)


def probabilities(*shape):
    return RNG.uniform(0.05, 0.95, shape)


LABELS = np.array([[0, 2, 1], [1, 1, 0]])
CASES = [
    *(pytest.param(name, (normal(3, 4),), {}, id=name) for name in ("sigmoid", "softplus", "relu", "silu")),
    pytest.param("leaky_relu", (normal(3, 4),), {"negative_slope": 0.1}, id="leaky_relu"),
    pytest.param("elu", (normal(3, 4),), {"alpha": 0.7}, id="elu"),
    pytest.param("gelu", (normal(3, 4),), {}, id="gelu"),
    pytest.param("linear", (normal(5, 3), normal(2, 3)), {}, id="linear"),
    pytest.param("linear", (normal(5, 3), normal(2, 3), normal(2)), {}, id="linear-bias"),
    pytest.param("linear", (normal(2, 4, 3), normal(2, 3), normal(2)), {}, id="linear-3d"),
    pytest.param("linear", (normal(3), normal(2, 3), normal(2)), {}, id="linear-vector"),
    *(
        pytest.param(name, (normal(2, 3, 4),), {"axis": axis}, id=f"{name}-{axis}")
        for name in ("softmax", "log_softmax")
        for axis in (0, 1, 2)
    ),
    *(
        pytest.param("cross_entropy", (normal(2, 3, 4), LABELS), {"label_smoothing": s}, id=f"cross_entropy-{s}")
        for s in (0.0, 0.1, 1.0)
    ),
    pytest.param("binary_cross_entropy", (probabilities(3, 4), probabilities(3, 4)), {}, id="binary_cross_entropy"),
    pytest.param("binary_cross_entropy_with_logits", (normal(3, 4), probabilities(3, 4)), {}, id="with_logits"),
    pytest.param("squared_error", (normal(3, 4), normal(3, 4)), {}, id="squared_error"),
    pytest.param("absolute_error", (normal(3, 4), normal(3, 4)), {}, id="absolute_error"),
    pytest.param("huber", (normal(3, 4), normal(3, 4)), {"delta": 0.8}, id="huber"),
    *(
        pytest.param(name, (normal(2, 3, 4),), {"axes": axes, "eps": eps}, id=f"{name}-{axes}-{eps}")
        for name in ("std", "standardize")
        for axes, eps in (((0,), 0.01), ((2,), 1e-5), ((0, 2), 0.0), ((0, 1, 2), 0.3))
    ),
    *(
        pytest.param(
            "batch_norm",
            (normal(5, 2, 3), normal(*kept), normal(*kept)),
            {"axes": axes, "eps": 0.01},
            id=f"batch{axes}",
        )
        for axes, kept in (((0,), (2, 3)), ((0, 2), (2,)), ((0, 1, 2), ()))
    ),
    pytest.param("layer_norm", (normal(2, 3, 4), normal(4), normal(4)), {"eps": 1e-5}, id="layer_norm"),
]


def contracted(f, xs):
    """f as one number of its real operands, with fixed random weights."""
    real = [i for i, x in enumerate(xs) if x.dtype.kind == "f"]
    weights = np.random.default_rng(1).normal(size=f(*map(cr.tensor, xs)).shape)

    def cost(*chosen):
        filled = [cr.tensor(x) for x in xs]
        for i, x in zip(real, chosen, strict=True):
            filled[i] = x
        return (f(*filled) * weights).sum()

    return cost, [xs[i] for i in real]


def slope(cost):
    def function(*xs):
        return sum((g * np.cos(np.arange(g.size)).reshape(g.shape)).sum() for g in cr.grad(cost, range(len(xs)))(*xs))

    return function


@pytest.mark.parametrize(("name", "operands", "attrs"), CASES)
def test_a_fused_rule_is_the_reversal_of_its_decomposition(name, operands, attrs):
    fused, xs = contracted(lambda *ts: apply(name, *ts, **attrs), operands)
    parts, _ = contracted(lambda *ts: DECOMPOSITIONS[name](*ts, **attrs), operands)
    tensors, every = [cr.tensor(x) for x in xs], range(len(xs))
    assert fused(*tensors).item() == pytest.approx(parts(*tensors).item(), rel=1e-12, abs=1e-12)
    for f, g in ((fused, parts), (slope(fused), slope(parts))):
        for ours, theirs in zip(cr.grad(f, every)(*tensors), cr.grad(g, every)(*tensors), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "operands", "attrs"), CASES)
def test_a_fused_rule_agrees_with_finite_differences(name, operands, attrs):
    fused, xs = contracted(lambda *ts: apply(name, *ts, **attrs), operands)
    cr.check_grad(fused, *xs)
    cr.check_grad(slope(fused), *xs, rtol=1e-5, atol=1e-6)


def test_every_fused_operation_is_among_the_cases():
    assert {case.values[0] for case in CASES} == {name for name, op in OPS.items() if op.fused}


def gradient(f, *xs):
    return [g.tolist() for g in cr.grad(lambda *ts: f(*ts).sum(), range(len(xs)))(*map(cr.tensor, xs))]


# ---- conventions


def test_relu_passes_the_gradient_at_exactly_zero():
    assert gradient(cr.relu, [-1.0, -0.0, 0.0, 1.0]) == [[0.0, 1.0, 1.0, 1.0]]


def test_a_tie_of_maximum_goes_to_the_second():
    assert gradient(cr.maximum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]


def test_a_tie_of_minimum_goes_to_the_second():
    assert gradient(cr.minimum, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]) == [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]


def test_equal_largest_elements_share_the_gradient():
    assert gradient(lambda x: cr.max(x, 0), [3.0, 1.0, 3.0]) == [[0.5, 0.0, 0.5]]
    assert gradient(lambda x: cr.min(x, 0), [3.0, 1.0, 1.0]) == [[0.0, 0.5, 0.5]]


def test_the_absolute_value_is_flat_at_zero():
    assert gradient(cr.absolute, [-2.0, 0.0, 2.0]) == [[-1.0, 0.0, 1.0]]


def test_powers_are_finite_where_the_derivative_is():
    assert gradient(lambda x: x**2, [0.0, -3.0]) == [[0.0, -6.0]]
    assert gradient(lambda x: x**1, [0.0, -3.0]) == [[1.0, 1.0]]
    assert gradient(lambda x: x**0, [0.0, 2.0]) == [[0.0, 0.0]]
    assert gradient(lambda x: 0.0**x, [1.0, 2.0]) == [[0.0, 0.0]]
    assert gradient(cr.power, [-2.0], [3.0])[0] == [12.0]
    assert np.isnan(gradient(cr.power, [-2.0], [3.0])[1]).all()


def test_the_gradient_does_not_leak_through_the_branch_not_taken():
    # √ has an infinite slope at 0; the branch is not taken there, and 0·∞ must not become NaN where it can be avoided.
    safe = gradient(lambda x: cr.where(x > 0.0, cr.sqrt(cr.where(x > 0.0, x, 1.0)), 0.0), [0.0, 4.0])
    assert safe == [[0.0, 0.25]]


def test_places_named_twice_get_both_gradients():
    assert gradient(lambda x: x[np.array([0, 0, 2, -1])], [1.0, 2.0, 3.0]) == [[2.0, 0.0, 2.0]]


def test_binary_cross_entropy_is_finite_at_certain_probabilities():
    p, t = [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]
    assert cr.binary_cross_entropy(p, t).tolist() == [0.0, 0.0, 100.0, 100.0]
    found = cr.grad(lambda p: cr.binary_cross_entropy(p, t).sum())(cr.tensor(p)).numpy()
    assert np.isfinite(found).all()
    assert found[:2].tolist() == [0.0, 0.0]


# ---- what has no derivative


def test_conditions_and_steps_pass_nothing_back():
    steps = (
        cr.sign,
        cr.floor,
        cr.stop_gradient,
        lambda x: (x > 0.5).astype(float),
        lambda x: cr.argmax(x).astype(float),
    )
    for f in steps:
        assert cr.grad(lambda x, f=f: (f(x) + 2.0 * x).sum())(cr.tensor([0.3, 1.7])).tolist() == [2.0, 2.0]


def test_a_derivative_that_is_not_implemented_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(RULES, "sin", NotImplementedYet("nobody has written it"))
    with pytest.raises(DerivativeError, match="the derivative of sin is not implemented; nobody has written it"):
        cr.grad(cr.sin)(cr.tensor(1.0))


def test_only_the_adjoints_that_are_needed_are_made(monkeypatch):
    def never(*_):
        raise AssertionError("not asked for")

    times = RULES["multiply"]
    monkeypatch.setitem(RULES, "multiply", Formula(times.text, (times.adjoints[0], never)))
    assert cr.grad(lambda x, y: x * y)(cr.tensor(2.0), cr.tensor(3.0)).item() == 3.0
