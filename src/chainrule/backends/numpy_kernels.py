"""Kernels that NumPy computes differently from the table that both backends share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.backends.erf import erf
from chainrule.backends.kernels import HALF, KERNELS, Kernel, gelu
from chainrule.errors import OutOfRangeError
from chainrule.graph.ops import PRODUCTS, fill, row_of, split_pieces


def _put_add(attrs: dict[str, Any]) -> Kernel:
    def kernel(x: Any, *arrays: Any) -> Any:
        y = np.zeros(attrs["shape"], x.dtype)
        if arrays:
            np.add.at(y, fill(attrs["index"], arrays), x)
        else:
            y[fill(attrs["index"], ())] = x
        return y

    return kernel


def _getitem(attrs: dict[str, Any]) -> Kernel:
    index = attrs["index"]
    row = row_of(index)
    return (lambda x: x[row]) if row is not None else lambda x, *arrays: x[fill(index, arrays)]


def _put_pieces(attrs: dict[str, Any]) -> Kernel:
    pieces, shape = attrs["pieces"], attrs["shape"]
    rows = [row for row in (row_of(piece.index) for piece in pieces) if row is not None]
    once = len({row % shape[0] for row in rows}) == len(pieces)

    def kernel(*operands: Any) -> Any:
        y = np.zeros(shape, operands[0].dtype)
        if once:
            # Rows of which each was read once: together, in a third of the time.
            y[rows] = np.array(operands)
            # As a sum from zero has it, −0 becomes 0.
            y += 0
            return y
        for piece, (x, arrays) in zip(pieces, split_pieces(operands, pieces), strict=True):
            if arrays:
                np.add.at(y, fill(piece.index, arrays), x)
            else:
                y[fill(piece.index, ())] += x
        return y

    return kernel


_BITS = {"f": np.int32, "d": np.int64}
SELECTED = 1024
"""Elements from which a choice between numbers is made by their bits."""
MIXED = 2**17
"""Elements up to which that holds where neither number is 0: it takes another array meanwhile."""


def select(condition: Any, x: Any, y: Any) -> Any:
    """As `np.where` has it, to the bit; for arrays of one shape, or numbers, in a quarter of the time or less.

    That branches for each element, and no processor foresees where activations are positive.
    """
    bits, shape = _BITS.get(x.dtype.char), condition.shape
    alike = x.dtype == y.dtype and x.shape in ((), shape) and y.shape in ((), shape)
    if bits is None or not alike or condition.size < SELECTED:
        return np.where(condition, x, y)
    if _is_zero(x):
        mask = condition.astype(bits)
        mask -= 1
        mask &= y.view(bits)
    elif _is_zero(y):
        mask = condition.astype(bits)
        np.negative(mask, out=mask)
        mask &= x.view(bits)
    elif condition.size > MIXED:
        return np.where(condition, x, y)
    else:
        mask = condition.astype(bits)
        np.negative(mask, out=mask)
        mask &= x.view(bits) ^ y.view(bits)
        mask ^= y.view(bits)
    return mask.view(x.dtype)


def _is_zero(x: Any) -> bool:
    """Whether all elements are one +0 in memory."""
    return not any(x.strides) and x.size > 0 and not x.view(_BITS[x.dtype.char]).flat[0]


def _where(attrs: dict[str, Any]) -> Kernel:
    return select


def _sigmoid(attrs: dict[str, Any]) -> Kernel:
    general = KERNELS["sigmoid"](np, attrs)

    def kernel(x: Any) -> Any:
        if x.size < SELECTED:
            return general(x)
        above, below = _halves(x)
        return np.divide(above, below, out=below)

    return kernel


def _halves(x: Any) -> tuple[Any, Any]:
    """Numerator and denominator of σ, e^min(x, 0) and 1 + e^(−|x|), the same numbers as in the shared table."""
    below = np.absolute(x)
    np.negative(below, out=below)
    np.exp(below, out=below)
    above = np.maximum(below, x >= 0)
    below += 1
    return above, below


def _silu(attrs: dict[str, Any]) -> Kernel:
    general = KERNELS["silu"](np, attrs)

    def kernel(x: Any) -> Any:
        # Only far below 0 has x·e^x digits where e^x has none.
        if x.size < SELECTED or not x.min() >= -64:
            return general(x)
        above, below = _halves(x)
        np.multiply(x, above, out=above)
        return np.divide(above, below, out=above)

    return kernel


def _leaky_relu(attrs: dict[str, Any]) -> Kernel:
    slope = attrs["negative_slope"]
    return lambda x: select(x < 0, x * slope, x)


def _elu(attrs: dict[str, Any]) -> Kernel:
    alpha = attrs["alpha"]
    return lambda x: select(x < 0, alpha * np.expm1(np.minimum(x, 0)), x)


def _reduction(reduce: Callable[..., Any]) -> Callable[[dict[str, Any]], Kernel]:
    # The ufunc's own reduction spares NumPy's wrapper, a third of the time on a small array.
    return lambda a: lambda x: reduce(x, axis=a["axes"], keepdims=a["keepdims"])


_ADD: Any = np.add
BLOCK = 1024
"""Rows that are added one to the next before their sums are, where NumPy does not add in pairs."""


def _sum(attrs: dict[str, Any]) -> Kernel:
    axes, keepdims = attrs["axes"], attrs["keepdims"]

    def kernel(x: Any) -> Any:
        if x.dtype.char == "e":
            return _ADD.reduce(x, axis=axes, keepdims=keepdims, dtype=np.float32).astype(HALF)
        if x.size > BLOCK and x.dtype.kind == "f" and not _added_in_pairs(x, axes):
            return _in_blocks(x, axes, keepdims)
        return _ADD.reduce(x, axis=axes, keepdims=keepdims)

    return kernel


def _added_in_pairs(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether NumPy adds in pairs, so that the error grows with the logarithm of the number of terms: along memory."""
    short = all(x.shape[axis] <= BLOCK for axis in axes)
    return short or (x.flags.c_contiguous and axes == tuple(range(x.ndim - len(axes), x.ndim)))


