"""Robust scaling: what is learnt of numbers, and how it is applied."""

from __future__ import annotations

from typing import Any

import numpy as np

_MOST = 1e9
"""Quotients beyond this are all the same to the smooth clip."""


def quartiles(sample: np.ndarray) -> np.ndarray:
    """The quartiles of each column, (3, columns); NaN counts as missing, and stands where a column has nothing else.

    Example:
        >>> quartiles(np.array([[1.0], [2.0], [np.nan], [4.0]]))[:, 0].tolist()
        [1.5, 2.0, 3.0]
    """
    ordered = np.sort(sample, axis=0)
    last = np.maximum((~np.isnan(sample)).sum(axis=0) - 1, 0)
    places = np.array([[0.25], [0.5], [0.75]]) * last
    below = np.floor(places).astype(int)
    low, high = (np.take_along_axis(ordered, place, axis=0) for place in (below, np.minimum(below + 1, last)))
    share = places - below
    # Halves are added, since the difference of large numbers may leave the range.
    return low * (1 - share) + high * share


def counted_quartiles(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The quartiles of values of which each occurs so many times.

    Example:
        >>> counted_quartiles(np.array([1.0, 4.0, 2.0]), np.array([1, 1, 1])).tolist()
        [1.5, 2.0, 3.0]
    """
    order = np.argsort(values)
    ends = np.cumsum(counts[order]) - 1
    starts = ends - counts[order] + 1
    places = np.array([0.25, 0.5, 0.75]) * ends[-1]
    return np.interp(places, np.column_stack([starts, ends]).ravel(), np.repeat(values[order], 2))


def spread(quarters: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """What a column is divided by: its quartile range; half its full range where that is 0; 1 where that is 0 too."""
    with np.errstate(over="ignore"):
        middle = np.minimum(quarters[2] - quarters[0], np.finfo(float).max)
        full = np.maximum(np.asarray(high) / 2 - np.asarray(low) / 2, 0)
    return np.where(middle > 0, middle, np.where(full > 0, full, 1.0))


def moments(values: np.ndarray, counts: np.ndarray | None = None) -> tuple[float, float]:
    """Mean and standard deviation, also of very large and very small numbers, each of which may occur many times."""
    size = float(np.abs(values).max(initial=0.0))
    # Squares of very large or very small numbers leave the range of float64; a power of two loses no digit.
    unit = 2.0 ** np.clip(np.frexp(size)[1], -1000, 1000) if size > 1e100 or 0 < size < 1e-100 else 1.0
    mean = np.average(values / unit, weights=counts)
    return float(mean) * unit, float(np.sqrt(np.average((values / unit - mean) ** 2, weights=counts))) * unit


def scaled(values: np.ndarray, center: Any, scale: Any) -> np.ndarray:
    """z/√(1 + (z/3)²) with z = (x − center)/scale, float64: close to z near 0, and never beyond ±3.

    Example:
        >>> scaled(np.array([1.0, 2.0, 1e9]), 1.0, 1.0).round(3).tolist()
        [0.0, 0.949, 3.0]
    """
    with np.errstate(over="ignore"):
        z = np.clip((values - center) / scale, -_MOST, _MOST)
    return z / np.sqrt(1 + (z / 3) ** 2)


def is_far(values: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """Which values are farther outside the range from `low` to `high` than it is wide.

    Example:
        >>> is_far(np.array([-0.5, 2.5, 3.5]), 1.0, 2.0).tolist()
        [True, False, True]
    """
    with np.errstate(over="ignore"):
        width = high - low
        return (values > high + width) | (values < low - width)
