"""The closed set of operations: for each its shape rule, its formula and its kind.

This is what an operation *is*. How it is computed is in `backends/kernels.py`, how it is differentiated in
`autodiff/rules.py`; how it is batched, whether it keeps rows apart, how far it may round and what it costs follow from
its kind, and a table has a row for it only where the kind does not say. Rows of elementwise operations are in
`elementwise_ops.py`, those of fused ones in `fused_ops.py`. Operands arrive already cast to one dtype and broadcast to
one shape where an operation is elementwise, because `graph.functions` says both as nodes (`cast`, `broadcast_to`): so
no derivative rule needs to undo a hidden broadcast.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

import numpy as np

from chainrule.errors import ShapeError

Shape = tuple[int, ...]
OperandType = tuple[Shape, np.dtype[Any]]


class Typed(Protocol):
    """What a shape rule may ask of an operand."""

    shape: Shape
    dtype: np.dtype[Any]


class Kind(Enum):
    """Which elements of the operands an element of the result is made of."""

    ELEMENTWISE = "the elements in the same place; operands and result have one shape"
    OVER_AXES = "those along the axes that the setting `axis` or `axes` names; along all others in the same place"
    OTHER = "others: every table has its own row for such an operation"


class Rounding(Enum):
    """How far two correct computations of an operation may differ, its operands being the same."""

    EXACT = "not at all: it moves, chooses, counts or compares"
    ROUNDED = "by a rounding of each sum or product"
    APPROXIMATE = "by a few roundings: it is a function that libraries approximate"


ELEMENTWISE, OVER_AXES, OTHER = Kind


@dataclass(frozen=True)
class Op:
    """One row of the table of operations.

    Attributes:
        name: what nodes call it.
        formula: what it computes.
        infer: (operands, settings) → shape and dtype of the result.
        kind: which elements of the operands an element of the result is made of.
        rounding: how far two correct computations may differ.
        fused: whether it says at once what several elementary operations could say.
    """

    name: str
    formula: str
    infer: Callable[..., OperandType]
    kind: Kind
    rounding: Rounding
    fused: bool

    @property
    def elementwise(self) -> bool:
        """Whether result and operands have one shape, element for element."""
        return self.kind is ELEMENTWISE


OPS: dict[str, Op] = {}


def define(
    name: str,
    formula: str,
    infer: Callable[..., OperandType],
    kind: Kind,
    rounding: Rounding = Rounding.ROUNDED,
    *,
    fused: bool = False,
) -> None:
    """Enter a row of the table."""
    OPS[name] = Op(name, formula, infer, kind, rounding, fused)


def named_axes(attrs: dict[str, Any]) -> tuple[int, ...]:
    """The axes that the settings of an operation over axes name."""
    axes = attrs["axes"] if "axes" in attrs else (attrs["axis"],)
    return tuple(axes)


@functools.cache
def float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that NumPy gives a real function of `dtype`: floats keep theirs, int64 becomes float64."""
    return np.exp(np.empty(0, dtype)).dtype


