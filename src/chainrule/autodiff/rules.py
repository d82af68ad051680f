"""The table of derivative rules: one row per operation, formula above rule.

A row gives, for each operand, the *adjoint* ∂C/∂operand from g = ∂C/∂result. Rules emit nodes, never arrays; so
gradients of gradients, printing and fusion follow. Only the adjoints that are needed are made. A row is in one of four
states: a formula, a joint one for several results, `NotDifferentiable` (with the reason), `NotImplementedYet`. An
operand for which a row has `None` is one that has no derivative by nature: an index, a label, a condition.

Sources: the elementary rules are calculus; the matrix rules are in Giles (2008), "Collected matrix derivative results
for forward and reverse mode algorithmic differentiation". The fused operations have their rows in `fused_rules.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.autodiff.calls import reversed_call
from chainrule.autodiff.scan_rule import reversed_scan
from chainrule.graph import functions as F
from chainrule.graph.ops import split_pieces
from chainrule.graph.tensor import Tensor, apply, constant

Adjoint = Callable[..., Tensor]


@dataclass(frozen=True)
class Formula:
    """A rule: its formula, and for each operand a function (g, result, *operands) → ∂C/∂operand."""

    text: str
    adjoints: tuple[Adjoint | None, ...]

    def adjoint(self, position: int) -> Adjoint | None:
        """The rule for one operand; the last one serves all further operands."""
        return self.adjoints[position] if position < len(self.adjoints) else self.adjoints[-1]


@dataclass(frozen=True)
class Joint:
    """A rule for an operation of several results: all operands' adjoints at once.

    The function takes the adjoints of the results by their number (those that have one), the node, which operands need
    an adjoint, and the reversal itself, for rules that reverse a graph inside.
    """

    text: str
    adjoints: Callable[[dict[int, Tensor], Tensor, list[bool], Any], list[Tensor | None]]


@dataclass(frozen=True)
class NotDifferentiable:
    """There is no derivative, and why; nothing flows back."""

    reason: str


@dataclass(frozen=True)
class NotImplementedYet:
    """There is a derivative, but no rule for it here."""

    reason: str


RULES: dict[str, Formula | Joint | NotDifferentiable | NotImplementedYet] = {}


def rule(name: str, text: str, *adjoints: Adjoint | None) -> None:
    """Enter a row of the table."""
    RULES[name] = Formula(text, adjoints)


# ---- a zero adjoint stays zero: 0·∞ and 0/0 are 0, so that a branch which is not chosen contributes nothing


def times(g: Tensor, slope: Tensor) -> Tensor:
    """g·slope, for a slope that can be infinite or NaN at an edge of the operation."""
    return apply("adjoint_product", g, slope)


def over(g: Tensor, divisor: Tensor) -> Tensor:
    """g/divisor, for a divisor that can be 0 or NaN."""
    return apply("adjoint_quotient", g, divisor)


SINGULAR = frozenset({"exp", "expm1", "log", "log1p", "sqrt", "divide", "power"})
"""Operations that make infinity or NaN of finite numbers."""
PASSING = frozenset({"negative", "add", "subtract", "multiply", "broadcast_to", "reshape", "transpose", "cast"})
FAR = 8


def _by_factor(g: Tensor, factor: Tensor) -> Tensor:
    """g·factor, where the factor can be infinite if one of the operations nearest to it makes infinities."""
    if factor.adjoint_of is not None:
        return _none_of(factor, times(g, factor))
    if factor.op not in PASSING:
        return apply("adjoint_product" if factor.op in SINGULAR else "multiply", g, factor)
    near, left = [factor], FAR
    while near and left:
        node = near.pop()
        if node.op in SINGULAR:
            return times(g, factor)
        if node.op in PASSING:
            near.extend(node.inputs)
        left -= 1
    return g * factor


def _none_of(inner: Tensor, share: Tensor) -> Tensor:
    """What goes back through an inner adjoint's factor: nothing where that adjoint is 0, whatever the factor was."""
    return F.where(F.equal(inner, 0.0), 0.0, share)


rule(
    "adjoint_product",
    "x̄ = g·y, ȳ = g·x",
    lambda g, z, x, y: times(g, y),
    lambda g, z, x, y: _none_of(x, times(g, x)),
)
rule(
    "adjoint_quotient",
    "x̄ = g/y, ȳ = −g·z/y",
    lambda g, z, x, y: over(g, y),
    lambda g, z, x, y: _none_of(x, -over(times(g, z), y)),
)

# ---- elementwise, one operand

