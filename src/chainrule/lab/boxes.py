"""Boxes and arrows, for pictures of graphs: boxes of one size, so that no texts overlap and no arrow crosses a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[float, float]


@dataclass(frozen=True)
class Boxes:
    """Boxes of one size on axes without a frame.

    Attributes:
        axes: where they are drawn.
        width, height: of each box, in the axes' own units.
        step: between the lines of text in a box; downwards, so negative where the y axis points up.
    """

    axes: Axes
    width: float
    height: float
    step: float

    def box(self, place: Point, lines: Sequence[str], colour: str) -> None:
        """A box centred on its position, its first line in bold."""
        from matplotlib.patches import FancyBboxPatch

        x, y = place
        corner = (x - self.width / 2, y - self.height / 2)
        shape = "round,pad=0,rounding_size=0.08"
        patch = FancyBboxPatch(corner, self.width, self.height, boxstyle=shape, facecolor="white", edgecolor=colour)
        self.axes.add_patch(patch)
        for i, line in enumerate(lines):
            settings: dict[str, Any] = {"fontsize": 8.5} if i else {"fontsize": 10, "fontweight": "bold"}
            height = y + self.step * (i - (len(lines) - 1) / 2)
            self.axes.text(x, height, line, ha="center", va="center", **settings)

    def arrow(self, start: Point, end: Point, colour: str, dash: Any = "-", bend: str = "arc3") -> None:
        """From the edge of one box to the facing edge of another: sideways, or up and down in one column.

        `bend` is matplotlib's connection style; one that is no straight line leaves and arrives below the boxes.
        """
        if bend != "arc3":
            sides = [(x, y - self.height / 2) for x, y in (start, end)]
        elif start[0] != end[0]:
            across = self.width / 2 if end[0] > start[0] else -self.width / 2
            sides = [(start[0] + across, start[1]), (end[0] - across, end[1])]
        else:
            along = self.height / 2 if end[1] > start[1] else -self.height / 2
            sides = [(start[0], start[1] + along), (end[0], end[1] - along)]
        settings = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4, "linestyle": dash, "connectionstyle": bend}
        self.axes.annotate("", sides[1], sides[0], arrowprops={**settings, "shrinkA": 0, "shrinkB": 0})
