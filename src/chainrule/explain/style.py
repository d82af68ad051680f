"""How the pictures look: readable in print, without colour, by the colour-blind.

Every curve has a colour, a marker and a dash of its own, taken in turn; every axis is named with its unit. A lab's
`draw(figure, data)` is handed an empty matplotlib `Figure` and uses these functions on it:

    def draw(figure, data):
        axes = style.axes(figure, x="step", y="loss (nats)", log="y")
        style.line(axes, data.steps, data.plain, "plain SGD")
        style.line(axes, data.steps, data.momentum, "momentum 0.9")
        style.legend(axes)

Several axes: `left, right = style.axes_row(figure, 2)`, then `style.name(left, x="…", y="…", title="…")` for each. A
level that a curve should reach is `style.level(axes, 0.5, "chance")`. Bars: `style.bars(axes, names, values)`. The nth
curve looks the same in every picture (`style.look(n)` gives its colour, marker and dash to any other matplotlib call).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import check_choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

# Okabe and Ito's palette, which the colour-blind can tell apart, without its yellow (too faint on white).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (6, 2, 1, 2)),
    (0, (9, 2)),
    (0, (3, 1, 1, 1)),
    (0, (2, 3)),
)
SIZE = (9.0, 5.0)
"""Inches of the empty figure that `draw` is handed."""
_HATCHES = ("", "//", "..", "xx", "\\\\", "oo", "++")
_MARKS = 12
_LEVEL = "level"


def look(n: int) -> dict[str, Any]:
    """Colour, marker and dash of the nth curve (from 0), as arguments for matplotlib's `plot`."""
    place = n % len(COLOURS)
    return {
        "color": COLOURS[place],
        "marker": MARKERS[(n + n // len(COLOURS)) % len(MARKERS)],
        "linestyle": DASHES[place],
    }


def new_figure(width: float = SIZE[0], height: float = SIZE[1]) -> Figure:
    """An empty figure, drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def axes(figure: Figure, x: str, y: str, title: str = "", log: str = "") -> Axes:
    """The one pair of axes of a figure, named. `log` is "", "x", "y" or "xy"."""
    return name(figure.subplots(), x, y, title, log)


def axes_row(figure: Figure, columns: int, rows: int = 1) -> list[Axes]:
    """Several axes side by side (and below each other), row by row; the figure grows with the rows."""
    figure.set_size_inches(SIZE[0] if columns < 3 else 4.0 * columns, max(SIZE[1] * 0.85, 3.6 * rows))
    return list(figure.subplots(rows, columns, squeeze=False).ravel())


def name(axes: Axes, x: str, y: str, title: str = "", log: str = "") -> Axes:
    """Name what is on each axis, with its unit; set the scales and a light grid."""
    check_choice("log", log, ("", "x", "y", "xy"))
    axes.set_xlabel(x, fontsize=11)
    axes.set_ylabel(y, fontsize=11)
    if title:
        axes.set_title(title, fontsize=12)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    axes.tick_params(labelsize=10)
    axes.grid(visible=True, color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def line(axes: Axes, x: ArrayLike, y: ArrayLike, label: str = "", n: int | None = None, **more: Any) -> None:
    """A curve unlike those before it on these axes; `n` says which look, `more` goes to matplotlib's `plot`."""
    place = sum(curve.get_gid() != _LEVEL for curve in axes.get_lines()) if n is None else n
    every = max(1, np.size(x) // _MARKS)
    settings = {**look(place), "linewidth": 1.8, "markersize": 5, "markevery": (place % every, every)}
    axes.plot(x, y, label=label or None, **{**settings, **more})


def level(axes: Axes, y: float, label: str) -> None:
    """A thin grey line across: a level to compare with."""
    axes.axhline(y, color="#666666", linewidth=1.2, linestyle=(0, (2, 2)), zorder=1, gid=_LEVEL)
    axes.annotate(
        label, (1, y), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9, color="#444444"
    )


def bars(axes: Axes, names: Sequence[str], values: ArrayLike, label: str = "", n: int = 0, of: int = 1) -> None:
    """Bars, one per name; `n` and `of` set several bars beside each other, each hatched in its own way."""
    places = [place + (n - (of - 1) / 2) * 0.8 / of for place in range(len(names))]
    axes.bar(
        places, values, 0.8 / of, label=label or None, color=COLOURS[n % len(COLOURS)],
        hatch=_HATCHES[n % len(_HATCHES)], edgecolor="white", linewidth=0.5,
    )  # fmt: skip
    axes.set_xticks(range(len(names)), names)


def legend(axes: Axes, **more: Any) -> None:
    """The legend, where it hides least."""
    axes.legend(**{"fontsize": 10, "framealpha": 0.9, "handlelength": 3.2, **more})


def describe_figure(figure: Figure) -> str:
    """The picture in words, from its titles, axes and legends: for those who cannot see it."""
    heading = f"{figure.get_suptitle()}." if figure.get_suptitle() else ""
    return " ".join(text for text in (heading, *map(_described, figure.axes)) if text)


def _described(axes: Axes) -> str:
    title, x, y = (" ".join(text.split()) for text in (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()))
    shown = axes.get_legend_handles_labels()[1] if axes.get_legend() else []
    words = f"{y} against {x}" if x and y else x or y
    listed = f"; shown: {', '.join(shown)}" if shown else ""
    return ": ".join(part for part in (title, words) if part) + listed + "." if title or words else ""
