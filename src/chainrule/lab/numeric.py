"""Gradients from outside the engine: finite differences, and how far two arrays are apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import chainrule as cr

Array = np.ndarray[Any, Any]


def differences(cost: Callable[..., cr.Tensor], *xs: Array) -> list[Array]:
    """∂C/∂x for each x, element by element, in float64, without any derivative rule.

    The five-point formula (C(x−2h) − 8C(x−h) + 8C(x+h) − C(x+2h))/12h with h = 10⁻³·max(1, |x|): its error is of
    order h⁴, so that some 11 digits are right where C is smooth within 2h.
    """

    def at(position: int, place: tuple[int, ...], shift: float) -> float:
        moved = [np.array(x, dtype=np.float64) for x in xs]
        moved[position][place] += shift
        with cr.no_grad():
            return float(cost(*(cr.tensor(x) for x in moved)))

    found = [np.zeros(np.shape(x)) for x in xs]
    for position, x in enumerate(xs):
        for place in np.ndindex(np.shape(x)):
            h = 1e-3 * max(1.0, abs(float(np.asarray(x)[place])))
            far = at(position, place, -2 * h) - at(position, place, 2 * h)
            near = at(position, place, h) - at(position, place, -h)
            found[position][place] = (far + 8 * near) / (12 * h)
    return found


def apart(found: Any, expected: Any) -> float:
    """The largest distance between two arrays' elements, as a share of the largest expected element.

    Example:
        >>> apart([1.0, 2.0], [1.0, 2.5])
        0.2
    """
    found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    scale = np.abs(expected).max(initial=0.0)
    distance = np.abs(found - expected).max(initial=0.0)
    return float(distance / scale) if scale else float(distance)


def worst(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """The largest of the distances of several arrays from what was expected."""
    return max(apart(a, b) for a, b in zip(found, expected, strict=True))
