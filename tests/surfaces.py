"""The functions that optimizers are tried on: value, start, minimum."""

from collections.abc import Callable
from typing import Any

Function = Callable[[Any], Any]


def quadratic(w: Any) -> Any:
    """Curvatures 1 and 8; the minimum is 0 at (0, 0)."""
    return 0.5 * (w[0] * w[0] + 8.0 * w[1] * w[1])


def rosenbrock(w: Any) -> Any:
    """A bent valley, steep across and flat along; the minimum is 0 at (1, 1)."""
    return (1.0 - w[0]) ** 2 + 100.0 * (w[1] - w[0] ** 2) ** 2


def beale(w: Any) -> Any:
    """Flat far out, steep at the corners; the minimum is 0 at (3, ½)."""
    return sum((c - w[0] + w[0] * w[1] ** (i + 1)) ** 2 for i, c in enumerate((1.5, 2.25, 2.625)))


FUNCTIONS: dict[str, tuple[Function, list[float], list[float]]] = {
    "quadratic": (quadratic, [3.0, -4.0], [0.0, 0.0]),
    "Rosenbrock": (rosenbrock, [-1.2, 1.0], [1.0, 1.0]),
    "Beale": (beale, [1.0, 1.0], [3.0, 0.5]),
}
