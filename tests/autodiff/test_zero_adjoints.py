"""A zero adjoint stays zero: a branch that is not chosen contributes nothing, whatever its slope is."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.autodiff.rules import RULES, SINGULAR, Formula
from chainrule.graph.graph import Graph
from chainrule.graph.ops import OPS
from chainrule.graph.tensor import apply, placeholder
from operations import X, single_nodes

EDGES = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 1e-300, 1e300, -1e300, 800.0, -800.0, np.inf, -np.inf, np.nan]
ONE = [
    "exp", "expm1", "log", "log1p", "sqrt", "square", "sin", "cos", "erf", "tanh", "absolute", "sigmoid", "softplus",
    "logsigmoid", "silu", "relu", "leaky_relu", "elu", "gelu", "selu", "negative", "sign", "floor",
]  # fmt: skip
TWO = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"]
LOSSES = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "squared_error", "absolute_error", "huber"]
FINITE = [x for x in EDGES if np.isfinite(x)]


def slopes(f, *xs):
    """The gradients of where(False, f, 0) and, to second order, of the sum of those."""
    every = tuple(range(len(xs)))

    def hidden(*xs):
        return cr.where(np.zeros(xs[0].shape, bool), f(*xs), 0.0).sum()

    def second(*xs):
        return sum(g.sum() for g in cr.grad(hidden, every)(*xs))

    graph = cr.trace(lambda *xs: (cr.grad(hidden, every)(*xs), cr.grad(second, every)(*xs)), *xs)
    ways = [graph.run(*xs), graph.run(*xs, backend="xla")]
    at_once = [cr.grad(h, every)(*map(cr.tensor, xs)) for h in (hidden, second)]
    return [np.asarray(g) for way in [at_once, *ways] for order in way for g in order]


@pytest.mark.parametrize("name", ONE)
def test_the_branch_not_chosen_contributes_zero(name):
    # What is finite at the point is all that is asked: a NaN or an infinity of the user's own may go on.
    for g in slopes(getattr(cr, name), np.array(FINITE)):
        np.testing.assert_array_equal(g, np.zeros(len(FINITE)))


@pytest.mark.parametrize("name", TWO + LOSSES)
def test_the_branch_of_two_operands_not_chosen_contributes_zero(name):
    x, y = (np.ravel(v) for v in np.meshgrid(FINITE, FINITE))
    for g in slopes(getattr(cr, name), x, y):
        np.testing.assert_array_equal(g, np.zeros(x.size))


CHAINS = {
    "x ln x": lambda x: x * cr.log(x),
    "x ln x, written otherwise": lambda x: -(x * -cr.log(x)),
    "√x·(1 + √x)": lambda x: cr.sqrt(x) * (1.0 + cr.sqrt(x)),
    "1/√x": lambda x: 1.0 / cr.sqrt(x),
    "eˣ − 1 beside x": lambda x: cr.exp(x) - 1.0,
    "x^(1/3)": lambda x: x ** (1.0 / 3.0),
    "ln of a quotient": lambda x: cr.log(x / (1.0 - x)),
    "the norm": lambda x: cr.linalg.norm(x, keepdims=True) + 0.0 * x,
}


@pytest.mark.parametrize("f", CHAINS.values(), ids=CHAINS)
def test_chains_of_operations_at_their_edges_contribute_zero(f):
    for g in slopes(f, np.array([0.0, 1.0, -1.0, 900.0, 1e-200])):
        np.testing.assert_array_equal(g, np.zeros(5))


def test_a_chosen_branch_keeps_its_infinite_slope():
    assert cr.grad(cr.sqrt)(cr.tensor(0.0)).item() == np.inf
    assert cr.grad(cr.log)(cr.tensor(0.0)).item() == np.inf
    assert cr.grad(lambda x: 1.0 / x)(cr.tensor(0.0)).item() == -np.inf
    assert cr.grad(lambda x: x**0.5)(cr.tensor(0.0)).item() == np.inf


def test_where_the_adjoint_is_zero_only_by_chance_the_second_order_is_kept():
    # g = 0 at x = 0, but its own slope is not: d/dx of (x²)·(1/y) by y, and by x again.
    second = cr.jacobian(lambda x: cr.grad(lambda y: cr.log(y) * (x * x))(cr.tensor(2.0)))(cr.tensor(0.0))
    assert second.item() == 0.0
    mixed = cr.jacobian(lambda x: cr.grad(lambda y: cr.log(y) * x)(cr.tensor(2.0)))(cr.tensor(0.0))
    assert mixed.item() == 0.5
    _, pushed = cr.jvp(lambda x: cr.log(x) / x, [cr.tensor(2.0)], [cr.tensor(1.0)])
    assert pushed.item() == pytest.approx((1 - np.log(2.0)) / 4)


def test_a_power_of_zero():
    for y, value, slope in ((-1.0, np.inf, -np.inf), (0.0, 1.0, 0.0), (2.0, 0.0, 0.0)):
        assert cr.power(0.0, y).item() == value
        assert cr.grad(lambda y: cr.power(0.0, y))(cr.tensor(y)).item() == slope


def test_every_operation_that_makes_infinities_of_finite_numbers_is_known_to():
    # The rule of a product asks so: another operation that is not listed would make NaN of a zero adjoint.
    edges = np.array([-1000.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 1000.0])
    made = set()
    for name, (node, values) in single_nodes(X).items():
        if OPS[name].elementwise and isinstance(RULES[name], Formula):
            grid = np.meshgrid(*[edges if v.dtype.kind == "f" else np.array([False, True]) for v in values])
            given = [placeholder(g.shape, v.dtype) for g, v in zip(grid, values, strict=True)]
            [y] = Graph(given, [apply(name, *given, **node.attrs)]).run(*grid)
            if y.dtype.kind == "f" and not np.isfinite(y).all():
                made.add(name)
    # The quotient of an adjoint is asked about apart, and a probability lies in [0, 1].
    assert made - {"adjoint_quotient", "binary_cross_entropy"} == SINGULAR


# ---- the norm


@pytest.mark.parametrize("order", [1, 2, np.inf])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_the_norm_is_numpys(order, axis, keepdims):
    x = np.random.default_rng(0).normal(size=(3, 4))
    x = x if axis is not None else x.ravel()
    expected = np.linalg.norm(x, order, axis, keepdims)
    ours = cr.linalg.norm(x, order, axis, keepdims).numpy()
    assert ours.shape == np.shape(expected)
    np.testing.assert_allclose(ours, expected, rtol=1e-14)


def test_the_norm_is_flat_at_zero_and_does_not_overflow():
    for f in (cr.linalg.norm, lambda x: cr.linalg.norm(x) ** 2):
        assert cr.grad(f)(cr.tensor([0.0, 0.0])).tolist() == [0.0, 0.0]
    assert cr.linalg.norm(np.array([3e200, 4e200])).item() == pytest.approx(5e200)
    assert cr.linalg.norm(np.array([3e-200, 4e-200])).item() == pytest.approx(5e-200)
    assert cr.grad(cr.linalg.norm)(cr.tensor([3e200, 4e200])).tolist() == pytest.approx([0.6, 0.8])
    cr.check_grad(cr.linalg.norm, np.array([[1.0, -2.0], [0.5, 3.0]]))
    cr.check_grad(lambda x: cr.grad(cr.linalg.norm)(x)[0], np.array([1.0, -2.0, 0.5]), rtol=1e-5, atol=1e-6)


def test_an_order_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(cr.ChainruleError, match="1, 2 or inf"):
        cr.linalg.norm([1.0], 3)
