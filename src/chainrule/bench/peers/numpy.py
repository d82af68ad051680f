"""Plain NumPy: the gradient by hand, Adam in place on one flat buffer."""

from __future__ import annotations

import numpy as np

from chainrule.bench.peer import PeerBase
from chainrule.bench.task import LEARNING_RATE, Array, Layers


class Peer(PeerBase):
    """What a careful programmer would write in forty lines."""

    def prepare(self) -> None:
        """All parameters, gradients and moments are each one buffer; layers are views of it."""
        self.x, self.y = self.task.data
        first = self.task.weights()
        self.flat = np.concatenate([part.ravel() for layer in first for part in layer])
        self.gradient, self.scratch = np.empty_like(self.flat), np.empty_like(self.flat)
        self.m, self.v = np.zeros_like(self.flat), np.zeros_like(self.flat)
        self.layers, self.gradients = self._views(self.flat), self._views(self.gradient)
        self.rows = np.arange(self.cell.batch)
        self.count = 0

    def _views(self, flat: Array) -> Layers:
        views, start = [], 0
        for weight, bias in self.task.weights():
            middle, end = start + weight.size, start + weight.size + bias.size
            views.append((flat[start:middle].reshape(weight.shape), flat[middle:end]))
            start = end
        return views

    def train(self, epochs: int, shuffled: bool = True) -> None:
        """Step by step."""
        if self.cell.whole:
            for _ in range(epochs):
                self._step(self.x, self.y)
        else:
            for order in self.orders(epochs, shuffled):
                for rows in order:
                    self._step(self.x[rows], self.y[rows])

    def _step(self, x: Array, y: Array) -> None:
        self._backpropagate(x, y)
        self._adam()

    def _backpropagate(self, x: Array, y: Array) -> None:
        inputs = [x]
        for weight, bias in self.layers[:-1]:
            h = inputs[-1] @ weight.T
            h += bias
            inputs.append(np.maximum(h, 0, out=h))
        g = inputs[-1] @ self.layers[-1][0].T
        g += self.layers[-1][1]
        g -= g.max(axis=1, keepdims=True)
        np.exp(g, out=g)
        g /= g.sum(axis=1, keepdims=True)
        g[self.rows, y] -= 1
        g /= np.float32(len(y))
        for position in range(len(self.layers) - 1, -1, -1):
            np.matmul(g.T, inputs[position], out=self.gradients[position][0])
            g.sum(axis=0, out=self.gradients[position][1])
            if position:
                g = g @ self.layers[position][0]
                g *= inputs[position] > 0

    def _adam(self, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> None:
        self.count += 1
        g, m, v, scratch = self.gradient, self.m, self.v, self.scratch
        m *= b1
        m += np.multiply(g, 1 - b1, out=scratch)
        v *= b2
        np.multiply(g, g, out=g)
        g *= 1 - b2
        v += g
        np.sqrt(v, out=scratch)
        scratch *= (1 - b2**self.count) ** -0.5
        scratch += eps
        np.divide(m, scratch, out=scratch)
        scratch *= LEARNING_RATE / (1 - b1**self.count)
        self.flat -= scratch

    def weights(self) -> Layers:
        """Views."""
        return self.layers

    @classmethod
    def version(cls) -> str:
        """The version."""
        return f"numpy {np.__version__}"
