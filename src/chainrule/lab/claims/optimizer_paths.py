"""Six optimizers on four surfaces: how direct their paths are, how much they swing, what the start decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
STEPS, STARTS, NEAR = 400, 24, 0.1
GRID, SETTLED = 41, 150
"""Starts along each side of the map of the four minima, and the steps after which they have settled."""
DIRECT = ("bowl", "four minima")
"""The surfaces whose steep and flat directions lie along the axes, or nearly so."""


@dataclass(frozen=True)
class Surface:
    """A loss of two parameters: its height, its minima, the region of starts, and the rate of SGD and its relatives."""

    height: Callable[[Any, Any], Any]
    minima: tuple[tuple[float, float], ...]
    centre: tuple[float, float]
    reach: tuple[float, float]
    rate: float

    def ring(self) -> Array:
        """Starts all round the region, (2, STARTS)."""
        angle = 2 * np.pi * (np.arange(STARTS) + 0.5) / STARTS
        return np.stack(
            [self.centre[0] + self.reach[0] * np.cos(angle), self.centre[1] + self.reach[1] * np.sin(angle)]
        )

    def grid(self, points: int, wider: float = 1.0) -> Array:
        """Starts all over the region, (2, points, points)."""
        sides = [
            np.linspace(c - wider * r, c + wider * r, points) for c, r in zip(self.centre, self.reach, strict=True)
        ]
        return np.stack(np.meshgrid(*sides))

    def distances(self, places: Array) -> Array:
        """From each place (…, 2, S) to each minimum, (…, S, minima)."""
        return np.linalg.norm(places[..., None] - np.array(self.minima).T[:, None, :], axis=-3)


def _turned(x: Any, y: Any) -> Any:
    return 0.25 * (x + y) ** 2 + 5.0 * (x - y) ** 2


SURFACES = {
    "bowl": Surface(lambda x, y: 0.5 * x**2 + 10.0 * y**2, ((0, 0),), (0, 0), (2, 2), 0.03),
    "turned bowl": Surface(_turned, ((0, 0),), (0, 0), (2, 2), 0.03),
    "bent valley": Surface(lambda x, y: (1 - x) ** 2 + 10 * (y - x**2) ** 2, ((1, 1),), (0, 0.75), (1.5, 1.25), 0.004),
    "four minima": Surface(
        lambda x, y: ((x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2) / 20,
        ((3, 2), (-2.805118, 3.131313), (-3.779310, -3.283186), (3.584428, -1.848127)), (0, 0), (5, 5), 0.08,
    ),
}  # fmt: skip


def optimizers(rate: float) -> dict[str, cr.optim.Optimizer]:
    """The six. SGD's relatives share a rate that suits the surface; the others' steps have a length of their own."""
    return {
        "SGD": cr.optim.SGD(rate),
        "momentum": cr.optim.SGD(rate, momentum=0.9),
        "Nesterov": cr.optim.SGD(rate, momentum=0.9, nesterov=True),
        "RMSProp": cr.optim.RMSProp(0.04),
        "AdaGrad": cr.optim.AdaGrad(0.1),
        "Adam": cr.optim.Adam(0.04),
    }


def walk(surface: Surface, optimizer: cr.optim.Optimizer, starts: Array, steps: int = STEPS) -> Array:
    """The paths from all starts at once, (steps + 1, 2, S): an optimizer works element by element."""

    def step(w: cr.Tensor, state: Any) -> Any:
        gradient = cr.grad(lambda w: cr.sum(surface.height(w[0], w[1])))(w)
        return optimizer.update(gradient, state, w)

    step_once = cr.compile(step, backend="numpy")
    w: Any = starts
    state, places = optimizer.init(w), [starts]
    for _ in range(steps):
        w, state = step_once(w, state)
        places.append(w.numpy())
    return np.array(places)


def described(surface: Surface, places: Array) -> dict[str, float]:
    """What the paths are like until they come near a minimum: medians over the starts."""
    near = surface.distances(places).min(-1) < NEAR
    rows = []
    for start in range(places.shape[-1]):
        end = int(near[:, start].argmax()) if near[:, start].any() else len(places) - 1
        rows.append(_path(surface, places[: end + 1, :, start]))
    detour, uphill, later = np.median(rows, axis=0)
    steps = np.where(near.any(0), near.argmax(0), STEPS)
    return {"detour": float(detour), "uphill": float(uphill), "later": float(later), "steps": float(np.median(steps))}


def _path(surface: Surface, path: Array) -> tuple[float, float, float]:
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    way, straight = lengths.cumsum(), np.linalg.norm(path[-1] - path[0])
    heights = surface.height(path[:, 0], path[:, 1])
    half = int(np.searchsorted(way, way[-1] / 2)) + 1
    uphill = np.maximum(np.diff(heights), 0).sum() / heights[0]
    return float(way[-1] / straight - 1), float(uphill), (len(lengths) - half) / half


def settled(surface: Surface, optimizer: cr.optim.Optimizer) -> Array:
    """Which minimum each start of the map ends at, (GRID, GRID)."""
    ends = walk(surface, optimizer, surface.grid(GRID).reshape(2, -1), SETTLED)[-1]
    return surface.distances(ends).argmin(-1).reshape(GRID, GRID)


def parted(minimum: Array) -> float:
    """The share of neighbouring starts that end at different minima."""
    return float((np.mean(minimum[1:] != minimum[:-1]) + np.mean(minimum[:, 1:] != minimum[:, :-1])) / 2)


def measure() -> Measured:
    """Walk from rings of starts on four surfaces, and from a whole map of starts on one."""
    table = {
        name: {
            kind: described(surface, walk(surface, o, surface.ring())) for kind, o in optimizers(surface.rate).items()
        }
        for name, surface in SURFACES.items()
    }
    many = SURFACES["four minima"]
    maps = {kind: settled(many, o) for kind, o in list(optimizers(many.rate).items())[:4]}
    shares = {kind: parted(minimum) for kind, minimum in maps.items()}
    figures: dict[str, Any] = {"starts on each surface": STARTS}
    for name, kinds in table.items():
        figures[f"{name}: optimizers in order"] = list(kinds)
        for quantity, said in SAID.items():
            figures[f"{name}: {said}"] = [round(kind[quantity], 4) for kind in kinds.values()]
    for kind, share in shares.items():
        figures[f"four minima: share of neighbouring starts that {kind} parts"] = share
    return Measured(figures, _checks(table, shares), {"table": table, "maps": maps, "shares": shares})


SAID = {
    "detour": "way / straight line − 1, median",
    "uphill": "rises of the loss on the way / loss at the start, median",
    "later": "steps in the second half of the way / in the first, median",
    "steps": f"steps to the minimum, median ({STEPS}: not reached)",
}


def _checks(table: dict[str, dict[str, dict[str, float]]], shares: dict[str, float]) -> dict[str, bool]:
    every, direct = list(table.values()), [table[name] for name in DIRECT]
    turned, bowl = table["turned bowl"], table["bowl"]
    others = ("SGD", "momentum", "Nesterov", "Adam")
    return {
        "momentum oscillates: on every surface its loss rises on the way, plain SGD's does not": all(
            t["momentum"]["uphill"] > 0.1 > 0.01 > t["SGD"]["uphill"] for t in every
        ),
        "Nesterov oscillates less: less than half of momentum's rises on every surface": all(
            t["Nesterov"]["uphill"] < 0.5 * t["momentum"]["uphill"] for t in every
        ),
        "momentum is sensitive to the start: it parts more than twice as many neighbours as SGD": shares["momentum"]
        > 2 * shares["SGD"],
        "and more than Nesterov": shares["momentum"] > 1.3 * shares["Nesterov"],
        "RMSProp is most direct where the axes are the steep and flat directions: its detour is less than 3/4 of "
        "those of SGD, momentum, Nesterov and Adam": all(
            t["RMSProp"]["detour"] < 0.75 * t[other]["detour"] for t in direct for other in others
        ),
        "a bowl turned by 45° takes that lead over SGD away": turned["RMSProp"]["detour"]
        > 0.75 * turned["SGD"]["detour"],
        "AdaGrad goes like RMSProp there: its detour is within 0.02 of RMSProp's": all(
            abs(t["AdaGrad"]["detour"] - t["RMSProp"]["detour"]) < 0.02 for t in direct
        ),
        "but slower and slower: for the second half of its way it needs over 5 times the steps of the first": all(
            t["AdaGrad"]["later"] > 5 for t in direct
        ),
        "RMSProp less than 4 times": all(t["RMSProp"]["later"] < 4 for t in direct),
        "turning the bowl changes nothing for SGD": abs(turned["SGD"]["detour"] - bowl["SGD"]["detour"]) < 1e-6,
    }


def draw(figure: Figure, data: Any) -> None:
    """Paths on three surfaces; detours; where the starts of a map end."""
    axes = style.axes_row(figure, 3, rows=2)
    for place, (name, start) in zip(axes, VIEWS.items(), strict=False):
        _draw_paths(place, SURFACES[name], np.array(start), f"{name[0].upper()}{name[1:]}, first 60 steps")
    style.legend(axes[0], loc="lower right", fontsize=8, ncols=2)
    for place, kind in zip(axes[3:], ("SGD", "momentum"), strict=False):
        _draw_map(place, data["maps"][kind], f"{kind}: {100 * data['shares'][kind]:.1f} % of neighbours parted")
    _draw_detours(axes[5], data["table"])


VIEWS = {"bowl": (-1.8, 1.6), "turned bowl": (-2.2, -0.4), "bent valley": (-1.3, 0.3)}
"""Where the drawn paths begin."""


def _draw_paths(axes: Axes, surface: Surface, start: Array, title: str) -> None:
    x, y = surface.grid(120, wider=1.25)
    height = surface.height(x, y)
    axes.contour(x, y, height, levels=np.geomspace(0.02, height.max(), 9), colors="#c8c8c8", linewidths=0.8)
    style.name(axes, "x (parameter)", "y (parameter)", title)
    for n, (kind, optimizer) in enumerate(optimizers(surface.rate).items()):
        path = walk(surface, optimizer, start[:, None], 60)[..., 0]
        style.line(axes, path[:, 0], path[:, 1], kind, n=n, linewidth=1.3, markersize=4)
    axes.plot(*surface.minima[0], marker="*", color="black", markersize=11)
    axes.set_xlim(x.min(), x.max())
    axes.set_ylim(y.min(), y.max())


def _draw_map(axes: Axes, minimum: Array, title: str) -> None:
    many = SURFACES["four minima"]
    axes.imshow(
        minimum, origin="lower", extent=(-5, 5, -5, 5), cmap="Blues", vmin=-0.5, vmax=4, interpolation="nearest"
    )
    for (x, y), letter in zip(many.minima, "ABCD", strict=True):
        axes.text(x, y, letter, ha="center", va="center", fontweight="bold", bbox={"facecolor": "white", "pad": 2})
    style.name(axes, "x of the start", "y of the start", title)
    axes.grid(visible=False)


def _draw_detours(axes: Axes, table: dict[str, dict[str, dict[str, float]]]) -> None:
    style.name(axes, "optimizer", "way / straight line − 1 (median)", "Detour", log="y")
    shown = ("bowl", "turned bowl", "four minima")
    for n, name in enumerate(shown):
        detours = [kind["detour"] for kind in table[name].values()]
        style.bars(axes, list(table[name]), detours, name, n=n, of=len(shown))
    axes.tick_params(axis="x", rotation=35)
    style.legend(axes, loc="upper right", fontsize=9)


LAB = Lab(
    row="D7",
    claim="On a surface of two parameters momentum oscillates more than SGD and is sensitive to the start, Nesterov "
    "oscillates less, RMSProp is most direct and AdaGrad like it but slower and slower. The last two hold where the "
    "steep and the flat direction lie along the axes; turned by 45°, RMSProp loses its lead.",
    look="Above, momentum swings past the valley while RMSProp and AdaGrad go almost straight: dividing by the root of "
    "the mean square gives every coordinate steps of one length, which helps only where the coordinates are the "
    "valley's own directions. Below, each start of a map is shaded by the minimum (A to D) that it ends at: momentum "
    "overshoots, so that neighbours end in different places, and its map is frayed where SGD's has clean borders.",
    measure=measure,
    draw=draw,
)
