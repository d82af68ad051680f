"""The paths that optimizers take over a loss surface of two parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import files
from chainrule.autodiff.transforms import value_and_grad
from chainrule.backends.compile import compile
from chainrule.errors import ArgumentError, DataError, ShapeError, TraceError, check_number
from chainrule.explain.page import render, write_page, writing
from chainrule.explain.pathpicture import draw_paths
from chainrule.explain.style import describe_figure, new_figure
from chainrule.explain.surfaces import Array, Surface, checked_height, surface_of
from chainrule.explain.typeset import number
from chainrule.graph.tensor import Tensor, constant
from chainrule.optim.optimizer import Optimizer

FAR = 1e8
"""A coordinate beyond this is as good as infinite: the path has diverged."""


def paths(
    optimizers: Mapping[str, Optimizer] | Sequence[Optimizer] | Optimizer,
    surface: str | Callable[..., Any],
    start: Any,
    steps: int,
) -> Paths:
    """Follow optimizers over a surface L(x, y), with the engine's gradient and the optimizers' own updates.

    Args:
        optimizers: by name, or a list of them (named by their kind), or one.
        surface: "quadratic" (curvatures 1 and 20), "rosenbrock" (a bent valley), "beale" (flat, with steep corners),
            "saddle" (flat at (0, 0), two minima beyond); or a function of (x, y), or of w = [x, y], written with
            chainrule's operations.
        start: (2,), or (K, 2) for several paths of each optimizer.
        steps: how many updates, at least 1.

    Raises:
        ArgumentError: an argument is not one of these, or outside its range.
        ShapeError: a start that is not a point in the plane; a function that does not give one number.
        DataError: a start that is not finite, or where the surface is not.

    Example:
        >>> import chainrule as cr
        >>> found = paths({"plain": cr.optim.SGD(0.1)}, lambda x, y: x**2 + y**2, start=[1.0, -2.0], steps=2)
        >>> found.points["plain"].tolist()
        [[1.0, -2.0], [0.8, -1.6], [0.64, -1.28]]
        >>> [round(loss, 4) for loss in found.values["plain"].tolist()]
        [5.0, 3.2, 2.048]
    """
    named = _named(optimizers)
    found = surface_of(surface)
    starts = _starts(start, found)
    check_number("steps", steps, low=1, integer=True)
    walked = {
        name: [_walk(found, optimizer, point, int(steps)) for point in starts] for name, optimizer in named.items()
    }
    return Paths(found, named, np.ndim(start) == 1, walked)


def _named(optimizers: Any) -> dict[str, Optimizer]:
    if isinstance(optimizers, Optimizer):
        optimizers = [optimizers]
    if isinstance(optimizers, Mapping):
        named = {str(name): optimizer for name, optimizer in optimizers.items()}
    elif isinstance(optimizers, (list, tuple)):
        named = {}
        for optimizer in optimizers:
            kind = type(optimizer).__name__
            same = sum(name.split(" ")[0] == kind for name in named)
            named[f"{kind} {same + 1}" if same else kind] = optimizer
    else:
        named = {}
    wrong = [type(optimizer).__name__ for optimizer in named.values() if not isinstance(optimizer, Optimizer)]
    if not named or wrong:
        raise ArgumentError(
            "not optimizers", where="optimizers", expected='a dict such as {"Adam": Adam()}, or a list of optimizers',
            got=wrong[0] if wrong else repr(optimizers),
        )  # fmt: skip
    return named


def _starts(start: Any, surface: Surface) -> Array:
    try:
        array = np.asarray(start, np.float64)
    except (TypeError, ValueError):
        raise DataError("not numbers", where="start", expected="(x, y)", got=repr(start)) from None
    if array.ndim not in (1, 2) or array.shape[-1:] != (2,) or not len(array):
        raise ShapeError("not points in the plane", where="start", expected="(2,) or (K, 2)", got=array.shape)
    points = array.reshape(-1, 2)
    for point in points:
        where = f"start ({point[0]:g}, {point[1]:g})"
        if not np.isfinite(point).all():
            raise DataError("not a finite point", where=where)
        if not np.isfinite(height := checked_height(surface, point)):
            raise DataError("the surface is not finite there", where=where, got=height)
    return points


def _walk(surface: Surface, optimizer: Optimizer, start: Array, steps: int) -> tuple[Array, Array]:
    """The points and the losses on the way; NaN once the path has diverged."""

    def step(w: Tensor, state: Any) -> tuple[Tensor, Any, Tensor]:
        value, gradient = value_and_grad(surface.height)(w)
        more = {"objective": surface.height} if optimizer.full_batch else {}
        moved, state = optimizer.update(gradient, state, w, **more)
        return value, moved, state

    once: Any = compile(step, backend="numpy")
    w: Any = constant(start)
    state = optimizer.init(w)
    points, losses = np.full((steps + 1, 2), np.nan), np.full(steps + 1, np.nan)
    for count in range(steps + 1):
        try:
            value, moved, after = once(w, state)
        except TraceError:
            # The surface chooses by values, which define-by-run can.
            once = step
            value, moved, after = once(w, state)
        points[count], losses[count] = np.asarray(w), float(value)
        if not np.isfinite(losses[count]) or not np.all(np.abs(points[count]) < FAR):
            points[count], losses[count] = np.nan, np.nan
            break
        w, state = moved, after
    return points, losses


class Paths:
    """Paths over a surface.

    Attributes:
        points: for each optimizer by name the places on the way, (steps + 1, 2); with several starts
            (starts, steps + 1, 2). NaN from where a path diverged.
        values: the losses there, alike.
        diverged: whether the path diverged; with several starts a list.
        surface: what was walked over.
    """

    def __init__(
        self,
        surface: Surface,
        optimizers: dict[str, Optimizer],
        single: bool,
        walked: dict[str, list[tuple[Array, Array]]],
    ) -> None:
        self.surface, self._optimizers = surface, optimizers
        self._points = {name: np.stack([points for points, _ in walks]) for name, walks in walked.items()}
        self._values = {name: np.stack([losses for _, losses in walks]) for name, walks in walked.items()}
        gone = {name: [bool(lost) for lost in np.isnan(values[:, -1])] for name, values in self._values.items()}
        self.points = {name: points[0] if single else points for name, points in self._points.items()}
        self.values = {name: values[0] if single else values for name, values in self._values.items()}
        self.diverged: dict[str, Any] = {name: lost[0] if single else lost for name, lost in gone.items()}

    def draw(self, figure: Any) -> None:
        """Draw on an empty matplotlib figure: the paths over the surface's contours, and the losses by step."""
        draw_paths(figure, self.surface, self._points, self._values)

    def to_svg(self, path: str | Path) -> Path:
        """Write the picture; returns the path.

        Raises:
            RunError: it cannot be written there.
        """
        from matplotlib import rc_context

        figure = new_figure(12.0, 5.2)
        self.draw(figure)
        with writing(path) as place, rc_context({"svg.fonttype": "none", "svg.hashsalt": "chainrule"}):
            place.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(place) as file:
                figure.savefig(file, format="svg", metadata={"Date": None})
        return place

    def to_html(self, path: str | Path) -> Path:
        """Write one self-contained page with the picture and a table; returns the path.

        Raises:
            RunError: it cannot be written there.
        """
        with writing(path) as place:
            return write_page(self._page(), place)

    def _page(self) -> str:
        figure = new_figure(12.0, 5.2)
        self.draw(figure)
        return render(
            "explain/templates/paths.html",
            f"Paths over {self.surface.name}",
            formula=self.surface.formula,
            figure=figure,
            shown=describe_figure(figure),
            rows=[row for name in self._optimizers for row in self._rows(name)],
            settings=[(name, repr(optimizer)) for name, optimizer in self._optimizers.items()],
        )

    def _rows(self, name: str) -> list[tuple[Any, ...]]:
        rows = []
        for points, losses in zip(self._points[name], self._values[name], strict=True):
            count = int(np.isfinite(losses).sum())
            way = float(np.linalg.norm(np.diff(points[:count], axis=0), axis=1).sum())
            straight = float(np.linalg.norm(points[count - 1] - points[0]))
            end = _place(points[count - 1]) if count == len(losses) else f"diverges after {count - 1}"
            rows.append(
                (name, _place(points[0]), float(losses[0]), len(losses) - 1, end, float(losses[count - 1]),
                 float(np.min(losses[:count])), way / straight if straight else 1.0)
            )  # fmt: skip
        return rows

    def __repr__(self) -> str:
        return f"Paths({', '.join(self._optimizers)} over {self.surface.name})"


def _place(point: Array) -> str:
    return f"({number(point[0])}, {number(point[1])})"
