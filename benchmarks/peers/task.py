"""What every peer is given: a network, its first weights, the data, the order of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray[Any, Any]

LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Size:
    """A network and the data it is trained on.

    Attributes:
        check_epochs: after how many the losses are compared; also the fewest that a turn has.
    """

    widths: tuple[int, ...]
    batch: int
    rows: int
    check_epochs: int

    @property
    def steps(self) -> int:
        """Steps an epoch; the rows are a multiple of the batch."""
        return self.rows // self.batch

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """The matrix products of one training step, each (m, k, n); the inputs' own gradient is not needed."""
        pairs = list(zip(self.widths, self.widths[1:], strict=False))
        forward = [(self.batch, i, o) for i, o in pairs]
        weights = [(o, self.batch, i) for i, o in pairs]
        inputs = [(self.batch, o, i) for i, o in pairs[1:]]
        return forward + weights + inputs


SIZES = {
    "S": Size((64, 64, 10), 32, 1440, 20),
    "M": Size((784, 512, 256, 10), 128, 12800, 5),
    "L": Size((2048, 2048, 2048, 1000), 512, 4096, 3),
}


class Task:
    """Synthetic data and first weights from a fixed seed, the same bits for every peer."""

    def __init__(self, size: Size, seed: int = 0) -> None:
        self.size, self.seed = size, seed

    @cached_property
    def data(self) -> tuple[Array, Array]:
        """Inputs (rows, width) float32, and labels that a random linear map of them decides, so that there is
        something to learn.
        """
        random = np.random.default_rng(self.seed)
        x = random.standard_normal((self.size.rows, self.size.widths[0]), dtype=np.float32)
        teacher = random.standard_normal((self.size.widths[0], self.size.widths[-1]), dtype=np.float32)
        return x, (x @ teacher).argmax(axis=1)

    def weights(self) -> list[tuple[Array, Array]]:
        """A pair (weight (out, in), bias (out,)) for each layer; a fresh copy."""
        random = np.random.default_rng(self.seed + 1)
        pairs = zip(self.size.widths, self.size.widths[1:], strict=False)
        return [
            ((2 * random.random((o, i), dtype=np.float32) - 1) * np.float32(np.sqrt(6 / i)), np.zeros(o, np.float32))
            for i, o in pairs
        ]

    def order(self, epoch: int) -> Array:
        """The rows of an epoch, shuffled, one row of the result for each batch."""
        rows = np.random.default_rng((self.seed, epoch)).permutation(self.size.rows)
        return rows.astype(np.int32).reshape(self.size.steps, self.size.batch)

    def loss(self, weights: list[tuple[Array, Array]]) -> float:
        """Mean cross-entropy over all rows, in float64 and outside every peer."""
        x, y = self.data
        h = x.astype(np.float64)
        for position, (weight, bias) in enumerate(weights):
            h = h @ weight.T.astype(np.float64) + bias
            if position < len(weights) - 1:
                h = np.maximum(h, 0)
        h -= h.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(h).sum(axis=1)) - h[np.arange(len(y)), y]))


class PeerBase:
    """One way to train the network of a task.

    Attributes:
        sizes: the networks that it is run on.
        shuffles: who shuffles: "task" takes `Task.order`, "own" has its own generator.
        epoch: how many epochs it has trained.
    """

    sizes: ClassVar[tuple[str, ...]] = ("S", "M", "L")
    shuffles: ClassVar[str] = "task"

    def __init__(self, task: Task) -> None:
        self.task, self.epoch = task, 0
        self.prepare()

    def prepare(self) -> None:
        """Build the model with the task's first weights, and put the data where it is trained from."""
        raise NotImplementedError

    def train(self, epochs: int) -> None:
        """Train on, and return when the last step is done."""
        raise NotImplementedError

    def weights(self) -> list[tuple[Array, Array]]:
        """The weights as they are now, laid out as `Task.weights`."""
        raise NotImplementedError

    @classmethod
    def version(cls) -> str:
        """What was measured."""
        return ""

    def orders(self, epochs: int) -> list[Array]:
        """The next epochs' orders."""
        first, self.epoch = self.epoch, self.epoch + epochs
        return [self.task.order(epoch) for epoch in range(first, self.epoch)]