@functools.cache
def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of NumPy's sum: small integers and booleans are summed in the platform's integer."""
    return np.empty(0, dtype).sum().dtype


BOOL = np.dtype(bool)
INDEX = np.dtype(np.int64)


def same(x: Typed, **_: Any) -> OperandType:
    """The shape and dtype of the operand."""
    return x.shape, x.dtype


define("depends_on", "y = x, once t is known", lambda x, t: (x.shape, x.dtype), OTHER, Rounding.EXACT)
define(
    "in_range",
    "y = 0, NaN where one of x lies outside its range",
    lambda *_, dtype: ((), np.dtype(dtype)),
    OTHER,
    Rounding.EXACT,
)


# ---- shape


def _broadcast_to(x: Typed, shape: Shape) -> OperandType:
    if not x.shape:
        return shape, x.dtype
    new = len(shape) - len(x.shape)
    kept = shape[max(new, 0) :]
    if new < 0 or (kept != x.shape and any(n not in (1, want) for n, want in zip(x.shape, kept, strict=True))):
        raise ShapeError(
            "cannot broadcast", where="broadcast_to", expected=f"a shape that stretches to {shape}", got=x.shape
        )
    return shape, x.dtype


def _reshape(x: Typed, shape: Shape) -> OperandType:
    if math.prod(x.shape) != math.prod(shape):
        raise ShapeError(
            "the number of elements changes",
            where="reshape",
            expected=f"{math.prod(x.shape)} elements (from {x.shape})",
            got=f"{math.prod(shape)} (for {shape})",
        )
    return shape, x.dtype


def _concatenate(*xs: Typed, axis: int) -> OperandType:
    first = xs[0].shape
    for x in xs:
        if len(x.shape) != len(first) or any(
            a != b for i, (a, b) in enumerate(zip(x.shape, first, strict=True)) if i != axis
        ):
            raise ShapeError(f"shapes differ outside axis {axis}", where="concatenate", expected=first, got=x.shape)
    return (*first[:axis], sum(x.shape[axis] for x in xs), *first[axis + 1 :]), xs[0].dtype


define("broadcast_to", "y = x stretched to shape", _broadcast_to, OTHER, Rounding.EXACT)
define("reshape", "y = x in another shape", _reshape, OTHER, Rounding.EXACT)
define(
    "transpose",
    "y = x with its axes permuted",
    lambda x, axes: (tuple(x.shape[a] for a in axes), x.dtype),
    OTHER,
    Rounding.EXACT,
)
define("flip", "y = x with axes reversed", lambda x, axes: (x.shape, x.dtype), OVER_AXES, Rounding.EXACT)
define("concatenate", "y = [x₁, …, xₙ] along an axis", _concatenate, OVER_AXES, Rounding.EXACT)


# ---- indexing: `index` holds ints, slices, None and Slot(i), the place of the i-th integer array among the operands


@dataclass(frozen=True)
class Slot:
    """The place in an index where the i-th index array goes."""

    position: int


Index = tuple[Any, ...]
WHOLE = ("slice", None, None, None)


def fill(index: Index, arrays: tuple[Any, ...] | list[Any]) -> Index:
    """The index with its slots replaced by arrays."""
    return tuple(
        [
            slice(*entry[1:]) if type(entry) is tuple else arrays[entry.position] if type(entry) is Slot else entry
            for entry in index
        ]
    )


def freeze(index: Index) -> Index:
    """The index with its slices as tuples, so that it can be hashed and compared."""
    return tuple(("slice", e.start, e.stop, e.step) if isinstance(e, slice) else e for e in index)


def row_of(index: Index) -> int | None:
    """The number of the row where the index means one whole row, as loops read many of; else None."""
    return index[0] if index and type(index[0]) is int and index.count(WHOLE) == len(index) - 1 else None


def _getitem(x: Typed, *arrays: Typed, index: Index) -> OperandType:
    row = row_of(index)
    if row is not None and len(index) == len(x.shape):
        if not -x.shape[0] <= row < x.shape[0]:
            expected = f"{-x.shape[0]}…{x.shape[0] - 1}"
            raise ShapeError("no such row", where="indexing", expected=expected, got=row)
        return x.shape[1:], x.dtype
    # A zero-stride stand-in has the shape without the memory; NumPy itself then says the result's shape.
    stand_in = np.broadcast_to(np.empty((), BOOL), x.shape)
    places = [np.zeros(array.shape, INDEX) for array in arrays]
    try:
        return stand_in[fill(index, places)].shape, x.dtype
    except IndexError as error:
        raise ShapeError(
            "the index does not fit", where="indexing", expected=f"an index into {x.shape}", got=str(error)
        ) from None


define("getitem", "y = x[index]", _getitem, OTHER, Rounding.EXACT)
define("put_add", "y = 0; y[index] += x", lambda x, *arrays, index, shape: (shape, x.dtype), OTHER)


@dataclass(frozen=True)
class Piece:
    """Where one of several tensors is added to zeros, and how many of the index arrays are its own."""

    index: Index
    arrays: int


def split_pieces(operands: Sequence[Any], pieces: Sequence[Piece]) -> list[tuple[Any, list[Any]]]:
    """Each piece's tensor and index arrays among the operands: first all tensors, then all arrays."""
    rest = iter(operands[len(pieces) :])
    return [(x, [next(rest) for _ in range(piece.arrays)]) for x, piece in zip(operands, pieces, strict=False)]


define("put_pieces", "y = 0; y[indexᵢ] += xᵢ", lambda *xs, pieces, shape: (shape, xs[0].dtype), OTHER)


# ---- reductions