rule("identity", "x̄ = g", lambda g, y, x: g)
rule("materialize", "x̄ = g", lambda g, y, x: g)
# Its value does not depend on what it waits for.
rule("depends_on", "x̄ = g", lambda g, y, x, t: g, None)
rule("negative", "x̄ = −g", lambda g, y, x: -g)
rule("exp", "x̄ = g·y", lambda g, y, x: times(g, y))
rule("expm1", "x̄ = g·(y + 1)", lambda g, y, x: times(g, y + 1.0))
rule("log", "x̄ = g/x", lambda g, y, x: over(g, x))
rule("log1p", "x̄ = g/(1 + x)", lambda g, y, x: over(g, x + 1.0))
rule("sqrt", "x̄ = g/(2·y)", lambda g, y, x: over(g, y * 2.0))
rule("square", "x̄ = 2·g·x", lambda g, y, x: g * (x * 2.0))
rule("sin", "x̄ = g·cos x", lambda g, y, x: g * F.cos(x))
rule("cos", "x̄ = −g·sin x", lambda g, y, x: -(g * F.sin(x)))
rule("erf", "x̄ = g·2/√π·e^(−x²)", lambda g, y, x: g * (F.exp(-F.square(x)) * (2.0 / math.sqrt(math.pi))))
rule("tanh", "x̄ = g·(1 − y²)", lambda g, y, x: g * (1.0 - F.square(y)))
rule("absolute", "x̄ = g·sign x", lambda g, y, x: g * F.sign(x))
rule("cast", "x̄ = g in the dtype of x", lambda g, y, x: F.cast(g, x.dtype))

# ---- elementwise, two or three operands

rule("add", "x̄ = g, ȳ = g", lambda g, z, x, y: g, lambda g, z, x, y: g)
rule("subtract", "x̄ = g, ȳ = −g", lambda g, z, x, y: g, lambda g, z, x, y: -g)
rule(
    "multiply",
    "x̄ = g·y, ȳ = g·x",
    lambda g, z, x, y: _by_factor(g, y),
    lambda g, z, x, y: _by_factor(g, x),
)
rule(
    "divide",
    "x̄ = g/y, ȳ = −g·z/y",
    lambda g, z, x, y: over(g, y),
    lambda g, z, x, y: -over(times(g, z), y),
)


def _power_base(g: Tensor, z: Tensor, x: Tensor, y: Tensor) -> Tensor:
    # At y = 0 the result is constant in x, also at x = 0 where x^(y−1) is infinite.
    still = F.equal(y, 0.0)
    return F.where(still, 0.0, times(g, y * F.power(x, F.where(still, 1.0, y - 1.0))))


def _power_exponent(g: Tensor, z: Tensor, x: Tensor, y: Tensor) -> Tensor:
    # At x = 0 the result is constant in y > 0, where z·ln x would be 0·∞; for y < 0 it is infinite and falls.
    positive = x > 0.0
    at_zero = F.where(y < 0.0, constant(-math.inf, y.dtype), 0.0)
    slope = F.where(F.equal(x, 0.0), at_zero, math.nan)
    return times(g, F.where(positive, z * F.log(F.where(positive, x, 1.0)), slope))


rule("power", "x̄ = g·y·x^(y−1), ȳ = g·z·ln x", _power_base, _power_exponent)
# A tie goes to the second operand.
rule(
    "maximum",
    "x̄ = g where x > y, ȳ = g elsewhere",
    lambda g, z, x, y: F.where(x > y, g, 0.0),
    lambda g, z, x, y: F.where(x > y, 0.0, g),
)
rule(
    "minimum",
    "x̄ = g where x < y, ȳ = g elsewhere",
    lambda g, z, x, y: F.where(x < y, g, 0.0),
    lambda g, z, x, y: F.where(x < y, 0.0, g),
)
rule(
    "where",
    "ā = g where condition holds, b̄ = g elsewhere",
    None,
    lambda g, y, c, a, b: F.where(c, g, 0.0),
    lambda g, y, c, a, b: F.where(c, 0.0, g),
)

# ---- shape


