"""Gradients independent of the engine: finite differences, and how far apart two arrays are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import chainrule as cr

Array = np.ndarray[Any, Any]


def slope(cost: Callable[..., cr.Tensor], xs: Sequence[Array], direction: Sequence[Array], h: float = 1e-3) -> float:
    """How fast C changes where all xs move in a direction, in float64, without a derivative rule.

    The five-point formula (C(−2h) − 8C(−h) + 8C(h) − C(2h))/12h, with h the length of the way: its error is of order
    h⁴, so that some 11 digits are right where C is smooth within 2h.
    """
    h /= float(np.sqrt(sum(np.sum(np.square(d)) for d in direction)))

    def at(way: float) -> float:
        with cr.no_grad():
            return float(cost(*(cr.tensor(x + way * d) for x, d in zip(xs, direction, strict=True))))

    return (at(-2 * h) - at(2 * h) + 8 * (at(h) - at(-h))) / (12 * h)


def differences(cost: Callable[..., cr.Tensor], *xs: Array) -> list[Array]:
    """∂C/∂x for each x, element by element, by the `slope` along it."""
    xs = tuple(np.asarray(x, dtype=np.float64) for x in xs)
    found = [np.zeros(x.shape) for x in xs]
    for position, x in enumerate(xs):
        for place in np.ndindex(x.shape):
            direction = [np.zeros(other.shape) for other in xs]
            direction[position][place] = 1.0
            found[position][place] = slope(cost, xs, direction, 1e-3 * max(1.0, abs(float(x[place]))))
    return found


def relative_error(found: Any, expected: Any) -> float:
    """The largest distance between two arrays' elements, as a share of the largest expected element.

    Example:
        >>> relative_error([1.0, 2.0], [1.0, 2.5])
        0.2
    """
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    scale = np.abs(expected).max(initial=0.0)
    distance = np.abs(found - expected).max(initial=0.0)
    return float(distance / scale) if scale else float(distance)


def worst(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """The largest of the distances of several arrays from what was expected."""
    return max(relative_error(a, b) for a, b in zip(found, expected, strict=True))