def _without(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple([n for i, n in enumerate(shape) if i not in axes]) if len(axes) < len(shape) else ()


def _sum(x: Typed, axes: tuple[int, ...], keepdims: bool) -> OperandType:
    return _without(x.shape, axes, keepdims), x.dtype if x.dtype.kind == "f" else sum_dtype(x.dtype)


def _extreme(x: Typed, axes: tuple[int, ...], keepdims: bool) -> OperandType:
    if any(x.shape[axis] == 0 for axis in axes):
        raise ShapeError(
            "an empty array has no largest or smallest element",
            where="max or min",
            expected="at least one element",
            got=x.shape,
        )
    return _without(x.shape, axes, keepdims), x.dtype


def _place(x: Typed, axis: int) -> OperandType:
    return _extreme(x, (axis,), False)[0], INDEX


define("sum", "y = Σ x over axes", _sum, OVER_AXES)
define("max", "y = max x over axes", _extreme, OVER_AXES, Rounding.EXACT)
define("min", "y = min x over axes", _extreme, OVER_AXES, Rounding.EXACT)
define("argmax", "y = index of the largest x", _place, OVER_AXES, Rounding.EXACT)
define("argmin", "y = index of the smallest x", _place, OVER_AXES, Rounding.EXACT)
define("argsort", "y = indices that sort x", lambda x, axis: (x.shape, INDEX), OVER_AXES, Rounding.EXACT)
define("cumsum", "yᵢ = x₁ + … + xᵢ", lambda x, axis: (x.shape, sum_dtype(x.dtype)), OVER_AXES)


# ---- products


PRODUCTS = {"bfloat16": 16, "tf32": 13}
"""The precisions, lower than that of float32, in which a product may be taken: how many of their last bits its operands
lose. The sums are float32's; without such a setting a product is exact to the dtype of its operands.
"""


def _matmul(x: Typed, y: Typed, precision: str | None = None) -> OperandType:
    if len(x.shape) < 2 or len(y.shape) < 2 or x.shape[-1] != y.shape[-2] or x.shape[:-2] != y.shape[:-2]:
        raise ShapeError(
            "the inner sizes do not fit",
            where="matmul",
            expected=f"(…, {x.shape[-1] if x.shape else '?'}, n)",
            got=y.shape,
        )
    return (*x.shape[:-1], y.shape[-1]), x.dtype


define("matmul", "Z = X·Y", _matmul, OTHER)


# ---- loops: a node with several results, and the nodes that take one of them


TUPLE = np.dtype(object)
"""The dtype of a node that holds several arrays."""


def parts(attrs: dict[str, Any]) -> tuple[OperandType, ...]:
    """What a `call` or a `scan` of these settings gives.

    A call the body's results. A scan the last carries; each step's results, stacked; the first `kept` carries as they
    were before each step, stacked. A loop the last carries; each step's results, stacked; whether it ran to its end.
    """
    given = [(y.shape, y.dtype) for y in attrs["body"].outputs]
    if "carries" not in attrs:
        return tuple(given)
    count, length = attrs["carries"], attrs["length"]
    end = [given.pop()] if "guarded" in attrs else []
    stacked = [((length, *shape), dtype) for shape, dtype in (*given[count:], *given[: attrs.get("kept", 0)])]
    return (*given[:count], *stacked, *end)


def _scan(
    *operands: Typed, body: Any, carries: int, kept: int, sequences: int, length: int, reverse: bool
) -> OperandType:
    return _repeated("scan", operands, body, range(carries, carries + sequences), length)


def _loop(*operands: Typed, body: Any, carries: int, sequences: int, length: int, guarded: bool) -> OperandType:
    *others, start, stop = operands
    for bound in (start, stop):
        if bound.shape or bound.dtype != np.int32:
            raise ShapeError("a bound must be an int32 scalar", where="loop", got=f"{bound.dtype}{list(bound.shape)}")
    return _repeated("loop", others, body, range(carries, carries + sequences), length)


def _repeated(op: str, operands: Sequence[Typed], body: Any, cut: range, length: int) -> OperandType:
    for position, (x, inner) in enumerate(zip(operands, body.inputs, strict=True)):
        lead = (length,) if position in cut else ()
        if (x.shape, x.dtype) != ((*lead, *inner.shape), inner.dtype):
            raise ShapeError("an operand does not fit the body", where=op, expected=inner.label(), got=x.shape)
    return (), TUPLE


def _call(*operands: Typed, body: Any, backend: str) -> OperandType:
    for x, inner in zip(operands, body.inputs, strict=True):
        if (x.shape, x.dtype) != (inner.shape, inner.dtype):
            raise ShapeError("an operand does not fit the body", where="call", expected=inner.label(), got=x.shape)
    return (), TUPLE


define("call", "y₁, …, yₙ = body(x₁, …), as a program", _call, OTHER)
define("scan", "cₜ₊₁, yₜ = body(cₜ, xₜ)", _scan, OTHER)
define("loop", "cₜ₊₁, yₜ, okₜ = body(cₜ, xₜ), start ≤ t < stop, while okₜ", _loop, OTHER)
define("get_item", "y = one of several results", lambda x, part: parts(x.attrs)[part], OTHER, Rounding.EXACT)


# ---- random numbers and leaves


def _random(key: Typed, shape: Shape, dtype: str, stream: int) -> OperandType:
    # Axes of the key before its two words are those of a batch, whose members each draw from a key of their own.
    return (*key.shape[:-1], *shape), np.dtype(dtype)


define("random_uniform", "u ~ U[0, 1) from key, stream", _random, OTHER, Rounding.EXACT)
define("random_normal", "z ~ N(0, 1) from key, stream", _random, OTHER, Rounding.APPROXIMATE)
define(
    "random_permutation",
    "π ~ U{permutations of 0 … n−1} from key, stream",
    lambda key, n, stream: ((*key.shape[:-1], n), INDEX),
    OTHER,
    Rounding.EXACT,
)


def _leaf(*_: Typed, **__: Any) -> OperandType:
    raise AssertionError("leaves are made by Tensor, not by apply")


define("input", "given when the graph is run", _leaf, OTHER)
define("constant", "known when the graph is made", _leaf, OTHER)