def _unbroadcast(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    new = y.ndim - x.ndim
    stretched = [i + new for i, n in enumerate(x.shape) if n != y.shape[i + new]]
    return F.reshape(F.sum(g, [*range(new), *stretched]), x.shape)


def _piece(position: int) -> Adjoint:
    def adjoint(g: Tensor, y: Tensor, *xs: Tensor) -> Tensor:
        axis = y.attrs["axis"]
        start = sum(x.shape[axis] for x in xs[:position])
        return g[(slice(None),) * axis + (slice(start, start + xs[position].shape[axis]),)]

    return adjoint


class _Pieces(Formula):
    """The rule of an operation with any number of operands."""

    def adjoint(self, position: int) -> Adjoint | None:
        return _piece(position)


rule("broadcast_to", "x̄ = Σ g over the stretched axes", _unbroadcast)
rule("reshape", "x̄ = g in the shape of x", lambda g, y, x: F.reshape(g, x.shape))
rule(
    "transpose",
    "x̄ = g permuted back",
    lambda g, y, x: F.transpose(g, tuple(int(a) for a in np.argsort(y.attrs["axes"]))),
)
rule("flip", "x̄ = g flipped back", lambda g, y, x: F.flip(g, y.attrs["axes"]))
RULES["concatenate"] = _Pieces("x̄ᵢ = the i-th piece of g", ())

# ---- indexing

rule(
    "getitem",
    "x̄ = 0; x̄[index] += g",
    lambda g, y, x, *arrays: apply("put_add", g, *arrays, index=y.attrs["index"], shape=x.shape),
    None,
)
rule("put_add", "x̄ = g[index]", lambda g, y, x, *arrays: apply("getitem", g, *arrays, index=y.attrs["index"]), None)


class _PutPieces(Formula):
    """The rule of an operation that adds any number of pieces to zeros."""

    def adjoint(self, position: int) -> Adjoint | None:
        def adjoint(g: Tensor, y: Tensor, *operands: Tensor) -> Tensor:
            piece = y.attrs["pieces"][position]
            return apply("getitem", g, *split_pieces(operands, y.attrs["pieces"])[position][1], index=piece.index)

        return adjoint


RULES["put_pieces"] = _PutPieces("x̄ᵢ = g[indexᵢ]", ())

# ---- reductions


def _spread(y: Tensor, like: Tensor, node: Tensor) -> Tensor:
    """A reduction's result (or adjoint) stretched back over the axes that were reduced."""
    axes = node.attrs["axes"]
    # Leading axes come back by broadcasting; others leave an axis of size 1 in their place.
    if axes != tuple(range(len(axes))):
        y = F.reshape(y, [1 if i in axes else n for i, n in enumerate(like.shape)])
    return apply("broadcast_to", y, shape=like.shape) if y.shape != like.shape else y


def _extreme(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    # Chosen and not multiplied: a compiler turns [x = y]/n into a choice itself, and forgets that 0/0 is NaN.
    chosen = F.equal(x, _spread(y, x, y))
    count = _spread(F.sum(F.cast(chosen, x.dtype), y.attrs["axes"], keepdims=y.attrs["keepdims"]), x, y)
    return F.where(chosen, over(_spread(g, x, y), count), 0.0)


def _cumsum(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    axis = y.attrs["axis"]
    return F.flip(F.cumsum(F.flip(g, axis), axis), axis)


rule("sum", "x̄ = g stretched over the summed axes", lambda g, y, x: _spread(g, x, y))
# Equal largest elements share the gradient equally, which keeps the rule symmetric in its operands.
rule("max", "x̄ = g·[x = y]/number of largest", _extreme)
rule("min", "x̄ = g·[x = y]/number of smallest", _extreme)
rule("cumsum", "x̄ᵢ = gᵢ + gᵢ₊₁ + …", _cumsum)

# ---- products


rule(
    "matmul",
    "X̄ = G·Yᵀ, Ȳ = Xᵀ·G",
    lambda g, z, x, y: apply("matmul", g, F.swapaxes(y, -1, -2), **z.attrs),
    lambda g, z, x, y: apply("matmul", F.swapaxes(x, -1, -2), g, **z.attrs),
)
# ---- loops

RULES["call"] = Joint("x̄ = (g₁, …, gₙ)·∂body/∂x, as a program", reversed_call)
RULES["scan"] = Joint("(c̄ₜ, x̄ₜ, k̄ₜ) = (g_c, g_y)·∂body/∂(c, x, k), the last step first, k̄ = Σ k̄ₜ", reversed_scan)
RULES["loop"] = NotImplementedYet("a loop may stop at any step; cr.scan, whose length is fixed, has a derivative")
RULES["get_item"] = Joint("x̄ has g as one of its parts", lambda g, node, wanted, adjoints: [None])

# ---- no derivative

for _name, _reason in {
    "stop_gradient": "it is there to stop the gradient",
    "sign": "piecewise constant",
    "floor": "piecewise constant",
    "argmax": "an index is piecewise constant",
    "argmin": "an index is piecewise constant",
    "argsort": "an order is piecewise constant",
    "within": "integers",
    "in_range": "piecewise constant",
    "bitwise_and": "integers",
    "bitwise_or": "integers",
    "bitwise_xor": "integers",
    "bitwise_not": "integers",
    "isfinite": "a condition",
    "logical_not": "a condition",
    "logical_and": "a condition",
    "logical_or": "a condition",
    "less": "a condition",
    "less_equal": "a condition",
    "greater": "a condition",
    "greater_equal": "a condition",
    "equal": "a condition",
    "not_equal": "a condition",
    **dict.fromkeys(
        ("random_uniform", "random_normal", "random_permutation"), "what is drawn does not depend on its key smoothly"
    ),
}.items():
    RULES[_name] = NotDifferentiable(_reason)
