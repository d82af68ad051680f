"""Random programs as data, so that chainrule and an outside reference can each run the same one in its own words.

A recipe is a list of steps over earlier values: a directed acyclic graph with fan-out. It is drawn together with the
point at which it is differentiated, and a step is taken only where it is smooth there (no tie, no kink, no pole nearby)
and where its values stay tame, so that two correct engines must agree to many digits.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import chainrule as cr
from chainrule.graph.elementwise import common, stretched
from chainrule.graph.indexing import put_add
from chainrule.graph.ops import WHOLE, Piece
from chainrule.graph.tensor import apply

Array = Any
Draw = Callable[["Sketch"], "tuple[tuple[int, ...], dict[str, Any]] | None"]

CLEAR = 1e-2
"""How far a value stays from the next kink: well above the step of finite differences."""
TAME = 3.0
MOST_ELEMENTS = 36
TALL = 33_000
"""Rows of the tall recipes: compilers go other ways above 32,768."""
_DENSE = (
    "best row",
    "flip",
    "index arrays",
    "mask",
    "put",
    "put_add",
    "slices",
    "stack",
    "swapaxes",
    "take",
)
"""Moves whose reference is a matrix of all elements by all elements, too large for tall values."""
_NORMALIZING = (
    "batch_norm",
    "cross_entropy",
    "layer_norm",
    "log_softmax",
    "softmax",
    "standardize",
    "std",
    "var",
)
"""Moves that are not defined over no elements."""


@dataclass(frozen=True)
class Move:
    """One kind of step: how to draw it, how chainrule says it, and the reference over NumPy or jax.numpy."""

    draw: Draw
    ours: Callable[..., Any]
    reference: Callable[..., Any]


@dataclass(frozen=True)
class Step:
    move: str
    operands: tuple[int, ...]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A random program, the point to run it at, and the weights that contract outputs and gradients to one number."""

    seed: int
    inputs: tuple[Array, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    weights: tuple[Array, ...]
    directions: tuple[Array, ...]

    def ours(self, *xs: Any) -> list[Any]:
        """The outputs, by chainrule."""
        values = list(xs)
        for step in self.steps:
            values.append(MOVES[step.move].ours(*(values[i] for i in step.operands), **step.settings))
        return [values[i] for i in self.outputs]

    def cost(self, *xs: Any) -> Any:
        """The outputs contracted to one number, by chainrule."""
        return contracted(self.weights, self.ours(*xs))

    def slope(self, *xs: Any) -> Any:
        """The gradient contracted to one number, by chainrule: what second derivatives are taken of."""
        return contracted(self.directions, cr.grad(self.cost, range(len(xs)))(*xs))

    def reference(self, xp: Any, *xs: Any) -> list[Any]:
        """The outputs, by the reference formulas over `xp`."""
        values = list(xs)
        for step in self.steps:
            values.append(MOVES[step.move].reference(xp, *(values[i] for i in step.operands), **step.settings))
        return [values[i] for i in self.outputs]

    def reference_cost(self, xp: Any, *xs: Any) -> Any:
        """The outputs contracted to one number, by the reference formulas."""
        return sum(xp.sum(w * y) for w, y in zip(self.weights, self.reference(xp, *xs), strict=True))


def contracted(weights: Sequence[Array], values: Sequence[Any]) -> Any:
    """Σ w·y over all values."""
    terms = [cr.sum(w * y) for w, y in zip(weights, values, strict=True)]
    return sum(terms[1:], terms[0])


class Sketch:
    """A recipe in the making: the values so far, from the reference over NumPy."""

    def __init__(self, rng: np.random.Generator, kind: Kind) -> None:
        self.rng, self.kind = rng, kind
        self.values: list[Array] = []
        self.steps: list[Step] = []

    def pick(self, fits: Callable[[Array], Any] = lambda x: True) -> int | None:
        """A value that fits, later ones more often, so that chains grow deep and earlier ones still fan out."""
        for _ in range(4):
            position = int(len(self.values) * self.rng.random() ** 0.5)
            if np.all(fits(self.values[position])):
                return position
        return None

    def choice(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def partner(self, x: Array, fits: Callable[[Array], Any] = lambda y: True) -> int | None:
        """A value that broadcasts with x to something not too large."""

        def good(y: Array) -> bool:
            try:
                shape = np.broadcast_shapes(x.shape, y.shape)
            except (ValueError, IndexError, ZeroDivisionError):
                return False
            return len(shape) <= self.kind.axes and np.prod(shape) <= self.kind.elements and bool(np.all(fits(y)))

        return self.pick(good)

    def take(self, name: str) -> bool:
        """Draw the settings of a move and make the step, if it is allowed here."""
        if name in self.kind.without:
            return False
        try:
            drawn = MOVES[name].draw(self)
            if drawn is None or (name in _NORMALIZING and not self.values[drawn[0][0]].size):
                return False
            return self.append(name, *drawn)
        except (ValueError, IndexError, ZeroDivisionError):
            # Of no elements at all there is no largest, and no place to choose.
            if not self.kind.empty:
                raise
            return False

    def append(self, name: str, operands: tuple[int, ...], settings: dict[str, Any]) -> bool:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # The mean of no elements.
            warnings.simplefilter("ignore", RuntimeWarning)
            value = np.asarray(MOVES[name].reference(np, *(self.values[i] for i in operands), **settings))
        if not np.isfinite(value).all() or value.size > self.kind.elements or not (value.size or self.kind.empty):
            return False
        if value.ndim > self.kind.axes:
            return False
        self.values.append(value)
        self.steps.append(Step(name, operands, settings))
        size = np.abs(value).max(initial=0)
        if size > TAME:
            self.append(
                "scale", (len(self.values) - 1,), {"factor": float(np.round(1.0 / size, 3)) or 1e-3, "left": False}
            )
        return True


@dataclass(frozen=True)
class Kind:
    """What shapes a recipe has: usually small ones of up to four axes.

    Attributes:
        sizes: what axes of the inputs are drawn from.
        ranks: the least and the largest number of their axes.
        tall: the length of a leading axis of each input; None for none.
        empty: whether values may have no elements.
        without: moves that are left out.
    """

    sizes: tuple[int, ...] = (1, 2, 2, 3, 3)
    ranks: tuple[int, int] = (0, 3)
    axes: int = 4
    elements: int = MOST_ELEMENTS
    tall: int | None = None
    empty: bool = False
    without: tuple[str, ...] = ()

    @classmethod
    def of(cls, seed: int) -> Kind:
        """A hundredth of the recipes is tall, a twentieth has axes of no length, a tenth has up to six axes."""
        if seed % 100 == 50:
            return cls(sizes=(1, 2, 3), ranks=(0, 1), elements=TALL * 6, tall=TALL, without=_DENSE)
        if seed % 20 == 9:
            return cls(sizes=(0, 1, 2), ranks=(0, 3), empty=True)
        if seed % 10 == 4:
            return cls(sizes=(1, 1, 2), ranks=(3, 6), axes=6, elements=2 * MOST_ELEMENTS)
        return cls()

    def shape(self, rng: np.random.Generator) -> tuple[int, ...]:
        """The shape of an input."""
        low, high = self.ranks
        shape = tuple(int(n) for n in rng.choice(self.sizes, size=int(rng.integers(low, high + 1))))
        return shape if self.tall is None else (self.tall, *shape)


def draw(seed: int, low: int = 4, high: int = 16) -> Recipe:
    """The recipe of this seed: 1–3 inputs, then between `low` and `high` steps."""
    rng = np.random.default_rng([seed, 2024])
    kind = Kind.of(seed)
    sketch = Sketch(rng, kind)
    for _ in range(int(rng.integers(1, 4))):
        shape = kind.shape(rng)
        sketch.values.append(rng.uniform(0.2, 2.0, shape) * rng.choice([-1.0, 1.0], shape))
    count, names = len(sketch.values), list(MOVES)
    wanted = int(rng.integers(low, high + 1))
    while len(sketch.steps) < wanted:
        sketch.take(sketch.choice(names))
    used = {i for step in sketch.steps for i in step.operands}
    loose = [i for i in range(count, len(sketch.values)) if i not in used]
    outputs = tuple(loose if rng.random() < 0.8 else [len(sketch.values) - 1])
    inputs = tuple(np.asarray(x) for x in sketch.values[:count])
    weights = tuple(_signed(rng, sketch.values[i].shape) for i in outputs)
    return Recipe(seed, inputs, tuple(sketch.steps), outputs, weights, tuple(_signed(rng, x.shape) for x in inputs))


def _signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


# ---- how moves are drawn


def _one(
    fits: Callable[[Array], Any] = lambda x: True, settings: Callable[..., dict[str, Any] | None] = lambda s, x: {}
) -> Draw:
    def drawn(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
        position = s.pick(fits)
        if position is None:
            return None
        chosen = settings(s, s.values[position])
        return None if chosen is None else ((position,), chosen)

    return drawn


def _two(fits: Callable[[Array, Array], Any] = lambda x, y: True) -> Draw:
    def drawn(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
        first = s.pick()
        second = s.partner(s.values[first], lambda y: fits(s.values[first], y)) if first is not None else None
        return None if second is None else ((first, second), {})

    return drawn


def _axis(s: Sketch, x: Array) -> dict[str, Any] | None:
    return {"axis": int(s.rng.integers(-x.ndim, x.ndim))} if x.ndim else None


def _axes(s: Sketch, x: Array) -> dict[str, Any]:
    chosen = [a - x.ndim * int(s.rng.integers(2)) for a in range(x.ndim) if s.rng.random() < 0.6]
    axis = s.choice([None, tuple(chosen), tuple(chosen), chosen[0] if chosen else None])
    return {"axis": axis, "keepdims": bool(s.rng.integers(2))}


def _apart(x: Array, axis: Any) -> bool:
    """Whether the largest element over the axes is clearly the largest."""
    axes = tuple(range(x.ndim)) if axis is None else np.atleast_1d(axis).astype(int) % max(x.ndim, 1)
    rest = [a for a in range(x.ndim) if a not in axes]
    rows = np.sort(
        x.transpose([*rest, *(a for a in range(x.ndim) if a in axes)]).reshape([*(x.shape[a] for a in rest), -1]), -1
    )
    return rows.shape[-1] < 2 or bool((rows[..., -1] - rows[..., -2] > CLEAR).all())


def _max_axes(sign: float) -> Callable[..., dict[str, Any] | None]:
    def chosen(s: Sketch, x: Array) -> dict[str, Any] | None:
        settings = _axes(s, x)
        return settings if _apart(sign * x, settings["axis"]) else None

    return chosen


def _new_shape(s: Sketch, x: Array) -> dict[str, Any]:
    options = [(x.size,), (1, x.size), (-1,), (x.size, 1), x.shape[::-1], (*x.shape, 1)]
    options += [(n, -1) for n in (2, 3) if x.size % n == 0] + [(-1, 2, 1) for _ in range(1) if x.size % 2 == 0]
    return {"shape": s.choice(options)}


def _order(s: Sketch, x: Array) -> dict[str, Any]:
    return {"axes": tuple(int(a) for a in s.rng.permutation(x.ndim))}


def _stretch(s: Sketch, x: Array) -> dict[str, Any]:
    shape = tuple(int(s.rng.integers(1, 4)) if n == 1 else n for n in x.shape)
    return {"shape": (*(int(n) for n in s.rng.integers(1, 4, int(s.rng.integers(0, 2)))), *shape)}


def _slice(s: Sketch, n: int) -> slice:
    start = int(s.rng.integers(0, n))
    stop = int(s.rng.integers(start + 1, n + 1))
    return s.choice(
        [
            slice(start, stop),
            slice(None),
            slice(start, None),
            slice(None, None, -1),
            slice(-n, None, 2),
            slice(None, stop),
        ]
    )


def _basic_index(s: Sketch, x: Array) -> dict[str, Any] | None:
    entries: list[Any] = [int(s.rng.integers(-n, n)) if s.rng.random() < 0.3 else _slice(s, n) for n in x.shape]
    entries = entries[: int(s.rng.integers(0, x.ndim + 1))]
    if s.rng.random() < 0.3:
        entries.insert(int(s.rng.integers(len(entries) + 1)), None)
    if s.rng.random() < 0.3:
        entries.append(Ellipsis)
    return {"index": tuple(entries)} if entries else None


def _array_index(s: Sketch, x: Array) -> dict[str, Any] | None:
    """Integer arrays (with repeats and negative places) on some axes, slices or whole axes on the others."""
    if not x.ndim:
        return None
    shape = s.choice([(2,), (3,), (2, 2), (4,)])
    entries: list[Any] = []
    for n in x.shape:
        kind = s.rng.random()
        entries.append(
            s.rng.integers(-n, n, shape) if kind < 0.5 else slice(None) if kind < 0.8 else int(s.rng.integers(n))
        )
    if not any(isinstance(e, np.ndarray) for e in entries):
        entries[int(s.rng.integers(x.ndim))] = s.rng.integers(0, 1, shape)
    return {"index": tuple(entries)}


def _mask_index(s: Sketch, x: Array) -> dict[str, Any] | None:
    mask = s.rng.random(x.shape[: int(s.rng.integers(1, x.ndim + 1))] if x.ndim else ()) < 0.6
    return {"index": mask} if x.ndim and mask.any() else None


def _scatter(s: Sketch, x: Array) -> dict[str, Any] | None:
    if x.ndim != 1:
        return None
    rows = int(s.rng.integers(1, 4))
    return {"index": s.rng.integers(-rows, rows, x.shape), "shape": (rows,)}


def _put(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
    first = s.pick(lambda x: x.ndim > 0)
    if first is None:
        return None
    n = s.values[first].shape[0]
    index = s.choice([slice(0, 1), 0, -1, s.rng.permutation(n)[: int(s.rng.integers(1, n + 1))]])
    target = s.values[first][index]
    second = s.pick(lambda y: y.shape == target.shape or y.ndim == 0)
    return None if second is None else ((first, second), {"index": index})


def _several(s: Sketch) -> list[int] | None:
    first = s.pick(lambda x: x.ndim > 0)
    if first is None:
        return None
    like = s.values[first].shape
    rest = [s.pick(lambda y: y.shape == like) for _ in range(int(s.rng.integers(0, 3)))]
    return [first, *(i for i in rest if i is not None)]


def _joined(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
    chosen = _several(s)
    return None if chosen is None else (tuple(chosen), _axis(s, s.values[chosen[0]]) or {})


def _stacked(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
    chosen = _several(s)
    return None if chosen is None else (tuple(chosen), {"axis": int(s.rng.integers(0, s.values[chosen[0]].ndim + 1))})


def _product(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
    first = s.pick(lambda x: x.ndim > 0)
    if first is None:
        return None

    def fits(y: Array) -> bool:
        try:
            return y.ndim > 0 and _product_size(s.values[first].shape, y.shape) <= s.kind.elements
        except (ValueError, IndexError, ZeroDivisionError):
            return False

    second = s.pick(fits)
    return None if second is None else ((first, second), {})


def _product_size(x: tuple[int, ...], y: tuple[int, ...]) -> int:
    """The number of elements of a product of these shapes; a ValueError where there is none."""
    if x[-1] != (y[0] if len(y) == 1 else y[-2]):
        raise ValueError("no product")
    leading = np.broadcast_shapes(x[:-2], y[:-2]) if len(y) > 1 else x[:-2]
    return int(np.prod((*leading, *x[-2:-1], *(y[-1:] if len(y) > 1 else ()))))


def _linear(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
    first = s.pick(lambda x: x.ndim > 0)
    if first is None:
        return None
    *rows, wide = s.values[first].shape
    room = s.kind.elements // max(1, math.prod(rows))
    weight = s.pick(lambda w: w.ndim == 2 and w.shape[1] == wide and w.shape[0] <= room)
    if weight is None:
        return None
    bias = s.pick(lambda b: b.shape == s.values[weight].shape[:1]) if s.rng.random() < 0.7 else None
    return ((first, weight) if bias is None else (first, weight, bias)), {}


def _chosen(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
    """where(u < v, a, b) and its kin: four values that broadcast together."""
    u = s.pick()
    found = [u]
    shape = s.values[u].shape
    for _ in range(3):
        stand_in = np.broadcast_to(0.0, shape)
        other = s.partner(stand_in)
        if other is None:
            return None
        shape = np.broadcast_shapes(shape, s.values[other].shape)
        found.append(other)
    if not (np.abs(s.values[found[0]] - s.values[found[1]]) > CLEAR).all():
        return None
    return tuple(found), {"kind": s.choice(["less", "less_equal", "greater", "greater_equal", "not", "and", "or"])}


def _labelled(s: Sketch, x: Array) -> dict[str, Any] | None:
    if not x.ndim:
        return None
    labels = s.rng.integers(0, x.shape[-1], x.shape[:-1])
    return {"labels": labels, "smoothing": s.choice([0.0, 0.0, 0.1, 0.3])}


def _deviations(s: Sketch, x: Array) -> dict[str, Any] | None:
    """Axes over which no deviation is near 0, where it has a kink."""
    settings = _axes(s, x)
    with warnings.catch_warnings():
        # Of no elements at all there is none, which NumPy also says aloud.
        warnings.simplefilter("ignore", RuntimeWarning)
        return settings if (x.std(settings["axis"]) > 0.1).all() else None


def _standardized(s: Sketch, x: Array) -> dict[str, Any]:
    return {"axis": _axes(s, x)["axis"], "eps": s.choice([0.01, 0.3])}


def _batch_norm(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
    first = s.pick(lambda x: x.ndim > 0)
    if first is None:
        return None
    x = s.values[first]
    axes = tuple(a for a in range(x.ndim) if s.rng.random() < 0.6)
    return _with_scale(s, first, tuple(n for a, n in enumerate(x.shape) if a not in axes), {"axis": axes})


def _layer_norm(s: Sketch) -> tuple[tuple[int, ...], dict[str, Any]] | None:
    first = s.pick(lambda x: x.ndim > 0)
    return None if first is None else _with_scale(s, first, s.values[first].shape[-1:], {})


def _with_scale(
    s: Sketch, first: int, shape: tuple[int, ...], settings: dict[str, Any]
) -> tuple[tuple[int, ...], dict[str, Any]] | None:
    scale, shift = (s.pick(lambda y: y.shape == shape) for _ in range(2))
    if scale is None or shift is None:
        return None
    return (first, scale, shift), {**settings, "eps": s.choice([0.01, 0.3])}


# ---- what moves mean: ours, and in other words


def _condition(lib: Any, kind: str, u: Any, v: Any) -> Any:
    if kind == "not":
        return lib.logical_not(u < v)
    if kind == "and":
        return lib.logical_and(u < v, v > u)
    if kind == "or":
        return lib.logical_or(u < v, lib.not_equal(u, u))
    return getattr(lib, kind)(u, v)


def _moved(xp: Any, x: Array, source: Array, size: int, target: Array) -> Array:
    """Σ over source → target, as a product with a matrix of zeros and ones: what indexing means, without indexing."""
    matrix = np.zeros((size, int(np.prod(x.shape))))
    np.add.at(matrix, (target.ravel(), source.ravel()), 1.0)
    return matrix @ xp.reshape(x, (-1,))


def _places(shape: Any) -> Array:
    return np.arange(int(np.prod(shape))).reshape(shape)


def _reference_index(xp: Any, x: Array, index: Any) -> Array:
    source = np.asarray(_places(x.shape)[index])
    return xp.reshape(_moved(xp, x, source, source.size, _places(source.shape)), source.shape)


def _backwards(x: Array, axis: Any) -> Any:
    axes = range(x.ndim) if axis is None else np.atleast_1d(np.asarray(axis, int)) % max(x.ndim, 1)
    return tuple(slice(None, None, -1) if a in axes else slice(None) for a in range(x.ndim))


def _reference_scatter(xp: Any, x: Array, index: Any, shape: Any) -> Array:
    target = np.asarray(_places(shape)[index])
    return xp.reshape(_moved(xp, x, _places(x.shape), int(np.prod(shape)), target), shape)


def _reference_put(xp: Any, x: Array, value: Array, index: Any) -> Array:
    target = np.asarray(_places(x.shape)[index])
    taken = np.isin(_places(x.shape), target)
    return xp.where(taken, _reference_scatter(xp, xp.broadcast_to(value, target.shape), index, x.shape), x)


def _reference_stop(xp: Any, x: Array) -> Array:
    if xp is np:
        return x
    from jax import lax

    return lax.stop_gradient(x)


def _reference_softmax(xp: Any, x: Array, axis: int) -> Array:
    return xp.exp(x) / xp.sum(xp.exp(x), axis, keepdims=True)


def _reference_log_softmax(xp: Any, x: Array, axis: int) -> Array:
    return x - xp.log(xp.sum(xp.exp(x), axis, keepdims=True))


def _reference_cross_entropy(xp: Any, x: Array, labels: Array, smoothing: float) -> Array:
    classes = x.shape[-1]
    target = (labels[..., None] == np.arange(classes)) * (1.0 - smoothing) + smoothing / classes
    return -xp.sum(target * _reference_log_softmax(xp, x, -1), -1)


def _reference_best(xp: Any, x: Array) -> Array:
    return xp.sum(xp.where(np.arange(x.shape[0]) == xp.argmax(x), x, 0.0))


def _reference_softplus(xp: Any, x: Array) -> Array:
    return xp.log1p(xp.exp(x))


def _reference_erf(xp: Any, x: Array) -> Array:
    if xp is np:
        from scipy.special import erf
    else:
        from jax.scipy.special import erf
    return erf(x)


def _reference_elu(xp: Any, x: Array, alpha: float) -> Array:
    return xp.where(x > 0, x, alpha * (xp.exp(x) - 1.0))


def _reference_standardize(xp: Any, x: Array, axis: Any, eps: float) -> Array:
    mean = xp.sum(x, axis, keepdims=True) * (xp.sum(xp.ones(x.shape), axis, keepdims=True) ** -1.0)
    variance = xp.mean((x - mean) ** 2, axis, keepdims=True)
    return (x - mean) * (variance + eps) ** -0.5


def _reference_batch_norm(xp: Any, x: Array, w: Array, b: Array, axis: Any, eps: float) -> Array:
    kept = [1 if a in axis else n for a, n in enumerate(x.shape)]
    return xp.reshape(w, kept) * _reference_standardize(xp, x, axis, eps) + xp.reshape(b, kept)


def _clear(x: Array) -> Any:
    return np.abs(x) > CLEAR


def _positive(x: Array) -> Any:
    return x > 0.2


def _unary(
    name: str, reference: Callable[..., Any] | None = None, fits: Callable[[Array], Any] = lambda x: True
) -> Move:
    return Move(_one(fits), getattr(cr, name), reference or (lambda xp, x: getattr(xp, name)(x)))


def _binary(name: str, fits: Callable[[Array, Array], Any] = lambda x, y: True) -> Move:
    return Move(_two(fits), getattr(cr, name), lambda xp, x, y: getattr(xp, name)(x, y))


def zero_stays(name: str, x: Any, y: Any) -> Any:
    return apply(name, *stretched(name, common(x, y)))


def _factor(s: Sketch, x: Array) -> dict[str, Any]:
    return {"factor": s.choice([-1.5, 0.5, 2, -1, 0.25, 1.0]), "left": bool(s.rng.integers(2))}


TWO_ROWS = (Piece((0, WHOLE), 0), Piece((-2, WHOLE), 0))
MOVES: dict[str, Move] = {
    **{name: _unary(name) for name in ("negative", "exp", "expm1", "square", "sin", "cos", "tanh")},
    "log": _unary("log", fits=_positive),
    "log1p": _unary("log1p", fits=lambda x: x > -0.7),
    "sqrt": _unary("sqrt", fits=_positive),
    "absolute": _unary("absolute", fits=_clear),
    "identity": _unary("identity", lambda xp, x: x),
    "stop_gradient": Move(_one(), lambda x: x * cr.stop_gradient(x), lambda xp, x: x * _reference_stop(xp, x)),
    "sign": Move(_one(_clear), lambda x: x + cr.sign(x), lambda xp, x: x + xp.sign(x)),
    "floor": Move(
        _one(lambda x: np.abs(x - np.round(x)) > CLEAR), lambda x: x - cr.floor(x), lambda xp, x: x - xp.floor(x)
    ),
    "sigmoid": _unary("sigmoid", lambda xp, x: 1.0 / (1.0 + xp.exp(-x))),
    "softplus": _unary("softplus", _reference_softplus),
    "relu": _unary("relu", lambda xp, x: xp.where(x > 0, x, 0.0), _clear),
    "silu": _unary("silu", lambda xp, x: x / (1.0 + xp.exp(-x))),
    "erf": _unary("erf", _reference_erf),
    "leaky_relu": Move(
        _one(_clear, lambda s, x: {"negative_slope": s.choice([0.01, 0.3, 0.0])}),
        cr.leaky_relu,
        lambda xp, x, negative_slope: xp.where(x > 0, x, negative_slope * x),
    ),
    "elu": Move(_one(_clear, lambda s, x: {"alpha": s.choice([1.0, 0.5])}), cr.elu, _reference_elu),
    "selu": _unary("selu", lambda xp, x: 1.0507009873554805 * _reference_elu(xp, x, 1.6732632423543772), _clear),
    "gelu": _unary("gelu", lambda xp, x: x * (1.0 + _reference_erf(xp, x / 2.0**0.5)) / 2.0),
    "add": _binary("add"),
    "subtract": _binary("subtract"),
    "multiply": _binary("multiply"),
    "divide": _binary("divide", lambda x, y: np.abs(y) > 0.3),
    "adjoint_product": Move(_two(), lambda x, y: zero_stays("adjoint_product", x, y), lambda xp, x, y: x * y),
    "adjoint_quotient": Move(
        _two(lambda x, y: np.abs(y) > 0.3), lambda x, y: zero_stays("adjoint_quotient", x, y), lambda xp, x, y: x / y
    ),
    "power": Move(_two(lambda x, y: (x > 0.2).all()), lambda x, y: x**y, lambda xp, x, y: xp.exp(y * xp.log(x))),
    "cube": Move(_one(), lambda x: x**3, lambda xp, x: x * x * x),
    "base": Move(_one(), lambda x: 2.0**x, lambda xp, x: xp.exp(x * float(np.log(2.0)))),
    "maximum": _binary("maximum", lambda x, y: np.abs(x - y) > CLEAR),
    "minimum": _binary("minimum", lambda x, y: np.abs(x - y) > CLEAR),
    "clip": Move(
        _one(lambda x: np.abs(np.abs(x) - 1.0) > CLEAR),
        lambda x: cr.clip(x, -1.0, 1.0),
        lambda xp, x: xp.clip(x, -1.0, 1.0),
    ),
    "where": Move(
        _chosen,
        lambda u, v, a, b, kind: cr.where(_condition(cr, kind, u, v), a, b),
        lambda xp, u, v, a, b, kind: xp.where(_condition(xp, kind, u, v), a, b),
    ),
    "scale": Move(
        _one(settings=_factor),
        lambda x, factor, left: factor * x if left else x * factor,
        lambda xp, x, factor, left: x * float(factor),
    ),
    "shift": Move(
        _one(settings=_factor),
        lambda x, factor, left: factor - x if left else x + factor,
        lambda xp, x, factor, left: float(factor) - x if left else x + float(factor),
    ),
    "reshape": Move(_one(settings=_new_shape), cr.reshape, lambda xp, x, shape: xp.reshape(x, shape)),
    "transpose": Move(_one(settings=_order), cr.transpose, lambda xp, x, axes: xp.transpose(x, axes)),
    "swapaxes": Move(
        _one(lambda x: x.ndim > 1), lambda x: cr.swapaxes(x, -1, 0), lambda xp, x: xp.moveaxis(x, [-1, 0], [0, -1])
    ),
    "expand_dims": Move(_one(lambda x: x.ndim < 6, _axis), cr.expand_dims, lambda xp, x, axis: xp.expand_dims(x, axis)),
    "squeeze": Move(_one(lambda x: 1 in x.shape), cr.squeeze, lambda xp, x: xp.squeeze(x)),
    "broadcast_to": Move(
        _one(lambda x: x.ndim < 6, _stretch), cr.broadcast_to, lambda xp, x, shape: xp.broadcast_to(x, shape)
    ),
    "flip": Move(
        _one(settings=lambda s, x: {"axis": _axes(s, x)["axis"]}),
        cr.flip,
        lambda xp, x, axis: _reference_index(xp, x, _backwards(x, axis)),
    ),
    "concatenate": Move(
        _joined, lambda *xs, axis: cr.concatenate(xs, axis), lambda xp, *xs, axis: xp.concatenate(xs, axis)
    ),
    "stack": Move(
        _stacked,
        lambda *xs, axis: cr.stack(xs, axis),
        lambda xp, *xs, axis: xp.concatenate([xp.expand_dims(x, axis) for x in xs], axis),
    ),
    "slices": Move(_one(settings=_basic_index), lambda x, index: x[index], _reference_index),
    "index arrays": Move(_one(settings=_array_index), lambda x, index: x[index], _reference_index),
    "mask": Move(_one(settings=_mask_index), lambda x, index: x[index], _reference_index),
    "take": Move(
        _one(
            lambda x: x.ndim > 0, lambda s, x: {"indices": s.rng.integers(0, x.shape[-1], s.choice([(2,), (2, 2), ()]))}
        ),
        lambda x, indices: cr.take(x, indices, -1),
        lambda xp, x, indices: _reference_index(xp, x, (..., indices)),
    ),
    "best row": Move(_one(lambda x: x.ndim == 1 and _apart(x, 0)), lambda x: x[cr.argmax(x, 0)], _reference_best),
    "put_add": Move(_one(settings=_scatter), put_add, _reference_scatter),
    "put_pieces": Move(
        _one(lambda x: x.ndim == 1),
        lambda x: apply("put_pieces", x, x * 2.0, pieces=TWO_ROWS, shape=(3, *x.shape)),
        lambda xp, x: xp.concatenate([xp.expand_dims(row, 0) for row in (x, 2.0 * x, 0.0 * x)], 0),
    ),
    "put": Move(_put, lambda x, v, index: cr.put(x, index, v), _reference_put),
    "sum": Move(_one(settings=_axes), cr.sum, lambda xp, x, axis, keepdims: xp.sum(x, axis, keepdims=keepdims)),
    "mean": Move(_one(settings=_axes), cr.mean, lambda xp, x, axis, keepdims: xp.mean(x, axis, keepdims=keepdims)),
    "var": Move(_one(settings=_axes), cr.var, lambda xp, x, axis, keepdims: xp.var(x, axis, keepdims=keepdims)),
    "std": Move(
        _one(settings=_deviations), cr.std, lambda xp, x, axis, keepdims: xp.var(x, axis, keepdims=keepdims) ** 0.5
    ),
    "max": Move(
        _one(settings=_max_axes(1.0)), cr.max, lambda xp, x, axis, keepdims: xp.max(x, axis, keepdims=keepdims)
    ),
    "min": Move(
        _one(settings=_max_axes(-1.0)), cr.min, lambda xp, x, axis, keepdims: xp.min(x, axis, keepdims=keepdims)
    ),
    "cumsum": Move(_one(settings=_axis), cr.cumsum, lambda xp, x, axis: xp.cumsum(x, axis)),
    "matmul": Move(_product, cr.matmul, lambda xp, x, y: x @ y),
    "linear": Move(_linear, cr.linear, lambda xp, x, w, b=0.0: x @ w.T + b),
    "softmax": Move(_one(settings=_axis), cr.softmax, _reference_softmax),
    "log_softmax": Move(_one(settings=_axis), cr.log_softmax, _reference_log_softmax),
    "cross_entropy": Move(
        _one(settings=_labelled),
        lambda x, labels, smoothing: cr.cross_entropy(x, labels, label_smoothing=smoothing),
        _reference_cross_entropy,
    ),
    "binary_cross_entropy": Move(
        _two(lambda p, t: (p > 0.05).all() and (p < 0.95).all()),
        cr.binary_cross_entropy,
        lambda xp, p, t: -t * xp.log(p) - (1.0 - t) * xp.log(1.0 - p),
    ),
    "binary_cross_entropy_with_logits": Move(
        _two(), cr.binary_cross_entropy_with_logits, lambda xp, x, t: _reference_softplus(xp, x) - t * x
    ),
    "squared_error": Move(_two(), cr.squared_error, lambda xp, x, t: (x - t) ** 2),
    "absolute_error": Move(
        _two(lambda x, t: np.abs(x - t) > CLEAR), cr.absolute_error, lambda xp, x, t: xp.where(x > t, x - t, t - x)
    ),
    "huber": Move(
        _two(lambda x, t: np.abs(np.abs(x - t) - 0.7) > CLEAR),
        lambda x, t: cr.huber(x, t, 0.7),
        lambda xp, x, t: xp.where(xp.abs(x - t) < 0.7, (x - t) ** 2 / 2.0, 0.7 * (xp.abs(x - t) - 0.35)),
    ),
    "standardize": Move(_one(settings=_standardized), cr.standardize, _reference_standardize),
    "batch_norm": Move(_batch_norm, cr.batch_norm, _reference_batch_norm),
    "layer_norm": Move(
        _layer_norm, cr.layer_norm, lambda xp, x, w, b, eps: w * _reference_standardize(xp, x, -1, eps) + b
    ),
}
