"""The error function, which NumPy lacks."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_END = 6.0
"""From here on erf is 1 in float64."""
_PER_UNIT = 256
"""Nodes of the table between two integers."""
_TERMS, _NARROW_TERMS = 5, 4
"""Of the Taylor series at a node after its value, in float64 and in what is narrower: half a node's distance away, the
next is below 1e-17 and 1e-14."""
_BLOCK = 4096
"""Elements computed at a time."""


def erf(x: Array) -> Array:
    """2/√π · ∫₀ˣ e^(−t²) dt, computed in float64 and given in the dtype of `x`, which is a floating-point one.

    It is the Taylor series at the nearest node of a table of values that Python's `math.erf` gives. In float64 it is
    off by at most 2 units in the last place, in float32 and float16 by at most 1.

    Example:
        >>> erf(np.array([0.0, 0.5, -2.0, np.inf]))
        array([ 0.        ,  0.52049988, -0.99532227,  1.        ])
    """
    y = np.empty(x.shape, x.dtype)
    flat, results = np.ravel(x), y.reshape(-1)
    # In blocks whose intermediate values stay in the nearest caches.
    for start in range(0, flat.size, _BLOCK):
        results[start : start + _BLOCK] = _block(flat[start : start + _BLOCK])
    return y


def _block(x: Array) -> Array:
    size = np.minimum(np.abs(x, dtype=np.float64), _END)
    node = np.rint(size * _PER_UNIT)
    with np.errstate(invalid="ignore"):
        # A NaN has no node; it takes any, and stays a NaN in the distance to it.
        index = node.astype(np.intp)
    node *= 1 / _PER_UNIT
    distance = np.subtract(size, node, out=size)
    series = _series()[: 1 + (_TERMS if x.dtype == np.float64 else _NARROW_TERMS)]
    # No index is outside but a NaN's, and clipping is faster than looking.
    y = series[-1].take(index, mode="clip")
    for coefficients in series[-2::-1]:
        y *= distance
        y += coefficients.take(index, mode="clip")
    return np.copysign(y, x, out=y)


@functools.cache
def _series() -> Array:
    """The Taylor coefficients at every node: (1 + `_TERMS`, nodes)."""
    from numpy.polynomial.hermite import hermval

    x = np.arange(int(_END * _PER_UNIT) + 1) / _PER_UNIT
    slope = 2 / math.sqrt(math.pi) * np.exp(-np.square(x))
    # The derivatives of the slope are (−1)ⁿ·Hₙ(x) times itself, Hₙ being the Hermite polynomials.
    rest = [(-1) ** n * slope * hermval(x, [0.0] * n + [1.0]) / math.factorial(n + 1) for n in range(_TERMS)]
    return np.stack([np.array([math.erf(v) for v in x.tolist()]), *rest])
