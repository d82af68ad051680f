"""The table of derivative rules: one row an operation, formula above rule.

A row gives, for each operand, the *adjoint* ∂C/∂operand from g = ∂C/∂result. Rules emit nodes, never arrays; so
gradients of gradients, printing and fusion follow. Only the adjoints that are needed are made. A row is in one of four
states: a formula, a joint one for several results, `NotDifferentiable` (with the reason), `NotImplementedYet`. An
operand for which a row has `None` is one that has no derivative by nature: an index, a label, a condition.

Sources: the elementary rules are calculus; the matrix rules are in Giles (2008), "Collected matrix derivative results
for forward and reverse mode algorithmic differentiation"; the fused ones are derived in the comment of their row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.autodiff.loops import reversed_scan
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor, apply

Adjoint = Callable[..., Tensor]


@dataclass(frozen=True)
class Formula:
    """A rule: what it says, and for each operand a function (g, result, *operands) → ∂C/∂operand."""

    text: str
    adjoints: tuple[Adjoint | None, ...]

    def adjoint(self, position: int) -> Adjoint | None:
        """The rule for one operand; the last one serves all further operands."""
        return self.adjoints[min(position, len(self.adjoints) - 1)]


@dataclass(frozen=True)
class Joint:
    """A rule for an operation of several results: all operands' adjoints at once.

    The function takes the adjoints of the results by their number (those that have one), the node, which operands want
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


def _rule(name: str, text: str, *adjoints: Adjoint | None) -> None:
    RULES[name] = Formula(text, adjoints)


# ---- elementwise, one operand

_rule("identity", "x̄ = g", lambda g, y, x: g)
_rule("negative", "x̄ = −g", lambda g, y, x: -g)
_rule("exp", "x̄ = g·y", lambda g, y, x: g * y)
_rule("expm1", "x̄ = g·(y + 1)", lambda g, y, x: g * (y + 1.0))
_rule("log", "x̄ = g/x", lambda g, y, x: g / x)
_rule("log1p", "x̄ = g/(1 + x)", lambda g, y, x: g / (x + 1.0))
_rule("sqrt", "x̄ = g/(2y)", lambda g, y, x: g / (y * 2.0))
_rule("square", "x̄ = 2gx", lambda g, y, x: g * (x * 2.0))
_rule("sin", "x̄ = g·cos x", lambda g, y, x: g * F.cos(x))
_rule("cos", "x̄ = −g·sin x", lambda g, y, x: -(g * F.sin(x)))
_rule("tanh", "x̄ = g·(1 − y²)", lambda g, y, x: g * (1.0 - F.square(y)))
_rule("absolute", "x̄ = g·sign x", lambda g, y, x: g * F.sign(x))
_rule("cast", "x̄ = g in the dtype of x", lambda g, y, x: F.cast(g, x.dtype))
_rule("sigmoid", "x̄ = g·y·(1 − y)", lambda g, y, x: g * (y * (1.0 - y)))
_rule("softplus", "x̄ = g·σ(x)", lambda g, y, x: g * F.sigmoid(x))
# The gradient at exactly 0 passes: 0 where x < 0, g otherwise.
_rule("relu", "x̄ = 0 where x < 0, else g", lambda g, y, x: F.where(x < 0.0, 0.0, g))


