"""An operation is added in three places, a layer in two, an optimizer in one: all else finds it by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chainrule as cr
import outside
import recipes
from chainrule import nn, optim
from chainrule.autodiff.rules import RULES, rule
from chainrule.backends import agreement, cost
from chainrule.backends.flops import fits_single_kernel
from chainrule.backends.kernels import COSTS, KERNELS, register_kernel
from chainrule.backends.liveness import live_bytes
from chainrule.graph.ops import OPS, OVER_AXES, Rounding, define
from chainrule.graph.shaping import all_axes
from chainrule.graph.tensor import apply
from chainrule.passes.rowwise import rowwise
from small import QUIET

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)).astype("float32"), RNG.normal(size=40).astype("float32")


# ---- an operation: what it is (graph), its derivative (autodiff), its kernel (backends)


def _shape(x, axes):
    return tuple(n for i, n in enumerate(x.shape) if i not in axes), x.dtype


def logsumexp(x, axis=None):
    """The function of the operation."""
    x = cr.as_tensor(x)
    return apply("logsumexp", x, axes=all_axes(axis, x.ndim))


def _slope(g, y, x):
    kept = [1 if i in y.attrs["axes"] else n for i, n in enumerate(x.shape)]
    return cr.broadcast_to(g.reshape(kept), x.shape) * cr.exp(x - y.reshape(kept))


@pytest.fixture
def operation():
    define("logsumexp", "y = ln Σ e^(x) over axes", _shape, OVER_AXES, Rounding.APPROXIMATE)
    rule("logsumexp", "x̄ = g·e^(x − y)", _slope)
    register_kernel("logsumexp", element=4, workspace=1)(
        lambda xp, a: lambda x: xp.log(xp.sum(xp.exp(x), axis=a["axes"]))
    )
    yield
    for table in (OPS, RULES, KERNELS, COSTS):
        del table["logsumexp"]


# ---- a layer: its class, and its name in nn


class LogSumExp(nn.Module):
    """y = ln Σ e^(γ·x), a number a row."""

    def __init__(self, features):
        self.features = features
        self.weight = nn.Parameter(np.ones(features, "float32"))

    def forward(self, x):
        return logsumexp(x * self.weight, -1)


@pytest.fixture
def layer(monkeypatch):
    monkeypatch.setattr(nn, "LogSumExp", LogSumExp, raising=False)


# ---- an optimizer: its class


class SignSGD(optim.Optimizer):
    """w ← w − η·sign g."""

    elementwise = True

    def init(self, parameters):
        return {}

    def update(self, gradients, state, parameters, lr=None):
        rate = self.lr if lr is None else lr
        return cr.tree.map(lambda w, g: w - cr.as_tensor(rate).astype(g.dtype) * cr.sign(g), parameters, gradients), {}


@pytest.fixture
def optimizer(monkeypatch):
    monkeypatch.setattr(optim, "SignSGD", SignSGD, raising=False)


def trainer(backend="numpy", rate=0.01):
    cr.seed(0)
    model = nn.Sequential(nn.Linear(3, 4), LogSumExp(4))
    return cr.Trainer(model, nn.MSELoss(), SignSGD(rate), backend=backend)


# ---- what finds them


def test_an_operation_is_printed_and_computed_alike_on_both_backends(operation):
    graph = cr.trace(lambda x: logsumexp(x, 1), X)
    assert "y = ln Σ e^(x) over axes" in str(graph)
    expected = np.log(np.exp(X).sum(1))
    np.testing.assert_allclose(graph.run(X), expected, rtol=1e-6)
    np.testing.assert_allclose(graph.run(X, backend="xla"), expected, rtol=1e-6)


def test_an_operation_is_differentiated_to_any_order(operation):
    x = X[0].astype("float64")
    with jax.enable_x64(True):
        expected = jax.hessian(lambda x: jnp.log(jnp.sum(jnp.exp(x))))(x)
    np.testing.assert_allclose(cr.hessian(logsumexp)(x).numpy(), expected, rtol=1e-12)
    cr.check_grad(lambda x: (logsumexp(x, 0) ** 2).sum(), X.astype("float64"))


def test_an_operation_over_axes_is_batched_and_keeps_rows_apart(operation):
    found = cr.per_example_grad(lambda w, x: logsumexp(w * x), 0, batch=(1,))(np.ones(3), X.astype("float64")).numpy()
    expected = [cr.grad(lambda w, x=x: logsumexp(w * x))(np.ones(3)).numpy() for x in X.astype("float64")]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    apart, mixed = (cr.trace(lambda x, axis=axis: logsumexp(x, axis), X) for axis in (1, 0))
    assert rowwise(apart, apart.inputs[:1]) == [True]
    assert rowwise(mixed, mixed.inputs[:1]) is None


def test_an_operation_is_drawn_into_random_graphs(operation, monkeypatch):
    move = recipes.Move(
        recipes._one(settings=recipes._axis), logsumexp, lambda xp, x, axis: xp.log(xp.sum(xp.exp(x), axis))
    )
    monkeypatch.setitem(recipes.MOVES, "logsumexp", move)
    drawn = next(r for r in map(recipes.draw, range(200)) if any(step.move == "logsumexp" for step in r.steps))
    found = cr.grad(drawn.cost, range(len(drawn.inputs)))(*map(cr.tensor, drawn.inputs))
    assert outside.error(found, outside.reference(drawn, 1)[0]) < 1e-9


def test_time_and_memory_of_an_operation_are_estimated_and_one_kernel_holds_it(operation):
    x = np.ones((1000, 500), "float32")
    graph, sums = cr.trace(lambda x: logsumexp(x, 1), x), cr.trace(lambda x: cr.sum(x, 1), x)
    assert cost.counts(graph).element == 4 * cost.counts(sums).element
    assert live_bytes(graph, set()) == live_bytes(sums, set()) + x.nbytes
    assert fits_single_kernel(cr.trace(lambda x: logsumexp(x, 1), X))
    assert agreement.longest(graph) == 500


def test_a_wrong_program_for_an_operation_is_noticed(operation):
    graph = cr.trace(lambda x: logsumexp(x, 1), X)
    right = graph.run(X)
    assert agreement.disagreement(graph, [X], [right]) is None
    assert agreement.disagreement(graph, [X], [right * 1.001]).node.op == "logsumexp"


def test_they_are_trained_with_alike_on_both_backends(operation, layer, optimizer):
    histories = [trainer(backend).fit(X, Y, epochs=5, batch_size=8, **QUIET) for backend in ("numpy", "xla")]
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-5)
    assert histories[0].loss[-1] < histories[0].loss[0]
    assert not [note for history in histories for note in history.notes]


def test_their_training_is_printed_and_estimated(operation, layer, optimizer):
    made = trainer()
    step = str(made.step_graph(X, Y, 8))
    assert "logsumexp" in step
    assert "in 1" in step
    assert "LogSumExp" in made.model.summary((8, 3))
    assert made.estimate(X, Y, batch_size=8).parameters == (3 * 4 + 4 + 4) * 4


def test_they_are_saved_loaded_and_trained_on(operation, layer, optimizer, tmp_path):
    first = trainer(rate=0.02)
    first.fit(X, Y, epochs=2, batch_size=8, **QUIET)
    first.save(tmp_path / "run")
    again = cr.Trainer.load(tmp_path / "run")
    assert isinstance(again.model.layers[1], LogSumExp)
    assert isinstance(again.optimizer, SignSGD)
    assert again.optimizer.lr == 0.02
    for t in (first, again):
        t.fit(X, Y, epochs=1, batch_size=8, **QUIET)
    for name, value in first.model.state_dict().items():
        np.testing.assert_array_equal(again.model.state_dict()[name], value)


def test_they_are_explained(operation, layer, optimizer):
    worked = cr.explain.derive(trainer().model, nn.MSELoss(), X[:2], Y[:2], SignSGD(0.1))
    text = worked.to_markdown()
    for said in ("ŷ = ln Σ e^", "∂C/∂ŷ·e^", "sign ∂L/∂W1"):
        assert said in text
    assert r"\ln" in worked.to_latex()


def kinds_below(base):
    """The classes that are made of one, at whatever depth."""
    return {kind for below in base.__subclasses__() for kind in {below, *kinds_below(below)}}


@pytest.mark.parametrize(("base", "space"), [(nn.Module, nn), (optim.Optimizer, optim)])
def test_every_layer_and_every_optimizer_is_exported(base, space):
    own = {kind for kind in kinds_below(base) if kind.__module__.startswith(f"{space.__name__}.")}
    # What others are made of need not be.
    assert {kind.__name__ for kind in own if not own & kinds_below(kind)} <= set(space.__all__)


def test_nothing_is_left_behind():
    assert "logsumexp" not in OPS
    assert not hasattr(nn, "LogSumExp")
    assert not hasattr(optim, "SignSGD")
