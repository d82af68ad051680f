"""tinygrad on its CPU device: the step under `TinyJit`, batches gathered inside it. Needs clang."""

from __future__ import annotations

from importlib.metadata import version
from itertools import pairwise
from typing import Any

import numpy as np
from tinygrad import Context, Tensor, TinyJit, nn

from chainrule.bench.peer import PeerBase
from chainrule.bench.task import LEARNING_RATE, Layers

# Raises where there is no compiler.
Tensor([0.0]).realize()


class Peer(PeerBase):
    """The loop of tinygrad's own MNIST example, its indices drawn outside."""

    def prepare(self) -> None:
        """Linear layers with ReLU between them."""
        x, y = self.task.data
        self.x, self.y = Tensor(x).realize(), Tensor(y.astype(np.int32)).realize()
        self.linears = [nn.Linear(i, o) for i, o in pairwise(self.cell.widths)]
        for layer, (weight, bias) in zip(self.linears, self.task.weights(), strict=True):
            layer.weight.assign(Tensor(weight)).realize()
            layer.bias.assign(Tensor(bias)).realize()
        self.layers = [part for layer in self.linears for part in (layer, Tensor.relu)][:-1]
        self.optimizer = nn.optim.Adam(nn.state.get_parameters(self.linears), lr=LEARNING_RATE)
        self.step = TinyJit(self._step)
        self.whole_step = TinyJit(lambda: self._update(self.x, self.y))

    def _step(self, rows: Any) -> Any:
        return self._update(self.x[rows], self.y[rows])

    def _update(self, x: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = x.sequential(self.layers).sparse_categorical_crossentropy(y)
        loss.backward()
        return loss.realize(*self.optimizer.schedule_step())

    def train(self, epochs: int, shuffled: bool = True) -> None:
        """Dispatched step by step, waited for at the end."""
        with Context(TRAINING=1):
            if self.cell.whole:
                for _ in range(epochs):
                    loss = self.whole_step()
            else:
                for order in self.orders(epochs, shuffled):
                    for rows in order:
                        loss = self.step(Tensor(rows).realize())
        loss.item()

    def weights(self) -> Layers:
        """Copies."""
        return [(layer.weight.numpy(), layer.bias.numpy()) for layer in self.linears]

    @classmethod
    def version(cls) -> str:
        """The version."""
        return f"tinygrad {version('tinygrad')}"
