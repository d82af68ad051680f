"""The picture of paths over a surface: contours with the paths on them, and the losses by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chainrule.explain import style
from chainrule.explain.surfaces import Array, Box, Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID = 121
"""Points along each side of the grid that the contours are drawn from."""
WIDER = 2.0
"""A path that goes further than so many times the extent of starts and region is cut off by the picture."""


def draw_paths(figure: Figure, surface: Surface, points: dict[str, Array], values: dict[str, Array]) -> None:
    """Draw `points` (starts, steps + 1, 2) and `values` (starts, steps + 1) of each optimizer."""
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
    box = visible_box(surface, points)
    style.name(left, "x (first parameter)", "y (second parameter)", surface.formula or surface.name)
    _contours(left, surface, box)
    for n, (name, each) in enumerate(points.items()):
        _path(left, each, f"{name}{_fate(each, box)}", n)
        _end_label(left, each[0], name, n, len(points), box)
    for x, y in surface.minima:
        left.plot(x, y, marker="*", color="black", markersize=13, linestyle="", zorder=5)
    for x, y in next(iter(points.values()))[:, 0]:
        left.plot(x, y, marker="o", color="black", markerfacecolor="white", markersize=9, linestyle="", zorder=5)
    left.set_xlim(box[0], box[1])
    left.set_ylim(box[2], box[3])
    style.legend(left, loc="best", fontsize=8.5)
    _losses(right, values)


def visible_box(surface: Surface, points: dict[str, Array]) -> Box:
    """What the picture shows: starts, region, minima, and the paths as far as they stay near."""
    known = [point for each in points.values() for point in each[:, 0]] + [np.array(m) for m in surface.minima]
    if surface.region is not None:
        x0, x1, y0, y1 = surface.region
        known += [np.array((x0, y0)), np.array((x1, y1))]
    low, high = np.min(known, axis=0), np.max(known, axis=0)
    if surface.region is None:
        # Of a function of one's own only the starts are known: how far they are from 0 is a scale, if a poor one.
        reach = 0.5 * max(float(np.max(np.abs(known))), 1e-3)
        low, high = low - reach, high + reach
    # Where a path diverges it would make everything else a dot.
    stayed = [path for each in points.values() for path in each if not np.isnan(path).any()]
    near = np.concatenate(stayed) if stayed else low[None]
    middle, reach = (low + high) / 2, WIDER * float(np.max(high - low)) / 2
    near = near[(np.abs(near - middle) <= reach).all(1)]
    low, high = np.min([low, *near], axis=0), np.max([high, *near], axis=0)
    edge = 0.04 * (high - low)
    return float(low[0] - edge[0]), float(high[0] + edge[0]), float(low[1] - edge[1]), float(high[1] + edge[1])


def _contours(axes: Axes, surface: Surface, box: Box) -> None:
    x, y = np.meshgrid(np.linspace(*box[:2], GRID), np.linspace(*box[2:], GRID))
    height = surface.heights(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)
    finite = height[np.isfinite(height)]
    if not finite.size or finite.min() == finite.max():
        return
    # Levels close together near the bottom, where the paths end.
    levels = finite.min() + (finite.max() - finite.min()) * np.linspace(0.03, 1.0, 14) ** 3
    shown = np.ma.masked_invalid(height)
    axes.contourf(x, y, shown, levels=[finite.min(), *levels], cmap="Greys", alpha=0.25)
    lines = axes.contour(x, y, shown, levels=levels, colors="#999999", linewidths=0.7)
    axes.clabel(lines, levels[::3], fontsize=7, fmt="%.3g", colors="#555555")


def _path(axes: Axes, each: Array, label: str, n: int) -> None:
    for i, path in enumerate(each):
        style.line(axes, path[:, 0], path[:, 1], label if i == 0 else "", n=n, linewidth=1.5, zorder=3)


def _fate(each: Array, box: Box) -> str:
    if np.isnan(each).any():
        return " (diverges)"
    x, y = each[..., 0], each[..., 1]
    outside = (x < box[0]) | (x > box[1]) | (y < box[2]) | (y > box[3])
    return " (leaves the picture)" if outside.any() else ""


def _end_label(axes: Axes, path: Array, name: str, n: int, of: int, box: Box) -> None:
    """The name where the path ends or was last seen; names are set round it, since paths often end together."""
    with np.errstate(invalid="ignore"):
        seen = (path[:, 0] >= box[0]) & (path[:, 0] <= box[1]) & (path[:, 1] >= box[2]) & (path[:, 1] <= box[3])
    end = path[np.flatnonzero(seen)[-1]]
    angle = 2 * np.pi * (n + 0.25) / max(of, 3)
    axes.annotate(
        name, end, xytext=(46 * np.cos(angle), 34 * np.sin(angle)), textcoords="offset points", fontsize=8.5,
        ha="center", va="center", color=style.look(n)["color"], zorder=6,
        arrowprops={"arrowstyle": "-", "color": style.look(n)["color"], "linewidth": 0.7},
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0},
    )  # fmt: skip


def _losses(axes: Axes, values: dict[str, Array]) -> None:
    everything = np.concatenate([each.ravel() for each in values.values()])
    positive = bool(np.nanmin(everything) >= 0 < np.nanmax(everything))
    style.name(axes, "update", "loss L", "Loss after each update", log="y" if positive else "")
    for n, (name, each) in enumerate(values.items()):
        for i, losses in enumerate(each):
            style.line(axes, np.arange(len(losses)), losses, name if i == 0 else "", n=n)
    top = max(float(np.nanmax(each[:, 0])) for each in values.values())
    if not positive:
        low = float(np.nanmin(everything))
        axes.set_ylim(low - 0.05 * (top - low) - 1e-12, top + 0.3 * (top - low) + 1e-12)
    elif np.nanmax(everything) > 30 * top:
        axes.set_ylim(top=30 * top)
    style.legend(axes, fontsize=8.5)
