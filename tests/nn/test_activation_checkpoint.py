"""A Checkpoint changes what is kept for the gradient, and nothing else."""

import jax
import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.backends.liveness import live_bytes
from chainrule.backends.xla.lower import function
from small import COLUMNS, QUIET, table

BACKENDS = ["numpy", "xla"]
X, Y = table()
WRAPS = {
    "plain": lambda first, second: nn.Sequential(first, second),
    "each": lambda first, second: nn.Sequential(nn.Checkpoint(first), nn.Checkpoint(second)),
    "nested": lambda first, second: nn.Checkpoint(nn.Checkpoint(first), second),
}


def model(wrap, width=8):
    """Two blocks with everything that a region has to get right: weights, random numbers, statistics of the batch."""
    cr.seed(0)
    # Without a bias, whose gradient the statistics make 0 up to rounding, which Adam would blow up.
    first = nn.Sequential(nn.Linear(COLUMNS, width, bias=False), nn.BatchNorm(width), nn.GELU(), nn.Dropout(0.4))
    second = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.LayerNorm(width), nn.SiLU())
    return nn.Sequential(WRAPS[wrap](first, second), nn.Linear(width, 3))


def trained(wrap, backend):
    trainer = cr.Trainer(model(wrap), nn.CrossEntropyLoss(), optim.Adam(0.02), backend=backend)
    history = trainer.fit(X, Y, epochs=3, batch_size=25, **QUIET)
    return history.step_loss, list(trainer.model.state_dict().values())


@pytest.mark.parametrize(("wrap", "backend"), [("each", "numpy"), ("nested", "numpy"), ("nested", "xla")])
def test_a_training_is_the_same_with_it(wrap, backend):
    losses, state = trained("plain", "numpy")
    again, same = trained(wrap, backend)
    assert len(state) == len(same)
    if backend == "numpy":
        assert losses == again
        assert all(np.array_equal(a, b) for a, b in zip(state, same, strict=True))
    np.testing.assert_allclose(again, losses, rtol=1e-4)
    for a, b in zip(state, same, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_random_numbers_are_drawn_again_from_the_same_stream():
    def step(wrap):
        trainer = cr.Trainer(model(wrap), nn.CrossEntropyLoss(), optim.SGD(0.1), backend="numpy")
        return trainer.step_graph(X, Y, 16)

    plain, graph = step("plain"), step("each")
    drawn = [node.attrs["stream"] for node in graph.nodes if node.op == "random_uniform"]
    assert drawn == [1, 1]
    count = lambda g, op: sum(node.op == op for node in g.nodes)  # noqa: E731
    assert count(graph, "linear") == count(plain, "linear") + 2
    assert count(graph, "depends_on") > 0


def gradients(f, x):
    """f, its gradient, the gradient of a contraction of that, and its Jacobian, as one graph."""

    def everything(x):
        first = cr.grad(lambda x: f(x).sum())
        return f(x), first(x), cr.grad(lambda x: (first(x) * cr.sin(x)).sum())(x), cr.jacobian(f)(x)

    return cr.trace(everything, x)


@pytest.mark.parametrize("wrap", ["each", "nested"])
def test_second_derivatives_and_jacobians_go_through_it(wrap):
    x = np.random.default_rng(1).normal(size=(2, 4))
    layers = [nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.GELU()) for _ in range(2)]
    plain, graph = (gradients(WRAPS[w](*layers), x) for w in ("plain", wrap))
    assert any(node.op == "depends_on" for node in graph.nodes)
    for ours, theirs in zip(graph.simplify().run(x), plain.run(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    cr.check_grad(WRAPS[wrap](*layers), x)


def test_a_loop_inside_is_run_again():
    def run(x):
        return cr.scan(lambda c, t: (cr.tanh(c + t), c * t), x[0], x)[1]

    x = np.random.default_rng(1).normal(size=(5, 3))
    gradient = cr.trace(lambda x: cr.sum(nn.Checkpoint(nn.Lambda(run))(x * 2.0)), x).reverse()
    assert sum(node.op == "scan" for node in gradient.nodes) == 2
    expected = cr.grad(lambda x: cr.sum(run(x * 2.0)))(x).numpy()
    np.testing.assert_allclose(gradient.run(x)[0], expected, rtol=1e-12)


DEEP, WIDTH, ROWS = 12, 32, 2048


def deep(every):
    """The gradient graph of a deep network, by its weights."""
    cr.seed(0)
    layers = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU()) for _ in range(DEEP)]
    blocks = [nn.Checkpoint(*layers[i : i + every]) for i in range(0, DEEP, every)] if every else layers
    network = nn.Sequential(*blocks)
    gradient = cr.grad(lambda network, x: cr.sum(network(x)))
    return cr.trace(gradient, network, np.zeros((ROWS, WIDTH), np.float32)).simplify()


def compiled_bytes(graph):
    inputs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (*graph.inputs, *graph.captured)]
    return jax.jit(function(graph)).lower(inputs).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("count", [lambda graph: live_bytes(graph, set()), compiled_bytes], ids=BACKENDS)
def test_what_is_in_between_is_not_kept(count):
    one = ROWS * WIDTH * 4
    assert count(deep(0)) > 2 * DEEP * one
    assert count(deep(4)) < (DEEP / 4 + 2 * 4 + 4) * one


def test_define_by_run_computes_nothing_twice():
    network = nn.Checkpoint(nn.Linear(4, 4), nn.Tanh())
    x = cr.tensor(np.ones((2, 4)), requires_grad=True)
    cr.sum(network(x)).backward()
    expected = cr.grad(lambda x: cr.sum(cr.tanh(network[0](x))))(np.ones((2, 4)))
    np.testing.assert_array_equal(x.grad.numpy(), expected.numpy())


def test_it_is_saved_and_loaded_as_what_it_is(tmp_path):
    trainer = cr.Trainer(model("nested"), nn.CrossEntropyLoss(), optim.SGD(0.1), backend="numpy")
    trainer.save(tmp_path / "run")
    loaded = cr.Trainer.load(tmp_path / "run")
    assert repr(loaded.model) == repr(trainer.model)
    assert next(name for name, _ in loaded.model.named_parameters()) == "0.0.0.0.weight"
    np.testing.assert_array_equal(loaded.predict(X), trainer.predict(X))
