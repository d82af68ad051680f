"""JAX's derivatives of a recipe: the reference from outside.

JAX traces and differentiates the reference program. Compiling each of thousands of small programs would take most of
the time, so the derivative that JAX wrote down (a jaxpr) is then computed with NumPy, one primitive at a time; that
this equals JAX's own computing is itself tested.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal
from scipy.special import erf

from recipes import Array, Recipe


def derivatives(recipe: Recipe, order: int = 2) -> Callable[..., Any]:
    """A function of JAX arrays that gives (gradient, gradient of the contracted gradient), or the first alone."""
    every = tuple(range(len(recipe.inputs)))
    first = jax.grad(functools.partial(recipe.reference_cost, jnp), every)

    def slope(*xs: Any) -> Any:
        gradient = first(*xs)
        return sum(jnp.sum(d * g) for d, g in zip(recipe.directions, gradient, strict=True)), gradient

    if order == 1:
        return lambda *xs: (first(*xs),)
    second = jax.grad(slope, every, has_aux=True)
    return lambda *xs: second(*xs)[::-1]


def reference(recipe: Recipe, order: int = 2) -> list[list[Array]]:
    """For each order, the derivative by each input: written by JAX, computed by NumPy."""
    with jax.enable_x64(True):
        written = jax.make_jaxpr(derivatives(recipe, order))(*recipe.inputs)
    with np.errstate(all="ignore"):
        flat = evaluate(written.jaxpr, written.consts, recipe.inputs)
    return _by_order(flat, len(recipe.inputs))


def compiled_reference(recipe: Recipe, order: int = 2) -> list[list[Array]]:
    """The same, written and computed by JAX."""
    with jax.enable_x64(True):
        flat = jax.tree.leaves(jax.jit(derivatives(recipe, order))(*recipe.inputs))
    return _by_order([np.asarray(y) for y in flat], len(recipe.inputs))


def _by_order(flat: list[Array], inputs: int) -> list[list[Array]]:
    return [flat[i : i + inputs] for i in range(0, len(flat), inputs)]


def evaluate(jaxpr: Any, constants: Sequence[Array], arguments: Sequence[Array]) -> list[Array]:
    """The outputs of a jaxpr, by NumPy."""
    known: dict[Any, Array] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))

    def value(x: Any) -> Array:
        return x.val if isinstance(x, Literal) else known[x]

    for equation in jaxpr.eqns:
        operands = [value(x) for x in equation.invars]
        inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
        if inner is not None:
            results = evaluate(inner.jaxpr, inner.consts, operands)
        else:
            result = PRIMITIVES[equation.primitive.name](equation.params, *operands)
            results = result if equation.primitive.multiple_results else [result]
        known.update(zip(equation.outvars, results, strict=True))
    return [np.asarray(value(x)) for x in jaxpr.outvars]


def _broadcast(p: dict[str, Any], x: Array) -> Array:
    shape = [1] * len(p["shape"])
    for size, axis in zip(np.shape(x), p["broadcast_dimensions"], strict=True):
        shape[axis] = size
    return np.broadcast_to(np.reshape(x, shape), p["shape"])


def _dot(p: dict[str, Any], x: Array, y: Array) -> Array:
    (cx, cy), (bx, by) = p["dimension_numbers"]
    left, right = list(range(x.ndim)), [x.ndim + a for a in range(y.ndim)]
    for a, b in zip((*cx, *bx), (*cy, *by), strict=True):
        right[b] = left[a]
    free = [a for i, a in enumerate(left) if i not in (*cx, *bx)] + [
        b for i, b in enumerate(right) if i not in (*cy, *by)
    ]
    return np.einsum(x, left, y, right, [left[a] for a in bx] + free)


def _pad(p: dict[str, Any], x: Array, filling: Array) -> Array:
    assert all(low >= 0 and high >= 0 for low, high, _ in p["padding_config"])
    shape = [
        low + n + max(n - 1, 0) * inner + high
        for n, (low, high, inner) in zip(x.shape, p["padding_config"], strict=True)
    ]
    y = np.full(shape, filling)
    y[
        tuple(
            slice(low, low + n + max(n - 1, 0) * inner, inner + 1)
            for n, (low, _, inner) in zip(x.shape, p["padding_config"], strict=True)
        )
    ] = x
    return y


def _slice(p: dict[str, Any], x: Array) -> Array:
    strides = p["strides"] or (1,) * x.ndim
    return x[tuple(slice(*each) for each in zip(p["start_indices"], p["limit_indices"], strides, strict=True))]


def _cumsum(p: dict[str, Any], x: Array) -> Array:
    if not p["reverse"]:
        return np.cumsum(x, p["axis"])
    return np.flip(np.cumsum(np.flip(x, p["axis"]), p["axis"]), p["axis"])


def _named(**functions: Callable[..., Array]) -> dict[str, Callable[..., Array]]:
    return {name: lambda p, *xs, function=function: function(*xs) for name, function in functions.items()}


PRIMITIVES: dict[str, Callable[..., Array]] = {
    **_named(
        add=np.add, add_any=np.add, sub=np.subtract, mul=np.multiply, div=np.divide, neg=np.negative, pow=np.power
    ),
    **_named(
        max=np.maximum, min=np.minimum, exp=np.exp, log=np.log, log1p=np.log1p, expm1=np.expm1, sin=np.sin, cos=np.cos
    ),
    **_named(
        tanh=np.tanh, sqrt=np.sqrt, square=np.square, abs=np.abs, sign=np.sign, floor=np.floor, is_finite=np.isfinite
    ),
    **_named(erf=erf),
    **_named(eq=np.equal, ne=np.not_equal, lt=np.less, le=np.less_equal, gt=np.greater, ge=np.greater_equal),
    **_named(stop_gradient=lambda x: x, copy=lambda x: x, copy_p=lambda x: x),
    "not": lambda p, x: np.logical_not(x),
    "and": lambda p, x, y: x & y,
    "or": lambda p, x, y: x | y,
    "integer_pow": lambda p, x: x ** float(p["y"]),
    "select_n": lambda p, which, *cases: np.where(which, *cases[::-1]),
    "broadcast_in_dim": _broadcast,
    "reshape": lambda p, x: np.reshape(x, p["new_sizes"]),
    "squeeze": lambda p, x: np.squeeze(x, p["dimensions"]),
    "transpose": lambda p, x: np.transpose(x, p["permutation"]),
    "rev": lambda p, x: np.flip(x, p["dimensions"]),
    "concatenate": lambda p, *xs: np.concatenate(xs, p["dimension"]),
    "pad": _pad,
    "slice": _slice,
    "split": lambda p, x: np.split(x, np.cumsum(p["sizes"])[:-1], p["axis"]),
    "convert_element_type": lambda p, x: np.asarray(x).astype(p["new_dtype"]),
    "reduce_sum": lambda p, x: np.sum(x, tuple(p["axes"])),
    "reduce_max": lambda p, x: np.max(x, tuple(p["axes"])),
    "reduce_min": lambda p, x: np.min(x, tuple(p["axes"])),
    "argmax": lambda p, x: np.argmax(x, p["axes"][0]).astype(p["index_dtype"]),
    "cumsum": _cumsum,
    "dot_general": _dot,
    "iota": lambda p: _broadcast(
        {"shape": p["shape"], "broadcast_dimensions": (p["dimension"],)},
        np.arange(p["shape"][p["dimension"]], dtype=p["dtype"]),
    ),
}


FLOOR = 1e-3


def error(ours: Sequence[Any], theirs: Sequence[Array]) -> float:
    """The largest difference, relative to the largest element of the reference's gradient, all inputs together.

    A gradient below FLOOR throughout is what is left where terms of the size of 1 cancel; it is compared absolutely.
    """
    size = max([FLOOR, *(float(np.abs(t).max(initial=0)) for t in theirs)])
    worst = max(float(np.abs(np.asarray(o) - t).max(initial=0)) for o, t in zip(ours, theirs, strict=True))
    return worst / size if np.isfinite(worst) else np.inf
