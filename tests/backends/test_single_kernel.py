"""Small steps as one kernel: the same numbers as on the other ways, and left alone where they cannot be one."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.backends.flops import fits_single_kernel
from chainrule.backends.xla import single_kernel
from small import QUIET


def task(width, out, rows, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 5)).astype("float32")
    if out == 1:
        return X, X[:, :1] * 2, nn.MSELoss()
    return X, rng.integers(0, out, rows), nn.CrossEntropyLoss()


def trained(width, out, rows, batch, inside, backend, precision="float32"):
    X, y, loss = task(width, out, rows)
    cr.seed(0)
    model = nn.Sequential(nn.Linear(5, width), *inside(), nn.Linear(width, out))
    trainer = cr.Trainer(model, loss, cr.optim.SGD(0.05, momentum=0.9), backend=backend, precision=precision)
    history = trainer.fit(X, y, epochs=3, batch_size=batch, validation=0.2, **QUIET)
    return history, trainer.model.state_dict(), trainer.step_graph(X, y, batch)


CASES = [
    (7, 3, 40, 16, lambda: [nn.ReLU()]),
    (64, 10, 50, 32, lambda: [nn.SiLU(), nn.Dropout(0.2)]),
    (1, 1, 23, 1, lambda: [nn.Tanh()]),
    (17, 1, 30, 30, lambda: [nn.BatchNorm(17), nn.LeakyReLU()]),
    (33, 2, 41, 8, lambda: [nn.LayerNorm(33), nn.ELU()]),
]


@pytest.mark.parametrize(("width", "out", "rows", "batch", "inside"), CASES)
def test_one_kernel_gives_the_numbers_of_the_other_ways(width, out, rows, batch, inside, monkeypatch):
    one, weights, graph = trained(width, out, rows, batch, inside, "xla")
    assert fits_single_kernel(graph)
    plain, others, _ = trained(width, out, rows, batch, inside, "numpy")
    monkeypatch.setattr(single_kernel, "is_supported", lambda: False)
    usual, third, _ = trained(width, out, rows, batch, inside, "xla")
    for history, state in ((plain, others), (usual, third)):
        np.testing.assert_allclose(one.loss, history.loss, rtol=2e-4)
        np.testing.assert_allclose(one.val_loss, history.val_loss, rtol=2e-4)
        for name, weight in state.items():
            np.testing.assert_allclose(weights[name], weight, rtol=2e-3, atol=2e-4)


def test_double_precision_agrees_to_rounding():
    one, weights, _ = trained(9, 3, 40, 16, lambda: [nn.ReLU()], "xla", "float64")
    plain, others, _ = trained(9, 3, 40, 16, lambda: [nn.ReLU()], "numpy", "float64")
    np.testing.assert_allclose(one.loss, plain.loss, rtol=1e-12)
    for name, weight in others.items():
        np.testing.assert_allclose(weights[name], weight, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, i: cr.take(x, i) @ x.T,  # small: a gather of rows can be held
        lambda x, i: x[:, i].sum(),
    ],
)
def test_whether_a_step_is_small_is_told_by_its_graph(f):
    graph = cr.trace(f, np.ones((4, 4), "float32"), np.array([0, 1]))
    assert fits_single_kernel(graph)


@pytest.mark.parametrize(
    "f",
    [
        cr.grad(lambda x: cr.square(x[np.array([0, 1, 1])]).sum()),  # a scatter
        lambda x: cr.matmul(cr.reshape(x, (1, 4, 4)), cr.reshape(x, (1, 4, 4))),  # a batch of products
        lambda x: cr.scan(lambda c, row: (c + row, None), x[0], x)[0],
        lambda x: cr.linear(x, np.ones((1_000_000, 4), "float32")),  # too much work
    ],
)
def test_what_one_kernel_cannot_hold_takes_the_usual_way(f):
    graph = cr.trace(f, np.ones((4, 4), "float32")).simplify()
    assert not fits_single_kernel(graph)