def _silu(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    # y = xσ gives y′ = σ + xσ(1 − σ) = σ + y(1 − σ).
    s = F.sigmoid(x)
    return g * (s + y * (1.0 - s))


_rule("silu", "x̄ = g·(σ(x) + y·(1 − σ(x)))", _silu)

# ---- elementwise, two or three operands

_rule("add", "x̄ = g, ȳ = g", lambda g, z, x, y: g, lambda g, z, x, y: g)
_rule("subtract", "x̄ = g, ȳ = −g", lambda g, z, x, y: g, lambda g, z, x, y: -g)
_rule("multiply", "x̄ = g·y, ȳ = g·x", lambda g, z, x, y: g * y, lambda g, z, x, y: g * x)
_rule("divide", "x̄ = g/y, ȳ = −g·z/y", lambda g, z, x, y: g / y, lambda g, z, x, y: -(g * z / y))


def _power_base(g: Tensor, z: Tensor, x: Tensor, y: Tensor) -> Tensor:
    # At y = 0 the result is constant in x, also at x = 0 where x^(y−1) is infinite.
    still = F.equal(y, 0.0)
    return F.where(still, 0.0, g * y * F.power(x, F.where(still, 1.0, y - 1.0)))


def _power_exponent(g: Tensor, z: Tensor, x: Tensor, y: Tensor) -> Tensor:
    # At x = 0 the result is constant in y > 0, where z·ln x would be 0·∞.
    positive = x > 0.0
    return F.where(positive, g * z * F.log(F.where(positive, x, 1.0)), F.where(F.equal(x, 0.0), 0.0, float("nan")))


_rule("power", "x̄ = g·y·x^(y−1), ȳ = g·z·ln x", _power_base, _power_exponent)
# A tie goes to the second operand.
_rule(
    "maximum",
    "x̄ = g where x > y, ȳ = g elsewhere",
    lambda g, z, x, y: F.where(x > y, g, 0.0),
    lambda g, z, x, y: F.where(x > y, 0.0, g),
)
_rule(
    "minimum",
    "x̄ = g where x < y, ȳ = g elsewhere",
    lambda g, z, x, y: F.where(x < y, g, 0.0),
    lambda g, z, x, y: F.where(x < y, 0.0, g),
)
_rule(
    "where",
    "ā = g where the condition holds, b̄ = g elsewhere",
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


_rule("broadcast_to", "x̄ = Σ g over the stretched axes", _unbroadcast)
_rule("reshape", "x̄ = g in the shape of x", lambda g, y, x: F.reshape(g, x.shape))
_rule(
    "transpose",
    "x̄ = g permuted back",
    lambda g, y, x: F.transpose(g, tuple(int(a) for a in np.argsort(y.attrs["axes"]))),
)
_rule("flip", "x̄ = g flipped back", lambda g, y, x: F.flip(g, y.attrs["axes"]))
RULES["concatenate"] = _Pieces("x̄ᵢ = the i-th piece of g", ())

# ---- indexing

_rule(
    "getitem",
    "x̄ = 0; x̄[index] += g",
    lambda g, y, x, *arrays: apply("put_add", g, *arrays, index=y.attrs["index"], shape=x.shape),
    None,
)
_rule("put_add", "x̄ = g[index]", lambda g, y, x, *arrays: apply("getitem", g, *arrays, index=y.attrs["index"]), None)

# ---- reductions


def _spread(y: Tensor, like: Tensor, node: Tensor) -> Tensor:
    """A reduction's result (or adjoint) stretched back over the axes that were reduced."""
    kept = [1 if i in node.attrs["axes"] else n for i, n in enumerate(like.shape)]
    return F.broadcast_to(F.reshape(y, kept), like.shape)


def _max(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    largest = F.cast(F.equal(x, _spread(y, x, y)), x.dtype)
    count = _spread(F.sum(largest, y.attrs["axes"], keepdims=y.attrs["keepdims"]), x, y)
    return _spread(g, x, y) * largest / count


def _cumsum(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    axis = y.attrs["axis"]
    return F.flip(F.cumsum(F.flip(g, axis), axis), axis)


_rule("sum", "x̄ = g stretched over the summed axes", lambda g, y, x: _spread(g, x, y))
# Equal largest elements share the gradient equally, which keeps the rule symmetric in its operands.
_rule("max", "x̄ = g·[x = y]/number of largest", _max)
_rule("cumsum", "x̄ᵢ = gᵢ + gᵢ₊₁ + …", _cumsum)

# ---- products


def _flat(x: Tensor) -> Tensor:
    return F.reshape(x, (-1, x.shape[-1])) if x.ndim != 2 else x


_rule(
    "matmul",
    "X̄ = G·Yᵀ, Ȳ = Xᵀ·G",
    lambda g, z, x, y: F.matmul(g, F.swapaxes(y, -1, -2)),
    lambda g, z, x, y: F.matmul(F.swapaxes(x, -1, -2), g),
)
_rule(
    "linear",
    "X̄ = G·W, W̄ = Gᵀ·X, b̄ = Σ G over rows",
    lambda g, y, x, w, *b: F.reshape(F.matmul(_flat(g), w), x.shape),
    lambda g, y, x, w, *b: F.matmul(F.transpose(_flat(g)), _flat(x)),
    lambda g, y, x, w, *b: F.sum(g, tuple(range(g.ndim - 1))),
)

# ---- soft maxima and losses


def _softmax(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    # ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ), so x̄ = y ⊙ (g − ⟨g, y⟩).
    return y * (g - F.sum(g * y, y.attrs["axis"], keepdims=True))


def _log_softmax(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    axis = y.attrs["axis"]
    return g - F.softmax(x, axis) * F.sum(g, axis, keepdims=True)


def _cross_entropy(g: Tensor, c: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    # C = Σₖ qₖ(ln Σⱼ eˣʲ − xₖ) with Σ qₖ = 1 gives ∂C/∂x = softmax(x) − q; q is one-hot, smoothed by ε towards 1/K.
    smoothing = c.attrs["label_smoothing"]
    target = F.one_hot(labels, x.shape[-1], x.dtype)
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / x.shape[-1]
    return F.expand_dims(g, -1) * (F.softmax(x) - target)


def _held_log(p: Tensor) -> Tensor:
    return F.maximum(F.log(p), -100.0)


def _binary_cross_entropy(g: Tensor, c: Tensor, p: Tensor, t: Tensor) -> Tensor:
    # (p − t)/(p(1 − p)); the denominator is held above 1e-12 so that p = t = 0 or 1 gives 0, as in PyTorch.
    return g * (p - t) / F.maximum(p * (1.0 - p), 1e-12)


_rule("softmax", "x̄ = y·(g − Σ g·y)", _softmax)
_rule("log_softmax", "x̄ = g − softmax(x)·Σ g", _log_softmax)
_rule("cross_entropy", "x̄ = g·(softmax(x) − onehot)", _cross_entropy, None)
_rule(
    "binary_cross_entropy",
    "p̄ = g·(p − t)/(p(1−p)), t̄ = g·(ln(1−p) − ln p)",
    _binary_cross_entropy,
    lambda g, c, p, t: g * (_held_log(1.0 - p) - _held_log(p)),
)
_rule(
    "binary_cross_entropy_with_logits",
    "x̄ = g·(σ(x) − t), t̄ = −g·x",
    lambda g, c, x, t: g * (F.sigmoid(x) - t),
    lambda g, c, x, t: -(g * x),
)
_rule(
    "squared_error",
    "x̄ = 2g·(x − t), t̄ = −x̄",
    lambda g, c, x, t: g * ((x - t) * 2.0),
    lambda g, c, x, t: g * ((t - x) * 2.0),
)

# ---- loops

RULES["scan"] = Joint("(c̄ₜ, x̄ₜ, k̄ₜ) = (g꜀, gᵧ)·∂body/∂(c, x, k), the last step first, k̄ = Σ k̄ₜ", reversed_scan)
RULES["project"] = Joint("x̄ has g as one of its parts", lambda g, node, wanted, adjoints: [None])

# ---- no derivative

for _name, _reason in {
    "stop_gradient": "it is there to stop the gradient",
    "sign": "piecewise constant",
    "floor": "piecewise constant",
    "argmax": "an index is piecewise constant",
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
    "random_uniform": "a random number does not depend on its key smoothly",
}.items():
    RULES[_name] = NotDifferentiable(_reason)
