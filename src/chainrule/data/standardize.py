"""Standardisation of arrays: zero mean and unit variance per feature, or per channel for images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, check_choice

SMALLEST = 1e-7
"""What σ is held above, so that a constant feature becomes 0 and not infinite."""


@dataclass(frozen=True)
class Standardizer:
    """x ← (x − mean)/max(σ, ε), with mean and σ learnt from the training rows.

    Attributes:
        mean: broadcasts against one row.
        scale: max(σ, ε), of the same shape.

    Example:
        >>> standardizer = Standardizer.fit(np.array([[1.0, 5.0], [3.0, 5.0]]), "feature")
        >>> standardizer(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """

    mean: np.ndarray[Any, Any]
    scale: np.ndarray[Any, Any]

    @classmethod
    def fit(cls, X: np.ndarray[Any, Any], per: str) -> Standardizer:
        """Learn mean and σ per "feature" (every column), or per "channel" (axis 1 of images (N, C, H, W))."""
        moments = Moments(per)
        moments.add(X)
        return cls.of(moments)

    @classmethod
    def of(cls, moments: Moments) -> Standardizer:
        """The standardiser of rows that were met block by block."""
        return cls(moments.mean, np.maximum(moments.sigma, SMALLEST))

    def __call__(self, X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """X standardised, in its own dtype."""
        shape = self.mean.shape
        if X.ndim != len(shape) + 1 or any(n not in (1, m) for n, m in zip(shape, X.shape[1:], strict=True)):
            sizes = ", ".join("…" if n == 1 and len(shape) > 1 else str(n) for n in shape)
            raise ShapeError("not the columns it was fitted on", where="X", expected=f"(rows, {sizes})", got=X.shape)
        centred = X - self.mean.astype(X.dtype)
        # In place: rows may be all that memory holds.
        return np.divide(centred, self.scale.astype(X.dtype), out=centred)


class Moments:
    """Mean and deviation of rows that come block by block, merged as by Chan, Golub and LeVeque (1979).

    Args:
        per: "feature" (every column) or "channel" (axis 1 of images (N, C, H, W)).

    Attributes:
        count: how many rows there were.
        mean, sigma: float64, broadcast against one row.

    Example:
        >>> moments = Moments("feature")
        >>> moments.add(np.array([[1.0], [2.0]]))
        >>> moments.add(np.array([[6.0]]))
        >>> moments.mean.tolist(), round(float(moments.sigma[0]) ** 2, 6)
        ([3.0], 4.666667)
    """

    def __init__(self, per: str) -> None:
        self.per = check_choice("normalize", per, ("feature", "channel"))
        self.count = 0
        self.mean: Any = 0.0
        self.sigma: Any = 0.0

    def add(self, X: np.ndarray[Any, Any]) -> None:
        """Take in a block of rows."""
        if self.per == "channel" and X.ndim < 3:
            raise ShapeError("images are wanted", where='normalize="channel"', expected="(N, channels, …)", got=X.shape)
        axes = (0,) if self.per == "feature" else (0, *range(2, X.ndim))
        mean = X.mean(axis=axes, keepdims=True, dtype=np.float64)[0]
        sigma = X.std(axis=axes, keepdims=True, dtype=np.float64)[0]
        self.merge(len(X), mean, sigma)

    def merge(self, count: int, mean: Any, sigma: Any) -> None:
        """Take in so many rows of this mean and deviation."""
        total = self.count + count
        old, new = self.count / total, count / total
        apart = mean - self.mean
        # hypot, since the square of a large number may be none.
        self.sigma = np.hypot(np.hypot(np.sqrt(old) * self.sigma, np.sqrt(new) * sigma), np.sqrt(old * new) * apart)
        self.mean = self.mean + new * apart
        self.count = total
