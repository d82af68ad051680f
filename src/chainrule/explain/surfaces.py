"""Loss surfaces over two parameters: some well-known ones by name, and any function of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.autodiff.batch import batched
from chainrule.errors import ArgumentError, DerivativeError, ShapeError, TraceError, check_choice
from chainrule.graph import functions as F
from chainrule.graph.mode import no_grad
from chainrule.graph.tensor import Tensor, constant, placeholder

Array = np.ndarray[Any, Any]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Surface:
    """A loss L(w) of two parameters.

    Attributes:
        name: its name.
        formula: its formula, if known.
        height: w, a tensor of two numbers → L.
        region: (lowest x, highest x, lowest y, highest y) of what is worth seeing, if known.
        minima: where it is lowest, if known.
    """

    name: str
    formula: str
    height: Callable[[Tensor], Tensor]
    region: Box | None = None
    minima: tuple[tuple[float, float], ...] = ()

    def heights(self, points: Array) -> Array:
        """L at each of many points (n, 2)."""
        points = np.asarray(points, np.float64)
        try:
            w = placeholder((2,), np.float64, "w")
            with no_grad():
                return batched([F.reshape(self.height(w), ())], [w], [constant(points)])[0].numpy()
        except (TraceError, DerivativeError):
            # It chooses by values, or indexes in a way that cannot be done for all points at once.
            with no_grad():
                return np.array([self.height(constant(point)).item() for point in points])


def _quadratic(x: Any, y: Any) -> Any:
    return 0.5 * x**2 + 10.0 * y**2


def _rosenbrock(x: Any, y: Any) -> Any:
    return (1.0 - x) ** 2 + 100.0 * (y - x**2) ** 2


def _beale(x: Any, y: Any) -> Any:
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _saddle(x: Any, y: Any) -> Any:
    return x**2 - y**2 + y**4 / 4.0


def _of_two(function: Callable[[Any, Any], Any]) -> Callable[[Tensor], Tensor]:
    return lambda w: F.as_tensor(function(w[0], w[1]))


NAMED = {
    surface.name: surface
    for surface in (
        Surface("quadratic", "L = x²/2 + 10·y²", _of_two(_quadratic), (-4.0, 4.0, -2.0, 2.0), ((0.0, 0.0),)),
        Surface(
            "rosenbrock", "L = (1 − x)² + 100·(y − x²)²", _of_two(_rosenbrock), (-2.0, 2.0, -1.0, 3.0), ((1.0, 1.0),)
        ),
        Surface(
            "beale",
            "L = (1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)²",
            _of_two(_beale),
            (-1.0, 4.5, -1.5, 1.5),
            ((3.0, 0.5),),
        ),
        Surface(
            "saddle", "L = x² − y² + y⁴/4", _of_two(_saddle), (-2.0, 2.0, -2.2, 2.2), ((0.0, 2**0.5), (0.0, -(2**0.5)))
        ),
    )
}


def surface_of(surface: str | Callable[..., Any]) -> Surface:
    """The surface of that name, or of a function of (x, y) or of w = [x, y].

    Raises:
        ArgumentError: there is no such name, or it is not a function of two numbers.
        ShapeError: the function does not return one number.
    """
    if isinstance(surface, str):
        return NAMED[check_choice("surface", surface, NAMED)]
    if not callable(surface):
        names = ", ".join(map(repr, NAMED))
        raise ArgumentError(
            "not a surface",
            where="surface",
            expected=f"a function of two numbers, or one of {names}",
            got=repr(surface),
        )
    taken = _arguments(surface)
    if taken not in (1, 2):
        raise ArgumentError(
            "not a function of two numbers", where="surface", expected="f(x, y), or f(w) of w = [x, y]",
            got=f"a function of {taken} arguments",
        )  # fmt: skip
    function = _of_two(surface) if taken == 2 else lambda w: F.as_tensor(surface(w))
    return Surface(getattr(surface, "__name__", type(surface).__name__).replace("<lambda>", "surface"), "", function)


def _arguments(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 2
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def checked_height(surface: Surface, point: Array) -> float:
    """L at a point; raises an error that names the surface if the result is not a number."""
    with no_grad():
        value = surface.height(constant(point))
    if value.size != 1 or value.dtype.kind != "f":
        raise ShapeError("it does not return one real number", where=f"surface {surface.name}", got=value.label())
    return float(value.item())