def _in_blocks(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The sum with the longest axis cut into blocks: the error grows with √n of the n terms at most, not with n."""
    axis = max(axes, key=lambda axis: x.shape[axis])
    size = max(BLOCK, math.isqrt(x.shape[axis]))
    blocks = x.shape[axis] // size
    before = (slice(None),) * axis
    whole = x[(*before, slice(blocks * size))].reshape(*x.shape[:axis], blocks, size, *x.shape[axis + 1 :])
    sums = [
        _ADD.reduce(whole, axis=axis + 1),
        _ADD.reduce(x[(*before, slice(blocks * size, None))], axis, keepdims=True),
    ]
    return _ADD.reduce(np.concatenate(sums, axis), axis=axes, keepdims=keepdims)


def rounded(x: Any, dropped: int) -> Any:
    """Float32 numbers rounded to the nearest that have so many fewer bits, ties to the even one."""
    bits = x.view(np.uint32)
    up = bits + (np.uint32(2 ** (dropped - 1) - 1) + ((bits >> np.uint32(dropped)) & np.uint32(1)))
    # Beyond the largest number this gives infinity, as it should; a NaN must not become one.
    return np.where(np.isnan(x), x, (up & np.uint32(2**32 - 2**dropped)).view(np.float32))


def _matmul(attrs: dict[str, Any]) -> Kernel:
    dropped = PRODUCTS.get(attrs.get("precision", ""))
    return np.matmul if dropped is None else lambda x, y: rounded(x, dropped) @ rounded(y, dropped)


def _linear(attrs: dict[str, Any]) -> Kernel:
    product = _matmul(attrs)

    def kernel(x: Any, weight: Any, bias: Any = None) -> Any:
        y = product(x, weight.T)
        if bias is not None:
            y += bias
        return y

    return kernel


def _broadcast_to(attrs: dict[str, Any]) -> Kernel:
    shape = attrs["shape"]
    still = (0,) * len(shape)

    def kernel(x: Any) -> Any:
        if x.ndim:
            return np.broadcast_to(x, shape)
        # A single number, such as the gradient of a sum, in a quarter of the time.
        y: Any = np.ndarray(shape, x.dtype, np.asarray(x), strides=still)
        y.flags.writeable = False
        return y

    return kernel


def _zero_stays(function: Callable[[Any, Any], Any]) -> Callable[[dict[str, Any]], Kernel]:
    def kernel(x: Any, y: Any) -> Any:
        z = function(x, y)
        bad = np.isnan(z)
        return np.where(bad & (x == 0), 0, z) if bad.any() else z

    return lambda attrs: kernel


def _within(attrs: dict[str, Any]) -> Kernel:
    low, high, besides = attrs["low"], attrs["high"], attrs["besides"]

    def kernel(x: Any) -> Any:
        if x.size and (x.min() < low or (high is not None and x.max() >= high)):
            bad = (x < low) if high is None else (x < low) | (x >= high)
            places = np.argwhere(bad if besides is None else bad & (x != besides))
            if len(places):
                raise _out_of_range(x, places[0], low, high, attrs["what"])
        return x

    return kernel


def _out_of_range(x: Any, place: Any, low: int, high: int | None, what: str) -> OutOfRangeError:
    word = "row" if what.endswith("label") else "position"
    return OutOfRangeError(
        "outside its range",
        where=what,
        expected=f"{low} or more" if high is None else f"{low}…{high - 1}",
        got=f"{x[tuple(place)]}" + (f" in {word} {', '.join(map(str, place))}" if len(place) else ""),
    )


OWN: dict[str, Callable[[dict[str, Any]], Kernel]] = {
    "where": _where,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "getitem": _getitem,
    "put_add": _put_add,
    "put_pieces": _put_pieces,
    "adjoint_product": _zero_stays(np.multiply),
    "adjoint_quotient": _zero_stays(np.divide),
    "erf": lambda a: erf,
    "gelu": lambda a: gelu(erf),
    "broadcast_to": _broadcast_to,
    "sum": _sum,
    "max": _reduction(np.maximum.reduce),
    "min": _reduction(np.minimum.reduce),
    "within": _within,
    "linear": _linear,
    "matmul": _matmul,
    "reshape": lambda a: lambda x: x.reshape(a["shape"]),
    "transpose": lambda a: lambda x: x.transpose(a["axes"]),
}
