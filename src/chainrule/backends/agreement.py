"""Whether a compiled program computed what the reference interpreter computes, as far as rounding lets one tell.

Two correct programs round differently, and where terms cancel, a unit lies at its kink or two classes tie, a last bit
decides much. So there are two looks. The first is quick: an array may be off by some roundings of its largest element,
growing with the root of the longest sum. What fails it gets a second look: the graph is interpreted several more times
with every node's rounding redrawn (Monte Carlo arithmetic: D. S. Parker, "Monte Carlo Arithmetic", 1997), and what
these runs differ by, a compiled program may differ by too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.backends import interpreter
from chainrule.backends.loop_program import Comparison
from chainrule.backends.nested import NESTED
from chainrule.backends.threads import suited
from chainrule.graph.graph import LEAVES, Graph
from chainrule.graph.ops import OPS, Rounding
from chainrule.graph.tensor import Tensor

Array = np.ndarray[Any, Any]
ROUNDINGS, BY_LENGTH = 32, 4
"""Roundings of the largest element, and more for the root of the longest sum's length, that pass at first sight."""
DRAWS = 8
"""How often the roundings are redrawn: a kink that lies within them is met on both sides in all but one of 256."""
TIMES = 8
"""How many times what the redrawn roundings changed in an element it may be off by."""
ALIKE = 4
"""How many times as many elements, or as far, as in the redrawn runs may be off in an array where kinks moved some."""
APPROXIMATE = 4
"""Roundings that a function which is approximated (exp, tanh, …) may be off by; sums and products have one."""


class Disagreement(NamedTuple):
    """Where a compiled program is not what the interpreter computes.

    Attributes:
        node: the output that is off.
        place: which element is off most.
        expected: what the interpreter makes of it.
        got: what the program gave.
        times: how many times as far apart they are as rounding explains.
        graph, values: what was computed, of what.
    """

    node: Tensor
    place: tuple[int, ...]
    expected: Any
    got: Any
    times: float
    graph: Graph
    values: Sequence[Any]

    def __str__(self) -> str:
        where = f" at {list(self.place)}" if self.place else ""
        return f"{self.node.label()}{where}: interpreted {self.expected:.9g}, compiled {self.got:.9g}"


PLAIN = Comparison()


def disagreement(
    graph: Graph, values: Sequence[Any], found: Sequence[Any], comparison: Comparison = PLAIN
) -> Disagreement | None:
    """The first output of a graph that a compiled program gave wrongly; None where all are right up to rounding.

    Args:
        graph: what the program was made of.
        values: the arrays that it took, as `graph.arrays` gives them.
        found: the arrays that it gave.
        comparison: how to compare them.

    Raises:
        OutOfRangeError: an index reaches outside its axis, which the interpreter refuses.
    """
    expected = interpreted(graph, values)
    doubtful = [output for output in _numbered(graph, values, found, expected, comparison) if output.fails()]
    if not doubtful:
        return None
    for seed in range(DRAWS):
        other = redrawn(graph, values, np.random.default_rng(seed))
        for output in doubtful:
            output.saw(np.asarray(other[output.position]))
        if not any(output.is_wrong() for output in doubtful):
            return None
    return next(output.told(graph, values) for output in doubtful if output.is_wrong())


def interpreted(graph: Graph, values: Sequence[Any]) -> list[Any]:
    """The outputs of a graph by the reference interpreter."""
    with suited([graph]):
        return interpreter.compile_graph(graph)(values)


class _Output:
    """One output: what it is, what it should be, and what the redrawn roundings make of it."""

    def __init__(self, node: Tensor, position: int, found: Array, expected: Array, allowed: Array) -> None:
        self.node, self.position = node, position
        self._found, self._expected, self._allowed = found, expected, allowed
        self._off = _distance(self._found, self._expected)
        self._spread = np.zeros_like(self._off)
        self._moved = 0

    def fails(self) -> bool:
        return bool((self._off > self._allowed).any())

    def saw(self, other: Array) -> None:
        spread = _distance(other, self._expected)
        self._moved = max(self._moved, int((spread > self._allowed).sum()))
        np.maximum(self._spread, spread, out=self._spread)

    def is_wrong(self) -> bool:
        wrong = self._off > np.maximum(self._allowed, TIMES * self._spread)
        if not wrong.any():
            return False
        # Which unit lies at its kink is chance; that as many do, and matter as much, is not.
        as_many = int((self._off > self._allowed).sum()) <= ALIKE * self._moved
        return not (as_many and self._off.max() <= ALIKE * self._spread.max())

    def told(self, graph: Graph, values: Sequence[Any]) -> Disagreement:
        with np.errstate(all="ignore"):
            times = np.nan_to_num(self._off / np.maximum(self._allowed, TIMES * self._spread), posinf=np.inf)
        place = np.unravel_index(int(np.argmax(times)), times.shape)
        return Disagreement(
            self.node,
            tuple(map(int, place)),
            self._expected[place].item(),
            self._found[place].item(),
            float(times[place]),
            graph,
            values,
        )


