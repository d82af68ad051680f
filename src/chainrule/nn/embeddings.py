"""Learnt and fixed encodings of one value as several: of indices, and of numbers by pieces."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import DataError, ShapeError, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.nn import init as initial
from chainrule.nn.module import Buffer, Module, Parameter

Array = np.ndarray[Any, Any]


class Embedding(Module):
    """A learnt vector for each index: y = W[i].

    Args:
        num_embeddings: how many indices there are, from 0.
        embedding_dim: the length of a vector.

    Attributes:
        weight: (num_embeddings, embedding_dim) float32, from N(0, 1).

    Raises:
        OutOfRangeError: when called with an index outside 0…num_embeddings − 1.

    Example:
        >>> import chainrule as cr
        >>> cr.nn.Embedding(10, 3)(np.array([[1, 4], [0, 9]])).shape
        (2, 2, 3)
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        self.num_embeddings = check_number("num_embeddings", num_embeddings, low=1, integer=True)
        self.embedding_dim = check_number("embedding_dim", embedding_dim, low=1, integer=True)
        self.weight = Parameter(initial.normal((num_embeddings, embedding_dim), std=1.0))

    def forward(self, indices: Any) -> Tensor:
        """(…) integers to (…, embedding_dim)."""
        return self.weight[F.as_tensor(indices)]

    def extra(self) -> str:
        """The sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class PiecewiseLinear(Module):
    """Numbers as ramps over bins.

    Of a number x in bins with the edges b₀ < b₁ < … the j-th value is (x − bⱼ₋₁)/(bⱼ − bⱼ₋₁), held within [0, 1]: 1 in
    the bins below it, 0 in those above. A linear layer of them is any function that is linear in each bin.

    Args:
        features: how many numbers there are.
        bins: of each.

    Attributes:
        low: (features, bins) where each bin begins.
        slope: (features, bins) 1/(its width); 0 for a bin that is not used.

    Example:
        >>> encode = PiecewiseLinear(1, 2)
        >>> encode.fit([[0.0], [1.0], [2.0], [4.0], [6.0]])
        >>> encode([[1.0], [4.0]]).tolist()
        [[0.5, 0.0], [1.0, 0.5]]
    """

    def __init__(self, features: int, bins: int) -> None:
        self.features = check_number("features", features, low=1, integer=True)
        self.bins = check_number("bins", bins, low=1, integer=True)
        self.low = Buffer(np.zeros((features, bins), np.float32))
        self.slope = Buffer(np.zeros((features, bins), np.float32))

    def fit(self, X: Any) -> None:
        """Let the edges be the quantiles of the columns of X (n, features); quantiles that are equal make no bin.

        Raises:
            ShapeError: X has another width.
            DataError: X has no row, or a number that is not finite.
        """
        X = np.asarray(X, np.float64)
        if X.ndim != 2 or X.shape[1] != self.features:
            raise ShapeError("not its features", where="X", expected=("rows", self.features), got=X.shape)
        if not len(X) or not np.isfinite(X).all():
            expected, got = "at least one row of finite numbers", f"{len(X)} rows"
            raise DataError("has no quantiles", where="X", expected=expected, got=got, hint="fill in missing values")
        edges = np.quantile(X, np.linspace(0, 1, self.bins + 1), axis=0).T
        edges = edges.astype(self.low.dtype)
        width = np.diff(edges)
        self.low.assign(edges[:, :-1].copy())
        # A bin as narrow as a subnormal number would have an infinite slope.
        used = width >= np.finfo(np.float32).tiny
        self.slope.assign(np.divide(1, width, out=np.zeros_like(width), where=used))

    def forward(self, x: Any) -> Tensor:
        """(…, features) to (…, features · bins)."""
        x = F.as_tensor(x)
        ramps = (F.expand_dims(x, -1) - self.low) * self.slope
        held = F.minimum(F.maximum(ramps, np.float32(0)), np.float32(1))
        return F.reshape(held, (*x.shape[:-1], self.features * self.bins))

    def extra(self) -> str:
        """The sizes."""
        return f"{self.features}, bins={self.bins}"
