"""Pictures of a run: time against width, batch and rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from chainrule.explain import style
from chainrule_peers import PEERS, table
from chainrule_peers.turns import Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Value = Callable[[Measured], float]

AXES: dict[str, tuple[str, Value, str, float]] = {
    "width": ("width d of the network d-d-10, batch 128", lambda found: found.cell.widths[0], "µs a step", 0.0),
    "batch": ("batch, network 64-64-10", lambda found: found.cell.batch, "µs a step", 0.0),
    "rows": ("rows, network 64-64-10, batch 32", lambda found: found.cell.rows, "seconds a call of one epoch", 1e-6),
}


def draw(series: Mapping[str, Mapping[str, Measured]], folder: Path) -> list[Path]:
    """A PNG for each of these series that has at least two cells."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name in AXES:
        cells = list(series.get(name, {}).values())
        if len(cells) > 1:
            drawn.append(folder / f"{name}.png")
            _draw(name, cells, drawn[-1])
    return drawn


def _draw(name: str, cells: list[Measured], path: Path) -> None:
    x_name, value, y_name, _ = AXES[name]
    figure = style.blank(10, 6.5)
    axes = style.axes(figure, x=x_name, y=y_name, log="xy")
    ends: list[tuple[float, float, str, str]] = []
    for peer in table.columns(cells):
        there = [measured for measured in cells if peer in measured.peers]
        xs, ys = [value(m) for m in there], [_y(name, m, peer) for m in there]
        look = style.look(list(PEERS).index(peer))
        axes.plot(xs, ys, linewidth=3 if peer == "chainrule" else 1.6, markersize=6, **look)
        ends.append((xs[-1], ys[-1], peer, look["color"]))
    axes.fill_between([value(m) for m in cells], [_floor(name, m) for m in cells], color="#dddddd", zorder=0)
    _label(axes, ends)
    figure.savefig(path, dpi=150)


def _y(name: str, measured: Measured, peer: str) -> float:
    found = measured.peers[peer]
    return median(found.call_s) if name == "rows" else median(found.us)


def _floor(name: str, measured: Measured) -> float:
    floor = table.floor_us(measured)
    return floor * measured.cell.steps / 1e6 if name == "rows" else floor


def _label(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    for x, y, peer, color in ends:
        axes.annotate(peer, (x, y), color=color)