def _numbered(
    graph: Graph, values: Sequence[Any], found: Sequence[Any], expected: Sequence[Any], comparison: Comparison
) -> Iterator[_Output]:
    roundings = ROUNDINGS + BY_LENGTH * math.sqrt(longest(graph))
    for i, (node, y, right) in enumerate(zip(graph.outputs, found, expected, strict=True)):
        before = np.asarray(values[comparison.first + i]) if i < comparison.states else None
        apart = i in comparison.records
        if node.size and i not in comparison.left_out:
            yield _Output(node, i, np.asarray(y), right, _allowed(right, before, apart, roundings))


def _allowed(expected: Array, before: Array | None, apart: bool, roundings: float) -> Array:
    """How far off each element may be in the first, quick comparison."""
    if expected.dtype.kind != "f":
        return np.zeros(expected.shape)
    info = np.finfo(expected.dtype)
    size = np.abs(expected.astype(np.float64))
    scale = size if apart else _largest(size)
    if before is None or before.dtype != expected.dtype:
        return np.broadcast_to(roundings * info.eps * scale + 4 * info.tiny, expected.shape)
    with np.errstate(invalid="ignore"):
        change = _largest(np.abs(expected.astype(np.float64) - before))
    allowed: Array = roundings * info.eps * change + 2 * info.eps * size + 4 * info.tiny
    return np.where(np.isnan(allowed), np.inf, allowed)


def _largest(size: Array) -> Any:
    return size.max(initial=0, where=np.isfinite(size))


def _distance(x: Array, y: Array) -> Array:
    """|x − y| for each element: infinite where only one is finite or a number, 0 where both are the same infinity."""
    with np.errstate(all="ignore"):
        far = np.abs(x.astype(np.float64) - y.astype(np.float64))
    same = (x == y) | ((x != x) & (y != y))
    return np.where(same, 0.0, np.where(np.isnan(far), np.inf, far))


# ---- roundings


def longest(graph: Graph) -> float:
    """The number of terms in the longest sum of a graph."""
    return max((_terms(node) for node in graph.nodes if node.op not in LEAVES), default=1.0)


def _terms(node: Tensor) -> float:
    if "body" in node.attrs:
        # The steps of a loop are counted as if alone: what adds up over many of them is for the second look.
        return longest(node.attrs["body"]) * (node.attrs["length"] if node.op == "scan" else 1)
    if OPS[node.op].rounding is Rounding.EXACT or OPS[node.op].elementwise:
        return 1.0
    shape = node.inputs[0].shape
    if node.op in ("matmul", "linear"):
        return float(shape[-1])
    if node.op in ("sum", "put_add"):
        return max(1.0, node.inputs[0].size / max(1, node.size))
    axes = node.attrs.get("axes", node.attrs.get("axis", -1))
    return float(math.prod(shape[axis] for axis in ([axes] if isinstance(axes, int) else axes) if shape)) or 1.0


def redrawn(graph: Graph, values: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """The outputs of a graph, each node's value moved within its rounding at random."""
    held: dict[int, Any] = {x.id: v for x, v in zip((*graph.inputs, *graph.captured), values, strict=True)}
    last = {x.id: node.id for node in graph.nodes for x in node.inputs}
    kept = {y.id for y in graph.outputs}
    for node in graph.nodes:
        if node.op == "constant":
            held.setdefault(node.id, node.value)
        elif node.op != "input":
            held[node.id] = _drawn(node, [held[x.id] for x in node.inputs], rng)
        for x in {x.id for x in node.inputs}:
            if last[x] == node.id and x not in kept:
                del held[x]
    return [held[y.id] for y in graph.outputs]


def _drawn(node: Tensor, operands: list[Any], rng: np.random.Generator) -> Any:
    if OPS[node.op].rounding is Rounding.EXACT:
        return interpreter.evaluate(node.op, operands, node.attrs, node.dtype)
    if node.op in NESTED:
        body = node.attrs["body"]
        return NESTED[node.op](node.attrs, lambda values: redrawn(body, list(values), rng))(operands)
    root = math.sqrt(_terms(node))
    if not OPS[node.op].elementwise and node.op != "get_item":
        # Where the terms of a sum cancel, what it is off by follows from them and not from what is left.
        operands = [_moved(x, rng, 1 + root / 4) for x in operands]
    value = interpreter.evaluate(node.op, operands, node.attrs, node.dtype)
    roundings = (APPROXIMATE if OPS[node.op].rounding is Rounding.APPROXIMATE else 1) + (root / 2 if root > 1 else 0)
    return (
        tuple(_moved(x, rng, roundings) for x in value) if isinstance(value, tuple) else _moved(value, rng, roundings)
    )


def _moved(x: Any, rng: np.random.Generator, roundings: float) -> Any:
    if not hasattr(x, "dtype") or x.dtype.kind != "f":
        return x
    with np.errstate(all="ignore"):
        by = _noise(x.size, rng).reshape(x.shape) * x.dtype.type(roundings * np.finfo(x.dtype).eps)
        return np.asarray(x + x * by, dtype=x.dtype)


def _noise(size: int, rng: np.random.Generator) -> Array:
    """Numbers in [−1, 1], out of a supply: to draw them all anew would cost more than what they are added to."""
    supply = _supply()
    if 2 * size > supply.size:
        return np.resize(np.roll(supply, int(rng.integers(supply.size))), size)
    start = int(rng.integers(supply.size - size))
    return supply[start : start + size]


@functools.cache
def _supply() -> Array:
    return np.random.default_rng(0).uniform(-1, 1, 2**18).astype(np.float32)
