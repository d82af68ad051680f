"""Architectures that depend on the data: trained define-by-run, and compiled with one program a structure."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


class Choosing(nn.Module):
    """Chooses a layer by the width of the input, then loops as often as it is told."""

    def __init__(self) -> None:
        self.short, self.long = nn.Linear(4, 3), nn.Linear(8, 3)
        self.again, self.out = nn.Linear(3, 3), nn.Linear(3, 1)

    def forward(self, x, times):
        h = self.short(x) if x.shape[-1] <= 4 else self.long(x)
        for _ in range(times):
            h = cr.tanh(self.again(h))
        return self.out(h)


def batches(count):
    rng = np.random.default_rng(0)
    for i in range(count):
        x = rng.normal(size=(5, 4 if i % 2 else 8)).astype("float32")
        yield x, x.sum(1, keepdims=True), 1 + i % 3


def train(compiled, steps=60):
    cr.seed(0)
    model, adam = Choosing(), cr.optim.Adam(0.02)

    def step(model, state, x, y, times):
        loss, gradient = cr.value_and_grad(lambda model: nn.MSELoss()(model(x, times), y))(model)
        return loss, adam.update(gradient, state, dict(model.named_parameters()))

    run = cr.compile(step, backend="numpy") if compiled else step
    state, losses = adam.init(dict(model.named_parameters())), []
    for x, y, times in batches(steps):
        loss, (parameters, state) = run(model, state, x, y, times)
        model.load_state_dict({name: p.numpy() for name, p in parameters.items()})
        losses.append(loss.item())
    return losses, model.state_dict(), run


def test_it_trains_define_by_run_and_compiled_with_one_program_a_structure():
    direct, weights, _ = train(compiled=False)
    compiled, others, run = train(compiled=True)
    assert run.structures == 6  # two widths of the input, three numbers of turns
    np.testing.assert_allclose(compiled, direct, rtol=1e-4)
    for name, w in weights.items():
        np.testing.assert_allclose(others[name], w, rtol=1e-3, atol=1e-5)
    assert np.mean(direct[-12:]) < 0.5 * np.mean(direct[:12])


def test_only_the_modules_that_were_chosen_get_a_gradient():
    model = Choosing()
    model(cr.tensor(np.ones((2, 4))), 2).sum().backward()
    assert model.short.weight.grad is not None
    assert model.again.weight.grad is not None
    assert model.long.weight.grad is None


class Recurrent(nn.Module):
    """Reads a sequence (N, T, 1) step by step and says one number."""

    def __init__(self, width) -> None:
        self.read, self.out = nn.Linear(1, width), nn.Linear(width, 1)
        self.turn = nn.Linear(width, width, bias=False, init="xavier_uniform")

    def forward(self, x):
        start = np.zeros((x.shape[0], self.turn.in_features), x.dtype)

        def step(h, now):
            return cr.tanh(self.read(now) + self.turn(h)), None

        return self.out(cr.scan(step, start, cr.swapaxes(x, 0, 1))[0])


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_recurrent_network_trains_on_long_sequences(backend):
    cr.seed(0)
    X = np.random.default_rng(0).normal(size=(64, 200, 1)).astype("float32")
    trainer = cr.Trainer(Recurrent(8), nn.MSELoss(), cr.optim.Adam(0.02), backend=backend)
    history = trainer.fit(X, X[:, -2:].sum(1), epochs=30, batch_size=32, progress=False)
    assert history.loss[-1] < 0.2 * history.loss[0]
    assert len(trainer.step_graph(X, X[:, 0], 32)) < 250
