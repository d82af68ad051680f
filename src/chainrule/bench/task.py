"""What every peer is given: a network, its first weights, the data, the order of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Layers = list[tuple[Array, Array]]
"""A pair (weight (out, in), bias (out,)) for each layer."""

LEARNING_RATE = 1e-3

CHECK_STEPS = 50
CHECK_ARITHMETIC = 5e11
"""A check is at most so many steps, and so many multiplications and additions, but at least an epoch."""


@dataclass(frozen=True)
class Cell:
    """A network, and how it is trained: one row of the table.

    Attributes:
        rows: of the data; a multiple of the batch.
        precision: "float32", or what the operands of matrix products are rounded to: "bfloat16", "tf32".
        device: "cpu" or "gpu".
    """

    widths: tuple[int, ...]
    batch: int
    rows: int
    precision: str = "float32"
    device: str = "cpu"

    @classmethod
    def read(cls, given: dict[str, Any]) -> Cell:
        """A cell from JSON."""
        return cls(**{**given, "widths": tuple(given["widths"])})

    @property
    def key(self) -> str:
        """What distinguishes it from other cells."""
        network = f"{'-'.join(map(str, self.widths))}, batch {self.batch}, {self.rows:,} rows, {self.precision}"
        return network if self.device == "cpu" else f"{network}, {self.device}"

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return self.rows // self.batch

    @property
    def whole(self) -> bool:
        """Whether a step takes all rows, so that there is no order to draw."""
        return self.batch == self.rows

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(o * i + o for i, o in pairwise(self.widths))

    @property
    def arithmetic(self) -> float:
        """Multiplications and additions in a step's matrix products: forward, the weights' gradients, and the inputs'
        gradients except the first layer's.
        """
        pairs = [i * o for i, o in pairwise(self.widths)]
        return 2.0 * self.batch * (3 * sum(pairs) - pairs[0])

    @property
    def check_epochs(self) -> int:
        """The number of epochs after which the losses are compared."""
        most = min(CHECK_STEPS, CHECK_ARITHMETIC / self.arithmetic)
        return max(1, int(most / self.steps))


class BenchTask:
    """Synthetic data and first weights from a fixed seed, the same bits for every peer."""

    def __init__(self, cell: Cell, seed: int = 0) -> None:
        self.cell, self.seed = cell, seed

    @cached_property
    def data(self) -> tuple[Array, Array]:
        """Inputs (rows, width) float32, and labels that a random linear map of them decides, so that there is
        something to learn. The first rows are given one label each instead, so that every class occurs.
        """
        random = np.random.default_rng(self.seed)
        x = random.standard_normal((self.cell.rows, self.cell.widths[0]), dtype=np.float32)
        teacher = random.standard_normal((self.cell.widths[0], self.cell.widths[-1]), dtype=np.float32)
        y = (x @ teacher).argmax(axis=1)
        y[: self.cell.widths[-1]] = np.arange(len(y[: self.cell.widths[-1]]))
        return x, y

    def weights(self) -> Layers:
        """The first weights, uniform within ±√(6 / inputs), and biases of zero; a fresh copy."""
        random = np.random.default_rng(self.seed + 1)
        return [
            ((2 * random.random((o, i), dtype=np.float32) - 1) * np.float32(np.sqrt(6 / i)), np.zeros(o, np.float32))
            for i, o in pairwise(self.cell.widths)
        ]

    def order(self, epoch: int, shuffled: bool) -> Array:
        """The rows of an epoch, (steps, batch)."""
        rows = np.arange(self.cell.rows, dtype=np.int32)
        if shuffled:
            np.random.default_rng((self.seed, epoch)).shuffle(rows)
        return rows.reshape(self.cell.steps, self.cell.batch)

    def loss(self, weights: Layers) -> float:
        """Mean cross-entropy over all rows, in float64 and outside every peer."""
        x, y = self.data
        h = x.astype(np.float64)
        for position, (weight, bias) in enumerate(weights):
            h = h @ weight.T.astype(np.float64) + bias
            if position < len(weights) - 1:
                h = np.maximum(h, 0)
        h -= h.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(h).sum(axis=1)) - h[np.arange(len(y)), y]))
