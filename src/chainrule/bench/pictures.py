"""Pictures of a run: time against width, batch and rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from chainrule import files
from chainrule.bench import OURS, PEERS, table
from chainrule.bench.turns import CellResult
from chainrule.explain import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

End = tuple[float, float, str, int | None]
"""Where a curve ends, whose it is, and its place in the order of looks."""

GAP = 0.038
"""Least distance of two labels, as a part of the axes' height."""


class Picture(NamedTuple):
    """What is drawn of a series: the names of its axes and their values."""

    title: str
    x_name: str
    y_name: str
    x: Callable[[CellResult], float]
    y: Callable[[CellResult, str], float]
    floor: Callable[[CellResult], float]


def step_us(measured: CellResult, peer: str) -> float:
    """Median µs per step."""
    return median(measured.peers[peer].us)


def call_s(measured: CellResult, peer: str) -> float:
    """Median seconds of a call that trains one epoch."""
    return median(measured.peers[peer].call_s)


def epoch_floor_s(measured: CellResult) -> float:
    """The floor under an epoch, in seconds."""
    return table.floor_us(measured) * measured.cell.steps / 1e6


PICTURES = {
    "width": Picture(
        "How a step grows with the width: d-d-10, batch 128", "width d", "µs a step",
        lambda measured: measured.cell.widths[0], step_us, table.floor_us,
    ),
    "batch": Picture(
        "How a step grows with the batch: 64-64-10", "batch", "µs a step",
        lambda measured: measured.cell.batch, step_us, table.floor_us,
    ),
    "rows": Picture(
        "How an epoch grows with the data: 64-64-10, batch 32; what is flat at the left is the call itself",
        "rows", "seconds for a call that trains one epoch",
        lambda measured: measured.cell.rows, call_s, epoch_floor_s,
    ),
}  # fmt: skip


def draw_series(series: Mapping[str, Mapping[str, CellResult]], folder: Path) -> list[Path]:
    """A PNG for each of these series that has at least two cells."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, picture in PICTURES.items():
        cells = list(series.get(name, {}).values())
        if len(cells) > 1:
            drawn.append(folder / f"{name}.png")
            with files.replacing(drawn[-1]) as file:
                figure(picture, cells).savefig(file, format="png", dpi=120)
    return drawn


def figure(picture: Picture, cells: list[CellResult]) -> Figure:
    """A line for each peer, named at its end; grey below the floor."""
    figure = style.new_figure(10, 6.5)
    axes = style.axes(figure, x=picture.x_name, y=picture.y_name, title=picture.title, log="xy")
    xs = [picture.x(measured) for measured in cells]
    ends: list[End] = []
    for peer in table.columns(cells):
        there = [measured for measured in cells if peer in measured.peers]
        points = [(picture.x(measured), picture.y(measured, peer)) for measured in there]
        place = [*PEERS].index(peer) if peer in PEERS else len(PEERS)
        wide = 3.0 if peer == OURS else 1.5
        style.line(axes, [x for x, _ in points], [y for _, y in points], n=place, linewidth=wide, markevery=1)
        ends.append((*points[-1], peer, place))
    floors = [picture.floor(measured) for measured in cells if measured.floor]
    if len(floors) == len(cells):
        axes.fill_between(xs, floors, min(floors) / 3, color="#e4e4e4", zorder=0, linewidth=0)
        ends.append((xs[-1], floors[-1], "floor", None))
        axes.set_ylim(bottom=min(floors) / 3)
    axes.set_xticks(xs, [f"{x:,.0f}" for x in xs])
    axes.minorticks_off()
    figure.draw_without_rendering()
    _label(axes, ends)
    return figure


def _label(axes: Axes, ends: list[End]) -> None:
    """Each curve's name beside its end, no two closer than `GAP`: right of the axes, or in them where it ends early."""
    to_axes = axes.transData + axes.transAxes.inverted()
    places = {end: to_axes.transform(end[:2]) for end in ends}
    last = max(x for x, *_ in ends)
    for edge in {x for x, *_ in ends}:
        here = sorted((end for end in ends if end[0] == edge), key=lambda end: end[1])
        for end, height in zip(here, spread([float(places[end][1]) for end in here]), strict=True):
            _name(axes, end, (1.05 if edge == last else float(places[end][0]) + 0.02, height))


def spread(heights: list[float]) -> list[float]:
    """The nearest heights between 0 and 1 that keep the order and the gap."""
    from sklearn.isotonic import isotonic_regression

    # What must rise by a gap each time must not fall once those gaps are taken off.
    steps = GAP * np.arange(len(heights))
    return list(isotonic_regression(np.array(heights) - steps, y_min=0.0, y_max=1.0 - steps[-1]) + steps)


def _name(axes: Axes, end: End, place: tuple[float, float]) -> None:
    x, y, name, look = end
    color = "#666666" if look is None else style.look(look)["color"]
    axes.annotate(
        name, (x, y), xytext=place, textcoords="axes fraction", va="center", fontsize=10, color=color,
        weight="bold" if name == OURS else "normal", annotation_clip=False,
        arrowprops={
            "arrowstyle": "-", "color": color, "linewidth": 0.8, "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 4,
        },
    )  # fmt: skip
