"""Networks that are no stacks: skip connections, several inputs, branches chosen by Max; they have right gradients and
train."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn


class Residual(nn.Module):
    def __init__(self) -> None:
        self.into, self.inner, self.out = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        x = self.into(x)
        return self.out(x + cr.tanh(self.inner(x)))


class Maxout(nn.Module):
    def __init__(self) -> None:
        self.split, self.larger, self.sum = nn.Duplicate(3), nn.Max(), nn.Add()
        self.pieces = [nn.Linear(3, 4) for _ in range(3)]
        self.out = nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        a, b, c = (piece(branch) for piece, branch in zip(self.pieces, self.split(x), strict=True))
        return self.out(self.sum(self.larger(a, b), nn.Tanh()(c)))


class TwoInputs(nn.Module):
    """Columns 0 and 1 go one way, column 2 another."""

    def __init__(self) -> None:
        self.left, self.right, self.out = nn.Linear(2, 4), nn.Linear(1, 4), nn.Linear(8, 1)

    def forward(self, x: Any) -> Any:
        return self.out(cr.concatenate([cr.tanh(self.left(x[:, :2])), cr.sigmoid(self.right(x[:, 2:]))], axis=1))


class Recurrent(nn.Module):
    """One layer used as often as the input is long."""

    def __init__(self) -> None:
        self.cell, self.out = nn.Linear(5, 4), nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        state = cr.as_tensor(np.zeros((x.shape[0], 4), np.float32))
        for position in range(x.shape[1]):
            state = cr.tanh(self.cell(cr.concatenate([state, x[:, position : position + 1]], axis=1)))
        return self.out(state)


SHAPES = [Residual, Maxout, TwoInputs, Recurrent]


@pytest.fixture(autouse=True)
def seeded() -> None:
    cr.seed(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_its_gradients_agree_with_finite_differences(shape: type[nn.Module]) -> None:
    x = np.random.default_rng(0).normal(size=(3, 3))
    cr.check_grad(lambda model, x: model(x), shape(), x, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_trains(shape: type[nn.Module]) -> None:
    X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    y = np.sin(X[:, :1]) + X[:, 1:2] * 0.5
    trainer = cr.Trainer(shape(), nn.MSELoss(), cr.optim.Adam(0.02), backend="numpy")
    history = trainer.fit(X, y, epochs=40, batch_size=16, progress=False)
    assert history.loss[-1] < 0.2 * history.loss[0]


def test_a_model_of_two_arguments_has_the_gradients_of_both() -> None:
    class Bilinear(nn.Module):
        def __init__(self) -> None:
            self.left, self.right = nn.Linear(2, 3), nn.Linear(4, 3)

        def forward(self, x: Any, y: Any) -> Any:
            return self.left(x) * self.right(y)

    rng = np.random.default_rng(0)
    cr.check_grad(lambda model, x, y: model(x, y), Bilinear(), rng.normal(size=(5, 2)), rng.normal(size=(5, 4)))


def test_the_length_of_the_input_may_choose_the_network() -> None:
    model = Recurrent()
    compiled = cr.compile(lambda x: model(x), backend="numpy")
    for length in (1, 4, 4):
        x = np.ones((2, length), np.float32)
        assert np.allclose(compiled(x).numpy(), model(x).numpy())
    assert compiled.structures == 2
